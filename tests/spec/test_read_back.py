"""A sweep that is written out, into its run folder or by --plan, is the same sweep when it is read again."""

import json
from pathlib import Path

import pytest

from aae.inputs import parse_overrides
from aae.tuning.spec.blocks import ConfirmConfig, ForkConfig, StudyConfig
from aae.tuning.study.parents import load_sweep
from aae.yaml_reader import STUDY_TEXT, paths_of
from tests.compositions import SWEEPS
from tests.sweep_files import NOTHING, TEXTS

SWEEP = """\
study: {{name: mine, num_trials: 99, sampler: {{kind: RandomSampler}}, confirm: {{report_draws: 2, select_k: 1, baseline: {compared}}}}}
baselines: {{{names}}}
trial: {{data: {{num_labels: 100}}, objective: {{adversarial_y: {{}}, classification: {{}}}}}}
search_space:
  optim.kind: {{kind: categorical, choices: [sgd, adam]}}
  model.hidden_dims: {{kind: categorical, choices: [[16], [8, 8]]}}
  train.ema_decay: {{kind: categorical, choices: [null, 0.9]}}
  optim.generator.rate: {{kind: float, low: 1e-4, high: 1E1, log: true, when: {{optim.kind: sgd}}}}
"""


def assert_read_back(path: Path, *overrides: str) -> None:
    sweep = load_sweep(path, parse_overrides(list(overrides)))
    again = path.parent / "again.yaml"
    again.write_text(sweep.to_yaml(), encoding="utf-8")
    read = load_sweep(again, {})
    assert json.dumps(read.fingerprint()) == json.dumps(sweep.fingerprint())
    assert (vars(read.study), read.baselines, read.space) == (vars(sweep.study), sweep.baselines, sweep.space)
    assert read.fixed == sweep.fixed


@pytest.mark.slow  # test_sweep reads each of them back with a command line over it
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_project_is_read_back_equal(path, tmp_path):
    (tmp_path / path.name).write_bytes(path.read_bytes())
    assert_read_back(tmp_path / path.name)


@pytest.mark.parametrize("name", ["007", "on", "2024_01_15", "1e3", "0x10", "4112e07"])
def test_a_study_of_any_name_is_read_back_equal(name, tmp_path):
    (tmp_path / "s.yaml").write_text(SWEEP.format(names="plain: {}", compared="plain"))
    assert_read_back(tmp_path / "s.yaml", f"study.name={name}", f"study.folder={name}", f"data.folder={name}")


def test_baselines_of_any_name_are_read_back_equal(tmp_path):
    names = [*TEXTS[::4], *NOTHING, "2015", "a b", "größe", "x[1]"]
    block = ", ".join(f"'{name}': {{}}" if "[" in name else f"{name}: {{}}" for name in names)
    (tmp_path / "s.yaml").write_text(SWEEP.format(names=block, compared="2015"), encoding="utf-8")
    assert_read_back(tmp_path / "s.yaml")
    assert set(load_sweep(tmp_path / "again.yaml", {}).baselines) == set(names)


@pytest.mark.parametrize("name", ["2015", "no", "2024_01_15", "'null'", "007"])
def test_the_baseline_that_confirm_names_is_the_one_of_that_name(tmp_path, name):
    (tmp_path / "s.yaml").write_text(SWEEP.format(names=f"{name}: {{}}", compared=name))
    sweep = load_sweep(tmp_path / "s.yaml", {})
    assert list(sweep.baselines) == [sweep.study.confirmation.baseline] == [name.strip("'")]


def test_the_fields_of_text_of_a_study_are_those_of_its_classes():
    """Of a block that holds anything, which may have a kind or a metric, the schema does not say it."""
    found = paths_of(str, StudyConfig, "study.") - {"study.sampler", "study.pruner"}  # dict[str, Any]
    found |= paths_of(str, ForkConfig, "study.fork.") | paths_of(str, ConfirmConfig, "study.confirm.")
    assert STUDY_TEXT - found == {"study.sampler.kind", "study.pruner.kind", "study.constraint.metric"}
    assert found <= STUDY_TEXT
