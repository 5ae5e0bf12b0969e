"""What `reproduce` says where a trial was trained on another device than the one that its driver ran on."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

from aae import train as training
from aae.device import device_name
from aae.runs import Row, trial_folder, write_json, write_rows
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


def test_the_report_names_the_devices_of_the_trials(run):
    assert about(read_run(run)).startswith(f"2 trials on {HERE}, torch ")
    rewrite(run, 1, *(row | {"device": "another"} for row in trial_folder(run, 1).rows()))
    assert about(read_run(run)).startswith(f"2 trials on {HERE} and another, torch ")
