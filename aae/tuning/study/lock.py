"""One driver a run folder: an flock with a name tag and a heartbeat."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import IO, Any

from aae.errors import ConfigError, is_full_disk
from aae.runs import CONFIRM, read_tag

HEARTBEAT_S = 5.0
READER_S = 0.5  # `running` holds the lock for a moment
STALE_S = 30.0  # a holder on another host is believed dead when its heartbeat is older
TAG_BYTES = 4096  # of the tag, filled up with blanks, which JSON ignores; a longer path makes a longer one
LEASE_S = 180.0  # how long a network file system may keep a dead host's lock


class DriverLock:
    """Holds `RUN/.lock` from construction to `release`, and says for which `work`. Makes the folder where it is missing. Raises
    ConfigError when another driver has it, or where the folder cannot be written."""

    def __init__(self, run: Path, say: Any = print, work: str = "search"):
        self.path = run / ".lock"
        try:
            self._hold(run, say, work)
        except OSError as error:
            want = "confirm a copy of it" if work == CONFIRM else "give another folder with study.folder=FOLDER"
            want = "make room" if is_full_disk(error) else want
            raise ConfigError(f"{run}: cannot be written ({error.strerror}); {want}") from None
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _hold(self, run: Path, say: Any, work: str) -> None:
        self._file = self._acquire(say)
        if not os.access(run, os.W_OK):  # the lock's file was there
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        tag = read_tag(self.path)
        self.predecessor = tag if tag.get("run") == str(run.resolve()) else {}  # else a copy of a run that may be going on elsewhere
        # Until this driver has a session of its own, that of a killed one before it: a kill may come before it is removed.
        session = self.predecessor.get("session")
        self._tag = {"host": socket.gethostname(), "pid": os.getpid(), "run": str(run.resolve()), "session": session, "work": work}
        self._writing = threading.Lock()  # the heartbeat's thread writes too
        self._stop = threading.Event()
        self._write()

    def _acquire(self, say: Any) -> IO[str]:
        waited_from = time.monotonic()
        said = False
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)  # each time: its last driver may have removed it
            try:
                file = os.fdopen(
                    os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8"
                )  # held as long as the sweep runs
            except FileNotFoundError:  # right now
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_file_at(file, self.path):
                    return file
                file.close()  # the lock of a file that its last driver has removed locks nothing
            except BlockingIOError:
                file.close()
                tag = read_tag(self.path)
                age = time.time() - tag.get("heartbeat", 0.0)
                holder = f"pid {tag.get('pid', '?')} on {tag.get('host', '?')}"
                here = tag.get("host") in (None, socket.gethostname())
                waited = time.monotonic() - waited_from
                refused = here or age < STALE_S or waited > LEASE_S
                if refused and waited > READER_S:
                    raise ConfigError(
                        f"{self.path.parent}: another driver runs this study ({holder}); watch it with launch.py status, or end it first"
                    ) from None
                if not refused and not said:
                    say(f"waiting up to {LEASE_S:.0f} s for the lock of {holder}, last heard of {age:.0f} s ago")
                    said = True
                time.sleep(0.1 if refused else 1.0)

    def _write(self) -> None:
        """In one piece of one length, so that who reads meanwhile sees a whole tag; and past Python's buffer, which could fail at the
        close."""
        with self._writing:
            tag = json.dumps(self._tag | {"heartbeat": time.time()}).encode()
            os.pwrite(self._file.fileno(), tag.ljust(TAG_BYTES), 0)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # a full disk: the lock itself still holds
                self._write()

    def name_session(self, folder: str) -> None:
        """Writes down Ray's session folder, for the next start to remove if this one is killed."""
        with self._writing:
            self._tag["session"] = folder
        with contextlib.suppress(OSError):  # a full disk: the next heartbeat tries again
            self._write()

    def release(self, remove: bool = False) -> None:
        """`remove`: the file too, and the folder where nothing else is in it. While it is held: who waits for it then sees that it is
        gone, and makes a new one."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # a full disk must not keep the lock
            os.ftruncate(self._file.fileno(), 0)
        if remove and is_file_at(self._file, self.path):  # else the folder was moved, and another driver's is in its place
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it held something before
                self.path.parent.rmdir()
        self._file.close()


def is_file_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one that the path names now."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
