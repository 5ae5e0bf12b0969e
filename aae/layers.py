"""Blocks of a sweep file, dotted paths and the command line -> one checked `TrialConfig`.

defaults of aae/config.py  <-  `trial:` of the sweep file  <-  sampled values, or a baseline's  <-  key=value on the command line
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aae.config import ConfigError, TrialConfig, require
from aae.errors import one_line
from aae.inputs import refuse_unsafe_values
from aae.paths import every_path, flatten

UNSAID = object()
UNFIT = (OmegaConfBaseException, ValueError, TypeError, RecursionError)  # what a merge raises where a value does not fit its field


def set_paths(trial: DictConfig, values: dict[str, Any], source: str) -> DictConfig:
    """Merges dotted paths into a `trial:` block. A path into a block that is off would silently turn it on: refused, as are
    unknown names and wrong types; ranges are checked by `to_trial`, when all layers are there. Raises ConfigError."""
    over_defaults(as_text(trial), values, source)
    merged: Any = OmegaConf.merge(trial, *as_blocks(values).values())
    return merged


def configure(trial: DictConfig, values: dict[str, Any], source: str, where: str = "") -> TrialConfig:
    """The configuration of a `trial:` block with dotted paths set. Raises ConfigError; of a wrong range it begins with `where`."""
    return configured(as_text(trial), json.dumps(values), source, where)


@functools.lru_cache(maxsize=1024)
def configured(trial: str, values: str, source: str, where: str) -> TrialConfig:
    """`configure` of JSON: the checks of a sweep ask for the same configurations again, and each takes milliseconds."""
    return to_checked(over_defaults(trial, json.loads(values), source), where)


def over_defaults(trial: str, values: dict[str, Any], source: str) -> Any:
    """The defaults, the block, as JSON, and the paths, one over the other."""
    block_of_trial = json.loads(trial)
    for path in values:
        for block in around(path):
            value = said(values, block)
            if value is None or (value is UNSAID and is_off(block_of_trial, block.split("."))):
                raise ConfigError(f"{source}{path}: the block {block} is off; turn it on with {block}={{}}, or remove this line")
    schema = schema_of(trial)
    layers = as_blocks(values)
    try:
        return OmegaConf.merge(schema, *layers.values())
    except UNFIT:  # which of them is it?
        for path, layer in layers.items():
            try:
                schema = OmegaConf.merge(schema, layer)
            except UNFIT as error:
                text, value = one_line(error), values[path]
                text = text if path in text else f"{path}: {text}"
                raise ConfigError(f"{source}{text}{'' if value is None or str(value) in text else f' (got {value})'}") from None
        raise


def as_text(trial: DictConfig) -> str:
    """A block as JSON, which a cache can hold it by."""
    return json.dumps(OmegaConf.to_container(trial))


@functools.lru_cache(maxsize=64)
def schema_of(trial: str) -> Any:
    """`merge_schema` of a block's text. Only to be merged into others, never changed."""
    return merge_schema(OmegaConf.create(json.loads(trial)), "trial.")


def as_blocks(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`{"train.epochs": 5}` -> `{"train.epochs": {"train": {"epochs": 5}}}`"""
    blocks = dict[str, dict[str, Any]]()
    for path, value in values.items():
        for part in reversed(path.split(".")):
            value = {part: value}
        blocks[path] = value
    return blocks


def around(path: str) -> list[str]:
    """The blocks that a path is in, the outermost first."""
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def said(values: Mapping[str, Any], path: str) -> Any:
    """What dotted paths, and the blocks among them, say of a path; UNSAID where they say nothing."""
    for outer in (path, *reversed(around(path))):
        value = values.get(outer, UNSAID)
        for name in path.removeprefix(outer).split(".")[1:]:
            if isinstance(value, dict):
                value = value.get(name, UNSAID)
            elif value is not None:
                value = UNSAID
        if value is not UNSAID:
            return value
    return UNSAID


def is_off(trial: dict[str, Any], block: list[str]) -> bool:
    """Whether a block is null in a `trial:` block, or there by default."""
    value: Any = trial
    for depth, name in enumerate(block):
        if not isinstance(value, dict) or name not in value:
            try:
                return OmegaConf.select(defaults(), ".".join(block), throw_on_missing=False, default="missing") is None
            except OmegaConfBaseException:
                return False  # the merge says what is wrong with the path
        value = value[name]
        if value is None:
            return depth == len(block) - 1
    return False


@functools.cache
def defaults() -> Any:
    """Every path with its type and default. Only to be merged into others, never changed."""
    return OmegaConf.structured(TrialConfig)


@functools.cache
def blocks() -> list[str]:
    return sorted({path.rpartition(".")[0] for path in every_path()})


def merge_schema(trial: DictConfig, source: str) -> Any:
    """The defaults with a `trial:` block over them: names and types checked, ranges not yet. Raises ConfigError."""
    for block in blocks():
        value = OmegaConf.select(trial, block, default=None)
        require(value is None or OmegaConf.is_dict(value), f"{source}{block}", value, "give a block of keys")
    try:
        return OmegaConf.merge(defaults(), trial)
    except UNFIT as error:
        raise ConfigError(f"{source}{one_line(error)}") from None


def to_trial(trial: DictConfig, source: str = "") -> TrialConfig:
    """The last step of every way to a configuration: checks types, names and ranges. Raises ConfigError."""
    try:
        whole = merge_schema(trial, "")
    except ConfigError as error:
        raise ConfigError(f"{source}{error}") from None
    return to_checked(whole, source)


def to_checked(whole: Any, source: str) -> TrialConfig:
    try:
        config = OmegaConf.to_object(whole)
    except UNFIT as error:
        raise ConfigError(f"{source}{one_line(error)}") from None
    assert isinstance(config, TrialConfig)
    refuse_unsafe_values(flatten(config), source)
    return config


def trial_from_sweep(sweep: DictConfig, baseline: str | None, overrides: dict[str, Any]) -> TrialConfig:
    """The configuration of `trial:`, a baseline over it, and the command line over both. Raises ConfigError."""
    forked, want = (
        sweep.study.get("fork"),
        "its trials go on from another study's: launch.py runs it; train RUN/report/best.yaml of it alone",
    )
    require(forked is None, "study.fork", forked, want)
    trial = sweep.trial
    merge_schema(trial, "trial.")  # the file's own errors first
    if baseline is not None:
        trial = set_paths(trial, baseline_values(sweep, baseline), f"baselines.{baseline}.")
    return configure(trial, overrides, "")


def baseline_values(sweep: DictConfig, name: str) -> dict[str, Any]:
    """A baseline's values under dotted paths. Raises ConfigError."""
    known = ", ".join(str(key) for key in sweep.baselines) or "none"
    require(name in sweep.baselines, f"baseline {name}", "an unknown name", f"this sweep's baselines: {known}")
    block = sweep.baselines[name]
    require(OmegaConf.is_dict(block), f"baselines.{name}", type(block).__name__, "give a block of dotted paths and values")
    values: dict[str, Any] = OmegaConf.to_container(block)  # type: ignore[assignment]
    for path in values:
        allowed = not str(path).startswith("data") and path not in ("train.epochs", "train.seed", "train")
        require(allowed, f"baselines.{name}.{path}", "a path that all trials share", "baselines are compared on the same data and epochs")
    return values
