"""`~` is the home folder in every path that is given, on the command line and in files alike."""

from pathlib import Path

import pytest

from aae import train
from aae.config import ConfigError
from aae.data import load_dataset
from aae.inputs import parse_overrides
from aae.tuning.study.parents import load_sweep
from tests.sweep_files import sweep_text


@pytest.fixture
def home(workplace, monkeypatch) -> Path:
    """With tiny.npz in it; the current folder is another."""
    monkeypatch.setenv("HOME", str(workplace))
    (workplace / "here").mkdir()
    monkeypatch.chdir(workplace / "here")
    return workplace


def test_a_run_folder_lies_in_the_home_folder(home):
    Path("s.yaml").write_text(sweep_text(study={"folder": "~/runs"}))
    assert load_sweep("s.yaml", {}).study.path == home / "runs" / "mine"
    assert load_sweep("s.yaml", parse_overrides(["study.folder=~/other"])).study.path == home / "other" / "mine"


def test_data_and_the_output_of_a_training_lie_in_the_home_folder(home, monkeypatch):
    trained = []
    monkeypatch.setattr(train, "train_alone", lambda config, folder, dataset: trained.append((folder.path, dataset)))
    Path("s.yaml").write_text(sweep_text())
    train.main(["s.yaml", "data.folder=~/tiny.npz", "--output", "~/alone"])
    ((path, dataset),) = trained
    assert path == home / "alone" and (home / "alone" / "config.yaml").is_file()
    assert dataset.hashes == load_dataset("npz", str(home / "tiny.npz"), 105).hashes
    assert sorted(path.name for path in Path().iterdir()) == ["s.yaml"]


def test_a_folder_is_looked_at_whatever_the_name_of_its_sweep_file(workplace):
    """The path of a value begins with the file's. Seen to pass, and to make a folder of the name $RUNS."""
    Path("mine[2].yaml").write_text(sweep_text(study={"folder": "$RUNS"}))
    with pytest.raises(ConfigError, match=r"study\.folder: got '\$RUNS'; variables are not read here"):
        load_sweep("mine[2].yaml", {})
    Path("mine[3].yaml").write_text(sweep_text(study={"learn_from": ["runs/one", "$RUNS/two"]}))
    with pytest.raises(ConfigError, match=r"study\.learn_from\[1\]: got '\$RUNS/two'; variables are not read here"):
        load_sweep("mine[3].yaml", {})
