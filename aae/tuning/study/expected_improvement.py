"""The sampler of `{kind: auto}`: the point where the Gaussian process expects the largest gain.

The gain is counted from the lowest posterior mean. Optuna's own GPSampler counts it from the lowest value, which noise made low, and
leaves pruned trials out. Running trials stand at their mean. Every point follows from the told trials and the trial's number: a study
that is gone on with asks the same ones.
"""

# N candidates, D paths of the space

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy import stats
from scipy.stats import qmc

from aae.tuning.spec.space import SearchSpace
from aae.tuning.study.cube import Cube
from aae.tuning.study.posterior import Posterior, read_posterior

STARTUP_TRIALS = 6  # spread evenly, before there is something to learn from
STARTUP_COMPLETE = 3
CANDIDATES, NEIGHBOURS = 2000, 64  # at random, and around each of the best
STEPS = (0.1, 0.03)  # how far those lie, in edges of the cube
BEST = 8
FAR = 5.0  # standard deviations


def suggest(
    trials: Sequence[FrozenTrial], space: SearchSpace, seed: int, number: int, others: Sequence[Sequence[FrozenTrial]] = ()
) -> dict[str, Any]:
    """A value for every path, as Optuna has them. `others`: told trials of other studies."""
    posterior = read_posterior([trial for trial in trials if trial.number != number], space, STARTUP_COMPLETE, others)
    if posterior is None or (number < STARTUP_TRIALS and not others):
        return spread_evenly(Cube(space), seed, number)
    before = [trial for trial in trials if trial.number < number and trial.params]
    running = [trial for trial in before if trial.state == TrialState.RUNNING or not posterior.numbers]
    return most_promising(posterior, running, np.random.default_rng([seed, number]))


def spread_evenly(cube: Cube, seed: int, number: int) -> dict[str, Any]:
    """The points of a scrambled Sobol sequence."""
    uniform_ND = qmc.Sobol(len(cube.entries), rng=seed).random_base2(number.bit_length())
    return cube.params(cube.points(uniform_ND[number : number + 1])[0])


def most_promising(posterior: Posterior, running: Sequence[FrozenTrial], random: np.random.Generator) -> dict[str, Any]:
    cube, process = posterior.cube, posterior.process
    tried_ND = posterior.tried_ND
    mean_N, _ = process.predict(tried_ND)
    tried_ND, lowest = tried_ND[mean_N.argsort()[:BEST]], float(mean_N.min())
    if running:
        process.add_expected(cube.points_of(running))
    x_ND = cube.points(random.random((CANDIDATES, len(cube.entries))))
    gain_N = log_expected_gain(*process.predict(x_ND), lowest)
    for step in STEPS:
        centres_MD = np.repeat(np.r_[x_ND[(-gain_N).argsort()[:BEST]], tried_ND], NEIGHBOURS, axis=0)
        near_MD = cube.near(centres_MD, step, random)
        x_ND, gain_N = np.r_[x_ND, near_MD], np.r_[gain_N, log_expected_gain(*process.predict(near_MD), lowest)]
    return cube.params(x_ND[gain_N.argmax()])


def log_expected_gain(mean_N: np.ndarray, std_N: np.ndarray, lowest: float) -> np.ndarray:
    """The logarithm of E[max(lowest - f, 0)], (N,). Far above, where that is 0 in numbers, from its expansion."""
    z_N = (lowest - mean_N) / std_N
    away_N = np.maximum(-z_N, FAR)
    far_N = stats.norm.logpdf(z_N) - 2 * np.log(away_N) + np.log1p(-3 / away_N**2 + 15 / away_N**4)
    near_N = np.log(np.maximum(stats.norm.pdf(z_N) + z_N * stats.norm.cdf(z_N), 1e-300))
    return np.log(std_N) + np.where(z_N < -FAR, far_N, near_N)
