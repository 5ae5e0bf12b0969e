"""Ray's own side of a run: started here or joined, its session folder, and the end of what a killed driver left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from aae.config import ConfigError
from aae.download import CACHE_VARIABLE
from aae.errors import one_line
from aae.interrupts import put_off
from aae.manifest import PROJECT
from aae.tuning.cluster.home import make_session_token
from aae.tuning.cluster.ray_private import cores_in_quota, running_cluster_address
from aae.tuning.study.lock import DriverLock

GROUP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
GOODBYE_S = 1.0  # after which Ray's servers are killed; Ray has left them by then
END_S = 10.0  # what ending a dead session may take
MAX_TEMP_BYTES = 33  # a socket's path has 107 bytes, 103 on macOS, and Ray adds up to 70
MAX_CHARACTERS = 300
RUN_HERE = "RAY_ADDRESS=local runs here"


@contextlib.contextmanager
def ray_running(lock: DriverLock | None, address: str | None) -> Iterator[str]:
    """Ray, on this machine or on the cluster at `address`; says which. A session of our own is removed at the end, and what a start
    leaves that fails. Raises ConfigError."""
    silence_ray()
    start_ray(address)
    session = session_folder()
    if not address and lock is not None:
        lock.name_session(str(session))
    try:
        yield f"the Ray cluster at {address}" if address else "this machine"
    finally:
        if address:
            ray.shutdown()
        else:
            with put_off():
                ending = threading.Timer(GOODBYE_S, end_session, [session])
                ending.start()
                ray.shutdown()
                ending.join()
                shutil.rmtree(session, ignore_errors=True)


def start_ray(address: str | None) -> None:
    options: dict[str, Any] = {}
    if not address:
        shorten_temp_folder()
        make_session_token()
        options = {"include_dashboard": False, "num_cpus": cores()}
    before = set(own_sessions())
    for name in (CACHE_VARIABLE, "TMPDIR", "RAY_TMPDIR"):  # meant from here, and read by workers
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().absolute())
    # What a terminal, a batch system or systemd sends goes to the whole process group. Ray's servers inherit this mask, so they live on
    # until the driver ends them; without them Tune would wait 60 s for the end of its trials, and be killed. Nor do they hear Ray's own
    # SIGTERM at its end, for which it would wait a second each: GOODBYE_S.
    unmasked, on_kill = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS), signal.getsignal(signal.SIGTERM)
    try:
        # Workers look into the current folder of this moment before they look anywhere else: an `aae` that lies there, as in another clone,
        # would train other code than the manifest names.
        with contextlib.chdir(PROJECT):
            ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, configure_logging=True, **options)
    except BaseException as error:
        ray.shutdown()
        for left in set(own_sessions()) - before:
            end_session(left)
            shutil.rmtree(left, ignore_errors=True)
        if address and isinstance(error, ConnectionError | ValueError):
            raise ConfigError(f"RAY_ADDRESS: got {address}; no Ray cluster answers there ({one_line(error)}); {RUN_HERE}") from None
        if address and isinstance(error, ray.exceptions.AuthenticationError):
            want = "it belongs in ~/.ray/auth_token or in RAY_AUTH_TOKEN"
            raise ConfigError(f"RAY_ADDRESS: got {address}; that cluster's token is missing here or wrong: {want}; {RUN_HERE}") from None
        if not address and isinstance(error, Exception):
            why = one_line(error).split(". ")[0][:MAX_CHARACTERS]  # what follows is advice on ray.init
            want = "; give it more memory" if "memory" in why else ""
            raise ConfigError(f"Ray cannot start on this machine: {why}{want}") from None
        raise
    finally:
        signal.signal(signal.SIGTERM, on_kill or signal.SIG_DFL)  # not Ray's, which it has put there: its code would be 15
        signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)


def temp_folder() -> tuple[str, str]:
    """(the variable that says so, the folder) in which a Ray of this machine makes its own, `ray`."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        if os.environ.get(name) and (name == "RAY_TMPDIR" or sys.platform.startswith("linux")):
            return name, os.environ[name]
    return "TMPDIR", "/tmp"


def shorten_temp_folder() -> None:
    """Sockets lie under it, and the system limits their paths. Raises ConfigError where the user must name another one."""
    name, folder = temp_folder()
    if len(os.fsencode(folder)) <= MAX_TEMP_BYTES:
        return
    if name == "RAY_TMPDIR" or not os.access("/tmp", os.W_OK | os.X_OK):
        want = (
            f"Ray's sockets lie there, and their paths would be too long: set RAY_TMPDIR to a folder of at most {MAX_TEMP_BYTES} characters"
        )
        raise ConfigError(f"{name}: got {folder}; {want}")
    os.environ["RAY_TMPDIR"] = "/tmp"


def own_sessions() -> list[Path]:
    """Folders of sessions that this process has started."""
    return list(Path(temp_folder()[1], "ray").glob(f"session_*_{os.getpid()}"))


def session_folder() -> Path:
    """Where the Ray that this process is connected to has its logs and sockets on this machine."""
    context = ray.get_runtime_context()
    return Path(context.get_temp_dir(), context.get_session_name())


def silence_ray() -> None:
    """Before ray is initialised: one driver, one console, no chatter and no phoning home."""
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_AIR_NEW_OUTPUT="0",
        RAY_DEDUP_LOGS="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
        TUNE_DISABLE_SIGINT_HANDLER="1",
        TUNE_PRINT_ALL_TRIAL_ERRORS="0",
        TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
        TUNE_GLOBAL_CHECKPOINT_S="3600",
        TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S="0",
        TUNE_RESULT_BUFFER_LENGTH="0",
    )


def cluster_address() -> str | None:
    """Of the cluster to join, None for this machine alone: what RAY_ADDRESS says, or else the cluster that `ray start` made this
    machine a node of. Raises ConfigError where nobody answers: Ray would ask for minutes."""
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        try:
            own = running_cluster_address()
        except PermissionError as shut:
            what = f"another user's Ray cluster on this machine ({shut.strerror})"
            raise ConfigError(f"{shut.filename}: it is of {what}; {RUN_HERE}, RAY_ADDRESS=ADDRESS joins another") from None
        return own if own and no_answer_from(own) is None else None  # the file outlives a cluster that was killed
    if address == "local":
        return None
    if address.startswith("ray://"):
        raise ConfigError(f"RAY_ADDRESS: got {address}; run launch.py on the cluster's head node, with RAY_ADDRESS=auto")
    if address != "auto" and (error := no_answer_from(address)) is not None:
        raise ConfigError(f"RAY_ADDRESS: got {address}; nobody answers there ({error}); {RUN_HERE}")
    return address


def no_answer_from(address: str) -> Exception | None:
    """Why nobody answers there, or None."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        return error
    return None


def cores() -> int:
    """That this process may use: not those beyond a container's quota or a scheduler's mask."""
    quota = cores_in_quota()
    return max(1, min(quota, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else quota))


def remove_dead_session(tag: dict[str, Any]) -> bool:
    """Ends what a killed driver's own Ray left running on this host, and removes its session folder. Otherwise it keeps training for
    about 40 s."""
    folder = tag.get("session")
    if tag.get("host") != socket.gethostname() or not folder:
        return False
    path = Path(folder)
    # Whatever folder that start was told to use, it holds sessions of Ray, and this one is our own.
    if not path.name.startswith("session_") or path.parent.name != "ray" or not path.is_dir() or path.stat().st_uid != os.getuid():
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
