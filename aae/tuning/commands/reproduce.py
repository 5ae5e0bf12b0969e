"""`launch.py reproduce RUN [--trial N]`: trains a recorded trial again."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from aae.tuning.commands.arguments import command_parser


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("reproduce", "Train a trial again from what was recorded, and compare every epoch to the bit.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    options.add_argument("--trial", type=int, metavar="N", help="which trial (default: the best)")
    given = options.parse_args(arguments)

    from aae.tuning.driver.reproduction import reproduce

    return reproduce(given.run, given.trial, console)
