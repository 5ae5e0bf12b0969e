"""What --json means: one object on standard output, and everything else on standard error. Its keys: docs/json.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from aae.streams import plain_console, require_written


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"{what} as one JSON object on standard output, all else on standard error")


@contextlib.contextmanager
def apart_from_the_object(asked: bool, console: Console) -> Iterator[Console]:
    """The console to print on. Where the object was asked for, that of standard error; and what libraries print on standard output, or
    processes that start meanwhile, goes there too."""
    if not asked:
        yield console
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield plain_console(stderr=True)
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def print_object(found: dict[str, Any]) -> None:
    """Raises OutputLost."""
    sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")
    require_written()
