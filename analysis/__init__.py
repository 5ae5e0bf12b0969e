"""Reads run folders: `analysis.read_run("runs/quick").frame()`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aae.interrupts import say_in_a_line

if TYPE_CHECKING:
    from analysis.trials import Run


say_in_a_line()


def read_run(path: str | Path) -> Run:
    """A run folder. Raises ConfigError for one that is none of a sweep, or broken."""
    from analysis import trials  # with Optuna, which takes a second

    return trials.read_run(Path(path))
