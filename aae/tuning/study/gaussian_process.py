"""A Gaussian process over a study's search space, from noisy values: Matern 5/2, a length a path, noise of its own.

Lengths, signal and noise are the most probable ones under weak priors, found by gradient (Rasmussen & Williams 2006, sections 4.2 and
5.4). The noise matters most here: two trainings of one configuration differ by as much as two good configurations do.
"""

# N, M points, D paths of the space

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

JITTER = 1e-6
LENGTH, LENGTH_STD = np.log(0.7), 1.0  # of the logarithms' normal priors; an edge of the cube is 1
SIGNAL, SIGNAL_STD = 0.0, 1.0
NOISE, NOISE_STD = -2.0, 2.0  # of the variance; values are scaled to a variance of 1
MEASURED_NOISE_STD = 0.5
LENGTHS, SIGNALS, NOISES = (np.log(0.05), np.log(20.0)), (-4.0, 4.0), (-10.0, 1.0)  # theta's bounds
FITTED_POINTS = 250  # a fit costs the cube of their number


def squared_distances(a_ND: np.ndarray, b_MD: np.ndarray, is_choice_D: np.ndarray) -> np.ndarray:
    """(D, N, M); two different choices are 1 apart."""
    difference_DNM = a_ND.T[:, :, None] - b_MD.T[:, None, :]
    return np.where(is_choice_D[:, None, None], difference_DNM != 0, difference_DNM**2)


def scaled_distance(squared_DNM: np.ndarray, length_D: np.ndarray) -> np.ndarray:
    """(N, M), times the square root of 5, as Matern 5/2 takes it."""
    return np.sqrt(5 * np.tensordot(length_D**-2, squared_DNM, axes=1))


def matern(r_NM: np.ndarray) -> np.ndarray:
    return (1 + r_NM + r_NM**2 / 3) * np.exp(-r_NM)


@dataclass(frozen=True)
class Kernel:
    length_D: np.ndarray
    signal: float  # variance
    noise: float  # variance of a value as it is told
    level: float = 0.0  # variance of what all points share: how far the whole space may lie from the told values' mean

    def __call__(self, a_ND: np.ndarray, b_MD: np.ndarray, is_choice_D: np.ndarray) -> np.ndarray:
        return self.level + self.signal * matern(scaled_distance(squared_distances(a_ND, b_MD, is_choice_D), self.length_D))


@dataclass(frozen=True)
class Fit:
    """What a kernel is fitted to: points, values scaled to mean 0 and variance 1, and the priors of theta, the logarithms of the
    lengths, of the signal's variance and of the noise's."""

    squared_DNN: np.ndarray
    y_N: np.ndarray
    extra_NN: np.ndarray  # covariance on top of the noise
    mean: np.ndarray
    std: np.ndarray
    level: float = 0.0  # as Kernel's; not fitted

    def loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log posterior, and its gradient."""
        length_D, signal, noise = np.exp(theta[:-2]), np.exp(theta[-2]), np.exp(theta[-1])
        r_NN = scaled_distance(self.squared_DNN, length_D)
        decay_NN = np.exp(-r_NN)
        kernel_NN = signal * (1 + r_NN + r_NN**2 / 3) * decay_NN
        factor = linalg.cholesky(kernel_NN + self.level + told_with(self.extra_NN, noise), lower=True)
        inverse_NN = linalg.cho_solve((factor, True), np.eye(len(self.y_N)))
        alpha_N = inverse_NN @ self.y_N
        outer_NN = inverse_NN - np.outer(alpha_N, alpha_N)
        by_length_D = np.tensordot(self.squared_DNN, outer_NN * signal * (1 + r_NN) * decay_NN, axes=2) * 5 / 3 * length_D**-2
        gradient = np.r_[by_length_D, (outer_NN * kernel_NN).sum(), noise * np.trace(outer_NN)] / 2
        away = (theta - self.mean) / self.std
        value = self.y_N @ alpha_N / 2 + np.log(np.diag(factor)).sum() + away @ away / 2
        return float(value), gradient + away / self.std


def fit_kernel(
    x_ND: np.ndarray, y_N: np.ndarray, extra_NN: np.ndarray, is_choice_D: np.ndarray, noise: float | None, level: float
) -> Kernel:
    """`noise`: its variance, where it was measured."""
    dims = x_ND.shape[1]
    mean = np.r_[np.full(dims, LENGTH), SIGNAL, NOISE if noise is None else np.log(noise)]
    std = np.r_[np.full(dims, LENGTH_STD), SIGNAL_STD, NOISE_STD if noise is None else MEASURED_NOISE_STD]
    fit = Fit(squared_distances(x_ND, x_ND, is_choice_D), y_N, extra_NN, mean, std, level)
    start = np.clip(mean, *np.array(bounds := [*[LENGTHS] * dims, SIGNALS, NOISES]).T)
    theta = optimize.minimize(fit.loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Kernel(np.exp(theta[:dims]), float(np.exp(theta[dims])), float(np.exp(theta[dims + 1])), level)


def told_with(extra_NN: np.ndarray, noise: float) -> np.ndarray:
    """(N, N), the covariance of told values that is none of the function's."""
    return extra_NN + noise * np.eye(len(extra_NN)) + JITTER * np.eye(len(extra_NN))


class GaussianProcess:
    """Of `y_N` at `x_ND`. `extra_NN`: covariance on top of the noise, in the unit of y squared. `noise_variance`: of the noise, where it
    was measured, else it is found with the lengths. `level`: as Kernel's."""

    def __init__(
        self,
        x_ND: np.ndarray,
        y_N: np.ndarray,
        is_choice_D: np.ndarray,
        extra_NN: np.ndarray,
        noise_variance: float | None = None,
        level: float = 0.0,
    ):
        self.is_choice_D, self.mean, self.scale = is_choice_D, float(y_N.mean()), float(y_N.std()) or 1.0
        part = np.linspace(0, len(y_N) - 1, min(len(y_N), FITTED_POINTS)).round().astype(int)
        scaled_N, extra_NN = (y_N - self.mean) / self.scale, extra_NN / self.scale**2
        measured = None if noise_variance is None else max(noise_variance / self.scale**2, JITTER)
        self.kernel = fit_kernel(x_ND[part], scaled_N[part], extra_NN[np.ix_(part, part)], is_choice_D, measured, level)
        self.condition_on(x_ND, scaled_N, extra_NN)

    def condition_on(self, x_ND: np.ndarray, scaled_N: np.ndarray, extra_NN: np.ndarray) -> None:
        self.x_ND, self.scaled_N, self.extra_NN = x_ND, scaled_N, extra_NN
        own_NN = self.kernel(x_ND, x_ND, self.is_choice_D)
        self.factor = linalg.cholesky(own_NN + told_with(extra_NN, self.kernel.noise), lower=True)
        self.alpha_N = linalg.cho_solve((self.factor, True), scaled_N)

    def add_expected(self, x_MD: np.ndarray) -> None:
        """Points whose values are not known yet, at their mean: what is asked next keeps away from them."""
        if len(x_MD):
            expected_M = (self.predict(x_MD)[0] - self.mean) / self.scale
            extra_NN = linalg.block_diag(self.extra_NN, np.zeros((len(x_MD), len(x_MD))))
            self.condition_on(np.r_[self.x_ND, x_MD], np.r_[self.scaled_N, expected_M], extra_NN)

    def predict(self, x_MD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) of the value without noise, (M,) each."""
        cross_NM = self.kernel(self.x_ND, x_MD, self.is_choice_D)
        half_NM = linalg.solve_triangular(self.factor, cross_NM, lower=True)
        variance_M = np.maximum(self.kernel.level + self.kernel.signal - (half_NM**2).sum(axis=0), 1e-12)
        return self.mean + self.scale * (cross_NM.T @ self.alpha_N), self.scale * np.sqrt(variance_M)

    def joint(self, x_MD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean (M,), covariance (M, M)) of the values without noise."""
        cross_NM = self.kernel(self.x_ND, x_MD, self.is_choice_D)
        half_NM = linalg.solve_triangular(self.factor, cross_NM, lower=True)
        covariance_MM = self.kernel(x_MD, x_MD, self.is_choice_D) - half_NM.T @ half_NM
        return self.mean + self.scale * (cross_NM.T @ self.alpha_N), self.scale**2 * covariance_MM

    def with_level(self, level: float) -> GaussianProcess:
        """Of the same values, fitted anew, where the whole space may lie elsewhere than they do."""
        y_N, extra_NN = self.mean + self.scale * self.scaled_N, self.scale**2 * self.extra_NN
        return GaussianProcess(self.x_ND, y_N, self.is_choice_D, extra_NN, self.noise_variance, level)

    @property
    def noise_variance(self) -> float:
        """Of a value, in the unit of y squared."""
        return self.kernel.noise * self.scale**2
