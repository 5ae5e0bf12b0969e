"""The study as our code reads it and as a sampler sees it: states, baselines, the best first, a seed a trial."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from aae.runs import BASELINE, REASON, excess, rank, state_word
from aae.tuning.spec.samplers_and_pruners import SAMPLERS, make_from_block
from aae.tuning.study.optuna_private import View


def best_first(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials: those that keep the study's constraint by value, then the others by how far they break it."""
    complete = (trial for trial in trials if trial.state == TrialState.COMPLETE)
    return sorted(complete, key=lambda trial: rank(trial.value or 0.0, excess(trial.constraints), trial.number))


def is_baseline(trial: FrozenTrial) -> bool:
    return BASELINE in trial.user_attrs


def baseline_name(trial: FrozenTrial) -> str | None:
    return trial.user_attrs[BASELINE]["name"] if is_baseline(trial) else None


def word_of(trial: FrozenTrial, live: bool = False) -> str:
    """Its state for people, see aae.runs.state_word."""
    return state_word(trial.state.name, trial.user_attrs.get(REASON), live)


def last_value(trial: FrozenTrial) -> float | None:
    return trial.intermediate_values.get(trial.last_step) if trial.last_step is not None else None


class TrialSampler(BaseSampler):
    """The study's sampler for one trial. What it draws depends on the study, the trial's number and the path alone: a resumed
    study replays no startup points, and a trial that a kill left half sampled gets the values it would have had.

    It does not see baselines without parameters: they would empty the space that all trials have in common."""

    def __init__(self, block: dict[str, Any], number: int):
        self._block, self._number = block, number
        self._sampler = self._seeded(number)

    def _seeded(self, *path: int) -> BaseSampler:
        seed = np.random.SeedSequence([self._block.get("seed") or 0, *path]).generate_state(1)[0]
        sampler: BaseSampler = make_from_block(self._block, SAMPLERS, seed=int(seed))
        return sampler

    def _view(self, study: Any) -> Any:
        return View(study, lambda trial: is_baseline(trial) and not trial.params)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._sampler.infer_relative_search_space(self._view(study), trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        return self._sampler.sample_relative(self._view(study), trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        own = self._seeded(self._number, zlib.crc32(param_name.encode()))
        return own.sample_independent(self._view(study), trial, param_name, param_distribution)
