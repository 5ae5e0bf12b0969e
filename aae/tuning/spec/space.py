"""A search space: dotted paths -> Optuna distributions, and which of them a trial samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial


@dataclass(frozen=True)
class Entry:
    """One searched path. `when`: it is sampled only where each of these paths has one of these values."""

    path: str
    distribution: BaseDistribution
    when: dict[str, list[Any]]

    def suggest(self, trial: Trial) -> Any:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return decode_choice(trial.suggest_categorical(self.path, d.choices))
        if isinstance(d, IntDistribution):
            return trial.suggest_int(self.path, d.low, d.high, step=d.step, log=d.log)
        assert isinstance(d, FloatDistribution)
        return trial.suggest_float(self.path, d.low, d.high, step=d.step, log=d.log)

    def ends(self) -> list[Any]:
        """Both ends of a range, or every choice."""
        d = self.distribution
        return [decode_choice(end) for end in (d.choices if isinstance(d, CategoricalDistribution) else (d.low, d.high))]

    def to_yaml(self) -> dict[str, Any]:
        d, when = self.distribution, {"when": self.when} if self.when else {}
        if isinstance(d, CategoricalDistribution):
            return {"kind": "categorical", "choices": self.ends()} | when
        assert isinstance(d, IntDistribution | FloatDistribution)
        step = {} if d.log or d.step is None else {"step": d.step}
        kind = "int" if isinstance(d, IntDistribution) else "float"
        return {"kind": kind, "low": d.low, "high": d.high, "log": d.log} | step | when

    def is_one_of(self, value: Any, allowed: list[Any]) -> bool:
        """Whether a value sampled here is one of these. Of a stepped range it is low + k step, which is one of them but for rounding."""
        step = self.distribution.step if isinstance(self.distribution, FloatDistribution) else None
        if value in allowed or step is None:
            return value in allowed
        return any(abs(value - one) < 1e-8 * step for one in allowed if isinstance(one, int | float))

    def contains(self, value: Any) -> bool:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return encode_choice(value) in d.choices
        assert isinstance(d, IntDistribution | FloatDistribution)
        if isinstance(value, bool) or not isinstance(value, int | float) or not d.low <= value <= d.high:
            return False
        if isinstance(d, IntDistribution):
            return (value - d.low) % d.step == 0
        steps = 0.0 if d.step is None else (value - d.low) / d.step
        return abs(steps - round(steps)) < 1e-8  # as Optuna has it


def encode_choice(choice: Any) -> Any:
    """Optuna stores plain choices only; a list (model.hidden_dims) travels as its JSON."""
    return json.dumps(choice) if isinstance(choice, list) else choice


def decode_choice(choice: Any) -> Any:
    return json.loads(choice) if isinstance(choice, str) and choice.startswith("[") else choice


@dataclass(frozen=True)
class SearchSpace:
    entries: dict[str, Entry]  # a condition's path comes before the paths that depend on it

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Samples every active path, in order; what the trial holds already stays."""
        return self.values_by(lambda entry: entry.suggest(trial))

    def held(self, params: dict[str, Any]) -> dict[str, Any] | None:
        """The values of a trial that has every parameter, as `suggest` would give them; None: one is missing."""
        try:
            return self.values_by(lambda entry: decode_choice(params[entry.path]))
        except KeyError:
            return None

    def params_of(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """A configuration under dotted paths as parameters of this space, as Optuna stores them; None: it lies outside."""
        try:
            inside = self.values_by(lambda entry: values[entry.path])
        except KeyError:  # it is of a block that is off there
            return None
        fits = all(self.entries[path].contains(value) for path, value in inside.items())
        return {path: encode_choice(value) for path, value in inside.items()} if fits else None

    def values_by(self, value_of: Callable[[Entry], Any]) -> dict[str, Any]:
        """A condition holds where its path is searched in this trial and has such a value; `conditional` judged those of fixed paths."""
        values: dict[str, Any] = {}
        for path, entry in self.entries.items():
            if all(p in values and self.entries[p].is_one_of(values[p], allowed) for p, allowed in entry.when.items()):
                values[path] = value_of(entry)
        return values

    def possible(self, path: str, fixed: Any) -> list[Any]:
        """The values that trials may have of a path without a range: its choices, and the fixed one where it is not searched in each."""
        entry = self.entries.get(path)
        return [fixed] if entry is None else [*entry.ends(), *([fixed] if entry.when else [])]

    def ends(self, path: str) -> list[Any]:
        """The ends of a range or every choice; empty where it is not searched."""
        return self.entries[path].ends() if path in self.entries else []

    def with_ends(self, entry: Entry) -> list[dict[str, Any]]:
        """Each end of a path's range, or each choice, with values of the paths around it under which it is searched."""
        around = {parent: next(v for v in allowed if self.entries[parent].contains(v)) for parent, allowed in entry.when.items()}
        return [around | {entry.path: end} for end in entry.ends()]

    def lowest(self, path: str) -> float | None:
        return min(self.ends(path), default=None)

    def to_yaml(self) -> dict[str, Any]:
        """The block as it would be written in a file."""
        return {path: entry.to_yaml() for path, entry in self.entries.items()}
