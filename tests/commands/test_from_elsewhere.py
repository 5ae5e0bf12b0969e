"""A run of a relative data.folder, from another folder than that of its command: the data are where they were."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aae import train
from aae.config import ConfigError
from aae.data import DataError
from aae.inputs import parse_overrides, read_sweep
from aae.layers import trial_from_sweep
from aae.runs import read_json, write_json
from aae.tuning.confirm import run as confirm
from aae.tuning.driver import reproduction
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from analysis import generate, latents, report
from analysis import test as testing
from analysis.trials import read_run
from tests.golden import tiny_arrays
from tests.sweep_files import TINY_SWEEP
from tests.sweeping import train_here, train_out, without_ray

QUIET = Console(quiet=True)


@pytest.fixture
def elsewhere(workplace) -> Path:
    """Two trials in ../runs/s, and a training in ../alone; the data are ../tiny.npz."""
    Path("s.yaml").write_text(TINY_SWEEP)
    train_here(load_sweep("s.yaml", {"study.draws_per_trial": 1, "study.num_trials": 2}))
    report.write_files(read_run(Path("runs/s")))
    assert train.main(["s.yaml", "--output", "alone"]) == 0
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    return Path.cwd()


def test_reproduce_finds_the_data_of_a_run(elsewhere):
    assert reproduction.reproduce(Path("../runs/s"), 0, QUIET).exit_code == 0


def test_pictures_and_test_metrics_find_the_data_of_a_run_and_of_a_single_training(elsewhere):
    assert latents.main(["../runs/s", "--kind", "reconstructions"]) == 0
    assert latents.main(["../alone", "--kind", "reconstructions"]) == 0
    assert generate.main(["../runs/s", "--num", "4"]) == 0
    assert testing.main(["../alone"]) == 0


def test_best_yaml_is_trained_from_anywhere(elsewhere):
    assert train.main(["../runs/s/report/best.yaml", "--output", "best"]) == 0


def test_a_confirmation_finds_the_data_of_its_search_and_its_workers_are_told_where(elsewhere, monkeypatch):
    """Begun here, and gone on with from a third folder."""
    told, run = [], Path("../runs/s").resolve()
    real = confirm.describe_study

    def describe(*arguments):
        told.append(real(*arguments))
        return told[-1]

    def trained(study: SweepStudy, *_) -> None:
        assert {config.data.folder for config in map(study.sweep.config, study.sweep.baselines.values())} == {"tiny.npz"}
        here = Path.cwd()
        os.chdir(told[-1]["command_folder"])  # as a worker reads them
        train_out(study, 1 if len(told) == 1 else None)
        os.chdir(here)

    monkeypatch.setattr(confirm, "describe_study", describe)
    without_ray(monkeypatch, trained)
    asked = {"study.confirm": {"select_k": 1, "select_draws": 1, "report_draws": 1}}
    assert confirm.run_confirmation(run, confirm.load_searched(run, asked), False, QUIET) == 0
    assert not (run / "confirm" / "report.json").exists()
    Path("third").mkdir()
    os.chdir("third")
    assert confirm.run_confirmation(run, confirm.load_searched(run, {}), False, QUIET) == 0
    assert len(read_json(run / "confirm" / "report.json")["winner"]["test/error"]) == 1
    assert {about["command_folder"] for about in told} == {str(elsewhere.parent)}
    assert latents.main([str(run / "confirm" / "trials" / "0000"), "--kind", "reconstructions"]) == 0


def test_data_that_were_moved_with_the_run_are_looked_for_here(elsewhere):
    """Its manifest names a folder that is another machine's."""
    shutil.move("../runs", "runs")
    shutil.move("../tiny.npz", "tiny.npz")
    made = read_json(Path("runs/s/manifest.json"))
    write_json(Path("runs/s/manifest.json"), made | {"folder": "/of/another/machine"})
    assert reproduction.reproduce(Path("runs/s"), 0, QUIET).exit_code == 0
    del made["folder"]  # as older runs have it
    write_json(Path("runs/s/manifest.json"), made)
    assert reproduction.reproduce(Path("runs/s"), 0, QUIET).exit_code == 0
    Path("tiny.npz").unlink()
    with pytest.raises((ConfigError, DataError), match="tiny.npz"):
        reproduction.reproduce(Path("runs/s"), 0, QUIET)


def test_best_yaml_of_a_run_whose_data_are_gone_keeps_the_path_that_was_typed(elsewhere):
    Path("../tiny.npz").unlink()
    text = report.best_yaml(read_run(Path("../runs/s")))
    Path("best.yaml").write_text(text)
    assert trial_from_sweep(read_sweep("best.yaml"), None, parse_overrides([])).data.folder == "tiny.npz"


def test_data_that_changed_since_the_training_are_refused(elsewhere, capsys):
    """As many pixels, other images. Seen to score them in silence."""
    arrays = tiny_arrays()
    np.savez("../tiny.npz", **arrays | {"x_test": 255 - arrays["x_test"]})
    for main in (latents.main, testing.main):
        assert main(["../alone"]) == 2
        assert "tiny.npz" in (said := capsys.readouterr().err) and said.endswith(": not what it was trained on; restore the data\n")
    assert not Path("../alone/test.json").exists() and not Path("../alone/report").exists()
