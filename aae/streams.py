"""The standard streams of a command, whatever it was started with: none of them, as by a service or `>&-`, or an ASCII terminal."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from rich.console import Console


def steady_streams() -> None:
    """The first thing that a command does: from here on nothing that it prints can end it."""
    open_closed_streams()
    outlive_readers()
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


class LastingFile(io.FileIO):
    """What can no longer be written is left out: the terminal was closed, a pipe's reader has ended, the disk is full."""

    failure: OSError | None = None  # the last one, but for a reader that has ended: it wants no more

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except ConnectionError:  # of a pipe, too
            return len(data)
        except OSError as error:
            self.failure = error
            return len(data)


class OutputLost(Exception):
    """What a command was asked for could not be written. The message is one line."""


def require_written() -> None:
    """The last thing that a command does whose output is what it was asked for. Raises OutputLost."""
    sys.stdout.flush()
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(file, LastingFile) and file.failure is not None:
        failure, file.failure = file.failure, None
        raise OutputLost(f"standard output cannot be written ({failure.strerror}); make room, or send it elsewhere")


def exit_code(program: str) -> int:
    """Of a program that has done what it was asked for: 0, or 1 and a line where that could not be written."""
    try:
        require_written()
    except OutputLost as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    return 0


def outlive_readers() -> None:
    """An error of a print comes up wherever a line is said, as in a signal's handler, and would end a sweep in the middle of its epochs."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):  # not where a test or a notebook put another
            stream.flush()
            lasting = io.BufferedWriter(LastingFile(stream.fileno(), "w", closefd=False))
            line_wise = name == "stderr" or stream.line_buffering
            setattr(sys, name, io.TextIOWrapper(lasting, stream.encoding, stream.errors, line_buffering=line_wise))


def escape_unprintable() -> None:
    """A character that the terminal's encoding lacks is printed as its escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def plain_console(stderr: bool = False) -> Console:
    """Prints a line as it is: a folder named `[old]` is no style, and a line that goes into a file or a pipe is not broken."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, markup=False, highlight=False, soft_wrap=not stream.isatty())
