"""One driver a run folder: an flock with a name tag and a heartbeat."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from aae.config import ConfigError

HEARTBEAT_S = 5.0
READER_S = 0.5  # `running` holds the lock for a moment
STALE_S = 30.0  # a holder on another host is believed dead when its heartbeat is older
END_S = 10.0  # what ending a dead session may take
LEASE_S = 180.0  # how long a network file system may keep a dead host's lock


class DriverLock:
    """Holds `RUN/.lock` from construction to `release`, and says for which `work`. Raises ConfigError when another driver has it."""

    def __init__(self, run: Path, say: Any = print, work: str = "search"):
        self.path = run / ".lock"
        self._file = open(self.path, "a+")  # noqa: SIM115 - held as long as the sweep runs
        self._acquire(say)
        tag = read_tag(self.path)
        self.predecessor = tag if tag.get("run") == str(run.resolve()) else {}  # else a copy of a run that may be going on elsewhere
        self._tag = {"host": socket.gethostname(), "pid": os.getpid(), "run": str(run.resolve()), "session": None, "work": work}
        self._stop = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _acquire(self, say: Any) -> None:
        waited_from = time.monotonic()
        said = False
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                tag = read_tag(self.path)
                age = time.time() - tag.get("heartbeat", 0.0)
                holder = f"pid {tag.get('pid', '?')} on {tag.get('host', '?')}"
                here = tag.get("host") in (None, socket.gethostname())
                waited = time.monotonic() - waited_from
                refused = here or age < STALE_S or waited > LEASE_S
                if refused and waited > READER_S:
                    self._file.close()
                    raise ConfigError(
                        f"{self.path.parent}: another driver runs this study ({holder}); watch it with launch.py status, or end it first"
                    ) from None
                if not refused and not said:
                    say(f"waiting up to {LEASE_S:.0f} s for the lock of {holder}, last heard of {age:.0f} s ago")
                    said = True
                time.sleep(0.1 if refused else 1.0)

    def _write(self) -> None:
        os.ftruncate(self._file.fileno(), 0)
        os.write(self._file.fileno(), json.dumps(self._tag | {"heartbeat": time.time()}).encode())  # no buffer to fail at the close

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # a full disk: the lock itself still holds
                self._write()

    def name_session(self, folder: str) -> None:
        """Writes down Ray's session folder, for the next start to remove if this one is killed."""
        self._tag["session"] = folder
        with contextlib.suppress(OSError):  # a full disk: the next heartbeat tries again
            self._write()

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        os.ftruncate(self._file.fileno(), 0)
        self._file.close()


def read_tag(path: Path) -> dict[str, Any]:
    """Who holds the lock, or held it last; empty where nobody says."""
    try:
        tag = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return tag if isinstance(tag, dict) else {}


def running(run: Path) -> dict[str, Any] | None:
    """The live driver of a run folder, or None."""
    path = run / ".lock"
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return read_tag(path)


def remove_dead_session(tag: dict[str, Any]) -> bool:
    """Ends what a killed driver's own Ray left running on this host, which else takes 40 s to see that nobody needs it and goes
    on training meanwhile, and removes its session folder."""
    folder = tag.get("session")
    if tag.get("host") != socket.gethostname() or not folder:
        return False
    path = Path(folder)
    if not path.name.startswith("session_") or not path.is_relative_to(Path(tempfile.gettempdir()).resolve()) or not path.is_dir():
        return False
    end_session(path)
    shutil.rmtree(path, ignore_errors=True)
    return True


def end_session(folder: Path) -> None:
    """Kills every process of this user that belongs to the Ray session of this folder."""
    import ray  # noqa: F401 - it brings psutil
    import psutil  # isort: skip

    until = time.monotonic() + END_S
    while found := processes_of(folder):  # again: one may have started another before it was killed
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=max(0.0, until - time.monotonic()))
        if time.monotonic() > until:
            return


def processes_of(folder: Path) -> list[Any]:
    """Those that write into files of the session: servers, workers and what these start, and the agents, which rename themselves
    and outlive their raylet. And servers that are just starting: they are told the folder on their command line. Who only
    reads, a `tail` of a log, is none of them."""
    import ray  # noqa: F401 - it brings psutil
    import psutil  # isort: skip

    def written(file: Any) -> bool:
        return (file.flags & os.O_ACCMODE) != os.O_RDONLY if hasattr(file, "flags") else file.fd in (1, 2)  # macOS has no flags

    def belongs(process: Any) -> bool:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if any(Path(file.path).is_relative_to(folder) and written(file) for file in process.open_files()):
            return True
        program, *arguments = process.cmdline() or [""]
        of_ray = Path(program).name in ("raylet", "gcs_server") or any("/ray/" in part and part.endswith(".py") for part in arguments)
        return of_ray and any(part.endswith(str(folder)) or f"{folder}/" in part for part in arguments)

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and belongs(process):
                found.append(process)
    return found
