"""A run folder as one table, and a folder's trained trial. Reads only: the one folder the analysis writes is `report/`.

Works while a sweep runs and after a kill: a torn last line of the journal or of a metrics.jsonl counts as not written.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial

from aae import checkpoint, metrics
from aae.config import ConfigError
from aae.errors import one_line
from aae.inputs import read_sweep
from aae.paths import flatten
from aae.runs import (
    BASELINE,
    CODE,
    JOURNAL,
    PARENT,
    REASON,
    STATES,
    JournalReader,
    Row,
    TrialFolder,
    excess,
    expected_values,
    rank,
    read_choice,
    read_manifest,
    state_word,
    trial_folder,
)
from analysis import frames
from analysis.confirmed import Confirmed, read_confirmed

if TYPE_CHECKING:
    import pandas as pd

MAX_LISTED = 5  # trials or values that a sentence names


@dataclass(frozen=True)
class TrialRecord:
    number: int
    state: str  # one of aae.runs.STATES
    value: float | None  # the study's metric after the last epoch
    excess: float  # how far that epoch lies above the study's constraint; 0 keeps it
    epochs: int
    seconds: float  # training and evaluation
    reason: str | None
    baseline: str | None  # its name
    params: dict[str, Any]  # what was sampled, under dotted paths
    distributions: dict[str, Any]
    config: dict[str, Any]  # everything, under dotted paths; empty for a trial that never started
    rows: list[Row]
    folder: TrialFolder
    code_numbers: tuple[int, ...] = (0,)  # which code trained it: 0 that of the beginning, then the manifest's accepted ones
    ended: datetime | None = None  # when it was told
    expected: dict[str, float] = field(default_factory=dict)  # {expected, low, high} without noise, as the driver computed it

    @property
    def last(self) -> Row:
        """The row of the epoch that the value is from."""
        return self.rows[self.epochs - 1] if 0 < self.epochs <= len(self.rows) else {}

    @property
    def name(self) -> str:
        return f"{self.number} ({self.baseline})" if self.baseline else str(self.number)


@dataclass(frozen=True)
class Run:
    path: Path
    name: str
    metric: str
    manifest: dict[str, Any]
    trials: list[TrialRecord]

    @property
    def complete(self) -> list[TrialRecord]:
        """The best first, as the driver chose: those that keep the constraint by what their configuration is expected to come to, or by
        value where that is not known; then the others by how far they break it."""
        complete = [trial for trial in self.trials if trial.state == "COMPLETE" and trial.value is not None]
        return sorted(complete, key=lambda trial: rank(trial.expected.get("expected", trial.value or 0.0), trial.excess, trial.number))

    @property
    def reached(self) -> list[TrialRecord]:
        """Searched trials, complete or pruned, that have an epoch to be compared at and keep the constraint there."""
        return [t for t in self.trials if t.params and t.state in ("COMPLETE", "PRUNED") and t.rows and not t.excess]

    @property
    def best(self) -> TrialRecord | None:
        return next(iter(self.complete), None)

    def frame(self) -> pd.DataFrame:
        """The trials, with the columns of trials.csv, by number. Needs pandas."""
        return frames.trial_frame(self)

    def epochs(self) -> pd.DataFrame:
        """Every trial's metrics after each epoch, by number and epoch. Needs pandas."""
        return frames.epoch_frame(self)

    @property
    def lowest(self) -> TrialRecord | None:
        """The complete trial with the lowest number as it was told, among those that keep the constraint as the best does."""
        alike = (trial for trial in self.complete if self.best is not None and trial.excess == self.best.excess)
        return min(alike, key=lambda trial: (trial.value or 0.0, trial.number), default=None)

    @property
    def constraint(self) -> dict[str, Any] | None:
        """{"metric", "upper"}, where the study has one."""
        return self.manifest["sweep"]["study"].get("constraint")

    @cached_property
    def choice(self) -> dict[str, Any]:
        """What its driver computed of the told trials: aae/tuning/study/choice.py."""
        return read_choice(self.path)

    @cached_property
    def confirmed(self) -> Confirmed | None:
        return read_confirmed(self.path)

    @property
    def searched_paths(self) -> list[str]:
        return list(dict.fromkeys(path for trial in self.trials for path in trial.params))

    def value_text(self, value: float | None) -> str:
        """A value of the metric as tables show it: errors in percent."""
        return metrics.shown(self.metric, value)

    @property
    def scale(self) -> int:
        return metrics.scale(self.metric)

    @property
    def metric_label(self) -> str:
        return metrics.label(self.metric)


def states(run: Run) -> dict[str, int]:
    return {state: sum(trial.state == state for trial in run.trials) for state in STATES}


def shown_state(state: str, running: bool) -> str:
    """`running`: a driver is at work on the search."""
    return "running" if running and state == "interrupted" else state


def ranked(run: Run) -> list[TrialRecord]:
    """Complete ones first, the best at the top, then the others by number."""
    complete = run.complete
    numbers = {trial.number for trial in complete}
    return complete + [trial for trial in run.trials if trial.number not in numbers]


def short_names(paths: list[str]) -> dict[str, str]:
    """Without their first block (objective., optim., model.), where that stays unique."""
    short = {path: path.partition(".")[2] or path for path in paths}
    return {path: name if list(short.values()).count(name) == 1 else path for path, name in short.items()}


def read_run(path: Path) -> Run:
    """Raises ConfigError for a folder that is none of a sweep, or a broken one."""
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder; give the folder of a sweep, as runs/quick")
    journal = path / JOURNAL
    if not journal.is_file():  # first, for aae.train writes a manifest too, of other keys
        raise ConfigError(f"{path}: holds no {JOURNAL}; give the folder of a sweep, as runs/quick")
    try:
        manifest = read_manifest(path)
    except OSError as error:
        raise ConfigError(f"{path / 'manifest.json'}: cannot be read ({error.strerror}); restore the file from a copy") from None
    if manifest is None:
        raise ConfigError(f"{path}: holds no manifest.json; restore it from a copy")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = manifest["sweep"]["study"]
        name, metric = str(study["name"]), str(study["metric"])
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path / 'manifest.json'}: names no study ({error}); restore the file from a copy") from None
    reader = JournalReader(journal)
    try:
        trials = optuna.load_study(study_name=None, storage=JournalStorage(reader)).get_trials(deepcopy=False) if reader.logs else []
    except (ValueError, LookupError, TypeError, AssertionError, OSError) as error:
        raise ConfigError(f"{journal}: cannot be read as a study ({type(error).__name__}: {error}); restore it from a copy") from None
    expected = expected_values(path)
    return Run(path, name, metric, manifest, [record_of(path, trial, metric, expected.get(trial.number, {})) for trial in trials])


@functools.cache
def read_flat_config(folder: Path, written_ns: int) -> dict[str, Any]:
    """A trial's configuration under dotted paths. It is checked as it is read, which takes most of the time that a run folder's reading
    takes; a page that is rewritten while a sweep runs does it once a trial."""
    return flatten(checkpoint.read_config(folder))


def record_of(run: Path, trial: FrozenTrial, metric: str, expected: dict[str, float]) -> TrialRecord:
    folder = trial_folder(run, trial.number)
    try:
        rows = folder.rows()
        seconds = folder.seconds(rows)
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise ConfigError(f"{folder.path}: its metrics.jsonl cannot be read ({one_line(error)}); restore it from a copy") from None
    last = trial.last_step  # the study's, with its value: a worker's rows may be an epoch ahead of what was told
    reason = trial.user_attrs.get(REASON)
    parent = {PARENT: folder.fork["trial"]} if folder.fork else {}
    return TrialRecord(
        number=trial.number,
        state=state_word(trial.state.name, reason),
        excess=excess(trial.constraints),
        value=trial.intermediate_values[last] if last is not None else rows[-1].get(metric) if rows else None,
        epochs=len(rows) if last is None else last,
        seconds=seconds,
        reason=reason,
        baseline=trial.user_attrs.get(BASELINE, {}).get("name"),
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        config=read_flat_config(folder.path, folder.config_path.stat().st_mtime_ns) | parent if folder.config_path.is_file() else {},
        rows=rows,
        folder=folder,
        expected=expected,
        code_numbers=tuple(trial.user_attrs.get(CODE, [0])),
        ended=trial.datetime_complete,
    )


def asked_trials(run: Path) -> int | None:
    """How many the sweep will ask in all, by its last start; None where its file cannot be read, as on a machine without its folders."""
    try:
        return read_sweep(run / "sweep.yaml").study.get("num_trials")
    except ConfigError:
        return None
