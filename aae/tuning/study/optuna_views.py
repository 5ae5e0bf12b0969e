"""The study as our code reads it: states, baselines, the best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from aae.runs import BASELINE, REASON, excess, rank, state_word


def best_first(trials: Sequence[FrozenTrial], expected: Mapping[int, float]) -> list[FrozenTrial]:
    """The complete trials: those that keep the study's constraint by value, then the others by how far they break it. `expected`:
    of a trial, to be ranked by instead of its value."""
    complete = (trial for trial in trials if trial.state == TrialState.COMPLETE)
    return sorted(complete, key=lambda t: rank(expected.get(t.number, t.value or 0.0), excess(t.constraints), t.number))


def configuration(trial: FrozenTrial) -> tuple[Any, ...]:
    """What tells its configuration from others: its parameters. A trial without any, as a baseline outside the space, is one of its own."""
    return tuple(sorted(trial.params.items())) or (trial.number,)


def each_once(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The first trial of each configuration. Equal parameters train to equal bits, so a copy, as TPE and random search ask for in a finite
    space, is no second measurement: whatever counts trials, or learns from them, counts it once."""
    first: dict[tuple[Any, ...], FrozenTrial] = {}
    for trial in trials:
        first.setdefault(configuration(trial), trial)
    return list(first.values())


def is_baseline(trial: FrozenTrial) -> bool:
    return BASELINE in trial.user_attrs


def baseline_name(trial: FrozenTrial) -> str | None:
    return trial.user_attrs[BASELINE]["name"] if is_baseline(trial) else None


def word_of(trial: FrozenTrial) -> str:
    """Its state for people, see aae.runs.state_word."""
    return state_word(trial.state.name, trial.user_attrs.get(REASON))


def last_value(trial: FrozenTrial) -> float | None:
    return trial.intermediate_values.get(trial.last_step) if trial.last_step is not None else None
