"""A checked sweep -> Ray Tune: run folder, resources, signals, and the work itself. Going on is running it again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from aae import manifest
from aae.config import ConfigError, TrialConfig, flatten
from aae.data import load_dataset
from aae.layers import set_paths
from aae.runs import PARENT, read_manifest, write_atomically, write_json
from aae.tuning import tracking
from aae.tuning.budget import Budget
from aae.tuning.cluster import enter
from aae.tuning.config import Sweep, digest, refuse_unfit_sweep
from aae.tuning.console import SweepConsole, state_of
from aae.tuning.forecast import Forecast, Record, foresee
from aae.tuning.fork import refuse_other_past
from aae.tuning.lock import DriverLock, remove_dead_session
from aae.tuning.place import cluster_address
from aae.tuning.rehearsal import cases_of, precision_there, rehearse
from aae.tuning.study import SweepStudy
from aae.tuning.workers import Workers

EXIT_CODE = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGUSR1: 0}


def prepare(sweep: Sweep, accept: bool, console: Console) -> tuple[Sweep, DriverLock, dict[str, Any]]:
    """Checks the data, makes or recognises the run folder and locks it. Returns (the sweep, with the precision that a study
    was begun with, the lock, the manifest, not written yet). Raises ConfigError or DataError; nothing is written then."""
    run = sweep.study.path
    recorded = read_manifest(run)
    if recorded is None and run.exists() and (not run.is_dir() or any(not path.name.startswith(".") for path in run.iterdir())):
        raise ConfigError(f"{run}: not empty and no sweep; name another with study.name=other")
    config = sweep.fixed
    data = load_dataset(config.data.name, config.data.folder, config.data.num_validation)
    refuse_unfit_sweep(sweep, data)
    refuse_other_past(sweep, data.hashes)
    now = manifest.describe(manifest.own_command(), data.hashes)
    if recorded is not None:
        sweep = with_precision(sweep, recorded["precision"])
        refuse_changes(recorded["sweep"], sweep, run)
        recorded = manifest.go_on(recorded, now, run, accept)
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = DriverLock(run, console.print)
    except OSError as error:
        raise ConfigError(f"{run}: cannot be written ({error.strerror}); give another folder with study.folder=FOLDER") from None
    made = (
        recorded
        or {
            "id": digest((time.time(), os.getpid(), str(run))),
            "precision": config.train.precision,
            "sweep": sweep.fingerprint(),
        }
        | ({} if sweep.fork is None else {"fork": sweep.fork.to_json()})
        | now
    )
    return sweep, lock, made


def with_precision(sweep: Sweep, precision: str) -> Sweep:
    """The sweep with nothing left to the machine: what `train.precision: auto` is in this study."""
    if sweep.fixed.train.precision != "auto":
        return sweep
    given = {"train.precision": precision}
    overrides = sweep.overrides | (given if given.keys() <= sweep.overrides.keys() else {})
    return replace(sweep, trial=set_paths(sweep.trial, given, ""), overrides=overrides)


def write_down(run: Path, sweep: Sweep, made: dict[str, Any]) -> None:
    """What makes the folder a sweep's, where it is not there yet. Raises ConfigError."""
    try:
        if read_manifest(run) != json.loads(json.dumps(made)):  # first: a sweep's folder is recognised by it, and a kill may come between
            write_json(run / "manifest.json", made)
        if not (run / "sweep.yaml").exists():
            write_atomically(run / "sweep.yaml", OmegaConf.to_yaml(to_yaml(sweep)))
    except OSError as error:
        raise ConfigError(f"{run}: cannot be written ({error.strerror}); make room, or give another folder") from None


def leave_nothing(run: Path) -> None:
    """Removes what was made for a sweep that was refused before its folder held anything."""
    if not (run / "manifest.json").exists():
        (run / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it held something before
            run.rmdir()


def to_yaml(sweep: Sweep) -> Any:
    """The sweep as a file that runs again: study, fixed part with the command line in it, baselines, space."""
    study = {key: value for key, value in vars(sweep.study).items() if value is not None}
    space = {path: entry for path, entry in sweep.space.to_yaml().items() if path != PARENT}
    if sweep.fork is None:
        trial = OmegaConf.to_container(OmegaConf.structured(sweep.fixed))
    else:  # the rest is the parent's
        trial = OmegaConf.to_container(set_paths(sweep.trial, sweep.overrides, ""))
    return OmegaConf.create(
        {"study": study, "baselines": sweep.baselines, "trial": trial, "search_space": space}, flags={"allow_objects": True}
    )


def refuse_changes(recorded: dict[str, Any], sweep: Sweep, run: Path) -> None:
    """Going on with another sweep would mix two studies. Raises ConfigError with the difference."""
    now = json.loads(json.dumps(sweep.fingerprint()))
    was = recorded | {"trial": flatten(TrialConfig()) | recorded["trial"]}  # a path that came later had its default
    differs = [
        f"{part}.{key} was {was[part].get(key)}, is {now[part].get(key)}"
        for part in now
        for key in sorted(was[part].keys() | now[part].keys())
        if was[part].get(key) != now[part].get(key) and key != "train.checkpoint_every"  # changes no number
    ]
    if differs:
        more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
        raise ConfigError(f"{run}: the sweep has changed: {'; '.join(differs[:3])}{more}. study.name=other starts a fresh study")


def run_sweep(sweep: Sweep, accept: bool, console: Console) -> tuple[SweepStudy, int, bool, Callable[[list[Path]], None]]:
    """Runs a sweep, or goes on with it. Returns (its study, exit code, whether a signal came, what ends the study's W&B run
    with the report's figures). `accept`: also with other code than it has. Raises ConfigError or DataError; of a fresh sweep nothing is
    left then."""
    budget = Budget(sweep.study, sweep.study.path, lambda: study.trials())
    cluster_address()
    sweep, lock, made = prepare(sweep, accept, console)
    run = sweep.study.path
    with contextlib.ExitStack() as stack:
        stack.callback(leave_nothing, run)
        stack.callback(lock.release)
        if remove_dead_session(lock.predecessor):
            console.print("removed the session folder of a driver that was killed")
        about = tracking.describe(sweep.study.name, made["id"], run, sweep.study.metric, list(sweep.baselines))

        def start() -> Workers:
            place = enter(sweep, lock, stack, console)
            return stack.enter_context(Workers(place, about, sweep.study.metric, run))

        workers: Workers | None = None
        foreseen: Forecast | None = None
        if read_manifest(run) is None:  # a fresh one: what would fail is to be found before anything is written
            console.print(
                f"{run}: starting Ray; before the first trial {len(cases_of(sweep))} configurations take a few steps", highlight=False
            )
            workers = start()
            precision = precision_there(sweep, workers)
            sweep = with_precision(sweep, precision)
            made |= {"precision": precision, "sweep": sweep.fingerprint()}
            costs = rehearse(sweep, workers, console)
            foreseen = foresee(sweep, costs, workers.place.resources, workers.place.slots, time.monotonic() - budget.started)
        write_down(run, sweep, made)
        study = SweepStudy(run, sweep)
        study.code_number = len(made.get("accepted", []))
        before = len(study.trials())
        counts = study.reconcile()
        if before:
            text = ", ".join(f"{count} {what}" for what, count in counts.items())
            console.print(f"{run}: {before} trials so far; reconciled: {text}", highlight=False)

        def follow() -> Callable[[list[Path]], None]:
            return tracking.follow_study(about, study.trials, lambda text: console.print(text, highlight=False, soft_wrap=True))

        if study.all_told:
            return study, exit_code(study, None), False, follow()
        workers = workers or start()
        place = workers.place
        record = Record(run, budget.started, foreseen)
        needs = ", ".join(f"{amount:g} {kind}" for kind, amount in place.resources.items())
        text = f"{run}: {sweep.study.num_trials} trials, {place.slots} at a time with {needs} each, on {place.where}"
        console.print(text, highlight=False)
        for line in record.lines(study.trials(), sweep.study, place.slots):
            console.print(line, highlight=False, soft_wrap=True)
        finish_tracking = follow()  # after Ray's start: its workers would inherit the driver's W&B service
        received = execute(study, workers, budget, console, record.tick)
        for line in record.close(study.trials()):
            console.print(line, highlight=False, soft_wrap=True)
        return study, exit_code(study, received), received is not None, finish_tracking


def execute(study: SweepStudy, workers: Workers, budget: Budget, console: Console, tick: Callable[[], None]) -> int | None:
    """Lets the workers train until all trials are told, a budget is spent or a signal comes. Returns the signal, or None. `tick` is
    called several times a second."""
    received = list[int]()
    watch = SweepConsole(study, workers.place, console)
    spent: str | None = None

    def on_signal(number: int, frame: Any) -> None:
        if received:
            console.print("stopped at once; the running epochs are repeated when the same command runs again")
            os._exit(EXIT_CODE[signal.Signals(received[0])])
        received.append(number)
        workers.stopping.set()
        watch.say("stopping at the next report of each running trial; once more stops at once")

    previous = {number: signal.signal(number, on_signal) for number in EXIT_CODE}
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


def exit_code(study: SweepStudy, received: int | None) -> int:
    if received is not None:
        return EXIT_CODE[signal.Signals(received)]
    trials = study.trials()
    return 1 if trials and all(state_of(trial) in ("FAIL", "DIVERGED") for trial in trials) else 0
