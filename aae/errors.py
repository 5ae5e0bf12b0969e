"""What a user is told, in a line, when something they wrote is wrong."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any, TypeGuard

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# OmegaConf's words for a null where a value is needed: they do not say what to do.
NO_NULL = re.compile(r"Incompatible value 'None' for field of type '(?:Literal\[(.+)\]|(\w+))'|field '[\w.]+' is not Optional")
NO_KEY = re.compile(r"Key '(\w+)' not in '\w+'(?:\. Did you mean(?: one of)?: ([^?]+)\?)?")  # nor these: they name a class


class ConfigError(ValueError):
    """Something the user wrote is wrong. The message is one line: what, got, what to do."""


class DataError(ValueError):
    """The data cannot be had, or is not what it should be. The message is one line: what, got, what to do."""


class Diverged(Exception):
    """A loss, a code or a metric is no longer finite. The epoch has no row."""


REFUSED = (ConfigError, DataError, PermissionError)  # what ends a command with one line and exit code 2


def refusal(error: Exception) -> str:
    """The line."""
    if isinstance(error, PermissionError):
        return f"{error.filename}: you may not open this ({error.strerror}); ask its owner for the right, or name another"
    return str(error)


def require(ok: bool, path: str, got: Any, want: str) -> None:
    if not ok:
        raise ConfigError(f"{path}: got {'null' if got is None else got}; {want}")  # as YAML writes it


def no_sweep(run: Path) -> ConfigError:
    what = "holds no sweep" if run.exists() else "no such folder"
    return ConfigError(f"{run}: {what}; give one in which a sweep was started, as runs/quick")


def is_full_disk(error: BaseException) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in DISK_FULL


def out_of_memory(error: BaseException) -> str | None:
    """Whose memory ran out, in words; None where the error is of another kind. torch has no type for it on a processor."""
    if isinstance(error, RuntimeError) and "out of memory" in str(error):
        return "the GPU ran out of memory"
    is_host = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return "the host ran out of memory" if is_host or (isinstance(error, RuntimeError) and "allocate memory" in str(error)) else None


def of_the_machine(error: BaseException) -> bool:
    """Its disk or its memory, no fault of the program: a line says it."""
    return is_full_disk(error) or out_of_memory(error) is not None or (isinstance(error, OSError) and error.errno == errno.EROFS)


def fault(error: Exception, where: str | Path = "the run folder") -> str:
    """The line of an error that is no wrong input. `where`: for one that does not say it."""
    if whose := out_of_memory(error):
        return f"{where}: {whose}; give a smaller network or batch, or end other programs"
    if is_full_disk(error):
        return f"{error.filename or where}: the disk is full; make room, and the same command goes on"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return f"{error.filename or where}: cannot be written ({error.strerror}); copy the folder to another disk"
    return str(error)


def one_line(error: Exception) -> str:
    """OmegaConf and YAML explain over several lines; users get one, with the full path first."""
    if isinstance(error, RecursionError):
        return "too many blocks or lists in one another"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    path = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), "")
    text = "; ".join(line for line in lines if not line.startswith(("full_key:", "object_type=", "reference_type=")))
    text = NO_NULL.sub(lambda found: f"got null; give {wanted(found[1], found[2])}, or leave the line out", text)
    text = NO_KEY.sub(lambda found: f"there is no '{found[1]}' here; {hint(found[2])}", text)
    return f"{path}: {text}" if path else text


def wanted(words: str | None, kind: str | None) -> str:
    return words or (f"a value of type {kind}" if kind else "a list or block")


def hint(near: str | None) -> str:
    return f"did you mean {near}?" if near else "sweeps/schema.json lists every name"
