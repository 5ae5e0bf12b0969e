"""launch.py before a command's own work: help at once, a misspelt command, streams that are closed."""

import errno
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import launch
from aae import train
from aae.streams import open_closed_streams
from analysis import generate, latents, report
from analysis import test as testing
from tests.folders import copy
from tests.played import Fate, play
from tests.sweep_files import sweep_text
from tests.sweeping import PROJECT

KNOWN = "the commands are status, confirm, reproduce, replay, dashboard, schema, cluster, the project's sweeps sweeps/*.yaml"
HEAVY = {"torch", "ray", "optuna", "wandb", "omegaconf"}  # seconds, each


@pytest.mark.parametrize("name", ["", *launch.COMMANDS])
def test_help_waits_for_no_heavy_library(name, tmp_path):
    """Seen to fail with each command's imports at its module's top."""
    command = [sys.executable, "-X", "importtime", str(PROJECT / "launch.py"), *name.split(), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and f"usage: python launch.py {name}".strip() in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert {"aae", "rich", "argparse"} <= imported and not imported & HEAVY


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("plan", "plan: neither a command nor a sweep file; did you mean SWEEP --plan?"),
        ("stauts", "stauts: neither a command nor a sweep file; did you mean status?"),
        ("confrim", "confrim: neither a command nor a sweep file; did you mean confirm?"),
        ("reproduc", "reproduc: neither a command nor a sweep file; did you mean reproduce?"),
        ("clusters", "clusters: neither a command nor a sweep file; did you mean cluster?"),
        ("xyzzy", f"xyzzy: neither a command nor a sweep file; {KNOWN}"),
        ("sweeps/semi", f"sweeps/semi: neither a command nor a sweep file; {KNOWN}"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_nearest_one_and_what_is_near_to_none_with_all(word, says, workplace, capsys):
    assert launch.main([word, "runs/quick"]) == 2
    assert capsys.readouterr().err == f"launch.py: {says}\n"


@pytest.mark.parametrize(
    ("name", "then"), [("sweep", "goes on"), ("confirm", "goes on"), ("replay", "starts over"), ("reproduce", "starts over")]
)
def test_an_interrupted_command_promises_what_it_will_do(name, then, monkeypatch, capsys):
    """Seen to fail: it said of each that it goes on."""

    def interrupted(arguments, console):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(f"aae.tuning.commands.{name}"), "run", interrupted)
    assert launch.main(["s.yaml"] if name == "sweep" else [name, "runs/s"]) == 130
    assert capsys.readouterr().err == f"interrupted; the same command {then}\n"


def test_a_sweep_file_whose_name_is_near_to_a_command_is_read(workplace, capsys):
    Path("statu").write_text("hello there")
    assert launch.main(["statu"]) == 2
    assert "statu: holds no sweep" in capsys.readouterr().err


PROGRAMS = {
    "launch": (launch.main, ["none.yaml"]),
    **{f"launch {name}": (launch.main, [name, "none"]) for name in ("status", "confirm", "reproduce", "dashboard")},
    "launch cluster": (launch.main, ["cluster", "check", "none.yaml"]),
    "train": (train.main, ["none.yaml"]),
    "report": (report.main, ["none"]),
    "latents": (latents.main, ["none"]),
    "generate": (generate.main, ["none"]),
    "test": (testing.main, ["none"]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_without_standard_streams_says_nothing_and_ends_as_it_would_with_them(name, workplace, monkeypatch):
    """As Python starts it under `>&-`. Seen to fail with `steady_streams` left out of launch.main and of aae.train's."""
    main, arguments = PROGRAMS[name]
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    assert main(arguments) == 2
    assert sys.stdout.writable() and sys.stderr.writable()


def test_a_stream_that_is_closed_is_not_the_next_file_and_neither_is_it_for_a_child(tmp_path):
    """Seen to fail without the `set_inheritable`, and without any of it: the child's line is then in the file that was opened first."""
    script = "import subprocess, sys\nfrom aae.streams import open_closed_streams\nopen_closed_streams()\nfile = open('first', 'w')\n"
    script += (
        "print('own')\nsubprocess.run([sys.executable, '-c', 'import os; os.write(1, b\"child\"); os.write(2, b\"child\")'], check=True)\n"
    )
    script += "file.write(str(file.fileno()))\n"
    shell = 'exec "$@" <&- >&- 2>&-'
    command = ["sh", "-c", shell, "sh", sys.executable, "-c", script]
    assert subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT)}, timeout=60).returncode == 0
    assert int((tmp_path / "first").read_text()) > 2


def test_streams_that_are_open_stay_as_they_are():
    before = sys.stdin, sys.stdout, sys.stderr
    open_closed_streams()
    assert before == (sys.stdin, sys.stdout, sys.stderr)


@pytest.mark.parametrize("reader", ["a pipe", "a terminal"])
def test_what_is_printed_to_a_reader_that_is_gone_ends_nothing(reader, tmp_path):
    """As by `| tee` that died of the same Ctrl-C, or a closed terminal. Seen to fail without `outlive_readers`."""
    script = "import os, sys, time\nfrom rich.console import Console\nfrom aae.streams import steady_streams\nsteady_streams()\n"
    script += "is_terminal = sys.stdout.isatty()\nprint('first', flush=True)\nos.read(0, 1)\n"
    script += "for _ in range(9): print('later', flush=True); Console().print('later'); Console(stderr=True).print('later')\n"
    script += f"open({str(tmp_path / 'ended')!r}, 'w').write(str(is_terminal))\n"
    out, into = os.pipe() if reader == "a pipe" else os.openpty()
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=into, stderr=into, env=environment, start_new_session=True)
    os.close(into)
    assert os.read(out, 99).startswith(b"first")
    os.close(out)
    process.communicate(b"x", timeout=60)
    assert process.returncode == 0 and (tmp_path / "ended").read_text() == str(reader == "a terminal")


def test_what_a_command_was_asked_for_and_cannot_be_written_is_an_error_and_a_reader_that_is_gone_is_none(workplace):
    """Seen to end with 0, and without a word."""
    play(workplace, [Fate([0.5, 0.3, 0.1])])
    Path("sweep.yaml").write_text(sweep_text())
    asked = [["schema"], ["status", "run"], ["status", "run", "--json"], ["sweep.yaml", "--plan"], ["sweep.yaml", "--plan", "--json"]]
    script = f"import launch, sys\nfor words in {asked}:\n    print(launch.main(words), file=sys.stderr)\n"
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": str(PROJECT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=120)
    line = "launch.py: standard output cannot be written (No space left on device); make room, or send it elsewhere\n1\n"
    assert (done.returncode, done.stderr) == (0, line * len(asked))
    out, into = os.pipe()
    os.close(out)
    done = subprocess.run(command, stdout=into, stderr=subprocess.PIPE, env=environment, text=True, timeout=120)
    os.close(into)
    assert (done.returncode, done.stderr) == (0, "0\n" * len(asked))


def test_the_tables_of_the_analysis_that_cannot_be_written_are_an_error_too(workplace):
    """Seen to end with 0, and without a word."""
    play(workplace, [Fate([0.5, 0.3, 0.1])])
    copy(workplace / "run", workplace / "other")
    script = "import sys\nfrom analysis import compare, report\n"
    script += "for program, words in ((report, ['run']), (compare, ['run', 'other'])):\n    print(program.main(words), file=sys.stderr)\n"
    command, environment = [sys.executable, "-c", script], os.environ | {"PYTHONPATH": str(PROJECT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, timeout=120)
    said = "standard output cannot be written (No space left on device); make room, or send it elsewhere\n1\n"
    assert (done.returncode, done.stderr) == (0, f"analysis.report: {said}analysis.compare: {said}")


INTERRUPTED = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("words", "at"),
    [
        (["-m", "aae.train", "none"], "torch"),
        (["-m", "analysis.report", "none"], "optuna"),
        (["-m", "analysis.report", "none"], "numpy.exceptions"),
        (["-m", "analysis.latents", "none"], "torch"),
        (["launch.py", "status", "none"], "aae.streams"),
    ],
)
def test_ctrl_c_while_a_program_imports_is_a_line(words, at, tmp_path):
    """Seen to print a traceback, and code 1 where torch imports numpy. It ends by the signal itself, which is 130 in a shell."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTED)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}", "INTERRUPTED_AT": at}
    done = subprocess.run([sys.executable, *words], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "interrupted; run the same command again\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_outside_the_trials_unwinds_what_was_begun_and_nohup_stays(number):
    """Seen to leave the folder's lock and Ray's processes."""
    script = "import os, signal, sys\nfrom aae.interrupts import end_by_exception\nend_by_exception()\n"
    script += f"try:\n    os.kill(os.getpid(), {int(number)})\n    print('outlived')\nfinally:\n    print('unwound')\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (128 + number, "unwound\n")
    ignoring = f"import signal\nsignal.signal({int(number)}, signal.SIG_IGN)\n"
    done = subprocess.run([sys.executable, "-c", ignoring + script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "outlived\nunwound\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_something_is_cleaned_up_waits_for_its_end(number):
    """Seen to leave Ray's session folder, where it came while Ray ended."""
    script = "import os, signal\nfrom aae.interrupts import end_by_exception, put_off\nend_by_exception()\n"
    script += f"with put_off():\n    os.kill(os.getpid(), {int(number)})\n    os.kill(os.getpid(), {int(number)})\n    print('cleaned')\n"
    script += "print('outlived')\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (128 + number if number == signal.SIGTERM else -number, "cleaned\n")


def test_a_signal_while_python_ends_ends_it_without_a_traceback():
    """Seen to print one, with code 0: Ray's own end is an atexit callback, of seconds."""
    script = "import atexit, os, signal\nfrom aae.interrupts import end_by_exception, end_by_signal\nend_by_exception()\n"
    script += "atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\nend_by_signal()\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


def test_a_disk_that_fills_while_a_sweep_runs_is_named_with_what_to_do(workplace, monkeypatch, capsys):
    """Seen to fail: the bare number of the error."""

    def fills(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/s/study.journal")

    Path("s.yaml").write_text(sweep_text())
    monkeypatch.setattr("aae.tuning.driver.run.run_sweep", fills)
    assert launch.main(["s.yaml"]) == 1
    assert capsys.readouterr().err == "launch.py: runs/s/study.journal: the disk is full; make room, and the same command goes on\n"
