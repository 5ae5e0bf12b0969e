"""YAML as plain data, by the core rules of YAML 1.2 and with the schema at hand.

A field of text takes what was written (`study.name: 2024_01_15`, `007`, `on`), and a number that older readers take for another one
(`010`, `1_000`, `1:30`) is refused. PyYAML parses, and is asked for no value: its rules are those of YAML 1.1, which make 8 of 010.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from typing import Any

import yaml

from aae.config import TrialConfig
from aae.errors import require

# Fields of text in the block study:, whose classes are in aae/tuning/spec/blocks.py. Those of a trial are asked of its classes.
STUDY_TEXT = {f"study.{name}" for name in ("name", "folder", "metric", "direction", "constraint.metric", "fork.run", "confirm.baseline")}
STUDY_TEXT |= {"study.sampler.kind", "study.pruner.kind"}
LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # gives every scalar as it was written
TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}  # what it gives to all that has no tag

NULL = {"", "~", "null", "Null", "NULL"}
BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
MOST_DIGITS = 250  # a float holds a number of so many, hexadecimal ones too
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Octal, in groups, in minutes and seconds: which number these are differs from reader to reader.
AMBIGUOUS = re.compile(r"(?=[-+]?0[0-9]|.*[_:])[-+]?[0-9][0-9_:]*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?")


def compose(text: str) -> yaml.Node | None:
    """The nodes of a YAML text, their values as they were written; None where it is empty. Raises yaml.YAMLError."""
    return yaml.compose(text, Loader=LOADER)


def plain(node: yaml.Node, where: str, path: str) -> Any:
    """A node as plain data. `where` names it in an error, `path` is the field whose value it is: of a trial, or study.*; its keys may be
    dotted paths themselves. Raises ConfigError, and yaml.YAMLError for tags and keys that are not read."""
    if node.tag not in TAGS:
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not read; write the value alone", problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return {key: plain(value, joined(where, key), joined(path, key)) for key, value in pairs(node).items()}
    if isinstance(node, yaml.SequenceNode):
        return [plain(value, f"{where}[{index}]", path) for index, value in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return node.value if node.style else scalar(node.value, where, path)  # quoted, it is text


def joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def pairs(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    """Its keys as they were written; those of `<<: *other` beneath its own. Raises yaml.YAMLError."""
    own, merged = dict[str, yaml.Node](), dict[str, yaml.Node]()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key is a word, and this is a block", problem_mark=key.start_mark)
        if key.value == "<<" and not key.style:
            for other in reversed(value.value if isinstance(value, yaml.SequenceNode) else [value]):
                if not isinstance(other, yaml.MappingNode):
                    raise yaml.MarkedYAMLError(problem="<< takes a block", problem_mark=other.start_mark)
                merged |= pairs(other)
        elif key.value in own:
            raise yaml.MarkedYAMLError(problem=f"found duplicate key {key.value}", problem_mark=key.start_mark)
        else:
            own[key.value] = value
    return merged | own


def scalar(text: str, where: str, path: str) -> Any:
    """What a scalar without quotes stands for in the field `path`. Raises ConfigError."""
    if text in NULL:
        return None
    if path in STUDY_TEXT or path in paths_of(str):
        return text
    if text in BOOL:
        return BOOL[text]
    require(path not in paths_of(bool), where, text, "write true or false")  # also yes and off of YAML 1.1, and numbers
    if AMBIGUOUS.fullmatch(text):
        bare = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text.replace("_", ""))
        want = "write one number, without colons" if ":" in text else f"write {bare}, without leading zeros and underscores"
        require(False, where, text, want)
    if INT.fullmatch(text):
        require(len(text) <= MOST_DIGITS, where, f"a number of {len(text)} digits", "write a smaller one")
        return int(text, 0)
    if FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if NOT_FINITE.fullmatch(text) else text


@functools.cache
def paths_of(kind: type, block: type = TrialConfig, prefix: str = "") -> frozenset[str]:
    """The paths of a trial whose field holds this kind of value: str, also as one of a few words, or bool."""
    found = set[str]()
    for name, hint in typing.get_type_hints(block).items():
        for held in kinds_in(hint):
            if dataclasses.is_dataclass(held):
                found |= paths_of(kind, held, f"{prefix}{name}.")  # type: ignore[arg-type]
            elif held is kind:
                found.add(f"{prefix}{name}")
    return frozenset(found)


def kinds_in(hint: Any) -> set[Any]:
    """The types that a hint is made of; of a Literal those of its words."""
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return set(map(type, inner))
    return set().union(*map(kinds_in, inner)) if inner else {hint}
