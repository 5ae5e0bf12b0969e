"""A configuration in layers: defaults, the sweep's trial block, sampled values or a baseline's, the command line."""

from dataclasses import FrozenInstanceError

import pytest
from omegaconf import OmegaConf

from aae.config import ConfigError, TrialConfig
from aae.inputs import parse_overrides, read_sweep
from aae.layers import baseline_values, set_paths, to_trial, trial_from_sweep
from aae.paths import flatten
from tests.compositions import SWEEPS

BASELINES = [(path, name) for path in SWEEPS for name in read_sweep(path).baselines]

SWEEP = """\
study: {name: mine}
baselines:
  other: {optim.kind: adam, model.z_dim: 4, optim.schedule: {kind: step, unit: epoch, drop_at: 50}}
trial:
  data: {num_labels: 100}
  objective: {adversarial_y: {}, classification: {weight: 2}}
  model: {z_dim: 8}
  train: {epochs: 7}
search_space:
  model.z_dim: {kind: int, low: 6, high: 12}
  optim.generator.rate: {kind: float, low: 0.01, high: 0.1}
"""


@pytest.fixture
def sweep(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return read_sweep(tmp_path / "sweep.yaml")


# ---- layers


def test_the_trial_block_goes_over_the_defaults_and_leaves_the_others(sweep):
    config = trial_from_sweep(sweep, None, {})
    assert (config.model.z_dim, config.train.epochs, config.objective.classification.weight) == (8, 7, 2.0)
    assert config.train.batch_size == TrialConfig().train.batch_size


def test_a_baseline_goes_over_the_trial_block_and_the_command_line_over_both(sweep):
    assert trial_from_sweep(sweep, "other", {}).model.z_dim == 4
    config = trial_from_sweep(sweep, "other", {"model.z_dim": 3})
    assert (config.model.z_dim, config.optim.kind, config.train.epochs) == (3, "adam", 7)


def test_a_searched_path_that_a_baseline_does_not_set_is_the_trials_and_never_sampled(sweep):
    config = trial_from_sweep(sweep, "other", {})
    assert config.optim.generator.rate == TrialConfig().optim.generator.rate


def test_a_baselines_block_is_merged_and_not_put_in_place_of_the_other(sweep):
    schedule = trial_from_sweep(sweep, "other", {"optim.schedule.factor": 0.5}).optim.schedule
    assert (schedule.kind, schedule.unit, schedule.drop_at, schedule.factor) == ("step", "epoch", 50.0, 0.5)


def test_setting_paths_changes_no_layer_below(sweep):
    before = OmegaConf.to_yaml(sweep)
    set_paths(sweep.trial, {"model.z_dim": 3, "objective.classification.weight": 1}, "")
    trial_from_sweep(sweep, "other", {"train.epochs": 1})
    assert OmegaConf.to_yaml(sweep) == before


def test_a_weight_into_a_block_that_is_off_is_refused_and_does_not_turn_it_on(sweep):
    with pytest.raises(ConfigError, match="the block objective.classification is off; turn it on with objective.classification={}"):
        trial_from_sweep(sweep, None, {"objective.classification": None, "objective.classification.weight": 1.0})
    config = trial_from_sweep(sweep, None, {"objective.classification": {}, "objective.classification.weight": 3})
    assert config.objective.classification.weight == 3.0


@pytest.mark.parametrize("outer", [{"objective": {"classification": None}}, {"objective.classification": None}])
def test_a_block_that_is_turned_off_within_another_stays_off_in_either_order(sweep, outer):
    """Seen to fail where only its own name was looked for."""
    inner = {"objective.classification.weight": 3.0}
    for values in (outer | inner, inner | outer):
        with pytest.raises(ConfigError, match="the block objective.classification is off"):
            trial_from_sweep(sweep, None, values)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TrialConfig().train.epochs = 3


# ---- dotted paths


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("train.epochs=5", 5),
        ("optim.generator.rate=1e-4", 1e-4),
        ("optim.generator.rate=1E-4", 1e-4),
        ("train.ema_decay=null", None),
        ("model.hidden_dims=[16, 8]", [16, 8]),
        ("objective.adversarial_y={}", {}),
        ("data.folder=a=b", "a=b"),
        ("data.folder='007'", "007"),
        ("train.checkpoint_every=30s", "30s"),
        ("train.update= joint ", "joint"),
    ],
)
def test_a_value_on_the_command_line_is_read_as_yaml(item, value):
    (read,) = parse_overrides([item]).values()
    assert read == value and type(read) is type(value)


def test_a_later_value_on_the_command_line_wins():
    assert parse_overrides(["train.epochs=5", "train.epochs=6"]) == {"train.epochs": 6}


def test_flattened_and_set_again_a_configuration_is_the_same(sweep):
    config = trial_from_sweep(sweep, "other", {"optim.schedule.second_drop_at": 60})
    flat = flatten(config)
    assert (
        to_trial(
            set_paths(OmegaConf.create({"data": {"num_labels": 100}, "objective": {"adversarial_y": {}, "classification": {}}}), flat, "")
        )
        == config
    )
    assert to_trial(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(config)))) == config


def test_a_block_that_is_off_is_one_entry():
    flat = flatten(TrialConfig())
    assert flat["objective.classification"] is None and "objective.classification.weight" not in flat


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("model.zdim", 3, "z_dim"),
        ("optim.generator.rates", 3, "rate"),
        ("trian.epochs", 3, "train"),
        ("train.epoch", 3, "epochs', 'keep_epochs"),
    ],
)
def test_an_unknown_path_is_answered_with_the_nearest_one_and_in_full(sweep, path, value, hint):
    with pytest.raises(ConfigError, match=f"did you mean '{hint}'") as caught:
        trial_from_sweep(sweep, None, {path: value})
    assert path.split(".")[0] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"), [("train", [1]), ("train", 5), ("objective.adversarial_y", True), ("optim", "adam"), ("model.z_dim", {"a": 1})]
)
def test_a_value_of_another_shape_than_its_block_or_field_is_refused_by_its_path(sweep, path, value):
    with pytest.raises(ConfigError, match=f"^{path}: ") as caught:
        trial_from_sweep(sweep, None, {path: value})
    assert "\n" not in str(caught.value)


def test_an_error_in_a_baseline_names_the_baseline_and_the_path(sweep):
    sweep.baselines.other["model.zdim"] = 3
    with pytest.raises(ConfigError, match="^baselines.other.model.zdim: "):
        trial_from_sweep(sweep, "other", {})


# ---- the sweeps of the project


LABELS = {
    "semi": 100,
    "semi_rates": 100,
    "semi_vat": 100,
    "quick": 100,
    "dim_reduction_100": 100,
    "dim_reduction_100_vat": 100,
    "dim_reduction_1000": 1000,
    "svhn": 1000,
}  # that classification reads
LABELS |= {"label_regularised_full": -1, "label_regularised_10k": 10_000, "label_regularised_swiss_roll": 10_000}  # that disc_z is shown
LABELS |= {"supervised_2d": -1, "supervised_10d": -1}  # that the decoder is told


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_project_is_a_configuration_with_the_labels_it_names(path):
    config = trial_from_sweep(read_sweep(path), None, {})
    assert config.data.num_labels == LABELS.get(path.stem, 0)


@pytest.mark.parametrize(("path", "name"), BASELINES, ids=lambda part: getattr(part, "stem", part))
def test_a_baseline_of_the_project_names_every_path_of_the_recipe(path, name):
    """So that it does not change when a default does: all of optim that has a phase, of the terms' weights, and what else a recipe
    says; the width of z where the sweep searches it."""
    raw = read_sweep(path)
    named = set()
    for key, value in baseline_values(raw, name).items():
        named |= {f"{key}.{inner}" for inner in value} if isinstance(value, dict) else {key}
    config = trial_from_sweep(raw, name, {})
    recipe = {key for key in flatten(config) if key.startswith("optim.") or key.endswith(".weight")} | {
        "model.init_std",
        "model.leaky_slope",
    }
    recipe |= {f"train.{key}" for key in ("update", "batch_size", "labelled_batch_size", "input_noise_std", "ema_decay", "precision")}
    recipe |= {"model.z_dim"} & set(raw.search_space)
    recipe |= {"train.labelled_spread"} if trial_from_sweep(raw, None, {}).train.labelled_spread else set()
    if config.objective.classification is None:
        recipe -= {"train.labelled_batch_size", "optim.classification.rate", "optim.classification.momentum"}
    assert recipe - named == set()


@pytest.mark.parametrize(("path", "name"), BASELINES, ids=lambda part: getattr(part, "stem", part))
def test_a_baseline_of_the_project_does_not_move_when_the_defaults_and_the_trial_block_do(path, name):
    raw, other = read_sweep(path), read_sweep(path)
    moved = {"train.update": "joint", "optim.kind": "adam", "optim.generator.rate": 0.123, "train.ema_decay": 0.5}
    moved |= {"optim.schedule": {"kind": "linear", "factor": 0.3}, "train.precision": "bfloat16", "objective.reconstruction.weight": 9.0}
    if raw.trial.objective.get("classification") is not None:
        moved["objective.classification.weight"] = 9.0
    if "model.z_dim" in raw.search_space:
        moved["model.z_dim"] = 3
    other.trial = set_paths(other.trial, moved, "")
    assert trial_from_sweep(raw, name, {}) == trial_from_sweep(other, name, {})


def test_the_papers_recipe_is_the_published_one():
    path = next(path for path in SWEEPS if path.stem == "semi")
    config = trial_from_sweep(read_sweep(path), "paper", {})
    optim = config.optim
    rates = {name: (getattr(optim, name).rate, getattr(optim, name).momentum) for name in ("reconstruction", "generator", "discriminator")}
    assert rates == {"reconstruction": (0.01, 0.9), "generator": (0.1, 0.1), "discriminator": (0.1, 0.1)}
    assert (optim.classification.rate, optim.classification.momentum, optim.kind) == (0.1, 0.9, "sgd")
    assert (optim.schedule.kind, optim.schedule.unit, optim.schedule.drop_at, optim.schedule.second_drop_at) == ("step", "epoch", 50, 1000)
    assert (config.model.z_dim, config.model.hidden_dims, config.train.input_noise_std) == (10, [1000, 1000], 0.3)
    assert (config.train.update, config.train.batch_size, config.objective.adversarial_z.prior.std) == ("alternating", 100, 1.0)
