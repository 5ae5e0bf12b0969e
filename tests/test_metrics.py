"""What is measured: against closed forms, at known points, over every image."""

import math

import pytest
import torch

from aae import metrics
from aae.config import TrialConfig
from aae.data import Split
from aae.model import Autoencoder
from tests.golden import tiny_config, tiny_dataset


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(num: int, mean: list[float], std: list[float]) -> torch.Tensor:
    """Codes whose mean and covariance are exactly these, whatever was drawn."""
    z = torch.randn(num, len(mean), generator=seeded(), dtype=torch.float64)
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T).reshape(len(mean), -1))).T
    return z * torch.tensor(std, dtype=torch.float64) + torch.tensor(mean, dtype=torch.float64)


def of_dim(z_dim: int) -> TrialConfig:
    """A configuration whose codes have so many dimensions."""
    return tiny_config({"model.z_dim": z_dim})


LABELS = torch.arange(4000) % 10

# ---- the style code


@pytest.mark.parametrize(
    ("mean", "std"),
    [([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), ([0.5, -1.0, 0.0], [1.0, 1.0, 1.0]), ([0.0, 0.0, 2.0], [0.5, 2.0, 0.1]), ([3.0], [0.2])],
)
def test_prior_mismatch_is_the_kl_of_the_fitted_normal_to_the_standard_one(mean, std):
    """KL(N(m, S) || N(0, I)) = 1/2 sum(s^2 + m^2 - 1 - ln s^2)."""
    expected = sum(0.5 * (s * s + m * m - 1 - math.log(s * s)) for m, s in zip(mean, std, strict=True))
    found = metrics.style_monitors(normal(4000, mean, std), LABELS, of_dim(len(mean)))
    assert found["val/prior_mismatch"] == pytest.approx(expected, abs=1e-6)
    assert found["val/z_min_eigenvalue"] == pytest.approx(min(std) ** 2)


def test_prior_mismatch_sees_correlations():
    z = normal(4000, [0.0, 0.0], [1.0, 1.0])
    turned = z @ torch.tensor([[1.0, 0.0], [0.9, math.sqrt(1 - 0.81)]], dtype=torch.float64).T  # covariance 0.9
    assert metrics.style_monitors(turned, LABELS, of_dim(2))["val/prior_mismatch"] == pytest.approx(-0.5 * math.log(1 - 0.81), abs=1e-6)


def test_samples_of_the_prior_match_it():
    found = metrics.style_monitors(torch.randn(4000, 10, generator=seeded()), LABELS, of_dim(10))
    assert found["val/prior_mismatch"] < 0.02 and found["val/z_min_eigenvalue"] > 0.85


@pytest.mark.parametrize("shape", ["a line", "a point"])
def test_codes_in_fewer_dimensions_than_z_are_a_collapse(shape):
    z = torch.zeros(4000, 3) if shape == "a point" else torch.randn(4000, 1, generator=seeded()) * torch.ones(1, 3)
    found = metrics.style_monitors(z, LABELS, of_dim(z.shape[1]))
    assert abs(found["val/z_min_eigenvalue"]) < 0.05 and found["val/prior_mismatch"] > 5
    assert all(math.isfinite(value) for value in found.values())


def test_codes_are_measured_in_units_of_the_priors_std(dataset):
    """Codes of std 5 under a prior of std 5 match it."""
    model = Autoencoder(36, 2, [16], num_heads=10, decoder_classes=10)
    z = torch.randn(105, 2, generator=seeded())
    model.encoder.forward = lambda x, noise: (torch.zeros(len(x), 10), 5 * z[: len(x)])
    std = "objective.adversarial_z.prior.std"
    found, _ = metrics.evaluate(model, dataset.validation, tiny_config({"model.z_dim": 2, std: 5.0}))
    same, _ = metrics.evaluate(model, dataset.validation, of_dim(2))
    assert found["val/prior_mismatch"] < 0.2 < 5 < same["val/prior_mismatch"]


def test_the_class_is_read_from_codes_that_hold_it_and_not_from_those_that_do_not():
    z = torch.randn(4000, 3, generator=seeded(), dtype=torch.float64)
    centres = 8 * torch.randn(10, 3, generator=seeded(1), dtype=torch.float64)
    assert metrics.quadratic_discriminant_accuracy(z + centres[LABELS], LABELS) > 0.95
    assert metrics.quadratic_discriminant_accuracy(z, LABELS) < 0.15


def test_the_class_is_read_from_spreads_too_which_a_linear_rule_cannot():
    label = torch.arange(4000) % 2
    z = torch.randn(4000, 4, generator=seeded(), dtype=torch.float64) * torch.where(label == 0, 0.2, 2.0)[:, None]
    assert metrics.quadratic_discriminant_accuracy(z, label) > 0.95


def test_the_discriminant_is_scored_on_codes_that_it_was_not_fitted_on():
    z = torch.randn(400, 12, generator=seeded(), dtype=torch.float64)
    assert metrics.quadratic_discriminant_accuracy(z, torch.arange(400) % 10) < 0.2  # 20 codes a class and 12 dimensions


def test_classes_with_too_few_codes_are_no_error():
    label = torch.zeros(100, dtype=torch.long)
    label[:3] = 7
    z = torch.randn(100, 5, generator=seeded(), dtype=torch.float64)
    assert metrics.quadratic_discriminant_accuracy(z, label) == 1.0


# ---- the class


def test_class_monitors_of_one_class_all_classes_and_no_opinion():
    even = metrics.class_monitors(torch.eye(10).repeat(20, 1))
    assert even == pytest.approx({"val/class_kl": 0.0, "val/class_entropy": 0.0, "val/class_count": 10.0}, abs=1e-5)
    one = metrics.class_monitors(torch.eye(10)[:1].repeat(50, 1))
    assert one == pytest.approx({"val/class_kl": math.log(10), "val/class_entropy": 0.0, "val/class_count": 1.0}, abs=1e-5)
    unsure = metrics.class_monitors(torch.full((50, 10), 0.1))
    assert unsure["val/class_kl"] == pytest.approx(0.0, abs=1e-5) and unsure["val/class_entropy"] == pytest.approx(math.log(10))


def test_five_classes_of_ten_count_as_five():
    found = metrics.class_monitors(torch.eye(10)[:5].repeat(20, 1))
    assert found["val/class_count"] == pytest.approx(5.0) and found["val/class_kl"] == pytest.approx(math.log(2), abs=1e-5)


def test_error_is_the_fraction_of_wrong_ones():
    logits_NK = torch.eye(4)
    assert metrics.error(logits_NK, torch.tensor([0, 1, 2, 0])) == 0.25
    assert metrics.error(logits_NK, torch.arange(4)) == 0.0


# ---- every image


def test_evaluation_reads_every_image_the_last_partial_chunk_included():
    """Fails where metrics.chunks leaves the last partial batch out, a bug of other implementations."""
    images = torch.randint(0, 256, (2345, 36), generator=seeded()).to(torch.uint8)
    split = Split(images, torch.zeros(2345, dtype=torch.long))
    assert [len(x_BX) for x_BX in metrics.chunks(split)] == [2000, 345]
    assert torch.equal(torch.cat(list(metrics.chunks(split))), images / 255)
    model = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10).eval()
    row, prediction_N = metrics.evaluate(model, split, of_dim(3))
    with torch.no_grad():
        x_NX = images / 255
        logits_NK, z_NZ = model.encoder(x_NX)
        pixels_NX = model.decoder(logits_NK.softmax(-1), z_NZ)
    assert len(prediction_N) == 2345
    assert row["val/error"] == float((logits_NK.argmax(1) != 0).sum()) / 2345
    assert row["val/reconstruction"] == pytest.approx(float(0.5 * (pixels_NX - x_NX).square().sum(1).mean()), rel=1e-5)


def test_a_wrong_image_at_the_very_end_counts():
    dataset = tiny_dataset()
    model = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10)
    model.encoder.forward = lambda x, noise: (torch.eye(10)[:1].expand(len(x), 10), torch.randn(len(x), 3, generator=seeded()))
    label_N = torch.zeros(105, dtype=torch.long)
    label_N[-1] = 1
    row, _ = metrics.evaluate(model, Split(dataset.validation.images_NX, label_N), of_dim(3))
    assert row["val/error"] == 1 / 105


def test_evaluation_has_no_noise_and_leaves_no_graph(dataset):
    model = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10)
    first, _ = metrics.evaluate(model, dataset.validation, of_dim(3))
    second, _ = metrics.evaluate(model, dataset.validation, of_dim(3))
    assert first == second and all(isinstance(value, float) for value in first.values())


def test_evaluation_is_in_float32_whatever_the_training_is_in(dataset):
    """Pixels are bytes / 255, and autocast is not on."""
    model, seen = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10), []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    metrics.evaluate(model, dataset.validation, of_dim(3))
    assert seen[0].dtype == torch.float32 and float(seen[0].max()) == 1.0 and not torch.is_autocast_enabled("cpu")


# ---- warnings


def rows_with(key: str, values: list[float]) -> list[dict]:
    return [{"epoch": epoch, key: value} for epoch, value in enumerate(values, 1)]


@pytest.mark.parametrize(("key", "bad", "good"), [("val/z_min_eigenvalue", 0.01, 0.9), ("val/class_count", 7.0, 9.9)])
def test_a_collapse_is_said_after_three_epochs_running_past_the_tenth(key, bad, good):
    def warned(values):
        return metrics.collapse_warnings(rows_with(key, values), num_classes=10)

    assert warned([bad] * 10 + [good] * 5) == []
    assert warned([good] * 10 + [bad, bad, good, bad, bad]) == []
    (warning,) = warned([good] * 10 + [good, bad, bad, bad, bad])
    assert key in warning and warning.endswith("from epoch 12")
    assert warned([bad] * 12) == [] and len(warned([bad] * 13)) == 1
