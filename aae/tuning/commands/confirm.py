"""`launch.py confirm RUN`: the winner of a search, on fresh draws."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aae.tuning.commands.arguments import ACCEPT, command_parser

if TYPE_CHECKING:  # with Optuna, which takes a second to import
    from aae.tuning.spec.sweep import Sweep


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("confirm", "Select the winner on fresh draws, freeze it, and report it on others; or go on with that.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    options.add_argument(
        "overrides", nargs="*", metavar="study.confirm=...", help="where the sweep file has none, as study.confirm.report_draws=10"
    )
    options.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    given = options.parse_intermixed_args(arguments)

    from aae.layers import parse_overrides
    from aae.tuning.confirm.run import load_searched

    return confirm_and_show(given.run, load_searched(given.run, parse_overrides(given.overrides)), given.accept_changes, console)


def confirm_and_show(run: Path, checked: Sweep, accept: bool, console: Console) -> int:
    """Confirms, prints the verdict and puts it on the run's page. Returns the exit code."""
    from aae.tuning.confirm.run import run_confirmation
    from analysis.confirmed import confirmation_verdict
    from analysis.report import write_files
    from analysis.trials import read_run

    try:
        code = run_confirmation(run, checked, accept, console)
    except (RuntimeError, OSError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    read = read_run(run)
    if read.confirmed is not None:
        for line in confirmation_verdict(read.confirmed):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(f"report: {write_files(read)}", soft_wrap=True, highlight=False)
    return code
