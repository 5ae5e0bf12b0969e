"""Several runs beside each other, as plain data: what was asked otherwise, what came out, and how sure it is. Draws nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from aae.errors import ConfigError, one_line
from aae.inputs import SWEEP_BLOCKS
from aae.intervals import t_interval
from aae.metrics import is_error, shown, unit
from analysis.confirmed import Confirmed
from analysis.trials import Run, TrialRecord, read_run

NAMES = ("study.name", "study.folder")  # differ between any two runs


@dataclass(frozen=True)
class Estimate:
    """A value and what stands behind it: the mean of `num` draws with its 95 % interval, or of one draw without any."""

    metric: str
    name: str  # whose
    value: float
    low: float | None
    high: float | None
    num: int  # draws
    is_difference: bool = False  # of errors in points, with its sign

    def __str__(self) -> str:
        draws = "1 draw, no interval" if self.num == 1 else f"n = {self.num} draws"
        value = f"{self.number(self.value)} {self.unit}".strip()
        if self.low is None or self.high is None:
            return f"{value} ({draws})"
        return f"{value} ({self.number(self.low)} .. {self.number(self.high)}, {draws})"

    @property
    def unit(self) -> str:
        return "points" if self.is_difference and is_error(self.metric) else unit(self.metric)

    def number(self, value: float) -> str:
        sign = "+" if self.is_difference and value > 0 else ""
        return sign + shown(self.metric, value).removesuffix(unit(self.metric)).strip()


@dataclass(frozen=True)
class Difference:
    """What two runs were asked, or made with, otherwise: a value a run; None where it has none."""

    path: str
    values: list[Any]


@dataclass(frozen=True)
class Side:
    """One of the compared runs."""

    label: str
    run: Run
    best: Estimate | None  # in the search, on validation data
    winner: Estimate | None  # of its confirmation, on test data
    baseline: Estimate | None
    curve: tuple[list[int], list[float]]  # the best trial's: epochs, values
    progress: tuple[list[float], list[float]]  # seconds of slot time spent when a trial became the best, its value
    slot_s: float  # of all trials that have ended


@dataclass(frozen=True)
class Comparison:
    sides: list[Side]
    asked: list[Difference]  # in the sweep files
    made: list[Difference]  # code, versions, devices, data
    pairs: list[tuple[str, Estimate]]  # winner minus the first run's, on the draws that both have
    cautions: list[str]


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Raises ConfigError for a folder that is none of a sweep."""
    runs = [read_run(path) for path in folders]
    names = [run.path.resolve().name for run in runs]
    labels = names if len(set(names)) == len(names) else [str(run.path) for run in runs]
    sides = [side_of(run, label) for run, label in zip(runs, labels, strict=True)]
    asked = differences([flat_sweep(run.path) for run in runs])
    made = differences([made_with(run) for run in runs])
    return Comparison(sides, asked, made, paired(sides), cautions_of(sides))


def side_of(run: Run, label: str) -> Side:
    best, confirmed = run.best, run.confirmed
    rows = [] if best is None else [row for row in best.rows[: best.epochs] if run.metric in row]
    return Side(
        label,
        run,
        None if best is None else estimate_of(run, best),
        estimate_in(confirmed, "winner"),
        estimate_in(confirmed, "baseline"),
        ([row["epoch"] for row in rows], [row[run.metric] for row in rows]),
        progress_of(run),
        spent_s(run)[-1],
    )


def estimate_of(run: Run, best: TrialRecord) -> Estimate:
    """Of a search's best trial. Where a trial is several draws, its row has the value of each."""
    assert best.value is not None
    draws = best.last.get(f"{run.metric}_draws") or [best.value]
    return estimate(run.metric, f"trial {best.name}{', breaks the constraint' * bool(best.excess)}", draws)


def estimate_in(confirmed: Confirmed | None, role: str) -> Estimate | None:
    if confirmed is None or confirmed.report[role] is None or not confirmed.known(role):
        return None
    return estimate(confirmed.metric, confirmed.report[role]["name"], confirmed.known(role))


def estimate(metric: str, name: str, values: Sequence[float]) -> Estimate:
    low, high = t_interval(values) if len(values) > 1 else (None, None)
    return Estimate(metric, name, float(np.mean(values)), low, high, len(values))


def in_order_of_ending(run: Run) -> list[TrialRecord]:
    return sorted((trial for trial in run.trials if trial.ended is not None), key=lambda trial: (trial.ended, trial.number))


def spent_s(run: Run) -> list[float]:
    """Slot time before the first trial that ended, and after each: `best_after` compares, and a second sum may differ in its last bit."""
    return list(itertools.accumulate((trial.seconds for trial in in_order_of_ending(run)), initial=0.0))


def progress_of(run: Run) -> tuple[list[float], list[float]]:
    """The lowest value so far over the slot time that all trials which had ended by then had taken."""
    lowest, seconds, values = np.inf, [], []
    for trial, spent in zip(in_order_of_ending(run), spent_s(run)[1:], strict=True):
        if trial.state == "COMPLETE" and trial.value is not None and not trial.excess and trial.value < lowest:
            lowest = trial.value
            seconds.append(spent)
            values.append(trial.value)
    return seconds, values


def best_after(side: Side, seconds: float) -> float | None:
    """The lowest value that so much slot time had found."""
    found = [value for at, value in zip(*side.progress, strict=True) if at <= seconds]
    return found[-1] if found else None


def paired(sides: list[Side]) -> list[tuple[str, Estimate]]:
    """The first run's winner against each other's, on the draws that both confirmations report: one draw has the same labels in both,
    so what the draw does to an error leaves the difference. Of the same metric and data alone."""
    first, found = sides[0].run.confirmed, []
    for side in sides[1:]:
        other = side.run.confirmed
        if first is None or other is None or first.metric != other.metric or sides[0].run.manifest["data"] != side.run.manifest["data"]:
            continue
        if any(first.report[key] != other.report[key] for key in ("draw", "num_labels")) or labels_of(sides[0].run) != labels_of(side.run):
            continue
        ours, theirs = (dict(zip(one.report["draws"], one.values("winner"), strict=True)) for one in (first, other))
        both = [(ours[draw], theirs[draw]) for draw in ours if draw in theirs]
        gaps = [second - first for first, second in both if first is not None and second is not None]
        if gaps:
            found.append((side.label, replace(estimate(other.metric, f"{side.label} minus {sides[0].label}", gaps), is_difference=True)))
    return found


def labels_of(run: Run) -> dict[str, Any]:
    """What decides which labels a seed draws, beside the data themselves."""
    trial = run.manifest["sweep"]["trial"]
    return {path: trial.get(path) for path in ("data.num_labels", "data.label_draw", "data.num_validation", "data.shuffle_seed")}


# ---- what was asked, and what it was made with ----


def flat_sweep(run: Path) -> dict[str, Any]:
    """A run's sweep.yaml under dotted paths; a range of the search space, and a list, is one value. Raises ConfigError."""
    path = run / "sweep.yaml"
    if not path.is_file():
        return {}
    try:
        blocks: Any = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # OmegaConf's and the YAML reader's, of many kinds
        raise ConfigError(f"{path}: cannot be read ({one_line(error)}); restore it from a copy") from None
    if not (isinstance(blocks, dict) and isinstance(blocks.get("search_space") or {}, dict)):
        raise ConfigError(f"{path}: broken, no blocks of a sweep; restore it from a copy")
    space = {f"search_space.{name}": entry for name, entry in (blocks.pop("search_space", None) or {}).items()}
    return flat({name: block for name, block in blocks.items() if block}) | space


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {path: value}
    inner = [flat(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()]
    return dict(itertools.chain.from_iterable(part.items() for part in inner))


def made_with(run: Run) -> dict[str, Any]:
    made = run.manifest
    code = made.get("code") or {}
    commit = str(code.get("commit") or "unknown")[:10] + (" with changes" if code.get("diff") else "")
    hashes = {f"data {name}": value[:10] for name, value in made["data"].items()}
    versions = {f"{name} (version)": version for name, version in (made.get("versions") or {}).items()}
    return {"code": commit, "device": made["device"], "precision": made["precision"], **versions, **hashes}


def differences(flats: list[dict[str, Any]]) -> list[Difference]:
    """The paths whose values are not the same in all of them."""
    paths = sorted(dict.fromkeys(path for one in flats for path in one if path not in NAMES), key=block_order)
    rows = [Difference(path, [one.get(path) for one in flats]) for path in paths]
    return [row for row in rows if any(value != row.values[0] for value in row.values[1:])]


def block_order(path: str) -> int:
    block = path.partition(".")[0]
    return SWEEP_BLOCKS.index(block) if block in SWEEP_BLOCKS else len(SWEEP_BLOCKS)


def cautions_of(sides: list[Side]) -> list[str]:
    """What the numbers beside each other do not say."""
    lines = []
    metrics = list(dict.fromkeys(side.run.metric for side in sides))
    if len(metrics) > 1:
        lines.append(f"The runs minimise different metrics ({', '.join(metrics)}): their values do not compare.")
    if any(side.run.manifest["data"] != sides[0].run.manifest["data"] for side in sides):
        lines.append("The runs have different data: a difference may be theirs.")
    epochs = list(dict.fromkeys(side.curve[0][-1] for side in sides if side.curve[0]))
    if len(epochs) > 1:
        lines.append(f"The best trials trained for different numbers of epochs: {', '.join(map(str, epochs))}.")
    counts = ", ".join(f"{side.label} {len(side.run.complete)}" for side in sides)
    lines.append(f"A search's best is chosen among many noisy values, and more trials flatter it more. Complete trials: {counts}.")
    missing = [side.label for side in sides if side.winner is None]
    if missing:
        lines.append(
            f"Not confirmed: {', '.join(missing)}. Only confirmed values compare: python launch.py confirm RUN, on the same draws."
        )
    return lines
