"""A search space as a cube for a Gaussian process: numbers along their (logarithmic) range, choices by their index."""

# N points, D paths of the space

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from aae.tuning.spec.space import Entry, SearchSpace, encode_choice

INACTIVE_NUMBER, INACTIVE_CHOICE = 0.5, -1.0  # of a path whose condition does not hold: the same for all such points
STUDY, HERE = "study", 0  # the last path of a cube where other studies are learnt from: which study a point is of


class Cube:
    """Points are (N, D): a number's place in [0, 1], a choice's index."""

    def __init__(self, space: SearchSpace, with_study: bool = False):
        self.entries = list(space.entries.values()) + ([Entry(STUDY, CategoricalDistribution([HERE]), {})] if with_study else [])
        self.is_choice_D = np.array([isinstance(entry.distribution, CategoricalDistribution) for entry in self.entries])
        self.is_study_D = np.array([entry.path == STUDY for entry in self.entries])
        self.inactive_D = np.where(self.is_choice_D, INACTIVE_CHOICE, INACTIVE_NUMBER)

    @property
    def is_finite(self) -> bool:
        return all(getattr(entry.distribution, "step", 1) is not None for entry in self.entries)

    def point(self, params: Mapping[str, Any]) -> np.ndarray:
        """(D,) of this study; `params` as Optuna has them."""
        params = {STUDY: HERE} | dict(params)
        return np.array(
            [
                to_place(entry, params[entry.path]) if entry.path in params else off
                for entry, off in zip(self.entries, self.inactive_D, strict=True)
            ]
        )

    def points_of(self, trials: Sequence[FrozenTrial]) -> np.ndarray:
        """(N, D)"""
        return np.array([self.point(trial.params) for trial in trials]).reshape(-1, len(self.entries))

    def points(self, uniform_ND: np.ndarray) -> np.ndarray:
        """(N, D) points that a configuration can have, from uniform numbers."""
        x_ND, active_ND = np.empty_like(uniform_ND), np.ones_like(uniform_ND, dtype=bool)
        column = {entry.path: d for d, entry in enumerate(self.entries)}
        for d, entry in enumerate(self.entries):
            x_ND[:, d] = snap(entry, uniform_ND[:, d])
            for parent, allowed in entry.when.items():
                p = column[parent]
                places = [to_place(self.entries[p], encode_choice(value)) for value in allowed if self.entries[p].contains(value)]
                active_ND[:, d] &= active_ND[:, p] & np.isin(x_ND[:, p].round(9), np.round(places, 9))
            x_ND[~active_ND[:, d], d] = self.inactive_D[d]
        return x_ND

    def near(self, x_ND: np.ndarray, step: float, random: np.random.Generator) -> np.ndarray:
        """(N, D) points around others: numbers a normal step of this size away, a choice another one with that probability."""
        moved_ND = np.clip(x_ND + step * random.standard_normal(x_ND.shape), 0, 1)
        num_choices_D = np.array([len(getattr(entry.distribution, "choices", ())) or 1 for entry in self.entries])
        same_ND = (np.maximum(x_ND, 0) + 0.5) / num_choices_D
        other_ND = np.where(random.random(x_ND.shape) < step, random.random(x_ND.shape), same_ND)
        return self.points(np.where(self.is_choice_D, other_ND, moved_ND))

    def params(self, x_D: np.ndarray) -> dict[str, Any]:
        """Of every path, as Optuna has them; those of an inactive path are never asked for."""
        return {entry.path: from_place(entry, place) for entry, place in zip(self.entries, x_D, strict=True) if entry.path != STUDY}


def to_place(entry: Entry, value: Any) -> float:
    d = entry.distribution
    if isinstance(d, CategoricalDistribution):
        return float(d.to_internal_repr(value))
    assert isinstance(d, IntDistribution | FloatDistribution)
    low, high, value = (math.log(v) for v in (d.low, d.high, value)) if d.log else (d.low, d.high, value)
    return (value - low) / (high - low) if high > low else INACTIVE_NUMBER


def from_place(entry: Entry, place: float) -> Any:
    d = entry.distribution
    if isinstance(d, CategoricalDistribution):
        return d.choices[max(int(place), 0)]
    assert isinstance(d, IntDistribution | FloatDistribution)
    value = math.exp(math.log(d.low) + place * math.log(d.high / d.low)) if d.log else d.low + place * (d.high - d.low)
    if d.step is not None and not d.log:
        value = d.low + d.step * round((value - d.low) / d.step)
    value = min(max(value, d.low), d.high)
    return round(value) if isinstance(d, IntDistribution) else float(value)


def snap(entry: Entry, uniform_N: np.ndarray) -> np.ndarray:
    """(N,) places that a value can have."""
    d = entry.distribution
    if isinstance(d, CategoricalDistribution):
        return np.minimum(np.floor(uniform_N * len(d.choices)), len(d.choices) - 1)
    assert isinstance(d, IntDistribution | FloatDistribution)
    if d.low == d.high:
        return np.full_like(uniform_N, INACTIVE_NUMBER)
    if isinstance(d, IntDistribution) and d.log:
        ratio = math.log(d.high / d.low)
        return np.log(np.round(d.low * np.exp(ratio * uniform_N)) / d.low) / ratio
    if d.step is None:
        return uniform_N
    last = round((d.high - d.low) / d.step)
    return np.round(uniform_N * last) / last
