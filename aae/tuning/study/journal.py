"""The file of a study: an Optuna journal that only the driver writes."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from aae.errors import ConfigError, is_full_disk
from aae.runs import JOURNAL, JournalReader, read_rows

NOT_A_STUDY = (ValueError, LookupError, TypeError, AssertionError, OSError)  # what Optuna raises for a journal that is none


class NoLock:
    """The driver holds a lock of its own on the whole folder; Optuna's would cost 30 s after a killed driver."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def cut_torn_tail(journal: Path) -> None:
    """A kill inside an append leaves half a line, and the next append would corrupt the file."""
    if journal.exists():
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(journal, whole)


class Journal(JournalFileBackend):
    def __init__(self, path: Path):
        super().__init__(str(path), lock_obj=NoLock())  # makes the file
        self.path, self.made = path, os.stat(path)

    def refuse_moved(self) -> None:
        """Raises RuntimeError where the run's folder was moved or removed: what lies in its place is another study's."""
        if not self.path.exists() or not os.path.samestat(self.made, os.stat(self.path)):
            raise RuntimeError(f"{self.path}: moved, removed or replaced while its study runs; put it back, and give the same command")

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        self.refuse_moved()
        return super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.refuse_moved()
        try:
            super().append_logs(logs)
        except OSError:  # a full disk: half a line may be there, and the driver's next append would corrupt the file
            cut_torn_tail(self.path)
            raise


def open_study(run: Path, name: str) -> tuple[optuna.Study, JournalStorage]:
    """The study of a run folder and its storage, for the driver to write; made where there is none. Raises ConfigError."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = run / JOURNAL
    try:
        cut_torn_tail(path)
        read_rows(path)  # raises where a line is broken: Optuna passes over a last one, and would append to it
        storage = JournalStorage(Journal(path))
        if not storage.get_all_studies():
            return optuna.create_study(storage=storage, study_name=name, direction="minimize"), storage
        return optuna.load_study(storage=storage, study_name=name), storage
    except (ConfigError, PermissionError):  # they have words of their own
        raise
    except NOT_A_STUDY as error:
        raise unreadable(path, error) from None


def read_study(run: Path) -> optuna.Study:
    """The study of a run folder as it is now; nothing is written. Raises ConfigError where there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = run / JOURNAL
    if not path.is_file():
        raise ConfigError(f"{run}: holds no {JOURNAL}; give the folder of a sweep, as runs/quick")
    reader = JournalReader(path)
    if not reader.logs:
        raise ConfigError(f"{path}: empty, no trial was asked yet; the sweep's own command begins it")
    try:
        return optuna.load_study(storage=JournalStorage(reader), study_name=None)
    except NOT_A_STUDY as error:
        raise unreadable(path, error) from None


def read_trials(run: Path) -> list[FrozenTrial]:
    """Its trials, by number. Raises ConfigError."""
    trials: list[FrozenTrial] = read_study(run).get_trials(deepcopy=False)
    return trials


def unreadable(path: Path, error: Exception) -> ConfigError:
    if is_full_disk(error):
        return ConfigError(f"{path}: cannot be written ({error.strerror}); make room, and give the same command again")
    return ConfigError(f"{path}: cannot be read as a study ({type(error).__name__}: {error}); restore it, or use another name")
