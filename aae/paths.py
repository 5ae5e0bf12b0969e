"""Dotted paths: a configuration as one flat table, and every path that there is."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from aae.config import TrialConfig
from aae.terms import ObjectiveConfig


def every_term() -> ObjectiveConfig:
    """With all blocks on, also those that are off by default."""
    hints: dict[str, Any] = get_type_hints(ObjectiveConfig)  # a block's class, or `class | None`
    kinds: dict[str, Any] = {name: next(kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)) for name, hint in hints.items()}
    return ObjectiveConfig(**{name: kind() for name, kind in kinds.items()})


def every_path() -> dict[str, Any]:
    """All that may be set, with its default; also of the blocks that are off by default."""
    return flatten(TrialConfig()) | flatten(every_term(), "objective.")


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration under dotted paths; a block that is off is one entry with None."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        path = f"{prefix}{item.name}"
        flat |= flatten(value, f"{path}.") if is_dataclass(value) else {path: value}
    return flat


def with_later_paths(recorded: dict[str, Any]) -> dict[str, Any]:
    """What was recorded of an older study, with the paths that have come since at their defaults. A block that has come since and is off
    by default was off, and the parts of one that was off are not there."""
    on, off = {block_of(path) for path in recorded if path.count(".") > 1}, {path for path, value in recorded.items() if value is None}
    default = {path: value for path, value in flatten(TrialConfig()).items() if path not in on}
    inner = {path: value for path, value in every_path().items() if block_of(path) in on and path not in on}
    return {path: value for path, value in (default | inner).items() if block_of(path) not in off} | recorded


def block_of(path: str) -> str:
    """objective.consistency of objective.consistency.weight"""
    return ".".join(path.split(".")[:2])
