"""The `search_space:` block of a sweep file, read and checked.

model.z_dim:             {kind: int, low: 6, high: 12}
optim.schedule.drop_at:  {kind: float, low: 0.5, high: 0.9, when: {optim.schedule.kind: [step, cosine]}}
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from aae.config import TrialConfig
from aae.errors import ConfigError, require
from aae.layers import configure, set_paths, to_trial
from aae.paths import flatten
from aae.tuning.spec.space import Entry, SearchSpace, encode_choice
from aae.yaml_reader import compose

FIELDS = {
    "int": {"kind", "low", "high", "log", "step", "when"},
    "float": {"kind", "low", "high", "log", "step", "when"},
    "categorical": {"kind", "choices", "when"},
}
EXACT = 2**53  # whole numbers that a float, as a sampler has them, tells apart
NOT_SEARCHED = ("train.epochs", "train.seed", "train.num_threads", "train.checkpoint_every", "train.sample_every", "train.keep_epochs")


def read_space(block: DictConfig, trial: DictConfig, overridden: set[str], source: str) -> tuple[SearchSpace, list[str]]:
    """(space, notes on what was taken out or became unconditional). `trial` is the fixed part with the command line in it.
    Raises ConfigError, naming the line."""
    lines = line_numbers(Path(source))
    fixed, known = flatten(to_trial(trial)), flatten(TrialConfig())
    notes: list[str] = []
    entries: dict[str, Entry] = {}
    raw: dict[str, Any] = {str(path): spec for path, spec in OmegaConf.to_container(block).items()}  # type: ignore[union-attr]
    searched = {path: spec for path, spec in raw.items() if not any(path == o or path.startswith(f"{o}.") for o in overridden)}
    notes += [f"{path} is set on the command line: not searched" for path in raw if path not in searched]
    pending = dict(searched)
    while pending:
        ready = [path for path, spec in pending.items() if not any(p in pending for p in conditions(path, spec))]
        if not ready:
            raise ConfigError(f"{source}: search_space: the conditions of {', '.join(pending)} wait for each other; remove one `when:`")
        path = ready[0]
        spec, where = pending.pop(path), f"search_space.{path}"
        line = f" ({source}:{lines[path]})" if path in lines else ""
        try:
            check_path(path, where, fixed, known)
            distribution = read_distribution(where, spec)
            if spec.get("high", 0) > (last := getattr(distribution, "high", math.inf)):
                notes.append(
                    f"{where}: its last value is {last}: the steps of {spec['step']} from {spec['low']} do not meet {spec['high']}"
                )
            entry = conditional(path, distribution, conditions(path, spec), entries, set(searched), fixed, notes, known, trial)
            if entry is not None:
                check_ends(entry, SearchSpace(entries), trial, where)
                entries[path] = entry
        except ConfigError as error:
            raise ConfigError(f"{error}{line}") from None
    return SearchSpace(entries), notes


def conditions(path: str, spec: Any) -> dict[str, list[Any]]:
    when = spec.get("when") if isinstance(spec, dict) else None
    require(when is None or isinstance(when, dict), f"search_space.{path}.when", when, "give a block: when: {path: [values]}")
    return {str(p): v if isinstance(v, list) else [v] for p, v in (when or {}).items()}


def is_searchable(path: str) -> bool:
    """Not what every trial must share."""
    return path not in NOT_SEARCHED and not path.startswith("data.")


def check_path(path: str, where: str, fixed: dict[str, Any], known: dict[str, Any]) -> None:
    if not is_searchable(path):
        raise ConfigError(f"{where}: not a hyperparameter; every trial must share it. Set it under trial:")
    if path in fixed:
        return
    inside = next((name for name in [*fixed, *known] if name.startswith(f"{path}.")), None)
    require(inside is None, where, "a whole block", f"search paths in it, as {inside}")
    blocks = [".".join(path.split(".")[:depth]) for depth in range(1, path.count(".") + 1)]
    off = [block for block in blocks if block in fixed and fixed[block] is None]
    if off:
        raise ConfigError(f"{where}: the block {off[0]} is off in this sweep. Add it under trial:, or remove this line")
    near = [name for name in known if name.split(".")[-1] == path.split(".")[-1]]
    raise ConfigError(f"{where}: no such path{f'; did you mean {near[0]}' if near else ''}. The paths are those of aae/config.py")


def read_distribution(where: str, spec: Any) -> BaseDistribution:
    require(isinstance(spec, dict), where, spec, "give a block such as {kind: float, low: 0.1, high: 1.0, log: true}")
    kind = spec.get("kind")
    require(isinstance(kind, str) and kind in FIELDS, f"{where}.kind", kind, f"give one of {', '.join(FIELDS)}")
    for key in spec:
        require(key in FIELDS[kind], f"{where}.{key}", "an unknown key", f"{kind} takes {', '.join(sorted(FIELDS[kind]))}")
    if kind == "categorical":
        choices = spec.get("choices")
        require(isinstance(choices, list) and len(choices) > 0, f"{where}.choices", choices, "give a list of at least one value")
        for choice in choices:
            as_list = isinstance(choice, str) and choice.startswith("[")
            require(not as_list, f"{where}.choices", repr(choice), "a word does not begin with [: write a list without quotes")
        encoded = [encode_choice(choice) for choice in choices]
        plain = all(isinstance(choice, bool | int | float | str | None) for choice in encoded)
        require(plain, f"{where}.choices", choices, "give numbers, words or lists of numbers")
        require(len(set(map(repr, encoded))) == len(encoded), f"{where}.choices", choices, "name each choice once")
        return CategoricalDistribution(encoded)
    low, high, log, step = spec.get("low"), spec.get("high"), spec.get("log", False), spec.get("step")
    for name, value in (("low", low), ("high", high)):
        ok = isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool) and math.isfinite(value)
        ok = ok and (kind == "float" or abs(value) <= EXACT)
        require(ok, f"{where}.{name}", value, f"give {f'a whole number of at most {EXACT}' if kind == 'int' else 'a finite number'}")
    require(low <= high, where, f"low {low} above high {high}", "swap them")
    require(isinstance(log, bool), f"{where}.log", log, "give true or false")
    require(not log or low > 0, f"{where}.low", low, "a logarithmic range starts above 0")
    require(not (log and step is not None), f"{where}.step", step, "a logarithmic range has no step: remove one of them")
    if step is not None:
        ok = isinstance(step, int if kind == "int" else int | float) and not isinstance(step, bool) and step > 0
        require(ok, f"{where}.step", step, "give a positive number")
        require(
            (high - low) / step <= EXACT,
            f"{where}.step",
            step,
            f"so many steps cannot be told apart: give at least {(high - low) / EXACT:g}",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a step that does not divide the range: read_space says it, with the path
        if kind == "int":
            return IntDistribution(low, high, log=log, step=1 if step is None else step)
        return FloatDistribution(float(low), float(high), log=log, step=step)


def conditional(
    path: str,
    distribution: BaseDistribution,
    when: dict[str, list[Any]],
    entries: dict[str, Entry],
    searched: set[str],
    fixed: dict[str, Any],
    notes: list[str],
    known: dict[str, Any],
    trial: DictConfig,
) -> Entry | None:
    """The entry with the conditions that are left to be asked a trial; None where a fixed value rules it out."""
    left: dict[str, list[Any]] = {}
    for parent, allowed in when.items():
        where = f"search_space.{path}.when.{parent}"
        if parent in entries:
            possible = [value for value in allowed if entries[parent].contains(value)]
            require(bool(possible), where, allowed, "the searched path never takes these values: correct them")
            d = entries[parent].distribution
            exact = not isinstance(d, FloatDistribution) or d.step is not None or d.low == d.high
            require(exact, where, allowed, "a range hardly ever gives exactly such a value: give it a step, or choices")
            left[parent] = allowed
        elif parent in searched:  # dropped itself: so is what hangs on it
            notes.append(f"{path} is not searched: {parent} is not")
            return None
        else:
            require(parent in fixed or parent in known, where, "no such path", "name a path of aae/config.py")
            require(
                parent not in fixed or any(can_be(trial, parent, value) for value in allowed),
                where,
                allowed,
                "it can never have these values: correct them",
            )
            is_on = any(other.startswith(f"{parent}.") for other in fixed)  # of a whole block
            value = fixed.get(parent, "on" if is_on else "off")
            if value not in allowed:
                notes.append(f"{path} is not searched: {parent} is {value}")
                return None
            notes.append(f"{path} is searched in every trial: {parent} is {value}")
    return Entry(path, distribution, left)


def can_be(trial: DictConfig, path: str, value: Any) -> bool:
    """Whether a value has the type, or is one of the words, that a path takes."""
    try:
        set_paths(trial, {path: value}, "")
    except ConfigError:
        return False
    return True


def check_ends(entry: Entry, space: SearchSpace, trial: DictConfig, where: str) -> None:
    """Both ends of a range, and each choice, must make a configuration; the conditions set as they will be."""
    made = dict[str, Any]()
    for values in space.with_ends(entry):
        value = values[entry.path]
        try:
            config = configure(trial, values, "")
        except ConfigError as error:
            raise ConfigError(f"{where}: the value {value} is refused: {error}") from None
        same = made.setdefault(repr(flatten(config)[entry.path]), value)
        choices = isinstance(entry.distribution, CategoricalDistribution)
        require(not choices or same is value, f"{where}.choices", f"{same!r} and {value!r}", "they are the same value: name it once")


def line_numbers(path: Path) -> dict[str, int]:
    """Where each entry of the search space stands in the file, from 1."""
    root = compose(path.read_text(encoding="utf-8-sig"))
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    block = next((value for key, value in pairs if key.value == "search_space"), None)
    return {key.value: key.start_mark.line + 1 for key, _ in block.value} if isinstance(block, yaml.MappingNode) else {}
