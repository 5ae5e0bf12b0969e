"""Dotted paths: a configuration as one flat table, and every path that there is."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from aae.config import AdversarialYConfig, ConsistencyConfig, HeadSeparationConfig, ObjectiveConfig, TermConfig, TrialConfig


def every_path() -> dict[str, Any]:
    """All that may be set, with its default; also of the blocks that are off by default."""
    y, labels, vat, heads = AdversarialYConfig(), TermConfig(), ConsistencyConfig(), HeadSeparationConfig()
    on = ObjectiveConfig(adversarial_y=y, classification=labels, consistency=vat, head_separation=heads)
    return flatten(TrialConfig()) | flatten(on, "objective.")


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration under dotted paths; a block that is off is one entry with None."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        path = f"{prefix}{item.name}"
        flat |= flatten(value, f"{path}.") if is_dataclass(value) else {path: value}
    return flat


def with_later_paths(recorded: dict[str, Any]) -> dict[str, Any]:
    """A path that came after a study was begun had its default there, unless it is of a block that was off."""
    off = {path for path, value in recorded.items() if value is None}
    return {path: value for path, value in every_path().items() if ".".join(path.split(".")[:2]) not in off} | recorded
