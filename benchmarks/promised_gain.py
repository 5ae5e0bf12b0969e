"""Whether what a search promises of its next trials comes true: how often the 80 % interval of the gain held, in replays.

    python -m benchmarks.promised_gain [--truth 'posterior draw'] [--first-seed 2000] [--replays 40]

Ours without a pruner on the surrogates of benchmarks/search_quality.py. When so many trials are told, the promise is read from
choice.json, and the surrogate's error without noise of the choice of then is compared with that of 10 and of 20 trials later. The
level of aae/tuning/study/gain.py was chosen on seeds from 1000 on.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from aae.runs import read_choice
from aae.tuning.replay.compare import JITTER, SLOTS
from aae.tuning.replay.search import SweepSearch, Values, play
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.cube import Cube
from aae.tuning.study.gain import AFTER
from aae.tuning.study.parents import load_sweep
from benchmarks.search_quality import DRAW, REPLAYS_EACH, SWEEP, TRUTHS, task_of

MARKS = (20, 30, 40)  # told trials
SURROGATES = 8
SETTINGS = {"study.sampler": {"kind": "auto", "seed": 0}, "study.pruner": {"kind": "NopPruner"}}


class Watched:
    """Notes a search's choice and its promise at every mark, and the choice 10 and 20 trials later."""

    def __init__(self, ours: SweepSearch):
        self.ours, self.ask, self.best, self.close = ours, ours.ask, ours.best, ours.close
        self.chosen, self.promised, self.told = dict[int, Values](), dict[int, dict[str, dict[str, float]]](), 0

    def report(self, key: int, epoch: int, value: float) -> bool:
        ended = self.ours.report(key, epoch, value)
        self.told += ended
        if ended and self.told in {mark + after for mark in MARKS for after in (0, *AFTER)}:
            best = self.best()
            assert best is not None
            self.chosen[self.told], self.promised[self.told] = best, read_choice(self.ours.folder)["gain"]["after"]
        return ended


def replay(sweep: Sweep, truth: str, seed: int) -> list[dict[str, float]]:
    """A row for each mark and number of further trials."""
    task, random, cube = task_of(seed, truth, 1.0), np.random.default_rng([seed, 7]), Cube(sweep.space)

    def train(values: Values) -> tuple[np.ndarray, np.ndarray]:
        error_E = task.noisy(cube.point(values), random)
        return error_E, np.maximum(1 + JITTER * random.standard_normal(len(error_E)), 0.1)

    one = Watched(SweepSearch(sweep, seed))
    try:
        play(one, train, SLOTS, [(max(MARKS) + max(AFTER) + SLOTS + 2) * sweep.epochs / SLOTS])
    finally:
        one.close()
    true = {told: float(task.curves(cube.point(values)[None])[0, -1]) for told, values in one.chosen.items()}
    return [
        {"told": mark, "after": after, "gain": true[mark] - true[mark + after], **one.promised[mark][str(after)]}
        for mark in MARKS
        for after in AFTER
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promised_gain", description=__doc__)
    parser.add_argument("--first-seed", type=int, default=2000, metavar="SEED")
    parser.add_argument("--truth", choices=(*TRUTHS, DRAW), default=DRAW, help="a mean of functions has less to find than it promises")
    parser.add_argument("--replays", type=int, default=40, metavar="N", help=f"over {SURROGATES} surrogates in turn")
    options = parser.parse_args()
    sweep = load_sweep(SWEEP, SETTINGS)
    seeds = [options.first_seed + REPLAYS_EACH * (index % SURROGATES) + index // SURROGATES for index in range(options.replays)]
    rows = [row for seed in seeds for row in replay(sweep, options.truth, seed)]
    for after in AFTER:
        for told in (*MARKS, None):
            some = [row for row in rows if row["after"] == after and told in (None, row["told"])]
            gain, low, high, expected = (np.array([row[key] for row in some]) for key in ("gain", "low", "high", "expected"))
            held = float(((low <= gain) & (gain <= high)).mean())
            print(
                json.dumps(
                    {
                        "told": told or "all",
                        "after": after,
                        "held": round(held, 3),
                        "less_than_promised": round(float((gain < low).mean()), 3),
                        "gain_points": round(100 * float(gain.mean()), 3),
                        "promised_points": round(100 * float(expected.mean()), 3),
                        "n": len(some),
                    }
                )
            )


if __name__ == "__main__":
    main()
