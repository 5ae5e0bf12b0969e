"""Virtual adversarial training as a term, and shifted images as data."""

import contextlib
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from aae import losses, metrics
from aae import train as training
from aae.data import DataError, Dataset
from aae.draws import prepare, refuse_unfit
from aae.noise import STREAMS, draw_noise, make_generators, shifted
from aae.objective import Batch, Codes
from aae.train import train, train_epoch
from aae.updates import UPDATE, State
from tests.compositions import state_of
from tests.golden import noise_of, take_step, tiny_batches, tiny_config

# B batch, X pixels, K classes, 2 rows and columns

CPU = torch.device("cpu")
ON = {"objective.consistency": {"weight": 0.5}}
CLUSTERS = {"objective.classification": None, "data.num_labels": 0}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def small_network(num_classes: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """12 pixels -> logits, smooth, so that it has a Hessian."""
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(16, 12, generator=generator) / 4, torch.randn(num_classes, 16, generator=generator) / 4
    return lambda x_BX: torch.tanh(x_BX @ first.T) @ second.T


def unit(x_BX: torch.Tensor) -> torch.Tensor:
    return F.normalize(x_BX, dim=-1)


# ---- the loss and the perturbation


def test_consistency_is_the_kl_divergence_in_nats_and_the_target_has_no_gradient():
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    target_BK = (p.log() + 3).repeat(4, 1).requires_grad_()  # logits: a constant more or less is the same distribution
    logits_BK = q.log().repeat(4, 1).requires_grad_()
    value = losses.consistency(target_BK, logits_BK)
    value.backward()
    assert value.item() == pytest.approx(expected) and target_BK.grad is None
    assert torch.allclose(logits_BK.grad, (q - p).expand(4, 2) / 4, atol=1e-6)
    assert losses.consistency(target_BK, target_BK).item() == 0


@pytest.mark.parametrize("num_classes", [2, 4])
def test_one_iteration_multiplies_the_direction_by_the_hessian_and_finds_its_top_eigenvector(num_classes):
    """Around the image that the target is of. With two classes the Hessian has one eigenvector, so that one iteration finds it; with
    four, a few do."""
    network, x_BX = small_network(num_classes), torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    direction_BX = unit(torch.randn(5, 12, generator=torch.Generator().manual_seed(2)))
    target_BK = network(x_BX)

    def once(d_BX: torch.Tensor) -> torch.Tensor:
        return losses.adversarial_perturbation(network, target_BK, x_BX, d_BX, xi=0.01, epsilon=1.0)

    found_BX, iterated_BX = once(direction_BX), direction_BX
    for _ in range(40):
        iterated_BX = once(iterated_BX)
    for x, target, d, found, iterated in zip(x_BX, target_BK, direction_BX, found_BX, iterated_BX, strict=True):

        def divergence(moved, target=target):
            return losses.consistency(target[None], network(moved[None]))

        hessian = torch.func.hessian(divergence)(x).detach()
        values, vectors = torch.linalg.eigh(hessian)
        assert values[-1] > 1e-3 and abs(values[-num_classes]) < 1e-4 * values[-1]  # as many as classes, less one
        assert found @ unit(hessian @ d) > 0.995
        assert abs((found if num_classes == 2 else iterated) @ vectors[:, -1]) > 0.995


def test_a_perturbation_has_the_length_epsilon_and_no_graph_and_is_nought_where_nothing_changes():
    network, x_BX = small_network(3), torch.randn(6, 12)
    scale = torch.ones((), requires_grad=True)  # as the weights do
    target_BK, direction_BX = network(x_BX) * scale, unit(torch.randn(6, 12))
    r_BX = losses.adversarial_perturbation(lambda x: network(x) * scale, target_BK, x_BX, direction_BX, 1.0, 2.5)
    assert torch.allclose(r_BX.norm(dim=-1), torch.tensor(2.5)) and not r_BX.requires_grad
    nought_BX = losses.adversarial_perturbation(lambda x: network(0 * x) * scale, target_BK, x_BX, direction_BX, 1.0, 2.5)
    assert torch.equal(nought_BX, torch.zeros(6, 12))


def test_a_sure_image_is_moved_as_far_as_an_unsure_one():
    """Fails where the gradient is not scaled before its norm is taken: the squares of one below 1e-19 are 0 in float32."""
    weight, x_BX = torch.eye(3, 12), torch.zeros(2, 12)
    x_BX[1, 0] = 60.0  # the other classes have 1e-26
    direction_BX = unit(torch.arange(12.0).repeat(2, 1))
    r_BX = losses.adversarial_perturbation(lambda x: x @ weight.T, x_BX @ weight.T, x_BX, direction_BX, 1.0, 1.5)
    assert torch.allclose(r_BX.norm(dim=-1), torch.tensor(1.5))


def trained(values: dict, dataset: Dataset, steps: int = 40) -> State:
    state = state_of(tiny_config(ON | {"model.hidden_dims": [64], "optim.classification.rate": 0.02} | values), dataset)
    for batch in tiny_batches(state.config, dataset, steps):
        take_step(state, batch)
    return state


def direction_of(state: State, batch: Batch, direction_BX: torch.Tensor, xi: float, precision: str) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        target_BK = state.model.encoder(batch.noisy_BX)[0]
        assert target_BK.dtype == torch.float32
        return losses.adversarial_perturbation(
            lambda x_BX: state.model.encoder(x_BX)[0], target_BK, batch.noisy_BX, direction_BX, xi, epsilon=1.0
        )


def test_the_default_xi_finds_the_same_direction_in_both_precisions_and_small_ones_do_not(dataset):
    """In bfloat16 a small xi moves the image by less than its rounding, and the gradient is one of rounding errors. Fails with any of
    the smaller ones as the default."""
    state, xi = trained({}, dataset), tiny_config(ON).objective.consistency.xi
    batch = tiny_batches(state.config, dataset, 1)[0]
    direction_BX = unit(torch.randn(batch.x_BX.shape, generator=torch.Generator().manual_seed(0)))
    exact_BX = direction_of(state, batch, direction_BX, 0.01, "float32")

    def agreement(xi: float, precision: str, with_BX: torch.Tensor) -> float:
        found_BX = direction_of(state, batch, direction_BX, xi, precision)
        assert torch.allclose(found_BX.norm(dim=-1), torch.tensor(1.0)), "an image has no gradient"
        return (found_BX * with_BX).sum(dim=-1).median().item()

    in_float32_BX = direction_of(state, batch, direction_BX, xi, "float32")
    assert agreement(xi, "bfloat16", in_float32_BX) > 0.99
    assert agreement(xi, "float32", exact_BX) > 0.85 and agreement(xi, "bfloat16", exact_BX) > 0.85
    assert agreement(1e-4, "bfloat16", exact_BX) < 0.5 and agreement(1e-2, "bfloat16", exact_BX) < 0.75
    assert agreement(1e-8, "float32", exact_BX) < 0.5


def test_an_aligned_target_weighs_each_class_against_its_mean_in_the_batch():
    p_BK = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.9, 0.1]]).repeat(2, 1)  # 0.8 and 0.2 on the whole
    weighted_BK = p_BK / torch.tensor([0.8, 0.2])
    expected_BK = weighted_BK / weighted_BK.sum(dim=-1, keepdim=True)
    assert torch.allclose(losses.aligned(p_BK.log() + 3).softmax(dim=-1), expected_BK) and expected_BK[0].argmax() == 1
    even_BK = torch.tensor([[0.7, 0.3], [0.3, 0.7]])
    assert torch.allclose(losses.aligned(even_BK.log()).softmax(dim=-1), even_BK)
    gone_BK = torch.tensor([[1 - 1e-9, 1e-9]]).repeat(4, 1)  # none of the second class: a quarter of an image, and not 1e9 times as much
    assert losses.aligned(gone_BK.log()).softmax(dim=-1)[0, 1].item() == pytest.approx(4e-9, rel=1e-3)


# ---- the term


def classification_phase(state: State, batch: Batch):
    """(the phase, its losses with the state's next noise)."""
    phase = next(phase for phase in state.phases if phase.name == "classification")
    return phase, phase.losses(state.model, batch, Codes(state.model, batch, None), noise_of(state, batch))


@pytest.mark.parametrize("aligned", [False, True])
def test_the_target_of_the_term_is_aligned_where_that_is_asked_and_has_no_gradient(aligned, dataset):
    config = tiny_config({"objective.consistency": {"weight": 0.5, "aligned": aligned}, "objective.classification.weight": 0.0})
    state, batch = state_of(config, dataset), tiny_batches(config, dataset, 1)[0]
    seen = []
    with state.model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):
        phase, found = classification_phase(state, batch)
    logits_BK = state.model.encoder(batch.noisy_BX)[0]
    target_BK = losses.aligned(logits_BK) if aligned else logits_BK
    expected = losses.consistency(target_BK, state.model.encoder(seen[-1].detach())[0])
    assert found.values[1].item() == pytest.approx(expected.item(), rel=1e-5)
    for gradient, wanted in zip(found.backward(), torch.autograd.grad(0.5 * expected, phase.parameters), strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("around", ["noisy", "clean", "other"])
def test_the_term_is_the_divergence_at_the_moved_image_and_its_gradient_goes_through_that_pass_alone(around, dataset):
    """Fails where the target or the perturbation keeps its graph, or f reads the other image."""
    config = tiny_config(
        {"objective.consistency": {"weight": 0.5, "around": around, "epsilon": 0.8}, "objective.classification.weight": 0.0}
    )
    state, batch = state_of(config, dataset), tiny_batches(config, dataset, 1)[0]
    batch = batch._replace(other_BX=batch.x_BX.flip(-1))
    seen = []
    with state.model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):
        phase, found = classification_phase(state, batch)
    moved_BX = seen[-1].detach()
    x_BX = {"noisy": batch.noisy_BX, "clean": batch.x_BX, "other": batch.other_BX}[around]
    assert torch.allclose((moved_BX - x_BX).norm(dim=-1), torch.tensor(0.8), atol=1e-4)
    target_BK = state.model.encoder(batch.noisy_BX)[0].detach()
    expected = losses.consistency(target_BK, state.model.encoder(moved_BX)[0])
    assert found.values[1].item() == pytest.approx(expected.item(), rel=1e-5)
    for gradient, wanted in zip(found.backward(), torch.autograd.grad(0.5 * expected, phase.parameters), strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("update", UPDATE)
def test_before_its_epoch_the_term_is_nought_and_costs_and_changes_nothing(update, dataset):
    """Weights to the bit. Fails where the direction is drawn before it is used."""
    values = {"train.update": update}
    late = {"objective.consistency": {"from_epoch": 1}}
    with_it, without = state_of(tiny_config(values | late), dataset), state_of(tiny_config(values), dataset)
    batches, passes = tiny_batches(without.config, dataset, 3), {}
    for name, state in (("with", with_it), ("without", without)):
        state.model.encoder.register_forward_hook(lambda *_, name=name: passes.update({name: passes.get(name, 0) + 1}))
    position = with_it.generators["direction"].get_state()
    for batch in batches[:2]:
        terms = take_step(with_it, batch)
        assert terms == take_step(without, batch) | {"classification/consistency": 0.0}
    assert all(torch.equal(a, b) for a, b in zip(with_it.model.parameters(), without.model.parameters(), strict=True))
    assert passes["with"] == passes["without"] and torch.equal(position, with_it.generators["direction"].get_state())
    with_it.epoch = 1
    assert take_step(with_it, batches[2])["classification/consistency"] > 0
    take_step(without, batches[2])
    assert not torch.equal(with_it.model.encoder.heads.weight, without.model.encoder.heads.weight)


def test_an_epoch_is_trained_with_the_term_when_so_many_were_trained_before_and_rows_have_the_same_columns(dataset):
    rows = []
    train(tiny_config({"objective.consistency": {"from_epoch": 2}, "train.epochs": 4}), rows.append, dataset=dataset)
    assert [row["classification/consistency"] > 0 for row in rows] == [False, False, True, True]
    assert len({tuple(row) for row in rows}) == 1


def test_consistent_predictions_are_learnt(dataset):
    """The term falls where it is trained, against the same training without it."""

    def divergence(values: dict) -> float:
        state, measured = trained(values, dataset, steps=60), tiny_config(ON | {"model.hidden_dims": [64], "train.seed": 5})
        batch = tiny_batches(measured, dataset, 1)[0]
        return classification_phase(state, batch)[1].values[1].item()

    assert divergence({"objective.consistency": {"weight": 1.0}}) < 0.5 * divergence({"objective.consistency": {"weight": 0.0}})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("update", UPDATE)
@pytest.mark.parametrize("from_epoch", [0, 1])
def test_without_labels_the_term_is_alone_in_its_phase_and_trains(from_epoch, update, precision, dataset):
    """Before it begins nothing moves there. In bfloat16 the first pass, which has no graph, must not cast the weights for the second."""
    values = CLUSTERS | {"train.update": update, "train.precision": precision, "train.epochs": 2}
    with_it, without = [], []
    train(tiny_config(values | {"objective.consistency": {"weight": 0.5, "from_epoch": from_epoch}}), with_it.append, dataset=dataset)
    train(tiny_config(values), without.append, dataset=dataset)
    assert [row["classification/consistency"] > 0 for row in with_it] == [from_epoch == 0, True]
    same = [row["val/reconstruction"] == other["val/reconstruction"] for row, other in zip(with_it, without, strict=True)]
    assert same == [from_epoch == 1, False]


# ---- streams


def test_the_term_and_shifts_have_streams_of_their_own_and_every_other_stream_keeps_its_bits():
    plain, full = tiny_config({"model.encoder": "gaussian"}), tiny_config(ON | {"train.shift": 2, "model.encoder": "gaussian"})
    generators = {name: make_generators(config, CPU) for name, config in (("plain", plain), ("full", full))}
    before = {name: generator.get_state() for name, generator in generators["full"].items()}
    assert tuple(generators["plain"]) == STREAMS[:7] and tuple(generators["full"]) == STREAMS
    assert all(torch.equal(generator.get_state(), before[name]) for name, generator in generators["plain"].items())
    label_B = torch.full((50,), -1)
    one, other = draw_noise(plain, generators["plain"], label_B, 36, 20, 0), draw_noise(full, generators["full"], label_B, 36, 20, 0)
    assert one.direction_BX is one.shift_B2 is one.labelled_shift_L2 is None
    assert torch.equal(one.pixels.added_BX, other.pixels.added_BX) and torch.equal(one.prior_BZ, other.prior_BZ)
    moved = {name for name, generator in generators["full"].items() if not torch.equal(generator.get_state(), before[name])}
    assert moved == {"noise", "labelled_noise", "prior", "code", "direction", "shift", "labelled_shift"}
    assert torch.allclose(other.direction_BX.norm(dim=-1), torch.ones(50)) and other.direction_BX.shape == (50, 36)


def test_what_the_term_draws_of_images_of_its_own_is_drawn_from_its_own_stream():
    """Seen to fail with the other images' shift from the stream of the training images': their next shift was another one."""
    noisy, other = (tiny_config({"objective.consistency": {"around": around}, "train.shift": 2}) for around in ("noisy", "other"))
    label_B, after = torch.full((50,), -1), []
    for config in (noisy, other):
        generators = make_generators(config, CPU)
        draw_noise(config, generators, label_B, 36, 20, 0)
        after.append({name: generator.get_state() for name, generator in generators.items()})
    assert {name for name in after[0] if not torch.equal(after[0][name], after[1][name])} == {"direction"}


# ---- shifts


@pytest.mark.parametrize("image_shape", [(1, 7, 7), (3, 5, 8)])
def test_a_shifted_image_is_moved_down_and_to_the_right_and_zeros_come_in(image_shape):
    generator, (_, height, width) = torch.Generator().manual_seed(0), image_shape
    x_BX = 0.1 + torch.rand(40, math.prod(image_shape), generator=generator)
    shift_B2 = torch.randint(-2, 3, (40, 2), generator=generator)
    for x, (down, right), found in zip(x_BX, shift_B2.tolist(), shifted(x_BX, shift_B2, 2, image_shape), strict=True):
        image, expected = x.view(image_shape), torch.zeros(image_shape)
        for row, column in itertools.product(range(height), range(width)):
            if 0 <= row + down < height and 0 <= column + right < width:
                expected[:, row + down, column + right] = image[:, row, column]
        assert torch.equal(found.view(image_shape), expected)


def test_shifts_are_uniform_over_both_axes_and_apart_for_labelled_images():
    config = tiny_config({"train.shift": 2})
    noise = draw_noise(config, make_generators(config, CPU), torch.full((20_000,), -1), 36, 20_000, 0)
    for shift_B2 in (noise.shift_B2, noise.labelled_shift_L2):
        share_25 = torch.bincount((shift_B2[:, 0] + 2) * 5 + shift_B2[:, 1] + 2, minlength=25) / 20_000
        assert len(share_25) == 25 and (share_25 - 0.04).abs().max() < 0.008
    assert not torch.equal(noise.shift_B2, noise.labelled_shift_L2)


def test_the_target_and_the_noisy_image_are_shifted_alike_and_the_labelled_and_other_ones_anew(dataset, monkeypatch):
    config, seen = tiny_config({"train.shift": 2, "objective.consistency": {"around": "other"}}), []
    draw, plain = (prepare(one, dataset, None, CPU)[0] for one in (config, tiny_config()))

    def note(state, batch, noise, rates, autocast):
        seen.append((batch, noise))
        return UPDATE["joint"](state, batch, noise, rates, autocast)

    monkeypatch.setattr(training, "UPDATE", {"joint": note})
    for one in (draw, plain):
        train_epoch(one, dataset.image_shape, 2, contextlib.nullcontext, lambda step: 1.0)
    for (batch, noise), (unmoved, _) in zip(seen[:2], seen[2:], strict=True):
        assert torch.equal(batch.x_BX, shifted(unmoved.x_BX, noise.shift_B2, 2, dataset.image_shape))
        assert not torch.equal(batch.x_BX, unmoved.x_BX) and torch.equal(batch.label_B, unmoved.label_B)
        assert torch.equal(batch.noisy_BX, batch.x_BX + noise.pixels.added_BX)
        other_BX = shifted(unmoved.x_BX, noise.other_shift_B2, 2, dataset.image_shape)
        assert torch.equal(batch.other_BX, other_BX + noise.other_pixels.added_BX) and not torch.equal(other_BX, batch.x_BX)
        assert unmoved.other_BX is None and not torch.equal(noise.other_pixels.added_BX, noise.pixels.added_BX)
        clean_LX = metrics.to_pixels(draw.labelled.images_NX)
        moved_LX = shifted(clean_LX, noise.labelled_shift_L2, 2, dataset.image_shape)
        assert torch.equal(batch.noisy_LX, moved_LX + noise.labelled_pixels.added_BX)


def test_a_shift_of_half_of_the_image_or_more_is_refused(dataset):
    refuse_unfit(tiny_config({"train.shift": 2}), dataset)
    with pytest.raises(DataError, match="train.shift: got 3; images are 6 x 6: give less than half of a side"):
        refuse_unfit(tiny_config({"train.shift": 3}), dataset)
    with pytest.raises(DataError) as caught:  # all at once: a user's own data often break several
        refuse_unfit(tiny_config({"train.shift": 3, "train.batch_size": 100_000}), dataset)
    assert all(path in str(caught.value) for path in ("train.batch_size: got", "train.shift: got 3"))


def test_evaluation_sees_images_as_they_are(dataset):
    """The first epoch's error of a model that does not move is that without shifts."""
    still = {f"optim.{phase}.rate": 1e-30 for phase in ("reconstruction", "discriminator", "generator", "classification")}
    rows = [train(tiny_config(still | {"train.epochs": 1} | more), lambda row: None, dataset=dataset) for more in ({}, {"train.shift": 2})]
    assert rows[0]["val/reconstruction"] == rows[1]["val/reconstruction"]
    assert rows[0]["reconstruction/reconstruction"] != rows[1]["reconstruction/reconstruction"]


def test_the_averaged_weights_and_the_discriminators_do_not_see_the_term(dataset):
    """It is in the classification phase: the encoder's weights alone."""
    state = state_of(tiny_config(ON | {"objective.classification.weight": 0.0}), dataset)
    batch = tiny_batches(state.config, dataset, 1)[0]
    before = {name: value.detach().clone() for name, value in state.model.named_parameters()}
    phase, found = classification_phase(state, batch)
    assert {id(parameter) for parameter in phase.parameters} == {id(parameter) for parameter in state.model.encoder.parameters()}
    assert any(float(gradient.abs().max()) > 0 for gradient in found.backward())
    assert all(torch.equal(value, before[name]) for name, value in state.model.named_parameters())
