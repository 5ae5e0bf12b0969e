"""What this user may not write or read: one line, code 2, and nothing changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import launch
from aae.runs import read_json, write_json
from aae.tuning.confirm import run as confirmation
from aae.tuning.driver import run as driver
from aae.tuning.study.parents import load_sweep
from tests.folders import listing
from tests.sweep_files import TINY_SWEEP
from tests.sweeping import PROJECT, train_here

needs_rights_to_lose = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may do all; needs setpriv to give that up"
)
CONFIRM = "study.confirm={select_k: 1, select_draws: 1, report_draws: 2}"


@pytest.fixture
def run(workplace) -> Path:
    """Two trials, the first a baseline."""
    Path("s.yaml").write_text(TINY_SWEEP)
    train_here(load_sweep("s.yaml", {"study.draws_per_trial": 1, "study.num_trials": 2}))
    return Path("runs/s")


def launch_as_anybody(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """launch.py, with root's right to open everything given up."""
    give_up = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*give_up, sys.executable, str(PROJECT / "launch.py"), *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "where", "name"), [(["s.yaml"], driver, "check_start"), (["confirm", "runs/s", CONFIRM], confirmation, "load_configured")]
)
def test_what_a_sweep_or_a_confirmation_may_not_open_is_refused_as_any_other_command_does(arguments, where, name, run, monkeypatch, capsys):
    """Seen to fail with the bare error, and code 1."""

    def denied(*_):
        raise PermissionError(13, "Permission denied", "runs/s/private")

    monkeypatch.setattr(where, name, denied)
    assert launch.main(arguments) == 2
    said = capsys.readouterr().err
    assert said == "launch.py: runs/s/private: you may not open this (Permission denied); ask its owner for the right, or name another\n"


@needs_rights_to_lose
@pytest.mark.parametrize("arguments", [["s.yaml", "study.num_trials=3", "study.draws_per_trial=1"], ["confirm", "runs/s", CONFIRM]])
def test_a_run_folder_that_may_not_be_written_is_refused(arguments, run, workplace):
    """First one whose lock is another user's, then one that takes no new file. Seen to fail with a confirmation, which said the bare
    error, and without the look at the folder itself: a start then failed in the middle."""
    before = listing(workplace)
    for path, mode in ((run / ".lock", 0o444), (run, 0o555)):
        path.chmod(mode)
        done = launch_as_anybody(arguments)
        path.chmod(0o755)
        want = "confirm a copy of it" if arguments[0] == "confirm" else "give another folder with study.folder=FOLDER"
        assert (done.returncode, done.stderr) == (2, f"launch.py: runs/s: cannot be written (Permission denied); {want}\n")
        assert listing(workplace) == before


@needs_rights_to_lose
def test_a_journal_that_may_not_be_read_is_no_broken_one(run):
    """Seen to fail: it was to be restored."""
    (run / "study.journal").chmod(0)
    done = launch_as_anybody(["s.yaml", "study.num_trials=3", "study.draws_per_trial=1"])
    said = "launch.py: runs/s/study.journal: you may not open this (Permission denied); ask its owner for the right, or name another\n"
    assert (done.returncode, done.stderr) == (2, said)


@needs_rights_to_lose
def test_a_run_that_was_started_in_a_folder_that_is_private_by_now_is_read_from_its_copy(run, workplace):
    """The data lie where the copy's reader stands. Seen to end in a traceback: `Path.exists` raises where it may not look."""
    (workplace / "private").mkdir()
    made = read_json(run / "manifest.json")
    write_json(run / "manifest.json", made | {"folder": str(workplace / "private")})
    (workplace / "private").chmod(0)
    done = launch_as_anybody(["reproduce", "runs/s", "--trial", "0"])
    (workplace / "private").chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
