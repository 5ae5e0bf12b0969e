"""The priors against closed forms: moments, shares and frames of the mixture's components, the roll, and where a class's sample lies."""

import math

import pytest
import torch

from aae.priors import (
    COMPONENT_OFFSET,
    COMPONENT_STD,
    NEAREST_PART,
    SAMPLE_PRIOR,
    from_component,
    nearest_component,
    nearest_stretch,
    on_roll,
    sample_categorical,
    unlabelled,
)

# B batch, Z style dim, K classes

NUM = 200_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(kind: str, label_B: torch.Tensor, z_dim: int = 2, num_classes: int = 10, std: float = 1.0, seed: int = 0) -> torch.Tensor:
    z_BZ = SAMPLE_PRIOR[kind](label_B, z_dim, num_classes, std, seeded(seed))
    assert z_BZ.shape == (len(label_B), z_dim)
    return z_BZ


def in_frame(z_B2: torch.Tensor, k: int, num_classes: int) -> torch.Tensor:
    """Turned back by the component's angle: what it would be if it lay along the first axis."""
    angle = 2 * math.pi * k / num_classes
    back = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return z_B2 @ back.T


# ---- the Gaussian and p(y)


@pytest.mark.parametrize(("z_dim", "std"), [(2, 1.0), (3, 5.0)])
def test_the_gaussian_has_its_moments(z_dim, std):
    z_BZ = drawn("gaussian", unlabelled(NUM), z_dim, std=std)
    assert torch.allclose(z_BZ.mean(0), torch.zeros(z_dim), atol=0.01 * std)
    assert torch.allclose(torch.cov(z_BZ.T), std**2 * torch.eye(z_dim), atol=0.015 * std**2)


def test_the_gaussian_ignores_labels():
    assert torch.equal(drawn("gaussian", torch.arange(100) % 10), drawn("gaussian", unlabelled(100)))


def test_a_categorical_prior_that_is_given_has_its_probabilities_and_the_uniform_one_the_bits_of_before():
    y_BK = sample_categorical(100_000, 3, seeded(), [0.7, 0.05, 0.25])
    assert torch.equal(y_BK.sum(-1), torch.ones(100_000)) and set(y_BK.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(y_BK.mean(0), torch.tensor([0.7, 0.05, 0.25]), atol=0.005)
    many = sample_categorical(100_000, 300, seeded(), [1 / 300] * 300)
    assert many.shape == (100_000, 300) and abs(float(many[:, -1].mean()) - 1 / 300) < 0.001
    assert torch.equal(sample_categorical(1000, 10, seeded()).argmax(-1), torch.randint(10, (1000,), generator=seeded()))


def test_the_categorical_prior_is_one_hot_and_uniform():
    y_BK = sample_categorical(100_000, 10, seeded())
    assert torch.equal(y_BK.sum(-1), torch.ones(100_000)) and set(y_BK.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(y_BK.mean(0), torch.full((10,), 0.1), atol=0.005)


@pytest.mark.parametrize("kind", SAMPLE_PRIOR)
def test_samples_depend_on_their_generator_alone(kind):
    torch.manual_seed(1)
    first = drawn(kind, unlabelled(5)), sample_categorical(5, 10, seeded())
    torch.manual_seed(2)
    second = drawn(kind, unlabelled(5)), sample_categorical(5, 10, seeded())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], drawn(kind, unlabelled(5), seed=1))


# ---- the mixture


@pytest.mark.parametrize("num_classes", [3, 10])
def test_the_mixture_has_its_moments(num_classes):
    """Mean 0; covariance (1.4^2 + 0.5^2 + 0.1^2) / 2 in each direction, since the components stand evenly around the origin."""
    z_B2 = drawn("mixture", unlabelled(NUM), num_classes=num_classes)
    assert torch.allclose(z_B2.mean(0), torch.zeros(2), atol=0.01)
    assert torch.allclose(torch.cov(z_B2.T), (1.4**2 + 0.5**2 + 0.1**2) / 2 * torch.eye(2), atol=0.01)


@pytest.mark.parametrize("num_classes", [4, 10])
def test_a_component_points_outward_and_has_its_centre_and_spread_in_its_own_frame(num_classes):
    """Component k: mean 1.4 (cos, sin)(2 pi k / K); std 0.5 along that direction and 0.1 across. Fails where from_component turns by
    anything else, or the offset is across."""
    for k in range(num_classes):
        z_B2 = drawn("mixture", torch.full((50_000,), k), num_classes=num_classes, seed=k)
        angle = 2 * math.pi * k / num_classes
        assert torch.allclose(z_B2.mean(0), 1.4 * torch.tensor([math.cos(angle), math.sin(angle)]), atol=0.01)
        assert torch.allclose(torch.cov(in_frame(z_B2, k, num_classes).T), torch.diag(torch.tensor([0.25, 0.01])), atol=0.005)
        along = torch.linalg.eigh(torch.cov(z_B2.T)).eigenvectors[:, -1]
        assert abs(float(along @ torch.tensor([math.cos(angle), math.sin(angle)]))) > 0.999
    assert (COMPONENT_STD, COMPONENT_OFFSET) == ((0.5, 0.1), 1.4)


def test_components_come_in_equal_shares():
    share_K = torch.bincount(nearest_component(drawn("mixture", unlabelled(NUM)), 10), minlength=10) / NUM
    assert torch.allclose(share_K, torch.full((10,), 0.1), atol=0.003)


def test_pairs_of_dimensions_share_the_component_and_nothing_else():
    """z 4-D: between the pairs the covariance is that of the centres, 1.4^2 / 2 I; within one component it is 0. Fails where each
    pair draws a component of its own."""
    cov = torch.cov(drawn("mixture", unlabelled(NUM), 4).T)
    assert torch.allclose(cov[:2, 2:], 1.4**2 / 2 * torch.eye(2), atol=0.01)
    one = torch.cov(drawn("mixture", torch.full((NUM,), 3), 4).T)
    assert torch.allclose(one[:2, 2:], torch.zeros(2, 2), atol=0.005) and torch.allclose(one[:2, :2], one[2:, 2:], atol=0.005)


def test_the_origin_of_a_frame_is_the_components_centre():
    centre_K2 = from_component(torch.arange(4), torch.zeros(4, 1, 2), 4)
    assert torch.allclose(centre_K2, 1.4 * torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), atol=1e-6)
    outward = from_component(torch.tensor([1]), torch.tensor([[[1.0, 0.2]]]), 4)  # up by 1, and 0.2 to the left of it
    assert torch.allclose(outward, torch.tensor([[-0.2, 2.4]]), atol=1e-6)


# ---- the swiss roll


def test_the_roll_is_a_curve_whose_angle_goes_with_its_radius():
    """r = 3 sqrt(u), angle 4 pi sqrt(u): so the angle is 4 pi r / 3."""
    z_B2 = drawn("swiss_roll", unlabelled(NUM)).double()
    r_B = z_B2.norm(dim=-1)
    on_curve = torch.stack([r_B * (4 * math.pi * r_B / 3).cos(), r_B * (4 * math.pi * r_B / 3).sin()], dim=-1)
    assert torch.allclose(z_B2, on_curve, atol=1e-4)
    assert torch.allclose(on_roll(torch.tensor([0.0, 0.25, 1.0])), torch.tensor([[0.0, 0], [1.5, 0], [3, 0]]), atol=1e-5)


def test_the_place_along_the_roll_is_uniform():
    """u = r^2 / 9 is uniform in [0, 1): the largest gap between its distribution and the line. Fails where the root is left out."""
    u_B = (drawn("swiss_roll", unlabelled(NUM)).double().square().sum(-1) / 9).sort().values
    assert float((u_B - torch.linspace(0, 1, NUM, dtype=torch.float64)).abs().max()) < 0.005


@pytest.mark.parametrize("num_classes", [5, 10])
def test_classes_lie_along_the_roll_in_turn(num_classes):
    label_B = torch.arange(NUM) % num_classes
    u_B = drawn("swiss_roll", label_B, num_classes=num_classes).square().sum(-1) / 9
    assert float(((u_B * num_classes).floor().long() == label_B).double().mean()) > 0.9999  # float32 at an edge
    within = u_B[label_B == 3] * num_classes - 3
    assert float(within.mean()) == pytest.approx(0.5, abs=0.01) and float(within.var()) == pytest.approx(1 / 12, abs=0.003)


# ---- parts


def test_the_nearest_centre_names_the_component_of_98_4_percent_of_the_mixtures_samples():
    label_B = torch.arange(NUM) % 10
    right = float((nearest_component(drawn("mixture", label_B), 10) == label_B).double().mean())
    assert right == pytest.approx(0.984, abs=0.001)


def test_the_nearest_stretch_names_the_class_of_nearly_every_sample_of_the_roll():
    label_B = torch.arange(20_000) % 10
    assert float((nearest_stretch(drawn("swiss_roll", label_B), 10) == label_B).double().mean()) > 0.998


def test_in_more_dimensions_the_components_are_told_apart_better():
    label_B = torch.arange(20_000) % 10
    assert float((nearest_component(drawn("mixture", label_B, 4), 10) == label_B).double().mean()) > 0.998


@pytest.mark.parametrize("kind", NEAREST_PART)
def test_a_labelled_row_lies_in_its_classs_part_and_an_unlabelled_one_anywhere(kind):
    """Fails where a prior ignores the labels, or takes -1 for a class."""
    label_B = torch.where(torch.arange(20_000) % 2 == 0, 7, -1)
    found_B = NEAREST_PART[kind](drawn(kind, label_B), 10)
    share_K = torch.bincount(found_B[label_B == -1], minlength=10) / 10_000
    assert float((found_B[label_B == 7] == 7).double().mean()) > 0.97
    assert torch.allclose(share_K, torch.full((10,), 0.1), atol=0.015)
