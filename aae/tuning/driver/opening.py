"""A run folder before its sweep: checked, locked, and recognised as a fresh study or as one to go on with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from aae import manifest
from aae.data import data_warnings, load_configured
from aae.errors import REFUSED, ConfigError
from aae.paths import with_later_paths
from aae.runs import CHOICE, JOURNAL, read_manifest, write_atomically, write_json
from aae.tuning.cluster.home import caches_placed
from aae.tuning.cluster.sessions import cluster_address, remove_dead_session
from aae.tuning.spec.sweep import Sweep, refuse_unfit_sweep
from aae.tuning.study.lock import DriverLock
from aae.tuning.study.parents import refuse_other_past
from aae.tuning.workers.rehearsal import refuse_untrainable_part


def check_start(sweep: Sweep, console: Console) -> dict[str, str]:
    """What only the data, the folder and the cluster can tell of a sweep. Returns the data's hashes; writes nothing.
    Raises ConfigError or DataError, and warns of what the data would spoil."""
    cluster_address()
    refuse_other_content(sweep.study.path)
    refuse_untrainable_part(sweep)
    dataset = load_configured(sweep.fixed.data)
    refuse_unfit_sweep(sweep, dataset)
    refuse_other_past(sweep, dataset.hashes)
    for warning in data_warnings(sweep.fixed, dataset):
        console.print(f"warning: {warning}", soft_wrap=True)
    return dataset.hashes


def refuse_other_content(run: Path) -> None:
    if read_manifest(run) is None and run.exists() and (not run.is_dir() or any(not path.name.startswith(".") for path in run.iterdir())):
        raise ConfigError(f"{run}: not empty and no sweep; name another with study.name=other")


@contextlib.contextmanager
def locked(run: Path, console: Console) -> Iterator[DriverLock]:
    """The run folder, held by this driver alone. One that was made for a sweep that was then refused is removed again.
    Raises ConfigError."""
    lock = DriverLock(run, console.print)
    try:
        refuse_other_content(run)  # again: it may have waited for another driver
        if remove_dead_session(lock.predecessor):
            console.print("removed the session folder of a driver that was killed")
        with caches_placed(run):
            yield lock
    finally:
        lock.release(remove=not (run / "manifest.json").exists())


class Opened(NamedTuple):
    """What a start finds in its folder."""

    sweep: Sweep  # with the precision that its study was begun with
    made: dict[str, Any]  # its manifest
    fresh: bool


def recognise(sweep: Sweep, data_hashes: dict[str, str], accept: bool, console: Console) -> Opened:
    """Of a locked folder; writes nothing. Raises ConfigError where the sweep, the code, the versions or the data have changed."""
    run, now = sweep.study.path, manifest.describe(manifest.own_command(), data_hashes)
    recorded = read_manifest(run)
    if recorded is None:
        made: dict[str, Any] = {"id": new_id(run), "precision": sweep.fixed.train.precision, "sweep": sweep.fingerprint()}
        made |= {} if sweep.fork is None else {"fork": sweep.fork.to_json()}
        if sweep.learnt:
            made["learnt"] = [learnt.to_json() for learnt in sweep.learnt]
        return Opened(sweep, made | now, True)
    sweep = sweep.with_precision(recorded["precision"])
    refuse_changes(recorded["sweep"], sweep, run)
    made = manifest.go_on(recorded, now, run, accept)
    for line in manifest.note_of_other_changes(made, now):
        console.print(line, soft_wrap=True)
    return Opened(sweep, made, False)


def new_id(run: Path) -> str:
    """Of a study, and of its runs at W&B: no other start has it."""
    return hashlib.sha256(repr((time.time(), os.getpid(), str(run))).encode()).hexdigest()[:12]


def refuse_changes(recorded: dict[str, Any], sweep: Sweep, run: Path) -> None:
    """Going on with another sweep would mix two studies. Raises ConfigError with the difference."""
    now = json.loads(json.dumps(sweep.fingerprint()))
    name = recorded["study"]["name"]
    if name != now["study"]["name"]:
        raise ConfigError(
            f"{run}: it holds the study {name}, so it was renamed; call the folder {name} again, or name another with study.name"
        )
    was = recorded | {"trial": with_later_paths(recorded["trial"])}
    differs = [
        f"{part}.{key} was {was[part].get(key)}, is {now[part].get(key)}"
        for part in now
        for key in sorted(was[part].keys() | now[part].keys())
        if was[part].get(key) != now[part].get(key) and key != "train.checkpoint_every"  # changes no number
    ]
    if differs:
        more = f" and {len(differs) - 3} more" if len(differs) > 3 else ""
        raise ConfigError(f"{run}: the sweep has changed: {'; '.join(differs[:3])}{more}. study.name=other starts a fresh study")


def write_down(run: Path, sweep: Sweep, made: dict[str, Any]) -> None:
    """What makes the folder a sweep's, where it is not there yet. Raises ConfigError."""
    try:
        if read_manifest(run) != json.loads(json.dumps(made)):  # first: a sweep's folder is recognised by it, and a kill may come between
            write_json(run / "manifest.json", made)
        if not (run / "sweep.yaml").exists():
            write_sweep(run, sweep)
    except OSError as error:
        raise ConfigError(f"{run}: cannot be written ({error.strerror}); make room, or give another folder") from None


@contextlib.contextmanager
def taken_back(run: Path, fresh: bool) -> Iterator[None]:
    """Where a fresh study is refused before its first trial, none of it is left."""
    try:
        yield
    except REFUSED:
        if fresh and not (run / "trials").exists():
            for name in (JOURNAL, CHOICE, "sweep.yaml", "manifest.json"):
                (run / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: a sweep's holds its lock, which goes last
                run.rmdir()
        raise


def write_sweep(run: Path, sweep: Sweep) -> None:
    """The sweep as it is started now: some of its `study:` block may change from start to start, as study.num_trials."""
    path, text = run / "sweep.yaml", sweep.to_yaml()
    if not path.exists() or path.read_bytes() != text.encode(errors="backslashreplace"):
        write_atomically(path, text)
