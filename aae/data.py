"""Datasets, splits and batches. Everything is one uint8 tensor that lives on the device: 50 MB need no loader processes.

mnist, fashion_mnist   50,000 / 10,000 / 10,000 in the original order: the last of the training files are for validation
svhn                   63,257 / 10,000 / 26,032 likewise, in colour; the `extra` images are not used
npz                    a user's own file, see `load_npz`
"""

# N images, X pixels (C * H * W, in this order), B batch, L labelled batch, S steps

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aae.download import FILES, fetch_idx, fetch_svhn
from aae.errors import DataError

__all__ = ["DataError", "Dataset", "Split", "draw_labels", "epoch_indices", "labelled_indices", "load_dataset", "load_test"]

KNOWN_SHAPES = {"mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "svhn": (3, 32, 32)}  # (C, H, W), known before they are loaded


@dataclass(frozen=True)
class Split:
    images_NX: Tensor  # uint8
    label_N: Tensor  # int64

    def to(self, device: torch.device) -> Split:
        return Split(self.images_NX.to(device), self.label_N.to(device))

    def rows(self, rows: slice | Tensor) -> Split:
        return Split(self.images_NX[rows], self.label_N[rows])


@dataclass(frozen=True)
class Dataset:
    """What a training and a search may see. The test set is not in it: `load_test`."""

    train: Split
    validation: Split
    image_shape: tuple[int, int, int]  # (C, H, W)
    num_classes: int
    hashes: dict[str, str]  # file -> SHA-256 of its content


def load_dataset(name: str, folder: str | None = None, num_validation: int = 10_000) -> Dataset:
    """A dataset on the CPU, fetched at the first call. Raises DataError where it cannot be had or is not what it should be."""
    (images, labels, _, _), shape, hashes = read_arrays(name, folder)
    if not 0 < num_validation < len(images):
        raise DataError(f"data.num_validation: got {num_validation}; there are {len(images)} images for training and validation")
    everything = Split(to_rows(images), torch.as_tensor(labels.astype(np.int64)))
    num_train = len(images) - num_validation
    return Dataset(
        train=everything.rows(slice(num_train)),
        validation=everything.rows(slice(num_train, None)),
        image_shape=shape,
        num_classes=int(labels.max()) + 1,
        hashes=hashes,
    )


def load_test(name: str, folder: str | None, judged: Mapping[str, Any] | None) -> Split:
    """The test split, for what can no longer be changed by what it says. `judged` is the record that was written before: of a
    confirmation the winner with the time it was frozen at, of a single training its result. Without one nothing is given. Called
    in two places, aae/tuning/confirm/test_set.py and analysis/test.py, and a test holds that."""
    if not judged or not (judged.get("frozen") or judged.get("state") == "COMPLETE"):
        raise RuntimeError("the test set is withheld: nothing has been decided yet that it could judge")
    (_, _, images, labels), _, _ = read_arrays(name, folder)
    return Split(to_rows(images), torch.as_tensor(labels.astype(np.int64)))


def read_arrays(name: str, folder: str | None) -> tuple[tuple[np.ndarray, ...], tuple[int, int, int], dict[str, str]]:
    """((images, labels, test images, test labels), image shape, hashes). Raises DataError."""
    if name == "npz":
        return load_npz(Path(folder or "").expanduser())
    if name not in FILES:
        raise DataError(f"data.name: got {name}; the datasets are {', '.join([*FILES, 'npz'])}")
    arrays, hashes = fetch_svhn(folder) if name == "svhn" else fetch_idx(name, folder)
    images = arrays[0]
    return arrays, images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:]), hashes


def to_rows(images: np.ndarray) -> Tensor:
    return torch.tensor(images.reshape(len(images), -1))


def load_npz(path: Path) -> tuple[tuple[np.ndarray, ...], tuple[int, int, int], dict[str, str]]:
    """A user's own data: one .npz with

        x_train, x_test   uint8, (N, H, W), (N, H, W, C) or (N, X); (N, X) is taken as one row of X pixels
        y_train, y_test   whole numbers 0 .. K-1, (N,); every class occurs in y_train

    Validation images are the last `data.num_validation` of x_train: shuffle before you save. Raises DataError."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        if not zipfile.is_zipfile(path):  # also a lone .npy, which np.load would return as an array
            raise OSError("no such file" if not path.exists() else "not a zip of arrays")
        with np.load(path, allow_pickle=False) as content:
            missing = [key for key in keys if key not in content]
            if missing:
                raise DataError(f"{path}: no array {missing[0]}; an npz needs {', '.join(keys)}")
            arrays = {key: content[key] for key in keys}
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as .npz ({why}); save it with numpy.savez_compressed") from None
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
            raise DataError(f"{path}: x_{part} is {x.dtype} of shape {x.shape}; give uint8 images (N, H, W), (N, H, W, C) or (N, X)")
        if y.shape != (len(x),) or y.dtype.kind not in "iu" or len(y) == 0 or y.min() < 0:
            raise DataError(f"{path}: y_{part} is {y.dtype} {y.shape}; give {len(x)} whole numbers from 0 on, one an image")
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(f"{path}: images of {x_train.shape[1:]} in x_train and {x_test.shape[1:]} in x_test; give one shape")
    classes = np.unique(arrays["y_train"])
    if len(classes) < 2 or classes[-1] != len(classes) - 1:
        raise DataError(f"{path}: y_train holds {len(classes)} classes, the highest {classes[-1]}; number them 0 .. K-1, at least two")
    if arrays["y_test"].max() > classes[-1]:
        raise DataError(f"{path}: y_test holds class {arrays['y_test'].max()}, y_train none above {classes[-1]}; give both the same")
    shape = (1, 1, x_train.shape[1]) if x_train.ndim == 2 else (1, *x_train.shape[1:3])
    if x_train.ndim == 4:
        shape = (x_train.shape[3], *x_train.shape[1:3])
        x_train, x_test = x_train.transpose(0, 3, 1, 2), x_test.transpose(0, 3, 1, 2)
    return (x_train, arrays["y_train"], x_test, arrays["y_test"]), shape, hashes


def draw_labels(label_N: Tensor, num_labels: int, seed: int, num_classes: int) -> np.ndarray:
    """Indices of the labelled training images: class by class, the first num_labels / K of a permutation of that class.

    0 gives none, -1 all. Only training labels are passed in, so no label can come from validation or test. Raises DataError."""
    if num_labels == -1:
        return np.arange(len(label_N))
    each, rest = divmod(num_labels, num_classes)
    if num_labels < 0 or rest:
        raise DataError(f"data.num_labels: got {num_labels}; labels are balanced over {num_classes} classes: give a multiple of that")
    if num_labels > len(label_N):
        raise DataError(f"data.num_labels: got {num_labels}; there are {len(label_N)} training images: give fewer, or -1 for all")
    random = np.random.default_rng(seed)
    labels = label_N.numpy()
    chosen = []
    for k in range(num_classes):
        of_class = np.flatnonzero(labels == k)
        if each > len(of_class):
            raise DataError(f"data.num_labels: got {num_labels}; class {k} has {len(of_class)} training images: give fewer, or -1 for all")
        chosen.append(random.permutation(of_class)[:each])
    return np.concatenate(chosen)


def epoch_indices(num_rows: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Rows of one epoch's batches (S, B): every row once, in an order of this epoch's own; a last partial batch is left out.

    Raises DataError where not even one batch fits."""
    if batch_size > num_rows:
        raise DataError(f"train.batch_size: got {batch_size}; there are {num_rows} training images: give at most that")
    num_steps = num_rows // batch_size
    return torch.randperm(num_rows, generator=generator)[: num_steps * batch_size].reshape(num_steps, batch_size)


def labelled_indices(num_rows: int, batch_size: int, num_steps: int, generator: torch.Generator) -> Tensor:
    """Rows of one epoch's labelled batches (S, L). Where a batch takes all rows they are all in it at every step; otherwise
    passes follow each other, each in a new order: replaying the first (itertools.cycle over a loader) is a known bug.

    Raises DataError where a batch asks for more rows than there are."""
    if batch_size > num_rows:
        raise DataError(f"train.labelled_batch_size: got {batch_size}; there are {num_rows} labelled images: give at most that")
    if batch_size == num_rows:
        return torch.arange(num_rows).expand(num_steps, num_rows)
    num_passes = -(-num_steps * batch_size // num_rows)
    passes = torch.cat([torch.randperm(num_rows, generator=generator) for _ in range(num_passes)])
    return passes[: num_steps * batch_size].reshape(num_steps, batch_size)
