"""Whether a study's rungs are right: how well the order of trials at an epoch foretells their order at the end.

    python -m benchmarks.rungs RUN [--epochs 3 9 27]      default: every epoch but the last

Spearman's rank correlation of the metric at that epoch with the last one, over the searched trials that ran all of their epochs, with
a 95 % interval from resampled trials; and which place the final best trial had at that epoch. Run the study with
`study.pruner={kind: NopPruner}`: under a pruner the complete trials are those that the rungs themselves have chosen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from aae.config import ConfigError, require
from analysis.trials import Run, read_run

LEAST, ENOUGH = 4, 20  # trials: to say anything, and to say something
RESAMPLES = 2_000


def values_of(run: Run) -> np.ndarray:
    """The metric of every complete searched trial after every epoch: (trials, epochs). Raises ConfigError."""
    trials = [trial for trial in run.complete if trial.params]
    require(len(trials) >= LEAST, str(run.path), f"{len(trials)} complete searched trials", f"give a run of at least {LEAST}")
    return np.array([[row[run.metric] for row in trial.rows[: trial.epochs]] for trial in trials])


def rank_correlation(a_RT: np.ndarray, b_RT: np.ndarray) -> np.ndarray:
    """Spearman's, row by row; ties take their mean rank, and a row without any order gives nan."""
    ranks = [stats.rankdata(values, axis=1) for values in (a_RT, b_RT)]
    a, b = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def rung(value_TE: np.ndarray, epoch: int, seed: int = 0) -> tuple[float, float, float, int]:
    """(correlation, ends of its interval, place of the final best trial) at an epoch, from 1."""
    at_T, last_T = value_TE[:, epoch - 1], value_TE[:, -1]
    chosen_RT = np.random.default_rng(seed).integers(0, len(last_T), (RESAMPLES, len(last_T)))
    low, high = np.nanquantile(rank_correlation(at_T[chosen_RT], last_T[chosen_RT]), [0.025, 0.975])
    place = 1 + int((at_T < at_T[last_T.argmin()]).sum())
    return float(rank_correlation(at_T[None], last_T[None])[0]), float(low), float(high), place


def report(run: Run, epochs: list[int] | None) -> list[str]:
    """Raises ConfigError."""
    value_TE = values_of(run)
    num, last = value_TE.shape
    for epoch in epochs or []:
        require(1 <= epoch < last, "--epochs", epoch, f"the trials have {last} epochs: give 1 to {last - 1}")
    lines = [f"{run.name}: {run.metric}, {num} complete searched trials of {last} epochs"]
    if num < ENOUGH:
        lines.append(f"note: fewer than {ENOUGH} trials, the intervals are wide and too short")
    if any(trial.state == "PRUNED" for trial in run.trials):
        lines.append("note: this study has pruned, so these are the trials that its rungs chose: no evidence for them")
    lines.append("epoch  Spearman  95 % interval   place of the final best")
    for epoch in epochs or range(1, last):
        rho, low, high, place = rung(value_TE, epoch)
        lines.append(f"{epoch:5}  {rho:8.2f}  {low:5.2f} .. {high:4.2f}   {place} of {num}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rungs", description="How well an epoch's order of trials foretells the last."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a sweep, run without a pruner")
    parser.add_argument("--epochs", type=int, nargs="+", metavar="E", help="the rungs (default: every epoch but the last)")
    options = parser.parse_args(arguments)
    try:
        print("\n".join(report(read_run(options.run), options.epochs)))
    except ConfigError as error:
        print(f"benchmarks.rungs: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
