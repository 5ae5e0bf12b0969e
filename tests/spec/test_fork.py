"""Two studies, one pipeline: a trial that goes on from another study's checkpoint is the training from epoch 0, to the bit."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from rich.console import Console

from aae import checkpoint
from aae.config import ConfigError
from aae.inputs import parse_overrides
from aae.paths import flatten
from aae.runs import TrialFolder, read_json, same_row, trial_folder, write_json
from aae.train import train
from aae.tuning.confirm import run as confirm
from aae.tuning.driver import reproduction
from aae.tuning.driver.budget import Budget
from aae.tuning.driver.forecast import forecast_left, foresee
from aae.tuning.spec.fork import Fork
from aae.tuning.spec.space import Entry, SearchSpace
from aae.tuning.study.journal import read_trials
from aae.tuning.study.learning import trials_inside
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.rehearsal import Cost, cases_of
from analysis.report import trials_csv, write_files
from analysis.trials import read_run
from tests.folders import listing
from tests.golden import tiny_arrays, tiny_config
from tests.refusals import refused, run
from tests.sweeping import PROJECT, assert_one_truth, begun, count_told, train_here, train_out, trials_of, without_ray
from tests.training import Killed, averaged, in_pieces, killed_after, nothing, whole, without_clock

RATES = """
study: {{name: rates, num_trials: {num}, draws_per_trial: {draws}, sampler: {{kind: RandomSampler, seed: 0}}}}
trial:
  data: {{name: npz, folder: tiny.npz, num_labels: 20, num_validation: 105}}
  model: {{hidden_dims: [16], init_std: null}}
  objective: {{adversarial_y: {{}}, classification: {{}}, consistency: {{weight: 0.3, from_epoch: 3}}, mutual_information: {{}}}}
  train: {{epochs: 4, batch_size: 50, labelled_batch_size: 20, sample_every: 0, precision: float32, keep_epochs: {keep}}}
search_space:
  model.z_dim: {{kind: int, low: 2, high: 12}}
  optim.generator.rate: {{kind: float, low: 0.03, high: 0.3, log: true}}
"""
DECAY = """
study:
  name: decay
  num_trials: 5
  draws_per_trial: {draws}
  sampler: {{kind: RandomSampler, seed: 0}}
  fork: {{run: runs/rates, top_k: 2, epoch: 2}}
baselines:
  constant: {{optim.schedule.kind: constant}}
trial:
  train: {{epochs: 6}}
search_space:
  optim.schedule.kind:    {{kind: categorical, choices: [step, cosine, linear]}}
  optim.schedule.drop_at: {{kind: float, low: 0.34, high: 0.9}}
  objective.consistency.from_epoch: {{kind: int, low: 2, high: 4}}
  objective.mutual_information.until_epoch: {{kind: int, low: 3, high: 5}}
"""


BEGINS, ENDS = "objective.consistency.from_epoch", "objective.mutual_information.until_epoch"


def rates(draws: int = 1, keep: str = "[2]", num: int = 4) -> SweepStudy:
    Path("rates.yaml").write_text(RATES.format(draws=draws, keep=keep, num=num))
    return train_here(load_sweep("rates.yaml", {}))


def decay(*overrides: str, draws: int = 1):
    Path("decay.yaml").write_text(DECAY.format(draws=draws))
    return load_sweep("decay.yaml", parse_overrides(list(overrides)))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """A folder with both studies run. Tests take a copy."""
    folder, before = tmp_path_factory.mktemp("two"), Path.cwd()
    os.chdir(folder)
    try:
        np.savez("tiny.npz", **tiny_arrays())
        rates()
        train_here(decay())
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(two, tmp_path, monkeypatch) -> Path:
    """The current folder: rates.yaml, decay.yaml, tiny.npz, and both run folders."""
    shutil.copytree(two, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def searched(place) -> Path:
    """The same, the second study not begun."""
    shutil.rmtree("runs/decay")
    return place


# ---- the first study


def test_the_checkpoints_that_are_asked_for_stay_whole_through_kills_and_the_others_do_not(tmp_path, dataset):
    config = tiny_config({"train.epochs": 5, "train.keep_epochs": [2, 4], "train.checkpoint_every": "3"})
    whole(config, tmp_path / "whole", dataset)
    attempt = in_pieces(config, tmp_path / "pieces", dataset, kills=[2, 4])
    for epoch in (2, 4):
        one, other = (checkpoint.read(TrialFolder(tmp_path / name).last_attempt().kept_path(epoch)) for name in ("whole", "pieces"))
        assert one["epoch"] == epoch and {"optimizers", "generators"} <= set(one)
        assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert sorted(path.name for path in attempt.path.glob("*.pt")) == ["checkpoint-0002.pt", "checkpoint-0004.pt", "checkpoint.pt"]


def test_a_kill_before_the_kept_checkpoint_is_written_does_not_lose_it(tmp_path, dataset, monkeypatch):
    """Fails where the checkpoint that a restart goes on from is written first."""
    config, trial, save = tiny_config({"train.keep_epochs": [2]}), TrialFolder(tmp_path / "t"), checkpoint.save

    def dies(path, state):
        if path.name == "checkpoint-0002.pt":
            raise Killed
        save(path, state)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(checkpoint, "save", dies)
        train(config, nothing, trial, trial.next_attempt(), dataset)
    assert len(trial.rows()) == 2
    train(config, nothing, trial, trial.next_attempt(), dataset)
    assert trial.last_attempt().kept_path(2).is_file() and len(trial.rows()) == 3


def test_a_told_trial_keeps_them_if_it_is_complete_and_once(workplace):
    study = rates()
    for folder in (study.run / "trials").iterdir():
        assert sorted(path.name for path in folder.glob("attempt-*/*.pt")) == ["checkpoint-0002.pt", "checkpoint.pt"]
    handout = SweepStudy(study.run, load_sweep("rates.yaml", {"study.num_trials": 5})).next()
    again = SweepStudy(study.run, load_sweep("rates.yaml", {"study.num_trials": 5}))
    with pytest.raises(Killed):
        train(handout.config, killed_after(3), handout.folder, handout.attempt)
    again.reconcile()
    again.tell(4, TrialState.PRUNED, "pruned")
    assert [path.name for path in handout.folder.path.glob("attempt-*/*.pt")] == ["checkpoint.pt"]


def test_a_disks_budget_takes_the_kept_checkpoints_of_losers_too(workplace):
    study = rates(num=3)
    budget = Budget(load_sweep("rates.yaml", {"study.max_disk_gb": 1}).study, study.run, study.trials)
    budget.keep = 1
    budget._remove(10**12)
    left = [path.parent.parent for path in study.run.glob("trials/*/attempt-*/checkpoint-*.pt")]
    assert left == [trial_folder(study.run, best(study.run)[0]).path]


def best(run: Path) -> list[int]:
    return [trial.number for trial in sorted(trials_of(run), key=lambda trial: (trial.value, trial.number))]


# ---- the second


def test_a_forked_trial_is_its_parent_up_to_the_epoch_and_then_has_its_own_schedule(place):
    run, parents = Path("runs/decay"), best(Path("runs/rates"))[:2]
    assert_one_truth(run, 5)
    baseline, *forks = trials_of(run)
    assert {trial.params["fork.parent"] for trial in forks} == set(parents)
    assert baseline.user_attrs["baseline"] == {"name": "constant", "values": {"fork.parent": parents[0], "optim.schedule.kind": "constant"}}
    for trial, number in zip(trials_of(run), [parents[0], *(trial.params["fork.parent"] for trial in forks)], strict=True):
        folder, theirs = trial_folder(run, trial.number), trial_folder("runs/rates", number)
        rows, before = folder.rows(), theirs.rows()
        assert rows[:2] == before[:2] and len(rows) == 6
        assert folder.labels_path.read_bytes() == theirs.labels_path.read_bytes()
        config, parent = (flatten(checkpoint.read_config(one.path)) for one in (folder, theirs))
        changed = {path for path, value in config.items() if value != parent[path] and not path.startswith("optim.schedule.")}
        assert changed - {BEGINS, ENDS} == {"train.epochs", "train.keep_epochs"}
        assert config[BEGINS] == (trial.params[BEGINS] if BEGINS in trial.params else parent[BEGINS])
        fork = folder.fork
        assert (fork["run"], fork["trial"], fork["epoch"]) == ("runs/rates", number, 2)
        assert fork["config"]["model"]["z_dim"] == parent["model.z_dim"] and len(fork["checkpoint"]) == 64
        result = read_json(folder.result_path)
        assert result["forked_at"] == 2
        assert result["seconds"] == round(sum(row["time/epoch_s"] + row["time/evaluation_s"] for row in rows[2:]), 1)
    assert read_json(run / "manifest.json")["fork"]["id"] == read_json(Path("runs/rates/manifest.json"))["id"]


def test_a_fork_equals_a_training_from_epoch_0_to_the_bit(place, tmp_path, dataset):
    """Rows and weights. Fails where a fork leaves out any of the state that a step depends on, or its steps count from the fork. Some
    begin the consistency term before their parent did, some after."""
    assert {2, 4} <= {trial.params.get(BEGINS) for trial in trials_of(Path("runs/decay"))}
    for number in range(5):
        folder = trial_folder("runs/decay", number)
        rows, weights = whole(checkpoint.read_config(folder.path), tmp_path / f"{number}", dataset)
        assert without_clock(folder.rows()) == rows
        assert all(torch.equal(value, weights[name]) for name, value in averaged(folder.last_attempt()).items())


def test_it_is_the_checkpoint_that_a_fork_goes_on_from_and_epochs_before_it_are_not_trained(searched, monkeypatch):
    began = []

    def note(config, report, folder, attempt, dataset) -> None:
        began.append((len(attempt.rows()), checkpoint.resumable(attempt.checkpoint_path)["epoch"]))
        for epoch in range(3, 7):
            report(attempt.write_row({"epoch": epoch, "val/error": 0.1}))

    monkeypatch.setattr("tests.sweeping.train", note)
    train_here(decay())
    assert began == [(2, 2)] * 5


@pytest.mark.parametrize("lost", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["killed", "killed and its checkpoint lost"])
def test_a_forked_trial_that_is_killed_goes_on_and_without_its_checkpoint_begins_at_epoch_0(searched, lost, two):
    study = train_here(decay(), until=2)
    handout = study.next()
    with pytest.raises(Killed):
        train(handout.config, killed_after(4), handout.folder, handout.attempt)
    if lost:
        handout.attempt.checkpoint_path.write_bytes(b"PK")
    train_here(decay())
    assert_one_truth(Path("runs/decay"), 5)
    for number in range(5):
        undisturbed = trial_folder(two / "runs/decay", number).rows()
        assert all(same_row(a, b) for a, b in zip(trial_folder("runs/decay", number).rows(), undisturbed, strict=True))


def test_a_kill_between_the_writes_of_a_fork_begins_it_again(searched, monkeypatch):
    sweep = decay()
    for name in ("write_atomically", "write_json"):
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(f"aae.tuning.study.parents.{name}", lambda *_: (_ for _ in ()).throw(Killed()))
            train_here(sweep)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(TrialFolder, "next_attempt", lambda self: (_ for _ in ()).throw(Killed()))
        train_here(sweep)
    train_here(sweep)
    assert_one_truth(Path("runs/decay"), 5)


def test_reproduce_report_and_forecast_work_with_forks(place, capsys):
    run = Path("runs/decay")
    for which in (None, 0):
        assert reproduction.reproduce(run, which, Console()).exit_code == 0
        assert "reproduced: 6 epochs equal to the bit" in capsys.readouterr().out
    read = read_run(run)
    text = re.sub("<[^>]*>", "", write_files(read).read_text())
    assert "Up to epoch 2 a trial is its parent, one of runs/rates: " in text
    header, first, *_ = trials_csv(read).splitlines()
    assert first.split(",")[header.split(",").index("fork.parent")] == str(best(Path("runs/rates"))[0])
    assert read.trials[1].seconds == pytest.approx(sum(r["time/epoch_s"] + r["time/evaluation_s"] for r in read.trials[1].rows[2:]))
    costs = {case.name: Cost(1.0, 0.0, 10**6, 10**5, 0) for case in cases_of(decay())}
    foreseen = foresee(decay(), costs, {"cpu": 1}, 1, 0.0)
    assert (foreseen.epochs, foreseen.slot_s) == (5 * 4, 20.0)
    kept = [foresee(load_sweep("rates.yaml", {"train.keep_epochs": epochs}), costs, {"cpu": 1}, 1, 0.0).disk_bytes for epochs in ([], [2])]
    assert kept[1] - kept[0] == 4 * 10**6
    result = trial_folder(run, 0).result_path
    write_json(result, read_json(result) | {"seconds": 3.0})  # all five may have taken less than the 0.05 s that are rounded away
    assert forecast_left(run, trials_of(run), 7, 1).startswith("2 trials left")


def test_confirm_trains_a_fork_from_epoch_0_on_other_labels_and_needs_nothing_of_the_first_study(place, monkeypatch):
    shutil.rmtree("runs/rates")
    run = Path("runs/decay").rename("elsewhere")
    without_ray(monkeypatch, lambda study, *_: train_out(study))
    asked = {"select_k": 2, "select_draws": 2, "report_draws": 2, "baseline": "constant"}
    assert confirm.run_confirmation(run, confirm.load_searched(run, {"study.confirm": asked}), False, Console(quiet=True)) == 0
    found = read_json(run / "confirm" / "report.json")
    assert len(found["winner"]["test/error"]) == 2 and found["epochs"] == 6
    for path in sorted((run / "confirm" / "trials").iterdir()):
        config, folder = checkpoint.read_config(path), TrialFolder(path)
        assert config.data.label_seed >= 100 and len(folder.rows()) == 6 and not folder.fork
        assert config.train.epochs == 6 and config.train.keep_epochs == []


def test_what_is_learnt_from_a_fork_stands_where_each_parent_does(place):
    """Seen to fail: every trial stood where the best parent does."""
    made = read_json(Path("runs/decay/manifest.json"))
    path, entry = "optim.generator.rate", Entry("optim.generator.rate", FloatDistribution(1e-4, 1.0), {})
    found = trials_inside(SearchSpace({path: entry}), Path("runs/decay"), made, read_trials(Path("runs/decay")))
    assert len({trial.params[path] for trial in found}) == 2
    for trial in found:
        assert trial.params[path] == checkpoint.read_config(trial_folder("runs/decay", trial.number).path).optim.generator.rate


def test_the_parents_are_those_of_the_beginning_whatever_the_first_study_finds_later(searched):
    train_here(decay(), until=2)
    before = [parent.trial for parent in decay().fork.parents]
    study = SweepStudy(Path("runs/rates"), load_sweep("rates.yaml", {"study.num_trials": 5}))
    handout = study.next()
    for epoch in range(1, 5):
        study.report(4, handout.attempt.write_row({"epoch": epoch, "val/error": 0.0}))
    checkpoint.save(handout.attempt.kept_path(2), {"epoch": 2})
    study.tell(4, TrialState.COMPLETE)
    assert [parent.trial for parent in decay().fork.parents] == before
    assert [parent.trial for parent in decay("study.name=other").fork.parents] == [4, before[0]]
    train_here(decay())
    assert_one_truth(Path("runs/decay"), 5)
    with pytest.raises(ConfigError, match=r"study\.fork was .*'top_k': 2.*, is .*'top_k': 1"):
        train_here(decay("study.fork.top_k=1"))


def test_a_study_of_several_draws_forks_them_all(workplace, tmp_path, dataset):
    rates(draws=2, num=2)
    run = train_here(decay("study.num_trials=2", draws=2)).run
    for number in range(2):
        folder = trial_folder(run, number)
        rows, _ = whole(checkpoint.read_config(folder.path), tmp_path / f"{number}", dataset)
        assert without_clock(folder.rows()) == rows and len(rows[-1]["val/error_draws"]) == 2


@pytest.mark.slow
def test_a_fork_is_forked_again(place, tmp_path, dataset):
    """From a kept epoch after the first fork, of trials whose rates had not dropped by then."""
    shutil.rmtree("runs/decay")
    train_here(decay("train.keep_epochs=[4]", "optim.schedule.drop_at=0.7", f"{BEGINS}=4"))
    more = ["study.name=third", "study.fork.run=runs/decay", "study.fork.epoch=4", "train.epochs=8", "optim.schedule.drop_at=0.5"]
    run = train_here(decay(*more, f"{BEGINS}=4", "study.num_trials=2")).run
    folder = trial_folder(run, 1)
    rows, _ = whole(checkpoint.read_config(folder.path), tmp_path / "whole", dataset)
    assert without_clock(folder.rows()) == rows and len(rows) == 8 and folder.fork["epoch"] == 4


def test_a_run_folders_sweep_is_the_same_study_and_its_manifest_the_same_fork(place):
    again = load_sweep("runs/decay/sweep.yaml", {})
    assert json.dumps(again.fingerprint()) == json.dumps(decay().fingerprint())
    assert Fork.read(read_json(Path("runs/decay/manifest.json"))["fork"]) == decay().fork


def test_a_forks_command_line_reaches_a_block_that_is_on_in_the_parent_alone(searched):
    """Seen to fail: the fork's own file has no such block, so it was said to be off."""
    sweep = decay(f"{BEGINS}=4")
    assert sweep.fixed.objective.consistency.from_epoch == 4 and BEGINS not in sweep.space.entries
    assert sweep.fixed.objective.consistency.weight == 0.3
    assert {sweep.config({"fork.parent": parent.trial}).objective.consistency.from_epoch for parent in sweep.fork.parents} == {4}


# ---- what cannot be


WRONG = {
    "no run": (["study.fork.run=runs/none"], ("study.fork.run: got runs/none", "holds no sweep", "run the study to fork first")),
    "a file for a run": (["study.fork.run=tiny.npz"], ("study.fork.run: got tiny.npz", "holds no sweep")),
    "a trial for a run": (["study.fork.run=runs/rates/trials/0000"], ("study.fork.run", "holds no sweep")),
    "a number for a run": (["study.fork.run=3"], ("study.fork.run: got 3", "it holds no sweep")),
    "null for a run": (["study.fork.run=null"], ("study.fork.run: got null", "name the other study's folder")),
    "more than there are": (
        ["study.fork.top_k=5"],
        ("study.fork.top_k: got 5", "4 different configurations of runs/rates are complete: give at most that"),
    ),
    "none of them": (["study.fork.top_k=0"], ("study.fork.top_k: got 0", "at least 1")),
    "half of one": (["study.fork.top_k=1.5"], ("study.fork.top_k: got 1.5", "whole number")),
    "an epoch that was not kept": (["study.fork.epoch=3"], ("study.fork.epoch: got 3", "checkpoints of epochs 2", "train.keep_epochs=[3]")),
    "epoch 0": (["study.fork.epoch=0"], ("study.fork.epoch: got 0", "at least 1")),
    "an unknown key": (["study.fork.trials=3"], ("study.fork: got", "{run: runs/semi_rates, top_k: 3, epoch: 30}")),
    "a word": (["study.fork=runs/rates"], ("study.fork: got runs/rates", "give a block")),
    "a pruner": (["study.pruner={kind: MedianPruner}"], ("study.pruner.kind: got MedianPruner", "use the NopPruner")),
    "a drop before the fork": (
        ["optim.schedule.drop_at=0.2"],
        ("optim.schedule.drop_at: got 0.2", "the earliest drop, after epoch 1, is before the fork"),
    ),
    "a drop of a fixed kind before the fork": (
        ["optim.schedule.kind=step", "optim.schedule.drop_at=0.2"],
        ("optim.schedule.drop_at: got 0.2", "after epoch 1 of 6, before the fork at epoch 2"),
    ),
    "no epoch left": (["train.epochs=2"], ("train.epochs: got 2", "starts after epoch 2: give more")),
    "another model": (["model.z_dim=20"], ("model.z_dim: got 20", "acts before the fork at epoch 2: leave it out")),
    "another seed": (["train.seed=1"], ("train.seed: got 1", "has 0", "leave it out")),
    "other draws": (["study.draws_per_trial=2"], ("study.draws_per_trial: got 2", "goes on from have 1: write that")),
    "draws said elsewhere": (["data.num_draws=2"], ("study.draws_per_trial: got 1", "data.num_draws is 2: leave that out")),
    "a term that begins before the fork": ([f"{BEGINS}=1"], (f"{BEGINS}: got 1", "has 3", "acts before the fork at epoch 2")),
    "a balance that ends before the fork": (
        [f"{ENDS}=1"],
        (f"{ENDS}: got 1", "has None", "acts before the fork at epoch 2"),
    ),
    "a term of another weight": (["objective.consistency.weight=1"], ("objective.consistency.weight: got 1", "has 0.3", "leave it out")),
    "a term that the parent has is turned off": (["objective.consistency=null"], ("objective.consistency", "has that block on")),
    "a term that the parent has not": (
        ["objective.head_separation={}", "model.combine=heads"],
        ("model.combine: got heads", "leave it out"),
    ),
    "no decay, no search": (["study.fork=null"], ("the block objective.consistency is off",)),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_fork_is_refused(name, searched, capsys):
    arguments, says = WRONG[name]
    Path("decay.yaml").write_text(DECAY.format(draws=1))
    refused("launch", ["decay.yaml", *arguments], says, searched, capsys)


IN_THE_FILE = {
    "a path that acts early is searched": (
        ("search_space:\n", "search_space:\n  optim.generator.rate: {kind: float, low: 0.03, high: 0.3}\n"),
        ("search_space.optim.generator.rate: got searched", "acts before epoch 2", "search optim.schedule.*"),
    ),
    "drops are searched before the fork": (
        ("low: 0.34", "low: 0.2"),
        ("search_space.optim.schedule.drop_at: got 0.2", "over all 6 epochs", "after epoch 1, is before the fork at epoch 2"),
    ),
    "a term is searched before the fork": (
        ("{kind: int, low: 2, high: 4}", "{kind: int, low: 1, high: 4}"),
        (f"search_space.{BEGINS}: got 1", "has 3", "acts before the fork at epoch 2"),
    ),
    "the parent is searched by hand": (
        ("search_space:\n", "search_space:\n  fork.parent: {kind: categorical, choices: [0, 1]}\n"),
        ("search_space.fork.parent: no such path",),
    ),
    "another model": (
        ("train: {epochs: 6}", "train: {epochs: 6}\n  model: {z_dim: 20}"),
        ("model.z_dim: got 20", "leave it out"),
    ),
    "a baseline from epoch 0": (
        ("kind: constant", "kind: constant, train.ema_decay: null"),
        ("baselines.constant: train.ema_decay: got null; ",),
    ),
    "a baseline of no parent": (
        ("kind: constant", "kind: constant, fork.parent: 77"),
        ("fork.parent: got 77", "the parents of this study are trials"),
    ),
    "a block with no epoch": ((", epoch: 2", ""), ("study.fork: got", "give a block")),
}


@pytest.mark.parametrize("name", IN_THE_FILE)
def test_a_wrong_file_of_a_fork_is_refused(name, searched, capsys):
    (old, new), says = IN_THE_FILE[name]
    text = DECAY.format(draws=1)
    assert text.count(old) == 1
    Path("decay.yaml").write_text(text.replace(old, new))
    refused("launch", ["decay.yaml"], says, searched, capsys)


def test_a_first_study_without_checkpoints_or_whose_rates_drop_too_soon_is_refused(workplace, capsys):
    rates(keep="[]", num=2)
    Path("decay.yaml").write_text(DECAY.format(draws=1))
    refused("launch", ["decay.yaml"], ("study.fork.epoch: got 2", "no checkpoint to fork", "train.keep_epochs=[2]"), workplace, capsys)
    shutil.rmtree("runs")
    Path("rates.yaml").write_text(RATES.format(draws=1, keep="[2]", num=2))
    train_here(load_sweep("rates.yaml", {"optim.schedule.kind": "step", "optim.schedule.drop_at": 0.25}))
    refused("launch", ["decay.yaml"], ("study.fork.epoch: got 2", "drops its rates after epoch 1"), workplace, capsys)


def test_a_first_study_with_no_complete_trial_is_refused(searched, capsys):
    for path in ("study.journal", "trials"):
        (shutil.rmtree if path == "trials" else os.remove)(Path("runs/rates") / path)
    SweepStudy(Path("runs/rates"), load_sweep("rates.yaml", {})).next()
    Path("decay.yaml").write_text(DECAY.format(draws=1))
    refused(
        "launch",
        ["decay.yaml"],
        ("study.fork.top_k: got 2", "0 different configurations of runs/rates are complete: run it on"),
        searched,
        capsys,
    )


def test_checkpoints_that_are_gone_or_changed_are_refused_while_a_trial_will_ask_for_one(searched, capsys):
    parent = decay().fork.parents[1].trial
    train_here(decay(), until=2)
    saved = trial_folder("runs/rates", parent).last_attempt().kept_path(2)
    content = saved.read_bytes()
    for change in (lambda: saved.write_bytes(content + b" "), saved.unlink):
        change()
        refused("launch", ["decay.yaml"], (f"the checkpoint of trial {parent}, epoch 2, is gone from runs/rates",), searched, capsys)
    saved.write_bytes(content)
    train_here(decay())
    shutil.rmtree("runs/rates")
    assert count_told(Path("runs/decay")) == 5
    with begun(decay()):
        pass


def test_a_plan_is_refused_as_its_start_is_also_where_the_data_are_not_here(searched, capsys):
    """Seen to pass: the parents were looked at only once the user's own data were read."""
    with begun(decay()):
        pass
    parent = decay().fork.parents[1].trial
    trial_folder("runs/rates", parent).last_attempt().kept_path(2).unlink()
    Path("tiny.npz").unlink()
    says = (f"the checkpoint of trial {parent}, epoch 2, is gone from runs/rates",)
    refused("launch", ["decay.yaml", "--plan"], says, searched, capsys)


def test_a_broken_checkpoint_or_other_data_are_refused(searched, capsys):
    saved = trial_folder("runs/rates", best(Path("runs/rates"))[0]).last_attempt().kept_path(2)
    content = saved.read_bytes()
    saved.write_bytes(b"PK")
    Path("decay.yaml").write_text(DECAY.format(draws=1))
    refused("launch", ["decay.yaml"], ("checkpoint-0002.pt is broken", "study.fork.epoch: got 2"), searched, capsys)
    saved.write_bytes(content)
    np.savez("tiny.npz", **(tiny_arrays() | {"y_test": np.zeros(50, int)}))
    refused("launch", ["decay.yaml"], ("data.folder: got tiny.npz", "not what runs/rates was trained on"), searched, capsys)


def test_the_projects_two_studies_fit_each_other(workplace):
    """Every sample of the second is a configuration, whose values are the sampled ones and, of the rest, its parent's."""
    small = {"data.name": "npz", "data.folder": "tiny.npz", "data.num_validation": 105, "data.num_labels": 20, "train.batch_size": 50}
    small |= {"train.labelled_batch_size": 20, "model.hidden_dims": [16], "train.sample_every": 0, "model.init_std": None}
    small |= {"study.num_trials": 3, "train.epochs": 2, "train.keep_epochs": [2], "study.pruner": {"kind": "NopPruner"}}
    train_here(load_sweep(PROJECT / "sweeps" / "semi_rates.yaml", small))
    sweep = load_sweep(PROJECT / "sweeps" / "semi_decay.yaml", {"study.fork.epoch": 2, "train.epochs": 4})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sampled = [sweep.space.suggest(study.ask()) for _ in range(25)]
    for values in sampled:
        flat, parent = flatten(sweep.config(values)), trial_folder("runs/semi_rates", values["fork.parent"])
        assert {path: flat[path] for path in values if path != "fork.parent"} == {p: v for p, v in values.items() if p != "fork.parent"}
        assert flat["model.z_dim"] == checkpoint.read_config(parent.path).model.z_dim and flat["data.num_draws"] == 3
    assert set().union(*sampled) == set(sweep.space.entries) and {values["fork.parent"] for values in sampled} == {0, 1, 2}
    run = train_here(
        load_sweep(PROJECT / "sweeps" / "semi_decay.yaml", {"study.fork.epoch": 2, "train.epochs": 4, "study.num_trials": 2})
    ).run
    assert_one_truth(run, 2)


def test_one_training_alone_is_no_fork(searched, capsys):
    Path("decay.yaml").write_text(DECAY.format(draws=1))
    refused("train", ["decay.yaml"], ("study.fork: got", "launch.py runs it"), searched, capsys)


def test_a_plan_of_a_fork_starts_nothing_and_names_parents_and_what_is_uncertain(searched, capsys):
    Path("decay.yaml").write_text(DECAY.format(draws=1))
    SweepStudy(Path("runs/rates"), load_sweep("rates.yaml", {"study.num_trials": 5})).next()
    made = read_json(Path("runs/rates/manifest.json"))
    Path("runs/rates/manifest.json").write_text(json.dumps(made | {"versions": made["versions"] | {"torch": "1.0.0"}}))
    before = listing(searched)
    code, stdout, stderr = run("launch", ["decay.yaml", "--plan"], capsys)
    assert (code, stderr) == (0, "")
    assert "fork.parent=" in stdout and "note: runs/rates was trained otherwise" in stdout and "torch was 1.0.0" in stdout
    assert "1 trials of runs/rates have not ended" in stdout
    assert listing(searched) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train.keep_epochs=[0]", "train.keep_epochs: got 0"),
        ("train.keep_epochs=[5]", "from 1 to 4"),
        ("train.keep_epochs=2", "train.keep_epochs"),
    ],
)
def test_epochs_that_cannot_be_kept_are_refused(workplace, capsys, change, says):
    Path("rates.yaml").write_text(RATES.format(draws=1, keep="[2]", num=2))
    refused("launch", ["rates.yaml", change], (says,), workplace, capsys)


def test_the_study_to_fork_may_lie_in_the_home_folder(searched, monkeypatch):
    monkeypatch.setenv("HOME", str(searched))
    sweep = decay("study.fork.run=~/runs/rates")
    assert sweep.fork.run == str(searched / "runs" / "rates")
    assert train_here(sweep, until=2).run == Path("runs/decay")
    assert decay("study.fork.run=~/runs/rates").fork == sweep.fork  # as the study began with it
