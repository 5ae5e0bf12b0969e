"""A sweep's phases, without Ray: what another driver did meanwhile, and which signals end it."""

import contextlib
import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileBackend
from rich.console import Console

from aae.errors import ConfigError
from aae.runs import read_manifest
from aae.tuning.driver import opening
from aae.tuning.driver import run as driver
from aae.tuning.study.parents import load_sweep
from tests.folders import listing
from tests.sweeping import PROJECT, begun

SWEEP = """
study: {name: s, folder: ., num_trials: 2}
trial:
  data: {name: npz, folder: tiny.npz, num_validation: 105, num_labels: 20}
  model: {hidden_dims: [8]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 2, batch_size: 50, labelled_batch_size: 20, sample_every: 0}
search_space:
  model.z_dim: {kind: int, low: 2, high: 12}
"""


class Enough(Exception):
    """The trials would start now."""


def test_a_driver_that_waited_for_the_lock_goes_on_with_what_the_other_one_began(workplace, monkeypatch):
    """Seen to fail with the manifest read before the lock: the other's is then overwritten, and its trials are of another study."""
    Path("s.yaml").write_text(SWEEP)
    sweep, lock = load_sweep("s.yaml", {}), opening.DriverLock
    others = []

    def wait(*arguments):
        monkeypatch.setattr(opening, "DriverLock", lock)
        with begun(sweep) as study:  # the other driver's, which held it until now
            study.next()
        others.append(read_manifest(Path("s"))["id"])
        return lock(*arguments)

    def start(*_):
        raise Enough

    monkeypatch.setattr(opening, "DriverLock", wait)
    monkeypatch.setattr(driver, "start_workers", start)
    monkeypatch.setattr(driver, "rehearse_fresh", lambda opened, *_: (opened, None))
    with pytest.raises(Enough):
        driver.run_sweep(sweep, False, Console(quiet=True), lambda run: contextlib.nullcontext(list))
    assert [read_manifest(Path("s"))["id"]] == others


def test_a_disk_that_is_full_when_the_journal_begins_is_named_and_nothing_is_left(workplace, monkeypatch):
    """Seen to fail: a journal that cannot be read was to be restored, and the manifest was there."""
    Path("s.yaml").write_text(SWEEP)
    sweep, quiet = load_sweep("s.yaml", {}), Console(quiet=True)

    def full(self, logs):
        with open("s/study.journal", "ab") as file:
            file.write(b'{"half')
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    before = listing(workplace)
    with (
        pytest.raises(ConfigError, match=r"study\.journal: cannot be written \(No space left on device\); make room"),
        opening.locked(Path("s"), quiet),
    ):
        driver.open_and_reconcile(opening.recognise(sweep, {}, False, quiet), quiet)
    assert listing(workplace) == before


def test_where_the_sweep_breaks_its_own_wandb_run_is_ended_too(workplace, monkeypatch):
    """Seen to stay open, and with it W&B's hook at the process's exit, which waits without a bound."""
    Path("s.yaml").write_text(SWEEP)
    ended = []

    def breaks(*_):
        raise RuntimeError("the cluster is lost")

    monkeypatch.setattr(driver, "start_workers", lambda *_: object())
    monkeypatch.setattr(driver, "rehearse_fresh", lambda opened, *_: (opened, None))
    monkeypatch.setattr(driver, "follow_study", lambda *_: ended.append)
    monkeypatch.setattr(driver, "train_trials", breaks)
    with pytest.raises(RuntimeError, match="the cluster is lost"):
        driver.run_sweep(load_sweep("s.yaml", {}), False, Console(quiet=True), lambda run: contextlib.nullcontext(list))
    assert ended == [[]]


WAITS = """
import sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from rich.console import Console
from aae.tuning.driver import training

class Watch:
    def __init__(self, *_): self.say = print
    def __enter__(self): return self
    def __exit__(self, *_): pass

class Workers:
    place, stopping = SimpleNamespace(slots=1), threading.Event()
    def begin(self, study, observer): print("begun", flush=True)
    def work(self):
        time.sleep(0.05)
        return not self.stopping.is_set() and not Path("enough").exists()
    def end_attempts(self): pass
    def raise_failure(self): pass

training.SweepConsole = Watch
received = training.train_study(None, Workers(), SimpleNamespace(spent=lambda: None), Console(), lambda: None)
print("received", received, flush=True)
"""


@pytest.mark.parametrize("ignored", [True, False])
def test_a_sweep_under_nohup_outlives_its_terminal_and_one_without_it_stops(tmp_path, ignored):
    """Seen to fail with every signal of EXIT_CODE handled: then SIGHUP stops both."""
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"}
    restore = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)  # a child has what its parent ignores
    try:
        process = subprocess.Popen([sys.executable, "-c", WAITS], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGHUP, restore)
    try:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGHUP)
        if ignored:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            (tmp_path / "enough").touch()
        output = process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and output.splitlines()[-1] == f"received {None if ignored else int(signal.SIGHUP)}"


def test_a_signal_within_a_print_that_cannot_be_entered_again_stops_the_sweep_all_the_same(tmp_path):
    """A terminal stands still, as after Ctrl-S, and the driver within a line. Seen to end with code 1 and "reentrant call"."""
    script = WAITS.replace("self.say = print", "self.say = self.cannot").replace(
        "    def __enter__",
        "    def cannot(self, text): raise RuntimeError('reentrant call inside <_io.BufferedWriter>')\n    def __enter__",
    )
    script = script.replace("not self.stopping.is_set() and", "").replace("Console()", "SimpleNamespace(print=Watch().cannot)")
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 143
    finally:
        process.kill()
        process.communicate()
