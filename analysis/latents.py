"""What one trained trial has learnt, as pictures: styles by class, reconstructions, codes, and the plane of codes where it is one."""

# N images, X pixels

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aae import checkpoint, pictures, samples
from aae.config import TrialConfig, require
from aae.data import Dataset
from aae.errors import REFUSED, refusal
from aae.model import Autoencoder
from aae.pictures import SHOWN_CHANNELS
from aae.streams import exit_code, steady_streams
from analysis.trained import Trained, find_trained, load_images, writing


@dataclass(frozen=True)
class Shown:
    """A trained trial with the images that it is shown on."""

    trained: Trained
    model: Autoencoder
    config: TrialConfig
    dataset: Dataset
    num: int  # images in the scatter

    def grid(self, name: str, drawn: samples.Grid) -> Path:
        pixels_NX, columns = drawn
        return pictures.image_grid(self.trained.picture(f"{name}.png"), pixels_NX.numpy(), self.dataset.image_shape, columns)


def scatter(shown: Shown) -> list[Path]:
    path, images = shown.trained.picture("latent.png"), shown.dataset.validation
    return [samples.latent(path, shown.model, images, shown.config, shown.trained.title, shown.num)]


PICTURES: dict[str, Callable[[Shown], list[Path]]] = {
    "samples": lambda shown: [shown.grid("samples", samples.samples(shown.model, shown.config))],
    "reconstructions": lambda shown: [shown.grid("reconstructions", samples.reconstructions(shown.model, shown.dataset.validation))],
    "latent": scatter,
    "manifold": lambda shown: [shown.grid(name, drawn) for name, drawn in samples.manifolds(shown.model, shown.config).items()],
    "clusters": lambda shown: [shown.grid("clusters", samples.clusters(shown.model, shown.dataset.validation))],
}


def pictures_of(config: TrialConfig) -> list[str]:
    """What the mode has."""
    has = {
        "manifold": config.model.z_dim == 2,
        "clusters": config.model.class_source == "encoder" and config.objective.classification is None,
    }
    return [kind for kind in PICTURES if has.get(kind, True)]


def draw_latents(path: Path, number: int | None, kinds: list[str] | None, num: int) -> list[Path]:
    """Returns the paths of the pictures. Raises ConfigError or DataError; nothing is written then."""
    require(num >= 2, "--num", num, "give at least 2 images")
    trained = find_trained(path, number)
    model, config = checkpoint.load(trained.folder.path)
    asked = list(dict.fromkeys(kinds or pictures_of(config)))
    if "manifold" in asked:
        want = "a manifold is a plane: leave it out, the latent picture projects the codes"
        require(config.model.z_dim == 2, "--kind manifold", f"codes of {config.model.z_dim} dimensions (model.z_dim)", want)
    if "clusters" in asked:
        want = "no class is inferred, so there are no clusters: leave it out"
        require(model.encoder.num_heads > 0, "--kind clusters", f"model.class_source={config.model.class_source}", want)
    shown = Shown(trained, model, config, load_images(trained.folder, config, model.decoder.pixels.out_features), num)
    channels = shown.dataset.image_shape[0]
    if channels not in SHOWN_CHANNELS:
        want = f"no picture can show images of {channels} channels: ask for latent, the scatter of codes"
        require(kinds is None or asked == ["latent"], "--kind", " ".join(asked), want)
        asked = ["latent"]
    with writing(trained.report):
        return [picture for kind in asked for picture in PICTURES[kind](shown)]


def main(arguments: list[str] | None = None) -> int:
    steady_streams()
    parser = argparse.ArgumentParser(
        prog="python -m analysis.latents",
        usage="%(prog)s [-h] FOLDER [--trial N] [--kind KIND ...] [--num N]",  # a line: with an error at most three
        description="Draw what one trial has learnt, into FOLDER/report/. samples: styles from the prior, a column a class or a row a part "
        "of the prior. reconstructions: image, reconstruction, image, ... latent: codes of validation images, coloured by class. manifold: "
        "the decoded plane of a 2-D code. clusters: a row a cluster, its head decoded, then the images that are surest of it.",
        epilog="example: python -m analysis.latents runs/quick --trial 7 --kind samples latent",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a sweep, or of a single aae.train")
    parser.add_argument("--trial", type=int, metavar="N", help="which trial of a sweep (default: the best complete one)")
    parser.add_argument(
        "--kind", nargs="+", choices=PICTURES, metavar="KIND", help=f"{', '.join(PICTURES)} (default: those that the mode has)"
    )
    parser.add_argument("--num", type=int, default=2000, metavar="N", help="validation images in latent.png (default: 2000)")
    options = parser.parse_args(arguments)
    try:
        paths = draw_latents(options.folder, options.trial, options.kind, options.num)
    except REFUSED as error:
        print(f"analysis.latents: {refusal(error)}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return exit_code("analysis.latents")


if __name__ == "__main__":
    sys.exit(main())
