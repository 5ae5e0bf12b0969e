"""Ray Tune, running: its workers first answer questions, as the rehearsal's, and then train a study's trials in the same processes."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune

from aae.tuning.cluster.nodes import Place, describe_nodes
from aae.tuning.cluster.sessions import session_folder
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.deaths import last_words
from aae.tuning.workers.engine import Question, StopsWhenIdle, StudyPruning, WorkerSearch
from aae.tuning.workers.handouts import Observer
from aae.tuning.workers.trial import TrialWorker

POLL_S = 0.2
WORK_S = 1800.0  # for what a worker is at: large data, or a large model on a slow machine
ANSWER_S = 120.0  # on one machine, without any worker's word; a cluster may have to bring up a node first
SAY_S = 30.0  # on a cluster, between two lines about what still waits
END_S = 60.0  # what ending Tune may take: it gives its workers 15 s


class Workers:
    """`with Workers(...) as workers`: Ray Tune works until the study that it is given ends, or `stopping` is set. `about`:
    wandb_environment.describe_study's. What Ray writes is in `run` and goes at the end. `until`, by time.monotonic: when the minutes of the
    invocation are used up. `say`: takes a line for the user."""

    def __init__(
        self,
        place: Place,
        about: dict[str, Any],
        metric: str,
        run: Path,
        until: float | None = None,
        say: Callable[[str], None] = lambda text: None,
    ):
        self.place, self.scratch, self.stopping = place, run / ".ray", threading.Event()
        self.until, self.say = until, say
        self.search = WorkerSearch(metric, place, self.stopping)
        self.failure: BaseException | None = None
        # It prints a killed worker's whole traceback, and of a trial that went on and was completed that it was not.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(place.most_on_a_node)  # else one: a new node would fill up a trial at a time
        given = about | {"slots": place.slots, "gpu": self.gpu}
        self.tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(TrialWorker, study=given), place.resources),
            tune_config=tune.TuneConfig(search_alg=self.search, scheduler=StudyPruning(self.search), num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self.scratch.resolve()),
                verbose=0,
                stop=StopsWhenIdle(self.search),
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
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
        until = time.monotonic() + END_S
        while self.work() and time.monotonic() < until:
            self.end_attempts()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def work(self) -> bool:
        """Waits a moment. Whether Tune works still."""
        self.thread.join(POLL_S)
        return self.thread.is_alive()

    def end_attempts(self) -> None:
        """Kills the workers of what runs, in the middle of its epoch: an epoch may take an hour. Called again and again: one may still
        be starting."""
        for worker in list(self.search.workers.values()):  # a copy: Tune's thread adds and removes
            ray.kill(worker.actor)

    def ask(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], names: Sequence[str]) -> list[Any]:
        """What the function returns for each of the arguments, with a trial's resources, as many at a time as trials will be. Of a worker
        that died, a RuntimeError that says of what. `names` say what is asked. Raises RuntimeError where nobody answers in time."""
        questions = [Question(name, cloudpickle.dumps((function, each))) for name, each in zip(names, arguments, strict=True)]
        self.search.heard = self.said = time.monotonic()
        self.search.questions.extend(questions)
        return [self._wait_for(question.answer) for question in questions]

    def _wait_for(self, answer: Future[Any]) -> Any:
        while True:
            try:
                return answer.result(POLL_S)
            except TimeoutError:
                if not self.thread.is_alive():
                    self.raise_failure()
                    raise RuntimeError("Ray Tune ended before its workers had answered") from None
                self._refuse_silence()
            except RuntimeError as error:
                return error

    def _refuse_silence(self) -> None:
        now = time.monotonic()
        busy, queued = self.search.unanswered()
        doing = "; ".join(f"{what}: {', '.join(names)}" for what, names in (("at work on", busy), ("queued", queued)) if names)
        if self.until is not None and now > self.until:
            raise RuntimeError(f"study.max_minutes is used up before the first trial ({doing})")
        limit = WORK_S if busy else ANSWER_S
        if not self.place.joined and now - self.search.heard > limit:
            own = last_words(session_folder(), "*")
            log = f"a worker's log ends with: {own}" if own else "no worker's log says why"
            raise RuntimeError(f"no word from a worker within {limit:.0f} s ({doing}); {log}")
        if (self.place.joined or busy) and now - self.said > SAY_S:
            self.said = now
            needs = ", ".join(f"{amount:g} {kind}" for kind, amount in self.place.resources.items())
            self.say(f"waiting for workers ({doing}); each takes {needs}; {describe_nodes(self.place.joined)}")

    def begin(self, study: SweepStudy, observer: Observer) -> None:
        """The workers train the study's trials from now on."""
        self.search.begin(study, observer)

    def raise_failure(self) -> None:
        """Raises RuntimeError where Tune itself has failed."""
        if self.failure is not None:
            last = [line.strip() for line in str(self.failure).splitlines() if line.strip()]  # Ray's errors hold whole tracebacks
            what = last[-1] if last else repr(self.failure)
            raise RuntimeError(f"the sweep broke midway, the same command goes on: {what}") from self.failure
