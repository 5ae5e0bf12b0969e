"""`launch.py confirm RUN`: the winner of a search, on fresh draws."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from aae.errors import fault
from aae.tuning.commands.arguments import ACCEPT, add_overrides, command_parser
from aae.tuning.commands.output import add_json_option, apart_from_the_object, print_object

if TYPE_CHECKING:  # with Optuna, which takes a second to import
    from aae.tuning.spec.sweep import Sweep


def run(arguments: list[str], console: Console) -> int:
    options = command_parser(
        "confirm",
        "Select the winner on fresh draws, freeze it, and report its error on other draws; or go on where this was stopped. "
        "The block study.confirm has select_k "
        "and select_draws (3 each), report_draws or half_width, and baseline: docs/confirm.md. Budgets may be set too, as "
        "study.max_minutes.",
    )
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    add_overrides(options, "study.confirm=...", "what to confirm, if the sweep file does not say it: study.confirm.report_draws=10")
    options.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    add_json_option(options, "what was found")
    given = options.parse_intermixed_args(arguments)

    from aae.inputs import parse_overrides
    from aae.tuning.confirm.run import load_searched

    checked = load_searched(given.run, parse_overrides(given.overrides))
    with apart_from_the_object(given.json, console) as said:
        code = confirm_and_show(given.run, checked, given.accept_changes, said)
    if given.json:
        print_object(confirmation_of(given.run) | {"exit_code": code})
    return code


def confirmation_of(run: Path) -> dict[str, Any]:
    """What --json prints: docs/json.md."""
    from aae.tuning.commands.status import verdict_of
    from aae.tuning.confirm.plan import standing_of
    from analysis.confirmed import read_confirmed

    found = read_confirmed(run)
    return {
        "run": str(run),
        **(standing_of(run) or dict.fromkeys(("stage", "trainings_told", "winner"))),
        "verdict": verdict_of(run),
        "report": None if found is None else found.report,
    }


def confirm_and_show(run: Path, checked: Sweep, accept: bool, console: Console) -> int:
    """Confirms, prints the verdict and puts it on the run's page. Returns the exit code."""
    from aae.tuning.confirm.run import run_confirmation
    from analysis.confirmed import confirmation_verdict
    from analysis.report import write_files
    from analysis.trials import read_run

    try:
        code = run_confirmation(run, checked, accept, console)
    except PermissionError:  # launch.py has words for it
        raise
    except (RuntimeError, OSError) as error:
        print(f"launch.py: {fault(error)}", file=sys.stderr)
        return 1
    read = read_run(run)
    if read.confirmed is not None:
        for line in confirmation_verdict(read.confirmed):
            console.print(line, soft_wrap=True)
        console.print(f"report: {write_files(read)}", soft_wrap=True)
    return code
