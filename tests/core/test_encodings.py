"""No locale decides what a file holds: every file is read and written in UTF-8, by name, and any character can be printed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden import tiny_arrays

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*ROOT.glob("aae/**/*.py"), *ROOT.glob("analysis/*.py"), ROOT / "launch.py"])
SWEEP = """\
# Größenvergleich \u2013 zweiter Versuch, naïve “Startwerte”
# Cost: 3 s \u2013 ungefähr.
study: {name: mine, num_trials: 2, sampler: {kind: RandomSampler, seed: 0}}
baselines: {größe \u2013 ü: {model.z_dim: 3}}
trial:
  data: {name: npz, folder: tiny.npz, num_labels: 20, num_validation: 105}
  model: {hidden_dims: [16]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 2, batch_size: 50, labelled_batch_size: 20, sample_every: 1}
search_space:
  model.z_dim: {kind: int, low: 2, high: 6}  # größer?
"""
COMMANDS = """
import runpy, sys, warnings
import matplotlib.pyplot, ray, torch, wandb  # what they do is their own
from pathlib import Path
warnings.filterwarnings("error", category=EncodingWarning, module=r"(aae|analysis|launch)")
from rich.console import Console
import launch
from aae import train
from aae.inputs import parse_overrides
from aae.tuning.driver.reproduction import reproduce
from aae.tuning.study.parents import load_sweep
from analysis import generate, latents, report, test
from tests.sweeping import train_here
assert launch.main(["mine.yaml", "--plan"]) == 0
assert train.main(["mine.yaml", "--output", "alone"]) == 0
assert train.main(["mine.yaml", "--output", "alone"]) == 0  # goes on
train_here(load_sweep("mine.yaml", parse_overrides([])))
assert launch.main(["status", "runs/mine"]) == 0
assert launch.main(["mine.yaml", "--plan"]) == 0
assert report.main(["runs/mine"]) == 0
assert latents.main(["runs/mine"]) == 0
assert generate.main(["runs/mine", "--num", "4"]) == 0
assert test.main(["alone"]) == 0
assert launch.main(["reproduce", "runs/mine"]) == 0
assert launch.main(["mine.yaml", "train.epochs=0"]) == 2
"""


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def leaves_out_its_encoding(call: ast.Call) -> bool:
    """Of a call that opens text, by its name and arguments."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return "encoding" not in given
    if name == "open" and not (isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("os", "zipfile", "webbrowser")):
        mode = given.get("mode", call.args[1] if len(call.args) > 1 else None)
        binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
        return not binary and "encoding" not in given
    return "encoding" not in given and any(name in given for name in ("text", "universal_newlines"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_and_every_other_programs_words_are_read_and_written_with_their_encoding_named(path):
    assert [f"{path.name}:{call.lineno}: {ast.unparse(call)}" for call in calls(path) if leaves_out_its_encoding(call)] == []


@pytest.mark.parametrize("code", ["Path(p).read_text()", "open(p)", "open(p, 'w')", "p.open()", "run(c, text=True)", "p.write_text('')"])
def test_a_call_without_its_encoding_is_seen(code):
    (call,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and getattr(node.func, "id", "") != "Path"]
    assert leaves_out_its_encoding(call)


@pytest.fixture
def folder(tmp_path) -> Path:
    import numpy as np

    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    (tmp_path / "mine.yaml").write_text(SWEEP, encoding="utf-8")
    return tmp_path


def run(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    env = kept | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, *options, "-c", COMMANDS], cwd=folder, env=env, capture_output=True, timeout=300)


def test_the_commands_work_in_a_locale_that_knows_ascii_alone_and_leave_no_encoding_to_it(folder):
    """Fails where one file is read or written as the locale has it, or a character that it lacks cannot be printed."""
    done = run(folder, "-X", "warn_default_encoding", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    assert "größe \u2013 ü" in (folder / "runs/mine/sweep.yaml").read_text(encoding="utf-8")
    assert rb"gr\xf6\xdfe \u2013 \xfc" in done.stdout and b"\xc3" not in done.stdout


def test_what_cannot_be_printed_is_escaped_and_what_can_be_stays(folder):
    code = "from aae.streams import escape_unprintable; escape_unprintable(); print('größe \u2013 ü')"
    for encoding, printed in (
        ("ascii", rb"gr\xf6\xdfe \u2013 \xfc"),
        ("latin-1", b"gr\xf6\xdfe \\u2013 \xfc"),
        ("utf-8", "größe \u2013 ü".encode()),
    ):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True)
        assert done.stdout.strip() == printed
