"""The pictures of the modes in docs/results.md, from the checkpoints of the runs that docs/results.md names; they are in no record.

    python -m benchmarks.mode_figures [FOLDER]     FOLDER/MODE-S is the run of a mode with initialisation S (default: runs)

docs/figures/modes_codes.png       the codes of every mode with a code in the plane
docs/figures/modes_images.png      manifolds, styles, clusters
docs/figures/modes_components.png  the components of the mixture, each in its own frame, without labels and with them
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from matplotlib.figure import Figure, SubFigure
from matplotlib.image import imread

from aae.config import ConfigError
from analysis.latents import draw_latents

FIGURES = Path("docs/figures")
CODES = (
    "unsupervised_gaussian-0",
    "unsupervised_mixture-0",
    "supervised_2d-0",
    "label_regularised_full-0",
    "label_regularised_10k-0",
    "label_regularised_gaussian-0",
    "label_regularised_swiss_roll-0",
    "dim_reduction_1000-0",
    "dim_reduction_100-0",
    "dim_reduction_unsupervised-0",
)
IMAGES = {  # run: (which picture, what it is)
    "unsupervised_gaussian-0": ("manifold", "Gaussian: the plane [-3, 3]²"),
    "clustering_30-1": ("clusters", "30 clusters: head, surest images"),
    "supervised_10d-0": ("samples", "supervised, 10-D: a row a style"),
    "label_regularised_swiss_roll-0": ("manifold", "swiss roll: a row a class, inside out"),
}
COMPONENTS = {
    "unsupervised_mixture-0": "mixture without labels: components 0 to 9, each in its own frame, outward to the right",
    "label_regularised_10k-0": "mixture with 10,000 labels: a component a class",
}


def picture(runs: Path, name: str, kind: str) -> Path:
    """The first picture of that kind of a run. Raises ConfigError or DataError where there is no trained run."""
    return draw_latents(runs / name, None, [kind], 2000)[0]


def show(figure: Figure | SubFigure, paths: list[Path], rows: int, titles: list[str] | None = None) -> None:
    for axis, path, title in zip(figure.subplots(rows, -(-len(paths) // rows)).flat, paths, titles or [""] * len(paths), strict=True):
        axis.imshow(imread(path))
        axis.set_title(title, fontsize=9)
        axis.axis("off")


def codes(runs: Path) -> Figure:
    figure = Figure(figsize=(17.5, 6.4), layout="constrained")
    show(figure, [picture(runs, name, "latent") for name in CODES], rows=2)
    return figure


def images(runs: Path) -> Figure:
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    show(figure, [picture(runs, name, kind) for name, (kind, _) in IMAGES.items()], 1, [title for _, title in IMAGES.values()])
    return figure


def components(runs: Path) -> Figure:
    figure = Figure(figsize=(14, 5.6), layout="constrained")
    for part, (name, title) in zip(figure.subfigures(2, 1), COMPONENTS.items(), strict=True):
        show(part, draw_latents(runs / name, None, ["manifold"], 2000), rows=2)
        part.suptitle(title, fontsize=9)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs"), metavar="FOLDER")
    runs, code = parser.parse_args().runs, 0
    for draw in (codes, images, components):
        path = FIGURES / f"modes_{draw.__name__}.png"
        try:
            draw(runs).savefig(path, dpi=110, metadata={"Software": None})
        except ConfigError as error:
            print(f"benchmarks.mode_figures: {path} not drawn: {error}", file=sys.stderr)
            code = 2
        else:
            print(path)
    return code


if __name__ == "__main__":
    sys.exit(main())
