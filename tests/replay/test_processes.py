"""The processes of a replay: they end with who started them, and what they wrote in memory goes too."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweeping import PROJECT, wait_for

SCRIPT = """
import os
import time
from pathlib import Path

from aae.tuning.replay.processes import run_jobs


def work(folder):
    Path("started", f"{os.getpid()}").write_text(folder)
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


if __name__ == "__main__":
    run_jobs([work] * 9, 2, lambda done: None)
"""


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int], Path]]:
    """(the process, its two workers, each in its first job of more, and the folder that they write to)"""
    (folder / "started").mkdir()
    (folder / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "script.py"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: len([path for path in (folder / "started").iterdir() if path.read_text()]) == 2, 120, "two workers have started")
        started = list((folder / "started").iterdir())
        yield process, [int(path.name) for path in started], Path(started[0].read_text())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM", "SIGKILL"])
def test_workers_end_with_the_process_that_started_them(end, tmp_path):
    """Seen to fail with a plain pool: at Ctrl-C every job that waited ran first, and after the others the workers stayed for good."""
    with at_work(tmp_path) as (process, workers, folder):
        if end == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: its workers get it too
        else:
            process.send_signal(signal.Signals[end])
        process.wait(20)
        wait_for(lambda: not any(is_alive(pid) for pid in workers) and not folder.exists(), 20, "the workers and their folder are gone")
        assert len(list((tmp_path / "started").iterdir())) == 2
        if end == "Ctrl-C":
            said = process.stderr.read()
            assert said.count("Traceback") == 1 and said.endswith("KeyboardInterrupt\n"), said  # the workers say nothing


def test_a_worker_that_is_killed_is_an_error_in_a_line_and_the_others_end(tmp_path):
    """Seen to fail with a plain pool: concurrent.futures' own error, of which no command knows."""
    with at_work(tmp_path) as (process, workers, folder):
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(20) == 1
        assert process.stderr.read().splitlines()[-1].startswith("RuntimeError: a process of this replay was killed")
        wait_for(lambda: not any(is_alive(pid) for pid in workers) and not folder.exists(), 20, "the workers and their folder are gone")
