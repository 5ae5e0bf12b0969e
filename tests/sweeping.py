"""Real sweeps for tests: `launch.py` as a process of its own, ended by its id, and what must hold of the folder it leaves."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from aae.data import load_configured
from aae.runs import trial_folder
from aae.train import train
from aae.tuning.confirm import run as confirm
from aae.tuning.driver.opening import check_start, locked, recognise, write_down
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.journal import read_trials
from aae.tuning.study.study import SweepStudy
from tests.golden import tiny_arrays
from tests.sweep_files import SYSTEM_SWEEP

PROJECT = Path(__file__).resolve().parent.parent
MARK = "AAE_TEST_SWEEP"  # in the environment of every process that a sweep starts, Ray's included


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "launch.py"), *map(str, arguments)]


def launch(*arguments: str, timeout: float = 300, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs launch.py to its end."""
    env = os.environ | {"PYTHONPATH": str(PROJECT)} | environment
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd)


@contextlib.contextmanager
def launched(mark: str, *arguments: str, stdout: int | IO[str] = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """launch.py in the background; what is left of it and of its Ray at the end is killed. A pipe that nobody reads fills up: a long
    sweep wants a file."""
    env = os.environ | {"PYTHONPATH": str(PROJECT), MARK: mark}
    process = subprocess.Popen(command(*arguments), stdout=stdout, stderr=subprocess.STDOUT, text=True, env=env, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        print(process.communicate()[0])  # pytest shows it where the test fails


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all test processes share: the first that asks fills it, the others wait. pytest-xdist can no longer keep the
    tests of one group in one process (its issue 1386)."""
    root = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    folder, done = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def finished_sweep(factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of 8 trials, finished by launch.py and a Ray of its own, in s/, and what it said in output.txt. Its workers
    found tiny.npz under a relative path. Only to be read: tests that change it take a copy."""

    def make(folder: Path) -> None:
        np.savez(folder / "tiny.npz", **tiny_arrays())
        (folder / "s.yaml").write_text(SYSTEM_SWEEP.replace("sample_every: 0", "sample_every: 2"))
        done = launch("s.yaml", f"study.folder={folder}", "study.num_trials=8", cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "output.txt").write_text(done.stdout)

    return made_once(factory, "finished", make)


def marked(mark: str) -> list[int]:
    """The processes that carry a mark, zombies left out."""
    needle, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if needle in (folder / "environ").read_bytes() and "\nState:\tZ" not in (folder / "status").read_text():
                found.append(int(folder.name))
    return found


def workers(mark: str) -> list[int]:
    """Ray's worker processes that are at work; one that is killed while its actor is being made Ray makes anew, without a word."""
    found = []
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::ResourceTrainable.train"):
                found.append(pid)
    return found


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def wait_until_gone(mark: str, seconds: float = 120) -> None:
    """After a kill -9 Ray's agents take some 40 s to see that nobody needs them."""
    try:
        wait_for(lambda: not marked(mark), seconds, "processes of an ended sweep are gone")
    finally:
        end_marked(mark)


def end_marked(mark: str) -> None:
    """Kills every process of a sweep, where a test is over and nothing is asked of how it ends."""
    while pids := marked(mark):  # again: one may have been started meanwhile
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def train_here(sweep: Sweep, until: int | None = None) -> SweepStudy:
    """Runs a sweep's real trainings one after another in this process, without Ray; `until`: so many trials in all."""
    with begun(sweep) as study:
        study.reconcile()
        train_out(study, until)
    return study


@contextlib.contextmanager
def begun(sweep: Sweep, accept: bool = False) -> Iterator[SweepStudy]:
    """The study of a sweep, locked and written down, as `run_sweep` has it before it reconciles."""
    quiet = Console(quiet=True)
    hashes = check_start(sweep, quiet)
    with locked(sweep.study.path, quiet):
        sweep, made, _ = recognise(sweep, hashes, accept, quiet)
        write_down(sweep.study.path, sweep, made)
        study = SweepStudy(sweep.study.path, sweep)
        study.code_number = len(made.get("accepted", []))
        yield study


class Pruned(Exception):
    pass


def train_out(study: SweepStudy, until: int | None = None) -> None:
    def report(number: int, row: dict) -> None:
        if study.report(number, row):
            raise Pruned

    while (until is None or count_told(study.run) < until) and (handout := study.next()) is not None:
        dataset = load_configured(handout.config.data)
        with contextlib.suppress(Pruned):
            train(handout.config, functools.partial(report, handout.number), handout.folder, handout.attempt, dataset)
            study.tell(handout.number, TrialState.COMPLETE)


def without_ray(monkeypatch: pytest.MonkeyPatch, execute: Callable[..., int | None]) -> None:
    """A confirmation whose trainings `execute(study, ...)` makes, in this process."""
    monkeypatch.setattr(confirm, "enter_cluster", lambda *_: SimpleNamespace(where="this machine", resources={"cpu": 1}, slots=1))
    monkeypatch.setattr(confirm, "Workers", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(confirm, "train_study", execute)


def trials_of(run: Path) -> list[FrozenTrial]:
    return read_trials(run)


def count_told(run: Path) -> int:
    return len(list(run.glob("trials/*/result.json")))


def count_rows(run: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run.glob("trials/*/attempt-*/metrics.jsonl"))


def assert_one_truth(run: Path, num_trials: int, distinct: bool = True) -> None:
    """Every trial is there once and has ended; study, rows of the highest attempt and result.json say the same, each epoch
    once; and, where the space is too large for chance, no two trials have the same parameters."""
    asked = next(path for path in (run / "sweep.yaml", run.parent / "sweep.yaml") if path.exists())  # a confirmation's is its run's
    trials, metric = trials_of(run), OmegaConf.load(asked).study.metric
    assert [trial.number for trial in trials] == list(range(num_trials))
    assert all(trial.state.is_finished() for trial in trials)
    sampled = [json.dumps(trial.params, sort_keys=True) for trial in trials if trial.params]
    assert len(set(sampled)) == len(sampled) or not distinct, "two trials with the same parameters"
    for trial in trials:
        folder = trial_folder(run, trial.number)
        rows = folder.rows()
        assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
        assert trial.intermediate_values == {row["epoch"]: row[metric] for row in rows}
        result = json.loads(folder.result_path.read_text())
        assert (result["number"], result["state"], result["epochs"]) == (trial.number, trial.state.name, len(rows))
        assert not any(row.get("retold") for row in rows), "an epoch trained again came out otherwise"


def row(epoch: int, value: float) -> dict:
    return {"epoch": epoch, "val/error": value}


class Quiet:
    """An observer that writes down what was said of lost workers."""

    def __init__(self) -> None:
        self.lost_causes: list[str] = []

    def started(self, handout) -> None: ...
    def epoch(self, number, row) -> None: ...
    def ended(self, number) -> None: ...
    def lost(self, number, cause) -> None:
        self.lost_causes.append(cause)
