"""Signals to a program outside its long work, which has handlers of its own: a line or a clean end, whenever they come."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from typing import Any

HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say_in_a_line() -> None:
    """Called before torch, Ray and Optuna are imported, which takes seconds: Ctrl-C is a line from here on, no traceback. Of the project's
    own programs alone; who imports this as a library has a way of their own."""
    if os.path.basename((sys.argv or [""])[0]) not in ("-m", "launch.py"):  # -m while python -m imports a program's package
        return
    earlier = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("interrupted; run the same command again", file=sys.stderr)  # then Python ends by the signal: 130 in a shell
        else:
            earlier(kind, error, trace)

    sys.excepthook = hook
    sys.meta_path.insert(0, NumpyFirst())


class NumpyFirst(MetaPathFinder):
    """Imports numpy before torch, which would import it from C: there Ctrl-C is lost, or leaves numpy in halves."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "torch":
            import numpy  # noqa: F401


def end_by_exception() -> None:
    """A closed terminal and a plain kill unwind what was begun: Ray's processes, a folder's lock. `nohup` stays as it is."""

    def on_signal(received: int, frame: Any) -> None:
        sys.exit(128 + received)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, on_signal)


def end_by_signal() -> None:
    """The last thing that a program does: what comes while Python ends can be no exception any more, which would be a traceback and 0."""
    for number in HEARD:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """A signal waits until this is left: of what is cleaned up here nothing may stay. Not by a mask: other threads would take it."""
    came = list[int]()
    heard = [number for number in HEARD if signal.getsignal(number) not in (signal.SIG_IGN, None)]  # None: a handler that is not Python's
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
