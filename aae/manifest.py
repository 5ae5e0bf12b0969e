"""What a run was made with: command, code, versions, device, data. Enough to say later why a number differs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "ray", "optuna", "wandb", "omegaconf")
PROJECT = Path(__file__).resolve().parent.parent


def describe(command: list[str], data_hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "command": command,
        "code": code(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "host": socket.gethostname(),
        "device": device_name(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "data": data_hashes,
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def device_name() -> str:
    """The GPU's name, or the processor's and what torch makes of it: equal names compute equal bits."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        processor = next(
            (line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")), processor
        )
    return f"{processor} ({torch.backends.cpu.get_cpu_capability()})"


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
        done = subprocess.run(["git", "-C", str(PROJECT), *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def own_command() -> list[str]:
    """The command line as a user would type it."""
    script = Path(sys.argv[0])
    return ["python", script.name, *sys.argv[1:]] if script.name == "launch.py" else ["python", "-m", "aae.train", *sys.argv[1:]]
