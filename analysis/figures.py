"""A run's figures as PNGs, for papers and for readers without JavaScript: optuna's plots, made legible, and the learning curves. Each
yields its caption, then its PNG, or raises NotDrawn saying why there is none: the page takes the captions also where nothing is drawn.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import TrialState

from aae.pictures import import_matplotlib, matplotlib_defaults
from analysis.advice import TOP_SHARE
from analysis.studies import NotDrawn, complete, complete_study, final, importance_study, importances, optuna_study, plural
from analysis.trials import Run

import_matplotlib()  # before the modules below do it

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator, NullFormatter  # noqa: E402
from optuna.visualization import matplotlib as plots  # noqa: E402

MIN_FOR_PLOTS = 2  # complete trials, for parallel coordinates and slices
SLICES_A_ROW = 4
STYLE = {  # of learning curves: colour, width, end marker
    "COMPLETE": ("#7aa6c2", 1.2, "o"),
    "PRUNED": ("#a9a9a9", 1.0, "x"),
    "DIVERGED": ("#c23b22", 1.0, "x"),
    "FAIL": ("#c23b22", 1.0, "s"),
    "interrupted": ("#e0a030", 1.0, ">"),
}
BEST = "#1f4e79"
Figures = dict[str, tuple[bytes | None, str]]
Parts = Iterator[Any]  # a caption, then a PNG


def draw_all(run: Run, captions_alone: bool = False) -> Figures:
    """Name -> (PNG, caption), or (None, why not). Figures never fail: a sweep's exit code must not depend on one."""
    drawn = Figures()
    plt.switch_backend("Agg")
    for name, draw in FIGURES.items():
        try:
            # optuna sets a style for the whole process, and calls itself experimental
            with matplotlib_defaults(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parts = draw(run)
                caption = next(parts)
                drawn[name] = None if captions_alone else next(parts), caption
        except NotDrawn as reason:
            drawn[name] = None, str(reason)
        except Exception as error:  # whatever a plotting library makes of a study it did not expect
            drawn[name] = None, f"Not drawn: {type(error).__name__}: {error}"
        finally:
            plt.close("all")
    return drawn


def to_png(figure: Figure, width: float, height: float) -> bytes:
    figure.set_size_inches(width, height)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight", facecolor="white")
    return buffer.getvalue()


def history(run: Run) -> Parts:
    study = optuna_study(run, final, baselines=True)
    count = sum(trial.state == TrialState.COMPLETE for trial in study.trials)
    if not count:
        kept = "" if run.constraint is None else " and keeps the constraint"
        raise NotDrawn(f"No trial is complete{kept}, so there is no history of the best one.")
    stopped = [trial for trial in run.trials if trial.state != "COMPLETE" and trial.value is not None]
    caption = f"Dots: the {plural(count, complete(run))}, each by its last epoch. Line: the best of them so far."
    yield caption + (" Other marks: trials that stopped early, by a last epoch of their own." if stopped else "")
    axis = plots.plot_optimization_history(study, target_name=run.metric_label)
    broken = [trial for trial in run.complete if trial.excess]
    if broken:
        values = [(trial.value or 0.0) * run.scale for trial in broken]
        axis.scatter([trial.number for trial in broken], values, marker="^", s=28, color="#c23b22", label="breaks the constraint")
    if stopped:
        values = [(trial.value or 0.0) * run.scale for trial in stopped]
        axis.scatter([trial.number for trial in stopped], values, marker="x", s=28, color="#8a8a8a", label="stopped early, last value")
    known = [(trial.number, (trial.value or 0.0) * run.scale) for trial in run.trials if trial.baseline and trial.state == "COMPLETE"]
    if known:
        axis.scatter(*zip(*known, strict=True), s=110, facecolors="none", edgecolors="#e0701a", linewidths=1.6, label="baseline")
    axis.lines[0].set_drawstyle("steps-post")  # the best so far does not fall between two trials
    axis.set(title="", xlabel="trial")
    wide_to_log(axis)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    handles, labels = axis.get_legend_handles_labels()
    names = [{run.metric_label: "complete", "Best Value": "best so far"}.get(label, label) for label in labels]
    axis.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=5, frameon=False)
    yield to_png(axis.figure, 9, 4)


def importance(run: Run) -> Parts:
    study, caption = importance_study(run)
    importances(study)  # or why there are none: the caption is all that the page has of a plot that it cannot draw
    yield caption
    axis = plots.plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE))
    axis.set_title("", loc="left")
    axis.set(xlabel="share of the importance", ylabel="")
    if axis.get_legend() is not None:
        axis.get_legend().remove()
    yield to_png(axis.figure, 9, 0.9 + 0.42 * len(run.searched_paths))


def parallel(run: Run) -> Parts:
    study, count = complete_study(run, MIN_FOR_PLOTS, "no parallel coordinates")
    caption = f"One line for each {complete(run)}, {count} in all, from its {run.metric} on the left through its parameters."
    yield caption + " None: a parameter that the trial does not have."
    axis = plots.plot_parallel_coordinate(study, target_name=run.metric_label)
    axis.set_title("")
    axis.grid(False)
    axis.set_facecolor("white")
    axis.collections[0].set(linewidth=1.8, cmap=plt.get_cmap("viridis"))
    names = sorted({name for trial in study.trials if trial.state == TrialState.COMPLETE for name in trial.params})
    axis.set_xticks(range(len(names) + 1), [run.metric_label, *names], rotation=20, ha="right", rotation_mode="anchor", fontsize=10)
    for name, other in zip(names, axis.figure.axes[2:], strict=False):  # the first is the frame, the second the colour bar
        other.grid(False)
        other.tick_params(labelsize=9)
        legible_ticks(other.yaxis, is_whole(study, name))
        for label in other.get_yticklabels():  # they stand on the lines
            label.set_bbox({"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0})
    yield to_png(axis.figure, 13, 5)


def is_whole(study: optuna.Study, name: str) -> bool:
    return all(type(value) is int for value in values_of(study, name))


def values_of(study: optuna.Study, name: str) -> list[Any]:
    return [trial.params[name] for trial in study.trials if name in trial.params]


def legible_ticks(axis: Any, whole: bool = False) -> None:
    """Whole numbers where the values are. On a log scale round numbers, written out and at least three: 10^0 alone says little on
    a scale from 0.3 to 3."""
    low, high = sorted(axis.get_view_interval())
    if axis.get_scale() == "log":
        for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            marks = [digit * 10.0**power for power in range(-8, 9) for digit in digits if low <= digit * 10.0**power <= high]
            if len(marks) >= 3:
                break
        else:
            marks = [float(f"{mark:.2g}") for mark in np.geomspace(low, high, 5)[1:-1]]
        axis.set_major_locator(FixedLocator(marks))
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_formatter(NullFormatter())
    elif whole:
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, nbins=6))


def wide_to_log(axis: Any) -> None:
    """Where the first epochs, or one bad trial, would press all the others flat."""
    low, high = axis.dataLim.intervaly
    if low > 0 and high > 8 * low:
        axis.set_yscale("log")
        legible_ticks(axis.yaxis)


def slices(run: Run) -> Parts:
    study, count = complete_study(run, MIN_FOR_PLOTS, "no slices")
    yield f"Each parameter against {run.metric}, for the {plural(count, complete(run))}; darker is later in the search."
    names = sorted({name for trial in study.trials if trial.state == TrialState.COMPLETE for name in trial.params})
    images = []
    for start in range(0, len(names), SLICES_A_ROW):  # optuna lays them all in one row, too narrow to read
        row = names[start : start + SLICES_A_ROW]
        axes = plots.plot_slice(study, params=row, target_name=run.metric_label)
        axes = [axes] if len(row) == 1 else list(axes)
        figure = axes[0].figure
        figure.suptitle("")
        axes[0].set_title("")
        figure.axes[-1].set_ylabel("trial")  # the colour bar
        legible_ticks(figure.axes[-1].yaxis, whole=True)
        for axis in axes:
            axis.tick_params(labelsize=9)
            axis.xaxis.label.set_size(11)
            name = axis.get_xlabel()
            if any(isinstance(value, str) for value in values_of(study, name)):
                axis.set_xticks(axis.get_xticks(), [label.get_text().strip("'") for label in axis.get_xticklabels()])
            else:
                legible_ticks(axis.xaxis, is_whole(study, name))
        images.append(plt.imread(io.BytesIO(to_png(figure, 3.25 * len(row) + 0.6, 3.4))))
    yield stack(images)


def stack(images: list[Any]) -> bytes:
    """Pictures under each other, left edges aligned, on white."""
    width = max(image.shape[1] for image in images)
    padded = [np.pad(image, ((0, 12), (0, width - image.shape[1]), (0, 0)), constant_values=1.0) for image in images]
    buffer = io.BytesIO()
    plt.imsave(buffer, np.concatenate(padded), format="png")
    return buffer.getvalue()


def learning_curves(run: Run) -> Parts:
    curves = {}
    for trial in run.trials:
        rows = [row for row in trial.rows if math.isfinite(row.get(run.metric, math.nan))]
        curves[trial.number] = [row["epoch"] for row in rows], [row[run.metric] * run.scale for row in rows]
    if not any(values for _, values in curves.values()):
        raise NotDrawn("No trial has finished an epoch, so there is no learning curve.")
    yield "Every trial over its epochs; a trial that stopped early ends early, with a mark at its last epoch."
    figure = Figure(layout="constrained")
    axis, best, seen = figure.add_subplot(), run.best, set()
    for trial in run.trials:
        epochs, values = curves[trial.number]
        if not values or trial is best:
            continue
        colour, width, marker = STYLE[trial.state]
        label = None if trial.state in seen or trial.baseline else trial.state.lower()
        line = "-"
        if trial.baseline:
            colour, width, line, label = f"C{1 + trial.number % 8}", 1.8, "--", f"baseline {trial.baseline}"
        else:
            seen.add(trial.state)
        axis.plot(epochs, values, line, color=colour, linewidth=width, label=label)
        axis.plot(epochs[-1:], values[-1:], marker, color=colour, markersize=6)
    if best is not None:
        axis.plot(*curves[best.number], color=BEST, linewidth=2.6, marker="o", markevery=[-1], label=f"best: trial {best.name}", zorder=5)
    wide_to_log(axis)
    axis.set(xlabel="epoch", ylabel=run.metric_label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    yield to_png(figure, 9, 4.2)


FIGURES: dict[str, Callable[[Run], Parts]] = {
    "history": history,
    "importance": importance,
    "parallel": parallel,
    "slices": slices,
    "learning-curves": learning_curves,
}
