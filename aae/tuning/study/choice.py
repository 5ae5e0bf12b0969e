"""Which complete trial is the best: the one choice of a study, computed by its driver whenever a trial is told.

The lowest number of many noisy ones is low by luck as well. So the trials are ranked by what a Gaussian process over all of them
expects of each configuration without noise. RUN/choice.json holds that ranking; every command and page reads it and fits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from aae.runs import CHOICE, expected_values, write_json
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.gain import describe_gain
from aae.tuning.study.optuna_views import best_first, each_once
from aae.tuning.study.posterior import Posterior, read_posterior
from aae.tuning.study.rungs import describe_rungs

LEAST_COMPLETE = 10  # fewer say too little of the noise
SPREAD = 1.96  # standard deviations either side: 95 %


def why_lowest(sweep: Sweep, trials: Sequence[FrozenTrial]) -> str | None:
    """Why the lowest number is the choice; None: the posterior mean is."""
    complete = each_once(trial for trial in trials if trial.state == TrialState.COMPLETE and trial.params)
    if not sweep.space.entries:
        return "nothing is searched"
    if sweep.study.sampler["kind"] == "RandomSampler":
        return "the search is random"
    if len(complete) < LEAST_COMPLETE:
        return f"fewer than {LEAST_COMPLETE} different configurations of the search are complete"
    return None


def describe_choice(sweep: Sweep, trials: Sequence[FrozenTrial], posterior: Posterior | None) -> dict[str, Any]:
    """What choice.json holds. `posterior`: of these trials, where the mean is to rank them."""
    why = why_lowest(sweep, trials)
    if why is not None or posterior is None:
        return {"by": "lowest", "why": why or "the values tell no noise", "trials": {}}
    scaled = {number: of for number, of in posterior.expected().items() if trials[number].state == TrialState.COMPLETE}
    expected = {
        str(number): {
            "expected": posterior.to_metric(mean),
            "low": posterior.to_metric(mean - SPREAD * std),
            "high": posterior.to_metric(mean + SPREAD * std),
        }
        for number, (mean, std) in scaled.items()
    }
    return {"by": "posterior mean", "why": None, "trials": expected}


def compute_choice(sweep: Sweep, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """What choice.json holds of these trials: the choice, what more of them would gain, and which rungs counted."""
    why = why_lowest(sweep, trials)
    posterior = None if why else read_posterior(trials, sweep.space, LEAST_COMPLETE)
    choice = describe_choice(sweep, trials, posterior)
    return choice | {"gain": describe_gain(sweep, trials, posterior, why), "rungs": describe_rungs(sweep, trials)}


def write_choice(run: Path, choice: dict[str, Any]) -> None:
    write_json(run / CHOICE, choice)


def ranked(trials: Sequence[FrozenTrial], run: Path) -> list[FrozenTrial]:
    """The complete trials of a run, the best first, as its choice has them. Raises ConfigError where its file is broken."""
    return best_first(trials, {number: of["expected"] for number, of in expected_values(run).items()})
