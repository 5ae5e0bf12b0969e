"""What a user is told of a worker that died: what is known, and no guess."""

from types import SimpleNamespace

import pytest
import ray

from aae.tuning.workers import deaths
from aae.tuning.workers.deaths import cause_of_death, last_words

KILLED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: ... "
    "(1) the process was killed by the OOM killer due to high memory usage, (2) ray stop --force is called"
)


@pytest.fixture
def dead(tmp_path, monkeypatch):
    """Makes an actor of which Ray says `error`, and whose process, named 1f, has left `log`."""
    (tmp_path / "logs").mkdir()

    def get(asked, timeout):
        raise asked

    def make(error: str, log: str = ""):
        (tmp_path / "logs" / "worker-1f-01000000-77.err").write_text(f":job_id:01000000\n:actor_name:TrialWorker\n{log}")
        monkeypatch.setattr(deaths, "session_folder", lambda: tmp_path)
        monkeypatch.setattr(deaths.ray, "get", get)
        return SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: ray.exceptions.RayActorError(error_msg=error)))

    return make


@pytest.mark.parametrize(
    ("error", "log", "cause"),
    [
        ("The actor died because its node has died. Node Id: fd07\n\thealth check failed", "", "its node was lost"),
        ("Task was killed due to the node running low on memory.", "", "Ray ended the worker: its node was low on memory"),
        (KILLED, "", "the worker died"),
        (KILLED, "libgomp: out of threads\n\n", "the worker died; its log ends with: libgomp: out of threads"),
        (
            KILLED,
            "Fatal Python error: Segmentation fault\n\nStack:\n  a\n",
            "the worker died; its log ends with: Fatal Python error: Segmentation fault",
        ),
    ],
)
def test_the_cause_is_what_ray_knows_or_the_worker_s_own_log_says_and_is_never_guessed(dead, error, log, cause):
    """Before, every death was "killed, perhaps because the host ran out of memory"."""
    assert cause_of_death(dead(error, log), "1f", None) == cause


def test_a_worker_that_could_not_start_has_its_own_error_as_the_cause(tmp_path):
    """An import that fails there. It was called a death by memory."""
    (tmp_path / "error.txt").write_text("Failure # 1\nray::TrialWorker.__init__()\nModuleNotFoundError: No module named 'aae'\n\n")
    trial = SimpleNamespace(error_file=str(tmp_path / "error.txt"))
    assert cause_of_death(None, None, trial) == "its worker could not start: ModuleNotFoundError: No module named 'aae'"
    assert cause_of_death(None, None, SimpleNamespace(error_file=None)) == "its worker could not start: Ray does not say why"


def test_a_log_on_another_node_says_nothing(tmp_path):
    assert last_words(tmp_path, "1f") == ""


def test_the_kernel_s_out_of_memory_killer_is_named_where_its_count_has_risen(dead, monkeypatch):
    assert deaths.memory_kills() >= 0
    monkeypatch.setattr(deaths, "memory_kills", lambda: 3)
    assert "for want of memory" in cause_of_death(dead(KILLED), "1f", None, 2)
    assert cause_of_death(dead(KILLED), "1f", None, 3) == cause_of_death(dead(KILLED), "1f", None, None) == "the worker died"
