"""One sweep from its check to its end: check, lock, rehearse, study, train, close. Going on is running it again."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from aae.tuning.cluster.preflight import enter_cluster
from aae.tuning.driver.budget import Budget
from aae.tuning.driver.forecast import Forecast, ForecastFile, foresee
from aae.tuning.driver.opening import Opened, check_start, locked, recognise, taken_back, write_down, write_sweep
from aae.tuning.driver.training import EXIT_CODE, train_study
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.lock import DriverLock
from aae.tuning.study.optuna_views import word_of
from aae.tuning.study.study import SweepStudy
from aae.tuning.study.trial_sampler import describe_sampler
from aae.tuning.workers.pool import Workers
from aae.tuning.workers.rehearsal import cases_of, precision_there, rehearse
from aae.tuning.workers.wandb_environment import describe_study
from aae.tuning.workers.wandb_runs import follow_study

FollowPage = Callable[[Path], contextlib.AbstractContextManager[Callable[[], list[Path]]]]


@dataclass
class Outcome:
    study: SweepStudy
    code: int  # to exit with
    stopped: bool  # by a signal


def run_sweep(sweep: Sweep, accept: bool, console: Console, follow_page: FollowPage) -> Outcome:
    """Runs a sweep, or goes on with it. `accept`: also with other code than it has. `follow_page` keeps the run's page while this lasts;
    what it gives writes the last one and returns its figures. Raises ConfigError or DataError, and of a fresh sweep nothing is left then;
    RuntimeError where it broke midway."""
    budget = Budget(sweep.study, sweep.study.path, lambda: study.trials())
    data_hashes = check_start(sweep, console)
    with locked(sweep.study.path, console) as lock, contextlib.ExitStack() as at_end:
        opened = recognise(sweep, data_hashes, accept, console)
        write_page = at_end.enter_context(follow_page(sweep.study.path))  # of the driver that holds the lock alone
        say = functools.partial(console.print, soft_wrap=True)
        about = describe_study(sweep.study.name, opened.made["id"], sweep.study.path, sweep.study.metric, list(sweep.baselines), say)
        with contextlib.ExitStack() as stack:  # Ray, which ends before the page is written
            workers = functools.cache(lambda: start_workers(opened.sweep, about, lock, budget, stack, console))  # started at the first use
            opened, foreseen = rehearse_fresh(opened, workers, budget.started, console)
            study = open_and_reconcile(opened, console)
            left = None if study.all_told else workers()
            # After Ray's start: its workers would inherit the driver's W&B service.
            finish_wandb = follow_study(about, study.trials, say)
            at_end.callback(finish_wandb, [])  # where the sweep or its page breaks
            received = None if left is None else train_trials(study, left, budget, foreseen, console)
        close(study, write_page, finish_wandb)
    return Outcome(study, exit_code(study, received), received is not None)


def start_workers(
    sweep: Sweep, about: dict[str, Any], lock: DriverLock, budget: Budget, stack: contextlib.ExitStack, console: Console
) -> Workers:
    if not (sweep.study.path / "manifest.json").exists():
        num = len(cases_of(sweep))
        of = "1 configuration takes" if num == 1 else f"{num} configurations take"
        console.print(f"{sweep.study.path}: starting Ray; before the first trial {of} a few steps")
    place = enter_cluster(sweep, lock, stack, console)
    say = functools.partial(console.print, soft_wrap=True)
    return stack.enter_context(Workers(place, about, sweep.study.metric, sweep.study.path, budget.until, say))


def rehearse_fresh(opened: Opened, start: Callable[[], Workers], started: float, console: Console) -> tuple[Opened, Forecast | None]:
    """(with the precision that the workers have, what it will take) of a fresh sweep: what would fail is found before anything is
    written. Raises ConfigError where a configuration fails."""
    if not opened.fresh:
        return opened, None
    workers = start()
    sweep = opened.sweep.with_precision(precision_there(opened.sweep, workers))
    costs = rehearse(sweep, workers, console)
    made = opened.made | {"precision": sweep.fixed.train.precision, "sweep": sweep.fingerprint()}
    foreseen = foresee(sweep, costs, workers.place.resources, workers.place.slots, time.monotonic() - started)
    return opened._replace(sweep=sweep, made=made), foreseen


def open_and_reconcile(opened: Opened, console: Console) -> SweepStudy:
    """The study, agreeing with its folders. Raises ConfigError, and then nothing is written."""
    run = opened.sweep.study.path
    with taken_back(run, opened.fresh):
        if opened.fresh:
            write_down(run, opened.sweep, opened.made)
        study = SweepStudy(run, opened.sweep)
        study.code_number = len(opened.made.get("accepted", []))
        before = len(study.trials())
        counts = study.reconcile()
        write_down(run, opened.sweep, opened.made)  # what is accepted: after all that may refuse the start
    write_sweep(run, opened.sweep)
    if before:
        text = ", ".join(f"{count} {what}" for what, count in counts.items())
        console.print(f"{run}: {before} trial{'s' * (before > 1)} so far; reconciled: {text}")
    return study


def train_trials(study: SweepStudy, workers: Workers, budget: Budget, foreseen: Forecast | None, console: Console) -> int | None:
    """Trains what is left, with the forecast before and its error after it. Returns the signal that ended it, or None."""
    place = workers.place
    record = ForecastFile(study.run, budget.started, foreseen)
    needs = ", ".join(f"{amount:g} {kind}" for kind, amount in place.resources.items())
    trials = f"{study.num_trials} trial{'s' * (study.num_trials > 1)}"
    console.print(f"{study.run}: {trials}, {place.slots} at a time with {needs} each, on {place.where}")
    for line in [describe_sampler(study.sweep), *record.lines(study.trials(), study.num_trials, study.sweep.study, place.slots)]:
        if line is not None:
            console.print(line, soft_wrap=True)
    received = train_study(study, workers, budget, console, record.tick)
    for line in record.close(study.trials()):
        console.print(line, soft_wrap=True)
    return received


def close(study: SweepStudy, write_page: Callable[[], list[Path]], finish_wandb: Callable[[list[Path]], None]) -> None:
    """The run's page, and the end of the study's own run at W&B with its figures."""
    finish_wandb(write_page() if study.trials() else [])


def exit_code(study: SweepStudy, received: int | None) -> int:
    """1 where every trial failed."""
    if received is not None:
        return EXIT_CODE[signal.Signals(received)]
    words = [word_of(trial) for trial in study.trials()]
    return int(bool(words) and all(word in ("FAIL", "DIVERGED") for word in words))
