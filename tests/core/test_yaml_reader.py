"""What is read is what was written: text as it stands, numbers by YAML 1.2, nothing turned into something else in silence."""

import json
import random
import struct
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from aae import checkpoint
from aae.config import ConfigError
from aae.inputs import parse_overrides, read_sweep
from aae.layers import baseline_values, set_paths, to_trial, trial_from_sweep
from aae.yaml_reader import LOADER, compose, paths_of, plain
from tests.sweep_files import NOTHING, TEXTS

ROOT = Path(__file__).resolve().parents[2]
RECORDED = sorted(ROOT.glob("records/**/config.yaml"))
SWEEPS = sorted([*ROOT.glob("sweeps/*.yaml"), *ROOT.glob("records/**/sweep.yaml"), *ROOT.glob("benchmarks/*.yaml")])


def value_of(text: str) -> object:
    node = compose(text)
    return None if node is None else plain(node, "here", "")


# ---- text


@pytest.mark.parametrize("text", TEXTS)
def test_a_field_of_text_takes_what_was_written(text):
    assert parse_overrides([f"study.name={text}", f"data.folder={text}"]) == {"study.name": text, "data.folder": text}
    assert parse_overrides([f"study.confirm={{baseline: {text}}}"]) == {"study.confirm": {"baseline": text}}


@pytest.mark.parametrize("text", TEXTS)
def test_every_block_of_a_file_keeps_its_text_and_its_names(tmp_path, text):
    lines = f"study: {{name: {text}, folder: {text}, sampler: {{kind: {text}}}, fork: {{run: {text}, top_k: 3}}}}\n"
    lines += f"trial: {{train: {{checkpoint_every: {text}}}}}\nbaselines: {{{text}: {{optim.kind: {text}}}}}\n"
    lines += f"search_space: {{optim.kind: {{kind: categorical, choices: [{text}, sgd], when: {{train.update: [{text}]}}}}}}\n"
    (tmp_path / "s.yaml").write_text(lines)
    sweep = OmegaConf.to_container(read_sweep(tmp_path / "s.yaml"))
    assert sweep["study"] == {"name": text, "folder": text, "sampler": {"kind": text}, "fork": {"run": text, "top_k": 3}}
    assert sweep["trial"] == {"train": {"checkpoint_every": text}}
    assert sweep["baselines"] == {text: {"optim.kind": text}}
    entry = sweep["search_space"]["optim.kind"]
    assert (entry["choices"], entry["when"]) == ([text, "sgd"], {"train.update": [text]})


def test_a_baseline_may_have_any_of_these_names(tmp_path):
    lines = "".join(f"  {name}: {{model.z_dim: {number}}}\n" for number, name in enumerate([*TEXTS, *NOTHING], 2))
    (tmp_path / "s.yaml").write_text(f"baselines:\n{lines}")
    sweep = read_sweep(tmp_path / "s.yaml")
    assert list(sweep.baselines) == [*TEXTS, *NOTHING]
    for number, name in enumerate([*TEXTS, *NOTHING], 2):
        assert baseline_values(sweep, name) == {"model.z_dim": number}
    assert trial_from_sweep(sweep, "2015", {}).model.z_dim == 2 + TEXTS.index("2015")


@pytest.mark.parametrize("text", NOTHING)
def test_null_is_null_in_a_field_of_text_and_quoted_it_is_a_word(text):
    assert parse_overrides([f"data.folder={text}"]) == {"data.folder": None}
    assert parse_overrides([f"data.folder='{text}'"]) == {"data.folder": text}


def test_a_byte_order_mark_and_lines_ends_of_other_systems_are_no_text(tmp_path):
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfstudy:\r\n  name: mine\r\n")
    assert read_sweep(tmp_path / "s.yaml").study == {"name": "mine"}


# ---- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("+5", 5),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.5e+1", -5.0),
        ("0.10", 0.1),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("0b11", "0b11"),
        ("on", "on"),
        ("2024-01-15", "2024-01-15"),
        ("'010'", "010"),
        ("auto", "auto"),
    ],
)
def test_a_number_is_read_by_yaml_1_2(text, value):
    read = value_of(text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("010", "write 10,"),
        ("-007", "write -7,"),
        ("00", "write 0,"),
        ("00.5", "write 0.5,"),
        ("01e3", "write 1e3,"),
        ("1_000", "write 1000,"),
        ("1_0.5", "write 10.5,"),
        ("1e1_0", "write 1e10,"),
        ("0_1", "write 1,"),
        ("1:30", "without colons"),
        ("1:30:00.5", "without colons"),
        ("-1:30", "without colons"),
    ],
)
def test_a_number_that_readers_disagree_on_is_refused_with_how_to_write_it(tmp_path, text, want):
    for item in (f"train.epochs={text}", f"study.max_minutes={text}", f"model.hidden_dims=[8, {text}]"):
        with pytest.raises(ConfigError, match=f"got {text}; .*{want}"):
            parse_overrides([item])
    for block in (
        f"trial: {{train: {{epochs: {text}}}}}",
        f"study: {{num_trials: {text}}}",
        f"study: {{sampler: {{kind: TPESampler, seed: {text}}}}}",
        f"baselines: {{a: {{model.z_dim: {text}}}}}",
        f"search_space: {{model.z_dim: {{kind: int, low: {text}, high: 12}}}}",
        f"search_space: {{model.z_dim: {{kind: categorical, choices: [{text}]}}}}",
        f"search_space: {{optim.kind: {{kind: categorical, choices: [sgd], when: {{model.z_dim: {text}}}}}}}",
    ):
        (tmp_path / "s.yaml").write_text(block)
        with pytest.raises(ConfigError, match=rf"s.yaml: \w+\..*: got {text}; .*{want}"):
            read_sweep(tmp_path / "s.yaml")


@pytest.mark.parametrize("word", ["yes", "No", "on", "OFF", "y", "3", "0", "maybe"])
def test_a_word_of_old_yaml_or_a_number_is_no_switch(word):
    with pytest.raises(ConfigError, match="write true or false"):
        parse_overrides([f"objective.adversarial_z.sees_label={word}"])


# ---- the rest of YAML


def test_a_block_of_others_is_merged_beneath_its_own_keys():
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: *a, y: 5}\nd: {<<: [*a, *b], z: 6}\n"
    assert value_of(text)["c"] == {"x": 1, "y": 5} and value_of(text)["d"] == {"x": 1, "y": 2, "z": 6}


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "{1: a, '1': b}", "{[a]: 1}", "!!int 5", "!!python/none ''", "{<<: 3}"])
def test_what_yaml_can_say_and_no_sweep_needs_is_refused(text):
    with pytest.raises(yaml.YAMLError):
        value_of(text)


def test_both_parsers_of_pyyaml_read_the_same(monkeypatch):
    """It has one in C, where it was built with it."""
    texts = [path.read_text(encoding="utf-8") for path in SWEEPS] + ["a: größe #b\n", "[1, 'x', \"y\", |\n z\n]"]
    read = [yaml.compose(text, Loader=LOADER) for text in texts[:-1]]
    slow = [yaml.compose(text, Loader=yaml.BaseLoader) for text in texts[:-1]]
    assert [plain(node, "", "") for node in read] == [plain(node, "", "") for node in slow]


# ---- a run folder's own files: written by OmegaConf


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: str(path.parent.relative_to(ROOT / "records")))
def test_a_recorded_configuration_reads_as_it_always_did(path):
    before = OmegaConf.load(path)
    assert checkpoint.read_config(path.parent) == to_trial(before)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_sweep_file_of_the_project_reads_as_it_always_did(path):
    before = OmegaConf.to_container(OmegaConf.load(path))
    read = OmegaConf.to_container(read_sweep(path))
    assert json.dumps({key: read[key] for key in before}) == json.dumps(before)


@pytest.mark.parametrize(
    "text", [*TEXTS, *NOTHING, "a: b", " a", "#a", "- a", "a\nb", "", "größe", "\u2028", "\x07", "'", '"', "!a", "*a", "<<"]
)
def test_a_text_written_to_a_run_folder_is_read_back(text):
    content = {"data": {"folder": text}, "baselines": {text: {"model.z_dim": 1}}}
    assert plain(compose(OmegaConf.to_yaml(OmegaConf.create(content))), "", "") == content


def test_every_number_written_to_a_run_folder_is_read_back_to_the_bit():
    source = random.Random(0)
    floats = [struct.unpack("d", source.randbytes(8))[0] for _ in range(2000)]
    floats = [value for value in floats if value == value and abs(value) != float("inf")]
    floats += [0.0, -0.0, 1e-4, 1e-5, 1e15, 1e16, 1e17, 123456789012345680.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 100.0]
    values = [*floats, *(source.randrange(-(10**18), 10**18) for _ in range(200)), 0, -1, True, False, None]
    assert repr(plain(compose(OmegaConf.to_yaml(OmegaConf.create({"x": values}))), "", "")) == repr({"x": values})


def test_any_text_in_any_field_of_text_survives_config_yaml(tmp_path):
    """As a trial's folder has it; the fields of a few words are left out, they take no other."""
    source = random.Random(1)
    for number in range(60):
        text = "".join(source.choice("0123456789_:.-+eExXob~ny #'\"{}[],&*!|>%@`\\\té€") for _ in range(source.randrange(1, 8)))
        config = to_trial(set_paths(OmegaConf.create({}), {"data.folder": text}, ""))
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(config)), encoding="utf-8")
        assert checkpoint.read_config(folder) == config, text


def test_the_fields_of_text_and_the_switches_are_those_of_the_schema():
    assert {"data.folder", "optim.kind", "train.checkpoint_every", "objective.adversarial_z.prior.kind"} <= paths_of(str)
    assert not {"train.epochs", "model.hidden_dims", "train.ema_decay", "objective"} & paths_of(str)
    assert "objective.adversarial_z.sees_label" in paths_of(bool)
