"""The opponents of our search in a replay (aae/tuning/replay/search.py).

`Plain` is Ray's OptunaSearch and ASHAScheduler, called in the order in which Tune's controller calls them
(ray/tune/execution/tune_controller.py, `_on_training_result`): a trial that ASHA stops is told to Optuna as complete, with the value
that it had. `Random` is random search without a pruner.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from aae.tuning.replay.search import Values
from aae.tuning.spec.sweep import Sweep


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
