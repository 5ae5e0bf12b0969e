"""The opponents of our search in a replay (aae/tuning/replay/search.py).

`Plain` is Ray's OptunaSearch and ASHAScheduler, called in the order in which Tune's controller calls them
(ray/tune/execution/tune_controller.py, `_on_training_result`): a trial that ASHA stops is told to Optuna as complete, with the value
that it had. `Random` is random search without a pruner.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from aae.tuning.replay.search import Values
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.choice import LEAST_COMPLETE
from aae.tuning.study.posterior import read_posterior


class Opponent:
    """It chooses the trial with the best last value, stopped or not, as `ResultGrid.get_best_result` does; `our_choice`: as ours would
    choose among its trials."""

    def __init__(self, sweep: Sweep, our_choice: bool = False):
        self.sweep, self.epochs, self.our_choice = sweep, sweep.epochs, our_choice
        self.space = {path: entry.distribution for path, entry in sweep.space.entries.items()}
        self.values: dict[str, Values] = {}
        self.curves: dict[str, list[float]] = {}
        self.ended: list[str] = []

    def sample(self, key: str) -> Values:
        raise NotImplementedError  # each opponent has its own

    def ends(self, key: str, epoch: int, value: float) -> bool:
        raise NotImplementedError  # each opponent has its own

    def ask(self) -> tuple[str, Values]:
        key = f"{len(self.values):05d}"
        self.values[key] = self.sample(key)
        return key, self.values[key]

    def report(self, key: str, epoch: int, value: float) -> bool:
        self.curves.setdefault(key, []).append(value)
        ended = self.ends(key, epoch, value)
        if ended:
            self.ended.append(key)
        return ended

    def best(self) -> Values | None:
        key = (self.lowest_expected() if self.our_choice else None) or min(self.curves, key=lambda key: self.curves[key][-1], default=None)
        return None if key is None else self.values[key]

    def lowest_expected(self) -> str | None:
        """None: too few of its trials are complete for our choice."""
        trials = [self.trial(number, key) for number, key in enumerate(self.ended)]
        posterior = read_posterior(trials, self.sweep.space, LEAST_COMPLETE)
        if posterior is None:
            return None
        mean = {number: of[0] for number, of in posterior.expected().items() if trials[number].state == TrialState.COMPLETE}
        return self.ended[min(mean, key=lambda number: mean[number])]

    def trial(self, number: int, key: str) -> FrozenTrial:
        curve, state = self.curves[key], TrialState.COMPLETE if len(self.curves[key]) == self.epochs else TrialState.PRUNED
        values = dict(enumerate(curve, start=1))
        made = create_trial(state=state, value=curve[-1], params=self.values[key], distributions=self.space, intermediate_values=values)
        made.number = number
        return made

    def close(self) -> None:
        pass


class Plain(Opponent):
    """With Tune's defaults but for ASHA's longest trial; `arguments`: others of ASHA's."""

    def __init__(self, sweep: Sweep, seed: int, our_choice: bool = False, **arguments: Any):
        super().__init__(sweep, our_choice)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.metric = sweep.study.metric
        self.search = OptunaSearch(self.space, metric=self.metric, mode="min", seed=seed)
        self.asha = ASHAScheduler(metric=self.metric, mode="min", max_t=sweep.epochs, **arguments)

    def sample(self, key: str) -> Values:
        values = dict(self.search.suggest(key))
        self.asha.on_trial_add(None, SimpleNamespace(trial_id=key))
        return values

    def ends(self, key: str, epoch: int, value: float) -> bool:
        result, trial = {self.metric: value, "training_iteration": epoch}, SimpleNamespace(trial_id=key)
        if self.asha.on_trial_result(None, trial, result) != TrialScheduler.STOP:
            self.search.on_trial_result(key, result)
            return False
        self.asha.on_trial_complete(None, trial, result)
        self.search.on_trial_complete(key, result)
        return True


class Random(Opponent):
    def __init__(self, sweep: Sweep, seed: int, our_choice: bool = False):
        super().__init__(sweep, our_choice)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    def sample(self, key: str) -> Values:
        return self.study.ask(self.space).params

    def ends(self, key: str, epoch: int, value: float) -> bool:
        return epoch == self.epochs
