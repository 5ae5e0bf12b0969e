"""The sampler of `{kind: auto}`: the point where the Gaussian process expects the largest gain.

The gain is counted from the lowest posterior mean. Optuna's own GPSampler counts it from the lowest value, which noise made low, and
leaves pruned trials out. Running trials stand at their mean, and so do failed ones: else the same corner would be asked again and again.
No point is asked twice while another is left: equal parameters train to equal bits. Every point follows from the told trials and the
trial's number: a study that is gone on with asks the same ones.
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
LOOKED_AT = 64  # points of the even sequence, from a trial's own on, until one is new
CANDIDATES, NEIGHBOURS = 2000, 64  # at random, and around each of the best
STEPS = (0.1, 0.03)  # how far those lie, in edges of the cube
BEST = 8
FAR = 5.0  # standard deviations


def suggest(
    trials: Sequence[FrozenTrial], space: SearchSpace, seed: int, number: int, others: Sequence[Sequence[FrozenTrial]] = ()
) -> dict[str, Any]:
    """A value for every path, as Optuna has them. `others`: told trials of other studies."""
    posterior = read_posterior([trial for trial in trials if trial.number != number], space, STARTUP_COMPLETE, others)
    before = [trial for trial in trials if trial.number < number and trial.params]
    if posterior is None or (number < STARTUP_TRIALS and not others):
        return spread_evenly(Cube(space), before, seed, number)
    return most_promising(posterior, before, np.random.default_rng([seed, number]))


def is_new(cube: Cube, x_ND: np.ndarray, before: Sequence[FrozenTrial]) -> np.ndarray:
    """(N,) whether no trial before has this point."""
    own_D = ~cube.is_study_D
    asked = {tuple(x_D) for x_D in cube.points_of(before)[:, own_D].round(9).tolist()}
    return np.array([tuple(x_D) not in asked for x_D in x_ND[:, own_D].round(9).tolist()])


def spread_evenly(cube: Cube, before: Sequence[FrozenTrial], seed: int, number: int) -> dict[str, Any]:
    """The points of a scrambled Sobol sequence."""
    uniform_ND = qmc.Sobol(len(cube.entries), rng=seed).random_base2((number + LOOKED_AT).bit_length())
    x_ND = cube.points(uniform_ND[number : number + LOOKED_AT])
    return cube.params(x_ND[is_new(cube, x_ND, before).argmax()])  # the first, where none is new


def most_promising(posterior: Posterior, before: Sequence[FrozenTrial], random: np.random.Generator) -> dict[str, Any]:
    cube, process = posterior.cube, posterior.process
    unknown = (TrialState.RUNNING, TrialState.FAIL)
    running = [trial for trial in before if trial.state in unknown or not posterior.numbers]
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
    new_N = is_new(cube, x_ND, before)
    return cube.params(x_ND[np.where(new_N | ~new_N.any(), gain_N, -np.inf).argmax()])


def log_expected_gain(mean_N: np.ndarray, std_N: np.ndarray, lowest: float) -> np.ndarray:
    """The logarithm of E[max(lowest - f, 0)], (N,). Far above, where that is 0 in numbers, from its expansion."""
    z_N = (lowest - mean_N) / std_N
    away_N = np.maximum(-z_N, FAR)
    far_N = stats.norm.logpdf(z_N) - 2 * np.log(away_N) + np.log1p(-3 / away_N**2 + 15 / away_N**4)
    near_N = np.log(np.maximum(stats.norm.pdf(z_N) + z_N * stats.norm.cdf(z_N), 1e-300))
    return np.log(std_N) + np.where(z_N < -FAR, far_N, near_N)
