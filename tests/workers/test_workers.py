"""Workers: questions before a study, trials in the processes that answered, and no process lost or kept for nothing."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray import cloudpickle

from aae.runs import TrialFolder
from aae.tuning.workers import engine, pool
from aae.tuning.workers.engine import Question, StopsWhenIdle, Worker, WorkerSearch
from aae.tuning.workers.trial import answer_question, error_in_a_line, free_gpu, gpu_is_broken
from tests.sweeping import MARK, PROJECT, wait_until_gone


class FakeTrials:
    """Hands out so many trials, then ends."""

    def __init__(self, num_trials: int):
        self.left, self.results = num_trials, []

    @property
    def all_ended(self):
        return self.left < 0

    def hand_out(self, trial_id):
        self.left -= 1
        return {"number": self.left} if self.left >= 0 else None

    def take_row(self, trial_id, row):
        self.results.append((trial_id, row))
        return "state" in row

    def end(self, trial_id, cause, node=None):
        self.results.append((trial_id, cause))


def make_search(num_questions: int, slots: int = 2) -> tuple[WorkerSearch, list[Question]]:
    search = WorkerSearch("val/error", SimpleNamespace(slots=slots), threading.Event())
    questions = [Question(f"question {number}", cloudpickle.dumps((max, (number, 0)))) for number in range(num_questions)]
    search.questions.extend(questions)
    return search, questions


def introduce(search: WorkerSearch, trial: str, actor: object = None) -> bool:
    return search.take_result(trial, {"actor": [actor], "node": "a", "worker": "1", "hostname": "h"})


def test_no_more_questions_are_out_than_trials_will_be_and_each_that_follows_takes_one_process():
    search, questions = make_search(3)
    assert [isinstance(search.suggest(trial), dict) for trial in ("a", "b", "c")] == [True, True, False]
    assert introduce(search, "a") is False
    assert search.take_result("a", {"answer": 0}) is False and questions[0].answer.result(0) == 0  # it waits: nobody wants its process yet
    assert isinstance(search.suggest("c"), dict)
    assert search.take_result("a", {"waiting": True}) is True and search.take_result("b", {"answer": 1}) is False
    search.on_trial_complete("a")
    assert search.suggest("d") is None  # no question is left, and no study is there
    search.take_result("c", {"answer": 2})
    search.trials = FakeTrials(1)
    assert search.suggest("d") == {"number": 0}
    assert [search.take_result(waiting, {"waiting": True}) for waiting in "bc"] == [True, False]
    assert search.take_result("d", {"epoch": 1}) is False and search.trials.results == [("d", {"epoch": 1})]
    assert search.suggest("e") == "FINISHED"
    assert search.take_result("c", {"waiting": True}) is True  # else Tune would keep it for ever


def test_who_waits_makes_room_for_a_question_that_finds_no_place_once_it_had_time_to_begin(monkeypatch):
    """A node that never comes, or another sweep on the cluster. Seen to fail, for ever, where a process is released by a hand-out alone."""
    search, _ = make_search(4, slots=4)
    for trial in "abcd":
        search.suggest(trial)
    for trial in "ab":  # Ray has two places
        introduce(search, trial)
        assert search.take_result(trial, {"answer": 0}) is False
        assert search.take_result(trial, {"waiting": True}) is False  # the others may be starting
    monkeypatch.setattr(engine, "BEGIN_S", 0.0)
    assert search.take_result("a", {"waiting": True}) is True
    monkeypatch.setattr(engine, "BEGIN_S", 60.0)
    assert search.take_result("b", {"waiting": True}) is False  # the process of the first is on its way
    search.on_trial_complete("a")
    monkeypatch.setattr(engine, "BEGIN_S", 0.0)
    introduce(search, "c")
    assert search.take_result("b", {"waiting": True}) is True
    search.on_trial_complete("b")
    introduce(search, "d")
    search.take_result("c", {"answer": 0})
    assert search.take_result("c", {"waiting": True}) is False  # all have begun


def test_what_runs_when_the_search_stops_is_ended_and_an_unanswered_question_fails():
    search, questions = make_search(2, slots=1)
    search.suggest("a")
    search.stopping.set()
    assert search.suggest("b") == "FINISHED" and introduce(search, "a") is True
    search.on_trial_complete("a")
    with pytest.raises(RuntimeError, match="it was stopped"):
        questions[0].answer.result(0)


def test_what_waits_for_a_place_ends_when_all_that_had_begun_has_stopped():
    """Tune itself would wait for the place, and a signal or a budget with it."""
    search, _ = make_search(2)
    stopper = StopsWhenIdle(search)
    search.suggest("a")
    search.suggest("b")
    introduce(search, "a")
    assert not stopper.stop_all()
    search.stopping.set()
    assert not stopper.stop_all()  # "a" has begun and will be told
    search.on_trial_complete("a")
    assert stopper.stop_all()


def test_a_worker_that_begins_while_others_are_ended_is_ended_with_the_next_look(monkeypatch):
    """Tune's thread adds it meanwhile. A list that the main thread filtered and replaced lost one that came between the two."""
    search, _ = make_search(0)
    killed = []

    def kill(actor):
        killed.append(actor)
        search.workers.setdefault("b", Worker("b", "a", "2", None))

    monkeypatch.setattr(pool.ray, "kill", kill)
    search.workers["a"] = Worker("a", "a", "1", None)
    workers = SimpleNamespace(search=search)
    pool.Workers.end_attempts(workers)
    assert killed == ["a"]
    pool.Workers.end_attempts(workers)
    assert killed == ["a", "a", "b"]


SCRIPT = """
import os, signal
from pathlib import Path
from aae.tuning.cluster.nodes import Place
from aae.tuning.cluster.sessions import ray_running, session_folder
from aae.tuning.workers.pool import Workers
import ray  # after aae.tuning, which says how it authenticates: before it, seen to fail in a home whose token was made meanwhile

shutdown, interrupted = ray.shutdown, False

def interrupted_shutdown():
    os.kill(os.getpid(), signal.SIGINT)
    shutdown()

if __name__ == "__main__":
    try:
        with ray_running(None, None), Workers(Place("here", {"cpu": 1}, cap=2), {"run": "run"}, "val/error", Path.cwd() / "run") as workers:
            session = Path(session_folder())
            first = workers.ask(os.getpid, [()] * 2, "ab")
            again = workers.ask(os.getpid, [()] * 4, "abcd")
            (death,) = workers.ask(os._exit, [(1,)], "a")
            (failure,) = workers.ask(divmod, [(1, 0)], "a")
            assert session.is_dir()
            ray.shutdown = interrupted_shutdown
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted and not session.exists()
    assert len(set(first)) == 2 and os.getpid() not in first, first
    assert set(again) <= set(first), (first, again)
    assert isinstance(death, RuntimeError) and str(death) == "the worker died", death
    assert isinstance(failure, RuntimeError) and "ZeroDivisionError" in str(failure), failure
    print("all held")
"""
# More than there is: Ray queues it, for ever.
QUEUED = """
import time
from pathlib import Path
from types import SimpleNamespace
from aae.tuning.cluster.nodes import Place
from aae.tuning.cluster.sessions import ray_running
from aae.tuning.workers import engine, pool

if __name__ == "__main__":
    pool.ANSWER_S = 8.0
    with ray_running(None, None):
        asked = time.monotonic()
        try:
            with pool.Workers(Place("here", {"cpu": 1000}), {"run": "run"}, "val/error", Path.cwd() / "run") as workers:
                workers.search.place = SimpleNamespace(slots=2)
                workers.ask(max, [(1, 2)] * 2, ["baseline paper", "sampled example 1"])
        except RuntimeError as error:
            print(error)
        assert 8 <= time.monotonic() - asked < 60
"""


def run_program(folder: Path, program: str) -> str:
    """What it prints. A program of its own, as launch.py is: Ray reads how it authenticates when it is imported."""
    (folder / "asks.py").write_text(program)
    (folder / "run").mkdir()
    env = os.environ | {"PYTHONPATH": str(PROJECT), MARK: str(folder)}
    done = subprocess.run([sys.executable, "asks.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((folder / "run").iterdir()) == []
    wait_until_gone(str(folder), 30)
    return done.stdout


@pytest.mark.system
def test_the_processes_that_answered_answer_what_follows_and_a_death_is_an_answer(tmp_path):
    """Seen to fail where a worker that has answered returns instead of waiting, and where Ctrl-C while Ray ends leaves its folder."""
    assert "all held" in run_program(tmp_path, SCRIPT)


@pytest.mark.slow
@pytest.mark.system
def test_a_question_that_no_worker_takes_up_ends_the_wait_in_a_line_and_what_is_queued_ends_too(tmp_path):
    """Seen to fail without the Stopper: what is queued holds the end for a minute. Before, the wait had no end at all."""
    (line,) = run_program(tmp_path, QUEUED).splitlines()
    assert line == "no word from a worker within 8 s (queued: baseline paper, sampled example 1); no worker's log says why"


@pytest.fixture
def asking(monkeypatch, tmp_path):
    """Workers whose question "baseline paper" nobody takes up, and what is said meanwhile."""

    def make(joined: bool, until: float | None) -> tuple[pool.Workers, list[str]]:
        said: list[str] = []
        workers = object.__new__(pool.Workers)
        workers.search = make_search(0)[0]
        workers.place = SimpleNamespace(joined=joined, resources={"cpu": 1, "gpu": 0.25})
        workers.thread, workers.until, workers.say = SimpleNamespace(is_alive=lambda: True), until, said.append
        return workers, said

    monkeypatch.setattr(pool, "POLL_S", 0.01)
    monkeypatch.setattr(pool, "describe_nodes", lambda joined: "there is cpu: 0, gpu: 0 here")
    monkeypatch.setattr(pool, "session_folder", lambda: tmp_path)
    return make


def test_on_one_machine_a_question_waits_for_two_minutes_and_the_line_says_what_a_worker_s_log_says(asking, monkeypatch, tmp_path):
    assert pool.ANSWER_S == 120
    monkeypatch.setattr(pool, "ANSWER_S", 0.05)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-1f-01000000-7.err").write_text(":job_id:1\nImportError: no module\n")
    workers, _ = asking(joined=False, until=None)
    with pytest.raises(RuntimeError, match=r"no word from .* \(queued: baseline paper\); a worker's log ends with: ImportError: no module"):
        workers.ask(max, [(1, 2)], ["baseline paper"])


def test_a_worker_that_is_at_work_has_longer_and_a_line_now_and_then_says_so(asking, monkeypatch):
    """Large data or a slow machine. Seen to fail: two minutes for what it was at, and then a refusal."""
    monkeypatch.setattr(pool, "ANSWER_S", 0.0)
    monkeypatch.setattr(pool, "WORK_S", 0.35)
    monkeypatch.setattr(pool, "SAY_S", 0.1)
    workers, said = asking(joined=False, until=None)
    monkeypatch.setattr(workers.search, "unanswered", lambda: (["baseline paper"], []))
    with pytest.raises(RuntimeError, match=r"no word from a worker within 0 s \(at work on: baseline paper\)"):
        workers.ask(max, [(1, 2)], ["baseline paper"])
    assert said[0].startswith("waiting for workers (at work on: baseline paper)") and 2 <= len(said) <= 3


def test_on_a_cluster_a_line_now_and_then_names_what_is_queued_until_the_minutes_are_used_up(asking, monkeypatch):
    """Seen to wait for ever without the look at max_minutes."""
    assert pool.SAY_S == 30
    monkeypatch.setattr(pool, "ANSWER_S", 0.0)
    monkeypatch.setattr(pool, "SAY_S", 0.1)
    workers, said = asking(joined=True, until=time.monotonic() + 0.35)
    with pytest.raises(RuntimeError, match=r"study.max_minutes is used up before the first trial \(queued: baseline paper\)"):
        workers.ask(max, [(1, 2)], ["baseline paper"])
    assert said[0] == "waiting for workers (queued: baseline paper); each takes 1 cpu, 0.25 gpu; there is cpu: 0, gpu: 0 here"
    assert 2 <= len(said) <= 3


# ---- a GPU that is broken for its process ----


def test_a_process_in_which_an_error_of_cuda_stays_is_used_for_nothing_more(monkeypatch):
    """Seen to fail without `spent`: Tune gives the process the next trial, which fails too."""
    search, questions = make_search(1)
    killed = []
    monkeypatch.setattr(pool.ray, "kill", killed.append)
    search.suggest("a")
    introduce(search, "a", "actor a")
    assert search.take_result("a", {"answer": 1, "spent": True}) is False and killed == ["actor a"]  # stopped, Tune would keep it
    search.on_trial_complete("a", error=True)
    assert questions[0].answer.result(0) == 1
    search.trials = FakeTrials(1)
    search.suggest("b")
    introduce(search, "b", "actor b")
    assert search.take_result("b", {"state": "FAIL", "reason": "assert", "spent": True}) is False and killed == ["actor a", "actor b"]


def test_an_error_of_cuda_that_stays_is_told_from_one_that_passes(monkeypatch):
    def broken():
        raise RuntimeError("CUDA error: device-side assert triggered")

    assert gpu_is_broken() is False
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", broken)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert gpu_is_broken() is False
    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    free_gpu()  # it would hide the trial's own error
    assert gpu_is_broken() is True
    word = next(answer_question(cloudpickle.dumps((divmod, (1, 0)))))
    assert word["spent"] and word["failed"].startswith("the worker failed: ZeroDivisionError")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_side_assert_breaks_the_process_and_running_out_of_memory_does_not():
    program = """
import torch
from aae.tuning.workers.trial import gpu_is_broken
try:
    torch.empty(10**14, device="cuda")
except torch.cuda.OutOfMemoryError:
    assert not gpu_is_broken()
try:
    torch.zeros(2, device="cuda")[torch.tensor([5], device="cuda")].sum().item()
except RuntimeError:
    assert gpu_is_broken()
    print("broken")
"""
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    assert subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True).stdout.endswith("broken\n")


def test_a_reason_is_one_line_whatever_the_error_says(tmp_path):
    """CUDA's errors are three."""
    try:
        raise RuntimeError("CUDA error: unspecified\nCUDA kernel errors might be reported later\n")
    except RuntimeError as error:
        said = error_in_a_line(error, TrialFolder(tmp_path))
    assert said.startswith("RuntimeError: CUDA error: unspecified CUDA kernel errors might be reported later (test_workers.py:")
    assert "unspecified\nCUDA kernel errors" in (tmp_path / "traceback.txt").read_text()
