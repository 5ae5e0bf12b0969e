"""The command line wins over every layer, also with a default's own value, and sweep.yaml of a run folder is the same sweep again."""

from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf

from aae.inputs import parse_overrides, read_sweep
from aae.paths import flatten
from aae.tuning.spec.fork import Fork, Parent
from aae.tuning.spec.sweep import Sweep, compose_sweep
from aae.tuning.study.parents import load_sweep
from tests.sweeping import PROJECT

SWEEPS = sorted((PROJECT / "sweeps").glob("*.yaml"))
TYPED = ["optim.kind=sgd", "train.epochs=70", "train.ema_decay=null", "optim.schedule={kind: cosine, factor: 0.1}", "study.num_trials=9"]
OTHERS = {
    "as it is": [],
    "adam": ["optim.kind=adam", "optim.schedule.factor=0.1"],
    "a part of the space": ["model.z_dim=2", "optim.reconstruction={rate: 0.02, momentum: 0.5}"],
}
SWEEP = """
study: {name: s}
baselines:
  paper: {baseline}
trial:
  data: {num_labels: 100}
  objective: {adversarial_y: {}, classification: {}}
search_space:
  model.z_dim: {kind: int, low: 2, high: 12}
"""


def baseline_of(tmp_path: Path, baseline: str, *typed: str) -> tuple[Sweep, dict]:
    """(the sweep, its baseline's configuration under dotted paths)."""
    (tmp_path / "s.yaml").write_text(SWEEP.replace("{baseline}", baseline))
    sweep = load_sweep(tmp_path / "s.yaml", parse_overrides(list(typed)))
    return sweep, flatten(sweep.config(sweep.baselines["paper"]))


@pytest.mark.parametrize(
    ("baseline", "typed", "want"),
    [
        ("{optim.kind: adam}", "optim.kind=sgd", {"optim.kind": "sgd"}),  # the default's own value
        ("{optim.kind: adam}", "optim={kind: sgd}", {"optim.kind": "sgd"}),
        (
            "{optim.generator.rate: 0.3, optim.kind: adam}",
            "optim={kind: sgd}",
            {"optim.kind": "sgd", "optim.generator.rate": 0.3},
        ),
        (
            "{optim.schedule: {kind: step, unit: epoch, drop_at: 50}}",
            "optim.schedule.kind=constant",
            {"optim.schedule.kind": "constant", "optim.schedule.drop_at": 50, "optim.schedule.unit": "epoch"},
        ),
        (
            "{optim.schedule: {kind: step, unit: epoch, drop_at: 50}}",
            "optim.schedule={kind: constant}",
            {"optim.schedule.kind": "constant", "optim.schedule.drop_at": 50},
        ),
        ("{objective.adversarial_y.weight: 2}", "objective.adversarial_y=null", {"objective.adversarial_y": None}),
        ("{objective.adversarial_y: {weight: 2}}", "objective.adversarial_y=null", {"objective.adversarial_y": None}),
        ("{train.ema_decay: 0.9}", "train.ema_decay=null", {"train.ema_decay": None}),
        ("{train.ema_decay: null}", "train.ema_decay=0.999", {"train.ema_decay": 0.999}),
        ("{optim.kind: adam}", "train.update=joint", {"optim.kind": "adam", "train.update": "joint"}),  # its own values stay
    ],
)
def test_the_command_line_wins_over_a_baseline_whatever_value_it_sets(tmp_path, baseline, typed, want):
    """Seen to fail with a baseline's own values kept: the first, and all that set a block or turn one off. A sweep with another
    baseline has another fingerprint, and the file that its folder gets has that baseline."""
    sweep, flat = baseline_of(tmp_path, baseline, typed)
    assert {path: flat[path] for path in want} == want
    plain, before = baseline_of(tmp_path, baseline)
    assert (sweep.fingerprint() == plain.fingerprint()) == (flat == before)
    (tmp_path / "again.yaml").write_text(sweep.to_yaml())
    again = load_sweep(tmp_path / "again.yaml", {})
    assert flatten(again.config(again.baselines["paper"])) == flat


@pytest.mark.parametrize("baseline", ["{objective.adversarial_y: null}", "{objective: {adversarial_y: null}}"])
@pytest.mark.parametrize(
    ("typed", "baselines"),
    [
        (["objective.adversarial_y.weight=2"], None),
        (["objective.adversarial_y={weight: 2}"], 2),
        (["objective.adversarial_y={}", "objective.adversarial_y.weight=2"], 2),
        (["objective={adversarial_y: {}}", "objective.adversarial_y.weight=2"], 2),
    ],
)
def test_a_part_of_a_block_that_a_baseline_turns_off_is_set_for_the_others(tmp_path, baseline, typed, baselines):
    """Seen to fail: refused, so that nothing of the term could be set in a sweep whose baseline is without it. Written as a block, the
    baseline was trained with the term."""
    sweep, flat = baseline_of(tmp_path, baseline, *typed)
    assert sweep.fixed.objective.adversarial_y.weight == 2
    assert flat.get("objective.adversarial_y.weight") == baselines


def fork_of(path: Path) -> Fork | None:
    """What a fork of the project's would find: parents with the configuration of the first study's fixed part and of a sample."""
    asked = read_sweep(path).study.get("fork")
    if asked is None:
        return None
    first = load_sweep(PROJECT / "sweeps" / f"{Path(asked.run).name}.yaml", {})
    configs = [first.config(values) for values in [{}, *sampled(first, 2)]]
    blocks = [OmegaConf.to_container(OmegaConf.structured(config)) for config in configs]
    parents = (Parent(3 * n, 0.1, "0", block | {"train": block["train"] | {"keep_epochs": []}}) for n, block in enumerate(blocks))
    return Fork(asked.run, "0", asked.epoch, tuple(parents), {}, ())


def sampled(sweep: Sweep, num: int) -> list[dict]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [sweep.space.suggest(study.ask()) for _ in range(num)]


@pytest.mark.parametrize(
    "typed", [pytest.param(TYPED, id="typed"), *(pytest.param(typed, id=name, marks=pytest.mark.slow) for name, typed in OTHERS.items())]
)
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweep_yaml_of_a_run_folder_makes_the_configurations_of_the_command_that_made_it(path, typed, tmp_path):
    """The fixed part, every baseline, five samples. Seen to fail with the fixed part written without the command line."""
    fork = fork_of(path)
    if fork is not None:
        typed = [each for each in typed if "schedule" in each or "epochs" in each or each.startswith("study.")]
    sweep = compose_sweep(read_sweep(path), parse_overrides(typed), fork, str(path))
    (tmp_path / "sweep.yaml").write_text(sweep.to_yaml(), encoding="utf-8")
    again = compose_sweep(read_sweep(tmp_path / "sweep.yaml"), {}, fork, str(tmp_path / "sweep.yaml"))
    assert again.fixed == sweep.fixed and list(again.baselines) == list(sweep.baselines)
    for name, values in sweep.baselines.items():
        assert again.config(again.baselines[name]) == sweep.config(values)
    samples = sampled(sweep, 5)
    assert sampled(again, 5) == samples
    assert [again.config(values) for values in samples] == [sweep.config(values) for values in samples]
    assert again.fingerprint() == sweep.fingerprint() and again.study == sweep.study
