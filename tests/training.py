"""Trainings for tests: whole, or killed after some epochs and handed out again."""

from pathlib import Path

import pytest
import torch

from aae import checkpoint
from aae.runs import Attempt, TrialFolder
from aae.train import train


class Killed(Exception):
    """The process ends here, as far as the folder can tell."""


def killed_after(epoch: int):
    def report(row):
        if row["epoch"] == epoch:
            raise Killed

    return report


def nothing(row) -> None:
    pass


def without_clock(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def averaged(attempt: Attempt) -> dict[str, torch.Tensor]:
    return checkpoint.read(attempt.checkpoint_path)["averaged"]


def whole(config, folder: Path, dataset) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """(rows, averaged weights) of a training that nothing interrupts."""
    attempt = TrialFolder(folder).next_attempt()
    train(config, nothing, TrialFolder(folder), attempt, dataset)
    return without_clock(attempt.rows()), averaged(attempt)


def in_pieces(config, folder: Path, dataset, kills: list[int]) -> Attempt:
    """The last attempt of a training that is killed after these epochs and handed out again each time."""
    trial = TrialFolder(folder)
    for epoch in kills:
        with pytest.raises(Killed):
            train(config, killed_after(epoch), trial, trial.next_attempt(), dataset)
    attempt = trial.next_attempt()
    train(config, nothing, trial, attempt, dataset)
    return attempt
