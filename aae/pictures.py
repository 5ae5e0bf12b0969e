"""Arrays -> PNG, for training and analysis alike. matplotlib is imported when a picture is drawn, not before, and always by
`import_matplotlib`; what is drawn is drawn under `matplotlib_defaults`."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

SHOWN_CHANNELS = (1, 3, 4)  # of images that a picture can show: grey, colour, colour with transparency
COLOURS = [f"C{k}" for k in range(7)] + ["#222222", "C8", "C9"]  # of classes; matplotlib's grey would look like the prior behind them

MAX_NAMED = 20  # classes in a legend; more would leave no room for the picture


def import_matplotlib() -> None:
    """Imports matplotlib without a user's settings. It reads them as it is imported, and raises at an MPLBACKEND that it does not know
    and at a matplotlibrc that it cannot decode."""
    if "matplotlib" in sys.modules:
        return
    kept = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = os.devnull
    try:
        # One in the working folder comes before the variable.
        with contextlib.chdir("/") if Path("matplotlibrc").is_file() else contextlib.nullcontext():
            importlib.import_module("matplotlib")
    finally:
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: value for name, value in kept.items() if value is not None})


@contextlib.contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """matplotlib's own settings in place of the user's, as long as it lasts: with text.usetex every label would need LaTeX, and with
    image.origin: lower every image would stand on its head."""
    import_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def write_whole(path: Path, write: Callable[[Path], None]) -> Path:
    """Whoever looks while it is written, or after a kill, sees no half of a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@matplotlib_defaults()
def image_grid(path: Path, pixels_NX: np.ndarray, image_shape: tuple[int, int, int], columns: int) -> Path:
    """Images row by row, `columns` in a row, one white pixel between them. Pixels in [0, 1], flat in (C, H, W) order, of SHOWN_CHANNELS."""
    from matplotlib.image import imsave

    channels, height, width = image_shape
    rows = -(-len(pixels_NX) // columns)
    grid = np.ones((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), dtype=np.float32)
    for index, pixels in enumerate(pixels_NX):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        grid[top : top + height, left : left + width] = pixels.reshape(image_shape).transpose(1, 2, 0)
    shown = np.clip(np.repeat(grid, 3, axis=2) if channels == 1 else grid, 0, 1).repeat(2, axis=0).repeat(2, axis=1)
    return write_whole(path, lambda file: imsave(file, shown, format="png"))


@matplotlib_defaults()
def latent_scatter(
    path: Path,
    points_N2: np.ndarray,
    label_N: np.ndarray,
    title: str,
    axes: Sequence[str] = ("", ""),
    behind_M2: np.ndarray | None = None,
    marks_K2: np.ndarray | None = None,
    reach: float = 0.0,
) -> Path:
    """Codes coloured by class, with a legend (of the first MAX_NAMED), over grey points (samples of the prior) and under numbered marks
    (cluster heads); equal axes, so that a round prior looks round, that show at least [-reach, reach]^2."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axis = figure.add_subplot()
    for index, k in enumerate(np.unique(label_N)):
        x, y = points_N2[label_N == k].T
        axis.scatter(x, y, s=7, alpha=0.7, linewidths=0, color=COLOURS[k % 10], label=str(k) if index < MAX_NAMED else None)
    if behind_M2 is not None:
        axis.scatter(behind_M2[:, 0], behind_M2[:, 1], s=7, linewidths=0, color="0.85", label="prior", zorder=0)
    for k, (x, y) in enumerate(marks_K2 if marks_K2 is not None else ()):
        axis.annotate(str(k), (x, y), ha="center", va="center", fontsize=9, bbox={"boxstyle": "circle", "fc": "white", "ec": "black"})
    axis.plot([-reach, reach], [-reach, reach], alpha=0)  # no line: the limits of all epochs are the same
    axis.set(title=title, xlabel=axes[0], ylabel=axes[1])
    axis.set_aspect("equal", adjustable="datalim")  # the box stays as it is where the codes have collapsed to a line
    axis.legend(title="class", markerscale=3, frameon=False, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    return write_whole(path, lambda file: figure.savefig(file, dpi=110, format="png"))


def principal_plane(z_NZ: np.ndarray) -> np.ndarray:
    """The codes in their two directions of largest variance (N, 2); codes of one dimension get a zero beside it."""
    centred = z_NZ - z_NZ.mean(axis=0)
    if centred.shape[1] < 2:
        return np.pad(centred, ((0, 0), (0, 1)))
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])  # the same way round every time
    return centred @ (directions * signs[:, None])[:2].T
