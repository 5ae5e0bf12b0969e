"""Which configuration a search ends with after equal slot time: ours against plain Ray Tune + OptunaSearch + ASHA and against random.

    RAY_worker_niceness=0 python launch.py benchmarks/search_quality.yaml    the trainings: at random, never pruned
    python -m benchmarks.search_quality record RUN       their parameters and curves -> records/search_quality.jsonl
    python -m benchmarks.search_quality fit              how well a surrogate of them foretells trials it has not seen
    python -m benchmarks.search_quality replay [study.sampler={...} ...]     the searchers on it
    python -m benchmarks.real_searches                   the searchers on the task itself

A replay is that of `launch.py replay` (aae/tuning/replay/compare.py), on several surrogates, REPLAYS_EACH replays on each. Ours has
the sampler and the pruner of sweeps/semi.yaml. Appends a line to benchmarks/records.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aae.config import ConfigError, require
from aae.device import device_name
from aae.inputs import parse_overrides, read_sweep
from aae.manifest import git
from aae.runs import read_rows, write_rows
from aae.tuning.replay import surrogate
from aae.tuning.replay.compare import PART, SLOTS, found_by
from aae.tuning.replay.processes import run_jobs
from aae.tuning.replay.search import Search, SweepSearch, Values
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.cube import Cube
from aae.tuning.study.optuna_views import best_first
from aae.tuning.study.parents import load_sweep
from analysis.trials import read_run
from benchmarks.posterior_draw import drawn
from benchmarks.quadratic import Quadratic
from benchmarks.searchers import Plain, Random

PROJECT = Path(__file__).resolve().parent.parent
RECORDS, CURVES = PROJECT / "benchmarks" / "records.jsonl", PROJECT / "records" / "search_quality.jsonl"
SWEEP, SEMI = PROJECT / "benchmarks" / "search_quality.yaml", PROJECT / "sweeps" / "semi.yaml"
REPLAYS_EACH = 25  # on each surrogate
SEARCHERS = ("ours", "plain, late rungs", "plain, early rungs", "plain", "random")
LATE = {"grace_period": 4, "reduction_factor": 2}  # the best fixed rungs of docs/log.md: the harder opponent
EARLY = {"grace_period": 1, "reduction_factor": 3}  # those that semi.yaml had
TRUTHS = {"gaussian process": surrogate.GaussianProcess, "quadratic": Quadratic}
EXPECTED, LOWEST = "posterior mean", "lowest"  # how a search chooses among its trials
DRAW = "posterior draw"  # of the Gaussian process, another in each replay
BASELINE, KNOWN_GOOD = "baseline", 0.2  # what a user had before the search: a configuration that this share of the random ones beats

T = TypeVar("T")


def record(run_path: Path) -> None:
    """Raises ConfigError."""
    run = read_run(run_path)
    trials = sorted((trial for trial in run.complete if trial.params), key=lambda trial: trial.number)
    require(bool(trials), str(run_path), "no complete searched trial", "give the run of benchmarks/search_quality.yaml")
    write_rows(
        CURVES,
        [
            {"trial": trial.number, "params": trial.params, run.metric: [row[run.metric] for row in trial.rows], "seconds": trial.seconds}
            for trial in trials
        ],
    )
    print(f"{CURVES}: {len(trials)} trials of {len(run.trials)}")


def read_curves(sweep: Sweep) -> surrogate.Recorded:
    rows = read_rows(CURVES)
    require(bool(rows), str(CURVES), "no curves", "`record` writes it")
    cube = Cube(sweep.space)
    x_TD, curve_TE = np.stack([cube.point(row["params"]) for row in rows]), np.array([row[sweep.study.metric] for row in rows])
    return surrogate.Recorded(x_TD, curve_TE, cube.is_choice_D)


def our_sweep(arguments: tuple[str, ...] = ()) -> Sweep:
    """The task under semi.yaml's sampler and pruner, and what the command line says instead. Raises ConfigError."""
    study = read_sweep(SEMI).study
    return load_sweep(SWEEP, {f"study.{key}": dict(study[key]) for key in ("sampler", "pruner")} | parse_overrides(list(arguments)))


@cache
def fitted(number: int | None = None, truth: str = "gaussian process", noise: float = 1.0) -> surrogate.Surrogate:
    """Of all recorded trials, or the surrogate of this number."""
    recorded = read_curves(load_sweep(SWEEP, {}))
    if number is None:
        return surrogate.Surrogate(recorded, TRUTHS[truth], noise)
    num = len(recorded.x_TD)
    return surrogate.Surrogate(recorded.part(np.random.default_rng(number).permutation(num)[: round(PART * num)]), TRUTHS[truth], noise)


def task_of(seed: int, truth: str, noise: float) -> surrogate.Surrogate:
    """What a replay is played on."""
    if truth == DRAW:
        return drawn(fitted(seed // REPLAYS_EACH, noise=noise), np.random.default_rng([seed, len(SEARCHERS)]))
    return fitted(seed // REPLAYS_EACH, truth, noise)


class Lowest(SweepSearch):
    """Our search without our choice."""

    def best(self) -> Values | None:
        return next((dict(trial.params) for trial in best_first(self.study.trials(), {})), None)


def searcher(name: str, sweep: Sweep, choice: str, their_choice: str, seed: int) -> Search:
    ours = {"our_choice": their_choice == EXPECTED}
    kinds: dict[str, Callable[[Sweep, int], Search]] = {
        "ours": SweepSearch if choice == EXPECTED else Lowest,
        "plain": partial(Plain, **ours),
        "plain, late rungs": partial(Plain, **LATE, **ours),
        "plain, early rungs": partial(Plain, **EARLY, **ours),
        "random": partial(Random, **ours),
    }
    return kinds[name](sweep, seed)


def replay(sweep: Sweep, budgets: list[int], truth: str, noise: float, choice: str, their_choice: str, seed: int) -> dict[str, list[float]]:
    """searcher -> the error without noise of its choice at every budget; a guess where it has none yet. And BASELINE's."""
    task, scores = task_of(seed, truth, noise), dict[str, list[float]]()
    cube = Cube(sweep.space)
    end_N = task.curves(cube.points(np.random.default_rng(seed).random((2_000, len(cube.entries)))))[:, -1]
    scores[BASELINE] = [float(np.quantile(end_N, KNOWN_GOOD))] * len(budgets)
    for index, name in enumerate(SEARCHERS):
        random = np.random.default_rng([seed, index])
        scores[name] = found_by(searcher(name, sweep, choice, their_choice, seed), task, cube, random, sweep.epochs, budgets)
    return scores


def summary(score_SRB: np.ndarray, baseline_R: np.ndarray, budgets: list[int]) -> list[dict[str, Any]]:
    """A row a budget: medians and quartiles of the error, how often each is worse than the baseline, and how often ours is better
    than each other, ties half."""
    found = []
    for index, budget in enumerate(budgets):
        score_SR = score_SRB[:, :, index]
        row: dict[str, Any] = {"budget": budget, "error_quartiles": {}, "worse_than_baseline": {}, "ours_better_than": {}}
        for name, score_R in zip(SEARCHERS, score_SR, strict=True):
            row["error_quartiles"][name] = np.quantile(score_R, [0.25, 0.5, 0.75]).round(4).tolist()
            row["worse_than_baseline"][name] = round(float((score_R > baseline_R).mean()), 3)
            if name != "ours":
                better_R = (score_SR[0] < score_R) + (score_SR[0] == score_R) / 2
                row["ours_better_than"][name] = with_interval(better_R.reshape(-1, min(REPLAYS_EACH, len(better_R))))
        found.append(row)
    return found


def with_interval(better_KR: np.ndarray, times: int = 4000) -> list[float]:
    """[the mean, from, to], 95 % by bootstrap: surrogates drawn anew, and replays within each, as those of one are not independent."""
    random = np.random.default_rng(0)
    num, each = better_KR.shape
    drawn_BK, inside_BKR = random.integers(num, size=(times, num)), random.integers(each, size=(times, num, each))
    interval = np.quantile(better_KR[drawn_BK[..., None], inside_BKR].mean(axis=(1, 2)), [0.025, 0.975])
    return [round(float(share), 3) for share in (better_KR.mean(), *interval)]


def table(rows: list[dict[str, Any]]) -> list[str]:
    others = SEARCHERS[1:]
    lines = [f"| budget | {' | '.join(SEARCHERS)} | {' | '.join(f'ours better than {name}' for name in others)} |"]
    lines.append("|---" * (1 + len(SEARCHERS) + len(others)) + "|")
    for row in rows:
        errors = ["{1:.1f} ({0:.1f} to {2:.1f})".format(*(100 * q for q in row["error_quartiles"][name])) for name in SEARCHERS]
        shares = ["{:.0f} % ({:.0f} to {:.0f})".format(*(100 * value for value in row["ours_better_than"][name])) for name in others]
        lines.append(f"| {row['budget']} | {' | '.join(errors)} | {' | '.join(shares)} |")
    return lines


def describe_fit(sweep: Sweep) -> dict[str, Any]:
    recorded = read_curves(sweep)
    fit = {key: round(value, 3) for key, value in asdict(surrogate.cross_validate(recorded)).items()}
    least = fitted().curves(np.random.default_rng(0).random((20_000, recorded.x_TD.shape[1])))[:, -1].min()
    collapsed = int(fitted().collapsed_T.sum())
    return {
        "trials": len(recorded.x_TD),
        "collapsed": collapsed,
        **fit,
        "noise_std": round(fitted().noise_std(), 3),
        "least_error": round(float(least), 4),
    }


def append(line: dict[str, Any]) -> None:
    print(json.dumps(line))
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


def each_seed(one: Callable[[int], T], seeds: Sequence[int], num_processes: int) -> list[T]:
    """What `one` makes of every seed, in processes; says on standard error how far it is."""

    def say(done: int) -> None:
        if done % REPLAYS_EACH == 0:
            print(f"{done} of {len(seeds)} replays", file=sys.stderr, flush=True)

    return run_jobs([partial(without_folder, one, seed) for seed in seeds], num_processes, say)


def without_folder(one: Callable[[int], T], seed: int, folder: str) -> T:
    return one(seed)


def replays(options: argparse.Namespace) -> None:
    commit, sweep = git("rev-parse", "--short", "HEAD"), our_sweep(tuple(options.overrides))  # of the code that runs, not of the end
    fit = describe_fit(sweep)
    seeds = range(options.first_seed, options.first_seed + options.replays)
    one = partial(replay, sweep, options.budgets, options.truth, options.noise, options.choice, options.their_choice)
    scores = each_seed(one, seeds, options.processes)
    score_SRB = np.array([[score[name] for score in scores] for name in SEARCHERS])
    rows = summary(score_SRB, np.array([score[BASELINE][0] for score in scores]), options.budgets)
    print("\n".join(table(rows)))
    for row in rows:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in row["worse_than_baseline"].items())
        print(f"budget {row['budget']}: worse than a baseline better than {1 - KNOWN_GOOD:.0%} of random configurations: {shares}")
    line: dict[str, Any] = {
        "benchmark": "search_quality",
        "sampler": sweep.study.sampler,
        "pruner": sweep.study.pruner,
        "truth": options.truth,
        "noise": options.noise,
        "choice": options.choice,
        "their_choice": options.their_choice,
        "fit": fit,
        "budgets": rows,
    }
    line |= {"slots": SLOTS, "n": len(seeds), "first_seed": seeds[0], "device": device_name(), "commit": commit}
    if options.dry:
        print(json.dumps(line))
    else:
        append(line)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record").add_argument("run", type=Path, metavar="RUN")
    commands.add_parser("fit")
    replayed = commands.add_parser("replay")
    replayed.add_argument("overrides", nargs="*", metavar="study.path=value", help="of our sampler and pruner")
    replayed.add_argument("--replays", type=int, default=200, metavar="N")
    replayed.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="choose settings on other seeds than you report")
    replayed.add_argument("--budgets", type=int, nargs="+", default=[15, 30], metavar="TRIALS")
    replayed.add_argument("--truth", choices=(*TRUTHS, DRAW), default="gaussian process", help="what a surrogate is made of")
    replayed.add_argument("--noise", type=float, default=1.0, metavar="TIMES", help="the noise that was found, times this")
    replayed.add_argument("--choice", choices=(EXPECTED, LOWEST), default=EXPECTED, help="of our search")
    replayed.add_argument("--their-choice", choices=(EXPECTED, LOWEST), default=LOWEST, help="of the others: ours, or the best last value")
    replayed.add_argument("--processes", type=int, default=2, metavar="N")
    replayed.add_argument("--dry", action="store_true", help="append nothing to the records")
    options = parser.parse_args(arguments)
    try:
        if options.command == "record":
            record(options.run)
        elif options.command == "fit":
            print(json.dumps(describe_fit(load_sweep(SWEEP, {})), indent=1))
        else:
            replays(options)
    except ConfigError as error:
        print(f"benchmarks.search_quality: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
