"""The place where a mode is composed: four phases, each a tuple of weighted terms and the parameters that it may move.

A term exists when its block in `objective:` does. Adding one is a function here and a block in `config.ObjectiveConfig`.
"""

# B batch, L labelled batch, X pixels, Z style dim, K classes

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aae import losses
from aae.config import TrialConfig
from aae.model import AAE
from aae.noise import Noise


class Batch(NamedTuple):
    """One step's data. The noise is drawn once a step, so every phase sees the same noisy images; clean ones are the target."""

    x_BX: Tensor
    noisy_BX: Tensor
    label_B: Tensor  # -1 where there is no label: read by a discriminator or a decoder that is told it
    noisy_LX: Tensor  # labelled images, from a stream of their own: read by classification alone
    label_L: Tensor
    other_BX: Tensor | None = None  # the unlabelled images, shifted and made noisy anew; None where nothing reads them


class Codes:
    """What the encoder makes of a batch, computed at the first reading: a phase pays only for what it reads.

    `noise_BZ` is the style's, where the encoder is sampled."""

    def __init__(self, model: AAE, batch: Batch, noise_BZ: Tensor | None, with_graph: bool = True):
        self._model, self._batch, self._noise_BZ, self._with_graph = model, batch, noise_BZ, with_graph

    @cached_property
    def _unlabelled(self) -> tuple[Tensor, Tensor, Tensor]:
        with torch.set_grad_enabled(self._with_graph):
            logits_BK, z_BZ = self._model.encoder(self._batch.noisy_BX, self._noise_BZ)
            return logits_BK, self._model.class_code(logits_BK, self._batch.label_B), z_BZ

    @property
    def logits_BK(self) -> Tensor:
        return self._unlabelled[0]

    @property
    def y_BK(self) -> Tensor:
        return self._unlabelled[1]

    @property
    def z_BZ(self) -> Tensor:
        return self._unlabelled[2]

    @cached_property
    def logits_LK(self) -> Tensor:
        with torch.set_grad_enabled(self._with_graph):
            return self._model.encoder(self._batch.noisy_LX)[0]

    def detached(self) -> Codes:
        """The same unlabelled codes without their graph, for the discriminators."""
        codes = Codes(self._model, self._batch, self._noise_BZ, with_graph=False)
        codes.__dict__["_unlabelled"] = tuple(code.detach() for code in self._unlabelled)
        return codes


Loss = Callable[[AAE, Batch, Codes, Noise], Tensor]  # pure: -> scalar, mean over the batch


@dataclass(frozen=True)
class Term:
    name: str
    weight: float
    loss: Loss


@dataclass(frozen=True)
class Phase:
    name: str
    parameters: tuple[nn.Parameter, ...]  # the only weights this phase may move
    terms: tuple[Term, ...]
    num_fast: int = 0  # the last so many of them have a rate of their own

    def losses(self, model: AAE, batch: Batch, codes: Codes, noise: Noise) -> PhaseLosses:
        values = tuple(term.loss(model, batch, codes, noise) for term in self.terms)
        total = sum(term.weight * value for term, value in zip(self.terms, values, strict=True))
        assert isinstance(total, Tensor)
        return PhaseLosses(self, values, total)


@dataclass(frozen=True)
class PhaseLosses:
    """A phase's terms at one step, unweighted, and their weighted sum."""

    phase: Phase
    values: tuple[Tensor, ...]
    total: Tensor

    def backward(self, retain_graph: bool = False) -> tuple[Tensor, ...]:
        """Gradients of the phase's own parameters and of no others; a parameter that its terms do not reach is an error."""
        return torch.autograd.grad(self.total, self.phase.parameters, retain_graph=retain_graph)


def build_phases(config: TrialConfig, model: AAE, epoch: int) -> list[Phase]:
    """The phases that have terms, in the order of a step."""
    objective, num_classes = config.objective, config.model.num_classes
    device = next(model.parameters()).device
    prior_K = torch.tensor(objective.class_probabilities or num_classes * [1 / num_classes], device=device)

    def with_class(z_BZ: Tensor, batch: Batch, codes: Codes) -> Tensor:
        """What the discriminator of z is shown. [z, y] where it sees the inferred class, which no gradient of it moves; [z, one-hot
        label], its last column "unlabelled", where it sees labels; else z."""
        if objective.adversarial_z.sees_class:
            return torch.cat([z_BZ, codes.y_BK.detach()], dim=-1)
        if not objective.adversarial_z.sees_label:
            return z_BZ
        label_B = batch.label_B.masked_fill(batch.label_B < 0, num_classes)  # `where` would copy the number to a GPU
        return torch.cat([z_BZ, torch.nn.functional.one_hot(label_B, num_classes + 1)], dim=-1)

    def reconstruction(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        return losses.reconstruction(model.decoder(codes.y_BK, codes.z_BZ, objective.reconstruction.moves_heads), batch.x_BX)

    def discriminator_z(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        return discriminate(model.disc_z, with_class(noise.prior_BZ, batch, codes), with_class(codes.z_BZ, batch, codes))

    def blurred(y_BK: Tensor, noise: Noise, name: str) -> Tensor:
        """With instance noise: without it the discriminator tells a soft y from a one-hot one at a glance."""
        return y_BK + noise.instance_BK[name] if noise.instance_BK else y_BK

    def discriminator_y(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        assert model.disc_y is not None and noise.prior_BK is not None
        return discriminate(model.disc_y, blurred(noise.prior_BK, noise, "samples"), blurred(codes.y_BK, noise, "codes"))

    def discriminate(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        both = discriminator(torch.cat([real, fake]))  # one pass over both halves: no layer mixes rows
        return losses.discriminator(both[: len(real)], both[len(real) :])

    def generator_z(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        return losses.generator(model.disc_z(with_class(codes.z_BZ, batch, codes)))

    def generator_y(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        assert model.disc_y is not None
        return losses.generator(model.disc_y(blurred(codes.y_BK, noise, "generator")))

    def classification(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        return losses.classification(codes.logits_LK, batch.label_L)

    def consistency(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        """Virtual adversarial training. Before it begins it is 0 and computes nothing, so that every row has the same columns."""
        block = objective.consistency
        assert block is not None
        if noise.direction_BX is None:  # alone in its phase, the term must still reach the phase's parameters
            return batch.x_BX.new_zeros(()) if objective.classification is not None else 0 * codes.logits_BK.sum()

        def classify(x_BX: Tensor) -> Tensor:
            logits_BK: Tensor = model.encoder(x_BX)[0]
            return logits_BK

        x_BX = {"noisy": batch.noisy_BX, "clean": batch.x_BX, "other": batch.other_BX}[block.around]
        assert x_BX is not None
        target_BK = losses.aligned(codes.logits_BK) if block.aligned else codes.logits_BK
        r_BX = losses.adversarial_perturbation(classify, target_BK, x_BX, noise.direction_BX, block.xi, block.epsilon)
        return losses.consistency(target_BK, classify(x_BX + r_BX))

    def mutual_information(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        block = objective.mutual_information
        assert block is not None
        early = block.until_epoch is None or epoch < block.until_epoch
        return losses.mutual_information(codes.logits_BK, prior_K, block.balance if early else 1.0)

    def head_separation(model: AAE, batch: Batch, codes: Codes, noise: Noise) -> Tensor:
        assert objective.head_separation is not None
        return losses.head_separation(model.decoder.heads_KZ, objective.head_separation.threshold)

    def term(name: str, block: Any, loss: Loss, weight: float | None = None) -> tuple[Term, ...]:
        """No term where the block is off."""
        return () if block is None else (Term(name, block.weight if weight is None else weight, loss),)

    adversarial_z, adversarial_y = objective.adversarial_z, objective.adversarial_y
    encoder, decoder = tuple(model.encoder.parameters()), tuple(model.decoder.parameters())
    if not objective.reconstruction.moves_heads and objective.head_separation is None:  # nothing moves them
        assert model.decoder.heads is not None
        decoder = tuple(parameter for parameter in decoder if parameter is not model.decoder.heads.weight)
    discriminators = tuple(model.disc_z.parameters())
    if adversarial_y is not None and model.disc_y is not None:
        discriminators += tuple(model.disc_y.parameters())
    phases = [
        Phase(
            "reconstruction",
            encoder + decoder,
            term("reconstruction", objective.reconstruction, reconstruction)
            + term("head_separation", objective.head_separation, head_separation),
            num_fast=len(decoder) if config.optim.decoder_speed != 1 else 0,
        ),
        # The discriminators' speed is their rate: the weights are the generator's alone.
        Phase(
            "discriminator",
            discriminators,
            term("adversarial_z", adversarial_z, discriminator_z, 1.0) + term("adversarial_y", adversarial_y, discriminator_y, 1.0),
        ),
        Phase(
            "generator",
            encoder,
            term("adversarial_z", adversarial_z, generator_z) + term("adversarial_y", adversarial_y, generator_y),
        ),
        Phase(
            "classification",
            encoder,
            term("classification", objective.classification, classification)
            + term("consistency", objective.consistency, consistency)
            + term("mutual_information", objective.mutual_information, mutual_information),
        ),
    ]
    return [phase for phase in phases if phase.terms]
