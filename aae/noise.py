"""The random streams of a training, and all that a step draws from them, before it begins: so the step itself is a pure function.

init             the initial weights
unlabelled       the order of the training images
labelled         the order of the labelled ones
noise            on the pixels of the training images
labelled_noise   on those of the labelled ones, and how much of each unlabelled image goes into each of them
prior            samples of p(z) and p(y), and the instance noise on y
code             the style's noise of a sampled encoder
direction        where the consistency term looks first
shift            of the training images
labelled_shift   of the labelled ones
"""

# B batch, L labelled batch, X pixels (C * H * W), Z style dim, K classes, 2 rows and columns

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aae.config import TrainConfig, TrialConfig
from aae.priors import SAMPLE_PRIOR, sample_categorical, unlabelled

# In the order of their seeds: a new one goes last.
STREAMS = ("init", "unlabelled", "labelled", "noise", "labelled_noise", "prior", "code", "direction", "shift", "labelled_shift")
ON_CPU = ("init", "unlabelled", "labelled")  # orders and weights are the same for every device; the rest is drawn where it is used
CODES = {"alternating": ("reconstruction", "discriminator", "generator"), "joint": ("step",)}  # what an update computes codes for

Generators = dict[str, torch.Generator]


class PixelNoise(NamedTuple):
    """Of one batch of images; None where its switch is 0."""

    kept_BX: Tensor | None  # False where dropout sets a pixel to 0
    added_BX: Tensor | None


class Noise(NamedTuple):
    """All that is random in a step. What the configuration does not read is not drawn. A tuple, which `torch.func.vmap` looks into."""

    pixels: PixelNoise  # of `Batch.noisy_BX`
    labelled_pixels: PixelNoise  # of `Batch.noisy_LX`
    code_BZ: dict[str, Tensor]  # of a sampled encoder, each time that codes are computed: `CODES`
    prior_BZ: Tensor  # samples of p(z), each of its label's part where the discriminator sees labels
    prior_BK: Tensor | None  # samples of p(y)
    instance_BK: dict[str, Tensor]  # on what the discriminator of y sees: the samples, the codes, the codes in the generator phase
    direction_BX: Tensor | None  # unit vectors, of the consistency term; None before it begins
    shift_B2: Tensor | None  # whole pixels, down and to the right
    labelled_shift_L2: Tensor | None
    other_pixels: PixelNoise | None  # of `Batch.other_BX`; None where nothing reads it
    other_shift_B2: Tensor | None
    mixed_LB: Tensor | None  # how much of each unlabelled image goes into each labelled one: `spread_out`


def make_generators(config: TrialConfig, device: torch.device) -> Generators:
    """A generator a stream, all from one seed. The last three only where something reads them, so that a checkpoint that is older than
    they are has all that its configuration asks for."""
    unread = {"direction"} if config.objective.consistency is None else set[str]()
    unread |= set() if config.train.shift else {"shift", "labelled_shift"}
    seeds = np.random.SeedSequence(config.train.seed).generate_state(len(STREAMS), np.uint64)
    return {
        name: torch.Generator("cpu" if name in ON_CPU else device).manual_seed(int(stream_seed >> np.uint64(1)))
        for name, stream_seed in zip(STREAMS, seeds, strict=True)
        if name not in unread
    }


def draw_noise(config: TrialConfig, generators: Generators, label_B: Tensor, x_dim: int, num_labelled: int, epoch: int) -> Noise:
    """The noise of one step for images with these labels (-1: none) and `num_labelled` others, on the generators' device. `epoch`: how
    many are trained already.

    The order within a stream is part of what makes a training repeatable: a change of it is a change of every number."""
    objective, z_dim, num_classes = config.objective, config.model.z_dim, config.model.num_classes
    batch, device, prior, spread = len(label_B), label_B.device, objective.adversarial_z.prior, config.train.labelled_spread

    def normal(stream: str, *shape: int) -> Tensor:
        return torch.randn(shape, generator=generators[stream], device=device)

    def pixels(stream: str, num: int) -> PixelNoise:
        dropout, std, kept = config.train.input_dropout, config.train.input_noise_std, None
        if dropout:
            kept = torch.rand(num, x_dim, generator=generators[stream], device=device) >= dropout
        return PixelNoise(kept, normal(stream, num, x_dim).mul_(std) if std else None)

    def shift(stream: str, num: int) -> Tensor | None:
        furthest = config.train.shift
        return torch.randint(-furthest, furthest + 1, (num, 2), generator=generators[stream], device=device) if furthest else None

    code_BZ, prior_BK, instance_BK = {}, None, {}
    if config.model.encoder == "gaussian":
        code_BZ = {name: normal("code", batch, z_dim) for name in CODES[config.train.update]}
    part_B = label_B if objective.adversarial_z.sees_label else unlabelled(batch, device)
    prior_BZ = SAMPLE_PRIOR[prior.kind](part_B, z_dim, num_classes, prior.std, generators["prior"])
    if objective.adversarial_y is not None:
        std, p = objective.adversarial_y.noise_std, objective.class_probabilities
        prior_BK = sample_categorical(batch, num_classes, generators["prior"], p)
        if std:
            instance_BK = {name: normal("prior", batch, num_classes).mul_(std) for name in ("samples", "codes", "generator")}
    consistency, direction_BX = objective.consistency, None
    if consistency is not None and epoch >= consistency.from_epoch:
        direction_BX = F.normalize(normal("direction", batch, x_dim))
    other = direction_BX is not None and consistency is not None and consistency.around == "other"
    return Noise(
        pixels("noise", batch),
        pixels("labelled_noise", num_labelled),
        code_BZ,
        prior_BZ,
        prior_BK,
        instance_BK,
        direction_BX,
        shift("shift", batch),
        shift("labelled_shift", num_labelled),
        pixels("direction", batch) if other else None,
        shift("direction", batch) if other else None,
        normal("labelled_noise", num_labelled, batch).mul_(spread / math.sqrt(batch)) if spread else None,
    )


def add_noise(x_BX: Tensor, noise: PixelNoise, config: TrainConfig) -> Tensor:
    """The images as the encoder sees them in training: what dropout leaves is scaled up to make up for the rest."""
    if noise.kept_BX is not None:
        x_BX = x_BX * noise.kept_BX / (1 - config.input_dropout)
    return x_BX if noise.added_BX is None else x_BX + noise.added_BX


def spread_out(x_LX: Tensor, mixed_LB: Tensor | None, x_BX: Tensor, factor: float) -> Tensor:
    """Labelled images with Gaussian noise that has the covariance of the unlabelled ones, times the square of what `mixed_LB` was drawn
    with and of `factor`: it moves them in the directions in which images differ."""
    return x_LX if mixed_LB is None else x_LX + factor * (mixed_LB @ (x_BX - x_BX.mean(dim=0)))


def shifted(x_BX: Tensor, shift_B2: Tensor | None, furthest: int, image_shape: tuple[int, int, int]) -> Tensor:
    """Images of this (C, H, W), each moved by its shift of at most `furthest` pixels, with zeros filled in."""
    if shift_B2 is None:
        return x_BX
    padded = F.pad(x_BX.view(len(x_BX), *image_shape), (furthest,) * 4)
    _, *sides = padded.shape
    place = torch.arange(math.prod(sides), device=x_BX.device).view(sides)
    place_X = place[:, furthest : sides[1] - furthest, furthest : sides[2] - furthest].flatten()
    moved_B = shift_B2[:, 0] * sides[2] + shift_B2[:, 1]  # in places of a padded image, whose rows follow each other
    return padded.flatten(1).gather(1, place_X - moved_B[:, None])
