"""Jobs in processes of their own, which end with the process that started them, however that ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

MEMORY = Path("/dev/shm")

T = TypeVar("T")


def memory_folder() -> Path | None:
    """Where temporary files are in memory; None: where the system puts them."""
    return MEMORY if MEMORY.is_dir() else None


def run_jobs(jobs: Sequence[Callable[[str], T]], num_processes: int, progress: Callable[[int], None]) -> list[T]:
    """What each job returns, given a folder in memory that is removed at the end; `progress` hears how many are done. Raises RuntimeError
    where a process was killed."""
    fresh = get_context("spawn")  # a fork would inherit torch's threads
    watched, held = fresh.Pipe(duplex=False)
    with (
        tempfile.TemporaryDirectory(dir=memory_folder()) as folder,
        watched,
        ProcessPoolExecutor(min(num_processes, len(jobs)), fresh, end_with_starter, (watched, folder)) as pool,
        held,  # closed first; and by the system, where this process is killed
    ):
        # Inherited: a terminal's Ctrl-C goes to the workers too, and each would print a traceback.
        unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            futures = [pool.submit(job, folder) for job in jobs]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                progress(done)
        except BrokenProcessPool:
            want = "free some, and give the same command again"
            raise RuntimeError(f"a process of this replay was killed, as a system does that is short of memory; {want}") from None
        return [future.result() for future in futures]


def end_with_starter(watched: Connection, folder: str) -> None:
    """A worker's first call: from here on it ends when the other end of the pipe is closed."""

    def end() -> None:
        with contextlib.suppress(EOFError, OSError):
            watched.recv_bytes()
        shutil.rmtree(folder, ignore_errors=True)  # its starter may be dead
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
