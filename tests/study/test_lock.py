"""One driver a folder: whoever waits for a lock that its holder removes has none, and two threads of a driver write one tag."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from aae.config import ConfigError
from aae.runs import read_tag, running
from aae.tuning.study import lock as locks
from aae.tuning.study.journal import open_study, read_trials
from aae.tuning.study.lock import DriverLock


def test_of_three_drivers_the_one_that_waited_has_the_lock_and_the_third_gets_no_second_one(tmp_path, monkeypatch):
    """The first removes the folder, as that of a refused sweep, between the second's opening of the file and its flock. Seen to fail
    with `is_file_at` always true: the second then holds a file that no path names, and the third gets a lock beside it."""
    run = tmp_path / "run"
    first = DriverLock(run)
    flock, left = fcntl.flock, [first]

    def flock_late(file, operation):
        while left:
            left.pop().release(remove=True)
        flock(file, operation)

    monkeypatch.setattr(locks.fcntl, "flock", flock_late)
    second = DriverLock(run)
    assert running(run)["pid"] == os.getpid()
    with pytest.raises(ConfigError, match="another driver runs this study"):
        DriverLock(run)
    second.release()
    DriverLock(run).release()


def test_the_lock_s_file_is_removed_while_it_is_held(tmp_path, monkeypatch):
    """Seen to fail with the file closed first: whoever waits then has a lock on it, and it is removed under them."""
    run, remove, found = tmp_path / "run", Path.unlink, []
    lock = DriverLock(run)

    def unlink(path: Path, **options: bool) -> None:
        found.append(running(run) is not None)
        remove(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    lock.release(remove=True)
    assert found == [True] and not run.exists()


def test_a_folder_that_holds_something_stays_when_its_lock_is_removed(tmp_path):
    lock = DriverLock(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_text("{}")
    lock.release(remove=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["manifest.json"]


def test_a_heartbeat_that_is_slow_does_not_write_over_the_session_s_name(tmp_path, monkeypatch):
    """Seen to fail without `_writing`: the tag that the heartbeat had made before is written after."""
    lock, began = DriverLock(tmp_path), threading.Event()

    class SlowOs:
        def __getattr__(self, name):
            return getattr(os, name)

        def pwrite(self, *arguments):
            if not began.is_set():
                began.set()
                time.sleep(0.3)
            return os.pwrite(*arguments)

    monkeypatch.setattr(locks, "os", SlowOs())
    heartbeat = threading.Thread(target=lock._write)
    heartbeat.start()
    began.wait()
    lock.name_session("the session")
    heartbeat.join()
    assert read_tag(lock.path)["session"] == "the session"
    monkeypatch.undo()
    lock.release()


def test_a_lock_that_is_released_says_so_to_a_reader_at_once(tmp_path):
    lock = DriverLock(tmp_path)
    assert running(tmp_path)["run"] == str(tmp_path) and time.time() - running(tmp_path)["heartbeat"] < 60
    lock.release()
    assert running(tmp_path) is None and read_tag(lock.path) == {}


def test_who_reads_the_lock_s_tag_never_sees_half_of_it(tmp_path):
    """Seen to fail with the tag emptied before it is written anew: `status` then knew no holder."""
    lock, done = DriverLock(tmp_path), threading.Event()

    def rename() -> None:
        while not done.is_set():
            lock.name_session("s" * 500)
            lock.name_session("s")

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        seen = [read_tag(tmp_path / ".lock").get("pid") for _ in range(3000)]
    finally:
        done.set()
        thread.join()
        lock.release()
    assert set(seen) == {os.getpid()}


def test_a_driver_whose_folder_was_moved_away_writes_into_no_other_one(tmp_path):
    """Another study was begun under the old name meanwhile. Seen to fail: its journal had trials of both, and its lock was removed."""
    run = tmp_path / "run"
    lock = DriverLock(run)
    study, _ = open_study(run, "first")
    study.ask()
    run.rename(tmp_path / "moved")
    with pytest.raises(RuntimeError, match=r"study.journal: moved, removed or replaced while its study runs"):
        study.ask()
    other = DriverLock(run)
    second, _ = open_study(run, "second")
    with pytest.raises(RuntimeError, match="replaced"):
        study.ask()
    second.ask()
    lock.release(remove=True)
    with pytest.raises(ConfigError, match="another driver runs this study"):
        DriverLock(run)
    other.release()
    assert len(read_trials(run)) == len(read_trials(tmp_path / "moved")) == 1


def test_the_session_of_a_killed_driver_is_known_until_another_has_its_own(tmp_path):
    """Two kills in a row, the second before it was removed. Seen to fail: nobody knew of it any more."""
    first = DriverLock(tmp_path / "run")
    first.name_session("/tmp/ray/session_1")
    killed(first)
    second = DriverLock(tmp_path / "run")
    assert second.predecessor["session"] == "/tmp/ray/session_1"
    killed(second)
    third = DriverLock(tmp_path / "run")
    assert third.predecessor["session"] == "/tmp/ray/session_1"
    third.name_session("/tmp/ray/session_3")
    killed(third)
    fourth = DriverLock(tmp_path / "run")
    assert fourth.predecessor["session"] == "/tmp/ray/session_3"
    fourth.release()
    last = DriverLock(tmp_path / "run")
    assert last.predecessor == {}
    last.release()


def killed(lock: DriverLock) -> None:
    """Its process ends here, as far as the file can tell."""
    lock._stop.set()
    lock._thread.join()
    lock._file.close()
