"""Where trials run: Ray on this machine or the cluster that RAY_ADDRESS names, and how many trials fit there at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from aae.config import ConfigError
from aae.tuning.config import Sweep
from aae.tuning.engine import silence_ray
from aae.tuning.lock import DriverLock


@dataclass(frozen=True)
class Place:
    """Where trials run."""

    where: str
    resources: dict[str, float]  # of a trial
    slots: int


def enter(sweep: Sweep, lock: DriverLock, stack: contextlib.ExitStack) -> Place:
    """Starts Ray, or joins it, until the stack ends. Raises ConfigError where not one trial fits."""
    where = stack.enter_context(ray_running(lock))
    return Place(where, *fit_resources(sweep))


def cluster_address() -> str | None:
    """Of the cluster to join, None for this machine alone. Raises ConfigError where nobody answers: Ray would ask for minutes."""
    address = os.environ.get("RAY_ADDRESS", "local")
    if address in ("local", ""):
        return None
    if address.startswith("ray://"):
        raise ConfigError(f"RAY_ADDRESS: got {address}; run launch.py on the cluster's head node, with RAY_ADDRESS=auto")
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigError(f"RAY_ADDRESS: got {address}; nobody answers there ({error}); unset it to run on this machine") from None
    return address


@contextlib.contextmanager
def ray_running(lock: DriverLock) -> Iterator[str]:
    """Ray, on this machine or on the cluster that RAY_ADDRESS names; says which. A session of our own is removed at the end."""
    silence_ray()
    address = cluster_address()
    options: dict[str, Any] = {"include_dashboard": False, "num_cpus": os.cpu_count()} if not address else {}
    try:
        ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, configure_logging=True, **options)
    except (ConnectionError, ValueError) as error:
        raise ConfigError(f"RAY_ADDRESS: got {address}; no Ray cluster answers there ({error}); unset it to run on this machine") from None
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    if not address:
        lock.name_session(str(session))
    try:
        yield f"the Ray cluster at {address}" if address else "this machine"
    finally:
        ray.shutdown()
        if not address:
            shutil.rmtree(session, ignore_errors=True)


def fit_resources(sweep: Sweep) -> tuple[dict[str, float], int]:
    """(resources of a trial, how many fit at once). Raises ConfigError where not even one does."""
    total = ray.cluster_resources()
    threads = sweep.fixed.train.num_threads
    wanted = sweep.study.resources_per_trial
    if wanted == "auto":
        wanted = {"cpu": threads}
        if total.get("GPU"):
            wanted["gpu"] = 0.25  # a 1000-wide AAE uses a small part of a GPU
    slots = min(int(total.get(key.upper(), 0) / amount + 1e-9) for key, amount in wanted.items() if amount)
    if slots < 1:
        have = ", ".join(f"{key.lower()}: {total.get(key, 0):g}" for key in ("CPU", "GPU"))
        raise ConfigError(f"study.resources_per_trial: got {wanted}; there is {have} here: ask for less")
    return wanted, min(slots, sweep.study.max_concurrent or slots)
