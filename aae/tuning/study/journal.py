"""The file of a study: an Optuna journal that only the driver writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from aae.errors import ConfigError


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
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError:  # a full disk: half a line may be there, and the driver's next append would corrupt the file
            cut_torn_tail(Path(self._file_path))
            raise


def open_study(run: Path, name: str, create: bool) -> optuna.Study:
    """The study of a run folder. Without `create` it is only read. Raises ConfigError where there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = run / "study.journal"
    if not create and not journal.is_file():
        raise ConfigError(f"{run}: holds no study.journal; give the folder of a sweep, as runs/quick")
    try:
        if create:
            cut_torn_tail(journal)
        storage = JournalStorage(Journal(str(journal), lock_obj=NoLock()))
        if create and not storage.get_all_studies():
            return optuna.create_study(storage=storage, study_name=name, direction="minimize")
        return optuna.load_study(storage=storage, study_name=name if create else None)
    except (ValueError, KeyError, TypeError, AssertionError, OSError) as error:
        raise ConfigError(
            f"{journal}: cannot be read as a study ({type(error).__name__}: {error}); restore it, or use another name"
        ) from None
