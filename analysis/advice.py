"""What a finished search says about its own set-up: ranges that end too soon, parameters that do nothing, a pruner that is too quick,
code that changed on the way. Each in a sentence that says what to do; silent where the trials are too few to say it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution
from scipy import stats

from aae.runs import PARENT
from analysis.trials import MAX_LISTED, Run, TrialRecord

BEST_SHARE, MIN_BEST = 0.05, 3  # of the complete trials: those whose values are looked at
EDGE_SHARE = 0.1  # of a range, at either end
CHANCE = 0.01  # that so many values lie at one edge of a range that does not matter
MIN_FOR_IMPORTANCE = 30  # trials
TOP_SHARE = 0.25  # "good" trials, against the rest
WARM_UP = {  # pruner -> its argument that lets trials go on for longer before it judges them
    "SuccessiveHalvingPruner": "min_resource",
    "HyperbandPruner": "min_resource",
    "MedianPruner": "n_warmup_steps",
    "PercentilePruner": "n_warmup_steps",
}
NO_SIGN = 0.5  # p-value above which the good ones look like the rest


def advice(run: Run) -> list[str]:
    return [*edges(run), *idle_parameters(run), *pruned_too_soon(run), *changed_code(run)]


def each_once(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The first searched trial of each configuration: a copy trains to the same bits, so it is no second sign of anything."""
    first: dict[str, TrialRecord] = {}
    for trial in trials:
        first.setdefault(repr(sorted(trial.params.items())), trial)
    return list(first.values())


# ---- the space ----


def edges(run: Run) -> list[str]:
    """Ranges whose best values all lie at one end."""
    searched = each_once(trial for trial in run.complete if trial.params)
    best = searched[: max(MIN_BEST, math.ceil(BEST_SHARE * len(searched)))]
    lines = []
    for path in run.searched_paths:
        trials = [trial for trial in best if path in trial.params]
        distribution = trials[0].distributions[path] if len(trials) >= MIN_BEST else None
        if distribution is None or isinstance(distribution, CategoricalDistribution) or distribution.low == distribution.high:
            continue
        places = [place(distribution, trial.params[path]) for trial in trials]
        for end, name, change in ((0.0, "lower", "lower its low"), (1.0, "upper", "raise its high")):
            if all(abs(at - end) <= EDGE_SHARE for at in places) and share_at(distribution, end) ** len(trials) < CHANCE:
                shown = ", ".join(f"{trial.params[path]:.3g}" for trial in trials[:MAX_LISTED])
                of = f"{shown} of {distribution.low:g} to {distribution.high:g}"
                way = f"{change}, unless you set it there on purpose"
                lines.append(f"search_space.{path}: the best {len(trials)} trials all lie at its {name} end ({of}): {way}")
    return lines


def place(distribution: Any, value: float) -> float:
    """Where in its range a value lies: 0 at the low end, 1 at the high one."""
    low, high = distribution.low, distribution.high
    if distribution.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low)


def share_at(distribution: Any, end: float) -> float:
    """Of draws that lie at that end. Optuna draws a logarithmic whole number along the range from low - 1/2 to high + 1/2, and rounds."""
    step = distribution.step or (1 if isinstance(distribution, IntDistribution) else None)
    if step is None or (distribution.log and not isinstance(distribution, IntDistribution)):
        return EDGE_SHARE
    values = np.arange(distribution.low, distribution.high + step / 2, step)
    at = np.array([abs(place(distribution, value) - end) <= EDGE_SHARE for value in values])
    weights = np.log((values + 0.5) / (values - 0.5)) if distribution.log else None
    return max(EDGE_SHARE, float(np.average(at, weights=weights)))


def idle_parameters(run: Run) -> list[str]:
    """Paths whose values among the good trials look like those among the rest."""
    judged = comparable(run)
    if len(judged) < MIN_FOR_IMPORTANCE:
        return []
    good = {trial.number for trial, _ in judged[: round(TOP_SHARE * len(judged))]}
    lines = []
    for path in run.searched_paths:
        having = [trial for trial, _ in judged if path in trial.params]
        inside = [trial.params[path] for trial in having if trial.number in good]
        outside = [trial.params[path] for trial in having if trial.number not in good]
        if len(having) < MIN_FOR_IMPORTANCE or not inside or not outside:
            continue
        if isinstance(having[0].distributions[path], CategoricalDistribution):
            choices = sorted({str(value) for value in inside + outside})
            table = [[list(map(str, side)).count(choice) for choice in choices] for side in (inside, outside)]
            p = stats.chi2_contingency(table).pvalue if len(choices) > 1 else 0.0
        else:
            p = stats.ks_2samp(inside, outside).pvalue
        if p > NO_SIGN:
            where, way = f"search_space.{path}", "set it under trial:, and the search has one dimension less"
            if path == PARENT:
                where, way = "study.fork.top_k", "1, in a new study, takes the best parent alone"
            alike = f"the best quarter of {len(having)} trials has the values of the rest, p = {p:.2f}"
            lines.append(f"{where}: no sign that it matters ({alike}): {way}")
    return lines


def comparable(run: Run) -> list[tuple[TrialRecord, float]]:
    """Searched trials with a number of the same epoch, the best first: the last one of the complete trials where they are enough, else
    that of the last epoch which all reached."""
    searched = each_once(trial for trial in run.complete if trial.params and not trial.excess)
    complete = [(trial, trial.value) for trial in searched if trial.value is not None]
    if len(complete) >= MIN_FOR_IMPORTANCE:
        return complete
    reached = each_once(run.reached)
    epoch = min((len(trial.rows) for trial in reached), default=0)
    at = [(trial, trial.rows[epoch - 1][run.metric]) for trial in reached if run.metric in trial.rows[epoch - 1]]
    return sorted(at, key=lambda pair: pair[1])


# ---- the pruner ----


def pruned_too_soon(run: Run) -> list[str]:
    """Pruned trials that stood better, when they were pruned, than the best trial did at that epoch."""
    best = run.best
    if best is None:
        return []
    pruned = [trial for trial in run.trials if trial.state == "PRUNED" and trial.value is not None]
    better = [
        trial
        for trial in pruned
        if 0 < trial.epochs <= len(best.rows) and trial.value < best.rows[trial.epochs - 1].get(run.metric, -math.inf)
    ]
    if not better:
        return []
    epochs = sorted({trial.epochs for trial in better})
    at = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
    named = ", ".join(trial.name for trial in better[:MAX_LISTED]) + (", ..." if len(better) > MAX_LISTED else "")
    raised = WARM_UP.get(run.manifest.get("sweep", {}).get("study", {}).get("pruner", {}).get("kind"))
    cure = f"raise its {raised}" if raised else "the NopPruner stops nobody"
    return [
        f"study.pruner: {len(better)} of the {len(pruned)} pruned trials ({named}) stood better at {at} than trial {best.name} did, which "
        f"ended best: it may prune on too little; {cure}"
    ]


# ---- the code ----


def changed_code(run: Run) -> list[str]:
    """Which trials were trained by code that was accepted later."""
    lines = []
    for number, accepted in enumerate(run.manifest.get("accepted", []), start=1):
        trials = [trial.name for trial in run.trials if number in trial.code_numbers]
        mixed = [trial.name for trial in run.trials if number in trial.code_numbers and len(trial.code_numbers) > 1]
        of = f"; {', '.join(mixed)} only in part" if mixed else ""
        lines.append(
            f"changed on the way ({', '.join(accepted['changes'][:MAX_LISTED])}; accepted {accepted['when']}): "
            f"trained with it {'trial ' + ', '.join(trials) if trials else 'no trial'}{of}"
        )
    return lines
