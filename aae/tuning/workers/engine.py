"""Ray Tune as the hands of the study: a Searcher and a TrialScheduler that decide nothing and keep nothing.

Ray retries nothing. A trial whose worker died goes back among the study's unfinished ones and is handed out again like any
other, as a new attempt.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import ray
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

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


class StudySearch(Searcher):
    """Hands out the study's trials, and tells it how they ended."""

    def __init__(self, study: SweepStudy, observer: Observer, place: Nodes, stopping: threading.Event):
        super().__init__(metric=study.metric, mode="min")
        self.study, self.observer, self.place, self.stopping = study, observer, place, stopping
        self.live: dict[str, Handout] = {}  # Ray's trial id -> what it runs
        self.causes: dict[str, tuple[str, str | None]] = {}  # of workers that died: what killed them, on which node
        self.barren: dict[int, list[str | None]] = {}  # a trial's last attempts without a finished epoch: where they were
        self.broken: Exception | None = None  # what telling the study's truth failed with: Ray takes it for a trial's failure

    def suggest(self, trial_id: str) -> Any:
        if self.broken is not None:
            raise self.broken
        if self.stopping.is_set():
            return Searcher.FINISHED
        if len(self.live) < self.place.slots:
            handout = self.study.next()
            if handout is not None:
                self.live[trial_id] = handout
                self.observer.started(handout)
                return {"number": handout.number, "attempt": str(handout.attempt.path.resolve())}
        return Searcher.FINISHED if not self.live and self.study.all_told else None  # FINISHED is final

    def on_result(self, trial_id: str, result: Row) -> bool:
        """True: the trial stops here."""
        handout = self.live[trial_id]
        if result.get("state") == "DISK FULL":
            raise OSError(f"trial {handout.number}: {result['reason']}")
        if "state" in result:  # the trial's own word on how it failed
            state = TrialState.PRUNED if result["state"] == "PRUNED" else TrialState.FAIL
            for row in handout.attempt.rows():  # its last row may be one that it could not report: the checkpoint comes between
                self.study.report(handout.number, row)
            self.study.tell(handout.number, state, result["reason"])
            return True
        stop = self.study.report(handout.number, result)
        self.observer.epoch(handout.number, result)
        return stop or (self.stopping.is_set() and result["epoch"] < handout.config.train.epochs)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        handout = self.live.pop(trial_id, None)
        try:
            if handout is not None:
                self.end(handout, *(self.causes.pop(trial_id, ("the worker died", None)) if error else (None, None)))
        except Exception as failure:
            self.broken = failure
            raise

    def end(self, handout: Handout, cause: str | None, node: str | None = None) -> None:
        """`cause`: of a dead worker, and the node that it was on; None for a trial that ended or was stopped."""
        number, stopping = handout.number, self.stopping.is_set()
        if cause is not None and stopping:  # a budget's end, see StudyPruning.end_attempts: it stays RUNNING
            return
        trial = self.study.trial(number)
        if cause is None and not trial.state.is_finished():
            if (trial.last_step or 0) >= handout.config.train.epochs:  # what was reported, not what a network's folder shows by now
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

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles its searcher for a restore that never comes

    def save(self, checkpoint_path: str) -> None:
        """The study is in its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is in its journal."""


class StudyPruning(FIFOScheduler):
    """Stops a trial when the study says so."""

    def __init__(self, search: StudySearch):
        super().__init__()
        self.search = search
        self.ray_trials: list[Any] = []

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.ray_trials.append(trial)

    def end_attempts(self) -> None:
        """Kills the workers of what runs, in the middle of its epoch. Called again and again: one may still be starting."""
        self.ray_trials = [trial for trial in self.ray_trials if not trial.is_finished()]
        for trial in list(self.ray_trials):
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                ray.kill(actor)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return TrialScheduler.STOP if self.search.on_result(trial.trial_id, result) else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        # Its own words are in a file of this driver's; Ray's get_error looks into the storage, where it may not have come yet.
        error = Path(trial.error_file).read_text() if trial.error_file and Path(trial.error_file).exists() else ""
        self.search.causes[trial.trial_id] = cause_of(error), node_of(trial.temporary_state.ray_actor)


def node_of(actor: Any) -> str | None:
    """The id of the node that an actor is on, or was on; None where it never came to be on one."""
    known = ray._private.state.actors(actor._actor_id.hex()) if actor is not None else {}
    return known.get("Address", {}).get("NodeID") or None


def cause_of(error: str) -> str:
    """Ray's account of a lost worker in a few words."""
    low = error.lower()
    if "node has died" in low:
        return "its node was lost"
    if "outofmemory" in low or "low on memory" in low:  # Ray's own monitor; of the kernel's killer it knows only that it may have been it
        return "the worker was killed: the host ran out of memory"
    if "actor" in low and ("died" in low or "dead" in low):
        return "the worker died (killed, perhaps because the host ran out of memory)"
    last = [line.strip() for line in error.splitlines() if line.strip()]
    return f"the worker failed: {last[-1][:200] if last else 'unknown'}"
