"""The sweep's command line: which command, its arguments, its errors as exit codes. `python launch.py --help` explains."""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path

from rich.console import Console

from aae.errors import ConfigError, DataError, escape_unprintable

COMMANDS = ("status", "confirm", "reproduce", "cluster")  # each a module of aae/tuning/commands; anything else is a sweep file


def main(arguments: list[str]) -> int:
    escape_unprintable()
    console = Console(soft_wrap=not sys.stdout.isatty())
    first = arguments[0] if arguments else ""
    name, rest = (first, arguments[1:]) if first in COMMANDS else ("sweep", arguments)
    try:
        if name == "sweep":
            refuse_misspelt(first)
        return int(importlib.import_module(f"aae.tuning.commands.{name}").run(rest, console))
    except (ConfigError, DataError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the trials start or after they end; between them the sweep has its own handlers
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def refuse_misspelt(word: str) -> None:
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    if near and not Path(word).exists():
        raise ConfigError(f"{word}: neither a command nor a sweep file; did you mean {near[0]}?")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
