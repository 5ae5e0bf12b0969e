"""What a training carries from step to step, and the two ways to make a step of it: `UPDATE[config.train.update]`.

Phases, optimisers, rates and momenta are the same in both, so a recipe carries over; they differ in when codes are computed.
A step is a pure function of weights, batch, noise and rates: it draws nothing, and moves weights and momenta in place. It returns
the value of every term, unweighted.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from aae.config import TrialConfig
from aae.model import AAE, Autoencoder
from aae.noise import Noise, make_generators
from aae.objective import Batch, Codes, Phase, build_phases


class State:
    """What a training carries from step to step, and what its checkpoint holds."""

    def __init__(self, config: TrialConfig, x_dim: int, device: torch.device):
        self.config, self.x_dim, self.epoch = config, x_dim, 0
        self.labels_learnt = False  # whether an epoch's mean cross-entropy was below train.LEARNT
        self.generators = make_generators(config, device)
        model, adversarial_z = config.model, config.objective.adversarial_z
        self.model = AAE(
            x_dim,
            init_std=model.init_std,
            leaky_slope=model.leaky_slope,
            discriminator_dims=model.discriminator_dims,
            discriminator_init_std=model.discriminator_init_std,
            heads_std=model.heads_std,
            generator=self.generators["init"],
            label_classes=model.num_classes * (adversarial_z.sees_label or adversarial_z.sees_class) + adversarial_z.sees_label,
            **model.shape,
        ).to(device)
        self.averaged = Autoencoder(x_dim, **model.shape).to(device)
        self.averaged.encoder, self.averaged.decoder = self.model.encoder, self.model.decoder
        if config.train.ema_decay is not None:
            self.averaged = copy.deepcopy(self.averaged).requires_grad_(False)
        self.averaged_parameters: list[Tensor] = list(self.averaged.parameters())
        self.plain_parameters: list[Tensor] = [*self.model.encoder.parameters(), *self.model.decoder.parameters()]
        self.phases = build_phases(config, self.model, self.epoch)  # `train_epoch` builds those of each epoch
        self.optimizers = {phase.name: make_optimizer(config, phase) for phase in self.phases}
        self.steps = 0

    @torch.no_grad()  # the plain weights ask for gradients: the average would remember every step that it ever took
    def average(self, decay: float | Tensor) -> None:
        """averaged += (plain - averaged) * (1 - decay)"""
        for averaged, plain in zip(self.averaged_parameters, self.plain_parameters, strict=True):
            averaged.lerp_(plain, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {
            "config": OmegaConf.to_container(OmegaConf.structured(self.config)),
            "epoch": self.epoch,
            "steps": self.steps,
            "labels_learnt": self.labels_learnt,
            "x_dim": self.x_dim,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
        }

    def can_load(self, state: dict[str, Any]) -> bool:
        """Not a state of another kind of device: a GPU's random stream has no continuation on a processor, nor the other way round."""
        return all(len(state["generators"][name]) == len(generator.get_state()) for name, generator in self.generators.items())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.steps = state["epoch"], state["steps"]
        self.labels_learnt = state.get("labels_learnt", False)  # nothing read it when there was none
        self.model.load_state_dict(state["model"])
        if self.config.train.ema_decay is not None:
            self.averaged.load_state_dict(state["averaged"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name].cpu())


Rate = float | Tensor | tuple[float | Tensor, float | Tensor]  # of all parameters of a phase, or of the slow and of the fast ones
Rates = Mapping[str, Rate]  # phase -> learning rate


def make_optimizer(config: TrialConfig, phase: Phase) -> torch.optim.Optimizer:
    rates = getattr(config.optim, phase.name)
    first = len(phase.parameters) - phase.num_fast
    groups = [{"params": parameters} for parameters in (phase.parameters[:first], phase.parameters[first:]) if parameters]
    if config.optim.kind == "sgd":
        return torch.optim.SGD(groups, lr=rates.rate, momentum=rates.momentum, fused=True)
    return torch.optim.Adam(groups, lr=rates.rate, betas=(rates.momentum, 0.999), fused=True)


def averaging_decay(ema_decay: float, step: int) -> float:
    """Grows to `ema_decay` as 1 - 1/(t+1): the first average is the weights as they are."""
    return min(ema_decay, 1 - 1 / (step + 1))


def apply(optimizer: torch.optim.Optimizer, phase: Phase, gradients: tuple[Tensor, ...], rate: Rate) -> None:
    """Moves the phase's parameters in place."""
    for group, own in zip(optimizer.param_groups, rate if isinstance(rate, tuple) else (rate,), strict=True):
        group["lr"] = own
    for parameter, gradient in zip(phase.parameters, gradients, strict=True):
        parameter.grad = gradient.contiguous()  # fused optimisers read memory in the parameter's order, whatever the gradient's strides
    optimizer.step()
    for parameter in phase.parameters:
        parameter.grad = None


Autocast = Callable[[], contextlib.AbstractContextManager[Any]]


def alternating_step(state: State, batch: Batch, noise: Noise, rates: Rates, autocast: Autocast) -> list[Tensor]:
    """The paper's: codes are computed anew before each phase."""
    values: list[Tensor] = []
    for phase in state.phases:
        with autocast():  # left before any weight changes: it caches the cast weights
            codes = Codes(state.model, batch, noise.code_BZ.get(phase.name), with_graph=phase.name != "discriminator")
            losses = phase.losses(state.model, batch, codes, noise)
        apply(state.optimizers[phase.name], phase, losses.backward(), rates[phase.name])
        values += losses.values
    return values


def joint_step(state: State, batch: Batch, noise: Noise, rates: Rates, autocast: Autocast) -> list[Tensor]:
    """Codes once a step. The discriminators step first; then every other phase takes its gradient at the same weights of
    encoder and decoder, and all of them step."""
    codes = Codes(state.model, batch, noise.code_BZ.get("step"))
    discriminators = [phase for phase in state.phases if phase.name == "discriminator"]
    others = [phase for phase in state.phases if phase.name != "discriminator"]
    with autocast():
        losses = [phase.losses(state.model, batch, codes.detached(), noise) for phase in discriminators]
    for loss in losses:
        apply(state.optimizers[loss.phase.name], loss.phase, loss.backward(), rates[loss.phase.name])
    with autocast():
        losses += [phase.losses(state.model, batch, codes, noise) for phase in others]
    gradients = [loss.backward(retain_graph=loss.phase is not others[-1]) for loss in losses[len(discriminators) :]]
    for phase, gradient in zip(others, gradients, strict=True):
        apply(state.optimizers[phase.name], phase, gradient, rates[phase.name])
    order = {phase.name: index for index, phase in enumerate(state.phases)}
    return [value for loss in sorted(losses, key=lambda loss: order[loss.phase.name]) for value in loss.values]


def rates_of(state: State, multiplier: float, speed: float) -> dict[str, Rate]:
    """Those of a step: `multiplier` is the schedule's, `speed` the decoder's in the reconstruction phase."""
    rates: dict[str, Rate] = {}
    for phase in state.phases:
        rate = getattr(state.config.optim, phase.name).rate * multiplier
        rates[phase.name] = (rate, rate * speed) if phase.num_fast else rate
    return rates


UPDATE = {"alternating": alternating_step, "joint": joint_step}
