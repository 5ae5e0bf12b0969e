"""Datasets, splits and batches. Everything is one uint8 tensor that lives on the device: 50 MB need no loader processes.

mnist, fashion_mnist   50,000 / 10,000 / 10,000 in the original order: the last of the training files are for validation
svhn                   63,257 / 10,000 / 26,032 likewise, in colour; the `extra` images are not used
npz                    a user's own file, see `load_npz`
"""

# N images, X pixels (C * H * W, in this order), B batch, L labelled batch, S steps

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aae.config import DataConfig, TrialConfig
from aae.download import FILES, fetch_idx, fetch_svhn
from aae.errors import DataError, refusal
from aae.pictures import SHOWN_CHANNELS

__all__ = [
    "DataError",
    "Dataset",
    "Split",
    "data_warnings",
    "draw_labels",
    "epoch_indices",
    "labelled_indices",
    "load_configured",
    "load_dataset",
    "load_test",
]

UNLABELLED = "x_unlabelled"  # of an npz
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]  # images, labels, of the test set too; unlabelled images
KNOWN_SHAPES = {"mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "svhn": (3, 32, 32)}  # (C, H, W), known before they are loaded


@dataclass(frozen=True)
class Split:
    images_NX: Tensor  # uint8
    label_N: Tensor  # int64; -1 of an image without one

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


def load_configured(data: DataConfig, command_folder: str | Path = "") -> Dataset:
    """The dataset of a configuration. `command_folder`: where a relative data.folder is meant from, for Ray's workers run elsewhere.
    Raises DataError."""
    folder = data.folder and str(Path(command_folder, Path(data.folder).expanduser()))
    return load_dataset(data.name, folder, data.num_validation, data.shuffle_seed)


def load_dataset(name: str, folder: str | None = None, num_validation: int = 10_000, shuffle_seed: int | None = None) -> Dataset:
    """A dataset on the CPU, fetched at the first call. Raises DataError where it cannot be had or is not what it should be."""
    (images, labels, _, _, unlabelled), shape, hashes = read_arrays(name, folder)
    if not 2 <= num_validation < len(images):
        want = f"give 2 to {len(images) - 1}" if len(images) > 2 else "bring more"
        raise DataError(f"data.num_validation: got {num_validation}; there are {len(images)} images for training and validation: {want}")
    everything = Split(to_rows(images), torch.as_tensor(labels.astype(np.int64)))
    if shuffle_seed is not None:
        everything = everything.rows(torch.as_tensor(np.random.default_rng(shuffle_seed).permutation(len(images))))
    num_train = len(images) - num_validation
    train = everything.rows(slice(num_train))
    if unlabelled is not None:
        hidden_N = torch.full((len(unlabelled),), -1)
        train = Split(torch.cat([train.images_NX, to_rows(unlabelled)]), torch.cat([train.label_N, hidden_N]))
    return Dataset(
        train=train,
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
    (_, _, images, labels, _), _, _ = read_arrays(name, folder)
    return Split(to_rows(images), torch.as_tensor(labels.astype(np.int64)))


def read_arrays(name: str, folder: str | None) -> tuple[Arrays, tuple[int, int, int], dict[str, str]]:
    """(arrays, image shape, hashes). Raises DataError."""
    if name == "npz":
        return load_npz(Path(folder or "").expanduser())
    if name not in FILES:
        raise DataError(f"data.name: got {name}; the datasets are {', '.join([*FILES, 'npz'])}")
    (images, *others), hashes = fetch_svhn(folder) if name == "svhn" else fetch_idx(name, folder)
    labels, test_images, test_labels = others
    channels, height, width = images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:])
    return (images, labels, test_images, test_labels, None), (channels, height, width), hashes


def to_rows(images: np.ndarray) -> Tensor:
    return torch.tensor(images.reshape(len(images), math.prod(images.shape[1:])))  # of no image too


def load_npz(path: Path) -> tuple[Arrays, tuple[int, int, int], dict[str, str]]:
    """A user's own data: one .npz with

        x_train, x_test   uint8, (N, H, W), (N, H, W, C) or (N, X); (N, X) is taken as one row of X pixels
        y_train, y_test   whole numbers 0 .. K-1, (N,); every class occurs in y_train
        x_unlabelled      uint8, more training images, without labels; may be left out

    Validation images are the last `data.num_validation` of x_train: of a file that is sorted by class they hold a class or two.
    `data.shuffle_seed` shuffles it before the split. Raises DataError."""
    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        if path.is_file():
            open(path, "rb").close()  # is_zipfile says no to what may not be opened
        if not zipfile.is_zipfile(path):  # also a lone .npy, which np.load would return as an array
            raise OSError("no such file" if not path.exists() else "not a zip of arrays")
        with np.load(path, allow_pickle=False) as content:
            missing = [key for key in keys if key not in content]
            if missing:
                raise DataError(f"{path}: no array {missing[0]}; an npz needs {', '.join(keys)}")
            arrays = {key: content[key] for key in (*keys, *([UNLABELLED] if UNLABELLED in content else []))}
            other = [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]  # numpy gives the bytes of what is none
            if other:
                raise DataError(f"{path}: {other[0]} is no array; save it with numpy.savez_compressed")
        with open(path, "rb") as file:
            hashes = {path.name: hashlib.file_digest(file, "sha256").hexdigest()}
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(refusal(error)) from None
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory ({error}); give fewer or smaller images, or a larger machine") from None
    except Exception as error:  # zip and numpy meet broken bytes with errors of many kinds
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as .npz ({why}); save it with numpy.savez_compressed") from None
    images = {key: array for key, array in arrays.items() if key.startswith("x_")}
    for key, x in images.items():
        if x.dtype != np.uint8 or x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
            raise DataError(f"{path}: {key} is {x.dtype} of shape {x.shape}; give uint8 images (N, H, W), (N, H, W, C) or (N, X)")
        if x.ndim == 4 and channels_first(*x.shape[1:]):
            want = "give channels last, (N, H, W, C), as numpy.moveaxis(x, 1, -1) makes them"
            raise DataError(f"{path}: {key} is of shape {x.shape}, which looks like channels first, (N, C, H, W); {want}")
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if part == "test" and len(x) == 1:
            raise DataError(f"{path}: x_test holds one image; give two or more, for an error has no spread over one")
        if y.shape != (len(x),) or y.dtype.kind not in "iu" or len(y) == 0 or y.min() < 0:
            want = f"give {len(x)} whole numbers from 0 on, one an image"
            want += f"; images without a label: {UNLABELLED}" if part == "train" else ""
            raise DataError(f"{path}: y_{part} is {y.dtype} {y.shape}; {want}")
    x_train = arrays["x_train"]
    for key, x in images.items():
        if x_train.shape[1:] != x.shape[1:]:
            raise DataError(f"{path}: images of {x_train.shape[1:]} in x_train and {x.shape[1:]} in {key}; give one shape")
    classes = np.unique(arrays["y_train"])
    if len(classes) < 2 or classes[-1] != len(classes) - 1:
        raise DataError(f"{path}: y_train holds {len(classes)} classes, the highest {classes[-1]}; number them 0 .. K-1, at least two")
    if arrays["y_test"].max() > classes[-1]:
        raise DataError(f"{path}: y_test holds class {arrays['y_test'].max()}, y_train none above {classes[-1]}; give both the same")
    shape = (1, 1, x_train.shape[1]) if x_train.ndim == 2 else (1, *x_train.shape[1:3])
    if x_train.ndim == 4:
        shape = (x_train.shape[3], *x_train.shape[1:3])
        images = {key: x.transpose(0, 3, 1, 2) for key, x in images.items()}
    return (images["x_train"], arrays["y_train"], images["x_test"], arrays["y_test"], images.get(UNLABELLED)), shape, hashes


def channels_first(first: int, second: int, third: int) -> bool:
    """Whether images of this shape look like (C, H, W). Grey and colour have 1 and 3 channels; of any other number it is told by a
    square image. Square patches of many channels, (3, 3, 200), are (H, W, C)."""
    return third > max(SHOWN_CHANNELS) and first != second and (first in (1, 3) or first < second == third)


def draw_labels(label_N: Tensor, num_labels: int, seed: int, num_classes: int, draw: str = "balanced") -> np.ndarray:
    """Indices of the labelled training images. `balanced`: class by class, the first num_labels / K of a permutation of that class.
    `random`: the first num_labels of a permutation of all with a label, so a class has about its share, and a rare one may have none.

    0 gives none, -1 all of those. Only training labels are passed in, so no label can come from validation or test. Raises DataError."""
    labelled = np.flatnonzero(label_N.numpy() >= 0)
    if num_labels == -1:
        return labelled
    each, rest = divmod(num_labels, num_classes)
    if num_labels < 0 or (rest and draw == "balanced"):
        want = f"labels are balanced over {num_classes} classes: give a multiple of that, or data.label_draw=random"
        raise DataError(f"data.num_labels: got {num_labels}; {want}")
    if num_labels > len(labelled):
        raise DataError(f"data.num_labels: got {num_labels}; there are {len(labelled)} labelled training images: give fewer, or -1 for all")
    random = np.random.default_rng(seed)
    if draw == "random":
        return labelled[random.permutation(len(labelled))[:num_labels]]
    labels = label_N.numpy()
    chosen = []
    for k in range(num_classes):
        of_class = np.flatnonzero(labels == k)
        if each > len(of_class):
            raise DataError(f"data.num_labels: got {num_labels}; class {k} has {len(of_class)} training images: give fewer, or -1 for all")
        chosen.append(random.permutation(of_class)[:each])
    return np.concatenate(chosen)


def data_warnings(config: TrialConfig, dataset: Dataset) -> list[str]:
    """What spoils a training without ending it, a line each. Counted are the labels that the user has: those of the validation images
    and the training labels that are drawn. Those that data.num_labels hides are not looked at."""
    data, num_classes, lines = config.data, dataset.num_classes, []
    if dataset.image_shape[0] not in SHOWN_CHANNELS:
        lines.append(f"images of {dataset.image_shape[0]} channels: no picture can show them, so none of images is drawn")
    validation_K = torch.bincount(dataset.validation.label_N, minlength=num_classes)
    if missing := none_of(validation_K):
        sortable = data.name == "npz" and data.shuffle_seed is None
        cure = "data.shuffle_seed=0 shuffles a file that is sorted by class" if sortable else "give more images with data.num_validation"
        lines.append(f"the {data.num_validation} validation images hold no image of {missing}: {cure}")
    num_drawn = data.num_draws if data.num_labels > 0 else abs(data.num_labels)  # all labels are one draw
    for seed in range(data.label_seed, data.label_seed + num_drawn):
        drawn = draw_labels(dataset.train.label_N, data.num_labels, seed, num_classes, data.label_draw)
        labelled_K = torch.bincount(dataset.train.label_N[drawn], minlength=num_classes)
        if missing := none_of(labelled_K):
            sortable = data.name == "npz" and data.shuffle_seed is None and data.num_labels == -1
            cure = "data.shuffle_seed=0 shuffles a file that is sorted by class" if sortable else "give more with data.num_labels"
            which = "" if data.num_labels == -1 else f" of data.label_seed={seed}"
            lines.append(f"the {len(drawn)} training labels{which} hold none of {missing}: {cure}")
    all_labels = data.num_labels == -1
    return lines + frequency_warnings(config, labelled_K if all_labels else validation_K, all_labels)


def none_of(count_K: Tensor) -> str:
    """The classes without an image, as words; empty where there are none."""
    classes = (count_K == 0).nonzero().flatten().tolist()
    more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
    return f"class {', '.join(map(str, classes[:10]))}{more}" if classes else ""


def frequency_warnings(config: TrialConfig, count_K: Tensor, all_labels: bool) -> list[str]:
    """A line where one class has more than twice the images of another: p(y) is uniform and labels are balanced unless the user says
    otherwise. A count of few validation images must differ by more than chance makes it, three standard errors."""
    data, model, adversarial_y = config.data, config.model, config.objective.adversarial_y
    most, least = int(count_K.max()), int(count_K[count_K > 0].min())
    chance = 0.0 if all_labels else 3 * (most + least) ** 0.5
    balanced = data.num_labels > 0 and data.label_draw == "balanced"
    if balanced and adversarial_y is not None and adversarial_y.prior.kind == "labels":
        return ["objective.adversarial_y.prior.kind: labels counts as many of each class, for data.label_draw is balanced: give random"]
    known = adversarial_y is not None and adversarial_y.prior.kind != "uniform" and not balanced
    if most <= 2 * least or most - least <= chance or known or (model.class_source == "none" and data.num_labels == 0):
        return []
    what = "training labels" if all_labels else "validation labels, for most of the training's are hidden"
    cures = ["p(y) is uniform: see objective.adversarial_y.prior"] if adversarial_y is not None and not known else []
    cures += ["as many labels are drawn of each: see data.label_draw"] if balanced else []
    why = "; ".join(cures) or "frequent classes weigh most in an error"
    first, last = int(count_K.argmax()), int(torch.where(count_K > 0, count_K, most + 1).argmin())
    return [
        f"classes are not equally frequent: {most} of class {first}, {least} of class {last} (counted: {int(count_K.sum())} {what}); {why}"
    ]


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
