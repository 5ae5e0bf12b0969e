"""What a run was made with: command, code, versions, device, data. Enough to say later why a number differs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aae.config import ConfigError
from aae.device import device_name
from aae.imports import imported_files

PACKAGES = ("torch", "numpy", "ray", "optuna", "wandb", "omegaconf")
TRAINING_NEEDS = ("python", "torch", "numpy")  # versions that the numbers of one training depend on
STUDY_NEEDS = (*TRAINING_NEEDS, "optuna")  # and those of a study
TRAINING = ("aae.train",)  # what the numbers of one training depend on: this module and all that it imports
STUDY = (*TRAINING, "aae.tuning.spec", "aae.tuning.study")  # and what a study's decisions depend on
MAX_CHANGES = 5  # changes in a refusal
PROJECT = Path(__file__).resolve().parent.parent


def describe(command: list[str], data_hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "command": command,
        "folder": str(Path.cwd()),  # what relative paths in it are meant from
        "code": code(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "host": socket.gethostname(),
        "device": device_name(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "data": data_hashes,
    }


def current(made: dict[str, Any]) -> dict[str, Any]:
    """A manifest with the code and versions that were accepted last."""
    return made | (made.get("accepted") or [{}])[-1]


def made_by(made: dict[str, Any], code_number: int) -> dict[str, Any]:
    """A manifest with the code and versions of that number: 0 those that it began with, then the accepted ones in order."""
    return made | ([{}, *made.get("accepted", [])][code_number])


def version_changes(recorded: dict[str, Any], now: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    pairs = {name: (recorded["versions"].get(name), now["versions"].get(name)) for name in names}
    return [f"{name} was {was}, is {is_now}" for name, (was, is_now) in pairs.items() if was != is_now]


def changed_modules(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Files of aae/ that came, went or changed."""
    was, is_now = recorded["code"]["modules"], now["code"]["modules"]
    return [path for path in sorted(was.keys() | is_now.keys()) if was.get(path) != is_now.get(path)]


def changes_of_study(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Versions and files that a study's decisions or its trials' numbers depend on, and that are not the same."""
    needed = imported_files(PROJECT, STUDY)
    return version_changes(recorded, now, STUDY_NEEDS) + [path for path in changed_modules(recorded, now) if path in needed]


def other_changes(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """And those that they do not depend on."""
    others = tuple(name for name in PACKAGES if name not in STUDY_NEEDS)
    needed = imported_files(PROJECT, STUDY)
    return version_changes(recorded, now, others) + [path for path in changed_modules(recorded, now) if path not in needed]


def data_changes(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f"{file} has changed" for file, was in recorded["data"].items() if now["data"].get(file) != was]


def training_changes(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What one training's numbers depend on and is not the same: device, versions, code, data."""
    lines = [] if recorded["device"] == now["device"] else [f"device was {recorded['device']}, is {now['device']}"]
    lines += version_changes(recorded, now, TRAINING_NEEDS) + data_changes(recorded, now)
    needed = imported_files(PROJECT, TRAINING)
    modules = [path for path in changed_modules(recorded, now) if path in needed]
    return lines + ([f"changed code: {', '.join(modules)}"] if modules else [])


def go_on(recorded: dict[str, Any], now: dict[str, Any], run: Path, accept: bool) -> dict[str, Any]:
    """The manifest that a run goes on with: the recorded one, with other code and versions written down where they are accepted.
    Raises ConfigError where they are not, and for other data in any case."""
    data = data_changes(recorded, now)
    if data:
        raise ConfigError(f"{run}: {', '.join(data)}; restore the data, or start a fresh study with study.name=other")
    before = current(recorded)
    changes = changes_of_study(before, now)
    if not changes:
        return recorded
    if not accept:
        raise ConfigError(
            f"{run}: was made with other code or versions: {first_of(changes)}. Restore them, start afresh with "
            "study.name=other, or add --accept-changes: the trials then say which code made them"
        )
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    accepted = {"when": when, "changes": changes, "code": now["code"], "versions": now["versions"]}
    return recorded | {"accepted": [*recorded.get("accepted", []), accepted]}


def note_of_other_changes(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for a start that goes on, or none."""
    changes = other_changes(current(recorded), now)
    return [f"changed since, not what trials depend on: {first_of(changes)}"] if changes else []


def first_of(changes: list[str]) -> str:
    return ", ".join(changes[:MAX_CHANGES]) + (f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else "")


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def code() -> dict[str, Any]:
    """Commit, difference to it, and the hash of every module of aae/; without git the hashes alone."""
    modules = sorted((PROJECT / "aae").rglob("*.py"))
    return {
        "commit": git("rev-parse", "HEAD"),
        "diff": git("diff", "HEAD", "--", "aae", "launch.py"),
        "modules": {str(path.relative_to(PROJECT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in modules},
    }


def git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments], capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def own_command() -> list[str]:
    """The command line as a user would type it."""
    script = Path(sys.argv[0])
    return ["python", script.name, *sys.argv[1:]] if script.name == "launch.py" else ["python", "-m", "aae.train", *sys.argv[1:]]
