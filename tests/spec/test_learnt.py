"""A study that learns from another: what it sees of it, what it records of it, and that it does not go on without it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from aae.config import ConfigError, TrialConfig
from aae.inputs import parse_overrides
from aae.paths import flatten, with_later_paths
from aae.runs import read_json, read_manifest, write_json
from aae.terms import ConsistencyConfig
from aae.tuning.spec.learnt import Learnt
from aae.tuning.spec.space import Entry, SearchSpace
from aae.tuning.study import posterior
from aae.tuning.study.cube import HERE, Cube
from aae.tuning.study.journal import read_trials
from aae.tuning.study.learning import trials_inside
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.posterior import read_posterior, told_elsewhere, without_copies
from tests.golden import tiny_arrays
from tests.refusals import refused
from tests.sweeping import begun, count_told, train_here, train_out

SWEEP = """
study: {{name: {name}, num_trials: {num}, sampler: {sampler}}}
trial:
  data: {{name: npz, folder: tiny.npz, num_labels: 20, num_validation: 105}}
  model: {{hidden_dims: [16], init_std: null}}
  objective: {{adversarial_y: {{}}, classification: {{}}}}
  train: {{epochs: {epochs}, batch_size: 50, labelled_batch_size: 20, sample_every: 0, precision: float32}}
search_space:
  model.z_dim: {{kind: int, low: 2, high: {high}}}
  optim.generator.rate: {{kind: float, low: 0.03, high: 0.3, log: true}}
"""
LEARNS = "study.learn_from=[runs/first]"


def first(**changes):
    values = {"name": "first", "num": 6, "sampler": "{kind: RandomSampler, seed: 0}", "epochs": 1, "high": 12} | changes
    Path("first.yaml").write_text(SWEEP.format(**values), encoding="utf-8")
    return load_sweep("first.yaml", {})


def second(*overrides, **changes):
    values = {"name": "second", "num": 3, "sampler": "{kind: auto, seed: 0}", "epochs": 2, "high": 20} | changes
    Path("second.yaml").write_text(SWEEP.format(**values), encoding="utf-8")
    return load_sweep("second.yaml", parse_overrides([LEARNS, *overrides]))


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """A folder with the first study run. Tests take a copy."""
    folder, before = tmp_path_factory.mktemp("searched"), Path.cwd()
    os.chdir(folder)
    try:
        np.savez("tiny.npz", **tiny_arrays())
        train_here(first())
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(searched, tmp_path, monkeypatch) -> Path:
    """The current folder: first.yaml, tiny.npz and runs/first."""
    shutil.copytree(searched, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def asked(sweep, num):
    """The parameters of its first trials, none of them told."""
    with begun(sweep) as study:
        return [study.values(study.ask()) for _ in range(num)]


def test_the_sampler_sees_the_other_study_from_the_first_trial_on_and_its_trials_are_not_this_ones(place):
    learnt, alone = asked(second(), 2), asked(second("study.learn_from=null", "study.name=alone"), 2)
    assert all(params != other for params, other in zip(learnt, alone, strict=True))
    assert count_told(Path("runs/second")) == 0


def test_what_is_learnt_from_is_recorded_with_its_hash_and_its_difference_is_named(place):
    sweep = second()
    (note,) = [note for note in sweep.notes if "learns from" in note]
    assert (
        note == "learns from runs/first: 6 of its 6 told configurations lie in this search space; otherwise there: train.epochs 1, here 2"
    )
    train_here(sweep)
    (stored,) = read_json(Path("runs/second/manifest.json"))["learnt"]
    assert Learnt.read(stored) == sweep.learnt[0] and len(stored["sha256"]) == 64 and stored["trials"] == list(range(6))
    assert stored["id"] == read_json(Path("runs/first/manifest.json"))["id"]
    assert load_sweep("runs/second/sweep.yaml", {}).learnt == sweep.learnt


def test_a_study_goes_on_with_what_it_began_with_although_the_other_goes_on_too(place):
    shutil.copytree("runs/first", "kept")
    whole = [params for params in asked(second("study.name=whole"), 3)]
    with begun(second()) as study:
        begun_with = [study.values(study.ask())]
    train_here(first(num=8))
    with begun(second()) as study:
        assert [begun_with[0], *(study.values(study.ask()) for _ in range(2))] == whole
    assert second("study.name=later").learnt[0].trials == tuple(range(8))


def test_copies_of_a_configuration_in_the_other_study_are_learnt_once(place):
    """Seen to fail: they told the process that there is no noise. Two configurations that only here are one stay two."""
    trials = read_trials(Path("runs/first"))
    for trial, z_dim in zip(trials[3:], (9, 9, 11), strict=True):
        trial.params = {"model.z_dim": z_dim, "optim.generator.rate": 0.1}
    told, _ = without_copies(trials)
    assert [trial.number for trial in told] == [0, 1, 2, 3, 5]
    space = SearchSpace({"optim.generator.rate": second().space.entries["optim.generator.rate"]})
    assert len(trials_inside(space, Path("runs/first"), read_manifest(Path("runs/first")), told)) == 5


def test_going_on_without_what_was_learnt_from_is_refused(place):
    with begun(second()) as study:
        train_out(study, until=1)
    with pytest.raises(ConfigError, match=r"study.learn_from was \['runs/first'\], is None"):
        train_here(second("study.learn_from=null"))
    made = read_json(Path("runs/first/manifest.json"))
    write_json(Path("runs/first/manifest.json"), made | {"sweep": made["sweep"] | {"trial": {}}})
    train_here(second(), until=2)  # of the first study only its trials count
    shutil.move("runs/first", "elsewhere")
    with pytest.raises(ConfigError, match="study.learn_from: runs/first is gone, or its trials are not those"):
        train_here(second())
    shutil.move("elsewhere", "runs/first")
    train_here(second())
    shutil.move("runs/first", "elsewhere")
    train_here(second())  # every trial is told: nothing more is learnt


def test_a_plan_is_refused_as_its_start_is_also_where_the_data_are_not_here(place, capsys):
    """Seen to pass: the other study was looked for only once the user's own data were read."""
    with begun(second()):
        pass
    shutil.move("runs/first", "elsewhere")
    Path("tiny.npz").unlink()
    refused("launch", ["second.yaml", LEARNS, "--plan"], ("study.learn_from: runs/first is gone",), place, capsys)


def test_a_trial_outside_of_this_space_is_left_out_and_a_fixed_path_stands_at_its_value():
    rate, depth = FloatDistribution(0.1, 1.0), FloatDistribution(0.0, 5.0)
    kinds, when = CategoricalDistribution(["flat", "deep", "deeper"]), {"kind": ["deep", "deeper"]}
    space = SearchSpace({"rate": Entry("rate", rate, {}), "kind": Entry("kind", kinds, {}), "depth": Entry("depth", depth, when)})
    deep, flat = {"rate": 0.5, "kind": "deep", "depth": 2.0}, {"rate": 0.5, "kind": "flat"}
    assert space.params_of(deep | {"other": 7}) == deep
    assert space.params_of(flat | {"depth": 2.0}) == flat
    assert space.params_of(flat | {"rate": 0.05}) is None
    assert space.params_of(deep | {"depth": 9.0}) is None
    assert space.params_of({"kind": "flat"}) is None


def test_a_path_that_has_come_since_stood_at_its_default_in_an_older_study(place):
    """Seen to fail with the recorded paths alone: no trial lay inside."""
    made = read_json(Path("runs/first/manifest.json"))
    older = {path: value for path, value in made["sweep"]["trial"].items() if path != "train.shift"}
    write_json(Path("runs/first/manifest.json"), made | {"sweep": made["sweep"] | {"trial": older}})
    second()
    with Path("second.yaml").open("a", encoding="utf-8") as file:
        file.write("  train.shift: {kind: int, low: 0, high: 1}\n")
    assert load_sweep("second.yaml", parse_overrides([LEARNS])).learnt[0].trials == tuple(range(6))


def trial(number, x, value):
    params, distribution = {"x": x}, FloatDistribution(0.0, 1.0)
    made = create_trial(
        params=params, distributions={"x": distribution}, value=value, intermediate_values={0: value}, state=TrialState.COMPLETE
    )
    made.number = number
    return made


@pytest.mark.parametrize("level", [1.0, 5.0])
def test_another_studys_level_does_not_matter_and_its_shape_does(level):
    """Three trials of this study say nothing of where the lowest is. At 5 it fails where the level is no shared noise and where values are
    not taken about their mean."""
    random = np.random.default_rng(0)

    def curve(x):
        return 0.1 + (x - 0.7) ** 2

    space = SearchSpace({"x": Entry("x", FloatDistribution(0.0, 1.0), {})})
    own = [trial(number, x, curve(x)) for number, x in enumerate((0.05, 0.15, 0.25))]
    other = [trial(number, x, level * curve(x)) for number, x in enumerate(random.random(20))]
    found, alone = read_posterior(own, space, 3, [other]), read_posterior(own, space, 3)
    x_ND = np.linspace(0, 1, 51)[:, None]
    mean_N, _ = found.process.predict(np.c_[x_ND, np.zeros(51)])
    assert x_ND[mean_N.argmin(), 0] == pytest.approx(0.7, abs=0.05)
    assert found.numbers == [0, 1, 2] == list(found.expected())
    assert np.exp(mean_N[[5, 10]]) == pytest.approx(curve(x_ND[[5, 10], 0]), rel=0.1)
    assert x_ND[alone.process.predict(x_ND)[0].argmin(), 0] != pytest.approx(0.7, abs=0.05)


def test_of_many_trials_elsewhere_those_from_the_lowest_to_the_highest_are_learnt(monkeypatch):
    """Seen to fail with the lowest alone, which say nothing of where it is bad."""
    monkeypatch.setattr(posterior, "MOST_LEARNT", 3)
    space = SearchSpace({"x": Entry("x", FloatDistribution(0.0, 1.0), {})})
    x_MD, value_M, _ = told_elsewhere([trial(n, n / 10, (7 * n) % 5 + 1.0) for n in range(5)], Cube(space, True), 1, float)
    assert x_MD.tolist() == [[0.0, 1], [0.1, 1], [0.2, 1]] and value_M.tolist() == [-2, 0, 2]


def test_what_was_tried_elsewhere_is_looked_at_as_a_point_of_this_study():
    """Seen to fail with the points of the other study: its mean there is not this one's."""
    space = SearchSpace({"x": Entry("x", FloatDistribution(0.0, 1.0), {})})
    own, other = ([trial(n, (n + shift) / 4, 0.1 * n + 0.2) for n in range(4)] for shift in (0, 0.5))
    found = read_posterior(own, space, 3, [other])
    assert (found.tried_ND[:, -1] == HERE).all() and found.tried_ND[:, 0] == pytest.approx(
        [n / 4 for n in (0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5)]
    )


# ---- what cannot be


WRONG = {
    "no run": (["study.learn_from=[runs/none]"], ("study.learn_from: got runs/none", "holds no sweep", "a study that has run")),
    "a file for a run": (["study.learn_from=[tiny.npz]"], ("study.learn_from: got tiny.npz", "holds no sweep")),
    "a word": (["study.learn_from=runs/first"], ("study.learn_from: got runs/first", "give a list of run folders")),
    "an empty list": (["study.learn_from=[]"], ("study.learn_from: got []", "or null")),
    "a number": (["study.learn_from=[3]"], ("study.learn_from: got [3]", "give a list of run folders")),
    "one twice": (["study.learn_from=[runs/first, runs/first]"], ("study.learn_from", "name each study once")),
    "one twice by another way": (["study.learn_from=[runs/first, runs/first/]"], ("study.learn_from", "name each study once")),
    "no such home": (["study.learn_from=[~no_such_user/first]"], ("study.learn_from[0]: got '~no_such_user/first'", "no such home folder")),
    "itself": (["study.name=first"], ("study.learn_from: got runs/first", "this study itself")),
    "itself by another way": (["study.name=first", "study.learn_from=[runs/../runs/first]"], ("this study itself",)),
    "another metric": (
        ["study.metric=val/parzen_nll", "train.parzen_samples=100"],
        ("study.learn_from: got runs/first", "its metric is val/error and this study's is val/parzen_nll"),
    ),
    "a sampler that does not learn": (
        ["study.sampler={kind: TPESampler}"],
        ("study.sampler.kind: got TPESampler", "{kind: auto}", "leave study.learn_from out"),
    ),
    "auto that is TPE": (
        ["study.constraint={metric: val/prior_mismatch, upper: 0.2}"],
        ("study.learn_from: got runs/first", "the study has a constraint", "leave it out"),
    ),
    "auto with another sampler's argument": (
        ["study.sampler={kind: auto, n_startup_trials: 5}"],
        ("study.sampler.n_startup_trials", "auto takes seed"),
    ),
    "with a fork": (["study.fork={run: runs/first, top_k: 1, epoch: 1}"], ("study.learn_from", "leave this or study.fork out")),
    "nothing inside": (
        ["model.hidden_dims=[16]"],
        ("study.learn_from: got runs/first", "0 complete configurations of its 6 told ones lie in this search space, and 3 are needed"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_study_to_learn_from_is_refused(name, place, capsys):
    arguments, says = WRONG[name]
    text = SWEEP.format(name="second", num=3, sampler="{kind: auto, seed: 0}", epochs=2, high=12)
    low = "low: 13, high: 20" if name == "nothing inside" else "low: 2, high: 12"
    Path("second.yaml").write_text(text.replace("low: 2, high: 12", low), encoding="utf-8")
    refused("launch", ["second.yaml", LEARNS, *arguments], says, place, capsys)


@pytest.mark.parametrize("path", ["data.label_seed", "train.seed"])
def test_with_a_confirmation_nothing_is_learnt_from_draws_that_it_may_report_on(path, place, capsys):
    """Seen to. Also where the confirmation is asked for later."""
    made = read_manifest(Path("runs/first"))
    made["sweep"]["trial"][path] = 200
    write_json(Path("runs/first/manifest.json"), made)
    text = SWEEP.format(name="second", num=3, sampler="{kind: auto, seed: 0}", epochs=2, high=20)
    Path("second.yaml").write_text(text, encoding="utf-8")
    says = (f"study.learn_from: got runs/first, whose {path} is 200", "0 to 99: leave that study out")
    refused("launch", ["second.yaml", LEARNS, "study.confirm={select_k: 1, report_draws: 2}", "--plan"], says, place, capsys)
    train_here(load_sweep("second.yaml", parse_overrides([LEARNS])))
    refused("launch", ["confirm", "runs/second", "study.confirm={select_k: 1, report_draws: 2}"], says, place, capsys)


def test_a_block_that_came_since_and_is_off_by_default_was_off_in_an_older_study():
    """Seen to fail: an older study went on with the consistency term's weight, and the sampler learnt points that nobody had trained."""
    now = flatten(TrialConfig())
    older = {path: value for path, value in now.items() if path != "objective.consistency"}
    assert with_later_paths(older) == now
    on = older | {"objective.consistency.weight": 0.3}
    assert with_later_paths(on)[
        "objective.consistency.epsilon"
    ] == ConsistencyConfig().epsilon and "objective.consistency" not in with_later_paths(on)
    off = {path: value for path, value in now.items() if not path.startswith("objective.reconstruction")} | {
        "objective.reconstruction": None
    }
    assert with_later_paths(off) == off
