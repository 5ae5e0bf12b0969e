"""Going on with other code or other versions: refused with their names, or accepted and written down with the trials it made."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from aae import manifest
from aae.config import ConfigError
from aae.imports import imported_files
from aae.runs import read_manifest, trial_folder, write_json
from aae.tuning.driver import run as driver
from aae.tuning.driver.opening import recognise
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy, code_numbers
from tests.folders import listing
from tests.sweeping import begun

SWEEP = """
study: {name: s, folder: ., num_trials: 4, pruner: {kind: NopPruner}}
trial:
  data: {name: npz, folder: tiny.npz, num_validation: 105, num_labels: 20}
  model: {hidden_dims: [8]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 2, batch_size: 50, labelled_batch_size: 20, sample_every: 0}
search_space:
  model.z_dim: {kind: int, low: 2, high: 12}
"""


@pytest.fixture
def go_on(workplace, monkeypatch):
    """Starts the sweep in `workplace / "s"` as far as its first hand-out, with the code of `project`."""
    shutil.copytree(manifest.PROJECT / "aae", workplace / "project" / "aae", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(manifest, "PROJECT", workplace / "project")
    (workplace / "s.yaml").write_text(SWEEP)

    def begin(accept: bool = False) -> SweepStudy:
        with begun(load_sweep("s.yaml", {}), accept) as study:
            study.reconcile()
        return study

    return begin


def change(module: str = "losses.py") -> None:
    with (manifest.PROJECT / "aae" / module).open("a") as file:
        file.write("\n# changed\n")


def test_other_code_is_refused_with_its_files_and_the_way_on_and_nothing_changes(go_on):
    """Seen to fail with `go_on` returning what was recorded."""
    go_on()
    before = Path("s/manifest.json").read_bytes()
    change("losses.py")
    change("tuning/spec/samplers_and_pruners.py")
    change("tuning/study/optuna_views.py")
    change("tuning/driver/run.py")
    with pytest.raises(ConfigError) as refusal:
        go_on()
    text = str(refusal.value)
    named = (
        "aae/losses.py",
        "aae/tuning/spec/samplers_and_pruners.py",
        "aae/tuning/study/optuna_views.py",
        "--accept-changes",
        "study.name=other",
    )
    assert all(part in text for part in named) and "driver" not in text
    assert "\n" not in text and Path("s/manifest.json").read_bytes() == before


@pytest.mark.parametrize("package", ["python", "torch", "optuna"])
def test_other_versions_are_refused(go_on, package):
    go_on()
    made = json.loads(Path("s/manifest.json").read_text())
    made["versions"][package] = "0.1"
    Path("s/manifest.json").write_text(json.dumps(made))
    with pytest.raises(ConfigError, match=f"{package} was 0.1, is "):
        go_on()


def test_what_makes_no_trial_may_change(go_on):
    """A document, the command line, the machine: none of them is code of a trial."""
    go_on()
    (manifest.PROJECT / "README.md").write_text("changed")
    (manifest.PROJECT / "launch.py").write_text("changed")
    made = json.loads(Path("s/manifest.json").read_text())
    made["host"], made["device"] = "other", "another"
    Path("s/manifest.json").write_text(json.dumps(made))
    go_on()


def test_other_files_and_versions_that_no_trial_depends_on_are_mentioned_in_a_line_and_not_refused(go_on, capsys):
    """Seen to fail where every file of aae/ counts: then it is refused."""
    go_on()
    for module in ("tuning/workers/pool.py", "tuning/driver/console.py", "intervals.py"):
        change(module)
    made = json.loads(Path("s/manifest.json").read_text())
    made["versions"]["ray"] = "0.1"
    Path("s/manifest.json").write_text(json.dumps(made))
    hashes = made["data"]
    opened = recognise(load_sweep("s.yaml", {}), hashes, False, Console(width=300))
    assert opened.made == made and not opened.fresh
    (said,) = capsys.readouterr().out.splitlines()
    ray = manifest.version("ray")
    files = "aae/intervals.py, aae/tuning/driver/console.py, aae/tuning/workers/pool.py"
    assert said == f"changed since, not what trials depend on: ray was 0.1, is {ray}, {files}"


def test_the_files_that_a_trial_depends_on_are_those_that_are_imported_by_whatever_statement(tmp_path):
    """Seen to fail with each line of aae/imports.py left out that is for one of the ways."""
    files = {
        "aae/__init__.py": "",
        "aae/train.py": "import aae.named\nfrom aae import taken\nfrom aae.inner import thing\nfrom . import relative\n",
        "aae/named.py": "def work():\n    from aae import lazy\n    import aae.outer.leaf\n",
        "aae/inner/__init__.py": "from .deep import thing\n",
        "aae/inner/deep.py": "import torch\n",
        "aae/inner/beside.py": "",
        "aae/outer/__init__.py": "import aae.beyond\n",
        "aae/outer/leaf.py": "",
        "aae/taken.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aae import typed\nelse:\n    import aae.otherwise\n",
        **{f"aae/{name}.py": "" for name in ("relative", "lazy", "typed", "otherwise", "beyond", "alone")},
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = imported_files(tmp_path, ("aae.train",))
    assert set(files) - found == {"aae/inner/beside.py", "aae/typed.py", "aae/alone.py"} and found <= set(files)
    assert imported_files(tmp_path, ("aae.inner",)) == {"aae/__init__.py", *(path for path in files if "inner" in path)}


def test_a_training_depends_on_no_file_of_the_tuning_and_a_study_on_spec_and_study_alone():
    training, study = (imported_files(manifest.PROJECT, roots) for roots in (manifest.TRAINING, manifest.STUDY))
    assert {"aae/losses.py", "aae/updates.py", "aae/data.py", "aae/inputs.py", "aae/layers.py"} <= training and not any(
        "tuning" in path for path in training
    )
    rooms = {path.split("/")[2] for path in study - training if path != "aae/tuning/__init__.py"}
    assert training < study and rooms == {"spec", "study"}


def test_other_data_are_refused_and_cannot_be_accepted(go_on):
    go_on()
    made = json.loads(Path("s/manifest.json").read_text())
    made["data"] = dict.fromkeys(made["data"], "another hash")
    Path("s/manifest.json").write_text(json.dumps(made))
    with pytest.raises(ConfigError, match="restore the data"):
        go_on(accept=True)


def test_the_epochs_of_a_parent_are_not_a_forks_own_code(go_on):
    """Seen to fail: both codes were said to have trained it."""
    go_on()
    change()
    study = go_on(accept=True)
    folder = trial_folder(study.run, 0)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.next_attempt().write_row({"epoch": 1, "val/error": 0.5})
    write_json(folder.fork_path, {"epoch": 1})
    study.next()
    assert code_numbers(study.trial(0)) == [1]


def test_accepted_code_is_written_down_and_trials_say_which_one_made_them(go_on):
    """Trials 0 and 1 are begun by the first code and go on with the second, trial 2 is made by the second alone. Seen to fail
    with `rows` left out of SweepStudy.prepare, and with the number never set."""
    study = go_on()
    first, second = study.next(), study.next()
    first.attempt.write_row({"epoch": 1, "val/error": 0.5})
    second.attempt.write_row({"epoch": 1, "val/error": 0.5})
    study.report(0, {"epoch": 1, "val/error": 0.5})
    change()
    study = go_on(accept=True)
    study.next(), study.next(), study.next()
    assert [code_numbers(trial) for trial in study.trials()] == [[0, 1], [0, 1], [1]]
    (accepted,) = read_manifest(Path("s"))["accepted"]
    assert accepted["changes"] == ["aae/losses.py"] and accepted["code"]["modules"] != read_manifest(Path("s"))["code"]["modules"]
    assert [code_numbers(trial) for trial in go_on().trials()] == [[0, 1], [0, 1], [1]]  # accepted once, and known from then on
    change("model.py")
    with pytest.raises(ConfigError, match="other code or versions: aae/model.py. Restore"):
        go_on()


@pytest.mark.parametrize("broken", ["study.journal", "trials/0001/attempt-0/metrics.jsonl"])
def test_a_refused_start_writes_down_nothing_of_what_it_was_to_accept(go_on, broken):
    """Seen to fail: the manifest had the accepted code already, and the first trial was told before the second was read."""
    study = go_on()
    first, _ = study.next(), study.next()
    first.attempt.write_row({"epoch": 1, "val/error": 0.5})
    (Path("s") / broken).write_text("{\n")
    change()
    before, sweep, quiet = listing(Path("s")), load_sweep("s.yaml", {}), Console(quiet=True)
    opened = recognise(sweep, read_manifest(Path("s"))["data"], True, quiet)
    with pytest.raises(ConfigError, match=broken):
        driver.open_and_reconcile(opened, quiet)
    assert listing(Path("s")) == before and len(opened.made["accepted"]) == 1


def test_reproduce_compares_with_the_code_that_made_the_trial(go_on):
    """A change of tuning/ makes no other numbers, and neither does one of what a training does not import."""
    go_on()
    change("losses.py")
    change("intervals.py")
    change("tuning/study/optuna_views.py")
    go_on(accept=True)
    made, now = read_manifest(Path("s")), manifest.describe([], read_manifest(Path("s"))["data"])
    assert manifest.training_changes(manifest.made_by(made, 0), now) == ["changed code: aae/losses.py"]
    assert manifest.training_changes(manifest.made_by(made, 1), now) == []
