"""The sweep's command line: which command, its arguments, its errors as exit codes. `python launch.py --help` explains."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path

from aae.errors import REFUSED, ConfigError, refusal
from aae.interrupts import end_by_exception, end_by_signal
from aae.streams import OutputLost, plain_console, steady_streams

# Each is a module of aae/tuning/commands; anything else is a sweep file.
COMMANDS = ("status", "confirm", "reproduce", "replay", "dashboard", "schema", "cluster")
GOES_ON = ("sweep", "confirm")  # where it was interrupted; the others keep nothing


def main(arguments: list[str]) -> int:
    steady_streams()
    console = plain_console()
    first = arguments[0] if arguments else ""
    name, rest = (first, arguments[1:]) if first in COMMANDS else ("sweep", arguments)
    try:
        if name == "sweep":
            refuse_misspelt(first)
        return int(importlib.import_module(f"aae.tuning.commands.{name}").run(rest, console))
    except REFUSED as error:
        print(f"launch.py: {refusal(error)}", file=sys.stderr)
        return 2
    except OutputLost as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before the trials start or after they end; between them the sweep has its own handlers
        print(f"interrupted; the same command {'goes on' if name in GOES_ON else 'starts over'}", file=sys.stderr)
        return 130


def refuse_misspelt(word: str) -> None:
    """What is neither an option, nor there, nor named as a sweep file is. Raises ConfigError."""
    if not word or word.startswith("-") or os.path.exists(word) or Path(word).suffix in (".yaml", ".yml"):
        return
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    if word in ("plan", "json"):
        near = ["SWEEP --plan" if word == "plan" else "SWEEP --plan --json"]
    want = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}, the project's sweeps sweeps/*.yaml"
    raise ConfigError(f"{word}: neither a command nor a sweep file; {want}")


if __name__ == "__main__":
    end_by_exception()
    code = main(sys.argv[1:])
    end_by_signal()
    sys.exit(code)
