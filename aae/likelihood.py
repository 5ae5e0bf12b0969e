"""The Parzen estimate of a likelihood, as the literature of adversarial autoencoders reports it."""

# M samples, N images, X pixels

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from aae.data import Split

PARZEN_IMAGES = 2000  # of validation: every other one chooses the width, the rest are scored
PARZEN_STDS = tuple(0.1 + 0.02 * step for step in range(21))  # 0.1 to 0.5


def parzen_choosing(validation: Split) -> Tensor:
    """The images, uint8, that choose the window's width."""
    return validation.images_NX[:PARZEN_IMAGES][::2]


def parzen(samples_MX: Tensor, choosing_NX: Tensor, images_NX: Tensor) -> tuple[Tensor, float]:
    """(log-likelihood of each of `images_NX`, in nats, the window's std). A normal of that std around each sample, the mean over
    samples: Breuleux et al. 2011, as in Goodfellow et al. 2014. The std of PARZEN_STDS is that under which `choosing_NX`, which are
    other images, are most likely. Pixels in [0, 1]. A crude estimate in 784 dimensions: it rewards memory, and grows with samples."""

    def log_likelihood(images: Tensor, stds: Sequence[float]) -> Tensor:
        """One row a std."""
        log_p = []
        for x_BX in images.split(500):
            squared_BM = torch.cdist(x_BX, samples_MX).square()
            norm = [math.log(len(samples_MX)) + 0.5 * x_BX.shape[1] * math.log(2 * math.pi * std**2) for std in stds]
            log_p.append(torch.stack([(squared_BM * (-0.5 / std**2)).logsumexp(dim=-1) - n for std, n in zip(stds, norm, strict=True)]))
        return torch.cat(log_p, dim=1)

    std = PARZEN_STDS[int(log_likelihood(choosing_NX, PARZEN_STDS).mean(dim=1).argmax())]
    return log_likelihood(images_NX, [std])[0], std
