"""Rewrites the page of a run while its sweep runs: `python -m analysis.live RUN`, which the sweep's own command starts and ends.

A process of its own at nice 19, so that no trial waits for it. It writes where something was told since the last time, at least every
PERIOD_S seconds, but never more often than keeps it within SHARE of a core: after a writing that took it a second of the processor it
rests twenty. Its start, some three seconds of imports, comes once and after the first tell. A driver that was killed leaves it behind:
then it writes once more, that the sweep was interrupted, and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aae.runs import JOURNAL

PERIOD_S = 10.0  # between two writings that cost little
SHARE = 0.05  # of a core
POLL_S = 0.5
NICE = 19
STOP_S = 20.0  # until one that does not end is killed


def told(run: Path) -> tuple[int, int] | None:
    """Changes with every write to the study's journal; None before the first one."""
    with contextlib.suppress(OSError):
        found = (run / JOURNAL).stat()
        return found.st_mtime_ns, found.st_size
    return None


def rest_s(cost_s: float) -> float:
    """How long to wait after a writing that took so many seconds of the processor."""
    return max(PERIOD_S, cost_s / SHARE)


def write_running_page(run: Path, running: bool = True) -> float:
    """Writes index.html, and best.yaml that it names, but nothing that takes long. Returns the seconds of the processor, without those of
    imports."""
    from analysis.figures import draw_all
    from analysis.page import page_html
    from analysis.report import best_yaml, write_each
    from analysis.trials import read_run

    before = time.process_time()
    read = read_run(run)
    (run / "report").mkdir(exist_ok=True)
    page = page_html(read, draw_all(read, captions_alone=True), running)
    write_each(run / "report", {"best.yaml": best_yaml(read), "index.html": page})
    return time.process_time() - before


def page_time(run: Path) -> int | None:
    """When the page was written, in ns."""
    with contextlib.suppress(OSError):
        return (run / "report" / "index.html").stat().st_mtime_ns
    return None


def follow(run: Path, parent: int) -> None:
    """Until the process that started it is gone. A page that cannot be written is no reason to end: a full disk may have room again."""
    written, next_at, wrote = told(run), 0.0, False
    while os.getppid() == parent:
        time.sleep(POLL_S)
        now = told(run)
        if now is None or now == written or time.monotonic() < next_at:
            continue
        cost_s = 1.0
        with contextlib.suppress(Exception):
            cost_s, wrote = write_running_page(run), True
        written, next_at = now, time.monotonic() + rest_s(cost_s)
    if wrote:
        with contextlib.suppress(Exception):
            write_running_page(run, running=False)


@contextlib.contextmanager
def rewritten_page(run: Path) -> Iterator[Callable[[], None]]:
    """As long as this lasts, or until what it gives is called: then the last page is the caller's to write."""
    before = page_time(run)
    code = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH"))))}
    process = None
    with contextlib.suppress(OSError):  # no process is to be had: the sweep goes on, and its page comes at the end
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "analysis.live", str(run), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # a Ctrl-C is the driver's
        )

    def stop() -> None:
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    try:
        yield stop
    except BaseException:  # whatever broke the driver, nobody else writes the last page, and one that was written since says that it runs
        stop()
        if page_time(run) != before:
            with contextlib.suppress(Exception):
                write_running_page(run, running=False)
        raise
    finally:
        stop()


def main(arguments: list[str] | None = None) -> int:
    run, parent = sys.argv[1:] if arguments is None else arguments
    os.nice(NICE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # not in the middle of a file
    for number in (signal.SIGHUP, signal.SIGUSR1):  # the driver's, that a batch system sends to all
        signal.signal(number, signal.SIG_IGN)
    follow(Path(run), int(parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
