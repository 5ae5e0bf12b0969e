"""The test metrics of one finished training of aae.train, read once and written there. A study's winner is judged by launch.py confirm."""

# N images, M samples, X pixels

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aae import checkpoint, metrics
from aae.config import ConfigError, TrialConfig, require
from aae.data import Dataset, Split, load_test
from aae.errors import REFUSED, refusal
from aae.likelihood import parzen, parzen_choosing
from aae.model import Autoencoder
from aae.runs import JOURNAL, Row, TrialFolder, command_folder, manifest_over, read_json, write_json
from aae.streams import exit_code, steady_streams
from analysis.trained import load_images, writing

MAX_PARZEN_SAMPLES = 1_000_000
KEYS = {"epochs", "num_images", "metrics", "standard_errors"}
HALVES = ("test/knn_error",)  # scored on the second half of the images


def test(path: Path, num: int) -> dict[str, Any]:
    """The content of FOLDER/test.json; where it is there already, nothing is evaluated again. Raises ConfigError or DataError."""
    require(1 <= num <= MAX_PARZEN_SAMPLES, "--num", num, f"give a count from 1 to {MAX_PARZEN_SAMPLES}")
    result = finished(path)
    written: dict[str, Any] | None = read_json(path / "test.json")
    if written is not None:
        require(isinstance(written, dict) and written.keys() >= KEYS, str(path / "test.json"), "other keys", "restore it from a copy")
        return written
    model, config = checkpoint.load(path)
    want = "test metrics are of one draw: train with data.num_draws=1, once for each seed"
    require(config.data.num_draws == 1, f"{path}: data.num_draws", config.data.num_draws, want)
    dataset = load_images(TrialFolder(path), config, model.decoder.pixels.out_features)
    place = config.data.folder and str(command_folder(config.data.folder, manifest_over(path)) / Path(config.data.folder).expanduser())
    images = load_test(config.data.name, place, result)
    without_parzen = dataclasses.replace(config, train=dataclasses.replace(config.train, parzen_samples=0))
    row, _ = metrics.evaluate(model, images, without_parzen, dataset.image_shape, fitted=dataset.validation)
    values = {key.replace("val/", "test/"): value for key, value in row.items()}
    found = {
        "epochs": result["epochs"],
        "num_images": len(images.label_N),
        "metrics": values,
        "standard_errors": standard_errors(values, model, images),
    }
    if config.train.parzen_samples:
        found["likelihood"] = likelihood(model, config, dataset, images, num)
    with writing(path):
        write_json(path / "test.json", found)
    return found


def finished(path: Path) -> dict[str, Any]:
    """The result of a training that has come to its end. Raises ConfigError for any other folder, and for a study's trials: what a
    search has chosen by validation is judged by launch.py confirm, once."""
    folder = TrialFolder(path)
    result: dict[str, Any] = read_json(folder.result_path, {})
    if "number" in result or any((near / JOURNAL).is_file() for near in (path, path.resolve().parent.parent)):
        raise ConfigError(f"{path}: a study's; its winner is judged by python launch.py confirm, give the folder of an aae.train")
    if not folder.config_path.is_file():
        raise ConfigError(f"{path}: no training; give the folder of an aae.train, as runs/train-semi")
    if result.get("state") != "COMPLETE":
        state = result.get("state", f"{len(folder.rows())} epochs so far")
        raise ConfigError(f"{path}: not finished ({state}); the test set is read after the last epoch, train it to its end")
    return result


def standard_errors(values: Row, model: Autoencoder, images: Split) -> Row:
    """What the choice of the test images alone makes uncertain, of the metrics that are means over them."""
    errors = {}
    for key, p in values.items():
        if metrics.is_error(key) and not key.endswith("_of_prior"):
            num = len(images.label_N) // 2 if key in HALVES else len(images.label_N)
            errors[key] = math.sqrt(p * (1 - p) / num)
    return errors | {"test/reconstruction": standard_error(squared_distance(model, images))}


def standard_error(value_N: Tensor) -> float:
    return float(value_N.double().std() / math.sqrt(len(value_N)))


@torch.no_grad()
def squared_distance(model: Autoencoder, images: Split) -> Tensor:
    """N: half the squared distance of each image to its reconstruction."""
    _, y_NK, z_NZ = metrics.encode(model, images)
    pairs = zip(metrics.chunks(images), y_NK.split(metrics.CHUNK), z_NZ.split(metrics.CHUNK), strict=True)
    return torch.cat([0.5 * (model.decoder(y_BK, z_BZ) - x_BX).square().sum(dim=-1) for x_BX, y_BK, z_BZ in pairs])


def likelihood(model: Autoencoder, config: TrialConfig, dataset: Dataset, images: Split, num: int) -> dict[str, Any]:
    """Parzen estimate in nats an image, of fresh samples and, under the same code, of real training images; pixels in [0, 1]. Each
    chooses the width of its window on validation images."""
    random = torch.Generator().manual_seed(1)  # the validation metric's samples are drawn from 0
    real = dataset.train.images_NX[torch.randperm(len(dataset.train.label_N), generator=random)[:num]]
    choosing_NX, x_NX = metrics.to_pixels(parzen_choosing(dataset.validation)), metrics.to_pixels(images.images_NX)
    found = {}
    for name, samples_MX in {
        "samples": metrics.new_images(model, config, num, random),
        "training_images": metrics.to_pixels(real),
    }.items():
        log_likelihood_N, std = parzen(samples_MX, choosing_NX, x_NX)
        found[name] = {
            "num": len(samples_MX),
            "mean": float(log_likelihood_N.mean()),
            "standard_error": standard_error(log_likelihood_N),
            "std": std,
        }
    return found


def lines(path: Path, found: dict[str, Any]) -> list[str]:
    """For the screen."""
    said = [f"{path}: the test set's {found['num_images']:,} images, by the averaged weights after epoch {found['epochs']}"]
    for key, value in found["metrics"].items():
        error = found["standard_errors"].get(key)
        points = "" if error is None else f" +- {100 * error:.2f} points" if metrics.is_error(key) else f" +- {error:.2g}"
        said.append(f"  {key} {metrics.shown(key, value)}{points}")
    names = {"samples": "fresh samples", "training_images": "real training images in their place"}
    for name, one in found.get("likelihood", {}).items():
        said.append(
            f"  log-likelihood {one['mean']:.1f} +- {one['standard_error']:.1f} nats an image: Parzen window {one['std']:.2f} wide over "
            f"{one['num']:,} {names[name]}"
        )
    said.append("+-: one standard error, from the choice of the test images alone; another initialisation or draw of labels differs more.")
    return said


def main(arguments: list[str] | None = None) -> int:
    steady_streams()
    parser = argparse.ArgumentParser(
        prog="python -m analysis.test",
        description="Test metrics of one finished training of aae.train, by its averaged weights, written into FOLDER/test.json. Once: "
        "a second call prints what is written. A study's trials are refused; its winner is judged by launch.py confirm.",
        epilog="example: python -m analysis.test runs/train-semi-paper",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder of a single aae.train")
    parser.add_argument("--num", type=int, default=10_000, metavar="N", help="samples of a likelihood's Parzen window (default: 10000)")
    options = parser.parse_args(arguments)
    try:
        again = (options.folder / "test.json").is_file()
        found = test(options.folder, options.num)
        said = lines(options.folder, found)
    except REFUSED as error:
        print(f"analysis.test: {refusal(error)}", file=sys.stderr)
        return 2
    print("\n".join(said))
    print(f"{'read from' if again else 'written to'} {options.folder / 'test.json'}{'; nothing was evaluated again' if again else ''}")
    return exit_code("analysis.test")


if __name__ == "__main__":
    sys.exit(main())
