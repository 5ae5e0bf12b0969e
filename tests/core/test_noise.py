"""A step is a pure function of weights, batch, noise and rates: drawn before it, the same every time, and the same for several models
at once."""

import contextlib
import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from aae.device import repeatable
from aae.noise import Noise, add_noise, draw_noise, make_generators, spread_out
from aae.objective import Batch, Codes, Phase
from aae.updates import UPDATE, State, averaging_decay, rates_of
from tests.compositions import cases, small, state_of
from tests.golden import noise_of, take_step, tiny_batches, tiny_config

# D lanes, B batch, L labelled batch, X pixels, Z style dim, K classes

NUM_LANES = 3
COMPOSITIONS = [case for case in cases() if case.values[2] == "joint"]  # the phases are the same in both updates
NO_CLASS = {"objective.adversarial_y": None, "objective.classification": None, "model.class_source": "none", "data.num_labels": 0}
EVERYTHING = {"model.encoder": "gaussian", "objective.adversarial_y.noise_std": 0.3, "train.input_dropout": 0.2}
EVERYTHING |= {"objective.adversarial_z.prior.kind": "mixture", "objective.adversarial_z.sees_label": True}


def positions(state: State) -> dict[str, torch.Tensor]:
    """Where each random stream stands, torch's own included."""
    return {name: generator.get_state() for name, generator in state.generators.items()} | {"global": torch.get_rng_state()}


def moved_streams(before: dict[str, torch.Tensor], state: State) -> set[str]:
    return {name for name, position in positions(state).items() if not torch.equal(position, before[name])}


# ---- pure


@pytest.mark.parametrize(("path", "baseline", "update"), cases())
def test_the_same_noise_twice_gives_the_same_bits_and_moves_no_generator(path, baseline, update, dataset):
    """Seen to fail with torch.randn in a term."""
    config = small(path, baseline, update)
    batch = tiny_batches(config, dataset, 1)[0]
    first, second = state_of(config, dataset), state_of(config, dataset)
    noise = noise_of(first, batch)
    kept, before = copy.deepcopy(noise), [positions(state) for state in (first, second)]
    assert take_step(first, batch, noise) == take_step(second, batch, noise)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert [moved_streams(was, state) for was, state in zip(before, (first, second), strict=True)] == [set(), set()]
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(noise), tensors_of(kept), strict=True))


def tensors_of(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, dict | tuple):
        return [tensor for branch in (tree.values() if isinstance(tree, dict) else tree) for tensor in tensors_of(branch)]
    return [] if tree is None else [tree]


@pytest.mark.parametrize(
    ("switches", "streams"),
    [
        ({"train.input_noise_std": 0.0}, {"prior"}),
        ({}, {"prior", "noise", "labelled_noise"}),
        ({"model.encoder": "gaussian", "train.input_noise_std": 0.0}, {"prior", "code"}),
        (NO_CLASS | {"train.input_dropout": 0.2}, {"prior", "noise"}),
        ({"objective.consistency": {}, "train.input_noise_std": 0.0}, {"prior", "direction"}),
        ({"objective.consistency": {"from_epoch": 1}, "train.input_noise_std": 0.0}, {"prior"}),
        ({"train.shift": 2, "train.input_noise_std": 0.0}, {"prior", "shift", "labelled_shift"}),
        ({"train.labelled_spread": 0.5, "train.input_noise_std": 0.0}, {"prior", "labelled_noise"}),
    ],
)
def test_what_the_configuration_does_not_read_is_not_drawn(switches, streams, dataset):
    config = tiny_config(switches)
    state, num_labelled = state_of(config, dataset), 0 if config.objective.classification is None else 20
    before = positions(state)
    noise = draw_noise(config, state.generators, torch.full((50,), -1), state.x_dim, num_labelled, 0)
    assert moved_streams(before, state) == streams
    assert (noise.prior_BK is None) == (config.objective.adversarial_y is None) and not noise.instance_BK


@pytest.mark.parametrize(("update", "num_codes"), [("alternating", 3), ("joint", 1)])
def test_a_stream_is_read_in_the_order_that_every_training_so_far_had(update, num_codes):
    """A sample of z, of its class, then of y, then instance noise on them, on the codes, and in the generator phase."""
    config = tiny_config(EVERYTHING | {"train.update": update})
    label_B = torch.tensor([3, -1, 7])
    ours, plain = (make_generators(config, torch.device("cpu")) for _ in range(2))
    noise = draw_noise(config, ours, label_B, 36, 2, 0)
    prior, code = plain["prior"], plain["code"]
    frame_BP2 = torch.randn(3, 5, 2, generator=prior) * torch.tensor([0.5, 0.1])
    component_B1 = torch.where(label_B < 0, torch.randint(10, (3,), generator=prior), label_B)[:, None]
    cos, sin = ((2 * torch.pi / 10 * component_B1).cos(), (2 * torch.pi / 10 * component_B1).sin())
    u, v = frame_BP2[..., 0] + 1.4, frame_BP2[..., 1]
    assert torch.allclose(noise.prior_BZ, torch.stack([u * cos - v * sin, u * sin + v * cos], dim=-1).flatten(1), atol=1e-5)
    assert torch.equal(noise.prior_BK.argmax(dim=1), torch.randint(10, (3,), generator=prior))
    for drawn_BK in noise.instance_BK.values():
        assert torch.equal(drawn_BK, 0.3 * torch.randn(3, 10, generator=prior))
    assert list(noise.instance_BK) == ["samples", "codes", "generator"] and len(noise.code_BZ) == num_codes
    assert all(torch.equal(drawn_BZ, torch.randn(3, 10, generator=code)) for drawn_BZ in noise.code_BZ.values())
    for pixels, stream, num in ((noise.pixels, "noise", 3), (noise.labelled_pixels, "labelled_noise", 2)):
        kept_BX = torch.rand(num, 36, generator=plain[stream]) >= 0.2
        x_BX = torch.rand(num, 36)
        expected = x_BX * kept_BX / 0.8 + 0.3 * torch.randn(num, 36, generator=plain[stream])
        assert torch.equal(add_noise(x_BX, pixels, config.train), expected)


def test_labelled_images_are_moved_by_noise_of_the_covariance_of_the_unlabelled_ones():
    config, generator = tiny_config({"train.labelled_spread": 0.5}), torch.Generator().manual_seed(0)
    x_BX = torch.rand(400, 6, generator=generator) @ torch.rand(6, 6, generator=generator)  # pixels that depend on each other
    x_LX = torch.rand(1, 6, generator=generator).expand(50_000, 6)
    noise = draw_noise(config, make_generators(config, torch.device("cpu")), torch.full((400,), -1), 6, 50_000, 0)
    added_LX = spread_out(x_LX, noise.mixed_LB, x_BX, 0.8) - x_LX
    expected_XX = (0.5 * 0.8) ** 2 * torch.cov(x_BX.T, correction=0)
    assert torch.allclose(torch.cov(added_LX.T), expected_XX, atol=0.02 * float(expected_XX.max()))
    assert added_LX.mean(dim=0).abs().max() < 0.02 * expected_XX.max().sqrt()
    assert torch.equal(spread_out(x_LX, noise.mixed_LB, x_BX, 0.0), x_LX) and spread_out(x_LX, None, x_BX, 0.8) is x_LX


def test_the_spread_changes_no_other_draw():
    without, with_it = (tiny_config({"train.labelled_spread": spread}) for spread in (0.0, 0.5))
    first, second = (draw_noise(it, make_generators(it, torch.device("cpu")), torch.tensor([1, 2]), 6, 3, 0) for it in (without, with_it))
    assert first.mixed_LB is None and second.mixed_LB is not None
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(first), tensors_of(second._replace(mixed_LB=None)), strict=True))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("update", UPDATE)
def test_rates_and_the_averages_decay_may_be_tensors(kind, update, dataset):
    """As a captured step reads them, which no longer asks Python."""
    config = tiny_config({"optim.kind": kind, "train.update": update})
    batches, averaged = tiny_batches(config, dataset, 3), []
    for number in (float, lambda value: torch.tensor(value, dtype=torch.float64)):
        state = state_of(config, dataset)
        for step, batch in enumerate(batches):
            rates = {phase.name: number(0.01 * (step + 1)) for phase in state.phases}
            UPDATE[update](state, batch, noise_of(state, batch), rates, contextlib.nullcontext)
            decay = averaging_decay(0.9, step)
            state.average(decay if number is float else torch.tensor(decay))
        averaged.append(state.averaged_parameters)
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(*averaged, strict=True))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("update", UPDATE)
def test_a_phase_whose_rate_is_nought_moves_nothing(kind, update, dataset):
    """The step goes by the rates that it is given. Seen to fail where `apply` leaves the optimiser's own."""
    config = tiny_config({"optim.kind": kind, "train.update": update})
    state, batch = state_of(config, dataset), tiny_batches(config, dataset, 1)[0]
    before = [value.detach().clone() for value in state.model.parameters()]
    UPDATE[update](state, batch, noise_of(state, batch), {phase.name: 0.0 for phase in state.phases}, contextlib.nullcontext)
    assert all(torch.equal(a, b) for a, b in zip(before, state.model.parameters(), strict=True))


class Copies(TorchFunctionMode):
    """Notes each call that would wait for a GPU, or copy to it or from it: a tensor of Python numbers, or a number of a tensor."""

    NAMES = ("tensor", "as_tensor", "from_numpy", "to", "cpu", "cuda", "item", "tolist", "numpy", "__bool__", "__float__", "__int__")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        number_in_where = name == "where" and not all(isinstance(argument, torch.Tensor) for argument in args)
        if name in self.NAMES or number_in_where:
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("path", "baseline", "update"), cases())
def test_neither_the_draw_nor_the_step_copies_to_a_gpu_or_waits_for_it(path, baseline, update, dataset):
    """As far as Python can see without one. Seen to fail with torch.tensor(COMPONENT_STD) in sample_mixture, and with `where` and a
    number in with_label."""
    config = small(path, baseline, update)
    state, batch = state_of(config, dataset), tiny_batches(config, dataset, 1)[0]
    rates = rates_of(state, 1.0, state.config.optim.decoder_speed)
    with Copies() as copies:
        values = UPDATE[update](state, batch, noise_of(state, batch), rates, contextlib.nullcontext)
        state.average(0.9)
    assert copies.seen == [] and len(values) == sum(len(phase.terms) for phase in state.phases)


# ---- several models at once


class PhaseModule(torch.nn.Module):
    """A phase as `torch.func.functional_call` wants it: (its terms, their weighted sum)."""

    def __init__(self, state: State, phase: Phase):
        super().__init__()
        self.model, self.phase = state.model, phase

    def forward(self, batch: Batch, noise: Noise) -> tuple[torch.Tensor, torch.Tensor]:
        codes = Codes(self.model, batch, noise.code_BZ.get("step"), with_graph=self.phase.name != "discriminator")
        losses = self.phase.losses(self.model, batch, codes, noise)
        return torch.stack(losses.values), losses.total


def stacked(*lanes: Any) -> Any:
    """A tuple or a dict of tensors for each lane, as one with a first dimension more."""
    first = lanes[0]
    if isinstance(first, dict):
        return {key: stacked(*(lane[key] for lane in lanes)) for key in first}
    if isinstance(first, tuple):
        return type(first)(*(stacked(*parts) for parts in zip(*lanes, strict=True)))
    return None if first is None else torch.stack(lanes)


def lane_dims(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: lane_dims(branch) for key, branch in tree.items()}
    if isinstance(tree, tuple):
        return type(tree)(*map(lane_dims, tree))
    return None if tree is None else 0


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative, in the Euclidean norm."""
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


@pytest.mark.parametrize(("path", "baseline", "update"), COMPOSITIONS)
def test_three_seeds_in_one_program_have_the_losses_and_gradients_of_three_single_models(path, baseline, update, dataset):
    """Of every phase, by functional_call under vmap; their sum is differentiated once. Seen to fail where a lane reads another's noise."""
    config = small(path, baseline, update)
    seeded = [replace(config, train=replace(config.train, seed=seed)) for seed in range(NUM_LANES)]
    states = [state_of(lane, dataset) for lane in seeded]
    batches = tiny_batches(config, dataset, NUM_LANES)
    noises = [noise_of(state, batch) for state, batch in zip(states, batches, strict=True)]
    batch_D, noise_D = stacked(*batches), stacked(*noises)
    for index, phase in enumerate(states[0].phases):
        module = PhaseModule(states[0], phase)
        single = [PhaseModule(state, state.phases[index]) for state in states]
        weights_D = {name: value.requires_grad_() for name, value in stacked(*(weights_of(lane) for lane in single)).items()}

        def one_lane(weights: dict[str, torch.Tensor], batch: Batch, noise: Noise, module: PhaseModule = module) -> Any:
            return torch.func.functional_call(module, weights, (batch, noise))

        in_dims = (lane_dims(weights_D), lane_dims(batch_D), lane_dims(noise_D))
        values_DT, total_D = torch.func.vmap(one_lane, in_dims=in_dims)(weights_D, batch_D, noise_D)
        own = [name for name, value in module.named_parameters() if any(value is parameter for parameter in phase.parameters)]
        gradients_D = torch.autograd.grad(total_D.sum(), [weights_D[name] for name in own])
        for lane, (alone, batch, noise) in enumerate(zip(single, batches, noises, strict=True)):
            values_T, total = alone(batch, noise)
            assert torch.allclose(values_DT[lane], values_T, rtol=1e-5, atol=0)
            expected = torch.autograd.grad(total, alone.phase.parameters)
            for name, gradient_D, gradient in zip(own, gradients_D, expected, strict=True):
                assert difference(gradient_D[lane], gradient) < 1e-5, (phase.name, name)


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in module.named_parameters()}


# ---- on a GPU


@pytest.fixture
def cuda():
    """A GPU as a training sets it; afterwards nothing is left of that."""
    repeatable(torch.device("cuda"), 1)
    yield torch.device("cuda")
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(False)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("path", "baseline", "update"), cases())
def test_on_cuda_neither_the_draw_nor_the_step_waits_for_the_device(path, baseline, update, dataset, cuda):
    config = small(path, baseline, update)
    state = State(config, dataset.train.images_NX.shape[1], cuda)
    batches = [Batch(*(tensor.to(cuda) for tensor in batch)) for batch in tiny_batches(config, dataset, 3)]
    rates = rates_of(state, 1.0, state.config.optim.decoder_speed)
    for step, batch in enumerate(batches):
        torch.cuda.set_sync_debug_mode("error" if step else "default")  # the first step makes momenta and workspaces
        UPDATE[update](state, batch, noise_of(state, batch), rates, contextlib.nullcontext)
        state.average(0.9)
