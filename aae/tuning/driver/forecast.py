"""What a study will take: wall time, slot time, disk. Made before the first trial, kept in the run folder, compared at the end.

forecast.json   {"first": the forecast that was made before the first trial, for "trials" trials,
                 "invocations": [seconds of each, also of those that were killed], "actual": ..., "error": ...}

How many epochs the pruner will leave is simulated: the study's own pruner, over trials of random merit that keep their order.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from aae.runs import FORECAST, GB, read_json, trial_folder, write_json
from aae.tuning.driver.budget import bytes_used
from aae.tuning.driver.console import seconds_text
from aae.tuning.spec.samplers_and_pruners import PRUNERS, make_from_block
from aae.tuning.spec.sweep import StudyConfig, Sweep
from aae.tuning.workers.rehearsal import Cost

MAX_SIMULATED = 60  # trials; a larger study takes as much more. Some pruners take milliseconds a verdict
# Seen in runs/quick, 16 trials of 6 epochs: bytes a trial without checkpoint and pictures, W&B's file included; an epoch's row in both;
# the pictures of one epoch, kept twice, for W&B too.
TRIAL_BYTES, ROW_BYTES, PICTURE_BYTES = 80_000, 2_000, 480_000
TICK_S = 10.0
WORDS = {"wall_s": "wall time", "slot_s": "slot time", "epochs": "epochs", "disk_bytes": "disk"}


@dataclass(frozen=True)
class Forecast:
    """Of a whole study, from its first trial to its last."""

    trials: int
    epochs: int  # trained in all of them
    slots: int
    cores: float  # of a trial
    gpus: float
    wall_s: float
    slot_s: float  # summed over trials
    disk_bytes: int  # at the end
    peak_bytes: int  # on the way

    def __str__(self) -> str:
        unit, share = ("GPU-hours", self.gpus) if self.gpus else ("core-hours", self.cores)
        peak = f", {self.peak_bytes / GB:.2g} GB on the way" if self.peak_bytes > 1.1 * self.disk_bytes else ""
        return (
            f"about {seconds_text(self.wall_s)}, {share * self.slot_s / 3600:.2g} {unit}, {self.disk_bytes / GB:.2g} GB of disk{peak} "
            f"({self.trials} trial{'s' * (self.trials != 1)}, about {self.epochs} epochs)"
        )


def simulate(sweep: Sweep, trials: int, slots: int, epoch_s: Mapping[int, float], start_s: float) -> tuple[int, float, float]:
    """(epochs, slot seconds, wall seconds) of so many trials. `epoch_s` gives the seconds an epoch of a trial's number."""
    study = optuna.create_study(pruner=make_from_block(sweep.study.pruner, PRUNERS), sampler=optuna.samplers.RandomSampler(seed=0))
    merit, last = random.Random(0), sweep.epochs
    first = last - sweep.own_epochs + 1
    merits = [merit.random() for _ in range(trials)]
    baselines = len(sweep.baselines)
    running: list[tuple[float, int, int]] = []  # (when its next epoch ends, trial, that epoch)
    asked: dict[int, optuna.trial.Trial] = {}
    begun, epochs, slot_s, now = 0, 0, 0.0, 0.0
    while begun < trials or running:
        while begun < trials and len(running) < slots:
            heapq.heappush(running, (now + start_s + epoch_s[begun], begun, first))
            slot_s += start_s
            begun += 1
        now, number, epoch = heapq.heappop(running)
        epochs += 1
        slot_s += epoch_s[number]
        ends = epoch == last
        if number >= baselines:  # those are never pruned, and pruners do not see them
            trial = asked.setdefault(number, study.ask()) if number not in asked else asked[number]
            trial.report(merits[number] + 1 / epoch, epoch)
            pruned = not ends and epoch <= sweep.last_rung and trial.should_prune()
            if ends or pruned:
                study.tell(trial, None if pruned else merits[number] + 1 / epoch, TrialState.PRUNED if pruned else TrialState.COMPLETE)
            ends = ends or pruned
        if not ends:
            heapq.heappush(running, (now + epoch_s[number], number, epoch + 1))
    return epochs, slot_s, now


def foresee(sweep: Sweep, costs: Mapping[str, Cost], resources: Mapping[str, float], slots: int, elapsed_s: float) -> Forecast:
    """From what the rehearsal measured. `elapsed_s` have passed of the invocation."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampled = [cost for name, cost in costs.items() if not name.startswith("baseline ")] or list(costs.values())
    mean_s = sum(cost.epoch_s for cost in sampled) / len(sampled)
    named = [costs.get(f"baseline {name}") for name in sweep.baselines]
    trials = sweep.study.num_trials
    simulated = min(trials, max(MAX_SIMULATED, len(named)))
    epoch_s = {number: mean_s for number in range(simulated)} | {number: cost.epoch_s for number, cost in enumerate(named) if cost}
    start_s = max(cost.start_s for cost in costs.values())
    epochs, slot_s, wall_s = simulate(sweep, simulated, slots, epoch_s, start_s)
    more = trials - simulated
    rest = simulated - len(named)
    if more and rest:  # as the searched ones of those that were simulated
        share = more / rest
        own_s = sum(sweep.own_epochs * epoch_s[number] + start_s for number in range(len(named)))
        epochs += round(share * (epochs - sweep.own_epochs * len(named)))
        wall_s += share * (slot_s - own_s) / slots
        slot_s += share * (slot_s - own_s)
    train = sweep.fixed.train
    drawn = -(-sweep.epochs // train.sample_every) if train.sample_every else 0
    small, whole = (max(getattr(cost, name) for cost in costs.values()) for name in ("kept_bytes", "checkpoint_bytes"))
    pictures = PICTURE_BYTES * drawn * epochs / sweep.epochs
    forkable = len(train.keep_epochs) * min(trials, epochs / sweep.own_epochs) * whole  # of complete trials, at most so many
    disk = round(trials * (TRIAL_BYTES + small) + epochs * ROW_BYTES + pictures + forkable)
    running = min(slots, trials) * (2 * whole - small)  # a save writes the new one beside the old one
    cores, gpus = resources.get("cpu", 0.0), resources.get("gpu", 0.0)
    limit = disk if sweep.study.max_disk_gb is None else round(sweep.study.max_disk_gb * GB)
    return Forecast(trials, epochs, slots, cores, gpus, round(elapsed_s + wall_s, 1), round(slot_s, 1), min(disk, limit), disk + running)


class ForecastFile:
    """The study's forecast.json: read and written by the driver alone."""

    def __init__(self, run: Path, started: float, foreseen: Forecast | None):
        """`foreseen`: at the study's very beginning."""
        self.path, self.run, self.started = run / FORECAST, run, started
        self.content = read_json(self.path, {"first": None, "invocations": []})
        self.fresh = foreseen is not None
        if foreseen is not None:
            self.content["first"] = asdict(foreseen)
        self.content["invocations"].append(0.0)
        self._write()

    def lines(self, trials: list[FrozenTrial], num_trials: int, study: StudyConfig, slots: int) -> list[str]:
        """For the first screen."""
        first = self.content["first"]
        rest = forecast_left(self.run, trials, num_trials, slots)
        if self.fresh:
            lines = [f"forecast: {Forecast(**first)}"]
            if study.max_minutes is not None and first["wall_s"] > 60 * study.max_minutes:
                lines.append(f"note: study.max_minutes={study.max_minutes:g} ends it before; the same command goes on")
            if study.max_disk_gb is not None and first["peak_bytes"] > study.max_disk_gb * GB:
                lines.append(f"note: that is more than study.max_disk_gb={study.max_disk_gb:g}: checkpoints of losers go first")
            return lines
        return [f"forecast: {rest}"] if rest else []

    def tick(self) -> None:
        """Now and then, for an invocation that will be killed: how long it has lasted."""
        if time.monotonic() - self.started - self.content["invocations"][-1] > TICK_S:
            self._write()

    def _write(self) -> None:
        self.content["invocations"][-1] = round(time.monotonic() - self.started, 1)
        with contextlib.suppress(OSError):  # a full disk: the journal's next append says so
            write_json(self.path, self.content)

    def close(self, trials: list[FrozenTrial]) -> list[str]:
        """At the end of an invocation. Where the study that was foreseen is done: what it took, and the forecast's error."""
        first = self.content["first"]
        told = [trial for trial in trials if trial.state.is_finished()]
        if first is not None and len(trials) == len(told) == first["trials"]:
            results = [read_json(trial_folder(self.run, trial.number).result_path, {}) for trial in told]
            self._write()
            actual = {
                "wall_s": round(sum(self.content["invocations"]), 1),
                "slot_s": round(sum(result.get("seconds", 0.0) for result in results), 1),
                "epochs": sum(result.get("epochs", 0) - result.get("forked_at", 0) for result in results),
                "disk_bytes": bytes_used(self.run),
            }
            self.content["actual"] = actual
            self.content["error"] = {key: round(first[key] / value - 1, 3) for key, value in actual.items() if value}
        self._write()
        error = self.content.get("error", {})
        if len(told) != (first or {}).get("trials") or not error:
            return []
        times = len(self.content["invocations"])
        took = seconds_text(self.content["actual"]["wall_s"]) + (f" in {times} invocations" if times > 1 else "")
        off = ", ".join(f"{100 * value:+.0f} % of the {WORDS[key]}" for key, value in error.items())
        return [f"it took {took}; the forecast was off by {off}"]


def forecast_left(run: Path, trials: list[FrozenTrial], num_trials: int, slots: int | None) -> str | None:
    """For a study that goes on: what its own told trials took is the best forecast of the others."""
    told = [trial for trial in trials if trial.state.is_finished()]
    seconds = [read_json(trial_folder(run, trial.number).result_path, {}).get("seconds", 0.0) for trial in told]
    if not any(seconds):
        return None
    count, each = max(0, num_trials - len(told)), sum(seconds) / len(seconds)
    wall = "" if slots is None else f", {seconds_text(count * each / slots)} with {slots} at a time"
    return (
        f"{count} trials left, {seconds_text(each)} of one slot each (mean of {len(told)} told): "
        f"{seconds_text(count * each)} of slot time{wall}"
    )
