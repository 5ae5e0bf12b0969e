"""Ray Tune, running: its workers first answer questions, as the rehearsal's, and then train a study's trials in the same processes.

A worker's start, its process with torch, Ray and the data, takes as long as hundreds of steps. So who has answered waits, as a trial
of Tune that reports nothing, until there is something else to do: Tune would end the process.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.tune.search import Searcher

from aae.runs import Row
from aae.tuning.cluster.nodes import Place
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.engine import Observer, StudyPruning, StudySearch
from aae.tuning.workers.trial import run_trial

POLL_S = 0.2


@dataclass
class Question:
    asked: bytes  # (function, arguments)
    answer: Future[Any] = field(default_factory=Future)


class WorkerSearch(Searcher):
    """What Tune hands to its workers: questions, and the trials of the study when there is one."""

    def __init__(self, metric: str, place: Place, stopping: threading.Event):
        super().__init__(metric=metric, mode="min")
        self.place, self.stopping = place, stopping
        self.study: StudySearch | None = None
        self.questions: deque[Question] = deque()
        self.asked: dict[str, Question] = {}  # Ray's trial id -> what it was asked; answered ones wait
        self.released: set[str] = set()  # those whose process is wanted for what was handed out since
        self.causes: dict[str, tuple[str, str | None]] = {}  # see StudySearch
        self.enough = False  # nothing more is handed out for which a process would have to wait

    def suggest(self, trial_id: str) -> Any:
        given: Any = None
        busy = sum(not question.answer.done() for question in self.asked.values())
        if self.stopping.is_set():
            given = Searcher.FINISHED
        elif self.questions and busy < self.place.slots:
            self.asked[trial_id] = self.questions.popleft()
            given = {"question": self.asked[trial_id].asked}
        elif self.study is not None:
            given = self.study.suggest(trial_id)
        if isinstance(given, dict):  # one process for one that is handed out: Tune keeps no more of them than it has use for
            waiting = (each for each, question in self.asked.items() if question.answer.done() and each not in self.released)
            self.released.update(list(waiting)[:1])
        elif self.study is not None or self.stopping.is_set():
            self.enough = True
        return given

    def on_result(self, trial_id: str, result: Row) -> bool:
        """True: the trial stops here."""
        question = self.asked.get(trial_id)
        if question is None:
            assert self.study is not None
            return self.study.on_result(trial_id, result)
        if "answer" in result:
            question.answer.set_result(result["answer"])
        return self.enough or trial_id in self.released

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        question = self.asked.pop(trial_id, None)
        if question is not None and not question.answer.done():
            cause, _ = self.causes.pop(trial_id, ("it was stopped", None))
            question.answer.set_exception(RuntimeError(cause))
        elif question is None and self.study is not None:
            self.study.on_trial_complete(trial_id, result, error)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles its searcher for a restore that never comes

    def save(self, checkpoint_path: str) -> None:
        """The study is in its journal."""

    def restore(self, checkpoint_path: str) -> None:
        """The study is in its journal."""


class Workers:
    """`with Workers(...) as workers`: Ray Tune works until the study that it is given ends, or `stopping` is set. `about`:
    wandb_runs.describe_study's. What Ray writes is in `run` and goes at the end."""

    def __init__(self, place: Place, about: dict[str, Any], metric: str, run: Path):
        self.place, self.scratch, self.stopping = place, run / ".ray", threading.Event()
        self.search = WorkerSearch(metric, place, self.stopping)
        self.pruning = StudyPruning(self.search)
        self.failure: BaseException | None = None
        # It prints a killed worker's whole traceback, and of a trial that went on and was completed that it was not.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(place.most_on_a_node)  # else one: a new node would fill up a trial at a time
        given = about | {"slots": place.slots, "gpu": self.gpu}
        self.tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(run_trial, study=given), place.resources),
            tune_config=tune.TuneConfig(search_alg=self.search, scheduler=self.pruning, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(self.scratch.resolve()), verbose=0, failure_config=tune.FailureConfig(max_failures=0)
            ),
        )
        self.thread = threading.Thread(target=self._fit, daemon=True)  # so that the main thread stays free for signals

    @property
    def gpu(self) -> bool:
        return bool(self.place.resources.get("gpu"))

    def _fit(self) -> None:
        try:
            self.tuner.fit()
        except BaseException as error:  # said by the main thread
            self.failure = error

    def __enter__(self) -> Workers:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        while self.work():
            self.end_attempts()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def work(self) -> bool:
        """Waits a moment. Whether Tune works still."""
        self.thread.join(POLL_S)
        return self.thread.is_alive()

    def end_attempts(self) -> None:
        self.pruning.end_attempts()

    def ask(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What the function returns for each of the arguments, with a trial's resources, as many at a time as trials will be. Of a worker
        that died, a RuntimeError that says of what."""
        questions = [Question(cloudpickle.dumps((function, each))) for each in arguments]
        self.search.questions.extend(questions)
        return [self._answer(question.answer) for question in questions]

    def _answer(self, answer: Future[Any]) -> Any:
        while True:
            try:
                return answer.result(POLL_S)
            except TimeoutError:
                if not self.thread.is_alive():
                    self.raise_failure()
                    raise RuntimeError("Ray Tune ended before its workers had answered") from None
            except RuntimeError as error:
                return error

    def begin(self, study: SweepStudy, observer: Observer) -> None:
        """The workers train the study's trials from now on."""
        search = StudySearch(study, observer, self.place, self.stopping)
        search.causes = self.search.causes
        self.search.study = search

    def raise_failure(self) -> None:
        """Raises RuntimeError where Tune itself has failed."""
        if self.failure is not None:
            last = [line.strip() for line in str(self.failure).splitlines() if line.strip()]  # Ray's errors hold whole tracebacks
            what = last[-1] if last else repr(self.failure)
            raise RuntimeError(f"the sweep broke midway, the same command goes on: {what}") from self.failure
