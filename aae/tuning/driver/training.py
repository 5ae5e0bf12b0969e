"""Lets the workers train a study until it ends, a budget is spent or a signal comes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from rich.console import Console

from aae.tuning.driver.budget import Budget
from aae.tuning.driver.console import SweepConsole
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.pool import Workers

EXIT_CODE = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGUSR1: 0}


def train_study(study: SweepStudy, workers: Workers, budget: Budget, console: Console, tick: Callable[[], None]) -> int | None:
    """Returns the signal that ended it, or None. `tick` is called several times a second."""
    received = list[int]()
    watch = SweepConsole(study, workers.place, console)
    spent: str | None = None
    if_possible = contextlib.suppress(RuntimeError)  # a signal may come within a print, which cannot be entered again

    def on_signal(number: int, frame: Any) -> None:
        if received:
            with if_possible:
                console.print("stopped at once; the running epochs are repeated when the same command runs again")
            os._exit(EXIT_CODE[signal.Signals(received[0])])
        received.append(number)
        workers.stopping.set()
        with if_possible:
            watch.say("stopping at the next report of each running trial; once more stops at once")

    # What was ignored at the start stays so: `nohup` ignores SIGHUP, for the sweep to outlive its terminal.
    heard = [number for number in EXIT_CODE if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, on_signal) for number in heard}
    try:
        with watch:
            workers.begin(study, watch)
            while workers.work():
                tick()
                if spent is None and (spent := budget.spent()) is not None:
                    workers.stopping.set()
                    watch.say(f"{spent}; the running epochs are repeated when the same command goes on")
                if spent is not None:
                    workers.end_attempts()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    workers.raise_failure()
    return received[0] if received else None
