"""`launch.py replay RUN`: which sampler, rungs and budget would have found how much, on surrogates of a study's own curves.

A replay plays one search in simulated time: SLOTS slots, an epoch takes 1 (std JITTER of it), a surrogate with its noise is the
training. A budget of N is the slot time of N whole trainings. What counts is the surrogate's metric, without noise, of the configuration
that the search would choose then. A surrogate is uncertain where a search goes, so there are many: each of random two thirds of the
study's trials.
"""

# S settings, R replays, B budgets

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from aae import metrics
from aae.errors import ConfigError, require
from aae.inputs import read_sweep
from aae.tuning.replay.processes import run_jobs
from aae.tuning.replay.search import Search, SweepSearch, Values, play
from aae.tuning.replay.surrogate import Recorded, Surrogate, cross_validate
from aae.tuning.spec.metrics import guessing
from aae.tuning.spec.samplers_and_pruners import AUTO
from aae.tuning.spec.space import encode_choice
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.cube import Cube
from aae.tuning.study.journal import read_trials
from aae.tuning.study.optuna_views import each_once
from aae.tuning.study.parents import load_sweep

SLOTS, JITTER = 2, 0.05
PART, REPLAYS_EACH = 2 / 3, 3  # of the trials in a surrogate; on each surrogate
LEAST = 20  # trials; a surrogate of fewer foretells too little
NOT_PLAYED = ("learn_from", "confirm", "stop_below_gain")  # of the study block: a simulated search ends with its time alone
RANDOM = "RandomSampler"  # what the others are compared with, without rungs


@dataclass(frozen=True)
class Setting:
    sampler: str
    rungs: str
    sweep: Sweep


def read_recorded(run: Path, sweep: Sweep) -> Recorded:
    """The curves of a run's complete trials. Raises ConfigError where they are too few, or stand for no search."""
    require(sweep.study.constraint is None, str(run), "a study with a constraint", "replay knows the metric alone: replay another study")
    require(bool(sweep.space.entries), str(run), "a study that searches nothing", "give one with a search_space")
    trials = read_trials(run)
    epochs, cube = range(1, sweep.epochs + 1), Cube(sweep.space)
    whole = each_once(t for t in trials if t.state == TrialState.COMPLETE and t.params and all(e in t.intermediate_values for e in epochs))
    got = f"{len(whole)} different configurations that are complete"
    require(len(whole) >= LEAST, str(run), got, f"replay takes {LEAST}: {command_for(run)}")
    curve_TE = np.array([[trial.intermediate_values[epoch] for epoch in epochs] for trial in whole])
    known = sweep.fixed.data.known_size  # of own data the heads are as many as the classes, but for clusters
    guess = guessing(sweep.study.metric, known[1] if known else sweep.fixed.model.num_classes)
    recorded = Recorded(cube.points_of(whole), curve_TE, cube.is_choice_D, guess)
    num = int((~recorded.collapsed_T).sum())
    want = f"{LEAST // 2} of them must have ended better than a guess: narrow the space, and run it again"
    require(num >= LEAST // 2, str(run), f"{len(whole) - num} of {len(whole)} trials that collapsed", want)
    return recorded


def command_for(run: Path) -> str:
    """What makes trials to be replayed: at random and never pruned, they stand for the whole space."""
    file = read_sweep(run / "sweep.yaml")  # the settings of a replay have neither baselines nor what is not played
    name = f"{file.study['name']}_random"  # the folder may have been renamed, to what no study can be called
    settings = [f"study.name={name}", "study.sampler={kind: RandomSampler, seed: 0}", "study.pruner={kind: NopPruner}"]
    settings += [f"study.num_trials={2 * LEAST + len(file.baselines)}"]
    settings += [f"study.{block}=null" for block in NOT_PLAYED if file.study.get(block) is not None]
    words = ["python", "launch.py", str(run / "sweep.yaml"), *settings]
    return " ".join(shlex.quote(word) for word in words)


def num_pruned(trials: Sequence[FrozenTrial]) -> int:
    return sum(trial.state == TrialState.PRUNED for trial in trials)


def settings_of(run: Path) -> list[Setting]:
    """Random search first; then each sampler without rungs and with each kind that the study allows. Raises ConfigError."""
    own = load_sweep(run / "sweep.yaml", {"study.learn_from": None}, run)
    rungs = {"none": {"kind": "NopPruner"}, "the study's own": own.study.pruner}
    for part in (9, 3):
        first = max(1, round(own.epochs / part))
        rungs[f"from epoch {first}"] = {"kind": "SuccessiveHalvingPruner", "min_resource": first, "reduction_factor": 3}
    found = []
    for sampler in (RANDOM, AUTO, "TPESampler"):
        block = own.study.sampler if own.study.sampler["kind"] == sampler else {"kind": sampler}
        tried = []
        for name, pruner in rungs.items():
            if pruner in tried or (sampler == RANDOM and name != "none"):
                continue
            changes = {"study.sampler": block, "study.pruner": pruner} | {f"study.{name}": None for name in NOT_PLAYED}
            try:
                sweep = load_sweep(run / "sweep.yaml", changes, run)
            except ConfigError:
                if name == "none":
                    raise
                continue  # rungs that this sweep may not have: of a fork, or where the batch size is searched
            tried.append(pruner)
            found.append(Setting(sampler, name, replace(sweep, baselines={})))
    return found


def found_by(search: Search, task: Surrogate, cube: Cube, random: np.random.Generator, epochs: int, budgets: Sequence[int]) -> list[float]:
    """The metric, without noise, of what the search would choose at every budget; a guess where it has no choice yet."""

    def point(values: Values) -> np.ndarray:
        return cube.point({path: encode_choice(value) for path, value in values.items()})

    def train(values: Values) -> tuple[np.ndarray, np.ndarray]:
        value_E = task.noisy(point(values), random)
        return value_E, np.maximum(1 + JITTER * random.standard_normal(len(value_E)), 0.1)

    try:
        chosen = play(search, train, SLOTS, [budget * epochs / SLOTS for budget in budgets])
    finally:
        search.close()
    return [task.worst if values is None else float(task.curves(point(values)[None])[0, -1]) for values in chosen]


def replay_on(recorded: Recorded, settings: list[Setting], budgets: list[int], number: int, place: str | None = None) -> np.ndarray:
    """(S, REPLAYS_EACH, B), on the surrogate of this number. `place`: as SweepSearch has it."""
    random = np.random.default_rng(number)
    task = Surrogate(recorded.part(random.permutation(len(recorded.x_TD))[: round(PART * len(recorded.x_TD))]))
    value_SRB = np.empty((len(settings), REPLAYS_EACH, len(budgets)))
    for replay in range(REPLAYS_EACH):
        seed = number * REPLAYS_EACH + replay
        for index, setting in enumerate(settings):
            sweep, noise = setting.sweep, np.random.default_rng([seed, index])
            search = SweepSearch(sweep, seed, place=place)
            value_SRB[index, replay] = found_by(search, task, Cube(sweep.space), noise, sweep.epochs, budgets)
    return value_SRB


def replay_all(
    recorded: Recorded, settings: list[Setting], budgets: list[int], num: int, num_processes: int, progress: Callable[[int, int], None]
) -> np.ndarray:
    """(S, R, B), R at least `num`. `progress` hears how many of how many replays are done. Raises RuntimeError where it broke midway."""
    jobs = [partial(replay_on, recorded, settings, budgets, number) for number in range(-(-num // REPLAYS_EACH))]
    parts = run_jobs(jobs, num_processes, lambda done: progress(done * REPLAYS_EACH, len(jobs) * REPLAYS_EACH))
    return np.concatenate(parts, axis=1)


def better_than(value_R: np.ndarray, other_R: np.ndarray) -> tuple[float, float]:
    """(the share of replays in which a value is lower, ties half; its Monte-Carlo standard error). Replays of one surrogate, which follow
    each other, are not independent: the error is that of the mean of surrogates, and at least that of independent replays."""
    better_R, num = (value_R < other_R) + (value_R == other_R) / 2, len(value_R)
    share, of_surrogate = float(better_R.mean()), better_R.reshape(-1, REPLAYS_EACH).mean(axis=1)
    near = (share * num + 1) / (num + 2)  # at 0 and 1 the error is not 0
    independent, among = near * (1 - near) / num, of_surrogate.var(ddof=1) / len(of_surrogate) if len(of_surrogate) > 1 else 0.0
    return share, float(np.sqrt(max(independent, among)))


def table(settings: list[Setting], value_SRB: np.ndarray, budgets: list[int], metric: str) -> Iterator[list[str]]:
    """Rows of cells, the heading first."""
    yield ["sampler", "rungs", *(f"{budget} trainings" for budget in budgets)]
    for setting, value_RB in zip(settings, value_SRB, strict=True):
        cells = [setting.sampler, setting.rungs]
        for index in range(len(budgets)):
            median = metrics.shown(metric, float(np.median(value_RB[:, index])))
            share, error = better_than(value_RB[:, index], value_SRB[0, :, index])
            cells.append(median if setting is settings[0] else f"{median}, {100 * share:.0f} ± {100 * error:.0f} %")
        yield cells


def describe(recorded: Recorded, run: Path, trials: Sequence[FrozenTrial]) -> list[str]:
    """What the table rests on."""
    num, epochs = recorded.curve_TE.shape
    rank = cross_validate(recorded).spearman_last
    lines = [
        f"{run}: {num} complete trials of {epochs} epochs; a surrogate foretells the end of others with a rank correlation of {rank:.2f}"
    ]
    if rank < 0.5:
        lines.append("note: that is low: the table says more of the surrogates than of this study")
    if num_pruned(trials):
        lines.append("note: this study has pruned, so these are the trials that its rungs chose: rungs look less useful than they are")
    return lines
