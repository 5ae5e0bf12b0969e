"""A HOME that cannot be written, as in a container under another user's number and on some compute nodes: what Ray, W&B, matplotlib
and this project would keep there lies elsewhere then."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from aae.download import CACHE_VARIABLE, cache_folder

CACHES = ".caches"  # in a run folder, while a driver is at work
CACHE_VARIABLES = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "MPLCONFIGDIR")


def home_is_writable(folder: str = "") -> bool:
    """Or that folder in it, where it is there already. `/` is no home: users without one have it."""
    home = os.path.expanduser("~")  # Path.home raises for a user without a name
    there = os.path.join(home, folder)
    return home not in ("/", "~") and os.access(there if os.path.exists(there) else home, os.W_OK | os.X_OK)


def has_data_cache() -> bool:
    """Whether it is there, the user's own too, or can be made."""
    folder = cache_folder()
    there = next(each for each in (folder, *folder.parents) if os.path.exists(each))  # Path.exists raises below what may not be entered
    return there == folder or os.access(there, os.W_OK | os.X_OK)


def place_caches(run: Path) -> None:
    """In a worker, and in the driver; what the user has set stays."""
    if not home_is_writable():
        for name in CACHE_VARIABLES:
            os.environ.setdefault(name, str(run.resolve() / CACHES))
        if not has_data_cache():  # else every hand-out would fetch the data
            os.environ[CACHE_VARIABLE] = str(run.resolve() / CACHES)


@contextlib.contextmanager
def caches_placed(run: Path) -> Iterator[None]:
    """The driver's; they go at the end."""
    place_caches(run)
    try:
        yield
    finally:
        shutil.rmtree(run / CACHES, ignore_errors=True)


def make_session_token() -> None:
    """For a Ray that this process starts: it would write one into HOME."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if not named and not os.path.exists(os.path.expanduser("~/.ray/auth_token")) and not home_is_writable(".ray"):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
