"""Ray that cannot start, folders that it cannot use, and a HOME that nobody can write."""

import errno
import hashlib
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import AuthenticationError

from aae import download
from aae.config import ConfigError
from aae.errors import DataError
from aae.tuning.cluster import home, sessions
from aae.tuning.workers.wandb_environment import has_key
from tests.sweeping import PROJECT

MEMORY = (
    "After taking into account object store and redis memory usage, the amount of memory on this node available for tasks and actors "
    "(-0.01 GB) is less than -5% of total. You can adjust these settings with ray.init(memory=<bytes>)."
)
LONG = "/" + "x" * sessions.MAX_TEMP_BYTES


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Ray that fails with `error`, after it has made its session's folder."""

    def make(error: BaseException) -> Path:
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        session = tmp_path / "ray" / f"session_2026-01-01_00-00-00_000000_{os.getpid()}"

        def init(**options):
            (session / "logs").mkdir(parents=True)
            raise error

        monkeypatch.setattr(sessions, "MAX_TEMP_BYTES", 1000)  # pytest's own folder is a long one
        monkeypatch.setattr(sessions.ray, "init", init)
        return session

    return make


def test_too_little_memory_is_said_as_that_and_no_session_folder_is_left(failing):
    """It was "RAY_ADDRESS: got None; no Ray cluster answers there"."""
    session = failing(ValueError(MEMORY))
    with pytest.raises(ConfigError) as caught:
        sessions.start_ray(None)
    assert str(caught.value).startswith("Ray cannot start on this machine: ") and str(caught.value).endswith("; give it more memory")
    assert "RAY_ADDRESS" not in str(caught.value) and "ray.init" not in str(caught.value) and "\n" not in str(caught.value)
    assert not session.exists()


def test_a_start_that_is_interrupted_leaves_no_session_folder_and_another_driver_s_stays(failing):
    session = failing(KeyboardInterrupt())
    others = session.with_name("session_2026-01-01_00-00-00_000000_1")
    others.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        sessions.start_ray(None)
    assert not session.exists() and others.exists()


def test_an_address_where_no_ray_answers_is_still_named(failing):
    failing(ConnectionError("refused"))
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS: got 10.0.0.1:6379; no Ray cluster answers there \(refused\)"):
        sessions.start_ray("10.0.0.1:6379")


def test_a_token_that_is_missing_or_wrong_is_said_with_where_it_belongs(failing):
    """Seen to fail with Ray's own error and its traceback."""
    failing(AuthenticationError("Token authentication is enabled but no authentication token was found. Ensure ..."))
    with pytest.raises(ConfigError) as caught:
        sessions.start_ray("10.0.0.1:6379")
    assert str(caught.value).startswith("RAY_ADDRESS: got 10.0.0.1:6379; ") and "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in ("missing here or wrong", "~/.ray/auth_token", "RAY_AUTH_TOKEN", "RAY_ADDRESS=local"))


def test_a_cluster_of_another_user_is_said_with_the_way_to_run_without_it(monkeypatch):
    """Seen to fail with "ask its owner for the right, or name another"."""

    def unreadable():
        raise PermissionError(13, "Permission denied", "/tmp/ray/ray_current_cluster")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sessions, "running_cluster_address", unreadable)
    with pytest.raises(ConfigError, match="^/tmp/ray/ray_current_cluster: .*another user's.* RAY_ADDRESS=local runs here"):
        sessions.cluster_address()


def test_a_tmpdir_too_long_for_sockets_is_left_for_a_short_one_and_a_ray_tmpdir_is_named(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/scratch/job-17")
    sessions.shorten_temp_folder()
    assert sessions.temp_folder() == ("TMPDIR", "/scratch/job-17")
    monkeypatch.setenv("TMPDIR", LONG)
    sessions.shorten_temp_folder()
    assert sessions.temp_folder() == ("RAY_TMPDIR", "/tmp")
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    with pytest.raises(ConfigError, match=f"RAY_TMPDIR: got {LONG}; .*set RAY_TMPDIR to a folder of at most {sessions.MAX_TEMP_BYTES}"):
        sessions.shorten_temp_folder()


def test_the_longest_socket_of_ray_fits_under_the_longest_folder_that_is_taken():
    name = "session_2026-11-28_15-46-42_856867_4194304"
    path = Path("/" + "x" * (sessions.MAX_TEMP_BYTES - 1), "ray", name, "sockets", "plasma_store.1")
    assert len(str(path)) <= 103  # what macOS takes


def test_a_dead_session_goes_wherever_ray_had_put_it_and_nothing_else_does(tmp_path):
    def removed(folder: Path, host: str = "") -> bool:
        return sessions.remove_dead_session({"host": host or socket.gethostname(), "session": str(folder)})

    session = tmp_path / "ray" / "session_2026-01-01_00-00-00_1_1"
    data = tmp_path / "session_mine"
    for folder in (session, data):
        (folder / "logs").mkdir(parents=True)
    assert not removed(session, "another host") and not removed(data) and not removed(tmp_path / "ray")
    assert removed(session) and not session.exists() and data.exists()


# ---- HOME ----


@pytest.fixture
def no_home(monkeypatch):
    monkeypatch.setenv("HOME", "/proc/none")
    for name in (*home.CACHE_VARIABLES, "AAE_DATA", "XDG_CACHE_HOME", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("where", ["/proc/none", "/"])
def test_without_a_home_caches_lie_in_the_run_folder_while_it_works_and_the_token_is_the_session_s_own(
    no_home, monkeypatch, tmp_path, where
):
    monkeypatch.setenv("HOME", where)
    monkeypatch.setenv("WANDB_CACHE_DIR", "/mine")
    with home.caches_placed(tmp_path):
        assert os.environ["MPLCONFIGDIR"] == os.environ["WANDB_DATA_DIR"] == str(tmp_path / home.CACHES)
        assert os.environ["WANDB_CACHE_DIR"] == "/mine"
        (tmp_path / home.CACHES).mkdir()
    assert list(tmp_path.iterdir()) == []
    home.make_session_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_without_a_home_data_are_fetched_once_into_the_run_folder(no_home, monkeypatch, tmp_path):
    """Seen to fail with a download at every hand-out."""
    content, fetched = b"a file", []
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may be root's
    monkeypatch.setitem(download.FILES, "mnist", {"a": hashlib.sha256(content).hexdigest()})
    monkeypatch.setattr(download, "SOURCES", (lambda name, files: fetched.append(name) or {"a": content},))
    with home.caches_placed(tmp_path):
        for _ in range(3):
            download.fetch("mnist", download.cache_folder() / "mnist")
        assert fetched == ["mnist"]
    assert list(tmp_path.iterdir()) == []


def test_without_a_home_a_cache_that_is_there_or_can_be_made_is_the_cache(no_home, monkeypatch, tmp_path):
    """As a read-only HOME that came with the data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    home.place_caches(tmp_path / "run")
    assert "AAE_DATA" not in os.environ and os.environ["MPLCONFIGDIR"] == str(tmp_path / "run" / home.CACHES)
    download.cache_folder().mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    home.place_caches(tmp_path / "run")
    assert "AAE_DATA" not in os.environ


def test_a_home_of_another_user_that_may_not_be_entered_is_no_hindrance(no_home, monkeypatch, tmp_path):
    """Seen to fail: Path.exists raises below it, and every sweep was refused."""

    def may_not(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", may_not)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    home.place_caches(tmp_path / "run")
    assert os.environ["AAE_DATA"] == str(tmp_path / "run" / home.CACHES)


def test_without_a_home_and_a_name_for_the_user_nothing_fails(no_home, monkeypatch, tmp_path):
    """As in a container under any number. Seen to fail with "Could not determine home directory" and a traceback, twice."""

    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert download.cache_folder() == Path("/.cache/aae-sweep") and has_key() is False  # `/` is what a container gives it
    home.place_caches(tmp_path)
    assert download.cache_folder() == tmp_path / home.CACHES
    monkeypatch.setenv("AAE_DATA", "~/data")
    with pytest.raises(DataError, match="^AAE_DATA: got ~/data; there is no such home folder: write the whole path"):
        download.cache_folder()


def test_with_a_home_nothing_is_changed(no_home, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    with home.caches_placed(tmp_path):
        home.make_session_token()
        assert dict(os.environ) == before


def test_a_token_that_the_user_names_is_kept(no_home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/secret/token")
    home.make_session_token()
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_home_that_nobody_may_enter_and_uv_run_do_not_break_the_import():
    """Under `uv run` Ray would start its workers by uv; it reads whether to when it is imported."""
    program = "import aae.tuning, ray; print(ray.get_runtime_context is not None, aae.tuning.os.environ['RAY_ENABLE_UV_RUN_RUNTIME_ENV'])"
    env = os.environ | {"PYTHONPATH": str(PROJECT), "HOME": "/proc/1/root/nobody"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout == "True 0\n", done.stderr
