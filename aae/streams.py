"""The standard streams of a command, whatever it was started with: none of them, as by a service or `>&-`, or an ASCII terminal."""

from __future__ import annotations

import io
import os
import sys

from rich.console import Console


def steady_streams() -> None:
    """The first thing that a command does: from here on nothing that it prints can end it."""
    open_closed_streams()
    escape_unprintable()


def open_closed_streams() -> None:
    """Opens those that are closed on the null device, for this process and those that it starts; called before anything else is opened.
    Python has None for them, which cannot be printed to; and the next file that is opened would get such a number, so that what a
    library prints would go into that file."""
    for name in ("stdin", "stdout", "stderr"):  # by their numbers: each gets the lowest that is free
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


def escape_unprintable() -> None:
    """A character that the terminal's encoding lacks is printed as its escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def plain_console(stderr: bool = False) -> Console:
    """Prints a line as it is: a folder named `[old]` is no style, and a line that goes into a file or a pipe is not broken."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, highlight=False, soft_wrap=not stream.isatty())
