"""A trial's folder on disk: its paths, its rows, its attempts. The one reader and writer, for training, sweep and analysis.

    FOLDER/config.yaml  labels.json  class_prior.json  fork.json  result.json
          /attempt-K/metrics.jsonl  checkpoint.pt  checkpoint-EPOCH.pt  predictions.npy  samples/

An attempt is one hand-out of the trial to a worker. Readers use the highest K only: a worker that was believed dead and is
not may go on writing into its own attempt and harms nobody. `metrics.jsonl` holds one object an epoch, from 1.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aae.config import ConfigError, require

Row = dict[str, Any]
GB = 10**9  # bytes
LOCK = ".lock"  # of a run folder: its driver holds it, and names itself in it
JOURNAL = "study.journal"  # of a run folder, and of its confirmation
CHOICE = "choice.json"  # of a run folder: aae/tuning/study/choice.py
FORECAST = "forecast.json"  # another: aae/tuning/driver/forecast.py
CONFIRM = "confirm"  # the confirmation's folder in the run's, and the study in it
MANIFEST_KEYS = {"id", "precision", "sweep", "code", "versions", "device", "data"}
PARENT = "fork.parent"  # the searched path of a study that forks another (aae/tuning/spec/fork.py)
UNCOMPARED = ("time/", "device", "retold")  # keys of a row that say nothing about the training itself
BASELINE, REASON, VERDICT, CODE = "baseline", "reason", "verdict", "code"  # user attributes of a trial, in the study's journal
DRAWS = "draws"  # another: the metric of each draw, where a trial has several
DIVERGED = "diverged"  # what the reason of a pruned trial begins with, where the pruner did not stop it
STATES = {  # as they are shown, and what they mean
    "COMPLETE": "ran all of its epochs",
    "PRUNED": "stopped early by the pruner",
    "DIVERGED": "stopped because a loss or metric was no longer finite",
    "FAIL": "ended by an error",
    "interrupted": "not told yet: still running, or cut off; the sweep's own command goes on with it",
}


def state_word(state: str, reason: str | None) -> str:
    """A study's state of a trial as it is shown: one of STATES."""
    if state == "RUNNING":
        return "interrupted"
    return "DIVERGED" if state == "PRUNED" and str(reason).startswith(DIVERGED) else state


def excess(constraints: Mapping[str, float]) -> float:
    """How far a trial breaks its study's constraints, summed; 0 keeps them all."""
    return sum(above for above in constraints.values() if above > 0)


def rank(value: float, broken: float, number: int) -> tuple[float, float, int]:
    """Sorts complete trials, the best first: those that keep the study's constraint by value, then the others by `excess`."""
    return broken, value, number


def read_choice(run: Path) -> dict[str, Any]:
    """What the study's driver computed of its told trials (aae/tuning/study/choice.py). Raises ConfigError where it is broken."""
    choice: Any = read_json(run / CHOICE, {"trials": {}})
    require(isinstance(choice, dict) and isinstance(choice.get("trials"), dict), str(run / CHOICE), "no trials", "restore it, or remove it")
    return dict(choice)


def expected_values(run: Path) -> dict[int, dict[str, float]]:
    """trial -> {expected, low, high}, 95 %, in units of the metric; empty where the lowest number is the choice. Raises ConfigError."""
    return {int(number): of for number, of in read_choice(run)["trials"].items()}


def read_tag(path: Path) -> dict[str, Any]:
    """Who holds the lock, or held it last; empty where nobody says."""
    try:
        tag = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tag if isinstance(tag, dict) else {}


def running(run: Path) -> dict[str, Any] | None:
    """The live driver of a run folder, or None."""
    path = run / LOCK
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BlockingIOError:
        return read_tag(path)


def trial_folder(run: str | Path, number: int) -> TrialFolder:
    return TrialFolder(Path(run) / "trials" / f"{number:04d}")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Whole or not at all: a reader never sees half a file, whenever the writer is killed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, default: Any = None) -> Any:
    """The content, or `default` where there is no such file. Raises ConfigError where it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return default
    except PermissionError:  # it has words of its own
        raise
    except (OSError, ValueError) as error:
        what = f"broken, not JSON ({error})" if isinstance(error, ValueError) else f"cannot be read ({error.strerror})"
        raise ConfigError(f"{path}: {what}; restore it, or name another folder") from None


def read_manifest(run: Path) -> dict[str, Any] | None:
    """What a sweep's folder was made with; None where it is no sweep's. Raises ConfigError where it is broken."""
    made = read_json(run / "manifest.json")
    if made is not None and not (isinstance(made, dict) and made.keys() >= MANIFEST_KEYS):
        if (run / "config.yaml").is_file():
            raise ConfigError(f"{run}: a single training of aae.train, no sweep; analysis.latents and analysis.generate read it")
        if run.resolve().name == CONFIRM:
            raise ConfigError(f"{run}: a confirmation's folder, no sweep's; give {os.path.normpath(run / '..')}")
        lacks = ", ".join(sorted(MANIFEST_KEYS - made.keys() if isinstance(made, dict) else MANIFEST_KEYS))
        raise ConfigError(f"{run / 'manifest.json'}: broken, it lacks {lacks}; restore it, or name another folder")
    return made


def command_folder(data_folder: str | None, made: Mapping[str, Any]) -> Path:
    """What a recorded `data.folder` is meant from where it is relative: the folder that the run's command was given in; the present one
    where the data are there no more, or this user may not look. `made`: the run's manifest."""
    there = Path(made.get("folder", ""))
    return there if data_folder and os.path.exists(there / Path(data_folder).expanduser()) else Path.cwd()


def manifest_over(folder: Path) -> dict[str, Any]:
    """That of a single training, or of the run that a trial is of; empty where there is none. Raises ConfigError where it is broken."""
    found = (read_json(place / "manifest.json") for place in (folder, folder.parent.parent))
    return next((made for made in found if isinstance(made, dict)), {})


def read_rows(path: Path) -> list[Row]:
    """The whole rows of a metrics.jsonl or of a journal; a torn last line (a kill during an append) is none. Raises ConfigError."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    try:
        return [json.loads(line) for line in whole.splitlines() if line]
    except ValueError as error:
        raise ConfigError(f"{path}: broken, a line is not JSON ({error}); restore it, or name another folder") from None


class JournalReader:
    """The whole lines of a study's journal as they are now, for Optuna's JournalStorage. Its own backend makes the file where it is
    missing, and locks it. Raises ConfigError."""

    def __init__(self, path: Path):
        self.logs = read_rows(path)

    def read_logs(self, log_number_from: int) -> Iterator[Row]:
        return iter(self.logs[log_number_from:])

    def append_logs(self, logs: list[Row]) -> None:
        raise AssertionError("a reader of a journal writes nothing")


def same_row(a: Row, b: Row) -> bool:
    """Equal to the bit, but for the clock and the device's name."""
    one, other = ({key: value for key, value in row.items() if not key.startswith(UNCOMPARED)} for row in (a, b))
    return one == other


class Attempt:
    """One hand-out's own folder: rows are appended, and an epoch is never written twice."""

    def __init__(self, path: Path):
        self.path = path
        self.metrics_path = path / "metrics.jsonl"
        self.checkpoint_path = path / "checkpoint.pt"
        self.samples_path = path / "samples"

    def kept_path(self, epoch: int) -> Path:
        """Of a checkpoint that stays whole: train.keep_epochs."""
        return self.path / f"checkpoint-{epoch:04d}.pt"

    def rows(self) -> list[Row]:
        return read_rows(self.metrics_path)

    def write_row(self, row: Row) -> Row:
        """Appends an epoch's row and returns it. An epoch that was recorded before and trained again keeps its first row,
        marked `"retold": true` where this machine computed it differently."""
        rows = self.rows()
        if row["epoch"] > len(rows):
            assert row["epoch"] == len(rows) + 1, f"epoch {row['epoch']} after {len(rows)} rows"
            with open(self.metrics_path, "ab") as file:
                file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            return row
        first = rows[row["epoch"] - 1]
        if not same_row(first, row):
            first["retold"] = True
            write_rows(self.metrics_path, rows)
        return first


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    write_atomically(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def link_or_copy(source: Path, target: Path) -> None:
    """A copy where there are no links: across file systems, on some of a network's, of another user's file."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


class TrialFolder:
    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config_path = self.path / "config.yaml"
        self.result_path = self.path / "result.json"
        self.labels_path = self.path / "labels.json"
        self.class_prior_path = self.path / "class_prior.json"  # p(y) of each draw, where it counts the drawn labels
        self.fork_path = self.path / "fork.json"
        self.warnings_path = self.path / "warnings.txt"

    def last_attempt(self) -> Attempt | None:
        numbers = [int(path.name.split("-")[1]) for path in self.path.glob("attempt-*") if path.name.split("-")[1].isdigit()]
        return Attempt(self.path / f"attempt-{max(numbers)}") if numbers else None

    def next_attempt(self) -> Attempt:
        """Makes attempt K+1 from attempt K: its checkpoint is linked first and its rows copied after, so that the rows reach at
        least as far as the checkpoint even while a lost worker still writes. It appears whole, by one rename."""
        previous = self.last_attempt()
        number = 0 if previous is None else int(previous.path.name.split("-")[1]) + 1
        target = self.path / f"attempt-{number}"
        making = self.path / f".attempt-{number}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        if previous is not None:
            for saved in previous.path.glob("checkpoint*.pt"):
                link_or_copy(saved, making / saved.name)
        # Also an empty one: a network file system remembers for half a minute that a file was not there.
        write_rows(making / "metrics.jsonl", [] if previous is None else previous.rows())
        if previous is not None:
            if (previous.path / "predictions.npy").exists():
                shutil.copy(previous.path / "predictions.npy", making)
            if previous.samples_path.exists():
                half_written = shutil.ignore_patterns(".*")  # by that worker, which renames it any moment
                shutil.copytree(previous.samples_path, making / "samples", ignore=half_written)
        os.rename(making, target)
        return Attempt(target)

    def begin_from(self, saved: Path, rows: list[Row]) -> None:
        """Makes attempt 0 of another training's checkpoint and its rows up to it, for the first hand-out to go on from."""
        making = self.path / ".attempt-0"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        link_or_copy(saved, making / "checkpoint.pt")
        write_rows(making / "metrics.jsonl", rows)
        os.rename(making, self.path / "attempt-0")

    def add_warning(self, text: str) -> None:
        """What a worker has to say that ends nothing; a line each. A disk that takes no more is no reason to fail."""
        with contextlib.suppress(OSError), open(self.warnings_path, "a", encoding="utf-8") as file:
            file.write(" ".join(text.split()) + "\n")

    def warnings(self) -> list[str]:
        with contextlib.suppress(OSError):
            return self.warnings_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    @property
    def fork(self) -> Row:
        """Whose checkpoint the trial went on from (aae/tuning/spec/fork.py); empty where it began by itself."""
        return read_json(self.fork_path, {})

    def seconds(self, rows: list[Row]) -> float:
        """Of training and evaluation, in the epochs that this trial trained itself."""
        own = rows[self.fork.get("epoch", 0) :]
        return sum(row.get("time/epoch_s", 0) + row.get("time/evaluation_s", 0) for row in own)

    def rows(self) -> list[Row]:
        """Those of the highest attempt."""
        attempt = self.last_attempt()
        return [] if attempt is None else attempt.rows()
