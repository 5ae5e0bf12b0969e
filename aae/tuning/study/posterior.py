"""What the told trials of a study say about its search space: a Gaussian process of the metric, or of its logarithm.

A complete trial gives its value. One that the pruner stopped gives the end that complete trials came to from its epoch, with their
spread as extra noise. Values far above the rest say "not here" and no more: they are drawn in, and a diverged trial stands there too.
"""

# T told trials, K draws of a trial

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy import linalg

from aae.runs import DRAWS
from aae.tuning.spec.space import SearchSpace
from aae.tuning.study.cube import HERE, Cube
from aae.tuning.study.gaussian_process import GaussianProcess
from aae.tuning.study.optuna_views import configuration, each_once, last_value, word_of

MOST_TRIALS = 500  # the lowest: the driver fits them anew whenever a trial is told
MOST_LEARNT = 100  # of another study, from the lowest to the highest
SPREADS = 1.5  # further above the upper quartile than so many distances of the quartiles, a value is drawn in
UNKNOWN_VARIANCE = 0.25  # of a foretold logarithm, while fewer than FORETELLERS trials show what ends come from that epoch
FORETELLERS = 4
SLOPE_WEIGHT = 0.1  # of the prior that a foretold logarithm moves with the value it is foretold from, as a sum of squares
ROUNDING = 1e-9  # of values that are all the same
LEAST_VARIANCE = 0.02**2  # of a foretold logarithm: few trials may lie on a line by chance

Scale = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    """end + slope * (value - then) is the end of a trial with a value at some epoch, give or take a variance."""

    then: float
    end: float
    slope: float
    variance: float


class Foreteller:
    """Where trials of a study end, by what its complete ones came to. All values are scaled."""

    def __init__(self, told: Sequence[FrozenTrial], scale: Scale):
        self.scale = scale
        self.complete = [trial for trial in told if trial.state == TrialState.COMPLETE]
        ends = [scale(trial.value or 0.0) for trial in self.complete] or [0.0]
        self.unit = (float(np.var(ends)) or 1.0) if scale is float else 1.0  # squared: of values that are no logarithms
        low, high = np.quantile(ends, [0.25, 0.75])
        self.worst = float(high + SPREADS * (high - low))
        self.lines: dict[int, Line] = {}

    def of_told(self, trial: FrozenTrial) -> tuple[float, float]:
        """(where it ends, the variance of that on top of the noise)."""
        value = last_value(trial)
        if value is None or trial.last_step is None or word_of(trial) == "DIVERGED":
            return self.worst, 0.0
        if trial.state == TrialState.COMPLETE:
            return min(self.scale(value), self.worst), 0.0
        end, variance = self.end(value, trial.last_step)
        return min(end, self.worst), variance

    def end(self, value: float, epoch: int) -> tuple[float, float]:
        """(mean, variance) of the end of a trial with this value at an epoch."""
        line = self.line_from(epoch)
        return float(line.end + line.slope * (self.scale(value) - line.then)), line.variance

    def line_from(self, epoch: int) -> Line:
        """Where complete trials came to from an epoch, regressed with a weak prior that all gain the same from there. Collapsed ones are
        left out. Kept, since a study has many trials and few epochs."""
        if epoch not in self.lines:
            self.lines[epoch] = self.fit_line(epoch)
        return self.lines[epoch]

    def fit_line(self, epoch: int) -> Line:
        pairs = [
            (self.scale(t.intermediate_values[epoch]), self.scale(t.value or 0.0)) for t in self.complete if epoch in t.intermediate_values
        ]
        then_C, end_C = np.array([pair for pair in pairs if pair[1] <= self.worst]).reshape(-1, 2).T
        if len(then_C) < FORETELLERS:
            return Line(0.0, float((end_C - then_C).mean()) if len(then_C) else 0.0, 1.0, UNKNOWN_VARIANCE * self.unit)
        then, end, weight = then_C.mean(), end_C.mean(), SLOPE_WEIGHT * self.unit
        slope = ((then_C - then) @ (end_C - end) + weight) / ((then_C - then) @ (then_C - then) + weight)
        left_C = end_C - end - slope * (then_C - then)
        return Line(then, end, slope, max(float(left_C @ left_C) / (len(left_C) - 2), LEAST_VARIANCE * self.unit))


@dataclass
class Posterior:
    """`process` is of `scale` of the metric; its points are those of `numbers`, trials that are told."""

    cube: Cube
    process: GaussianProcess
    numbers: list[int]
    is_log: bool
    foreteller: Foreteller
    original: dict[int, int]  # told trial -> the one that was fitted with its parameters: itself, but for a copy

    def expected(self) -> dict[int, tuple[float, float]]:
        """trial -> (mean, standard deviation) of what its configuration comes to without noise, scaled."""
        mean_T, std_T = self.process.predict(self.process.x_ND[: len(self.numbers)])
        known = {number: (float(mean), float(std)) for number, mean, std in zip(self.numbers, mean_T, std_T, strict=True)}
        return {number: known[first] for number, first in self.original.items() if first in known}

    @property
    def tried_ND(self) -> np.ndarray:
        """Every configuration that was told, in this study or in others, as a point of this one."""
        return np.where(self.cube.is_study_D, HERE, self.process.x_ND)

    def to_metric(self, scaled: float) -> float:
        return math.exp(scaled) if self.is_log else scaled


def read_posterior(
    trials: Sequence[FrozenTrial], space: SearchSpace, least: int, others: Sequence[Sequence[FrozenTrial]] = ()
) -> Posterior | None:
    """None where fewer than `least` searched trials are complete, or all end alike: then nothing is known of the noise. `others`: told
    trials of other studies, as aae/tuning/study/learning.py reads them. Where there are some, they speak alone until then."""
    cube = Cube(space, bool(others))
    told, original = without_copies(told_and_searched(trials))
    if sum(trial.state == TrialState.COMPLETE for trial in told) < max(least, 2):
        if not others:
            return None
        told = []
    scale, is_log = choose_scale([trial for some in (told, *others) for trial in some])
    value_T, extra_T = foretell_all(told, scale)
    foreteller = Foreteller(told, scale)
    kept = np.sort(np.argsort(value_T, kind="stable")[:MOST_TRIALS])
    told, value_N, extra_NN = [told[index] for index in kept], value_T[kept], np.diag(extra_T[kept])
    x_ND = cube.points_of(told)
    for number, other in enumerate(others, HERE + 1):
        x_MD, value_M, extra_MM = told_elsewhere(other, cube, number, scale)
        level = value_T.mean() if told else 0.0
        x_ND, value_N, extra_NN = np.r_[x_ND, x_MD], np.r_[value_N, level + value_M], linalg.block_diag(extra_NN, extra_MM)
    if np.ptp(value_N) <= ROUNDING * max(1.0, float(np.abs(value_N).max())):
        return None
    process = GaussianProcess(x_ND, value_N, cube.is_choice_D, extra_NN, noise_of_draws(told, scale))
    return Posterior(cube, process, [trial.number for trial in told], is_log, foreteller, original)


def told_and_searched(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.params and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def without_copies(told: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], dict[int, int]]:
    """(one trial of each configuration, every trial's number -> the number of that one). Of copies a complete one is kept, else the
    first."""
    kept = each_once(sorted(told, key=lambda trial: (trial.state != TrialState.COMPLETE, trial.number)))
    number_of = {configuration(trial): trial.number for trial in kept}
    return sorted(kept, key=lambda trial: trial.number), {trial.number: number_of[configuration(trial)] for trial in told}


def foretell_all(told: Sequence[FrozenTrial], scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """(T,) each, of one study: where its trials end, and the variance of that on top of the noise, scaled."""
    foreteller = Foreteller(told, scale)
    if not foreteller.complete:
        return np.empty(0), np.empty(0)
    value_T, extra_T = np.array([foreteller.of_told(trial) for trial in told]).T
    return value_T, extra_T


def told_elsewhere(other: Sequence[FrozenTrial], cube: Cube, number: int, scale: Scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(points, values about their mean, covariance of these on top of the noise) of another study, which is the cube's `number`. By how
    much its level differs is not known: that is a noise which all of its values share."""
    value_M, extra_M = foretell_all(other, scale)
    kept = np.argsort(value_M, kind="stable")[np.linspace(0, len(value_M) - 1, min(len(value_M), MOST_LEARNT)).round().astype(int)]
    x_MD = cube.points_of([other[index] for index in kept])
    x_MD[:, -1] = number
    return x_MD, value_M[kept] - value_M.mean(), np.diag(extra_M[kept]) + value_M.var()


def choose_scale(told: Sequence[FrozenTrial]) -> tuple[Scale, bool]:
    """The logarithm, of a metric that is never negative; 0 counts as half of the lowest other value."""
    values = [value for trial in told for value in trial.intermediate_values.values()]
    if min(values) < 0 or max(values) == 0:
        return float, False
    least = min(value for value in values if value > 0) / 2
    return (lambda value: math.log(max(value, least))), True


def noise_of_draws(told: Sequence[FrozenTrial], scale: Scale) -> float | None:
    """The variance of a trial's mean over its draws, where it has several. A draw that is hard is so for all trials: that is no noise
    between them. One draw that collapsed says nothing of the others' noise: a trial of far more spread than most is left out."""
    draws = [trial.user_attrs[DRAWS] for trial in told if DRAWS in trial.user_attrs and trial.state == TrialState.COMPLETE]
    if len(draws) < FORETELLERS or len({len(row) for row in draws}) > 1 or len(draws[0]) < 2:
        return None
    value_TK = np.array([[scale(value) for value in row] for row in draws])
    spread_T = (value_TK - np.median(value_TK, axis=0)).std(axis=1)
    low, high = np.quantile(spread_T, [0.25, 0.75])
    value_TK = value_TK[spread_T <= high + SPREADS * (high - low)]
    left_TK = value_TK - value_TK.mean(axis=0) - value_TK.mean(axis=1, keepdims=True) + value_TK.mean()
    num, num_draws = value_TK.shape
    return float((left_TK**2).sum() / ((num - 1) * (num_draws - 1)) / num_draws)
