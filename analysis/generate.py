"""New images from a trained trial: styles from the prior, classes from theirs or as asked. The same seed gives the same images."""

# N images, X pixels, Z style dim, K classes

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aae import checkpoint, pictures
from aae.config import KNOWN_SIZES, ConfigError, TrialConfig, require
from aae.data import DataError
from aae.model import Autoencoder
from aae.priors import SAMPLE_PRIOR, sample_categorical
from aae.runs import write_atomically
from aae.samples import ImageShape
from analysis.trials import find_trained, load_images, writing

MAX_NUM = 1_000_000
MAX_SHOWN = 400  # images in the PNG; the .npy holds all
COLUMNS = 10
CHUNK = 2000  # images decoded at once


@torch.no_grad()
def sample(model: Autoencoder, config: TrialConfig, num: int, seed: int, label: int | None) -> Tensor:
    """pixels_NX in [0, 1]: z from the prior, y one-hot, uniform over the classes or all of class `label`."""
    generator = torch.Generator().manual_seed(seed)
    prior, num_heads = config.objective.adversarial_z.prior, config.model.num_heads
    z_NZ = SAMPLE_PRIOR[prior.kind](num, config.model.z_dim, prior.std, generator)
    y_NK = torch.zeros(num, 0)
    if num_heads:
        y_NK = sample_categorical(num, num_heads, generator) if label is None else torch.eye(num_heads)[label].expand(num, -1)
    pairs = zip(y_NK.split(CHUNK), z_NZ.split(CHUNK), strict=True)
    return torch.cat([model.decoder(y, z) for y, z in pairs])


def image_shape(config: TrialConfig, x_dim: int) -> ImageShape:
    """(C, H, W). Only a user's own data must be looked at for it."""
    if config.data.name in KNOWN_SIZES:
        side = math.isqrt(x_dim)
        return 1, side, side
    return load_images(config, x_dim).image_shape


def generate(path: Path, number: int | None, num: int, seed: int, label: int | None) -> list[Path]:
    """Writes a PNG and an .npy (uint8, (N, H, W), or (N, H, W, C) in colour) and returns their paths.
    Raises ConfigError or DataError; nothing is written then."""
    require(1 <= num <= MAX_NUM, "--num", num, f"give a count from 1 to {MAX_NUM}")
    require(0 <= seed < 2**63, "--seed", seed, "give a seed of at least 0, below 2^63")
    trained = find_trained(path, number)
    model, config = checkpoint.load(trained.folder.path)
    if label is not None:
        num_heads = config.model.num_heads
        require(num_heads > 0, "--class", label, "this model infers no class; leave --class out")
        require(0 <= label < num_heads, "--class", label, f"give a class from 0 to {num_heads - 1}")
    pixels_NX = sample(model, config, num, seed, label).numpy()
    shape = image_shape(config, pixels_NX.shape[1])
    images = (pixels_NX * 255).round().astype(np.uint8).reshape(num, *shape).transpose(0, 2, 3, 1)
    buffer = io.BytesIO()
    np.save(buffer, images[..., 0] if shape[0] == 1 else images)
    stem = "generated" + (f"-class-{label}" if label is not None else "") + f"-seed-{seed}"
    with writing(trained.report):
        array = trained.picture(f"{stem}.npy")
        write_atomically(array, buffer.getvalue())
        return [pictures.image_grid(trained.picture(f"{stem}.png"), pixels_NX[:MAX_SHOWN], shape, min(num, COLUMNS)), array]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.generate",
        usage="%(prog)s [-h] FOLDER [--trial N] [--num N] [--seed S] [--class K]",  # a line: with an error at most three
        description=f"Sample new images from one trial: a PNG of the first {MAX_SHOWN} and all of them as .npy (uint8), in FOLDER/report/.",
        epilog="example: python -m analysis.generate runs/quick --num 1000 --class 3",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a sweep, or of a single aae.train")
    parser.add_argument("--trial", type=int, metavar="N", help="which trial of a sweep (default: the best complete one)")
    parser.add_argument("--num", type=int, default=100, metavar="N", help="how many images (default: 100)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same images (default: 0)")
    parser.add_argument("--class", type=int, dest="label", metavar="K", help="images of this class alone (default: each at random)")
    options = parser.parse_args(arguments)
    try:
        paths = generate(options.folder, options.trial, options.num, options.seed, options.label)
    except (ConfigError, DataError) as error:
        print(f"analysis.generate: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
