"""What a trained autoencoder has learnt, as pictures. The styles and images shown are the same every time, so that the pictures
of one training's epochs, and of two trainings, can be laid side by side."""

# N images, X pixels, Z style dim, K classes

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aae import metrics, pictures
from aae.config import TrialConfig
from aae.data import Split
from aae.model import Autoencoder
from aae.priors import SAMPLE_PRIOR

ImageShape = tuple[int, int, int]


def draw(folder: Path, epoch: int, model: Autoencoder, images: Split, config: TrialConfig, image_shape: ImageShape) -> list[Path]:
    """epoch-EEEE-samples.png, -reconstructions.png and -latent.png in `folder`. Returns their paths."""
    stem = f"epoch-{epoch:04d}"
    pixels, columns = styles_by_class(model, config)
    return [
        pictures.image_grid(folder / f"{stem}-samples.png", pixels.numpy(), image_shape, columns),
        pictures.image_grid(folder / f"{stem}-reconstructions.png", reconstructions(model, images).numpy(), image_shape, 10),
        latent(folder / f"{stem}-latent.png", model, images, f"epoch {epoch}"),
    ]


@torch.no_grad()
def styles_by_class(model: Autoencoder, config: TrialConfig, num_styles: int = 10, seed: int = 0) -> tuple[Tensor, int]:
    """(pixels_NX on the CPU, columns of the grid). Each row a style drawn from the prior, each column a class; without classes
    every image has a style of its own."""
    device = next(model.parameters()).device
    num_heads, prior = config.model.num_heads, config.objective.adversarial_z.prior
    columns = num_heads or 10
    num_codes = num_styles if num_heads else num_styles * columns
    z = SAMPLE_PRIOR[prior.kind](num_codes, config.model.z_dim, prior.std, torch.Generator().manual_seed(seed))
    if num_heads:
        z = z.repeat_interleave(num_heads, dim=0)
    y = torch.eye(num_heads).repeat(num_styles, 1) if num_heads else torch.zeros(len(z), 0)
    return model.decoder(y.to(device), z.to(device)).cpu(), columns


@torch.no_grad()
def reconstructions(model: Autoencoder, images: Split, num_images: int = 50) -> Tensor:
    """pixels_NX on the CPU: each image followed by its reconstruction."""
    x_NX = metrics.to_pixels(images.images_NX[:num_images])
    logits_NK, z_NZ = model.encoder(x_NX)
    rebuilt_NX = model.decoder(logits_NK.softmax(dim=-1), z_NZ)
    return torch.stack([x_NX, rebuilt_NX], dim=1).reshape(2 * len(x_NX), -1).cpu()


@torch.no_grad()
def style_codes(model: Autoencoder, images: Split) -> Tensor:
    """z_NZ on the CPU."""
    return torch.cat([model.encoder(x_BX)[1] for x_BX in metrics.chunks(images)]).cpu()


def latent(path: Path, model: Autoencoder, images: Split, title: str, num_images: int = 2000) -> Path:
    """Scatter of the style codes coloured by class: as they are in 2-D, else in their two directions of largest variance."""
    shown = images.rows(slice(num_images))
    z_NZ = style_codes(model, shown).numpy()
    flat = z_NZ.shape[1] == 2
    points = z_NZ if flat else pictures.principal_plane(z_NZ)
    axes = ("z 1", "z 2") if flat else ("first principal direction of z", "second")
    return pictures.latent_scatter(path, points, shown.label_N.cpu().numpy(), f"style codes of validation images, {title}", axes)
