"""Three searchers behind one face, and a replay of them in simulated time: who trains, and for how long, is a function.

Each hands out values, hears an epoch's error and may stop the trial there, and says at any time which configuration it would
choose. `Ours` is the sweep's own study with its journal, without Ray. `Plain` is Ray's OptunaSearch and ASHAScheduler, called in
the order in which Tune's controller calls them (ray/tune/execution/tune_controller.py, `_on_training_result`): a trial that ASHA
stops is told to Optuna as complete, with the value that it had. `Random` is random search without a pruner.
"""

from __future__ import annotations

import heapq
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.choice import ranked
from aae.tuning.study.study import SweepStudy

Values = dict[str, Any]
MEMORY = Path("/dev/shm")  # the study writes and syncs at every report; a disk would be most of a replay's time


class Searcher(Protocol):
    def ask(self) -> tuple[Any, Values]: ...  # a trial's key, and its values
    def report(self, key: Any, epoch: int, value: float) -> bool: ...  # True: the trial ends here; it does so at the last epoch
    def best(self) -> Values | None: ...
    def close(self) -> None: ...


class Ours:
    """`sweep` as its sampler and pruner are, but for the sampler's seed."""

    def __init__(self, sweep: Sweep, seed: int):
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.epochs = sweep.epochs
        seeded = replace(sweep, study=replace(sweep.study, sampler=sweep.study.sampler | {"seed": seed}))
        vars(seeded)["fixed"] = sweep.fixed  # cached there: a fifth of a replay's time
        self.study = SweepStudy(self.folder, seeded)
        self.choose = self.study.choose
        vars(self.study)["choose"] = lambda: None  # after every trial it would be most of a replay's time: `best` asks for it

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
        self.choose()
        return next((dict(trial.params) for trial in ranked(self.study.trials(), self.folder)), None)

    def close(self) -> None:
        shutil.rmtree(self.folder)


class LastBest:
    """The trial with the best last value, stopped or not, as `ResultGrid.get_best_result` chooses."""

    def __init__(self, sweep: Sweep):
        self.epochs = sweep.epochs
        self.space = {path: entry.distribution for path, entry in sweep.space.entries.items()}
        self.values: dict[str, Values] = {}
        self.last: dict[str, float] = {}

    def best(self) -> Values | None:
        return self.values[min(self.last, key=lambda key: self.last[key])] if self.last else None

    def close(self) -> None:
        pass


class Plain(LastBest):
    """With Tune's defaults but for ASHA's longest trial; `arguments`: others of ASHA's."""

    def __init__(self, sweep: Sweep, seed: int, **arguments: Any):
        super().__init__(sweep)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.metric = sweep.study.metric
        self.search = OptunaSearch(self.space, metric=self.metric, mode="min", seed=seed)
        self.asha = ASHAScheduler(metric=self.metric, mode="min", max_t=sweep.epochs, **arguments)

    def ask(self) -> tuple[str, Values]:
        key = f"{len(self.values):05d}"
        self.values[key] = dict(self.search.suggest(key))
        self.asha.on_trial_add(None, SimpleNamespace(trial_id=key))
        return key, self.values[key]

    def report(self, key: str, epoch: int, value: float) -> bool:
        result, trial = {self.metric: value, "training_iteration": epoch}, SimpleNamespace(trial_id=key)
        self.last[key] = value
        if self.asha.on_trial_result(None, trial, result) != TrialScheduler.STOP:
            self.search.on_trial_result(key, result)
            return False
        self.asha.on_trial_complete(None, trial, result)
        self.search.on_trial_complete(key, result)
        return True


class Random(LastBest):
    def __init__(self, sweep: Sweep, seed: int):
        super().__init__(sweep)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    def ask(self) -> tuple[str, Values]:
        key = f"{len(self.values):05d}"
        self.values[key] = self.study.ask(self.space).params
        return key, self.values[key]

    def report(self, key: str, epoch: int, value: float) -> bool:
        self.last[key] = value
        return epoch == self.epochs


def play(
    searcher: Searcher, train: Callable[[Values], tuple[np.ndarray, np.ndarray]], slots: int, budgets: list[float]
) -> list[Values | None]:
    """What the searcher would choose when each of the budgets, rising, of time on every slot is spent. `train`: (error, duration) of
    every epoch that these values' training would have."""
    chosen: list[Values | None] = []
    order = itertools.count()  # of two reports at the same moment the one that was expected first
    queue: list[tuple[float, int, Any, int, np.ndarray, np.ndarray]] = []

    def start(now: float) -> None:
        key, values = searcher.ask()
        error_E, duration_E = train(values)
        heapq.heappush(queue, (now + duration_E[0], next(order), key, 1, error_E, duration_E))

    for _ in range(slots):
        start(0.0)
    while True:
        now, _, key, epoch, error_E, duration_E = heapq.heappop(queue)
        while now > budgets[len(chosen)]:  # an epoch that ends exactly then still counts
            chosen.append(searcher.best())
            if len(chosen) == len(budgets):
                return chosen
        if searcher.report(key, epoch, float(error_E[epoch - 1])):
            start(now)
        else:
            heapq.heappush(queue, (now + duration_E[epoch], next(order), key, epoch + 1, error_E, duration_E))
