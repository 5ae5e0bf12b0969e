"""What `study.learn_from` gains, replayed: our search with 20 trials of a neighbouring task against the same search without.

    python -m benchmarks.learn_from [--each N] [--first-seed SEED] [--trials 20] [--dry]

The tasks are eight surrogates of benchmarks/search_quality.py in turn, --each replays on each, two slots, no pruner. The neighbour's
trials are those of our own search on it. Neighbours: `again`, a surrogate of another random two thirds of the recorded trials; `near`
and `far`, the task with a smooth random function added to the log error, 0.5 and 1 times as large as the task's own differences, and a
third of the error; `opposite`, the task with every parameter turned round, which misleads. Appends a line to benchmarks/records.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from aae.device import device_name
from aae.manifest import git
from aae.tuning.replay.compare import JITTER, SLOTS
from aae.tuning.replay.search import SweepSearch, Values, play
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.cube import Cube
from benchmarks.search_quality import append, each_seed, fitted, our_sweep, with_interval

SMOOTH = {"near": 0.5, "far": 1.0}  # the distortion's spread, of the task's
NEIGHBOURS = ("again", *SMOOTH, "opposite")
LEVEL = np.log(1 / 3)
WAVES, LENGTH = 200, 0.7  # of the random function: Matern-like, by random Fourier features
BUDGETS = (8, 15, 30)
SURROGATES = 8

Curve = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def smooth_function(dims: int, random: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Of (N, D) points, mean 0 and variance 1 over such functions."""
    frequency_DW = random.standard_normal((dims, WAVES)) / LENGTH / np.sqrt(random.chisquare(5, WAVES) / 5)
    phase_W = random.uniform(0, 2 * np.pi, WAVES)
    return lambda x_ND: np.sqrt(2 / WAVES) * np.cos(x_ND @ frequency_DW + phase_W).sum(axis=1)


def neighbour(name: str, number: int) -> Curve:
    """A noisy training on a neighbour of the task of that number."""
    task = fitted(number)
    if name == "again":
        return fitted(number + 1000).noisy
    if name == "opposite":
        return lambda x_D, random: task.noisy(1 - x_D, random)
    random = np.random.default_rng([number, 1])
    function, own = smooth_function(6, random), np.log(task.curves(random.random((500, 6)))[:, -1]).std()
    return lambda x_D, random: task.noisy(x_D, random) * np.exp(LEVEL + SMOOTH[name] * own * function(x_D[None])[0])


def search(
    sweep: Sweep, seed: int, task: Curve, budgets: tuple[int, ...], others: list[list[FrozenTrial]]
) -> tuple[list[Values | None], list[FrozenTrial]]:
    """(the choice at each budget of whole trainings, the trials that are told in the end)."""
    random, one = np.random.default_rng([seed, len(others)]), SweepSearch(sweep, seed, others)

    def train(values: Values) -> tuple[np.ndarray, np.ndarray]:
        error_E = task(Cube(sweep.space).point(values), random)
        return error_E, np.maximum(1 + JITTER * random.standard_normal(len(error_E)), 0.1)

    try:
        chosen = play(one, train, SLOTS, [budget * sweep.epochs / SLOTS for budget in budgets])
        return chosen, [trial for trial in one.study.trials() if trial.state.is_finished()]
    finally:
        one.close()


def replay(sweep: Sweep, num: int, seed: int) -> dict[str, list[float]]:
    """neighbour or "alone" -> the error without noise of the choice at every budget."""
    number = seed % SURROGATES
    task = fitted(number)
    chosen = {"alone": search(sweep, seed, task.noisy, BUDGETS, [])[0]}
    for name in NEIGHBOURS:
        told = search(sweep, seed + 10_000, neighbour(name, number), (num,), [])[1]
        chosen[name] = search(sweep, seed, task.noisy, BUDGETS, [told])[0]
    return {
        name: [1.0 if v is None else float(task.curves(Cube(sweep.space).point(v)[None])[0, -1]) for v in values]
        for name, values in chosen.items()
    }


def summary(scores: list[dict[str, list[float]]]) -> list[dict[str, Any]]:
    rows = []
    for index, budget in enumerate(BUDGETS):
        alone_R = np.array([score["alone"][index] for score in scores])
        row: dict[str, Any] = {"budget": budget, "alone": round(float(np.median(alone_R)), 4)}
        for name in NEIGHBOURS:
            learnt_R = np.array([score[name][index] for score in scores])
            better_R = (learnt_R < alone_R) + (learnt_R == alone_R) / 2
            row[name] = {"median": round(float(np.median(learnt_R)), 4), "better": with_interval(better_R.reshape(-1, SURROGATES).T)}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=25, metavar="N", help=f"replays on each of the {SURROGATES} tasks")
    parser.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="choose settings on other seeds than you report")
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="of the neighbour")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--dry", action="store_true", help="append nothing to the records")
    options = parser.parse_args()
    commit, sweep = (
        git("rev-parse", "--short", "HEAD"),
        our_sweep(("study.sampler={kind: auto, seed: 0}", "study.pruner={kind: NopPruner}")),
    )
    seeds = range(options.first_seed, options.first_seed + SURROGATES * options.each)
    rows = summary(each_seed(partial(replay, sweep, options.trials), seeds, options.processes))
    for row in rows:
        print(row)
    line = {"benchmark": "learn_from", "trials": options.trials, "budgets": rows, "slots": SLOTS, "n": len(seeds)}
    if not options.dry:
        append(line | {"first_seed": seeds[0], "device": device_name(), "commit": commit})


if __name__ == "__main__":
    main()
