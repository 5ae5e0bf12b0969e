"""What one invocation may use: minutes from its start, and gigabytes of its run folder.

Nobody waits for a report when one runs out: an epoch may take an hour. The attempts are ended, and their epoch is trained again when
the same command goes on. Before that the disk's budget takes the checkpoints that nobody will miss, those of the losers.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from optuna.trial import FrozenTrial

from aae.runs import GB, trial_folder
from aae.tuning.spec.sweep import StudyConfig
from aae.tuning.study.choice import ranked

TOLERANCE = 0.05  # of a disk's budget: at most so much below it the attempts are ended, for what comes before the next look
DISK_LOOK_S = 1.0  # between two looks at the folder
LOOK_SHARE = 0.05  # of the driver's time, at most, goes into looking: a folder of 10,000 trials takes seconds to walk
KEPT_WITHOUT_CONFIRM = 5  # of the best trials' checkpoints, where study.confirm names no select_k


def bytes_used(folder: Path) -> int:
    """What a folder takes on its disk; a file with two names counts once. Files may go while it looks."""
    total, seen, waiting = 0, set[int](), [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_nlink == 1 or status.st_ino not in seen:
                        seen.add(status.st_ino)
                        total += status.st_blocks * 512
    return total


class Budget:
    """Of the study in `run` and of all that lies in its folder, a confirmation included. `trials` are the search's."""

    def __init__(self, study: StudyConfig, run: Path, trials: Callable[[], list[FrozenTrial]], started: float | None = None):
        self.run, self.trials = run, trials
        self.started = time.monotonic() if started is None else started
        self.minutes, self.gigabytes = study.max_minutes, study.max_disk_gb
        self.keep = max(1, study.confirmation.select_k) if study.confirmation is not None else KEPT_WITHOUT_CONFIRM
        self.removed = 0  # checkpoints of losers
        self._next_look = self._growth = 0.0
        self._used = bytes_used(run) if self.gigabytes is not None else 0

    @property
    def until(self) -> float | None:
        """When its minutes are used up, by time.monotonic."""
        return None if self.minutes is None else self.started + 60 * self.minutes

    def spent(self) -> str | None:
        """Why the attempts end now, or None. Asked several times a second."""
        now = time.monotonic()
        if self.minutes is not None and now - self.started >= 60 * self.minutes:
            return f"study.max_minutes={self.minutes:g} is used up"
        if self.gigabytes is None or now < self._next_look:
            return None
        reason = self._look(self.gigabytes * GB)
        took = time.monotonic() - now
        self._next_look = now + max(DISK_LOOK_S, took / LOOK_SHARE)
        return reason

    def _look(self, limit: float) -> str | None:
        used = bytes_used(self.run)
        self._growth = max(self._growth, used - self._used)  # so much may come before the next look: a save lies beside the old one
        if used + self._growth > limit:
            used -= self._remove(used + self._growth - limit)
        self._used = used
        if used + min(self._growth, TOLERANCE * limit) <= limit:
            return None
        return f"study.max_disk_gb={self.gigabytes:g} is used up: {self.run} holds {used / GB:.3g} GB, no loser's checkpoint is left"

    def _remove(self, wanted: float) -> int:
        """Removes checkpoints of told trials, the worst first, until so many bytes are free. Returns how many became so."""
        told = [trial for trial in self.trials() if trial.state.is_finished()]
        best_first = ranked(told, self.run)
        kept = {trial.number for trial in best_first[: self.keep]}
        freed = 0
        for trial in [*(trial for trial in told if trial not in best_first), *reversed(best_first)]:
            for path in [] if trial.number in kept else trial_folder(self.run, trial.number).path.glob("attempt-*/checkpoint*.pt"):
                if freed >= wanted:
                    return freed
                try:
                    size = path.stat().st_blocks * 512
                    path.unlink()
                except FileNotFoundError:  # Tune's thread, which tells its trial, was quicker
                    continue
                freed += size
                self.removed += 1
        return freed
