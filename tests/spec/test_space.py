"""The search space: what is sampled when, and that every sample is a configuration."""

import json
from pathlib import Path

import optuna
import pytest

from aae.config import ConfigError
from aae.inputs import parse_overrides
from aae.paths import flatten
from aae.tuning.driver.opening import refuse_changes
from aae.tuning.spec.space import encode_choice
from aae.tuning.study.cube import Cube
from aae.tuning.study.parents import load_sweep

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = [path for path in sorted((ROOT / "sweeps").glob("*.yaml")) if path.stem != "semi_decay"]  # a fork: test_fork
SAMPLES = 100
SWEEP = """\
study: {name: mine, metric: val/error}
baselines:
  plain: {}
  other: {model.z_dim: 3, optim.schedule.kind: step}
trial:
  data: {num_labels: 100}
  objective: {adversarial_y: {}, classification: {}, consistency: {from_epoch: 3}}
  model: {z_dim: 8}
search_space:
"""


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def sweep_of(tmp_path, entries: str, *overrides: str, trial: str = ""):
    (tmp_path / "sweep.yaml").write_text(
        SWEEP.replace("search_space:", f"{trial}search_space:") + "".join(f"  {line}\n" for line in entries.strip().splitlines())
    )
    return load_sweep(tmp_path / "sweep.yaml", parse_overrides(list(overrides)))


def samples(sweep, num: int = SAMPLES, seed: int = 0) -> list[dict]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [sweep.space.suggest(study.ask()) for _ in range(num)]


KIND = "optim.schedule.kind: {kind: categorical, choices: [constant, step, cosine]}\n"
DROP = "optim.schedule.drop_at: {kind: float, low: 0.5, high: 0.9, when: {optim.schedule.kind: [step, cosine]}}\n"
FACTOR = "optim.schedule.factor: {kind: float, low: 0.01, high: 0.5, log: true, when: {optim.schedule.kind: step}}\n"


@pytest.mark.parametrize("num", [15, pytest.param(SAMPLES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sample_of_the_projects_sweeps_is_a_configuration_with_its_values(path, num):
    sweep = load_sweep(path, {})
    sampled = samples(sweep, num)
    for values in sampled:
        flat = flatten(sweep.config(values))
        assert {key: flat[key] for key in values} == values
    assert set().union(*sampled) == set(sweep.space.entries)
    assert len({repr(values) for values in sampled}) == num


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_conditions_of_the_projects_sweeps_hold_in_every_sample(path):
    sweep = load_sweep(path, {})
    for values in samples(sweep, 30):
        for entry in sweep.space.entries.values():
            assert (entry.path in values) == all(values.get(parent) in allowed for parent, allowed in entry.when.items())
        if {"optim.schedule.kind", "optim.schedule.drop_at"} <= sweep.space.entries.keys():  # what every such sweep of ours means
            assert ("optim.schedule.drop_at" in values) == (values["optim.schedule.kind"] in ("step", "cosine"))


def test_a_condition_is_asked_a_trial_and_the_order_of_the_file_does_not_matter(tmp_path):
    for entries in (KIND + DROP + FACTOR, FACTOR + DROP + KIND):
        sweep = sweep_of(tmp_path, entries)
        assert next(iter(sweep.space.entries)) == "optim.schedule.kind"
        seen = {(values["optim.schedule.kind"], *sorted(key[15:] for key in values)) for values in samples(sweep)}
        assert seen == {("constant", "kind"), ("step", "drop_at", "factor", "kind"), ("cosine", "drop_at", "kind")}


def test_a_chain_of_conditions_is_sampled_from_its_root(tmp_path):
    chain = "optim.generator.rate: {kind: float, low: 0.01, high: 0.1, when: {optim.kind: sgd}}\n"
    chain += "optim.kind: {kind: categorical, choices: [sgd, adam], when: {model.z_dim: [8]}}\n"
    chain += "model.z_dim: {kind: int, low: 7, high: 8}\n"
    sweep = sweep_of(tmp_path, chain)
    assert list(sweep.space.entries) == ["model.z_dim", "optim.kind", "optim.generator.rate"]
    seen = {tuple(values) for values in samples(sweep)}
    assert seen == {("model.z_dim",), ("model.z_dim", "optim.kind"), ("model.z_dim", "optim.kind", "optim.generator.rate")}


def test_a_condition_on_a_fixed_path_is_evaluated_once_and_said(tmp_path):
    holds = sweep_of(tmp_path, DROP, "optim.schedule.kind=step")
    assert holds.space.entries["optim.schedule.drop_at"].when == {}
    assert "optim.schedule.drop_at is searched in every trial: optim.schedule.kind is step" in holds.notes
    fails = sweep_of(tmp_path, DROP + "model.z_dim: {kind: int, low: 6, high: 12}")
    assert list(fails.space.entries) == ["model.z_dim"]
    assert "optim.schedule.drop_at is not searched: optim.schedule.kind is constant" in fails.notes


def test_a_condition_on_a_whole_block_is_whether_it_is_on(tmp_path):
    """Seen to end in a KeyError where the block is on."""
    entry = "model.z_dim: {kind: int, low: 6, high: 12, when: {BLOCK: null}}"
    on = sweep_of(tmp_path, entry.replace("BLOCK", "objective.consistency"))
    assert on.space.entries == {} and "model.z_dim is not searched: objective.consistency is on" in on.notes
    off = sweep_of(tmp_path, entry.replace("BLOCK", "objective.head_separation"))
    assert "model.z_dim" in off.space.entries and "model.z_dim is searched in every trial: objective.head_separation is None" in off.notes


@pytest.mark.parametrize(
    ("metric", "trial", "entry", "value"),
    [
        (
            "val/component_error",
            "{data: {num_labels: 100}, model: {z_dim: 2}, objective: {adversarial_z: {sees_label: true, prior: {kind: mixture}}}}",
            "objective.adversarial_z.prior.kind: {kind: categorical, choices: [mixture, gaussian]}",
            "gaussian",
        ),
        ("val/parzen_nll", "{train: {parzen_samples: 100}}", "train.parzen_samples: {kind: int, low: 0, high: 1000}", "0"),
    ],
)
def test_a_value_that_takes_the_metric_away_is_refused(tmp_path, metric, trial, entry, value):
    """Its trial could not be told, and no start after it either."""
    text = f"study: {{name: mine, metric: {metric}}}\ntrial: {trial}\nsearch_space:\n  {entry}\n"
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sweep(tmp_path / "sweep.yaml", {})
    assert str(caught.value).startswith(f"search_space.{entry.partition(':')[0]}: got {value}, which has no {metric}; ")


def test_what_hangs_on_a_dropped_entry_is_dropped_and_said(tmp_path):
    chain = "optim.kind: {kind: categorical, choices: [sgd, adam], when: {train.update: alternating}}\n"
    chain += "optim.generator.rate: {kind: float, low: 0.01, high: 0.1, when: {optim.kind: sgd}}\n"
    sweep = sweep_of(tmp_path, chain + "model.z_dim: {kind: int, low: 6, high: 12}")
    assert list(sweep.space.entries) == ["model.z_dim"]
    assert "optim.generator.rate is not searched: optim.kind is not" in sweep.notes


def test_a_path_set_on_the_command_line_is_taken_out_of_the_search_and_said(tmp_path):
    sweep = sweep_of(tmp_path, KIND + DROP, "optim.schedule.kind=cosine")
    assert list(sweep.space.entries) == ["optim.schedule.drop_at"]
    assert "optim.schedule.kind is set on the command line: not searched" in sweep.notes
    assert all(sweep.config(values).optim.schedule.kind == "cosine" for values in samples(sweep, 5))


def test_a_block_set_on_the_command_line_takes_out_every_path_below(tmp_path):
    sweep = sweep_of(tmp_path, KIND + DROP + "model.z_dim: {kind: int, low: 6, high: 12}", "optim.schedule={kind: linear}")
    assert list(sweep.space.entries) == ["model.z_dim"]
    assert sweep.config(samples(sweep, 1)[0]).optim.schedule.kind == "linear"


def test_command_line_beats_baseline_beats_trial_block(tmp_path):
    entries = "model.z_dim: {kind: int, low: 6, high: 12}\n" + KIND
    sweep = sweep_of(tmp_path, entries)
    assert [sweep.config(sweep.baselines[name]).model.z_dim for name in ("plain", "other")] == [8, 3]
    overridden = sweep_of(tmp_path, entries, "model.z_dim=5")
    assert [overridden.config(overridden.baselines[name]).model.z_dim for name in ("plain", "other")] == [5, 5]
    assert overridden.config(overridden.baselines["other"]).optim.schedule.kind == "step"


def test_a_condition_holds_where_its_path_is_searched_and_has_the_value(tmp_path):
    """Not where it is fixed at that value, or off at a condition of null. Seen to fail with either taken for met."""
    entries = "optim.kind: {kind: categorical, choices: [sgd, adam]}\n"
    entries += "model.discriminator_dims: {kind: categorical, choices: [null, [8]], when: {optim.kind: adam}}\n"
    entries += "model.z_dim: {kind: int, low: 6, high: 12, when: {model.discriminator_dims: [null]}}\n"
    space, cube = (sweep := sweep_of(tmp_path, entries)).space, Cube(sweep_of(tmp_path, entries).space)
    for values in samples(sweep, 40):
        assert ("model.z_dim" in values) == (values.get("model.discriminator_dims", "off") is None)
        params = {path: encode_choice(value) for path, value in values.items()}
        assert space.params_of(flatten(sweep.config(values))) == params
        assert list(cube.points(cube.point(params)[None])[0]) == list(cube.point(params))  # so has the sampler's cube


def test_a_condition_on_a_stepped_range_holds_at_the_value_as_it_is_written(tmp_path):
    """Optuna's 0.1 + 2 * 0.1 is 0.30000000000000004. Seen to fail: the path was never sampled."""
    entries = "train.input_noise_std: {kind: float, low: 0.1, high: 0.5, step: 0.1}\n"
    entries += "optim.generator.rate: {kind: float, low: 0.01, high: 0.1, when: {train.input_noise_std: [0.3, none]}}\n"
    found = samples(sweep_of(tmp_path, entries), 60)
    with_it = [values["train.input_noise_std"] for values in found if "optim.generator.rate" in values]
    assert with_it and set(with_it) == {0.1 + 2 * 0.1} and len({values["train.input_noise_std"] for values in found}) == 5


def test_a_weight_and_the_rate_of_a_phase_with_another_term_are_two_knobs(tmp_path):
    """Seen to be refused with the consistency term in the phase."""
    entries = "objective.classification.weight: {kind: float, low: 0.1, high: 1}\n"
    entries += "optim.classification.rate: {kind: float, low: 0.01, high: 0.1}\n"
    with pytest.raises(ConfigError, match="one knob"):
        sweep_of(tmp_path, entries, "objective.consistency=null")
    assert len(sweep_of(tmp_path, entries).space.entries) == 2
    of_generator = (
        "objective.adversarial_z.weight: {kind: float, low: 0.1, high: 1}\noptim.generator.rate: {kind: float, low: 0.01, high: 0.1}\n"
    )
    assert len(sweep_of(tmp_path, of_generator).space.entries) == 2
    with pytest.raises(ConfigError, match="one knob"):
        sweep_of(tmp_path, of_generator, "objective.adversarial_y=null", "objective.consistency.aligned=false")


def test_the_only_term_of_a_phase_is_one_knob_with_its_rate_whichever_it_is(tmp_path):
    """Without labels the classification phase has other terms."""
    entries = "objective.consistency.weight: {kind: float, low: 0.1, high: 1}\n"
    entries += "optim.classification.rate: {kind: float, low: 0.01, high: 0.1}\n"
    alone = (
        "objective.classification=null",
        "data.num_labels=0",
        "train.learnt_labelled_batch_size=null",
        "study.metric=val/cluster_error",
    )
    with pytest.raises(ConfigError, match="objective.consistency.weight: got searched together .*one knob"):
        sweep_of(tmp_path, entries, *alone)
    assert len(sweep_of(tmp_path, entries, *alone, "objective.mutual_information={}").space.entries) == 2


def test_a_list_is_a_choice_and_comes_back_as_a_list(tmp_path):
    sweep = sweep_of(tmp_path, "model.hidden_dims: {kind: categorical, choices: [[16], [16, 8], [4, 4, 4]]}")
    found = {tuple(sweep.config(values).model.hidden_dims) for values in samples(sweep, 30)}
    assert found == {(16,), (16, 8), (4, 4, 4)}
    assert sweep.space.possible("model.hidden_dims", [3]) == [[16], [16, 8], [4, 4, 4]]


def test_a_list_and_null_are_choices_of_the_same_path(tmp_path):
    sweep = sweep_of(
        tmp_path,
        "model.discriminator_dims: {kind: categorical, choices: [null, [8], [8, 4]]}\n"
        "model.discriminator_init_std: {kind: float, low: 0.01, high: 0.2, log: true}",
    )
    models = [sweep.config(values).model for values in samples(sweep, 30)]
    assert {model.discriminator_dims and tuple(model.discriminator_dims) for model in models} == {None, (8,), (8, 4)}
    assert all(0.01 <= model.discriminator_init_std <= 0.2 for model in models)


def test_null_is_a_choice(tmp_path):
    sweep = sweep_of(tmp_path, "train.ema_decay: {kind: categorical, choices: [null, 0.9]}")
    assert {sweep.config(values).train.ema_decay for values in samples(sweep, 20)} == {None, 0.9}


def test_ranges_keep_to_their_ends_steps_and_scale(tmp_path):
    entries = "model.z_dim: {kind: int, low: 2, high: 8, step: 3}\n"
    entries += "optim.generator.rate: {kind: float, low: 1e-4, high: 1e-1, log: true}\n"
    found = samples(sweep_of(tmp_path, entries), 300)
    assert {values["model.z_dim"] for values in found} == {2, 5, 8}
    rates = [values["optim.generator.rate"] for values in found]
    assert min(rates) >= 1e-4 and max(rates) <= 1e-1
    assert 0.2 < sum(rate < 1e-3 for rate in rates) / 300 < 0.47  # a third of them in each decade


def test_a_space_written_out_and_read_again_is_the_same(tmp_path):
    from omegaconf import OmegaConf

    entries = (
        KIND
        + DROP
        + FACTOR
        + "model.hidden_dims: {kind: categorical, choices: [[16], [8, 8]]}\nmodel.z_dim: {kind: int, low: 6, high: 12}\n"
    )
    sweep = sweep_of(tmp_path, entries)
    text = OmegaConf.to_yaml(OmegaConf.create({"search_space": sweep.space.to_yaml()}))
    (tmp_path / "again.yaml").write_text(SWEEP.replace("search_space:\n", "") + text)
    again = load_sweep(tmp_path / "again.yaml", {})
    assert again.space == sweep.space and again.fingerprint() == sweep.fingerprint()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.z_dim: {kind: int, low: 9, high: 6}", "search_space.model.z_dim: got low 9 above high 6"),
        ("model.zdim: {kind: int, low: 6, high: 9}", "search_space.model.zdim: no such path"),
        ("model.z_dim: {kind: [int], low: 6, high: 9}", "search_space.model.z_dim.kind: got "),
        ("optim.kind: {kind: categorical, choices: [sgd, lion]}", "the value lion is refused"),
        ("train.epochs: {kind: int, low: 6, high: 9}", "search_space.train.epochs: not a hyperparameter"),
        ("optim.generator.rate: {kind: float, low: 0.1, high: 1, when: {optim.kin: sgd}}", "when.optim.kin: got no such path"),
    ],
)
def test_an_error_in_the_space_names_its_line_in_the_file(tmp_path, line, message):
    text = SWEEP + "  # a comment\n\n  model.init_std: {kind: float, low: 0.01, high: 0.1}\n  " + line + "\n"
    (tmp_path / "sweep.yaml").write_text(text)
    number = 1 + text.splitlines().index("  " + line)
    with pytest.raises(ConfigError, match=message) as caught:
        load_sweep(tmp_path / "sweep.yaml", {})
    assert str(caught.value).endswith(f"({tmp_path / 'sweep.yaml'}:{number})")


def test_the_pruner_is_asked_no_later_than_the_earliest_drop(tmp_path):
    epochs = "train.epochs=20"
    assert sweep_of(tmp_path, KIND + DROP, epochs).last_rung == 10
    assert sweep_of(tmp_path, DROP, epochs, "optim.schedule.kind=step").last_rung == 10
    assert sweep_of(tmp_path, KIND, epochs, "optim.schedule.drop_at=0.25").last_rung == 5
    assert sweep_of(tmp_path, "model.z_dim: {kind: int, low: 6, high: 12}", epochs).last_rung == 19
    late = "optim.schedule.drop_at: {kind: float, low: 0.9, high: 0.95, when: {optim.schedule.kind: WHEN}}\n"
    assert sweep_of(tmp_path, KIND + late.replace("WHEN", "step"), epochs).last_rung == 12  # of the others 0.6 is fixed
    assert sweep_of(tmp_path, KIND + late.replace("WHEN", "[step, cosine]"), epochs).last_rung == 18
    two = "optim.kind: {kind: categorical, choices: [sgd, adam]}\n" + late.replace("WHEN", "[step, cosine], optim.kind: adam")
    assert sweep_of(tmp_path, KIND + two, epochs).last_rung == 12
    some = "optim.kind: {kind: categorical, choices: [sgd, adam]}\n"
    some += "optim.schedule.kind: {kind: categorical, choices: [constant], when: {optim.kind: adam}}\n"
    fixed = "  optim: {schedule: {kind: step, drop_at: 0.2}}\n"
    assert sweep_of(tmp_path, some, epochs, trial=fixed).last_rung == 4  # under sgd the kind is the fixed one
    late = "optim.schedule.drop_at: {kind: float, low: 0.9, high: 0.95, when: {optim.schedule.kind: step}}\n"
    assert sweep_of(tmp_path, some.replace("constant", "step") + late, epochs, trial=fixed).last_rung == 4
    constant = fixed.replace("kind: step", "kind: constant")  # no trial has the fixed drop: it is constant, or its drop is searched
    assert sweep_of(tmp_path, some.replace("constant", "step") + late, epochs, trial=constant).last_rung == 18


def test_the_pruner_is_asked_no_later_than_the_consistency_term_begins_in_some_trials_and_not_in_others(tmp_path):
    """Where that is fixed all trials change at once, and rungs after it compare like with like."""
    epochs, begins = "train.epochs=20", "objective.consistency.from_epoch: "
    searched = begins + "{kind: int, low: 7, high: 30}\n"
    assert sweep_of(tmp_path, searched, epochs).last_rung == 7
    assert sweep_of(tmp_path, searched + KIND, epochs, "optim.schedule.drop_at=0.25").last_rung == 5
    assert sweep_of(tmp_path, begins + "{kind: categorical, choices: [9, 6]}", epochs).last_rung == 6
    assert sweep_of(tmp_path, "model.z_dim: {kind: int, low: 6, high: 12}", epochs).last_rung == 19
    some = "optim.kind: {kind: categorical, choices: [sgd, adam]}\n" + begins + "{kind: int, low: 7, high: 9, when: {optim.kind: adam}}"
    assert sweep_of(tmp_path, some, epochs).last_rung == 3  # the others have the fixed one
    soon = begins + "{kind: int, low: 0, high: 9}"
    halving = "SuccessiveHalvingPruner"
    for pruner, low in (
        (halving, 0),
        ("auto", 1),
        ("MedianPruner, n_warmup_steps: 10", 9),
        (f"{halving}, reduction_factor: 4, min_early_stopping_rate: 2", 9),
    ):
        sweep = sweep_of(tmp_path, soon.replace("low: 0", f"low: {low}"), epochs, f"study.pruner={{kind: {pruner}}}")
        assert "the pruner never acts" in sweep.notes[-1], pruner
    assert sweep_of(tmp_path, soon.replace("low: 0", "low: 2"), epochs, "study.pruner={kind: auto}").notes == ()


def test_the_pruner_is_asked_no_later_than_the_balance_of_mutual_information_changes_in_some_trials(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "SWEEP", SWEEP.replace("from_epoch: 3}", "from_epoch: 3}, mutual_information: {until_epoch: 7}"))
    epochs, block = "train.epochs=20", "objective.mutual_information."
    assert sweep_of(tmp_path, block + "until_epoch: {kind: int, low: 6, high: 30}", epochs).last_rung == 6
    assert sweep_of(tmp_path, block + "until_epoch: {kind: categorical, choices: [null, 9]}", epochs).last_rung == 9
    assert sweep_of(tmp_path, block + "balance: {kind: float, low: 2.0, high: 6.0}", epochs).last_rung == 19


def test_trials_that_would_be_copies_are_said(tmp_path):
    path = tmp_path / "s.yaml"
    trial = "trial: {data: {num_labels: 100}, objective: {adversarial_y: {}, classification: {}}}\n"
    path.write_text("study: {name: s, num_trials: 5}\n" + trial + "baselines: {plain: {model.z_dim: 3}}\n")
    said = "nothing is searched: trials 1 to 4 are one training again and again; study.num_trials=2 has it once"
    assert load_sweep(path, {}).notes == (said,) and load_sweep(path, {"study.num_trials": 2}).notes == ()


@pytest.mark.parametrize(
    "change",
    [
        "num_trials=9",
        "max_minutes=5",
        "stop_below_gain=0.001",
        "max_disk_gb=1",
        "max_concurrent=2",
        "resources_per_trial={cpu: 2}",
        "folder=other",
    ],
)
def test_what_no_trial_depends_on_is_no_part_of_the_fingerprint(tmp_path, change):
    entries = "model.z_dim: {kind: int, low: 6, high: 12}"
    assert sweep_of(tmp_path, entries).fingerprint() == sweep_of(tmp_path, entries, f"study.{change}").fingerprint()


@pytest.mark.parametrize(
    "change", ["train.epochs=9", "study.sampler={kind: RandomSampler}", "model.z_dim=3", "study.name=other", "data.label_seed=1"]
)
def test_what_a_trial_depends_on_is_part_of_the_fingerprint(tmp_path, change):
    entries = "model.z_dim: {kind: int, low: 6, high: 12}"
    assert sweep_of(tmp_path, entries).fingerprint() != sweep_of(tmp_path, entries, change).fingerprint()


def test_how_often_a_checkpoint_is_written_may_change_while_a_study_goes_on(tmp_path):
    """Seen to fail: a study that an earlier version began, whose default was another, was refused."""
    entries = "model.z_dim: {kind: int, low: 6, high: 12}"
    begun = json.loads(json.dumps(sweep_of(tmp_path, entries, "train.checkpoint_every=1").fingerprint()))
    refuse_changes(begun, sweep_of(tmp_path, entries), tmp_path)
    with pytest.raises(ConfigError, match=r"trial\.train\.epochs was 60, is 9\."):
        refuse_changes(begun, sweep_of(tmp_path, entries, "train.epochs=9"), tmp_path)
