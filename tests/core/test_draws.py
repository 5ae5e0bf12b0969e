"""Trials of several draws: each draw is the training that it would be alone, and the trial is their mean, everywhere."""

import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

import aae
from aae import checkpoint
from aae.config import ConfigError
from aae.draws import LISTED, mean_row, prepare, refuse_unfit, with_class_prior
from aae.errors import DataError
from aae.runs import TrialFolder, read_json, trial_folder
from aae.train import train
from aae.tuning.confirm import run as confirm
from aae.tuning.confirm.test_set import simulate_fewer_labels
from aae.tuning.driver import reproduction
from aae.tuning.driver.opening import refuse_changes
from aae.tuning.spec.metrics import METRICS
from aae.tuning.study.parents import load_sweep
from aae.tuning.workers import rehearsal
from aae.tuning.workers.rehearsal import try_out
from analysis.report import write_files
from analysis.trials import read_run
from tests.golden import tiny_config
from tests.sweep_files import TINY_SWEEP
from tests.sweeping import assert_one_truth, train_here, train_out, without_ray
from tests.training import averaged, in_pieces, nothing, whole, without_clock


def test_each_draw_is_the_training_that_it_is_alone_and_the_row_their_mean(tmp_path, dataset):
    """To the bit. Fails where draws share a generator, or the labels."""
    together, _ = whole(tiny_config({"data.num_draws": 3}), tmp_path / "together", dataset)
    alone = [whole(tiny_config({"data.label_seed": seed}), tmp_path / f"{seed}", dataset)[0] for seed in range(3)]
    assert len({tuple(row["val/error"] for row in rows) for rows in alone}) == 3
    for epoch, row in enumerate(together):
        assert row["val/error_draws"] == [rows[epoch]["val/error"] for rows in alone]
        assert row["val/error"] == sum(row["val/error_draws"]) / 3
        assert row["val/reconstruction"] == pytest.approx(np.mean([rows[epoch]["val/reconstruction"] for rows in alone]))
        assert set(row) == {*alone[0][epoch], "val/error_draws", "val/reconstruction_draws"}
    assert set(LISTED) == set(METRICS)
    labels = json.loads((tmp_path / "together" / "labels.json").read_text())
    assert labels == [json.loads((tmp_path / f"{seed}" / "labels.json").read_text()) for seed in range(3)]


@pytest.mark.parametrize("num_labels", [0, -1])
def test_where_no_labels_are_drawn_draws_are_initialisations(tmp_path, dataset, num_labels):
    """To the bit, and continued. Seen to fail where they are alike, as before: then three were one."""
    values = {"data.num_labels": num_labels, "data.num_draws": 3, "train.seed": 4}
    if num_labels == 0:
        values |= {"objective.classification": None}
    config = tiny_config(values)
    together, _ = whole(config, tmp_path / "together", dataset)
    single = [tiny_config(values | {"data.num_draws": 1, "train.seed": seed}) for seed in (4, 5, 6)]
    alone = [whole(one, tmp_path / f"{one.train.seed}", dataset)[0] for one in single]
    error = "val/error" if num_labels else "val/cluster_error"
    for epoch, row in enumerate(together):
        assert row[f"{error}_draws"] == [rows[epoch][error] for rows in alone]
        assert row["val/reconstruction_draws"] == [rows[epoch]["val/reconstruction"] for rows in alone]
        assert len(set(row["val/reconstruction_draws"])) == 3
    assert not (tmp_path / "together" / "labels.json").exists()
    assert without_clock(in_pieces(config, tmp_path / "pieces", dataset, kills=[1]).rows()) == together


@pytest.mark.parametrize("every", ["1", "2"])
def test_several_draws_killed_twice_and_continued_equal_the_whole_to_the_bit(tmp_path, dataset, every):
    config = tiny_config({"data.num_draws": 3, "train.epochs": 5, "train.checkpoint_every": every, "train.labelled_batch_size": 10})
    rows, weights = whole(config, tmp_path / "whole", dataset)
    attempt = in_pieces(config, tmp_path / "pieces", dataset, kills=[1, 3])
    assert without_clock(attempt.rows()) == rows
    assert all(torch.equal(value, weights[name]) for name, value in averaged(attempt).items())
    saved = checkpoint.read(attempt.checkpoint_path)
    assert len(saved["others"]) == 2 and all({"optimizers", "generators", "model"} <= set(other) for other in saved["others"])
    checkpoint.shrink(attempt.checkpoint_path)
    (tmp_path / "pieces" / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(config)))
    model, _ = aae.load(tmp_path / "pieces")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())  # the first draw's


def test_p_of_y_counts_the_labels_that_are_drawn_and_no_others(tmp_path, dataset):
    """Random draws of 45 labels, of training images whose classes are equally frequent."""
    values = {"objective.adversarial_y.prior.kind": "labels", "data.label_draw": "random", "data.num_labels": 45, "data.num_draws": 2}
    config, folder = tiny_config(values), TrialFolder(tmp_path / "t")
    folder.path.mkdir()
    draws = prepare(config, dataset, folder, torch.device("cpu"))
    for draw, indices in zip(draws, read_json(folder.labels_path), strict=True):
        counted = torch.bincount(dataset.train.label_N[indices], minlength=10) / 45
        assert draw.state.config.objective.class_probabilities == pytest.approx(counted.tolist()) and len(set(counted.tolist())) > 2
    assert read_json(folder.class_prior_path) == [draw.state.config.objective.class_probabilities for draw in draws]

    train(config, nothing, folder, folder.next_attempt(), dataset)
    folder.config_path.write_text(OmegaConf.to_yaml(OmegaConf.structured(config)))
    _, loaded = checkpoint.load(folder.path)  # as the test set and new images are asked of it
    assert loaded.objective == draws[0].state.config.objective


def test_p_of_y_of_labels_that_lack_a_class_is_refused(dataset):
    config = tiny_config({"objective.adversarial_y.prior.kind": "labels", "data.label_draw": "random", "data.num_labels": 20})
    with pytest.raises(DataError, match=r"prior.kind: got labels; none that is drawn is of class 1: give more labels"):
        with_class_prior(config, torch.tensor([0, 2, 3, 4, 5, 6, 7, 8, 9]))
    with pytest.raises(DataError, match="none that is drawn is of class"):
        refuse_unfit(config, dataset)


def test_predictions_of_several_draws_are_kept_each(tmp_path, dataset):
    trial = TrialFolder(tmp_path / "t")
    row = train(tiny_config({"data.num_draws": 2}), nothing, trial, trial.next_attempt(), dataset)
    prediction_DN = np.load(trial.last_attempt().path / "predictions.npy")
    assert prediction_DN.shape == (2, 105)
    assert list((prediction_DN != dataset.validation.label_N.numpy()).mean(axis=1)) == row["val/error_draws"]


def test_a_mean_of_one_draw_is_its_row():
    assert mean_row([{"val/error": 0.1, "val/z": 3.0}]) == {"val/error": 0.1, "val/z": 3.0}
    assert mean_row([{"val/component_error": 0.1}, {"val/component_error": 0.3}])["val/component_error_draws"] == [0.1, 0.3]


def test_a_rehearsal_counts_every_draw(workplace, monkeypatch):
    """Its clock ticks once a look, so a draw's epoch takes the same number of ticks whatever else the machine does."""
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    one, three = (try_out(tiny_config({"data.num_draws": num, "model.hidden_dims": [128]}), str(workplace)) for num in (1, 3))
    assert 2.5 * one.checkpoint_bytes < three.checkpoint_bytes < 3.5 * one.checkpoint_bytes and three.kept_bytes < 1.5 * one.kept_bytes
    saving = 1
    assert three.epoch_s - saving == pytest.approx(3 * (one.epoch_s - saving)) and one.epoch_s > saving


def test_a_study_of_several_draws_is_searched_reproduced_reported_and_confirmed(workplace, monkeypatch, capsys):
    Path("s.yaml").write_text(TINY_SWEEP)
    run = train_here(load_sweep("s.yaml", {})).run
    assert_one_truth(run, 3)
    assert all(len(trial_folder(run, number).rows()[-1]["val/error_draws"]) == 3 for number in range(3))
    assert reproduction.reproduce(run, None, Console()).exit_code == 0
    assert "reproduced: 3 epochs equal to the bit" in capsys.readouterr().out

    text = re.sub("<[^>]*>", "", write_files(read_run(run)).read_text())
    assert "the mean over 3 draws of 20 labels (label seeds 0 to 2)" in text
    assert load_sweep(run / "sweep.yaml", {}).fingerprint() == load_sweep("s.yaml", {}).fingerprint()
    with pytest.raises(ConfigError, match=r"trial\.data\.num_draws was 3, is 2"):
        refuse_changes(read_json(run / "manifest.json")["sweep"], load_sweep("s.yaml", {"study.draws_per_trial": 2}), run)

    without_ray(monkeypatch, lambda study, *_: train_out(study))
    asked = {"select_k": 1, "select_draws": 2, "report_draws": 2, "baseline": "slow"}
    assert confirm.run_confirmation(run, confirm.load_searched(run, {"study.confirm": asked}), False, Console(quiet=True)) == 0
    (run / "confirm" / "report.json").unlink()
    (saved,) = (run / "confirm" / "trials" / "0005").glob("attempt-*/checkpoint.pt")
    moved = saved.rename(run / "elsewhere.pt")
    again = confirm.load_searched(run, {})
    with pytest.raises(RuntimeError, match="checkpoint.pt: cannot be read as the last epoch"):  # and no guess in its place
        confirm.run_confirmation(run, again, False, Console(quiet=True))
    assert not (run / "confirm" / "report.json").exists()
    moved.rename(saved)
    assert confirm.run_confirmation(run, again, False, Console(quiet=True)) == 0
    found = read_json(run / "confirm" / "report.json")
    assert len(found["winner"]["test/error"]) == 2 and found["draws"] == [200, 201]
    configs = [checkpoint.read_config(path) for path in sorted((run / "confirm" / "trials").iterdir())]
    assert {config.data.num_draws for config in configs} == {1}
    assert {config.data.label_seed for config in configs} == {100, 101, 200, 201}


def test_what_fewer_labels_choose_is_asked_of_the_mean_over_draws(workplace):
    """Trial 3 is the best on its first draw alone, trial 5 on the mean of two."""

    class Plan:
        compared = (3, 5)

    label_N, random = torch.arange(2000) % 10, np.random.default_rng(0)
    for number, errors in {3: (0.05, 0.35), 5: (0.1, 0.1)}.items():
        wrong_DN = np.stack([random.permutation(2000) < 2000 * error for error in errors])
        attempt = trial_folder(workplace, number).next_attempt()
        np.save(attempt.path / "predictions.npy", ((label_N.numpy() + wrong_DN) % 10).astype(np.uint8))
    few, many = simulate_fewer_labels(workplace, Plan, "val/error", label_N)
    assert next(iter(many["chosen"])) == "5" and many["chosen"]["5"] > 0.99
    assert few["worse"] == pytest.approx(few["chosen"].get("3", 0) * 0.1)
