"""The best trial's codes with the images that they are of, for the page's latent scatter: needs its checkpoint and the data, both here."""

# N images, X pixels

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from aae import checkpoint, metrics, samples
from aae.config import ConfigError, DataConfig
from aae.data import Dataset
from aae.download import FILES, cache_folder
from aae.errors import DataError
from aae.pictures import SHOWN_CHANNELS, matplotlib_defaults
from aae.runs import command_folder
from analysis.trained import find_trained, load_images
from analysis.trials import Run

MAX_IMAGES = 600
MAX_VALUES = 600_000  # bytes of the images on the page, before they are compressed
COLUMNS = 30  # of the one picture that holds them all


def codes_with_images(run: Run) -> dict[str, Any] | str:
    """What the scatter is drawn from, or a sentence that says why there is none. No report fails of it, and nothing is fetched for it."""
    if run.best is None:
        return "No trial is complete, so there is no best one to show."
    try:
        trained = find_trained(run.path, run.best.number)
        attempt = trained.folder.last_attempt()
        if attempt is None or not attempt.checkpoint_path.is_file():
            return f"The checkpoint of trial {run.best.name} is not in the run folder, so its codes cannot be computed here."
        if not is_on_disk(trained.config.data, command_folder(trained.config.data.folder, run.manifest)):
            return f"The data ({trained.config.data.name}) are not on this machine, so the codes of trial {run.best.name} are not shown."
        model, config = checkpoint.load(trained.folder.path)
        dataset = load_images(trained.folder, config, model.decoder.pixels.out_features)
        plane = samples.codes_in_plane(model, dataset.validation, config, min(MAX_IMAGES, MAX_VALUES // int(np.prod(dataset.image_shape))))
    except (ConfigError, DataError, OSError, ValueError, RuntimeError) as error:
        return f"The codes of trial {run.best.name} are not shown: {error}"
    found: dict[str, Any] = {
        "trial": run.best.number,
        "title": f"{plane.what} of validation images",
        "axes": plane.axes,
        "points": np.round(plane.points_N2, 3).tolist(),
        "labels": plane.label_N.tolist(),
        "reach": plane.reach,
    }
    for name, points in (("behind", plane.behind_M2), ("heads", plane.marks_K2)):
        found[name] = None if points is None else np.round(points[:MAX_IMAGES], 3).tolist()
    return found | {"images": one_picture(dataset, len(plane.label_N))}


def is_on_disk(data: DataConfig, folder: Path) -> bool:
    own = folder / Path(data.folder or "").expanduser()
    if data.name == "npz":
        return own.is_file()
    place = own if data.folder else cache_folder() / data.name
    return all((place / file).is_file() or (place / f"{file}.gz").is_file() for file in FILES[data.name])


@matplotlib_defaults()
def one_picture(dataset: Dataset, num: int) -> dict[str, Any] | None:
    """The first `num` validation images, COLUMNS in a row, without gaps; None where no picture can show their channels."""
    from matplotlib.image import imsave

    channels, height, width = dataset.image_shape
    if channels not in SHOWN_CHANNELS:
        return None
    x_NX = metrics.to_pixels(dataset.validation.images_NX[:num]).numpy()
    sheet = np.ones((-(-num // COLUMNS) * height, COLUMNS * width, channels), dtype=np.float32)
    for index, pixels in enumerate(x_NX):
        top, left = index // COLUMNS * height, index % COLUMNS * width
        sheet[top : top + height, left : left + width] = pixels.reshape(dataset.image_shape).transpose(1, 2, 0)
    buffer = io.BytesIO()
    imsave(buffer, np.repeat(sheet, 3, axis=2) if channels == 1 else sheet, format="png")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "columns": COLUMNS, "width": width, "height": height}
