"""sweeps/schema.json, by which editors check a sweep file: held to the code, to the shipped sweeps and to wrong ones."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

from aae.inputs import read_sweep
from aae.tuning.spec.schema import range_of, schema_text, sweep_schema
from aae.tuning.study.parents import load_sweep
from tests.sweep_files import SYSTEM_SWEEP, TINY_SWEEP
from tests.sweeping import PROJECT

SCHEMA = sweep_schema()
FILES = sorted([*(PROJECT / "sweeps").glob("*.yaml"), *(PROJECT / "benchmarks").glob("*.yaml")])


def wrong(path: Path) -> list[str]:
    """What an editor would underline."""
    blocks = {name: block for name, block in OmegaConf.to_container(read_sweep(path)).items() if block}
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in Draft7Validator(SCHEMA).iter_errors(blocks)]


def test_the_file_is_what_the_code_says():
    """Seen to fail after a changed comment of aae/config.py."""
    have = (PROJECT / "sweeps" / "schema.json").read_text(encoding="utf-8")
    assert have == schema_text(), "python launch.py schema > sweeps/schema.json"
    assert json.loads(have) == SCHEMA


def test_it_is_a_schema():
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_sweep_names_the_schema_in_its_first_line_and_passes_it(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("$schema=")[2]).resolve() == PROJECT / "sweeps" / "schema.json"
    assert wrong(path) == []


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "semi_decay"], ids=lambda path: path.stem)  # a fork: test_fork
def test_a_sweep_as_its_run_folder_records_it_passes(path, tmp_path):
    """With every path written out, so a schema that is stricter than the code shows here."""
    (tmp_path / "sweep.yaml").write_text(load_sweep(path, {}).to_yaml(), encoding="utf-8")
    assert wrong(tmp_path / "sweep.yaml") == []


@pytest.mark.parametrize("text", [SYSTEM_SWEEP, TINY_SWEEP])
def test_sweeps_of_the_tests_pass(text, tmp_path):
    (tmp_path / "s.yaml").write_text(text)
    assert wrong(tmp_path / "s.yaml") == []


def test_ranges_choices_types_defaults_and_comments_are_those_of_the_dataclasses():
    paths = SCHEMA["definitions"]
    width = {"description": "width of the style code", "default": 10, "type": "integer", "minimum": 1, "maximum": 10_000_000}
    assert paths["model.z_dim"] == width
    assert paths["model.leaky_slope"] | {"description": ""} == {
        "description": "",
        "default": 0.0,
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
    }
    assert paths["train.update"]["enum"] == ["alternating", "joint"]
    assert paths["optim.reconstruction.rate"] == {
        "description": "learning rate before the schedule's drops",
        "default": 0.01,
        "type": "number",
        "exclusiveMinimum": 0,
    }
    assert (paths["optim.schedule.factor"]["exclusiveMinimum"], paths["optim.schedule.factor"]["maximum"]) == (0, 1)
    assert (paths["data.num_draws"]["minimum"], paths["data.num_draws"]["maximum"]) == (1, 100)
    assert paths["data.num_labels"]["minimum"] == -1 and "maximum" not in paths["data.num_labels"]  # MNIST's size is no range
    assert "maximum" not in paths["optim.schedule.drop_at"]  # 1 is that of a fraction alone
    assert paths["objective.consistency"]["type"] == ["object", "null"] and paths["objective.adversarial_z"]["type"] == "object"


def test_a_range_whose_end_is_not_among_those_that_are_asked_is_no_range():
    assert range_of(lambda value: 0 < value <= 2, whole=False) == {"exclusiveMinimum": 0, "maximum": 2}
    assert range_of(lambda value: value >= 3, whole=True) == {"minimum": 3}
    with pytest.raises(AssertionError, match="add its end to ENDS"):
        range_of(lambda value: value >= 50, whole=True)
    with pytest.raises(AssertionError, match="add its end to ENDS"):
        range_of(lambda value: value < 50, whole=False)
