"""A study's sampler for one trial: a seed of its own, without what it must not see; and what `{kind: auto}` comes to."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from aae.tuning.spec.samplers_and_pruners import AUTO, SAMPLERS, make_from_block
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.expected_improvement import suggest
from aae.tuning.study.optuna_private import View
from aae.tuning.study.optuna_views import is_baseline

MOST_TOLD = 250  # beyond, a suggestion takes too long
MOST_PATHS = 20  # beyond, so many lengths are more than the trials can tell


def why_tpe(sweep: Sweep) -> str | None:
    """Why `auto` is TPE throughout; None: it is the Gaussian process up to MOST_TOLD told trials."""
    if sweep.study.constraint is not None:
        return "the study has a constraint"
    if len(sweep.space.entries) > MOST_PATHS:
        return f"more than {MOST_PATHS} paths are searched"
    return None


def describe_sampler(sweep: Sweep) -> str | None:
    """What `auto` comes to, for the first screen; None of another sampler."""
    if sweep.study.sampler["kind"] != AUTO or not sweep.space.entries:
        return None
    why = why_tpe(sweep)
    if why is not None:
        return f"sampler: auto is Optuna's TPE here, as {why}"
    more = f"; TPE after {MOST_TOLD} told trials" if sweep.study.num_trials > MOST_TOLD else ""
    return f"sampler: auto is a Gaussian process of the metric with its noise{more}"


class TrialSampler(BaseSampler):
    """What it draws depends on the study, the trial's number and the path alone: a resumed study replays no startup points, and a
    trial that a kill left half sampled gets the values it would have had.

    It does not see baselines without parameters: they would empty the space that all trials have in common."""

    def __init__(self, sweep: Sweep, number: int, others: Sequence[Sequence[FrozenTrial]] = ()):
        self._sweep, self._number, self._others = sweep, number, others
        self._seed = int(sweep.study.sampler.get("seed") or 0)
        self._sampler = self._seeded(number)

    def _seeded(self, *path: int) -> BaseSampler:
        seed = np.random.SeedSequence([self._seed, *path]).generate_state(1)[0]
        block = self._sweep.study.sampler
        sampler: BaseSampler = make_from_block(block if block["kind"] != AUTO else {"kind": "TPESampler"}, SAMPLERS, seed=int(seed))
        return sampler

    def _view(self, study: Any) -> Any:
        return View(study, lambda trial: is_baseline(trial) and not trial.params)

    def _by_gaussian_process(self, study: Any) -> bool:
        told = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        return self._sweep.study.sampler["kind"] == AUTO and why_tpe(self._sweep) is None and told <= MOST_TOLD

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        if self._by_gaussian_process(study):
            return {path: entry.distribution for path, entry in self._sweep.space.entries.items()}
        return self._sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        if search_space and self._by_gaussian_process(study):
            return suggest(self._view(study).get_trials(deepcopy=False), self._sweep.space, self._seed, self._number, self._others)
        return self._sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        own = self._seeded(self._number, zlib.crc32(param_name.encode()))
        return own.sample_independent(self._view(study), trial, param_name, param_distribution)
