"""The Gaussian process of a study's values: against its formulas, and what it finds of noise and of paths that do nothing."""

import numpy as np
import pytest

from aae.tuning.study.gaussian_process import JITTER, Fit, GaussianProcess, Kernel, matern, squared_distances

NUMBERS_D = np.array([False, False])


def process_of(function, num=60, noise=0.3, dims=2, seed=0, **arguments):
    random = np.random.default_rng(seed)
    x_ND = random.random((num, dims))
    y_N = function(x_ND) + noise * random.standard_normal(num)
    return GaussianProcess(x_ND, y_N, np.zeros(dims, bool), np.zeros((num, num)), **arguments)


def wave(x_ND):
    return 2 * np.sin(4 * x_ND[:, 0])


def test_the_gradient_is_that_of_the_loss():
    random = np.random.default_rng(0)
    x_ND, y_N = random.random((12, 3)), random.standard_normal(12)
    fit = Fit(squared_distances(x_ND, x_ND, np.array([False, True, False])), y_N, np.diag(0.1 * random.random(12)), np.zeros(5), np.ones(5))
    theta = np.array([-0.3, 0.2, 0.5, 0.1, -1.0])
    _, gradient = fit.loss(theta)
    for index, step in enumerate(1e-5 * np.eye(5)):
        slope = (fit.loss(theta + step)[0] - fit.loss(theta - step)[0]) / 2e-5
        assert gradient[index] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_the_prediction_is_the_conditional_normal_distribution():
    process = process_of(wave, num=8)
    kernel, at = process.kernel, np.array([[0.2, 0.7]])
    own = kernel(process.x_ND, process.x_ND, NUMBERS_D) + np.diag(np.full(8, kernel.noise + JITTER))
    cross = kernel(process.x_ND, at, NUMBERS_D)[:, 0]
    mean, std = process.predict(at)
    assert mean[0] == pytest.approx(process.mean + process.scale * cross @ np.linalg.solve(own, process.scaled_N))
    assert std[0] == pytest.approx(process.scale * np.sqrt(kernel.signal - cross @ np.linalg.solve(own, cross)))


def test_matern_falls_from_one_and_choices_are_equally_far():
    assert matern(np.array([0.0, 100.0])) == pytest.approx([1, 0], abs=1e-9)
    squared = squared_distances(np.array([[0.0], [1.0], [3.0]]), np.array([[0.0]]), np.array([True]))
    assert squared[0, :, 0].tolist() == [0, 1, 1]
    assert Kernel(np.array([1.0]), 2.0, 0.1)(np.zeros((1, 1)), np.zeros((1, 1)), np.array([False]))[0, 0] == 2.0


def test_the_noise_is_told_from_the_function_and_a_path_that_does_nothing_is_long():
    process = process_of(wave)
    assert process.scale * np.sqrt(process.kernel.noise) == pytest.approx(0.3, rel=0.3)
    assert process.kernel.length_D[1] > 2 * process.kernel.length_D[0]


def test_noise_that_was_measured_is_kept_to():
    process = process_of(wave, num=8, noise=0.0, noise_variance=0.25)
    assert process.scale * np.sqrt(process.kernel.noise) == pytest.approx(0.5, rel=0.6)
    assert process_of(wave, num=8, noise=0.0).kernel.noise < process.kernel.noise


def test_another_unit_of_the_values_changes_nothing_but_the_unit():
    """Seen to fail with the measured noise, or the covariance on top of it, over the scale and not over its square."""
    random = np.random.default_rng(0)
    x_ND, y_N, extra_NN = random.random((12, 2)), 3 * random.standard_normal(12), np.diag(random.random(12))
    at = random.random((5, 2))
    mean, std = GaussianProcess(x_ND, y_N, NUMBERS_D, extra_NN, 0.5).predict(at)
    large, wide = GaussianProcess(x_ND, 10 * y_N, NUMBERS_D, 100 * extra_NN, 50.0).predict(at)
    assert large == pytest.approx(10 * mean, rel=1e-3) and wide == pytest.approx(10 * std, rel=1e-3)


def test_noise_that_is_known_of_each_value_is_not_found_again():
    """Seen to fail with a fit that leaves `extra_NN` out: the noise was counted twice."""
    random = np.random.default_rng(0)
    x_ND = random.random((60, 2))
    y_N = wave(x_ND) + random.standard_normal(60)
    found, left = (GaussianProcess(x_ND, y_N, NUMBERS_D, known * np.eye(60)).noise_variance for known in (0.0, 1.0))
    assert found == pytest.approx(1, rel=0.4) and left < 0.4 * found


def test_a_process_with_a_level_is_fitted_to_the_same_values_with_the_same_noise():
    """Seen to fail with the covariance on top of the noise in another unit, and with the noise that was measured forgotten."""
    random = np.random.default_rng(0)
    x_ND, extra_NN = random.random((12, 2)), np.diag(5 * random.random(12))
    y_N = 7 * wave(x_ND) + random.standard_normal(12)
    process = GaussianProcess(x_ND, y_N, NUMBERS_D, extra_NN, 4.0)
    ours, other = process.with_level(2.0), GaussianProcess(x_ND, y_N, NUMBERS_D, extra_NN, process.noise_variance, 2.0)
    assert ours.extra_NN == pytest.approx(other.extra_NN) and ours.noise_variance == pytest.approx(other.noise_variance, rel=1e-3)
    assert ours.kernel.level == 2.0 and ours.predict(x_ND)[1] == pytest.approx(other.predict(x_ND)[1], rel=1e-3)


def test_a_value_of_more_noise_moves_the_mean_less():
    x_ND = np.array([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5], [0.3, 0.2]])
    y_N = np.array([0.0, 3.0, 0.0, 0.0])
    sure, unsure = (GaussianProcess(x_ND, y_N, NUMBERS_D, np.diag([0, extra, 0, 0])).predict(x_ND)[0][1] for extra in (0.0, 9.0))
    assert unsure < sure - 0.3


def test_a_point_at_its_mean_changes_no_mean_and_leaves_less_to_learn_there():
    process, at = process_of(wave, num=10), np.array([[0.9, 0.1], [0.5, 0.5]])
    mean, std = process.predict(at)
    process.add_expected(at[:1])
    again, less = process.predict(at)
    assert again == pytest.approx(mean, abs=1e-5) and less[0] < 0.9 * std[0]
