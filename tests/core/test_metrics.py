"""What is measured: against closed forms, at known points, over every image."""

import math

import pytest
import torch

from aae import likelihood, metrics
from aae.config import TrialConfig
from aae.data import Split
from aae.likelihood import PARZEN_STDS
from aae.model import Autoencoder
from aae.priors import NEAREST_PART, SAMPLE_PRIOR, nearest_component, unlabelled
from tests.golden import SIDE, tiny_config, tiny_dataset


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
SHAPE = (1, SIDE, SIDE)

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


def test_a_prior_that_is_narrow_in_a_direction_is_no_collapse():
    """Two components of the mixture lie on one line. Seen to fail with a unit Gaussian's spread asked of it."""
    config = tiny_config({"model.z_dim": 2, "model.num_classes": 2, "objective.adversarial_z.prior.kind": "mixture"})
    z = SAMPLE_PRIOR["mixture"](unlabelled(4000), 2, 2, 1.0, seeded())
    row = metrics.style_monitors(z, LABELS % 2, config)
    assert row["val/z_min_eigenvalue"] == pytest.approx(1, abs=0.1) and torch.cov(z.T).diag().min() < 0.05
    assert metrics.style_monitors(z * torch.tensor([[1.0, 0.1]]), LABELS % 2, config)["val/z_min_eigenvalue"] < 0.05


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
    found, _ = metrics.evaluate(model, dataset.validation, tiny_config({"model.z_dim": 2, std: 5.0}), SHAPE)
    same, _ = metrics.evaluate(model, dataset.validation, of_dim(2), SHAPE)
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


def test_codes_far_out_on_a_line_have_no_classes_and_are_no_error():
    """Seen to end in a LinAlgError: their covariance has no Cholesky factor in float64."""
    line = 1e5 * torch.randn(2000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert 0 <= metrics.quadratic_discriminant_accuracy(line.expand(2000, 4), torch.arange(2000) % 10) < 0.2


def test_the_discriminant_weighs_each_class_by_how_often_it_occurs():
    """Seen to fail without it: of codes that say nothing it read the rare class for half of them."""
    z, label = torch.randn(4000, 2, generator=seeded(), dtype=torch.float64), (torch.arange(4000) % 10 == 0).long()
    assert metrics.quadratic_discriminant_accuracy(z, label) == pytest.approx(0.9, abs=0.01)


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


def test_the_class_monitors_ask_how_far_q_of_y_is_from_the_prior_that_is_asked_for():
    skewed = torch.eye(2)[torch.tensor([0] * 9 + [1])]
    given = metrics.class_monitors(skewed, [0.9, 0.1])
    of_prior = math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert given["val/class_kl"] == pytest.approx(0.0, abs=1e-6) and given["val/class_count_of_prior"] == pytest.approx(of_prior)
    even = metrics.class_monitors(torch.eye(2), [0.9, 0.1])
    assert even["val/class_kl"] == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1), abs=1e-6)
    assert metrics.class_monitors(skewed)["val/class_kl"] == pytest.approx(math.log(2) - math.log(of_prior), abs=1e-6)
    assert metrics.healthy_classes(given, 2, 10_000) and not metrics.healthy_classes(even, 2, 10_000)
    few = torch.eye(30)[torch.randint(30, (1000,), generator=seeded())]  # their shares differ by chance alone
    assert metrics.class_monitors(few)["val/class_kl"] > 0.01 and metrics.healthy_classes(metrics.class_monitors(few), 30, 1000)
    rows = [{"epoch": epoch} | given for epoch in range(1, 21)]
    assert metrics.collapse_warnings(rows, 2) == []  # one class of ten images is no collapse where p(y) is 9 : 1
    uniform = [{key: value for key, value in row.items() if key != "val/class_count_of_prior"} for row in rows]
    assert len(metrics.collapse_warnings(uniform, 2)) == 1


def test_the_class_count_is_of_the_most_likely_classes_and_not_of_their_probabilities():
    """Seen to fail with the mean of q(y): a class that is never the most likely one counted as used."""
    found = metrics.class_monitors(torch.tensor([[0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.6, 0.4]]))
    assert found["val/class_count"] == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)), rel=1e-5)
    assert metrics.class_monitors(torch.tensor([[0.6, 0.4]] * 4))["val/class_count"] == pytest.approx(1)


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
    row, prediction_N = metrics.evaluate(model, split, of_dim(3), SHAPE)
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
    row, _ = metrics.evaluate(model, Split(dataset.validation.images_NX, label_N), of_dim(3), SHAPE)
    assert row["val/error"] == 1 / 105


def test_evaluation_has_no_noise_and_leaves_no_graph(dataset):
    model = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10)
    first, _ = metrics.evaluate(model, dataset.validation, of_dim(3), SHAPE)
    second, _ = metrics.evaluate(model, dataset.validation, of_dim(3), SHAPE)
    assert first == second and all(isinstance(value, float) for value in first.values())


def test_where_training_moves_its_images_the_style_is_judged_on_moved_ones(dataset):
    """Seen to fail where z was judged on the images as they are: their codes are a part of those that training matches to the prior."""
    model, split = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10), dataset.validation
    still, config = metrics.evaluate(model, split, of_dim(3), SHAPE)[0], tiny_config({"model.z_dim": 3, "train.shift": 1})
    row, _ = metrics.evaluate(model, split, config, SHAPE)
    style = {"val/prior_mismatch", "val/z_min_eigenvalue", "val/class_from_z"}
    assert {key for key in row if row[key] != still[key]} == style
    images_NX = metrics.moved(split, 1, SHAPE).images_NX
    assert images_NX.dtype == torch.uint8 and torch.equal(images_NX, metrics.moved(split, 1, SHAPE).images_NX)
    places = set()
    for image, found in zip(split.images_NX.view(-1, *SHAPE[1:]), images_NX.view(-1, *SHAPE[1:]), strict=True):
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
        moves = {(y, x) for y in range(3) for x in range(3) if torch.equal(padded[y : y + SIDE, x : x + SIDE], found)}
        assert moves
        places |= moves
    assert len(places) == 9
    z_NZ = metrics.encode(model, metrics.moved(split, 1, SHAPE))[2]
    assert metrics.style_monitors(z_NZ, split.label_N, config).items() <= row.items()


def test_evaluation_is_in_float32_whatever_the_training_is_in(dataset):
    """Pixels are bytes / 255, and no layer computes in bfloat16. Seen to fail where evaluate is under the training's autocast."""
    model, seen = Autoencoder(36, 3, [16], num_heads=10, decoder_classes=10), []
    for layer in (module for module in model.modules() if isinstance(module, torch.nn.Linear)):
        layer.register_forward_hook(lambda layer, inputs, output: seen.append((inputs[0], output)))
    metrics.evaluate(model, dataset.validation, tiny_config({"model.z_dim": 3, "train.precision": "bfloat16"}), SHAPE)
    assert len(seen) == 4 and {tensor.dtype for pair in seen for tensor in pair} == {torch.float32}
    assert float(seen[0][0].max()) == 1.0


# ---- clusters


def clustered(num_heads: int, logits_NK: torch.Tensor) -> tuple[Autoencoder, TrialConfig]:
    """A model whose encoder answers these logits for the images in turn."""
    off = {"objective.classification": None, "data.num_labels": 0, "model.num_classes": num_heads, "model.z_dim": 2}
    model = Autoencoder(36, 2, [16], num_heads=num_heads, decoder_classes=num_heads)
    model.encoder.forward = lambda x, noise=None: (logits_NK[: len(x)], torch.randn(len(x), 2, generator=seeded()))
    return model, tiny_config(off)


LOGITS_NK = torch.tensor([[5.0, 0, 0], [4, 0, 0], [3, 0, 0], [0, 6, 0], [0, 2, 1.9]])  # nobody is in the third cluster
LABEL_N = torch.tensor([2, 1, 1, 0, 3])


def test_a_cluster_takes_the_label_of_its_surest_image_or_of_most_of_its_images():
    """The surest of the first is of class 2, most are of class 1; an empty cluster takes its surest image's label both times."""
    of_exemplar_K, of_majority_K = metrics.cluster_labels(LOGITS_NK, LABEL_N)
    assert of_exemplar_K.tolist() == [2, 0, 3] and of_majority_K.tolist() == [1, 0, 3]
    model, config = clustered(3, LOGITS_NK)
    row, prediction_N = metrics.evaluate(model, Split(torch.zeros(5, 36, dtype=torch.uint8), LABEL_N), config, SHAPE)
    assert prediction_N.tolist() == [2, 2, 2, 0, 0]
    assert row["val/cluster_error"] == 3 / 5 and row["val/cluster_error_majority"] == 2 / 5 and "val/error" not in row


def test_the_test_sets_clusters_are_named_by_validation_images():
    """Fails where evaluate names clusters by the images that it scores: they would then be 0 wrong."""
    model, config = clustered(3, torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]]))
    black = torch.zeros(3, 36, dtype=torch.uint8)
    scored, fitted = Split(black, torch.tensor([0, 1, 2])), Split(black, torch.tensor([0, 2, 1]))
    assert metrics.evaluate(model, scored, config, SHAPE)[0]["val/cluster_error"] == 0.0
    assert metrics.evaluate(model, scored, config, SHAPE, fitted)[0]["val/cluster_error"] == pytest.approx(2 / 3)


def test_the_surest_image_is_found_where_probabilities_are_all_one():
    """Fails where cluster_labels ranks by logits_NK.softmax(-1): in float32 the first three are 1, and the first would win."""
    logits_NK = torch.tensor([[30.0, 0, 0], [200, 0, 0], [210, 0, 190], [0, 1, 0]])
    assert logits_NK.softmax(-1)[:3, 0].tolist() == [1.0, 1.0, 1.0]
    assert metrics.cluster_labels(logits_NK, torch.tensor([0, 1, 2, 3]))[0][0] == 1  # nor by the logit, which would take the third


def test_log_odds_are_those_of_the_probability():
    logits_NK = torch.randn(20, 4, generator=seeded(), dtype=torch.float64)
    q_NK = logits_NK.softmax(-1)
    assert torch.allclose(metrics.log_odds(logits_NK), (q_NK / (1 - q_NK)).log())


def test_more_clusters_than_classes_are_no_error_and_each_has_one_class():
    label_N = torch.arange(40) % 2
    logits_NK = 9 * torch.eye(4)[(torch.arange(40) % 4)]
    of_exemplar_K, of_majority_K = metrics.cluster_labels(logits_NK, label_N)
    assert of_exemplar_K.tolist() == of_majority_K.tolist() == [0, 1, 0, 1]


def test_neighbours_in_the_first_half_vote_on_the_second():
    """Two places, ten codes of each half at each: one label of the second half is another's, so 1 of 20 is wrong; three of ten wrong
    labels in the first half are outvoted or not by the nearest five."""
    near = 0.01 * torch.arange(10.0)
    half = torch.cat([torch.stack([near, near], 1), torch.stack([near + 9, near], 1)])
    label = torch.cat([torch.zeros(10), torch.ones(10)]).long()
    wrong = label.clone()
    wrong[0] = 1
    assert metrics.neighbour_error(torch.cat([half, half]), torch.cat([label, wrong])) == 1 / 20
    assert metrics.neighbour_error(torch.cat([half, half]), torch.cat([wrong, label])) == 0.0
    assert metrics.neighbour_error(torch.cat([half, half]), torch.cat([1 - label, label])) == 1.0


def test_the_distances_of_some_codes_at_once_give_the_same_votes(monkeypatch):
    code_NZ, label_N = torch.randn(90, 2, generator=torch.Generator().manual_seed(0)), torch.arange(90) % 3
    whole = metrics.neighbour_error(code_NZ, label_N)
    monkeypatch.setattr(metrics, "VOTERS", 7)
    assert metrics.neighbour_error(code_NZ, label_N) == whole and 0 < whole < 1


def test_a_neighbour_votes_with_its_own_label():
    """Two places in turn. Seen to fail with each neighbour's label that of the next image, which in blocks of a class nobody notices."""
    label = torch.arange(40) % 2
    assert metrics.neighbour_error(9.0 * label[:, None] + 0.01 * torch.arange(40.0)[:, None], label) == 0.0


# ---- priors other than the Gaussian


def test_energy_distance_of_points_is_twice_how_far_they_are_apart():
    a, b = torch.zeros(3, 2), torch.tensor([[3.0, 4.0]]).repeat(5, 1)
    assert metrics.energy_distance(a, b) == pytest.approx(10.0) and metrics.energy_distance(a, a) == 0.0
    pair = torch.tensor([[0.0], [2.0]])  # 2 E|a-b| = 2, E|a-a'| = 1
    assert metrics.energy_distance(pair, torch.tensor([[1.0]])) == pytest.approx(1.0)


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_energy_distance_of_shifted_normals_is_the_closed_form(shift):
    """E|N(m, 2)| = 2/sqrt(pi) exp(-m^2/4) + m erf(m/2), in one dimension."""

    def mean_distance(m: float) -> float:
        return 2 / math.sqrt(math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)

    z_NZ = normal(4000, [0.0], [1.0])
    found = metrics.energy_distance(z_NZ, torch.randn(4000, 1, generator=seeded(1), dtype=torch.float64) + shift)
    assert found == pytest.approx(2 * mean_distance(shift) - 2 * mean_distance(0.0), rel=0.07)


def test_two_samples_of_one_prior_are_apart_by_their_mean_distance_over_their_number():
    """What val/prior_mismatch_of_prior is: E|a - a'| (1/N + 1/M) on average."""
    found, distance = [], []
    for seed in range(20):
        a, b = (SAMPLE_PRIOR["mixture"](unlabelled(200), 2, 10, 1.0, seeded(2 * seed + half)) for half in (0, 1))
        found.append(metrics.energy_distance(a, b))
        distance.append(float(torch.cdist(a, b).mean()))
    assert min(found) > 0 and sum(found) == pytest.approx(sum(distance) * 2 / 200, rel=0.25)


def of_prior(kind: str, **values) -> TrialConfig:
    off = {"objective.adversarial_y": None, "objective.classification": None, "model.class_source": "none", "model.z_dim": 2}
    prior = {"objective.adversarial_z.prior.kind": kind, "objective.adversarial_z.sees_label": True}
    return tiny_config(off | prior | values)


@pytest.mark.parametrize("kind", ["mixture", "swiss_roll"])
def test_codes_that_are_the_priors_own_reach_its_ceiling_and_others_do_not(kind):
    label_N = LABELS[:1000]
    z_NZ = SAMPLE_PRIOR[kind](label_N, 2, 10, 1.0, seeded(5))
    own = metrics.style_monitors(z_NZ, label_N, of_prior(kind))
    assert own["val/component_error"] == pytest.approx(own["val/component_error_of_prior"], abs=0.015)
    assert own["val/component_error_of_prior"] == pytest.approx({"mixture": 0.016, "swiss_roll": 0.0}[kind], abs=0.012)
    assert 0 < own["val/prior_mismatch"] < 4 * own["val/prior_mismatch_of_prior"] < 0.08
    swapped = metrics.style_monitors(z_NZ, (label_N + 1) % 10, of_prior(kind))
    assert swapped["val/component_error"] > 0.95 and swapped["val/prior_mismatch"] == own["val/prior_mismatch"]
    moved = metrics.style_monitors(z_NZ + 1, label_N, of_prior(kind))
    assert moved["val/prior_mismatch"] > 20 * own["val/prior_mismatch_of_prior"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", NEAREST_PART)
def test_on_cuda_distances_to_a_prior_are_computed_there_and_are_those_of_the_processor(kind, monkeypatch):
    """They take a core half a second, as long as an epoch there."""
    devices, energy_distance = [], metrics.energy_distance

    def watched(a_NZ, b_MZ):
        devices.append((a_NZ.device.type, b_MZ.device.type))
        return energy_distance(a_NZ, b_MZ)

    monkeypatch.setattr(metrics, "energy_distance", watched)
    label_N = torch.arange(2000) % 10
    z_NZ = SAMPLE_PRIOR[kind](label_N, 2, 10, 1.0, seeded(5))
    expected, found = (metrics.style_monitors(z_NZ.to(device), label_N.to(device), of_prior(kind)) for device in ("cpu", "cuda"))
    assert devices == [("cpu", "cpu")] * 2 + [("cuda", "cuda")] * 2
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_energy_distance_sees_the_last_images_as_well_as_the_first():
    """MNIST's test set: its two halves were written by other people. Seen to fail with the first 4,000 codes alone."""
    label_N = torch.arange(8000) % 10
    z_NZ = SAMPLE_PRIOR["mixture"](label_N, 2, 10, 1.0, seeded(5))
    z_NZ[6000:] += 10
    assert metrics.style_monitors(z_NZ, label_N, of_prior("mixture"))["val/prior_mismatch"] > 0.5


def test_component_error_is_of_a_discriminator_that_sees_labels_and_of_a_prior_with_parts():
    without = of_prior("mixture", **{"objective.adversarial_z.sees_label": False, "data.num_labels": 0})
    z_NZ = torch.randn(200, 2, generator=seeded())
    row = metrics.style_monitors(z_NZ, LABELS[:200], without)
    assert "val/component_error" not in row and "val/prior_mismatch_of_prior" in row
    assert "val/component_error" not in metrics.style_monitors(z_NZ, LABELS[:200], of_prior("gaussian"))


# ---- a sampled encoder


def test_a_sampled_encoders_codes_are_noisy_and_the_same_at_every_evaluation(dataset):
    model, config = Autoencoder(36, 2, [16], num_heads=10, decoder_classes=10, sampled=True), of_dim(2)
    (_, _, z_NZ), (_, _, again_NZ) = (metrics.encode(model, dataset.validation) for _ in range(2))
    with torch.no_grad():
        mean_NZ = model.encoder(metrics.to_pixels(dataset.validation.images_NX))[1]
    assert torch.equal(z_NZ, again_NZ) and float((z_NZ - mean_NZ).abs().mean()) > 0.1
    torch.manual_seed(5)
    assert metrics.evaluate(model, dataset.validation, config, SHAPE)[0] == metrics.evaluate(model, dataset.validation, config, SHAPE)[0]


def test_a_sampled_encoders_noise_is_another_for_each_image(monkeypatch):
    """Seen to fail with the same noise for every chunk: the codes of 10,000 images had that of 2,000."""
    monkeypatch.setattr(metrics, "CHUNK", 3)
    model, black = Autoencoder(36, 2, [16], num_heads=10, decoder_classes=10, sampled=True), torch.zeros(8, 36, dtype=torch.uint8)
    _, _, z_NZ = metrics.encode(model, Split(black, torch.zeros(8, dtype=torch.long)))
    assert len({tuple(z_Z) for z_Z in z_NZ.tolist()}) == 8


# ---- the likelihood


def test_a_parzen_window_over_one_sample_is_a_normal_around_it():
    """log N(x; sample, std^2 I), in nats."""
    sample, x = torch.tensor([[0.2, 0.5, 0.1]]), torch.rand(7, 3, generator=seeded())
    found, std = likelihood.parzen(sample, torch.rand(4, 3, generator=seeded(1)), x)
    expected = torch.distributions.Normal(sample, std).log_prob(x).sum(-1)
    assert torch.allclose(found, expected, rtol=1e-4)


def test_a_parzen_window_is_the_mean_over_samples_and_its_width_the_best_of_the_grid():
    """Against the density written out. Fails where the width is chosen on the scored images, or is not the likeliest."""
    samples, choosing, x = (torch.rand(num, 2, generator=seeded(seed)) for seed, num in ((0, 40), (1, 30), (2, 20)))

    def written_out(images, std):
        pairs = torch.distributions.Normal(samples[None], std).log_prob(images[:, None]).sum(-1)
        return pairs.exp().mean(1).log()

    by_std = {std: float(written_out(choosing, std).mean()) for std in PARZEN_STDS}
    found, std = likelihood.parzen(samples, choosing, x)
    assert std == max(by_std, key=by_std.get) and torch.allclose(found, written_out(x, std), rtol=1e-3, atol=1e-4)
    assert likelihood.parzen(samples, samples, x)[1] == PARZEN_STDS[0]  # images that are samples want it narrow
    assert likelihood.parzen(samples, choosing + 3, x)[1] == PARZEN_STDS[-1]


def test_the_parzen_estimate_of_a_normal_is_close_to_its_true_likelihood():
    """Of N(0, I) in two dimensions, whose mean log-likelihood is -ln(2 pi e) = -2.838 nats; a window of std h makes it N(0, 1 + h^2)."""
    samples, choosing, x = (torch.randn(num, 2, generator=seeded(seed)) for seed, num in ((0, 5000), (1, 200), (2, 500)))
    found, std = likelihood.parzen(samples, choosing, x)
    true = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(-1)
    assert float(found.mean()) == pytest.approx(float(true.mean()), abs=0.03) and std > PARZEN_STDS[0]
    assert float(true.mean()) == pytest.approx(-math.log(2 * math.pi * math.e), abs=0.1)
    few, _ = likelihood.parzen(samples[:20], choosing, x)
    assert few.mean() < found.mean() - 0.2  # the estimate grows with the samples


def test_the_likelihood_is_scored_on_images_that_did_not_choose_the_width(dataset, monkeypatch):
    seen, of = {}, likelihood.parzen

    def look(samples, choosing, images):
        seen.update(samples=samples, choosing=choosing, images=images)
        return of(samples, choosing, images)

    monkeypatch.setattr(metrics, "parzen", look)
    model = Autoencoder(36, 2, [16], num_heads=10, decoder_classes=10)
    row, _ = metrics.evaluate(model, dataset.validation, tiny_config({"model.z_dim": 2, "train.parzen_samples": 30}), SHAPE)
    pixels_NX = metrics.to_pixels(dataset.validation.images_NX)
    assert torch.equal(seen["choosing"], pixels_NX[::2]) and torch.equal(seen["images"], pixels_NX[1::2])
    assert len(seen["samples"]) == 30 and row["val/parzen_std"] in PARZEN_STDS


def test_the_test_set_is_scored_on_fresh_samples_with_a_width_of_validation_images(dataset, monkeypatch):
    """Seen to fail with the samples by which the search chose, and with a width that the scored images chose."""
    seen = []
    monkeypatch.setattr(metrics, "parzen", lambda samples, *images: seen.append((samples, *images)) or (torch.zeros(1), 0.1))
    model, config = Autoencoder(36, 2, [16], num_heads=10, decoder_classes=10), tiny_config({"model.z_dim": 2, "train.parzen_samples": 30})
    test = Split(dataset.train.images_NX[:7], dataset.train.label_N[:7])
    metrics.evaluate(model, dataset.validation, config, SHAPE)
    metrics.evaluate(model, test, config, SHAPE, fitted=dataset.validation)
    (samples, choosing, _), (fresh, same, scored) = seen
    assert torch.equal(same, choosing) and torch.equal(scored, metrics.to_pixels(test.images_NX))
    assert fresh.shape == samples.shape and not torch.isclose(fresh, samples).all(dim=1).any()


# ---- new images


def asked(config: TrialConfig, num: int = 4000, **part) -> tuple[torch.Tensor, torch.Tensor]:
    """(y, z) that the decoder is given for new images."""
    told = config.model.num_classes if config.model.class_source != "none" else 0
    model, seen = Autoencoder(36, config.model.z_dim, [16], num_heads=told, decoder_classes=told), []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    assert metrics.new_images(model, config, num, seeded(), **part).shape == (num, 36)
    y_NK, z_NZ = (torch.cat(parts) for parts in zip(*seen, strict=True))
    return y_NK, z_NZ


def test_new_images_are_decoded_from_the_prior_and_from_every_class():
    y_NK, z_NZ = asked(tiny_config({"model.z_dim": 2, "objective.adversarial_z.prior.std": 5.0}))
    assert torch.allclose(y_NK.mean(0), torch.full((10,), 0.1), atol=0.02) and torch.equal(y_NK.sum(-1), torch.ones(4000))
    assert torch.allclose(z_NZ.std(0), torch.full((2,), 5.0), rtol=0.05)
    y_NK, _ = asked(tiny_config(), 20, label=3)
    assert torch.equal(y_NK, torch.eye(10)[3].expand(20, 10))


def test_new_images_are_of_the_classes_that_p_of_y_says():
    p = [0.55] + [0.05] * 9
    y_NK, _ = asked(tiny_config({"objective.adversarial_y.prior": {"kind": "given", "values": p}}))
    assert torch.allclose(y_NK.mean(0), torch.tensor(p), atol=0.02)


def test_new_images_of_one_component_lie_in_it():
    y_NK, z_NZ = asked(of_prior("mixture"), component=4)
    assert y_NK.shape == (4000, 0) and float((nearest_component(z_NZ, 10) == 4).double().mean()) > 0.97
    _, z_NZ = asked(of_prior("mixture"))
    assert torch.allclose(torch.bincount(nearest_component(z_NZ, 10), minlength=10) / 4000, torch.full((10,), 0.1), atol=0.02)


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
