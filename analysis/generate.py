"""New images from a trained trial: styles from the prior, classes from theirs or as asked. The same seed gives the same images."""

# N images, X pixels

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aae import checkpoint, metrics, pictures
from aae.config import TrialConfig, require
from aae.data import KNOWN_SHAPES
from aae.errors import REFUSED, refusal
from aae.model import Encoder
from aae.priors import NEAREST_PART
from aae.runs import TrialFolder, write_atomically
from aae.samples import ImageShape
from aae.streams import exit_code, steady_streams
from analysis.trained import find_trained, load_images, writing

MAX_IMAGES = 1_000_000
MAX_SHOWN = 400  # images in the PNG; the .npy holds all
PNG_COLUMNS = 10


def image_shape(folder: TrialFolder, config: TrialConfig, x_dim: int) -> ImageShape:
    """(C, H, W). Only a user's own data must be looked at for it."""
    return KNOWN_SHAPES.get(config.data.name) or load_images(folder, config, x_dim).image_shape


def generate(
    path: Path, number: int | None, num: int, seed: int, label: int | None, component: int | None
) -> tuple[list[Path], float | None]:
    """(paths, fraction of the images that the trial's own encoder reads as `label`). Writes a PNG, where one can show the images, and an
    .npy (uint8, (N, H, W), or (N, H, W, C) in colour). Raises ConfigError or DataError; nothing is written then."""
    require(1 <= num <= MAX_IMAGES, "--num", num, f"give a count from 1 to {MAX_IMAGES}")
    require(0 <= seed < 2**63, "--seed", seed, "give a seed of at least 0, below 2^63")
    trained = find_trained(path, number)
    model, config = checkpoint.load(trained.folder.path)
    num_classes, prior = model.decoder.num_classes, config.objective.adversarial_z.prior
    if label is not None:
        require(num_classes > 0, "--class", label, "this decoder is told no class; leave --class out")
        require(0 <= label < num_classes, "--class", label, f"give a class from 0 to {num_classes - 1}")
    if component is not None:
        num_parts = config.model.num_classes
        require(prior.kind in NEAREST_PART, "--component", component, f"the {prior.kind} prior has one part; leave --component out")
        require(0 <= component < num_parts, "--component", component, f"give a component from 0 to {num_parts - 1}")
    pixels_NX = metrics.new_images(model, config, num, torch.Generator().manual_seed(seed), label, component)
    read = fraction_read_as(model.encoder, pixels_NX, label) if label is not None and model.encoder.num_heads else None
    shape = image_shape(trained.folder, config, pixels_NX.shape[1])
    bytes_NX = torch.cat([(pixels_BX * 255).round().to(torch.uint8) for pixels_BX in pixels_NX.split(metrics.CHUNK)])
    images = bytes_NX.numpy().reshape(num, *shape).transpose(0, 2, 3, 1)
    buffer = io.BytesIO()
    np.save(buffer, images[..., 0] if shape[0] == 1 else images)
    asked = {"component": component, "class": label, "seed": seed}
    stem = "-".join(["generated", *(f"{name}-{value}" for name, value in asked.items() if value is not None)])
    with writing(trained.report):
        array = trained.picture(f"{stem}.npy")
        write_atomically(array, buffer.getvalue())
        if shape[0] not in pictures.SHOWN_CHANNELS:
            return [array], read
        shown = pictures.image_grid(trained.picture(f"{stem}.png"), pixels_NX[:MAX_SHOWN].numpy(), shape, min(num, PNG_COLUMNS))
        return [shown, array], read


@torch.no_grad()
def fraction_read_as(encoder: Encoder, pixels_NX: Tensor, label: int) -> float:
    """The style may hold some of the class: then images that were asked to be of one class show another."""
    read_N = torch.cat([encoder(x_BX)[0].argmax(dim=-1) for x_BX in pixels_NX.split(metrics.CHUNK)])
    return float((read_N == label).double().mean())


def main(arguments: list[str] | None = None) -> int:
    steady_streams()
    parser = argparse.ArgumentParser(
        prog="python -m analysis.generate",
        usage="%(prog)s [-h] FOLDER [--trial N] [--num N] [--seed S] [--class K] [--component C]",  # a line: with an error at most three
        description=f"Sample new images from one trial: a PNG of the first {MAX_SHOWN} and all of them as .npy (uint8), in FOLDER/report/.",
        epilog="example: python -m analysis.generate runs/quick --num 1000 --class 3",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a sweep, or of a single aae.train")
    parser.add_argument("--trial", type=int, metavar="N", help="which trial of a sweep (default: the best complete one)")
    parser.add_argument("--num", type=int, default=100, metavar="N", help="how many images (default: 100)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same images (default: 0)")
    parser.add_argument("--class", type=int, dest="label", metavar="K", help="images of this class alone (default: each at random)")
    parser.add_argument("--component", type=int, metavar="C", help="of this part of a mixture or swiss-roll prior (default: any)")
    options = parser.parse_args(arguments)
    try:
        paths, read = generate(options.folder, options.trial, options.num, options.seed, options.label, options.component)
    except REFUSED as error:
        print(f"analysis.generate: {refusal(error)}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    if read is not None:
        print(f"the trial's own encoder reads {100 * read:.0f} % of them as class {options.label}", file=sys.stderr)
    return exit_code("analysis.generate")


if __name__ == "__main__":
    sys.exit(main())
