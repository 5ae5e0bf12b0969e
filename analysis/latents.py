"""The latent space of one trained trial as three pictures: style by class, reconstructions, and z in a plane, coloured by class."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aae import checkpoint, pictures, samples
from aae.config import ConfigError, require
from aae.data import DataError
from analysis.trials import find_trained, load_images, writing

COLUMNS = 10  # of the reconstructions: five pairs


def draw_latents(path: Path, number: int | None, num: int) -> list[Path]:
    """Returns the paths of the pictures. Raises ConfigError or DataError; nothing is written then."""
    require(num >= 2, "--num", num, "give at least 2 images")
    trained = find_trained(path, number)
    model, config = checkpoint.load(trained.folder.path)
    dataset = load_images(config, model.decoder.pixels.out_features)
    images, shape = dataset.validation, dataset.image_shape
    pixels_NX, columns = samples.styles_by_class(model, config)
    rebuilt_NX = samples.reconstructions(model, images)
    with writing(trained.report):
        return [
            pictures.image_grid(trained.picture("samples.png"), pixels_NX.numpy(), shape, columns),
            pictures.image_grid(trained.picture("reconstructions.png"), rebuilt_NX.numpy(), shape, COLUMNS),
            samples.latent(trained.picture("latent.png"), model, images, trained.title, num),
        ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.latents",
        description="Draw what one trial has learnt, into FOLDER/report/: samples.png (a row is a style z, a column a class y), "
        "reconstructions.png (image, reconstruction, image, ...) and latent.png (z of validation images, coloured by class).",
        epilog="example: python -m analysis.latents runs/quick --trial 7",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a sweep, or of a single aae.train")
    parser.add_argument("--trial", type=int, metavar="N", help="which trial of a sweep (default: the best complete one)")
    parser.add_argument("--num", type=int, default=2000, metavar="N", help="validation images in latent.png (default: 2000)")
    options = parser.parse_args(arguments)
    try:
        paths = draw_latents(options.folder, options.trial, options.num)
    except (ConfigError, DataError) as error:
        print(f"analysis.latents: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
