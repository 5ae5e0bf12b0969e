"""The draws of a training: `data.num_draws` models side by side. They are alike but for which labels each of them sees, by the label seeds
from `data.label_seed` on; where none or all labels are seen, but for their initial weights and noise, by the seeds from `train.seed` on.

They take an epoch each, and the epoch has one row. With one draw, as nearly always, this is a plain training.
"""

# N images

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aae.config import TrialConfig
from aae.data import UNLABELLED, Dataset, Split, draw_labels
from aae.errors import DataError
from aae.metrics import to_pixels
from aae.runs import Row, TrialFolder, read_json, write_json
from aae.updates import State

# What a study may minimise (aae/tuning/spec/metrics.py): a row has it of each draw too, as `val/error_draws`
LISTED = ("val/error", "val/component_error", "val/cluster_error", "val/parzen_nll", "val/reconstruction")

SETTLING = 10_000  # so many of the training images settle what batch norm evaluates with


@dataclass
class Draw:
    state: State
    train: Split  # all training images; label -1 for each label that was not drawn
    labelled: Split

    def settle(self) -> None:
        """Both encoders ready for evaluation: batch norm, where there is one, by the statistics of clean training images."""
        images_NX = self.train.images_NX
        num = SETTLING if self.state.config.model.batch_norm else 0
        drawn_N = torch.randperm(len(images_NX), generator=torch.Generator().manual_seed(0))[:num]  # a file may be sorted by class
        x_NX = to_pixels(images_NX[drawn_N.to(images_NX.device)])
        for encoder in {self.state.model.encoder, self.state.averaged.encoder}:
            encoder.settle(x_NX)


def prepare(config: TrialConfig, dataset: Dataset, folder: TrialFolder | None, device: torch.device) -> list[Draw]:
    x_dim, splits = dataset.train.images_NX.shape[1], split_labels(config, dataset, folder)
    seeded = [config if draws_labels(config) else replace(config, train=replace(config.train, seed=seed)) for seed in seeds_of(config)]
    configs = [with_class_prior(own, labelled.label_N) for own, (_, labelled) in zip(seeded, splits, strict=True)]
    if folder is not None and configs[0] is not seeded[0]:
        write_json(folder.class_prior_path, [own.objective.class_probabilities for own in configs])
    return [
        Draw(State(own, x_dim, device), train.to(device), labelled.to(device))
        for own, (train, labelled) in zip(configs, splits, strict=True)
    ]


def draws_labels(config: TrialConfig) -> bool:
    """Whether draws differ in their labels, or in their initial weights."""
    return config.data.num_labels > 0


def seeds_of(config: TrialConfig) -> range:
    first = config.data.label_seed if draws_labels(config) else config.train.seed
    return range(first, first + config.data.num_draws)


def with_class_prior(config: TrialConfig, label_L: Tensor) -> TrialConfig:
    """With p(y) as often as each class has a drawn label, where that is asked for. Raises DataError where a class has none: its
    discriminator would never see that class."""
    adversarial_y = config.objective.adversarial_y
    if adversarial_y is None or adversarial_y.prior.kind != "labels":
        return config
    count_K = torch.bincount(label_L, minlength=config.model.num_classes)
    if missing := (count_K == 0).nonzero().flatten().tolist():
        want = "give more labels (data.num_labels), or kind given with values"
        raise DataError(f"objective.adversarial_y.prior.kind: got labels; none that is drawn is of class {missing[0]}: {want}")
    return config.with_class_probabilities((count_K.double() / len(label_L)).tolist())


def refuse_unfit(config: TrialConfig, dataset: Dataset) -> None:
    """What only the data can tell of a configuration: whether there are so many images, labels and classes. Raises DataError, which
    names all that is wrong of these: a user's first own data often break several."""
    data, train, num_images, faults = config.data, config.train, len(dataset.train.label_N), []
    try:
        num_labels = len(draw_labels(dataset.train.label_N, data.num_labels, data.label_seed, dataset.num_classes, data.label_draw))
    except DataError as error:
        faults, num_labels = [str(error)], int((dataset.train.label_N >= 0).sum())
    if train.batch_size > num_images:
        faults.append(f"train.batch_size: got {train.batch_size}; there are {num_images} training images: give at most that")
    _, height, width = dataset.image_shape
    if 2 * train.shift >= min(height, width):
        faults.append(f"train.shift: got {train.shift}; images are {height} x {width}: give less than half of a side")
    if config.objective.classification is not None and train.labelled_batch_size > num_labels:
        faults.append(f"train.labelled_batch_size: got {train.labelled_batch_size}; there are {num_labels} labels: give at most that")
    if config.model.class_source == "label" and (hidden := int((dataset.train.label_N < 0).sum())):
        faults.append(f"model.class_source: got label; {hidden} images are without one ({UNLABELLED}): leave them out, or infer the class")
    if num_labels and config.model.num_classes != dataset.num_classes:
        faults.append(f"model.num_classes: got {config.model.num_classes}; the labels have {dataset.num_classes} classes: give that")
    if faults:
        raise DataError("; and ".join(faults))
    for seed in range(data.label_seed, data.label_seed + data.num_draws):
        drawn = draw_labels(dataset.train.label_N, data.num_labels, seed, dataset.num_classes, data.label_draw)
        with_class_prior(config, dataset.train.label_N[drawn])


def split_labels(config: TrialConfig, dataset: Dataset, folder: TrialFolder | None) -> list[tuple[Split, Split]]:
    """A pair a draw: the training images, with -1 for each label that was not drawn, and the labelled ones among them. The labels drawn
    are recorded in the folder, as a list a draw where there are several; a record that is there already is what counts. Raises DataError
    where that is of other data."""
    data, train_split = config.data, dataset.train
    recorded = read_json(folder.labels_path) if folder is not None else None
    if folder is not None and recorded:
        draws = [np.array(indices) for indices in (recorded if data.num_draws > 1 else [recorded])]
        have_label_N = (train_split.label_N >= 0).numpy()
        if not all(indices.max() < len(have_label_N) and have_label_N[indices].all() for indices in draws):
            what = f"recorded labels are of images that {data.folder or data.name} does not have, or has no label of"
            raise DataError(f"{folder.labels_path}: {what}; restore the data that they were drawn from")
    else:
        seeds = range(data.label_seed, data.label_seed + data.num_draws)
        draws = [draw_labels(train_split.label_N, data.num_labels, seed, dataset.num_classes, data.label_draw) for seed in seeds]
    if folder is not None and recorded is None and data.num_labels > 0:
        lists = [indices.tolist() for indices in draws]
        write_json(folder.labels_path, lists if data.num_draws > 1 else lists[0])
    splits = []
    for indices in draws:
        labelled = train_split.rows(torch.as_tensor(indices, dtype=torch.long))
        seen_N = torch.full_like(train_split.label_N, -1)
        seen_N[indices] = labelled.label_N
        splits.append((Split(train_split.images_NX, seen_N), labelled))
    return splits


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of every number over the draws; of LISTED also each draw's own."""
    means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    lists = {f"{key}_draws": [row[key] for row in rows] for key in LISTED if key in means and len(rows) > 1}
    return means | lists


def state_dict(draws: Sequence[Draw]) -> dict[str, Any]:
    """That of the first draw, with those of the others in it."""
    first, *others = (draw.state.state_dict() for draw in draws)
    return first | ({"others": others} if others else {})


def load_state_dict(draws: Sequence[Draw], saved: dict[str, Any]) -> None:
    for draw, state in zip(draws, [saved, *saved.get("others", [])], strict=True):
        draw.state.load_state_dict(state)
