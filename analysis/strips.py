"""How a trained model came to be: the pictures that its training drew, a strip a kind, epochs from left to right."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np

from aae.pictures import matplotlib_defaults
from aae.runs import TrialFolder

MAX_PICTURES = 6  # in a strip; the first and the last epoch always
STRIP_KINDS = ("latent", "samples", "reconstructions")
PANEL_INCHES, DPI = 4.0, 130


def drawn_by_kind(folder: TrialFolder) -> dict[str, dict[int, Path]]:
    """Kind -> epoch -> picture, of the highest attempt. Kinds that were not drawn are left out."""
    attempt, found = folder.last_attempt(), dict[str, dict[int, Path]]()
    for path in sorted(attempt.samples_path.glob("epoch-*.png")) if attempt is not None else []:
        match = re.fullmatch(r"epoch-(\d+)-(\w+)\.png", path.name)
        if match:
            found.setdefault(match[2], {})[int(match[1])] = path
    return {kind: found[kind] for kind in STRIP_KINDS if kind in found}


def strips(folder: TrialFolder) -> dict[str, bytes]:
    """Kind -> PNG. None of a kind that was drawn after one epoch alone, or whose pictures cannot be read: no report fails of one."""
    found = {}
    for kind, pictures in drawn_by_kind(folder).items():
        if len(pictures) > 1:
            with contextlib.suppress(Exception):
                found[kind] = strip(pictures)
    return found


@matplotlib_defaults()
def strip(pictures: dict[int, Path]) -> bytes:
    """One row, each picture under its epoch."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    epochs = sorted(pictures)
    chosen = [epochs[index] for index in np.unique(np.linspace(0, len(epochs) - 1, MAX_PICTURES).round().astype(int))]
    images = [imread(pictures[epoch]) for epoch in chosen]
    shares = [image.shape[1] / image.shape[0] for image in images]
    figure = Figure(figsize=(PANEL_INCHES * sum(shares), PANEL_INCHES + 0.4), layout="constrained")
    for axis, epoch, image in zip(np.ravel(figure.subplots(1, len(chosen), width_ratios=shares)), chosen, images, strict=True):
        axis.imshow(image)
        axis.set_title(f"epoch {epoch}", fontsize=15)
        axis.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()
