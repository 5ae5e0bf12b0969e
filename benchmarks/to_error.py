"""Core-minutes that recipes need to a validation error: epochs from records/, seconds an epoch timed here, all in one run.

    python -m benchmarks.to_error [--error 0.03] [--steps 40] [--repeats 7]

The recorded trainings shared their cores with other work, so their own clocks do not compare. Here the steps of each recipe are timed in
turn, on one thread and random images, in each state that its rows went through: before and after the consistency term begins, before and
after the labels are learnt. Evaluation is not in it. Appends to benchmarks/records.jsonl; `make figures` draws the errors over this time.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aae import manifest
from aae.config import ConfigError, TrialConfig, require
from aae.data import Split
from aae.device import steady_memory
from aae.draws import Draw
from aae.inputs import read_trial
from aae.layers import to_trial
from aae.paths import flatten
from aae.runs import Row, TrialFolder
from aae.train import LEARNT, train_epoch
from aae.updates import State
from benchmarks.bare_loop import time_in_turn

RECORDS = Path(__file__).with_name("records.jsonl")
RECIPES = {  # of 100 labels: where its trainings lie in records/
    "the paper's, alternating": "semi-paper-draw-*",
    "joint, constant rates": "semi-joint-draw-*",
    "AAE, tuned": "mnist_100_aae_long/confirm/trials/*",
    "AAE + X": "mnist_100_vat_style/confirm/trials/*",
    "AAE + X, make sweep": "quick/confirm/trials/*",
}
Stage = tuple[bool, bool]  # whether the consistency term has begun, and whether the labels are learnt


def read_recipe(records: Path, pattern: str) -> tuple[TrialConfig, list[list[Row]]]:
    """The configuration of a recipe, and the rows of each of its trainings; they differ in their seeds. Where there are several, as in a
    confirmation, it is the one that most trainings have. Raises ConfigError."""
    folders = [TrialFolder(path) for path in sorted(records.glob(pattern)) if (path / "config.yaml").is_file()]
    require(bool(folders), str(records / pattern), "no training", "record one with python -m benchmarks.record")
    configs = [to_trial(read_trial(folder.config_path)) for folder in folders]
    alike = [[other for other, found in enumerate(configs) if but_for_seeds(found) == but_for_seeds(config)] for config in configs]
    most = max(alike, key=len)
    return configs[most[0]], [folders[number].rows() for number in most]


def but_for_seeds(config: TrialConfig) -> dict[str, Any]:
    return {path: value for path, value in flatten(config).items() if path not in ("train.seed", "data.label_seed")}


def stages_of(config: TrialConfig, rows: list[Row]) -> list[Stage]:
    """What each epoch of a training was like."""
    term = config.objective.consistency
    begun = [term is not None and row["epoch"] > term.from_epoch for row in rows]
    learnt = [False, *itertools.accumulate((row["classification/classification"] < LEARNT for row in rows), lambda a, b: a or b)]
    fewer = config.train.learnt_labelled_batch_size is not None
    return [(one, two and fewer) for one, two in zip(begun, learnt[:-1], strict=True)]


def stage_name(stage: Stage) -> str:
    return ("consistency" if stage[0] else "plain") + (", labels learnt" if stage[1] else "")


def stepper(config: TrialConfig, stage: Stage) -> Callable[[int], None]:
    """Trains so many steps, on random images."""
    state = State(config, 784, torch.device("cpu"))
    images, labelled = torch.randint(0, 256, (20_000, 784), dtype=torch.uint8), torch.randint(0, 256, (100, 784), dtype=torch.uint8)
    draw = Draw(state, Split(images, torch.full((len(images),), -1)), Split(labelled, torch.arange(100) % 10))

    def autocast() -> contextlib.AbstractContextManager[None]:
        return torch.autocast("cpu", torch.bfloat16, enabled=config.train.precision == "bfloat16")

    def run(steps: int) -> None:
        begun, state.labels_learnt = stage
        state.epoch = config.objective.consistency.from_epoch if begun and config.objective.consistency else 0
        train_epoch(draw, (1, 28, 28), steps, autocast, lambda step: 1.0)

    return run


def step_seconds(configs: dict[str, TrialConfig], stages: dict[str, set[Stage]], steps: int, repeats: int) -> dict[str, dict[Stage, float]]:
    """Median seconds of a step of each recipe in each of its stages, timed in turn."""
    contenders = {(name, stage): stepper(configs[name], stage) for name in configs for stage in sorted(stages[name])}
    seconds = time_in_turn(contenders, steps, repeats)
    return {name: {stage: statistics.median(seconds[name, stage]) for stage in stages[name]} for name in configs}


def minutes_after(stages: list[Stage], epoch_s: dict[Stage, float]) -> list[float]:
    """Core-minutes at the end of each epoch."""
    return [total / 60 for total in itertools.accumulate(epoch_s[stage] for stage in stages)]


def minutes_to(rows: list[Row], minutes: list[float], error: float) -> float | None:
    """Core-minutes to the first epoch whose validation error is at most `error`; None: it was not reached."""
    return next((at for row, at in zip(rows, minutes, strict=True) if row["val/error"] <= error), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--error", type=float, default=0.03, help="a share, not percent")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    steady_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        recipes = {name: read_recipe(Path("records"), pattern) for name, pattern in RECIPES.items()}
    except ConfigError as error:
        print(f"benchmarks.to_error: {error}", file=sys.stderr)
        return 2
    configs = {name: config for name, (config, _) in recipes.items()}
    stages = {name: [stages_of(config, rows) for rows in trainings] for name, (config, trainings) in recipes.items()}
    met = {name: set(itertools.chain.from_iterable(stages[name])) for name in recipes}
    timed = step_seconds(configs, met, options.steps, options.repeats)
    for name, (config, trainings) in recipes.items():
        steps = 50_000 // config.train.batch_size
        epoch_s = {stage: steps * seconds for stage, seconds in timed[name].items()}
        needed = [minutes_to(rows, minutes_after(own, epoch_s), options.error) for rows, own in zip(trainings, stages[name], strict=True)]
        record = {
            "benchmark": "to_error",
            "recipe": name,
            "error": options.error,
            "epoch_s": {stage_name(stage): round(seconds, 2) for stage, seconds in sorted(epoch_s.items())},
            "core_minutes": [None if one is None else round(one, 2) for one in needed],
            "core_minutes_mean": round(statistics.mean(reached), 2) if (reached := [one for one in needed if one is not None]) else None,
            "n": len(needed),
            "reached": len(reached),
            "steps": options.steps,
            "repeats": options.repeats,
            "threads": 1,
            "device": manifest.device_name(),
            "commit": manifest.git("rev-parse", "--short", "HEAD"),
        }
        print(json.dumps(record))
        with open(RECORDS, "a") as file:
            file.write(json.dumps(record) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
