"""Every composition of the project, in small: each sweep file and its baselines, under both updates."""

import functools
from pathlib import Path

import pytest
import torch

from aae.inputs import read_sweep
from aae.layers import trial_from_sweep
from aae.updates import UPDATE, State
from tests.golden import TINY

SWEEPS = sorted((Path(__file__).resolve().parents[1] / "sweeps").glob("*.yaml"))
SWEEPS = [path for path in SWEEPS if path.stem != "semi_decay"]  # it begins with another study: test_fork
SMALL = TINY | {
    "train.batch_size": 50,
    "train.epochs": 2,
    "train.keep_epochs": [],
    "train.precision": "float32",
    "optim.schedule.kind": "constant",
}
CPU = torch.device("cpu")


def cases() -> list:
    """A baseline has the terms of its sweep, under other rates: among the slow tests."""
    found = []
    for path in SWEEPS:
        for baseline in (None, *read_sweep(path).baselines):
            for update in UPDATE:
                marks = [] if baseline is None else [pytest.mark.slow]
                found.append(pytest.param(path, baseline, update, id=f"{path.stem}-{baseline}-{update}", marks=marks))
    return found


@functools.cache
def small(path, baseline, update):
    """A configuration of the project at the size of the tiny dataset: 20 labels where it has some."""
    sweep = read_sweep(path)
    whole = trial_from_sweep(sweep, baseline, {})
    values = {"data.num_labels": whole.data.num_labels if whole.data.num_labels < 1 else 20, "train.update": update}
    values |= {"objective.consistency.from_epoch": 0} if whole.objective.consistency is not None else {}
    values |= {"train.learnt_labelled_batch_size": 10} if whole.train.learnt_labelled_batch_size is not None else {}
    return trial_from_sweep(sweep, baseline, SMALL | values | {"train.parzen_samples": min(whole.train.parzen_samples, 50)})


def state_of(config, dataset) -> State:
    return State(config, dataset.train.images_NX.shape[1], CPU)
