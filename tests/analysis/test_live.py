"""The page of a running sweep: rewritten when something is told, by a process that takes little, and never left at "running"."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from aae.config import ConfigError
from aae.tuning.study.parents import load_sweep
from analysis import live
from analysis.report import best_yaml
from analysis.trials import read_run
from tests.played import open_run
from tests.sweep_files import TINY_SWEEP
from tests.sweeping import PROJECT, train_here, wait_for


def begun(folder: Path):
    study = open_run(folder, 3)
    (study.run / "sweep.yaml").write_text((folder / "s.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return study


def say(study, number: int, epoch: int, error: float) -> None:
    row = {"epoch": epoch, "val/error": error, "time/epoch_s": 2.0, "time/evaluation_s": 0.5}
    study.report(number, row)


def page_of(run: Path) -> str:
    written = run / "report" / "index.html"
    return written.read_text(encoding="utf-8") if written.exists() else ""


def test_a_writing_that_costs_much_is_followed_by_a_rest_that_keeps_it_within_its_share():
    assert live.rest_s(0.1) == live.PERIOD_S <= 30
    assert live.rest_s(1.5) == 30.0  # the dearest that is still rewritten twice a minute
    assert 4.0 / (4.0 + live.rest_s(4.0)) < live.SHARE


@pytest.mark.slow  # the pause between two writings
def test_the_page_follows_what_is_told_at_nice_19_until_it_is_stopped(tmp_path):
    """Seen to fail where `told` always gives the same."""
    study = begun(tmp_path)
    with live.rewritten_page(study.run) as stop:
        time.sleep(1.5)
        (pid,) = [int(line) for line in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split() if is_live(int(line))]
        wait_for(lambda: os.getpriority(os.PRIO_PROCESS, pid) == live.NICE, 20, "nice 19")
        time.sleep(3)
        assert page_of(study.run) == ""  # nothing was told yet
        handout = study.next()
        say(study, handout.number, 1, 0.4)
        wait_for(lambda: "Running: 0 of 3 trials told, 1 at work." in page_of(study.run), 120, "the first page")
        study.tell(handout.number, TrialState.COMPLETE)
        wait_for(lambda: "Running: 1 of 3 trials told, 0 at work." in page_of(study.run), 120, "the second page")
        stop()
        assert not is_live(pid)
    assert [path.name for path in (study.run / "report").iterdir()] == ["index.html"]


def test_the_page_of_a_running_sweep_names_a_best_yaml_of_the_trial_that_it_says_is_best(workplace):
    """One of an earlier page lay there: seen to name another trial. And where none is complete yet, none stays."""
    Path("s.yaml").write_text(TINY_SWEEP)
    train_here(load_sweep("s.yaml", {"study.draws_per_trial": 1, "study.num_trials": 2}))
    run, best = Path("runs/s"), Path("runs/s/report/best.yaml")
    best.parent.mkdir(exist_ok=True)
    best.write_text("of an earlier trial")
    live.write_running_page(run)
    assert f"train-s-{read_run(run).best.number:04d}" in page_of(run) and best.read_text() == best_yaml(read_run(run))
    (run / "study.journal").write_text("")
    live.write_running_page(run)
    assert not best.exists()


@pytest.mark.parametrize("ends", [RuntimeError("the cluster is lost"), KeyboardInterrupt(), SystemExit(15)])
def test_a_driver_that_breaks_leaves_no_page_that_says_it_runs(ends, tmp_path):
    """A second Ctrl-C too. Seen to fail with `except Exception`."""
    study = begun(tmp_path)
    with pytest.raises(type(ends)), live.rewritten_page(study.run):
        live.write_running_page(study.run)
        assert "Running: " in page_of(study.run)
        raise ends
    assert "Running: " not in page_of(study.run)


def test_a_start_that_is_refused_leaves_the_page_of_before(tmp_path):
    """It has the figures, which a page that is written while a sweep runs has not."""
    study = begun(tmp_path)
    (study.run / "report").mkdir()
    (study.run / "report" / "index.html").write_text("with figures", encoding="utf-8")
    with pytest.raises(ConfigError), live.rewritten_page(study.run):
        raise ConfigError("the sweep has changed")
    assert page_of(study.run) == "with figures"


def is_live(pid: int) -> bool:
    try:
        return b"analysis.live" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


KILLED = """
import os, sys, time
from pathlib import Path
from analysis.live import rewritten_page
run = Path(sys.argv[1])
with rewritten_page(run):
    until = time.monotonic() + 120
    print("ready", flush=True)
    while not (run / "report" / "index.html").exists() and time.monotonic() < until:
        time.sleep(0.1)
    os._exit(9)
"""


def test_a_driver_that_was_killed_leaves_a_page_that_says_so(tmp_path):
    """Seen to fail where `follow` ends without its last writing."""
    study = begun(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    driver = subprocess.Popen([sys.executable, "-c", KILLED, str(study.run)], env=environment, stdout=subprocess.PIPE)
    assert driver.stdout is not None and driver.stdout.readline() == b"ready\n"
    time.sleep(2)
    handout = study.next()
    until = time.monotonic() + 120
    epoch = 1
    while driver.poll() is None and time.monotonic() < until:  # told until the page is there
        say(study, handout.number, epoch, 0.4)
        epoch += 1
        time.sleep(1)
    assert driver.wait(10) == 9
    wait_for(lambda: "Interrupted: 0 of 3 trials told." in page_of(study.run), 60, "the last page")
    assert "This page reloads itself" not in page_of(study.run)


@pytest.mark.parametrize("broken", ["no manifest", "no room"])
def test_a_page_that_cannot_be_written_ends_nothing(broken, tmp_path, monkeypatch):
    study = begun(tmp_path)
    calls = iter([os.getppid()] * 4)
    monkeypatch.setattr(live.os, "getppid", lambda: next(calls, 0))
    monkeypatch.setattr(live, "POLL_S", 0.0)
    if broken == "no manifest":
        (study.run / "manifest.json").unlink()
    else:
        (study.run / "report").write_text("a file")
    marks = iter([None, (1, 1), (2, 2), (3, 3), (4, 4)])
    monkeypatch.setattr(live, "told", lambda run: next(marks))
    live.follow(study.run, os.getppid())


def test_a_page_that_no_process_can_be_had_for_does_not_end_the_sweep(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(live.subprocess, "Popen", refuse)
    with live.rewritten_page(tmp_path) as stop:
        stop()
