"""The figures of docs/, drawn from records/ alone (make figures). The same records give the same bytes.

docs/figures/training.png   validation error over epochs of the single trainings, records/semi-*
docs/figures/search.png     the learning curves of the sweep, records/quick
docs/figures/cost.png       validation error over core-minutes with 100 labels, as benchmarks.to_error timed them
docs/figures/draws.png      test errors of the same draws of 100 labels, one configuration of the AAE beside the other
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from aae.config import ConfigError
from aae.intervals import t_interval
from aae.runs import TrialFolder, write_atomically
from analysis.confirmed import read_confirmed
from analysis.figures import learning_curves, legible_ticks, to_png
from analysis.trials import read_run
from benchmarks.to_error import RECIPES, read_recipe, stage_name, stages_of

RECORDS, FIGURES, TIMED = Path("records"), Path("docs/figures"), Path("benchmarks/records.jsonl")
PAPER = 1.90  # % with 100 labels: Makhzani et al. 2015, section 5
# Epoch -> validation error in percent of the plain scripts, draw 0, one run each: docs/deviations.md.
ANCHORS = {
    "plain script: alternating, float32": {1: 20.6, 6: 8.5, 20: 5.1, 35: 3.3, 50: 3.13},
    "plain script: joint, bfloat16, shared momentum": {16: 5.2, 30: 3.4, 70: 2.7, 113: 2.4, 150: 2.31},
}
REPORTED = {  # confirmations on draws 200 to 209, in the order in which they came
    "joint": "mnist_100_aae",
    "alternating": "mnist_100_aae_alternating",
    "faster decoder": "mnist_100_aae_decoder",
    "noise along\nthe images": "mnist_100_aae_spread",
    "100 epochs\nof it": "mnist_100_aae_long",
    "AAE + X": "mnist_100_vat_1000",
}


def training(records: Path) -> bytes:
    folders = [TrialFolder(path) for path in sorted(records.glob("semi-*")) if path.is_dir()]
    rows = {folder: folder.rows() for folder in folders}
    if not any(rows.values()):
        raise ConfigError(f"{records}/semi-*: no training; record one with python -m benchmarks.record FOLDER semi-NAME")
    figure = Figure(layout="constrained")
    axis, last = figure.add_subplot(), max(len(row) for row in rows.values())
    for folder in folders:
        config = OmegaConf.load(folder.config_path)  # as text: a record may be older than today's schema
        label = f"{folder.path.name}: {config.train['update']}, {config.train.precision}, draw {config.data.label_seed}"
        axis.plot([row["epoch"] for row in rows[folder]], [100 * row["val/error"] for row in rows[folder]], label=label)
    for number, (label, anchors) in enumerate(ANCHORS.items()):
        shown = {epoch: error for epoch, error in anchors.items() if epoch <= last}
        axis.plot(list(shown), list(shown.values()), "_", color=("black", "gray")[number], markersize=14, markeredgewidth=2, label=label)
    axis.set(xlabel="epoch", ylabel="validation error, averaged weights (%)", yscale="log", xlim=(0, last + 1))
    legible_ticks(axis.yaxis)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return to_png(figure, 8, 4.5)


def search(records: Path) -> bytes:
    if not (records / "quick").is_dir():
        raise ConfigError(f"{records}/quick: no sweep; record one with python -m benchmarks.record runs/quick quick")
    _, png = learning_curves(read_run(records / "quick"))
    return png


def cost(records: Path) -> bytes:
    lines = [json.loads(line) for line in TIMED.read_text().splitlines()]
    timed = {line["recipe"]: line["epoch_s"] for line in lines if line["benchmark"] == "to_error"}  # the last of each
    figure = Figure(layout="constrained")
    axis = figure.add_subplot()
    for number, (name, pattern) in enumerate(RECIPES.items()):
        if name not in timed:
            raise ConfigError(f"{TIMED}: no time of {name}; run python -m benchmarks.to_error")
        config, trainings = read_recipe(records, pattern)
        for index, rows in enumerate(trainings):
            seconds = [timed[name][stage_name(stage)] for stage in stages_of(config, rows)]
            minutes, label = np.cumsum(seconds) / 60, f"{name} ({len(trainings)} training{'s' * (len(trainings) > 1)})"
            error = [100 * row["val/error"] for row in rows]
            axis.plot(minutes, error, color=f"C{number}", linewidth=1, alpha=0.8, label=label if index == 0 else None)
    axis.axhline(PAPER, color="gray", linestyle="--", linewidth=1, label=f"the paper's test error after 5000 epochs, {PAPER:.2f}")
    axis.set(xlabel="core-minutes, one thread", ylabel="validation error (%)", yscale="log", xlim=(0, None))
    legible_ticks(axis.yaxis)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return to_png(figure, 8, 4.5)


def draws(records: Path) -> bytes:
    figure = Figure(layout="constrained")
    axis = figure.add_subplot()
    errors = []
    for place, name in enumerate(REPORTED.values()):
        found = read_confirmed(records / name)
        if found is None:
            raise ConfigError(f"{records / name}: no confirmation; record one with python -m benchmarks.record")
        errors.append([100 * error for error in found.known("winner")])
        low, high = t_interval(errors[-1])
        axis.errorbar(place, np.mean(errors[-1]), (high - low) / 2, fmt="D", color="black", markersize=5, capsize=4, zorder=3,
                      label="mean, with its 95 % interval" if place == 0 else None)  # fmt: skip
    for draw, line in zip(found.report["draws"], zip(*errors, strict=True), strict=True):
        axis.plot(line, ".-", linewidth=1, alpha=0.5, label=f"draw {draw}")
    axis.axhline(PAPER, color="gray", linestyle="--", linewidth=1, label=f"the paper's, {PAPER:.2f}")
    axis.set(ylabel="test error, 100 labels (%)", yscale="log", xticks=range(len(REPORTED)), xticklabels=REPORTED)
    legible_ticks(axis.yaxis)
    axis.grid(axis="y", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    return to_png(figure, 8, 4.5)


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    code = 0
    for draw in (training, search, cost, draws):
        try:
            with style.context("default"):  # whatever a user's matplotlibrc says
                png = draw(RECORDS)
            FIGURES.mkdir(parents=True, exist_ok=True)
            path = FIGURES / f"{draw.__name__}.png"
            write_atomically(path, png)
            print(path)
        except (ConfigError, OSError) as error:
            print(f"benchmarks.figures: {draw.__name__}.png not drawn: {error}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
