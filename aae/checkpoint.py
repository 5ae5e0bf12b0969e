"""Checkpoints: all that a continuation needs to be equal to the bit, written atomically and loaded as tensors only."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from aae.config import ConfigError, TrialConfig
from aae.inputs import read_trial
from aae.layers import to_trial
from aae.model import Autoencoder
from aae.runs import TrialFolder, read_json

KEPT = ("epoch", "x_dim", "averaged")  # of a training that has ended
# As torch says that a file is no checkpoint. Its reader follows what the bytes say, so damaged ones meet what they may.
UNREADABLE = (OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AssertionError, pickle.UnpicklingError)


def save(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
        os.replace(temporary, path)
    except RuntimeError as error:
        raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None  # torch's words hide a full disk
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    return torch.load(path, map_location=device, weights_only=True)


def resumable(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """What a training goes on from; None where there is none, or it is shrunk or broken: then it begins at epoch 0."""
    try:
        state = read(path, device)
    except torch.cuda.OutOfMemoryError:
        raise
    except UNREADABLE:
        return None
    return state if "optimizers" in state else None


def opened(path: Path) -> dict[str, Any]:
    """To look at a part of it: read from the disk where it is touched, and never on the GPU that wrote it. The driver need not have one."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state


def epoch(path: Path) -> int:
    """Of a checkpoint, whole or shrunk; 0 where there is none or it is broken."""
    try:
        return int(opened(path)["epoch"])
    except UNREADABLE:
        return 0


def shrink(path: Path) -> None:
    """Keeps the averaged encoder and decoder alone: 14 MB instead of about 80. For a trial that will not go on."""
    try:
        state = opened(path)
    except UNREADABLE:
        return
    if "optimizers" in state:
        save(path, {key: state[key] for key in KEPT})


def read_config(folder: str | Path) -> TrialConfig:
    """The configuration that a trial's folder was trained with. Raises ConfigError where there is none."""
    path = TrialFolder(folder).config_path
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no config.yaml; give a trial's folder, as runs/STUDY/trials/0007")
    return to_trial(read_trial(path), f"{path}: ")


def load(folder: str | Path, device: torch.device | str = "cpu") -> tuple[Autoencoder, TrialConfig]:
    """The averaged encoder and decoder of a trial's folder, ready for use, and its configuration, with p(y) of its first draw.
    Raises ConfigError."""
    config = read_config(folder)
    if (class_prior := read_json(TrialFolder(folder).class_prior_path)) is not None:
        config = config.with_class_probabilities(class_prior[0])
    attempt = TrialFolder(folder).last_attempt()
    if attempt is None or not attempt.checkpoint_path.exists():
        raise ConfigError(f"{folder}: holds no checkpoint; train it, or give another trial")
    try:
        state = read(attempt.checkpoint_path, device)
        model = Autoencoder(state["x_dim"], **config.model.shape)
        model.load_state_dict(state["averaged"])
    except UNREADABLE as error:
        path = attempt.checkpoint_path
        raise ConfigError(f"{path}: broken, no checkpoint of this configuration ({type(error).__name__}); give another trial") from None
    return model.to(device).eval(), config
