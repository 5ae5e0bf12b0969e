"""What becomes of the study's trials on their way through the workers: handed out, reported, ended, handed out again.

Ray retries nothing. A trial whose worker died goes back among the study's unfinished ones and is handed out again like any other,
as a new attempt.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from optuna.trial import TrialState

from aae.runs import Row
from aae.tuning.study.study import Handout, SweepStudy

MAX_BARREN_ATTEMPTS = 3  # in a row, without a finished epoch: then the trial is FAIL with the last cause


class Observer(Protocol):
    """Who watches a sweep: the console."""

    def started(self, handout: Handout) -> None: ...
    def epoch(self, number: int, row: Row) -> None: ...
    def ended(self, number: int) -> None: ...
    def lost(self, number: int, cause: str) -> None: ...


class Nodes(Protocol):
    """Where trials run; nodes come and go."""

    @property
    def slots(self) -> int: ...  # how many trials may be handed out at once

    def alive(self, node: str) -> bool: ...


class HandOuts:
    """Of a study's trials, by Ray's trial id. All of its methods are called by Tune's thread."""

    def __init__(self, study: SweepStudy, observer: Observer, place: Nodes, stopping: threading.Event):
        self.study, self.observer, self.place, self.stopping = study, observer, place, stopping
        self.live: dict[str, Handout] = {}
        self.barren: dict[int, list[str | None]] = {}  # a trial's last attempts without a finished epoch: where they were
        self.broken: Exception | None = None  # what telling the study's truth failed with: Ray takes it for a trial's failure

    @property
    def all_ended(self) -> bool:
        return not self.live and self.study.all_told

    def hand_out(self, trial_id: str) -> dict[str, Any] | None:
        """What a worker is given; None while there is nothing for it."""
        if self.broken is not None:
            raise self.broken
        handout = self.study.next() if len(self.live) < self.place.slots else None
        if handout is None:
            return None
        self.live[trial_id] = handout
        self.observer.started(handout)
        return {"number": handout.number, "attempt": str(handout.attempt.path.resolve())}

    def take_row(self, trial_id: str, row: Row) -> bool:
        """Tells the study an epoch, or how the trial failed by its own word. True: it stops here."""
        handout = self.live[trial_id]
        if row.get("state") == "DISK FULL":
            raise OSError(f"trial {handout.number}: {row['reason']}")
        if "state" in row:
            state = TrialState.PRUNED if row["state"] == "PRUNED" else TrialState.FAIL
            for each in handout.attempt.rows():  # its last row may be one that it could not report: the checkpoint comes between
                self.study.report(handout.number, each)
            self.study.tell(handout.number, state, row["reason"])
            return True
        stop = self.study.report(handout.number, row)
        handout.last_epoch = row["epoch"]
        self.observer.epoch(handout.number, row)
        return stop or self.stopping.is_set() or row["epoch"] >= handout.config.train.epochs

    def end(self, trial_id: str, cause: str | None, node: str | None = None) -> None:
        """`cause`: why the worker died, and the node that it was on; None for a trial that ended or was stopped."""
        handout = self.live.pop(trial_id, None)
        try:
            if handout is not None:
                self._end(handout, cause, node)
        except Exception as failure:
            self.broken = failure
            raise

    def _end(self, handout: Handout, cause: str | None, node: str | None) -> None:
        number, stopping = handout.number, self.stopping.is_set()
        trial = self.study.trial(number)
        if trial.state.is_finished():  # the driver itself ends a process that is of no more use, after its trial's last word
            cause = None
        elif cause is not None and stopping:  # a budget's end, see Workers.end_attempts: it stays RUNNING
            return
        elif cause is None:
            # What it reported: the study may know the last epoch of an attempt before, whose last weights are lost.
            if handout.last_epoch >= handout.config.train.epochs:
                self.study.tell(number, TrialState.COMPLETE)
            elif stopping:  # on request: it stays RUNNING, shown as interrupted
                return
            else:
                cause = "it ended before its last epoch"
        if cause is not None:
            grew = len(handout.attempt.rows()) > handout.first_epoch  # an epoch trained again is no progress
            self.barren[number] = [] if grew else [*self.barren.get(number, []), node]
            # Asked now and not before: a dead worker is seen sooner than the death of its node, which is no failure of the trial.
            if sum(node is None or self.place.alive(node) for node in self.barren[number]) < MAX_BARREN_ATTEMPTS:
                self.observer.lost(number, cause)
                self.study.unfinished.append(number)
                return
            self.study.tell(number, TrialState.FAIL, f"{cause}, {MAX_BARREN_ATTEMPTS} attempts in a row")
        self.observer.ended(number)
