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

from aae.runs import DRAWS
from aae.tuning.spec.space import SearchSpace
from aae.tuning.study.cube import Cube
from aae.tuning.study.gaussian_process import GaussianProcess
from aae.tuning.study.optuna_views import last_value, word_of

MOST_TRIALS = 1000  # the lowest: a posterior of more takes seconds
SPREADS = 1.5  # further above the upper quartile than so many distances of the quartiles, a value is drawn in
UNKNOWN_VARIANCE = 0.25  # of a foretold logarithm, while fewer than FORETELLERS trials show what ends come from that epoch
FORETELLERS = 5

Scale = Callable[[float], float]


@dataclass
class Posterior:
    """`process` is of `scale` of the metric; its points are those of `numbers`, trials that are told."""

    cube: Cube
    process: GaussianProcess
    numbers: list[int]
    is_log: bool

    def expected(self) -> dict[int, tuple[float, float]]:
        """trial -> (mean, standard deviation) of what its configuration comes to without noise, scaled."""
        mean_T, std_T = self.process.predict(self.process.x_ND)
        return {number: (float(mean), float(std)) for number, mean, std in zip(self.numbers, mean_T, std_T, strict=True)}

    def to_metric(self, scaled: float) -> float:
        return math.exp(scaled) if self.is_log else scaled


def read_posterior(trials: Sequence[FrozenTrial], space: SearchSpace, least: int) -> Posterior | None:
    """None where fewer than `least` searched trials are complete: then nothing is known of the noise."""
    cube = Cube(space)
    told = [trial for trial in trials if trial.params and trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    complete = [trial for trial in told if trial.state == TrialState.COMPLETE]
    if len(complete) < max(least, 2):
        return None
    scale, is_log = choose_scale(told)
    low, high = np.quantile([scale(trial.value or 0.0) for trial in complete], [0.25, 0.75])
    worst = float(high + SPREADS * (high - low))
    value_T, extra_T = np.array([foretell(trial, complete, scale, worst) for trial in told]).T
    kept = np.sort(np.argsort(value_T, kind="stable")[:MOST_TRIALS])
    x_TD = np.stack([cube.point(told[index].params) for index in kept])
    process = GaussianProcess(x_TD, value_T[kept], cube.is_choice_D, extra_T[kept], noise_of_draws(complete, scale))
    return Posterior(cube, process, [told[index].number for index in kept], is_log)


def choose_scale(told: Sequence[FrozenTrial]) -> tuple[Scale, bool]:
    """The logarithm, of a metric that is never negative; 0 counts as half of the lowest other value."""
    values = [value for trial in told for value in trial.intermediate_values.values()]
    if min(values) < 0 or max(values) == 0:
        return float, False
    least = min(value for value in values if value > 0) / 2
    return (lambda value: math.log(max(value, least))), True


def foretell(trial: FrozenTrial, complete: Sequence[FrozenTrial], scale: Scale, worst: float) -> tuple[float, float]:
    """(where a told trial ends, the variance of that on top of the noise), scaled."""
    value = last_value(trial)
    if value is None or word_of(trial) == "DIVERGED":
        return worst, 0.0
    if trial.state == TrialState.COMPLETE:
        return min(scale(value), worst), 0.0
    there = [
        (other.intermediate_values[trial.last_step], other.value or 0.0)
        for other in complete
        if trial.last_step in other.intermediate_values
    ]
    gains = [scale(end) - scale(then) for then, end in there]
    variance = float(np.var(gains, ddof=1)) if len(gains) >= FORETELLERS else UNKNOWN_VARIANCE
    return min(scale(value) + (float(np.mean(gains)) if gains else 0.0), worst), variance


def noise_of_draws(complete: Sequence[FrozenTrial], scale: Scale) -> float | None:
    """The variance of a trial's mean over its draws, where it has several. A draw that is hard is so for all trials: that is no noise
    between them."""
    draws = [trial.user_attrs[DRAWS] for trial in complete if DRAWS in trial.user_attrs]
    if len(draws) < FORETELLERS or len({len(row) for row in draws}) > 1 or len(draws[0]) < 2:
        return None
    value_TK = np.array([[scale(value) for value in row] for row in draws])
    left_TK = value_TK - value_TK.mean(axis=0) - value_TK.mean(axis=1, keepdims=True) + value_TK.mean()
    num, num_draws = value_TK.shape
    return float((left_TK**2).sum() / ((num - 1) * (num_draws - 1)) / num_draws)
