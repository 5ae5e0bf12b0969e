"""What Ray Tune calls: a Searcher, a TrialScheduler and a Stopper, one of each. They decide nothing and keep nothing.

The Searcher hands out what there is to do: questions first, then the study's trials (handouts.py). A worker's first word is who it
is; then come the rows of its trial, or its answer. Who has answered waits, as a trial of Tune that reports nothing, until there is
something else to do: Tune would end the process, and its start, with torch, Ray and the data, takes as long as hundreds of steps.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from aae.runs import Row
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.deaths import cause_of_death, memory_kills
from aae.tuning.workers.handouts import HandOuts, Nodes, Observer

BEGIN_S = 30.0  # in which a process has begun, torch and all: a question that waits for longer has no place


@dataclass
class Question:
    name: str
    asked: bytes  # (function, arguments)
    answer: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True)
class Worker:
    """Who runs a hand-out, by its own word."""

    actor: Any
    node: str
    name: str  # Ray's id of the process
    kills: int | None  # memory_kills() when it began, where it is on this machine


class WorkerSearch(Searcher):
    """The one Searcher. Tune's thread calls it; the main thread adds questions and ends workers."""

    def __init__(self, metric: str, place: Nodes, stopping: threading.Event):
        super().__init__(metric=metric, mode="min")
        self.place, self.stopping = place, stopping
        self.questions: deque[Question] = deque()
        self.asked: dict[str, Question] = {}  # Ray's trial id -> what it was asked; answered ones wait
        self.released: set[str] = set()  # those whose process is wanted for what was handed out since
        self.enough = False  # nothing more is handed out for which a process would have to wait
        self.trials: HandOuts | None = None  # when there is a study
        self.workers: dict[str, Worker] = {}  # Ray's trial id -> who runs it
        self.causes: dict[str, str] = {}  # of workers that died
        self.heard = time.monotonic()  # when a worker last began or answered something
        self.made_room = self.heard  # when a process was last released for a question without a place

    def begin(self, study: SweepStudy, observer: Observer) -> None:
        self.trials = HandOuts(study, observer, self.place, self.stopping)

    def suggest(self, trial_id: str) -> Any:
        """What a worker is given; None where there is nothing for it now; FINISHED, which is final, at the end."""
        given: dict[str, Any] | None = None
        if self.stopping.is_set():
            self.enough = True
            return Searcher.FINISHED
        if self.questions and sum(not question.answer.done() for question in self.asked.values()) < self.place.slots:
            self.asked[trial_id] = self.questions.popleft()
            given = {"question": self.asked[trial_id].asked}
        elif self.trials is not None:
            given = self.trials.hand_out(trial_id)
            self.enough = self.enough or given is None
        if given is not None:  # one process for one that is handed out: Tune keeps no more of them than it has use for
            waiting = (each for each, question in self.asked.items() if question.answer.done() and each not in self.released)
            self.released.update(list(waiting)[:1])
        elif self.trials is not None and self.trials.all_ended:
            return Searcher.FINISHED
        return given

    def unanswered(self) -> tuple[list[str], list[str]]:
        """(what workers are at work on, what has none yet), by name. For the main thread."""
        asked = [(trial_id in self.workers, question) for trial_id, question in list(self.asked.items()) if not question.answer.done()]
        queued = [question.name for begun, question in asked if not begun] + [question.name for question in list(self.questions)]
        return [question.name for begun, question in asked if begun], queued

    def take_result(self, trial_id: str, result: Row) -> bool:
        """True: the trial stops here."""
        if "actor" in result:
            kills = memory_kills() if result["hostname"] == socket.gethostname() else None
            self.workers[trial_id] = Worker(result["actor"].pop(), result["node"], result["worker"], kills)
            self.heard = time.monotonic()
            return self.stopping.is_set()
        question = self.asked.get(trial_id)
        if question is None:
            assert self.trials is not None
            stop = self.trials.take_row(trial_id, result)
        else:
            if "waiting" in result:
                self.make_room(trial_id)
            stop = self.enough or trial_id in self.released
            if "answer" in result:
                question.answer.set_result(result["answer"])
            elif "failed" in result:
                question.answer.set_exception(RuntimeError(result["failed"]))
            self.heard = self.heard if "waiting" in result else time.monotonic()
        if result.get("spent"):  # Tune would use the process again for what follows a stop, but not one that died
            ray.kill(self.workers[trial_id].actor)
            return False
        return stop

    def make_room(self, waiting: str) -> None:
        """Releases who waits where a question has no place. Ray may have fewer than were counted: a node never comes, or another sweep is
        on the cluster. One at a time: its process is on its way to the question."""
        now = time.monotonic()
        without_place = any(not question.answer.done() and each not in self.workers for each, question in self.asked.items())
        if without_place and now - max(self.heard, self.made_room) >= BEGIN_S:
            self.released.add(waiting)
            self.made_room = now

    def take_error(self, trial_id: str, trial: Any) -> None:
        worker = self.workers.get(trial_id, Worker(None, "", "", None))
        self.causes[trial_id] = cause_of_death(worker.actor, worker.name, trial, worker.kills)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        worker, question = self.workers.pop(trial_id, None), self.asked.pop(trial_id, None)
        cause = self.causes.pop(trial_id, "the worker died") if error else None
        if question is not None:
            if not question.answer.done():
                question.answer.set_exception(RuntimeError(cause or "it was stopped"))
        elif self.trials is not None:
            self.trials.end(trial_id, cause, None if worker is None else worker.node)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles its searcher for a restore that never comes

    def save(self, checkpoint_path: str) -> None:
        """The study is in its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is in its journal."""


class StudyPruning(FIFOScheduler):
    """Stops a trial when the study says so."""

    def __init__(self, search: WorkerSearch):
        super().__init__()
        self.search = search

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return TrialScheduler.STOP if self.search.take_result(trial.trial_id, result) else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.search.take_error(trial.trial_id, trial)


class StopsWhenIdle(tune.Stopper):
    """Ends what still waits for a place when all that had begun has stopped: Tune would wait with it, however long."""

    def __init__(self, search: WorkerSearch):
        self.search = search

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.search.stopping.is_set() and not self.search.workers
