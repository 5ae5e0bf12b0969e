"""A sweep file, a trial's recorded config.yaml, key=value: read as plain blocks. aae/layers.py composes them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aae.config import ConfigError, TrialConfig, require
from aae.errors import one_line
from aae.yaml_reader import compose, joined, pairs, plain

SWEEP_BLOCKS = ("study", "baselines", "trial", "search_space")
FILE_ALONE = {  # blocks that the command line does not set: what to write instead
    "trial": "write the path without trial., as train.epochs=5",
    "baselines": "a baseline is written in the sweep file alone",
    "search_space": "a range is written in the sweep file alone; model.z_dim=8 fixes a path, which is then not searched",
}
FOLDERS = ("data.folder", "study.folder", "study.fork.run", "study.learn_from")
BROKEN = (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError)  # of a text that is no YAML, or none for a configuration


def read_sweep(path: str | Path) -> DictConfig:
    """Reads a sweep file, no further than its four blocks. Raises ConfigError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; the sweeps that come with the project are sweeps/*.yaml") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file in UTF-8; give a sweep in YAML, as sweeps/quick.yaml is") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder; give a sweep file (python launch.py status FOLDER shows a run)") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a sweep file") from None
    try:
        root = compose(text)
        nodes = pairs(root) if isinstance(root, yaml.MappingNode) else {}
        if not nodes:
            raise ConfigError(f"{path}: holds no sweep; its blocks are {', '.join(SWEEP_BLOCKS)}")
        for key in nodes:
            require(key in SWEEP_BLOCKS, f"{path}: {key}", "an unknown block", f"the blocks of a sweep are {', '.join(SWEEP_BLOCKS)}")
        blocks = {key: read_block(key, nodes[key], f"{path}: {key}") if key in nodes else {} for key in SWEEP_BLOCKS}
        for key, block in blocks.items():
            refuse_unsafe_values(block, f"{path}: {key}")
            refuse_unmeant_folders(block, f"{path}: {key}")
        return OmegaConf.create(blocks)
    except ConfigError:
        raise
    except BROKEN as error:
        raise ConfigError(f"{path}: not valid YAML: {one_line(error)}") from None


def read_block(name: str, node: yaml.Node, where: str) -> dict[str, Any]:
    """A block of a sweep file as plain data. Raises ConfigError and yaml.YAMLError."""
    if not isinstance(node, yaml.MappingNode):
        value = plain(node, where, "")
        require(value is None, where, type(value).__name__, "give a block of keys")
        return {}
    if name in ("study", "trial"):
        return plain(node, where, "study" if name == "study" else "")
    return {
        key: read_entry(value, f"{where}.{key}", key) if name == "search_space" else plain(value, f"{where}.{key}", "")
        for key, value in pairs(node).items()
    }


def read_entry(node: yaml.Node, where: str, path: str) -> Any:
    """An entry of the search space: its choices are values of the searched path, and those of when: of the paths that it names."""
    if not isinstance(node, yaml.MappingNode):
        return plain(node, where, "")
    return {key: plain(value, f"{where}.{key}", path if key == "choices" else "") for key, value in pairs(node).items()}


def read_trial(path: Path) -> DictConfig:
    """A trial's configuration as its folder recorded it. Raises ConfigError."""
    try:
        node = compose(path.read_text(encoding="utf-8-sig"))
        config = {} if node is None else plain(node, str(path), "")
        whole = isinstance(config, dict) and config.keys() >= vars(TrialConfig()).keys()  # else defaults would train
        require(whole, str(path), "less than the blocks of a configuration", "restore it, or name another folder")
        return OmegaConf.create(config)
    except ConfigError:
        raise
    except (*BROKEN, OSError) as error:
        raise ConfigError(f"{path}: broken, not a configuration ({one_line(error)}); restore it, or name another folder") from None


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value in blocks and lists, with where it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, joined(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def refuse_unsafe_values(value: Any, path: str) -> None:
    """nan and inf pass as floats, `${...}` would carry an environment variable into the run folder, and `???` is nothing: none may."""
    for where, leaf in leaves(value, path):
        if isinstance(leaf, float):
            require(math.isfinite(leaf), where, leaf, "give a finite number")
        elif isinstance(leaf, str):
            require("${" not in leaf, where, repr(leaf), "interpolations are not read; write the value itself")
            require(leaf != "???", where, leaf, "write the value itself, or leave the line out")


def refuse_unmeant_folders(value: Any, path: str) -> None:
    """Those that someone typed: a run folder of another machine may name what is not here. Raises ConfigError."""
    for where, leaf in leaves(value, path):
        if isinstance(leaf, str) and re.sub(r"(\[\d+\])+$", "", where).endswith(FOLDERS):
            refuse_unmeant_folder(leaf, where)


def refuse_unmeant_folder(text: str, path: str) -> None:
    """`~` is the home folder, wherever a folder is opened; what a shell would have filled in is not filled in here. Raises ConfigError."""
    want = "variables are not read here: write the folder itself, or leave the quotes out for your shell to fill it in"
    require("$" not in text, path, repr(text), want)
    unknown = os.path.expanduser(text).startswith("~")
    require(not unknown, path, repr(text), f"there is no such home folder: write the whole path, or ./{text} for a folder of that name")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        want = "this locale has no such character for a file's name: set LC_ALL=C.UTF-8"
        raise ConfigError(f"{path}: got {text!a}; {want}") from None


def parse_overrides(items: list[str]) -> dict[str, Any]:
    """`["train.epochs=5"]` -> `{"train.epochs": 5}`. Raises ConfigError."""
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not text.strip() or not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", key):
            raise ConfigError(
                f"{item}: not an override; write path=value without spaces, for example train.epochs=5 (null is written null)"
            )
        block = key.partition(".")[0]
        require(block not in FILE_ALONE, key, text, FILE_ALONE.get(block, ""))
        refuse_unsafe_values(text, key)
        values[key] = read_value(item, key, text)
        refuse_unsafe_values(values[key], key)
        refuse_unmeant_folders(values[key], key)
    return values


def read_value(item: str, key: str, text: str) -> Any:
    """What stands after the = of an override. Raises ConfigError."""
    line = f"value: {text}"
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{key}: got {text!a}; this locale cannot read it: set LC_ALL=C.UTF-8") from None
    try:
        root = compose(line)
        assert isinstance(root, yaml.MappingNode)
        (node,) = pairs(root).values()  # a value of several lines could bring another key
        rest = line[node.end_mark.index :].strip()
        require(not rest, key, text, f"after a space # begins a comment ({rest}): put the value in quotes")
        return plain(node, key, key)
    except ConfigError:
        raise
    except BROKEN as error:
        raise ConfigError(f"{item}: the value is not valid YAML: {one_line(error)}; quote the whole path=value for your shell") from None
