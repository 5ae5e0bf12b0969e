"""What `reproduce` says where a trial was trained on another device than the one that its driver ran on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import launch
from aae import train as training
from aae.device import device_name
from aae.errors import ConfigError
from aae.runs import Row, read_json, trial_folder, write_json, write_rows
from aae.tuning.driver import reproduction
from aae.tuning.study.parents import load_sweep
from analysis.page import about
from analysis.trials import read_run
from tests.sweep_files import TINY_SWEEP
from tests.sweeping import train_here

HERE = device_name(torch.device("cpu"))
ALONE = {"study.draws_per_trial": 1, "study.num_trials": 2}


@pytest.fixture
def run(workplace, monkeypatch) -> Path:
    """A sweep of two trials on this processor, whose driver had a GPU that the trials were not given."""
    for module in (training, reproduction):  # also where this machine has a GPU
        monkeypatch.setattr(module, "choose_device", lambda: torch.device("cpu"))
    Path("s.yaml").write_text(TINY_SWEEP)
    train_here(load_sweep("s.yaml", ALONE))
    path = Path("runs/s")
    made = reproduction.read_manifest(path)
    write_json(path / "manifest.json", made | {"device": "a GPU"})
    return path


def rewrite(run: Path, number: int, *rows: Row) -> None:
    write_rows(trial_folder(run, number).last_attempt().metrics_path, rows)


def test_a_trial_of_a_processor_is_reproduced_on_it_whatever_its_driver_had(run, monkeypatch, capsys):
    """Seen to fail with the device of the manifest, and with the GPU that this machine is made to have."""
    monkeypatch.setattr(reproduction, "choose_device", lambda: torch.device("cuda"))
    assert reproduction.reproduce(run, 0, Console(width=200)).exit_code == 0
    said = capsys.readouterr().out
    assert "reproduced: 3 epochs equal to the bit" in said and "not what it was recorded with" not in said


def test_the_devices_that_trained_a_trial_are_named_in_order_and_a_difference_is_no_verdict(run, capsys):
    first, *others = trial_folder(run, 0).rows()
    rewrite(run, 0, first | {"device": "one"}, *(row | {"device": "two", "val/error": 0.5} for row in others))
    assert reproduction.reproduce(run, 0, Console(width=200)).exit_code == 1
    said = capsys.readouterr().out
    assert f"device was one, then two, is {HERE}" in said and "differs from epoch 2 on" in said and "not verified" in said


def test_epochs_that_came_out_otherwise_when_they_were_trained_twice_are_compared_all_the_same(run, capsys):
    """Seen to fail where they are passed over: then it said that all were equal to the bit."""
    rewrite(run, 0, *(row | {"retold": True, "val/error": 0.5} for row in trial_folder(run, 0).rows()))
    assert reproduction.reproduce(run, 0, Console(width=200)).exit_code == 1
    said = capsys.readouterr().out
    assert "3 of its epochs were trained twice and came out otherwise then" in said and "differs from epoch 1 on" in said


def test_rows_that_name_no_device_have_that_of_the_manifest(run, capsys):
    rewrite(run, 0, *({key: value for key, value in row.items() if key != "device"} for row in trial_folder(run, 0).rows()))
    assert reproduction.reproduce(run, 0, Console(width=200)).exit_code == 0  # the numbers are equal whatever was there
    assert "device was a GPU, is " in capsys.readouterr().out


def replaced(keep: int, **changes: np.ndarray) -> None:
    """The user's own file, by one with so many of its training images."""
    arrays = dict(np.load("tiny.npz"))
    np.savez("tiny.npz", **arrays | {name: arrays[name][:keep] for name in ("x_train", "y_train")} | changes)


def test_a_file_that_was_replaced_by_a_smaller_one_is_refused_in_a_line(run, capsys):
    """Or by one with as many, of which some have no label now. Seen to fail with an IndexError: the recorded labels are indices into the
    file that was there."""
    largest, x = max(read_json(trial_folder(run, 0).labels_path)), np.load("tiny.npz")["x_train"]
    for unlabelled in ({}, {"x_unlabelled": x[largest + 105 :]}):  # the last 105 of the others are the validation images
        replaced(largest + 105, **unlabelled)
        assert launch.main(["reproduce", str(run), "--trial", "0"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "labels.json: recorded labels are of images that tiny.npz does not have" in error


def test_a_file_that_a_trial_no_longer_fits_is_refused_in_a_line(run, capsys):
    """Fewer images than a batch, fewer classes than heads. Seen to fail with an IndexError, and with another training for the second."""
    whole = dict(np.load("tiny.npz"))
    replaced(140)
    assert launch.main(["reproduce", str(run), "--trial", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("launch.py: tiny.npz has changed, and trial 0 does not fit them: ") and error.endswith("; restore the data\n")
    np.savez("tiny.npz", **whole | {name: whole[name] // 2 for name in ("y_train", "y_test")})
    assert launch.main(["reproduce", str(run), "--trial", "0"]) == 2
    assert "the labels have 5 classes" in capsys.readouterr().err


def test_the_report_names_the_devices_of_the_trials(run):
    assert about(read_run(run)).startswith(f"2 trials on {HERE}, torch ")
    rewrite(run, 1, *(row | {"device": "another"} for row in trial_folder(run, 1).rows()))
    assert about(read_run(run)).startswith(f"2 trials on {HERE} and another, torch ")


@pytest.mark.parametrize("text", ["", "data:\n  name: npz\n", "model: []\n"])
def test_a_configuration_of_which_only_a_part_is_left_is_refused(run, text):
    """Seen to fail: an empty file was another configuration, of defaults alone, and that was trained."""
    (trial_folder(run, 0).config_path).write_text(text)
    with pytest.raises(ConfigError, match=r"config.yaml: got less than the blocks of a configuration; restore it"):
        reproduction.reproduce(run, 0, Console(quiet=True))


def test_a_trial_that_the_journal_does_not_know_is_refused(run):
    """Seen to fail with an IndexError."""
    shutil.copytree(trial_folder(run, 1).path, trial_folder(run, 2).path)
    with pytest.raises(ConfigError, match=r"study.journal: it has 2 trials, not trial 2; restore"):
        reproduction.reproduce(run, 2, Console(quiet=True))


@pytest.mark.parametrize("text", ["{}", "null", '{"trials": null}'])
def test_a_choice_without_trials_is_refused(run, text):
    (run / "choice.json").write_text(text)
    with pytest.raises(ConfigError, match=r"choice.json: got no trials; restore it, or remove it"):
        reproduction.reproduce(run, None, Console(quiet=True))
