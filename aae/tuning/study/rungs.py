"""Whether the order of trials at an epoch foretells their order at the end: where it does not, the pruner stops nobody there.

The measure is Spearman's rank correlation of the metric at that epoch with the last one, over the searched trials that ran all of
their epochs. Under a pruner these are trials that its rungs have chosen, which are more alike than all were, so it comes out too low
rather than too high: a rung is given up too early rather than too late. Trials that then run on come in, and it may count again.
"""

# T trials

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy import stats

from aae.runs import VERDICT
from aae.tuning.spec.samplers_and_pruners import AUTO
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.optuna_views import each_once, is_baseline

LEAST_TRIALS = 20  # before so many complete ones, the file's own rungs hold: fewer tell a correlation to a third only
LEAST_CORRELATION = 0.6  # between epochs 3 and 4 of the 72 curves in docs/log.md
MOST_TRIALS = 1000  # the last ones: more tell no more, and take time at every report


def rank_correlation(a_T: np.ndarray, b_T: np.ndarray) -> float:
    """Spearman's; ties take their mean rank. 0 where all values of one side are the same: no order foretells nothing."""
    a, b = (stats.rankdata(values) - (len(values) + 1) / 2 for values in (a_T, b_T))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0


def whole_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The searched ones that ran all of their epochs, one of each configuration."""
    whole = each_once(trial for trial in trials if trial.state == TrialState.COMPLETE and trial.params and not is_baseline(trial))
    return whole[-MOST_TRIALS:]


def correlation_with_end(whole: Sequence[FrozenTrial], epoch: int) -> float | None:
    """None while fewer than LEAST_TRIALS of the whole trials have a value at that epoch."""
    values = [(trial.intermediate_values[epoch], trial.value) for trial in whole if epoch in trial.intermediate_values]
    if len(values) < LEAST_TRIALS:
        return None
    at_T, last_T = np.array(values, dtype=float).T
    return rank_correlation(at_T, last_T)


def foretells(correlation: float | None) -> bool:
    """Whether the pruner may stop a trial at an epoch of this correlation; None: not known yet."""
    return correlation is None or correlation >= LEAST_CORRELATION


def describe_rungs(sweep: Sweep, trials: Sequence[FrozenTrial]) -> dict[str, Any] | None:
    """For choice.json: what every epoch of so many whole trials says of the end, and where the pruner's stops were kept and left out.
    None where nothing prunes. The pruner of auto has no rungs, and so no least correlation: its stops are all kept."""
    if sweep.study.pruner["kind"] == "NopPruner":
        return None
    verdicts = [trial.user_attrs[VERDICT] for trial in trials if VERDICT in trial.user_attrs]
    stops, left_out = dict[str, int](), dict[str, int]()
    for verdict in verdicts:
        if verdict["stop"]:
            stops[str(verdict["epoch"])] = stops.get(str(verdict["epoch"]), 0) + 1
        for epoch in verdict.get("left_out", []):
            left_out[str(epoch)] = left_out.get(str(epoch), 0) + 1
    whole = whole_trials(trials)
    correlations = {str(epoch): correlation_with_end(whole, epoch) for epoch in range(1, sweep.last_rung + 1)}
    known = {epoch: round(value, 3) for epoch, value in correlations.items() if value is not None}
    return {
        "trials": len(whole),
        "least_trials": LEAST_TRIALS,
        "least_correlation": None if sweep.study.pruner["kind"] == AUTO else LEAST_CORRELATION,
        "correlation": known,
        "stops": stops,
        "stops_left_out": left_out,
    }
