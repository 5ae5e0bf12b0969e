"""The pruner of `{kind: auto}`: a trial ends once it will hardly be the best.

Two things say where it ends, and how surely: the Gaussian process, by its neighbours, and its curve so far, by what complete trials
came to from there. Where an epoch's order says little of the end, the second is unsure, and nobody is stopped by it.
"""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial
from scipy import stats

from aae.tuning.spec.samplers_and_pruners import FIRST_EPOCH
from aae.tuning.study.posterior import Posterior

CHANCE = 0.1  # of being better than the lowest posterior mean: below, a trial is stopped. Chosen by replay: docs/log.md
LEAST_COMPLETE = 4


def is_hopeless(posterior: Posterior | None, trial: FrozenTrial, epoch: int) -> bool:
    """Of a running trial with a value at that epoch. `posterior`: of the told trials."""
    if posterior is None or epoch < FIRST_EPOCH or len(posterior.foreteller.complete) < LEAST_COMPLETE or not trial.params:
        return False
    return chance_of_best(posterior, trial, epoch) < CHANCE


def chance_of_best(posterior: Posterior, trial: FrozenTrial, epoch: int) -> float:
    """That its configuration, without noise, lies below the lowest posterior mean of the told ones."""
    mean_N, std_N = posterior.process.predict(posterior.cube.point(trial.params)[None])
    end, variance = posterior.foreteller.end(trial.intermediate_values[epoch], epoch)
    weights = std_N[0] ** -2, 1 / variance
    mean = (weights[0] * mean_N[0] + weights[1] * end) / sum(weights)
    lowest = min(expected for expected, _ in posterior.expected().values())
    return float(stats.norm.cdf((lowest - mean) * math.sqrt(sum(weights))))
