"""`launch.py reproduce RUN [--trial N]`: trains a recorded trial again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from aae.tuning.commands.arguments import command_parser
from aae.tuning.commands.output import add_json_option, apart_from_the_object, print_object


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("reproduce", "Train a trial again from what was recorded, and compare every epoch to the bit.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    options.add_argument("--trial", type=int, metavar="N", help="which trial (default: the best)")
    add_json_option(options, "what came out")
    given = options.parse_args(arguments)

    from aae.tuning.driver.reproduction import reproduce

    with apart_from_the_object(given.json, console) as said:
        found = reproduce(given.run, given.trial, said)
    if given.json:
        print_object({"run": str(given.run), **asdict(found), "equal": found.equal, "verdict": found.verdict, "exit_code": found.exit_code})
    return found.exit_code
