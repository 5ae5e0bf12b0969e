"""Searches in simulated time: who trains, and for how long, is a function.

A search hands out values, hears an epoch's error and may stop the trial there, and says at any time which configuration it would
choose. `SweepSearch` is the sweep's own study with its journal, without Ray.
"""

from __future__ import annotations

import heapq
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from aae.tuning.replay.processes import memory_folder
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.choice import ranked
from aae.tuning.study.study import SweepStudy

Values = dict[str, Any]


class Search(Protocol):
    def ask(self) -> tuple[Any, Values]: ...  # a trial's key, and its values
    def report(self, key: Any, epoch: int, value: float) -> bool: ...  # True: the trial ends here; it does so at the last epoch
    def best(self) -> Values | None: ...
    def close(self) -> None: ...


class LateChoice(SweepStudy):
    """Chooses when it is asked for its choice and not at every tell, which takes half of a replay."""

    def choose(self) -> None:
        pass

    def best(self) -> Values | None:
        super().choose()
        return next((dict(trial.params) for trial in ranked(self.trials(), self.run)), None)


class SweepSearch:
    """`sweep` as its sampler and pruner are, but for the sampler's seed. `others`: told trials of other studies, to be learnt from.
    `place`: the folder that its own is made in."""

    def __init__(self, sweep: Sweep, seed: int, others: list[list[FrozenTrial]] | None = None, place: str | None = None):
        # In memory: the study writes and syncs at every report, and a disk would be most of a replay's time.
        self.folder = Path(tempfile.mkdtemp(dir=place or memory_folder()))
        self.epochs = sweep.epochs
        seeded = replace(sweep, study=replace(sweep.study, sampler=sweep.study.sampler | {"seed": seed}))
        vars(seeded)["fixed"] = sweep.fixed  # cached there: a fifth of a replay's time
        self.study = LateChoice(self.folder, seeded)
        self.study.others = others or []

    def ask(self) -> tuple[int, Values]:
        number = self.study.ask()
        return number, self.study.values(number)

    def report(self, key: int, epoch: int, value: float) -> bool:
        if self.study.report(key, {"epoch": epoch, self.study.metric: value}):
            return True
        if epoch == self.epochs:
            self.study.tell(key, TrialState.COMPLETE)
        return epoch == self.epochs

    def best(self) -> Values | None:
        return self.study.best()

    def close(self) -> None:
        shutil.rmtree(self.folder)


def play(search: Search, train: Callable[[Values], tuple[np.ndarray, np.ndarray]], slots: int, budgets: list[float]) -> list[Values | None]:
    """What the search would choose when each of the budgets, rising, of time on every slot is spent. `train`: (error, duration) of
    every epoch that these values' training would have."""
    chosen: list[Values | None] = []
    order = itertools.count()  # of two reports at the same moment the one that was expected first
    queue: list[tuple[float, int, Any, int, np.ndarray, np.ndarray]] = []

    def start(now: float) -> None:
        key, values = search.ask()
        error_E, duration_E = train(values)
        heapq.heappush(queue, (now + duration_E[0], next(order), key, 1, error_E, duration_E))

    for _ in range(slots):
        start(0.0)
    while True:
        now, _, key, epoch, error_E, duration_E = heapq.heappop(queue)
        while now > budgets[len(chosen)]:  # an epoch that ends exactly then still counts
            chosen.append(search.best())
            if len(chosen) == len(budgets):
                return chosen
        if search.report(key, epoch, float(error_E[epoch - 1])):
            start(now)
        else:
            heapq.heappush(queue, (now + duration_E[epoch], next(order), key, epoch + 1, error_E, duration_E))
