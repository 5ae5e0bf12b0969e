"""The analysis of run folders: what the verdict says, what the page and its files hold, and that wrong input writes nothing."""

import base64
import csv
import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch
import yaml
from optuna.trial import TrialState
from rich.console import Console

from aae import checkpoint, metrics, samples, train
from aae.paths import flatten
from aae.pictures import image_grid, latent_scatter
from aae.priors import SAMPLE_PRIOR, unlabelled
from aae.runs import TrialFolder, read_json, same_row, trial_folder, write_json
from aae.tuning.driver.console import SweepConsole
from aae.tuning.study.journal import read_trials
from aae.tuning.study.lock import DriverLock
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from analysis import figures, generate, latents, page, plots, report, strips, studies, verdict
from analysis.trials import read_run
from tests.folders import copy, listing
from tests.golden import NUM_CLASSES, SIDE, tiny_arrays
from tests.played import HOSTILE, INSIDE, MIXED, MIXED_BASELINES, OUTSIDE, Fate, failed, made_up, open_run, play
from tests.sweep_files import SPACE, make_sweep

PROJECT = Path(__file__).resolve().parents[2]
FIGURES = ["history", "importance", "parallel", "slices", "learning-curves"]


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> Path:
    """A run folder with every state and both kinds of baseline. Only to be read."""
    return play(tmp_path_factory.mktemp("mixed"), MIXED, baselines=MIXED_BASELINES)


@pytest.fixture(scope="session")
def reported(tmp_path_factory) -> Path:
    """The same, with its report."""
    run = play(tmp_path_factory.mktemp("reported"), MIXED, baselines=MIXED_BASELINES)
    report.write_files(read_run(run))
    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A run folder whose best trial was trained for real, beside a failed one; tiny.npz and single/, an aae.train, beside it."""
    folder = tmp_path_factory.mktemp("trained")
    data = folder / "tiny.npz"
    np.savez(data, **tiny_arrays())
    study = open_run(folder, 2, data)
    handout = study.next()
    train.train(handout.config, lambda row: study.report(0, row), handout.folder, handout.attempt)
    study.tell(0, TrialState.COMPLETE)
    study.next()
    study.tell(1, TrialState.FAIL, "RuntimeError: out of luck")
    assert train.main([str(folder / "s.yaml"), "--output", str(folder / "single"), "train.epochs=1"]) == 0
    return study.run


@pytest.fixture(scope="session")
def colour(tmp_path_factory) -> Path:
    """A single training without classes, on images of 4 x 6 pixels in colour."""
    folder = tmp_path_factory.mktemp("colour")
    random, arrays = np.random.default_rng(0), {}
    for part, num in (("train", 160), ("test", 10)):
        arrays |= {f"x_{part}": random.integers(0, 256, (num, 4, 6, 3), dtype=np.uint8), f"y_{part}": np.arange(num) % 2}
    np.savez(folder / "colour.npz", **arrays)
    sweep = make_sweep(
        folder, folder / "colour.npz", trial={"model": {"hidden_dims": [16], "init_std": None, "class_source": "none"}, "objective": {}}
    )
    arguments = ["data.num_labels=0", "data.num_validation=60", "train.epochs=1", "model.z_dim=2"]
    assert train.main([str(sweep), "--output", str(folder / "one"), *arguments]) == 0
    return folder / "one"


@pytest.fixture
def undrawn(monkeypatch):
    """Reports without figures, where they do not matter: they are most of the time."""
    monkeypatch.setattr(report, "draw_all", lambda run: dict.fromkeys(FIGURES, (None, "not drawn here")))


# ---- the verdict


ODD_SETTINGS = {
    "text.usetex": True,  # LaTeX need not be there
    "image.origin": "lower",
    "savefig.dpi": 20,
    "savefig.bbox": "tight",
    "axes.facecolor": "black",
    "font.size": 30,
    "figure.dpi": 30,
    "axes.prop_cycle": matplotlib.rcsetup.cycler(color=["black"]),
    "image.cmap": "gray",
}


def every_picture(folder: Path, run) -> dict[str, bytes]:
    """The grids and the scatter of a training, the figures of a run's report, a strip."""
    random = np.random.default_rng(0)
    image_grid(folder / "epoch-0001-samples.png", random.random((6, 12)), (3, 2, 2), 3)
    image_grid(folder / "epoch-0002-samples.png", random.random((6, 12)), (3, 2, 2), 3)
    latent_scatter(folder / "latent.png", random.normal(size=(30, 2)), np.arange(30) % 3, "codes", ("z 1", "z 2"))
    drawn = {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    drawn["strip"] = strips.strip({epoch: folder / f"epoch-000{epoch}-samples.png" for epoch in (1, 2)})
    return drawn | {name: png or reason.encode() for name, (png, reason) in figures.draw_all(run).items()}


def test_every_picture_is_drawn_under_matplotlibs_own_settings(mixed, tmp_path):
    """Fails for the pictures of a function without `matplotlib_defaults`: they come out otherwise, or not at all."""
    run = read_run(mixed)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        plain = every_picture(tmp_path / "plain", run)
    with matplotlib.rc_context(ODD_SETTINGS):
        odd = every_picture(tmp_path / "odd", run)
        assert matplotlib.rcParams["text.usetex"] and matplotlib.rcParams["image.origin"] == "lower"
    assert [name for name, content in odd.items() if content != plain[name]] == []
    assert all(content.startswith(b"\x89PNG") for content in plain.values())


def test_a_torn_picture_fails_no_report(trained, tmp_path):
    run = copy(trained, tmp_path / "run")
    (picture,) = run.glob("trials/0000/attempt-0/samples/epoch-0001-samples.png")
    picture.write_bytes(picture.read_bytes()[:100])
    assert report.main([str(run)]) == 0
    assert not (run / "report" / "strip-samples.png").exists() and (run / "report" / "strip-latent.png").exists()


def test_the_verdict_names_the_best_complete_trial_first_and_not_a_lower_one_that_was_stopped(mixed):
    assert page.search_verdict(read_run(mixed))[0] == "Best configuration: trial 6, val/error 4.00 % after 3 epochs."


def test_the_verdict_says_that_one_draw_is_no_result_and_how_uncertain_the_number_is(mixed):
    text = " ".join(page.search_verdict(run := read_run(mixed)))
    assert "This is no result yet: one draw of 20 labels (label seed 0) and one initialisation (seed 0)" in text
    assert 1 < len(run.complete) < 13 and f"lowest of {len(run.complete)} complete trials' numbers" in text  # a pruned one is none
    assert "used 105 validation labels" in text and "The test set was not read." in text
    assert f"uncertain by {100 * math.sqrt(0.04 * 0.96 / 105):.2f} points" in text


def test_the_verdict_sets_the_baselines_beside_the_best(mixed):
    lines = page.search_verdict(read_run(mixed))
    assert "Baseline known (trial 0): 10.00 %, 6.00 points above the best, on the same labels and epochs." in lines
    assert f"Baseline {HOSTILE} (trial 1): 20.00 %, 16.00 points above the best, on the same labels and epochs." in lines
    assert "not selected" in lines[-1]


def test_the_verdict_of_a_study_in_which_every_trial_failed_gives_the_reasons_and_no_best(tmp_path):
    reasons = ["DataError: no file", "DataError: no file", "MemoryError", "OSError: x", "KeyError: 'y'"]
    run = read_run(play(tmp_path, [failed(reason) for reason in reasons]))
    first, why = page.search_verdict(run)
    assert first == "All 5 trials failed, so there is no best configuration."
    assert why == "Why: DataError: no file; MemoryError; OSError: x. And 1 other reason, in the table of trials."
    assert run.best is None and report.best_yaml(run) is None


def test_one_failed_trial_is_not_called_all_of_them(tmp_path):
    assert page.search_verdict(read_run(play(tmp_path, [failed("MemoryError")])))[0].startswith("The one trial failed, so there is no best")


def test_where_nothing_is_complete_what_diverged_or_failed_says_why(tmp_path):
    lines = page.search_verdict(read_run(play(tmp_path, [Fate([0.9], "DIVERGED"), Fate([], "DIVERGED"), failed("MemoryError")])))
    assert lines == [
        "No trial is complete, so there is no best configuration (2 DIVERGED, 1 FAIL).",
        "Why: diverged: generator/adversarial_z is nan; MemoryError.",
        "The test set was not read.",
    ]


def test_a_single_number_is_not_said_to_be_flattered_and_each_draw_of_several_is_named(tmp_path):
    data = {"name": "npz", "folder": "none.npz", "num_labels": 20, "num_validation": 105}
    fates = [Fate([0.2], more={"val/error_draws": [0.19, 0.2, 0.21]})]
    lines = page.search_verdict(read_run(play(tmp_path, fates, study={"draws_per_trial": 3}, trial={"data": data})))
    assert "Its draws, one by one: 19.00 %, 20.00 %, 21.00 %." in lines
    assert not any("flatters" in line for line in lines) and any("the mean over 3 draws of 20 labels" in line for line in lines)


@pytest.mark.parametrize("journal", ["of a study without trials", "not written yet"])
def test_a_study_without_a_trial_has_nothing_to_judge(journal, tmp_path, undrawn, capsys):
    run = open_run(tmp_path, 3).run
    if journal == "not written yet":
        (run / "study.journal").write_bytes(b"")
    assert report.main([str(run)]) == 0
    assert "No trial has been asked yet" in capsys.readouterr().out
    assert "No trial has been asked yet" in (run / "report" / "index.html").read_text()


def test_a_study_in_which_nothing_is_complete_yet_says_how_it_stands(tmp_path):
    fates = [Fate([0.5], "interrupted"), Fate([0.5], "PRUNED", "pruned at epoch 1"), Fate([0.1], "DIVERGED"), failed()]
    lines = page.search_verdict(read_run(play(tmp_path, fates)))
    assert lines[0].startswith("No trial is complete") and "1 PRUNED, 1 DIVERGED, 1 FAIL, 1 interrupted" in lines[0]


def test_a_best_trial_without_its_configuration_is_not_said_to_have_had_no_labels(mixed, tmp_path):
    run = copy(mixed, tmp_path / "run")
    (run / "trials" / "0006" / "config.yaml").unlink()
    text = " ".join(page.search_verdict(read_run(run)))
    assert "one training, whose config.yaml is missing" in text and "without labels" not in text


def test_a_baseline_with_the_same_number_is_as_good_as_the_best(tmp_path):
    run = read_run(play(tmp_path, [Fate([0.1]), Fate([0.1])], baselines={"known": OUTSIDE, "other": INSIDE}))
    assert page.search_verdict(run)[-1] == "Baseline other (trial 1): 10.00 %, as good as the best, on the same labels and epochs."


@pytest.mark.parametrize(("fate", "says"), [(Fate([0.3, 0.3, 0.3]), "was better"), (failed(), "is complete")])
def test_a_baseline_that_is_the_best_is_said_to_be_and_its_gap_to_another_is_not_played_down(fate, says, tmp_path):
    baselines = {"paper": OUTSIDE, "other": INSIDE}
    lines = page.search_verdict(read_run(play(tmp_path, [Fate([0.3, 0.2, 0.1]), Fate([0.3, 0.3, 0.2]), fate], baselines=baselines)))
    assert lines[0].startswith("Best configuration: trial 0 (paper), val/error 10.00 %")
    assert f"Baseline paper (trial 0) is itself the best: no searched configuration {says}." in lines
    assert lines[-1] == "Baseline other (trial 1): 20.00 %, 10.00 points above the best, on the same labels and epochs."


def test_a_baseline_that_is_the_best_by_its_own_number_says_why_a_lower_one_is_not(tmp_path):
    """It lies outside the search space, so nothing is expected of it. Seen to fail: not a word of the lower one."""
    folder = play(tmp_path, [Fate([0.3, 0.2, 0.03]), Fate([0.3, 0.3, 0.02])], baselines={"paper": OUTSIDE})
    expected = {"1": {"expected": 0.04, "low": 0.03, "high": 0.05}}
    write_json(folder / "choice.json", {"by": "posterior mean", "why": None, "trials": expected, "gain": {"why": "x", "after": {}}})
    lines = page.search_verdict(read_run(folder))
    assert lines[0].startswith("Best configuration: trial 0 (paper), val/error 3.00 %") and "its own number ranks it" in lines[1]
    assert lines[2].startswith("The lowest number is trial 1's 2.00 %") and "4.00 % is expected of it" in lines[2]
    assert "Baseline paper (trial 0) is itself the best: no searched configuration is expected to be better." in lines


def test_a_baseline_outside_the_space_whose_number_is_the_lowest_has_no_neighbours(tmp_path):
    """Seen to fail: they made it look like luck."""
    folder = play(tmp_path, [Fate([0.3, 0.2, 0.03]), Fate([0.3, 0.3, 0.031])], baselines={"paper": OUTSIDE})
    expected = {"1": {"expected": 0.029, "low": 0.02, "high": 0.04}}
    write_json(folder / "choice.json", {"by": "posterior mean", "why": None, "trials": expected, "gain": {"why": "x", "after": {}}})
    lines = page.search_verdict(read_run(folder))
    assert lines[0].startswith("Best configuration: trial 1,")
    assert (
        lines[2].startswith("The lowest number is trial 0 (paper)'s 3.00 %, which lies outside the search space") and "luck" not in lines[2]
    )


def test_a_baseline_that_failed_is_no_number_to_compare_with(tmp_path):
    lines = page.search_verdict(read_run(play(tmp_path, [failed("MemoryError"), Fate([0.3, 0.2, 0.1])], baselines={"paper": OUTSIDE})))
    assert lines[0].startswith("Best configuration: trial 1,")
    assert lines[-1] == "Baseline paper (trial 0) is FAIL (MemoryError): no number to compare with."


def test_a_study_without_baselines_says_that_nothing_known_stands_beside_its_number(tmp_path):
    assert "This study ran no baseline" in page.search_verdict(read_run(play(tmp_path, [Fate([0.3, 0.2, 0.1])])))[-1]


def test_a_tie_and_trials_that_go_on_are_said(tmp_path):
    fates = [Fate([0.3, 0.2, 0.1]), Fate([0.3, 0.2, 0.1]), Fate([0.3], "interrupted")]
    lines = page.search_verdict(read_run(play(tmp_path, fates)))
    assert lines[0].startswith("Best configuration: trial 0,")
    assert "Trial 1 has the same number; the earliest one is named." in lines
    assert "1 of 3 trials has not ended yet, so this may change." in lines


# ---- the verdict of other metrics

HELD = {"metric": "val/reconstruction", "constraint": {"metric": "val/prior_mismatch", "upper": 0.2}}
EVEN = {"val/class_kl": 0.001, "val/class_entropy": 0.05, "val/class_count": 15.0}
CLUSTERS = {"data": {"num_labels": 0}, "model": {"num_classes": 16}, "objective": {"classification": None}}
UNSUPERVISED = {"data": {"num_labels": 0}, "model": {"class_source": "none"}, "objective": {"adversarial_y": None, "classification": None}}


def test_under_a_constraint_the_lowest_trial_that_breaks_it_is_not_the_best_and_every_table_marks_it(
    tmp_path, undrawn, monkeypatch, capsys
):
    """Fails where `Run.complete` ranks by the value alone."""
    fates = [Fate([30.0], more={"val/prior_mismatch": 0.1}), Fate([20.0], more={"val/prior_mismatch": 0.5})]
    fates += [Fate([25.0], more={"val/prior_mismatch": 0.2})]
    run = play(tmp_path, fates, study=HELD, trial=UNSUPERVISED, baselines={"known": INSIDE, "wild": OUTSIDE})
    lines = page.search_verdict(read_run(run))
    told = replace(read_run(run).trials[2], config=read_run(run).trials[2].config | {"model.class_source": "label"})
    assert "and their labels, which the decoder is told." in verdict.seen(read_run(run), told)[0]
    assert lines[0] == ("Best configuration: trial 2, val/reconstruction 25 after 1 epoch, with val/prior_mismatch 0.2 (at most 0.2).")
    assert "1 of 3 complete trials break val/prior_mismatch at most 0.2: trial 1 (wild) (0.5)." in lines
    assert "Baseline wild (trial 1): 20, and it breaks the constraint: no number to compare with." in lines
    assert "Baseline known (trial 0): 30, 5 above the best, on the same images and epochs." in lines
    text = " ".join(lines)
    assert "the lowest of 2 complete trials' numbers" in text  # of those that keep it
    assert "points" not in text and "%" not in text and "10,000 validation images" in text and "none of their labels" in text
    assert "one initialisation (seed 0), trained without labels" in text and "label seed" not in text
    monkeypatch.setenv("COLUMNS", "80")
    assert report.main([str(run)]) == 0
    out = capsys.readouterr().out
    assert "20 *" in out and "* ends above val/prior_mismatch 0.2: breaks the constraint" in out
    rows = [row[:6] for row in Page(run / "report" / "index.html").rows if len(row) > 6]
    assert [row[0] for row in rows] == ["2", "0 (known)", "1 (wild)"] and [row[5] for row in rows] == ["0.2", "0.1", "0.5 > 0.2"]
    with open(run / "report" / "trials.csv", newline="") as file:
        assert [line["val/prior_mismatch"] for line in csv.DictReader(file)] == ["0.1", "0.5", "0.2"]


def test_where_every_trial_breaks_the_constraint_there_is_no_best_configuration(tmp_path):
    fates = [Fate([20.0], more={"val/prior_mismatch": 0.9}), Fate([30.0], more={"val/prior_mismatch": 0.3})]
    run = read_run(play(tmp_path, fates, study=HELD, trial=UNSUPERVISED))
    start = "No complete trial keeps val/prior_mismatch at most 0.2; the nearest is trial 1, val/prior_mismatch 0.3, val/reconstruction 30"
    assert page.search_verdict(run)[0].startswith(start)
    assert figures.draw_all(run)["history"] == (
        None,
        "No trial is complete and keeps the constraint, so there is no history of the best one.",
    )


def test_what_breaks_the_constraint_tells_no_importance(tmp_path):
    """Seen to count them, and to name what breaks it."""
    broken = [Fate([20.0 - n / 10], more={"val/prior_mismatch": 0.5}) for n in range(7)]
    kept = [Fate([30.0], more={"val/prior_mismatch": 0.1})] * 3
    with pytest.raises(studies.NotDrawn, match="3 searched trials complete and keep the constraint, 3 with a finished epoch"):
        studies.importance_study(read_run(play(tmp_path, broken + kept, study=HELD, trial=UNSUPERVISED)))


def cluster_fates(healthy: list[bool]) -> list[Fate]:
    """Cluster error 10, 20, 30 %, val/reconstruction 20, 22, 21."""
    ill = ({"val/class_count": 12.7}, {"val/class_kl": 0.02}, {"val/class_entropy": 0.2})  # one limit each
    values = zip((0.1, 0.2, 0.3), (20.0, 22.0, 21.0), healthy, ill, strict=True)
    return [
        Fate([error], more={"val/reconstruction": reconstruction} | EVEN | ({} if well else limit))
        for error, reconstruction, well, limit in values
    ]


@pytest.mark.parametrize(
    ("healthy", "says"),
    [
        ([False, True, True], "2 of 3 complete trials are): trial 2, val/cluster_error 30.00 %, val/reconstruction 21."),
        ([True, True, True], "3 of 3 complete trials are): trial 0, the same one, val/cluster_error 10.00 %, val/reconstruction 20."),
        ([False, False, False], "Without labels nothing could have been chosen"),
    ],
)
def test_the_choice_without_labels_stands_beside_the_one_that_saw_them(healthy, says, tmp_path):
    """Trial 0 has the lowest reconstruction, and uses too few of its 16 clusters where it is not healthy."""
    lines = page.search_verdict(read_run(play(tmp_path, cluster_fates(healthy), study={"metric": "val/cluster_error"}, trial=CLUSTERS)))
    assert lines[0] == "Best configuration: trial 0, val/cluster_error 10.00 % after 1 epoch."
    text = " ".join(lines)
    assert says in text and "Training saw no label; this choice does." in text and "10,000 validation labels" in text
    assert "one initialisation (seed 0), trained without labels" in text


def test_without_labels_the_draws_of_a_trial_are_initialisations(tmp_path):
    fates = [Fate([0.2], more={"val/cluster_error_draws": [0.19, 0.2, 0.21]})]
    run = play(tmp_path, fates, study={"metric": "val/cluster_error", "draws_per_trial": 3}, trial=CLUSTERS)
    text = " ".join(page.search_verdict(read_run(run)))
    assert "the mean over 3 initialisations (seeds 0 to 2), trained without labels" in text and "one initialisation" not in text
    assert "Its draws, one by one: 19.00 %, 20.00 %, 21.00 %." in text


def test_the_component_error_stands_beside_the_priors_own(tmp_path):
    trial = {
        "data": {"num_labels": -1},
        "model": {"class_source": "none", "z_dim": 2},
        "objective": {"adversarial_y": None, "classification": None, "adversarial_z": {"prior": {"kind": "mixture"}, "sees_label": True}},
    }
    space = {"optim.reconstruction.rate": SPACE["optim.reconstruction.rate"]}
    fates = [Fate([0.05], more={"val/component_error_of_prior": 0.0162})]
    text = " ".join(page.search_verdict(read_run(play(tmp_path, fates, study={"metric": "val/component_error"}, trial=trial, space=space))))
    assert "val/component_error 5.00 % after" in text and "Of the prior's own samples 1.62 % lie nearest to another class's part" in text
    assert "one initialisation (seed 0), trained with all labels" in text and "label seed" not in text


def test_a_likelihood_is_in_nats_everywhere_and_called_rough(tmp_path, undrawn):
    trial = UNSUPERVISED | {"train": {"epochs": 1, "batch_size": 50, "parzen_samples": 500, "precision": "float32"}}
    fates = [Fate([-100.0], more={"val/parzen_std": 0.18}), Fate([-112.5], more={"val/parzen_std": 0.2})]
    run = read_run(play(tmp_path, fates, study={"metric": "val/parzen_nll"}, trial=trial, baselines={"known": INSIDE}))
    lines = page.search_verdict(run)
    assert lines[0] == "Best configuration: trial 1, val/parzen_nll -112.5 nats after 1 epoch."
    assert "Baseline known (trial 0): -100 nats, 12.5 nats above the best, on the same images and epochs." in lines
    assert any("500 samples, window 0.20 wide, chosen on other validation images: a rough one" in line for line in lines)
    assert run.metric_label == "val/parzen_nll (nats)"
    assert "%" not in Page(report.write_files(run)).text.partition("2 trials on")[2]  # after the style


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("val/error", 0.019, "1.90 %"),
        ("val/cluster_error_majority", 0.1, "10.00 %"),
        ("test/knn_error", 0.5, "50.00 %"),
        ("val/component_error", None, "-"),
        ("val/reconstruction", 25.3149, "25.31"),
        ("val/prior_mismatch", 0.012345, "0.01235"),
        ("val/parzen_nll", -312.44, "-312.4 nats"),
    ],
)
def test_errors_are_shown_in_percent_and_every_other_metric_as_the_number_it_is(metric, value, text):
    assert metrics.shown(metric, value) == text


def test_the_console_of_a_sweep_shows_a_metric_with_its_unit_and_what_breaks_the_constraint(tmp_path):
    run = play(tmp_path, [Fate([20.0], more={"val/prior_mismatch": 0.5})], study=HELD, trial=UNSUPERVISED)
    console = SweepConsole(SweepStudy(run, load_sweep(tmp_path / "s.yaml", {})), SimpleNamespace(slots=1), Console())
    assert console.line(console.study.trial(0)) == "trial 0 COMPLETE 20, breaks the constraint on val/prior_mismatch, 1 epochs"
    assert "best 20 (trial 0, breaks the constraint on val/prior_mismatch)" in console.standing() and "%" not in console.standing()


# ---- the page


class Page(HTMLParser):
    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.text = ""  # without styles and scripts
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "h2":
            self.headings.append("")
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem is not None:
            if self.cdata_elem == "script":
                self.scripts[-1] += data
            return
        self.text += data
        inside = self.tags[-1] if self.tags else ""
        if inside == "h2" and not self.headings[-1]:
            self.headings[-1] = data
        elif inside == "td":
            self.rows[-1][-1] += data

    @property
    def pictures(self) -> list[bytes]:
        prefix = "data:image/png;base64,"
        sources = [value or "" for name, value in self.attributes if name == "src"]
        assert all(source.startswith(prefix) for source in sources)
        return [base64.b64decode(source.removeprefix(prefix), validate=True) for source in sources]


def test_the_page_loads_nothing_and_runs_its_own_two_scripts_alone(reported):
    read = Page(reported / "report" / "index.html")
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("href", "srcset", "background")]
    (policy,) = [value for name, value in read.attributes if name == "content" and "default-src" in value]
    source, runs = "'sha256-{}'", [script for script in read.scripts if not script.startswith(("{", "null"))]
    hashes = [source.format(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()) for script in runs]
    assert len(runs) == 2 and policy.startswith(
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; img-src data:"
    )
    assert "http" not in read.text and "url(" not in read.text and "@import" not in page.read_template("page.css")
    assert len(read.pictures) == len(FIGURES) and all(picture.startswith(b"\x89PNG") for picture in read.pictures)


def test_no_name_or_value_ends_the_pages_data(tmp_path, undrawn):
    """Seen to fail with the data put in without the template's filter."""
    evil = "</script><script>alert(1)</script><!--"
    run = play(tmp_path, [failed(evil), Fate([0.3, 0.2, 0.1])], baselines={evil: OUTSIDE})
    manifest = read_json(run / "manifest.json")
    manifest["sweep"]["study"]["name"] = evil  # a sweep file cannot: it is a folder's name
    write_json(run / "manifest.json", manifest)
    read = Page(report.write_files(read_run(run)))
    assert len(read.scripts) == 4 and read.text.count(evil) > 3
    data = json.loads(read.scripts[0])
    assert {trial["reason"] for trial in data["trials"]} == {None, evil} and data["trials"][1]["baseline"] == evil


def test_names_and_reasons_stand_on_the_page_as_they_are(reported):
    read = Page(reported / "report" / "index.html")
    assert f"Baseline {HOSTILE} (trial 1)" in read.text and f"ValueError: {HOSTILE}" in read.text
    assert [f"1 ({HOSTILE})", "COMPLETE", "20.00 %", "3", "8"] in [row[:5] for row in read.rows]


def test_every_section_is_there_the_verdict_before_all(reported):
    read = Page(reported / "report" / "index.html")
    assert read.headings == [
        "Reproduce",
        "Trials",
        "Optimisation history",
        "Learning curves",
        "Rank of the trials over the epochs",
        "Parallel coordinates",
        "Slices",
        "Parameter importance",
        "States",
        "Warnings",
        "What the best trial has learnt",
    ]
    assert read.text.index("Best configuration: trial 6") < read.text.index("Reproduce")
    for value in ("4.00 %", "10.00 %", "20.00 %"):  # the baselines' numbers beside the best one's
        assert value in read.text[: read.text.index("Best configuration")]


def test_the_table_holds_every_trial_the_best_at_the_top_and_the_states_are_counted(reported):
    read, short = Page(reported / "report" / "index.html"), 4  # columns of sampled values
    trials = [row for row in read.rows if len(row) == 5 + short]
    names = [row[0] for row in trials]
    assert names[0] == "6" and sorted(int(name.split()[0]) for name in names) == list(range(len(MIXED)))
    assert [row[1] for row in trials[-4:]] == ["PRUNED", "DIVERGED", "FAIL", "interrupted"]
    counted = {row[0]: row[1] for row in read.rows if len(row) == 3 and row[1].isdigit()}
    assert counted == {"COMPLETE": "10", "PRUNED": "1", "DIVERGED": "1", "FAIL": "1", "interrupted": "1"}


def test_the_page_shows_what_the_training_of_the_best_trial_drew(trained, tmp_path, undrawn):
    run = copy(trained, tmp_path / "run")
    read = Page(report.write_files(read_run(run)))
    drawn = trial_folder(run, 0).last_attempt().samples_path
    last = [drawn / f"epoch-0003-{kind}.png" for kind in strips.STRIP_KINDS]
    rows = [run / "report" / f"strip-{kind}.png" for kind in strips.STRIP_KINDS]
    assert read.pictures == [path.read_bytes() for path in last + rows]
    assert "each row one style z from the prior, each column one class y" in read.text


def test_the_page_of_a_best_trial_without_pictures_says_how_to_draw_them(reported):
    assert f"python -m analysis.latents {reported} --trial 6" in Page(reported / "report" / "index.html").text


def test_of_2000_trials_the_plots_have_400_the_best_and_the_baselines_among_them_and_the_page_says_so(tmp_path):
    run = made_up(tmp_path, 2000, 200)
    run.trials[1777] = replace(run.trials[1777], baseline="paper")
    data = plots.plot_data(run, running=True)
    drawn = [trial["number"] for trial in data["trials"] if trial["drawn"]]
    assert len(data["trials"]) == 2000 and 350 < len(drawn) <= 402 and 1777 in drawn
    assert {trial.number for trial in run.complete[:200]} <= set(drawn)
    lengths = [len(trial["curve"][0]) for trial in data["trials"] if trial["curve"]]
    assert max(lengths) <= 121 and all(
        trial["curve"][0][-1:] == [trial["epochs"]] for trial in data["trials"] if trial["curve"] and trial["epochs"]
    )
    said = plots.thinned(run)
    assert f"Of 2,000 trials the plots show {len(drawn)}" in said and "Of 200 epochs a line shows at most 120" in said
    assert len(json.dumps(data, allow_nan=False)) < 2e6 and plots.thinned(made_up(tmp_path, 200, 60)) is None
    assert f"among the {len(drawn)} shown that ran it: 1 is" in plots.ranks_caption(run)  # seen to say among all
    assert "among those that ran it: 1 is" in plots.ranks_caption(made_up(tmp_path, 200, 60))


def test_lines_of_long_trials_show_the_same_epochs_so_that_their_ranks_are_among_all(tmp_path):
    """Seen to fail with lines that were thinned each by its own length: of a pruned trial every other epoch had rank 1."""
    run = made_up(tmp_path, 5, 200)
    run.trials[3] = replace(run.trials[3], state="PRUNED", rows=run.trials[3].rows[:31])
    data = plots.plot_data(run, running=False)
    shown = [trial["curve"][0] for trial in data["trials"]]
    assert data["epochs_apart"] == 2 and {16, 101} <= {len(epochs) for epochs in shown}
    assert all((epoch - 1) % 2 == 0 for epochs in shown for epoch in epochs[:-1])


def test_a_block_that_is_off_in_some_trials_is_said_with_each(tmp_path):
    """Seen to give a trial without the block the values of the others, on the page."""
    run = made_up(tmp_path, 9, 3)
    for number in (1, 5):
        config = run.trials[number].config
        config["block"] = None
        for path in [path for path in config if path.startswith("block.")]:
            del config[path]
    common = plots.common_values(run)
    assert not any(path.startswith("block") for path in common)


def test_the_page_of_a_run_says_whether_it_runs_was_cut_off_or_has_ended(mixed, tmp_path):
    run = copy(mixed, tmp_path / "run")
    read = read_run(run)
    assert page.standing(read, running=True) == "Running: 13 of 14 trials told, 1 at work."
    assert page.standing(read, running=False) == "Interrupted: 13 of 14 trials told. The sweep's own command goes on with it."
    ended = replace(read, trials=read.trials[:-1])
    assert page.standing(ended, running=False) == "Ended: all 13 trials told."
    (run / "sweep.yaml").write_text("study: {num_trials: 20}", encoding="utf-8")
    assert page.standing(ended, running=False).startswith("Interrupted: 13 of 20 trials told.")
    write_json(run / "choice.json", {"trials": {}, "ended": {"below": 0.002, "expected": 0.001, "trials": 13}})
    gained = replace(ended, path=run)
    assert page.standing(gained, running=False) == "Ended: 13 of 20 trials told, and study.stop_below_gain asks for no more."
    assert page.standing(read_run(run), running=False).startswith("Interrupted: 13 of 20 trials told.")  # one is not told yet
    assert page.standing(read_run(open_run(tmp_path / "none", 1).run), running=False) == "No trial has been asked yet."
    one = page.standing(read_run(play(tmp_path / "one", [failed()])), running=False)
    assert one == "Ended: the one trial told."


# ---- the screen, trials.csv and best.yaml


def test_the_screen_shows_verdict_table_and_path_within_80_columns(mixed, tmp_path, undrawn, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    run = copy(mixed, tmp_path / "run")
    assert report.main([str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Best configuration: trial 6, val/error 4.00 % after 3 epochs.")
    assert f"Baseline {HOSTILE} (trial 1): 20.00 %" in out
    assert "10 COMPLETE, 1 PRUNED, 1 DIVERGED, 1 FAIL, 1 interrupted" in out
    assert out.splitlines()[-1] == f"report: {run / 'report' / 'index.html'}"
    assert all(len(line) <= 80 for line in out.splitlines() if line.startswith(("│", "┃", "└", "┏", "┡")))


def test_on_the_screen_too_a_trial_that_a_driver_is_at_work_on_is_running(mixed, tmp_path, undrawn, capsys):
    """Seen to say interrupted, beside a page that said running."""
    run = copy(mixed, tmp_path / "run")
    for work, word, other in (("search", "running", "interrupted"), ("confirm", "interrupted", "running")):
        driver = DriverLock(run, work=work)
        assert report.main([str(run)]) == 0
        driver.release()
        table = capsys.readouterr().out.partition("trials, the best first")[2]
        assert f"1 {word}" in table and other not in table


def test_trials_csv_holds_the_study_complete_and_exact(reported):
    with open(reported / "report" / "trials.csv", newline="") as file:
        table = list(csv.DictReader(file))
    trials = read_trials(reported)
    paths = flatten(checkpoint.read_config(trial_folder(reported, 0).path))
    assert len(table) == len(trials) == len(MIXED)
    assert list(table[0]) == ["number", "state", "baseline", "val/error", "epochs", "seconds", "reason", *paths]
    for line, trial, fate in zip(table, trials, MIXED, strict=True):
        last = trial.intermediate_values[trial.last_step] if fate.errors else None
        assert int(line["number"]) == trial.number and line["state"] == fate.state
        assert line["baseline"] == trial.user_attrs.get("baseline", {}).get("name", "")
        assert line["val/error"] == ("" if last is None else str(last)) and line["reason"] == trial.user_attrs.get("reason", "")
        assert int(line["epochs"]) == len(fate.errors) and float(line["seconds"]) == 2.5 * len(fate.errors)
        config = flatten(checkpoint.read_config(trial_folder(reported, trial.number).path))
        assert {path: line[path] for path in paths} == {path: "" if value is None else str(value) for path, value in config.items()}
        assert all(config[path] == value for path, value in trial.params.items())


def test_best_yaml_trains_the_best_trial_again_to_the_bit(trained, tmp_path, undrawn):
    run = copy(trained, tmp_path / "run")
    report.write_files(read_run(run))
    best = run / "report" / "best.yaml"
    command = page.train_command(read_run(run), read_run(run).best)
    assert command == f"python -m aae.train {best} --output {tmp_path / 'train-s-0000'}"
    assert command in best.read_text() and command in Page(run / "report" / "index.html").text
    assert train.main(command.split()[3:]) == 0
    recorded, again = trial_folder(run, 0).rows(), TrialFolder(tmp_path / "train-s-0000").rows()
    assert len(recorded) == 3 and all(same_row(*rows) for rows in zip(recorded, again, strict=True))


# ---- while a sweep runs, and after a kill


def test_a_report_changes_nothing_but_its_own_folder(mixed, tmp_path, undrawn):
    run = copy(mixed, tmp_path / "run")
    report.write_files(read_run(run))
    assert listing(run, but="report") == listing(mixed)
    assert sorted(path.name for path in (run / "report").iterdir()) == ["best.yaml", "index.html", "trials.csv"]


def test_a_report_reads_the_journal_after_every_write_of_a_sweep_and_a_torn_line_as_not_written(tmp_path, undrawn):
    run = play(tmp_path, [Fate([0.5, 0.4, 0.3]), Fate([0.5], "DIVERGED"), failed()])
    journal, told = run / "study.journal", []
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept, next_line in enumerate(lines):
        journal.write_bytes(b"".join(lines[:kept]))
        at_rest = report.trials_csv(read_run(run))
        with open(journal, "ab") as file:
            file.write(next_line[: 1 + kept * 7 % (len(next_line) - 1)])  # anything but its end
        assert report.trials_csv(read_run(run)) == at_rest
        told.append(sum(trial.state != "interrupted" for trial in read_run(run).trials))
        if kept % 8 == 0:
            report.write_files(read_run(run))
    assert len(lines) > 20 and told == sorted(told) and {0, 1, 2} <= set(told)


def test_a_torn_last_row_counts_as_not_written(mixed, tmp_path):
    run = copy(mixed, tmp_path / "run")
    attempt = trial_folder(run, len(MIXED) - 1).last_attempt()
    with open(attempt.metrics_path, "ab") as file:
        file.write(b'{"epoch": 3, "val/err')
    trial = read_run(run).trials[-1]
    assert (trial.state, trial.epochs, trial.value) == ("interrupted", 2, 0.3)


def test_the_value_of_a_trial_is_that_of_the_epoch_named_beside_it(tmp_path):
    """A worker writes its row before the driver hears of it, and one more before it is stopped."""
    run = play(tmp_path, [Fate([0.5, 0.4], "PRUNED", "pruned at epoch 2"), Fate([0.5], "interrupted")])
    for number, epoch in ((0, 3), (1, 2)):
        trial_folder(run, number).last_attempt().write_row({"epoch": epoch, "val/error": 0.1})
    assert [(trial.epochs, trial.value) for trial in read_run(run).trials] == [(2, 0.4), (1, 0.5)]


def test_a_report_without_a_best_trial_takes_away_what_an_earlier_one_left(mixed, tmp_path, undrawn):
    run = copy(mixed, tmp_path / "run")
    report.write_files(read_run(run))
    assert (run / "report" / "best.yaml").exists()
    (run / "report" / "history.png").write_bytes(b"old")
    (run / "study.journal").write_bytes(b"")
    report.write_files(read_run(run))
    assert sorted(path.name for path in (run / "report").iterdir()) == ["index.html", "trials.csv"]


# ---- figures


def is_picture(png: bytes | None, tmp_path: Path) -> bool:
    """Read as a PNG of some size, with something on it."""
    path = tmp_path / "picture.png"
    path.write_bytes(png or b"")
    pixels = matplotlib.image.imread(path)[..., :3]
    return min(pixels.shape[:2]) > 150 and float(pixels.std()) > 0.02


def test_every_figure_is_drawn_of_a_study_that_has_enough_trials(reported, tmp_path):
    for name in FIGURES:
        assert is_picture((reported / "report" / f"{name}.png").read_bytes(), tmp_path), name


def test_figures_are_drawn_of_spaces_of_every_kind(tmp_path):
    space = {
        "model.hidden_dims": {"kind": "categorical", "choices": [[16], [16, 16]]},
        "optim.kind": {"kind": "categorical", "choices": ["adam"]},
        "model.z_dim": {"kind": "int", "low": 4, "high": 4},
        "train.ema_decay": {"kind": "categorical", "choices": [None, 0.9]},
        "model.num_classes": {"kind": "int", "low": 10, "high": 1000, "log": True},
    }
    fates = [Fate([0.5 + 0.01 * number, 0.9, 0.001 * number]) for number in range(9)]
    drawn = figures.draw_all(read_run(play(tmp_path, fates, space=space)))
    assert {name: caption for name, (png, caption) in drawn.items() if png is None} == {}


WHY_NOT = {
    "nothing": (
        [],
        ["No trial is complete", "0 searched trials complete, 0 with", "0 searched trials", "0 searched trials", "No tri"],
    ),
    "failures": (
        [failed()] * 2,
        ["No trial is complete", "0 searched trials complete", "0 searched trials complete", "0 searched trials", "No trial has"],
    ),
    "one": (
        [Fate([0.3, 0.2, 0.1])],
        ["Dots:", "1 searched trial complete, 1 with", "1 searched trial complete", "1 searched trial", "Every trial"],
    ),
}


@pytest.mark.parametrize("kind", WHY_NOT)
def test_a_figure_that_cannot_be_drawn_is_a_sentence_that_says_why(kind, tmp_path):
    fates, says = WHY_NOT[kind]
    run = play(tmp_path, fates) if fates else open_run(tmp_path, 1).run
    drawn = figures.draw_all(read_run(run))
    assert list(drawn) == FIGURES
    for (name, (png, caption)), start in zip(drawn.items(), says, strict=True):
        assert caption.startswith(start) and caption.endswith("."), (name, caption)
        assert (png is not None) == start.startswith(("Dots", "Every"))


@pytest.mark.parametrize("kind", WHY_NOT)
def test_a_section_without_a_plot_says_why_once(kind, tmp_path, undrawn):
    """Seen to fail with ranks that are explained where there are none."""
    fates, _ = WHY_NOT[kind]
    read = Page(report.write_files(read_run(play(tmp_path, fates) if fates else open_run(tmp_path, 1).run)))
    assert read.text.count("Fewer than two trials have finished an epoch, so there are no ranks.") == 1
    assert "Where each trial stood" not in read.text and page.HEADINGS["rungs"] not in read.headings
    assert read.text.count("No trial is complete, so there is no best one to show.") == (kind != "one")
    assert ("id", "plot-codes") not in read.attributes or kind == "one"


SAME_VALUE = [Fate([0.3, 0.2, 0.1]) for _ in range(10)]
ONE_PATH = {"optim.generator.rate": {"kind": "float", "low": 0.01, "high": 0.1}}


@pytest.mark.parametrize(
    ("fates", "space", "says"),
    [
        (SAME_VALUE, SPACE, "10 trials have the same val/error, so no parameter tells the better ones from the rest."),
        (
            [Fate([0.3, 0.2, 0.1 + 0.01 * number]) for number in range(10)],
            ONE_PATH,
            "An importance compares parameters, and this study searched only one.",
        ),
    ],
)
def test_an_importance_that_tells_nothing_is_a_sentence_on_every_page(fates, space, says, tmp_path, recwarn):
    """Also where no figure is drawn, on the page of a running sweep: seen to fail there, with a caption and no plot."""
    run = read_run(play(tmp_path, fates, space=space))
    recwarn.clear()
    for captions_alone in (True, False):
        png, caption = figures.draw_all(run, captions_alone)["importance"]
        assert png is None and caption.startswith(says)
    assert plots.plot_data(run, False)["importance"] is None and not recwarn.list


def test_a_study_of_baselines_alone_says_that_it_searched_nothing(tmp_path):
    fates = [Fate([0.3, 0.2, 0.1]), Fate([0.4, 0.3, 0.2])]
    run = read_run(play(tmp_path, fates, baselines={"a": OUTSIDE, "b": {"model.leaky_slope": 0.1}}))
    drawn = figures.draw_all(run)
    assert drawn["parallel"] == (None, "This study searched no parameter, so there are no parallel coordinates.")
    assert drawn["history"][0] is not None and drawn["learning-curves"][0] is not None


def test_a_plotting_library_that_fails_costs_a_sentence_and_not_the_report(mixed, tmp_path, monkeypatch):
    def broken(run):
        raise RuntimeError("no such <colour>")

    monkeypatch.setattr(figures, "FIGURES", dict.fromkeys(FIGURES, broken))
    run = copy(mixed, tmp_path / "run")
    assert report.main([str(run)]) == 0
    assert Page(run / "report" / "index.html").text.count("Not drawn: RuntimeError: no such <colour>") == len(FIGURES)


# ---- new images, and the latent space


def generated(folder: Path, *arguments: str, capsys) -> np.ndarray:
    """The array that analysis.generate wrote, by the paths that it printed."""
    assert generate.main([str(folder), *arguments]) == 0
    picture, array = capsys.readouterr().out.splitlines()
    assert picture.endswith(".png") and Path(picture).is_file()
    return np.load(array)


def test_the_same_seed_generates_the_same_images_and_another_seed_others(trained, tmp_path, capsys):
    runs = [copy(trained, tmp_path / name) for name in ("a", "b")]
    first, again = (generated(run, "--num", "30", capsys=capsys) for run in runs)
    assert first.shape == (30, SIDE, SIDE) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, generated(runs[0], "--num", "30", "--seed", "1", capsys=capsys))
    names = ["trial-0000-generated-seed-0", "trial-0000-generated-seed-1"]
    assert sorted(path.stem for path in (runs[0] / "report").glob("*.npy")) == names
    grid = matplotlib.image.imread(runs[0] / "report" / f"{names[0]}.png")
    assert grid.shape[:2] == (2 * (3 * (SIDE + 1) + 1), 2 * (10 * (SIDE + 1) + 1))  # three rows of ten


def test_class_k_gives_images_of_that_class_alone(trained, tmp_path, capsys):
    run = copy(trained, tmp_path / "run")
    model, config = checkpoint.load(trial_folder(run, 0).path)
    z_NZ = SAMPLE_PRIOR["gaussian"](unlabelled(20), config.model.z_dim, 10, 1.0, torch.Generator().manual_seed(3))
    for k in (0, 7):
        images = generated(run, "--class", str(k), "--num", "20", "--seed", "3", capsys=capsys)
        with torch.no_grad():
            expected = model.decoder(torch.eye(NUM_CLASSES)[k].expand(20, -1), z_NZ).reshape(-1, SIDE, SIDE)
        assert np.abs(images / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6
    assert (run / "report" / "trial-0000-generated-class-7-seed-3.npy").is_file()


def test_images_in_colour_keep_their_shape_and_a_model_without_classes_generates_too(colour, tmp_path, capsys):
    folder = copy(colour, tmp_path / "one")
    images = generated(folder, "--num", "500", capsys=capsys)
    assert images.shape == (500, 4, 6, 3) and images.dtype == np.uint8 and len(np.unique(images)) > 10
    grid = matplotlib.image.imread(folder / "report" / "generated-seed-0.png")
    assert grid.shape[0] == 2 * (generate.MAX_SHOWN // 10 * 5 + 1)  # the picture shows the first of them
    assert latents.main([str(folder)]) == 0


def test_in_the_grid_a_row_is_a_style_and_a_column_a_class(trained):
    model, config = checkpoint.load(trial_folder(trained, 0).path)
    pixels, columns = samples.samples(model, config, rows=4)
    z_NZ = SAMPLE_PRIOR["gaussian"](unlabelled(4), config.model.z_dim, 10, 1.0, torch.Generator().manual_seed(0))
    assert columns == NUM_CLASSES and len(pixels) == 4 * NUM_CLASSES
    for row in range(4):
        with torch.no_grad():
            expected = model.decoder(torch.eye(NUM_CLASSES), z_NZ[row].expand(NUM_CLASSES, -1))
        assert torch.allclose(pixels[row * NUM_CLASSES : (row + 1) * NUM_CLASSES], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "where", "stem"),
    [
        (["run"], "run/report", "trial-0000-"),  # the best one
        (["run", "--trial", "0"], "run/report", "trial-0000-"),
        (["run/trials/0000"], "run/report", "trial-0000-"),
        (["single", "--num", "50"], "single/report", ""),
    ],
)
def test_latent_pictures_are_written_into_the_report_and_their_paths_printed(arguments, where, stem, trained, tmp_path, capsys):
    copy(trained.parent, tmp_path / "copied")
    path, *rest = arguments
    assert latents.main([str(tmp_path / "copied" / path), *rest]) == 0
    paths = [tmp_path / "copied" / where / f"{stem}{kind}.png" for kind in ("samples", "reconstructions", "latent")]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    assert [matplotlib.image.imread(path).shape[0] for path in paths[:2]] == [2 * (10 * (SIDE + 1) + 1)] * 2
    assert is_picture(paths[2].read_bytes(), tmp_path)


def test_a_trial_that_is_named_by_the_folder_one_stands_in_is_its_runs(trained, tmp_path, monkeypatch):
    """Seen to write a report/ into the trial."""
    run = copy(trained, tmp_path / "run")
    monkeypatch.chdir(run / "trials" / "0000")
    before = listing(Path.cwd())
    assert latents.main([".", "--kind", "samples"]) == 0
    assert listing(Path.cwd()) == before and (run / "report" / "trial-0000-samples.png").is_file()


# ---- wrong input: one line, exit code 2, nothing written


def other_images(folder: Path) -> None:
    arrays = tiny_arrays()
    np.savez(folder / "tiny.npz", **arrays | {f"x_{part}": arrays[f"x_{part}"][:, :5] for part in ("train", "test")})


def use_own_copy(folder: Path) -> None:
    """The copied trials read the copied tiny.npz."""
    for path in folder.rglob("config.yaml"):
        config = yaml.safe_load(path.read_text())
        config["data"]["folder"] = str(folder / "tiny.npz")
        path.write_text(yaml.safe_dump(config))


BREAK = {  # what happens to a good folder with run/, single/ and tiny.npz in it
    None: lambda folder: None,
    "empty folder": lambda folder: (folder / "empty").mkdir(),
    "torn manifest": lambda folder: (folder / "run" / "manifest.json").write_text('{"id": '),
    "no manifest": lambda folder: (folder / "run" / "manifest.json").unlink(),
    "manifest names no study": lambda folder: (folder / "run" / "manifest.json").write_text(
        json.dumps(json.loads((folder / "run" / "manifest.json").read_text()) | {"sweep": {}})
    ),
    "manifest is a folder": lambda folder: ((folder / "run" / "manifest.json").unlink(), (folder / "run" / "manifest.json").mkdir()),
    "no journal": lambda folder: (folder / "run" / "study.journal").unlink(),
    "binary journal": lambda folder: (folder / "run" / "study.journal").write_bytes(b"\x00\xff\n\x01\n"),
    "journal of something else": lambda folder: (folder / "run" / "study.journal").write_text('{"hello": 1}\n'),
    "broken row": lambda folder: (folder / "run/trials/0000/attempt-0/metrics.jsonl").write_text("{]\n"),
    "rows are numbers": lambda folder: (folder / "run/trials/0000/attempt-0/metrics.jsonl").write_text("1\n2\n"),
    "broken config": lambda folder: (folder / "run/trials/0000/config.yaml").write_text("model: {z_dim: many}\n"),
    "report is a file": lambda folder: [(folder / name / "report").write_text("") for name in ("run", "single")],
    "no complete trial": lambda folder: (folder / "run" / "study.journal").write_bytes(b""),
    "no checkpoint": lambda folder: (folder / "run/trials/0000/attempt-0/checkpoint.pt").unlink(),
    "broken checkpoint": lambda folder: (folder / "run/trials/0000/attempt-0/checkpoint.pt").write_bytes(b"PK"),
    "no data": lambda folder: (folder / "tiny.npz").unlink(),
    "other data": other_images,
}
BOTH = [
    ("missing", [], None, "missing"),
    ("tiny.npz", [], None, "neither a sweep nor a training"),
    ("empty", [], "empty folder", "neither a sweep nor a training"),
    ("missing", ["--trial", "0"], None, "missing"),
    ("run", ["--trial", "99"], None, "--trial: got 99"),
    ("run", ["--trial", "-1"], None, "--trial: got -1"),
    ("run", ["--trial", "1"], None, "holds no checkpoint"),
    ("single", ["--trial", "0"], None, "single training"),
    ("run", ["--num", "0"], None, "--num: got 0"),
    ("run", [], "torn manifest", "manifest.json"),
    ("run", [], "binary journal", "study.journal"),
    ("run", [], "no complete trial", "no trial is complete"),
    ("run", [], "no checkpoint", "holds no checkpoint"),
    ("run", [], "broken checkpoint", "checkpoint.pt"),
    ("run", [], "broken config", "config.yaml"),
    ("run", [], "no data", "tiny.npz"),
    ("run", [], "other data", "30 pixels"),
    ("single", [], "report is a file", "cannot be written"),
]
WRONG = [
    *((report, *case) for case in [("missing", [], None, "no such folder"), ("tiny.npz", [], None, "no such folder")]),
    (report, "empty", [], "empty folder", "holds no study.journal"),
    (report, "single", [], None, "drew no pictures of two epochs yet"),
    *((report, "run", [], kind, "manifest.json") for kind in BREAK if kind and "manifest" in kind),
    *((report, "run", [], kind, "study.journal") for kind in BREAK if kind and "journal" in kind),
    *((report, "run", [], kind, "metrics.jsonl") for kind in ("broken row", "rows are numbers")),
    (report, "run", [], "broken config", "config.yaml"),
    (report, "run", [], "report is a file", "cannot be written"),
    *((program, *case) for program in (generate, latents) for case in BOTH),
    (latents, "run", ["--num", "1"], None, "--num: got 1"),
    (generate, "run", ["--num", "1000001"], None, "--num: got 1000001"),
    (generate, "run", ["--seed", "-1"], None, "--seed: got -1"),
    (generate, "run", ["--seed", str(2**63)], None, "--seed: got"),
    (generate, "run", ["--class", "10"], None, "--class: got 10; give a class from 0 to 9"),
    (generate, "run", ["--class", "-1"], None, "--class: got -1"),
]


@pytest.mark.parametrize(("program", "folder", "arguments", "kind", "says"), WRONG)
def test_wrong_input_is_one_line_and_exit_code_2_and_writes_nothing(
    program, folder, arguments, kind, says, trained, tmp_path, monkeypatch, undrawn, capsys
):
    monkeypatch.chdir(copy(trained.parent, tmp_path / "copied"))
    use_own_copy(tmp_path / "copied")
    BREAK[kind](tmp_path / "copied")
    before = listing(tmp_path)
    assert program.main([folder, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith(f"{program.__name__}: ") and says in err
    assert listing(tmp_path) == before


def test_a_class_of_a_model_without_classes_is_refused(colour, capsys):
    assert generate.main([str(colour), "--class", "0"]) == 2
    assert "--class: got 0; this decoder is told no class" in capsys.readouterr().err


@pytest.mark.parametrize("program", [report, latents, generate])
@pytest.mark.parametrize("arguments", [[], ["run", "--what"], ["run", "--trial", "best"], ["run", "more"]])
def test_a_wrong_command_line_is_at_most_three_lines_and_exit_code_2(program, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        program.main(arguments)
    assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") <= 3


# ---- on a machine without Ray


def test_the_analysis_needs_neither_ray_nor_wandb_nor_the_sweep_and_says_nothing_on_stderr(trained, tmp_path):
    run = copy(trained, tmp_path / "run")
    code = (
        "import sys\n"
        "from analysis import generate, latents, report\n"
        f"codes = [program.main([{str(run)!r}]) for program in (report, latents, generate)]\n"
        "loaded = {name.split('.')[0] for name in sys.modules} | {name for name in sys.modules if name.startswith('aae.')}\n"
        "print(codes, sorted(loaded & {'ray', 'wandb', 'aae.tuning', 'aae.train'}))\n"
    )
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=300)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] []" and done.stderr == ""
