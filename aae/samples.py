"""What a trained autoencoder has learnt, as pictures. The styles and images shown are the same every time, so that the pictures
of one training's epochs, and of two trainings, can be laid side by side."""

# N images, M of them shown, X pixels, Z style dim, K classes

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aae import metrics, pictures
from aae.config import TrialConfig
from aae.data import Split
from aae.errors import is_full_disk, one_line
from aae.model import Autoencoder
from aae.priors import NEAREST_PART, SAMPLE_PRIOR, from_component, on_roll, unlabelled

ImageShape = tuple[int, int, int]
Grid = tuple[Tensor, int]  # pixels_NX on the CPU, and how many stand in a row
COLUMNS = 10  # of a grid whose columns are no classes


def draw(folder: Path, epoch: int, model: Autoencoder, images: Split, config: TrialConfig, image_shape: ImageShape) -> list[Path]:
    """epoch-EEEE-samples.png, -reconstructions.png and -latent.png in `folder`; of images whose channels no picture can show, the
    last alone. Returns their paths."""
    stem, grids = f"epoch-{epoch:04d}", dict[str, Grid]()
    if image_shape[0] in pictures.SHOWN_CHANNELS:
        grids = {"samples": samples(model, config), "reconstructions": reconstructions(model, images)}
    return [
        *(pictures.image_grid(folder / f"{stem}-{name}.png", pixels.numpy(), image_shape, n) for name, (pixels, n) in grids.items()),
        latent(folder / f"{stem}-latent.png", model, images, config, f"epoch {epoch}"),
    ]


def why_not_drawn(folder: Path, epoch: int, model: Autoencoder, images: Split, config: TrialConfig, image_shape: ImageShape) -> str | None:
    """Draws as `draw` does, and returns what went wrong: no training ends of a picture. Raises OSError where the disk is full."""
    try:
        draw(folder, epoch, model, images, config, image_shape)
    except Exception as error:  # whatever fonts, settings, libraries or a crowded memory make of it
        if is_full_disk(error):
            raise
        return f"{type(error).__name__}: {one_line(error)}"
    return None


@torch.no_grad()
def decode(model: Autoencoder, y_NK: Tensor, z_NZ: Tensor) -> Tensor:
    """pixels_NX on the CPU."""
    device = next(model.parameters()).device
    return model.decoder(y_NK.to(device), z_NZ.to(device)).cpu()


def samples(model: Autoencoder, config: TrialConfig, rows: int = 10, seed: int = 0) -> Grid:
    """Styles drawn from the prior. With classes a row is a style and a column a class; else a row is a part of the prior, where it
    has a part a class; else every image is a style of its own."""
    prior, num_classes, generator = config.objective.adversarial_z.prior, model.decoder.num_classes, torch.Generator().manual_seed(seed)

    def styles(label_N: Tensor) -> Tensor:
        return SAMPLE_PRIOR[prior.kind](label_N, config.model.z_dim, config.model.num_classes, prior.std, generator)

    if num_classes:
        z_NZ = styles(unlabelled(rows)).repeat_interleave(num_classes, dim=0)
        return decode(model, torch.eye(num_classes).repeat(rows, 1), z_NZ), num_classes
    part_N = unlabelled(rows * COLUMNS)
    if prior.kind in NEAREST_PART:
        part_N = torch.arange(config.model.num_classes).repeat_interleave(COLUMNS)
    return decode(model, torch.zeros(len(part_N), 0), styles(part_N)), COLUMNS


def manifolds(model: Autoencoder, config: TrialConfig, side: int = 20) -> dict[str, Grid]:
    """Name -> what the decoder makes of evenly spaced codes in the plane. Codes must be 2-D.

    Gaussian: [-3, 3]^2 in units of its std. Mixture: [-1, 1] x [-0.2, 0.2] in each component's own frame, outward to the right.
    Swiss roll: a row is a class's stretch, from the inside out. One each for every class that the decoder is told; with added heads
    one, of the code W y + z around them all."""
    assert config.model.z_dim == 2
    prior, num_parts = config.objective.adversarial_z.prior, config.model.num_classes
    if prior.kind == "mixture":
        frame = plane(torch.linspace(-1, 1, side), torch.linspace(0.2, -0.2, 8))
        parts = {
            f"manifold-component-{k}": (from_component(torch.full((len(frame),), k), frame[:, None], num_parts), side)
            for k in range(num_parts)
        }
    elif prior.kind == "swiss_roll":
        parts = {"manifold": (on_roll((torch.arange(num_parts * side) + 0.5) / (num_parts * side)), side)}
    else:
        edge, centre_2 = 3 * prior.std, torch.zeros(2)
        if model.decoder.heads is not None:
            heads_K2 = model.decoder.heads_KZ.detach().cpu()
            centre_2 = (heads_K2.amax(dim=0) + heads_K2.amin(dim=0)) / 2
            edge += float((heads_K2.amax(dim=0) - heads_K2.amin(dim=0)).max()) / 2
        along = torch.linspace(-edge, edge, side)
        parts = {"manifold": (plane(along + centre_2[0], along.flip(0) + centre_2[1]), side)}
    num_classes = model.decoder.num_classes
    if not num_classes or model.decoder.heads is not None:  # W 0 + z is the code itself
        return {name: (decode(model, torch.zeros(len(z), num_classes), z), columns) for name, (z, columns) in parts.items()}
    return {
        f"{name}-class-{k}": (decode(model, torch.eye(num_classes)[k].expand(len(z), -1), z), columns)
        for name, (z, columns) in parts.items()
        for k in range(num_classes)
    }


def plane(first: Tensor, second: Tensor) -> Tensor:
    """A grid of codes (N, 2), a row for each of `second`."""
    return torch.stack(torch.meshgrid(first, second, indexing="xy"), dim=-1).reshape(-1, 2)


@torch.no_grad()
def reconstructions(model: Autoencoder, images: Split, num_images: int = 50) -> Grid:
    """Each image followed by its reconstruction."""
    shown = images.rows(slice(num_images))
    x_NX = metrics.to_pixels(shown.images_NX).cpu()
    _, y_NK, z_NZ = metrics.encode(model, shown)
    return torch.stack([x_NX, decode(model, y_NK, z_NZ)], dim=1).reshape(2 * len(x_NX), -1), COLUMNS


@torch.no_grad()
def clusters(model: Autoencoder, images: Split) -> Grid:
    """A row for each cluster: its head decoded with the style 0, then the images of it that are surest; white where it has no more."""
    logits_NK, _, _ = metrics.encode(model, images)
    num_heads, z_dim = logits_NK.shape[1], model.encoder.z_dim
    own_NK = logits_NK.argmax(dim=-1, keepdim=True) == torch.arange(num_heads, device=logits_NK.device)
    sure_NK = metrics.log_odds(logits_NK).masked_fill(~own_NK, -torch.inf)
    surest_MK, rows_MK = sure_NK.topk(min(COLUMNS - 1, len(sure_NK)), dim=0)
    heads_KX = decode(model, torch.eye(num_heads), torch.zeros(num_heads, z_dim))
    x_KMX = metrics.to_pixels(images.images_NX[rows_MK.T])
    x_KMX[-torch.inf == surest_MK.T] = 1.0
    return torch.cat([heads_KX[:, None], x_KMX.cpu()], dim=1).flatten(0, 1), 1 + len(rows_MK)


@dataclass(frozen=True)
class Plane:
    """Codes of the first images of a split, in a plane: what `latent` draws."""

    points_N2: np.ndarray
    label_N: np.ndarray
    what: str
    axes: tuple[str, str]
    behind_M2: np.ndarray | None  # samples of the prior
    marks_K2: np.ndarray | None  # cluster heads
    reach: float  # at least [-reach, reach]^2 is shown


@torch.no_grad()
def codes_in_plane(model: Autoencoder, images: Split, config: TrialConfig, num_images: int) -> Plane:
    """The codes as they are in 2-D, else in their two directions of largest variance. With added heads the code is W y + z, and each
    head is marked; else it is the style z, over samples of a prior that has a shape."""
    shown, prior = images.rows(slice(num_images)), config.objective.adversarial_z.prior
    _, y_NK, z_NZ = metrics.encode(model, shown)
    added = config.model.combine == "heads"
    code_NZ = (model.decoder.code(y_NK, z_NZ) if added else z_NZ).cpu()
    name, what = ("W y + z", "codes") if added else ("z", "style codes" if model.decoder.num_classes else "codes")
    flat = code_NZ.shape[1] == 2
    points_N2 = code_NZ.numpy() if flat else pictures.principal_plane(code_NZ.numpy())
    axes = (f"{name} 1", f"{name} 2") if flat else (f"first principal direction of {name}", "second")
    behind, marks, reach = None, None, 0.0
    if flat and added:
        marks = model.decoder.heads_KZ.cpu().numpy()
    elif flat:
        generator = torch.Generator().manual_seed(0)
        prior_M2 = SAMPLE_PRIOR[prior.kind](unlabelled(len(shown.label_N)), 2, config.model.num_classes, prior.std, generator)
        reach = float(prior_M2.abs().quantile(0.997))  # nearly all of the prior is in the picture, at every epoch
        behind = prior_M2.numpy() if prior.kind in NEAREST_PART else None
    return Plane(points_N2, shown.label_N.cpu().numpy(), what, axes, behind, marks, reach)


def latent(path: Path, model: Autoencoder, images: Split, config: TrialConfig, title: str, num_images: int = 2000) -> Path:
    """Scatter of the codes coloured by class."""
    drawn = codes_in_plane(model, images, config, num_images)
    heading = f"{drawn.what} of validation images, {title}"
    return pictures.latent_scatter(path, drawn.points_N2, drawn.label_N, heading, drawn.axes, drawn.behind_M2, drawn.marks_K2, drawn.reach)
