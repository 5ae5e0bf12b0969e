"""What is measured after an epoch, on validation images without noise, in float32. Each metric once, with its unit.

val/error           fraction of images whose most likely class is not their label, averaged (EMA) weights
val/error_plain     the same of the weights as they are
val/reconstruction  half the squared distance, summed over pixels, mean over images (averaged weights, as all below)
val/prior_mismatch  KL, in nats, of the normal fitted to the codes z to the prior; healthy < 0.2
val/z_min_eigenvalue  smallest eigenvalue of the codes' covariance, in units of the prior's variance; < 0.05 is a collapse
val/class_from_z    fraction of images whose class a quadratic discriminant reads from z; < 0.2: z carries style only
val/class_kl        KL, in nats, of the mean q(y) to uniform; healthy < 0.01
val/class_entropy   mean entropy of q(y | x), in nats; healthy < 0.1
val/class_count     exp of the entropy of the most likely classes' counts; healthy >= 9.5 of 10
"""

# N images, X pixels, Z style dim, K classes

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from aae import losses
from aae.data import Split
from aae.model import Autoencoder, Encoder
from aae.runs import Row


def to_pixels(images: Tensor) -> Tensor:
    """uint8 images to float32 pixels in [0, 1]."""
    return images.to(torch.float32) / 255


def chunks(split: Split, size: int = 2000) -> Iterator[Tensor]:
    """All images, the last partial batch included."""
    for images in split.images_NX.split(size):
        yield to_pixels(images)


@torch.no_grad()
def class_logits(encoder: Encoder, split: Split) -> Tensor:
    return torch.cat([encoder(x_BX)[0] for x_BX in chunks(split)])


@torch.no_grad()
def evaluate(model: Autoencoder, split: Split, prior_std: float) -> tuple[Row, Tensor]:
    """(metrics of the averaged weights, predicted classes N). Reads the validation split, whatever is given as such."""
    logits, codes, squared = [], [], torch.zeros((), device=split.images_NX.device)
    for x_BX in chunks(split):
        logits_BK, z_BZ = model.encoder(x_BX)
        squared += losses.reconstruction(model.decoder(logits_BK.softmax(dim=-1), z_BZ), x_BX) * len(x_BX)
        logits.append(logits_BK)
        codes.append(z_BZ)
    logits_NK, z_NZ = torch.cat(logits), torch.cat(codes)
    metrics: Row = {"val/reconstruction": float(squared) / len(z_NZ)}
    prediction_N = torch.zeros(len(z_NZ), dtype=torch.long)
    if logits_NK.shape[1]:
        prediction_N = logits_NK.argmax(dim=-1)
        metrics = {"val/error": error(logits_NK, split.label_N)} | metrics | class_monitors(logits_NK.softmax(dim=-1))
    metrics |= style_monitors(z_NZ / prior_std, split.label_N)
    return metrics, prediction_N


def error(logits_NK: Tensor, label_N: Tensor) -> float:
    """Wrong ones over all, a fraction."""
    return int((logits_NK.argmax(dim=-1) != label_N).sum()) / len(label_N)


def class_monitors(y_NK: Tensor) -> Row:
    num_classes = y_NK.shape[1]
    mean_K = y_NK.mean(dim=0)
    share_K = torch.bincount(y_NK.argmax(dim=-1), minlength=num_classes) / len(y_NK)
    return {
        "val/class_kl": float(math.log(num_classes) - torch.special.entr(mean_K).sum()),
        "val/class_entropy": float(torch.special.entr(y_NK).sum(dim=-1).mean()),
        "val/class_count": float(torch.special.entr(share_K).sum().exp()),
    }


def style_monitors(z_NZ: Tensor, label_N: Tensor) -> Row:
    """Of codes in units of the prior's std. On the CPU in float64: a small matrix, and the same answer everywhere."""
    z, label = z_NZ.double().cpu(), label_N.cpu()
    covariance = torch.cov(z.T).reshape(z.shape[1], z.shape[1])
    eigenvalues = torch.linalg.eigvalsh(covariance)
    floor = eigenvalues.clamp(min=1e-12)
    kl = 0.5 * (eigenvalues.sum() + z.mean(dim=0).square().sum() - z.shape[1] - floor.log().sum())
    return {
        "val/prior_mismatch": float(kl),
        "val/z_min_eigenvalue": float(eigenvalues[0]),
        "val/class_from_z": quadratic_discriminant_accuracy(z, label),
    }


def quadratic_discriminant_accuracy(z_NZ: Tensor, label_N: Tensor) -> float:
    """A normal a class fitted on the first half of the codes, scored on the second: a fraction."""
    half = len(z_NZ) // 2
    scores = []
    for k in range(int(label_N.max()) + 1):
        z = z_NZ[:half][label_N[:half] == k]
        if len(z) <= z_NZ.shape[1] + 1:  # too few to fit a covariance
            scores.append(torch.full((len(z_NZ) - half,), -math.inf, dtype=z_NZ.dtype))
            continue
        covariance = torch.cov(z.T).reshape(z.shape[1], z.shape[1]) + 1e-6 * torch.eye(z.shape[1], dtype=z.dtype)
        normal = torch.distributions.MultivariateNormal(z.mean(dim=0), covariance, validate_args=False)
        scores.append(normal.log_prob(z_NZ[half:]) + math.log(len(z) / half))
    return 1 - error(torch.stack(scores, dim=1), label_N[half:])


def collapse_warnings(rows: list[Row], num_classes: int) -> list[str]:
    """What has looked collapsed for three epochs running after epoch 10. A warning stops nothing."""
    signs = {
        "the style codes lie in fewer dimensions than z has (val/z_min_eigenvalue < 0.05)": ("val/z_min_eigenvalue", 0.05),
        "some classes are not used (val/class_count)": ("val/class_count", 0.8 * num_classes),
    }
    warnings = []
    for text, (key, limit) in signs.items():
        run = 0
        for row in rows[10:]:
            run = run + 1 if row.get(key, math.inf) < limit else 0
            if run == 3:
                warnings.append(f"{text} from epoch {row['epoch'] - 2}")
                break
    return warnings
