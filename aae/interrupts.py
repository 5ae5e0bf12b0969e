"""Signals to a program outside its long work, which has handlers of its own: a line or a clean end, whenever they come."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


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


def end_by_exception() -> None:
    """A closed terminal and a plain kill unwind what was begun: Ray's processes, a folder's lock. `nohup` stays as it is."""

    def on_signal(received: int, frame: Any) -> None:
        sys.exit(128 + received)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, on_signal)
