"""The JSON Schema of a sweep file, for editors: `sweeps/schema.json`, which the first line of every sweep file names.

Nothing in it is written a second time. Names, types, choices and defaults are those of the dataclasses; descriptions are the comments
beside their fields; a range is found by asking their own checks. What one value says of another is not in it: `--plan` checks that.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import types
import typing
import warnings
from collections.abc import Callable
from typing import Any

from aae.config import (
    MOST,
    ConfigError,
    DataConfig,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    TrainConfig,
    TrialConfig,
)
from aae.paths import every_path, every_term
from aae.tuning.spec.blocks import ConfirmConfig, ForkConfig, StudyConfig
from aae.tuning.spec.metrics import CONSTRAINTS, METRICS
from aae.tuning.spec.samplers_and_pruners import PRUNERS, SAMPLERS, arguments_of, check_kind
from aae.tuning.spec.space_reader import is_searchable

Schema = dict[str, Any]
Taken = Callable[[str, Any], bool]  # (path, value)
BIG = 10**9
ENDS = (-1, 0, 1, 2, 100, MOST)  # where ranges begin and end; of any other, `range_of` fails
NEAR = 2.0**-20  # so near to an end that a range without the end holds it; exact beside all of them
# Every block is on, and no value is so small that it bounds another: what is refused here has a wrong value of its own.
PERMISSIVE = TrialConfig(
    data=DataConfig(name="npz", folder="data.npz", num_labels=BIG),
    model=ModelConfig(combine="heads"),
    objective=every_term(),
    optim=OptimConfig(schedule=ScheduleConfig(unit="epoch", drop_at=0.0)),
    train=TrainConfig(epochs=BIG),
)
WORDS = {bool: ["boolean"], int: ["integer"], float: ["number"], type(None): ["null"]}
WORDS[str] = ["string", "number", "boolean"]  # text is what was written: `name: 2026`
POSITIVE = {"type": "number", "exclusiveMinimum": 0}


def sweep_schema() -> Schema:
    """Of a whole sweep file, in draft 7, which editors know best."""
    paths: dict[str, Schema] = {}
    trial = block_schema(TrialConfig, asked_of(PERMISSIVE), "", every_path(), paths)
    leaves = {path: ref(path) for path, value in paths.items() if "properties" not in value}
    of_baseline = {path: ref(path) for path in paths if not path.startswith("data") and path not in ("train", "train.epochs", "train.seed")}
    searched = {path: entry_schema(path) for path in leaves if is_searchable(path)}
    when = {path: {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}]} for path, value in leaves.items()}
    baselines = {"description": "Known-good points, run first and never pruned: a name, and its values under dotted paths"}
    space = {"description": "What is searched: dotted paths, each with a range or a list of choices"}
    blocks = {
        "study": study_schema(),
        "baselines": baselines | {"type": ["object", "null"], "additionalProperties": closed(of_baseline)},
        "trial": trial | {"type": ["object", "null"], "description": "What every trial shares"},
        "search_space": space | closed(searched, null=True),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A sweep",
        "description": "python launch.py schema writes this",
        **closed(blocks, required=["study"]),
        "definitions": paths | shapes_of_entries(closed(when)),
    }


def schema_text() -> str:
    """As the file holds it: a line a block of the sweep, and one a path, so that a change is a line too."""
    parts = []
    for key, value in sweep_schema().items():
        text = json.dumps(value)
        if key in ("properties", "definitions"):
            text = "{\n" + ",\n".join(f"    {json.dumps(name)}: {json.dumps(inner)}" for name, inner in value.items()) + "\n  }"
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def closed(properties: Schema, required: list[str] | None = None, null: bool = False) -> Schema:
    """A block of these keys and no others."""
    kind = {"type": ["object", "null"] if null else "object", "properties": properties, "additionalProperties": False}
    return kind | ({"required": required} if required else {})


# ---- fields of a dataclass


def block_schema(block: type, taken: Taken, prefix: str, defaults: Schema, paths: dict[str, Schema] | None = None) -> Schema:
    """Of a dataclass, whose fields have `prefix` before their names. `defaults`: those that are not its fields' own. Where `paths` is
    given, each field's schema goes into it under its dotted path, and a reference stands here."""
    hints, said = typing.get_type_hints(block), comments_of(block)
    properties: Schema = {}
    for item in dataclasses.fields(block):
        path = f"{prefix}{item.name}"
        field: Schema = {"description": said[item.name]} if item.name in said else {}
        options = plain_options(hints[item.name])
        inner = next((option for option in options if dataclasses.is_dataclass(option)), None)
        if inner is None:
            default = defaults.get(path, item.default)
            field |= {} if default is dataclasses.MISSING else {"default": default}
            field |= value_schema(options, functools.partial(taken, path))
        else:
            assert isinstance(inner, type)
            field |= block_schema(inner, taken, f"{path}.", defaults, paths)
            field |= {"type": ["object", "null"]} if type(None) in options else {}
        if paths is not None:
            paths[path] = field
        properties[item.name] = field if paths is None else ref(path)
    own = block.__doc__ if block.__doc__ and not block.__doc__.startswith(f"{block.__name__}(") else None
    return ({"description": " ".join(own.split())} if own else {}) | closed(properties)


def comments_of(block: type) -> dict[str, str]:
    """What stands beside each field of a dataclass, after the #."""
    found: dict[str, str] = {}
    for one in reversed(block.__mro__[:-1]):
        found |= dict(re.findall(r"^    (\w+): [^#\n]*# (.+)$", inspect.getsource(one), re.MULTILINE))
    return found


def plain_options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def asked_of(permissive: Any, prefix: str = "") -> Taken:
    """The dataclasses' own checks: whether they let a value stand at a path. What they say of other paths does not count."""

    def taken(path: str, value: Any) -> bool:
        try:
            put(permissive, path.removeprefix(prefix), value)
        except ConfigError as error:
            return not str(error).startswith(f"{path}: ")
        return True

    return taken


def put(config: Any, path: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    return dataclasses.replace(config, **{name: put(getattr(config, name), rest, value) if rest else value})


def value_schema(options: tuple[Any, ...], taken: Callable[[Any], bool]) -> Schema:
    """Of a field that is no block: its type, and which of its values are taken."""
    null = [None] if type(None) in options else []
    kind = next(option for option in options if option is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        return {"enum": [choice for choice in (*typing.get_args(kind), *null) if taken(choice)]}
    if typing.get_origin(kind) is list:
        (inner,) = typing.get_args(kind)
        items = {"type": WORDS[inner][0]} | (range_of(lambda value: taken([value]), True) if inner is int else {})
        return {"type": ["array", "null"] if null else "array", "items": items} | ({} if null or taken([]) else {"minItems": 1})
    if kind not in WORDS:  # written out below
        return {}
    words = [word for option in options for word in WORDS[option]]
    return {"type": words[0] if len(words) == 1 else words} | (range_of(taken, kind is int) if kind in (int, float) else {})


def range_of(taken: Callable[[float], bool], whole: bool) -> Schema:
    """The range of a number, by what is taken of the ends that ranges have here and of the numbers beside them."""
    step = 1 if whole else NEAR
    asked = sorted({-BIG, BIG, *(end + side * step for end in ENDS for side in (-1, 0, 1))})
    kept = [value for value in asked if taken(value)]
    low, high = kept[0], kept[-1]
    found: Schema = {}
    if low != -BIG:
        assert low - step in asked, f"a range begins between {low} and the number asked before it: add its end to ENDS"
        found |= {"minimum" if whole or low in ENDS else "exclusiveMinimum": round(low)}
    if high != BIG:
        assert high + step in asked, f"a range ends between {high} and the number asked after it: add its end to ENDS"
        found |= {"maximum" if whole or high in ENDS else "exclusiveMaximum": round(high)}
    return found


# ---- study: and search_space:


def study_schema() -> Schema:
    study = block_schema(StudyConfig, asked_of(StudyConfig(name="study"), "study."), "study.", {})
    constraint = closed({"metric": {"enum": list(CONSTRAINTS)}, "upper": POSITIVE}, required=["metric", "upper"], null=True)
    amount = {"type": "number", "minimum": 0}
    confirm = block_schema(ConfirmConfig, asked_of(ConfirmConfig(report_draws=1), "study.confirm."), "study.confirm.", {})
    fork = block_schema(ForkConfig, asked_of(ForkConfig("runs/other", 1, 1), "study.fork."), "study.fork.", {})
    blocks = {
        "metric": {"type": "string", "enum": list(METRICS)},
        "constraint": constraint,
        "sampler": kinds_schema("study.sampler", SAMPLERS),
        "pruner": kinds_schema("study.pruner", PRUNERS),
        "resources_per_trial": {"anyOf": [{"const": "auto"}, closed({"cpu": amount, "gpu": amount})]},
        "confirm": confirm | {"type": ["object", "null"]},
        "fork": fork | {"type": ["object", "null"], "required": list(ForkConfig.__dataclass_fields__)},
    }
    for name, block in blocks.items():
        study["properties"][name] |= block
    return study | {"required": ["name"]}


def kinds_schema(path: str, kinds: dict[str, Any]) -> Schema:
    """Of Optuna's samplers or pruners: each with its own arguments, their ranges asked of Optuna."""
    return {"anyOf": [kind_schema(path, name, kinds) for name in kinds]}


def kind_schema(path: str, name: str, kinds: dict[str, Any]) -> Schema:
    signature, arguments = inspect.signature(kinds[name].__init__).parameters, arguments_of(kinds[name])
    needed = {argument: 50.0 for argument in arguments if signature[argument].default is inspect.Parameter.empty}
    permissive = needed | {argument: 1 for argument, options in arguments.items() if str in options}  # "auto" forbids others

    def taken(argument: str, value: Any) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of arguments that Optuna calls experimental or old
                check_kind(path, {"kind": name} | permissive | {argument: value}, kinds)
        except ConfigError:
            return False
        return True

    fields: Schema = {}
    for argument, options in arguments.items():
        fields[argument] = value_schema(tuple(option for option in options if option is not str), functools.partial(taken, argument))
        if str in options:
            fields[argument] = {"anyOf": [{"const": "auto"}, fields[argument]]}
    return closed({"kind": {"const": name}} | fields, required=["kind", *needed])


def shapes_of_entries(when: Schema) -> Schema:
    """What an entry of the search space may be: two kinds of ranges, or choices."""
    whole, also = {"type": "integer"}, {"log": {"type": "boolean"}, "when": ref("when")}
    ints = closed({"kind": {"const": "int"}, "low": whole, "high": whole, "step": whole | {"minimum": 1}} | also, ["kind", "low", "high"])
    number = {"type": "number"}
    floats = closed({"kind": {"const": "float"}, "low": number, "high": number, "step": POSITIVE} | also, ["kind", "low", "high"])
    choices = {"type": "array", "minItems": 1, "uniqueItems": True}
    listed = closed({"kind": {"const": "categorical"}, "choices": choices, "when": ref("when")}, ["kind", "choices"])
    return {"int": ints, "float": floats, "categorical": listed, "entry": {"anyOf": [ref("int"), ref("float"), ref("categorical")]}} | {
        "when": {"description": "It is sampled only where each of these paths has one of these values", **when}
    }


def entry_schema(path: str) -> Schema:
    """Of a searched path: one of the shapes, and its ends and choices are values that the path takes."""
    value = ref(path)
    return {"allOf": [ref("entry"), {"properties": {"low": value, "high": value, "choices": {"items": value}}}]}
