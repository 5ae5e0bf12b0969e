"""What more trials of a study are expected to gain: played out on functions that its posterior could be.

Each function is drawn at the told points and at candidates together. On each a search goes on as the sampler does: it tells the
candidate of the largest expected gain, with noise, learns from it, and so on. The gain is what today's choice comes to on that
function minus what the choice of then comes to, both without noise. It can be below 0: noise misleads that search as well. In a finite
space no point is told twice, as a copy would train to the same bits: once all are told, nothing more is gained.
"""

# S functions, M points, T told ones of them, C complete trials, N further trials

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.cube import Cube
from aae.tuning.study.expected_improvement import is_new, log_expected_gain
from aae.tuning.study.gaussian_process import GaussianProcess
from aae.tuning.study.posterior import Posterior

FUNCTIONS = 100
LEVEL = 1.0  # a search gathers its points where it is good, so the space is worse than their mean; measured: docs/log.md
CANDIDATES = 300  # kept of DRAWN, those of the largest expected gain
DRAWN, BEST, NEIGHBOURS, STEPS = 2000, 8, 64, (0.1, 0.03)  # at random, and around the best told ones
AFTER = (10, 20)  # trials
INTERVAL = (0.1, 0.9)
ENDED = "ended"  # user attribute of a study that study.stop_below_gain ended


def still_ended(mark: dict[str, Any] | None, below: float | None, num_asked: int) -> bool:
    """Whether a study stays ended by `mark`, {"below", "expected", "trials"}: its limit is the same, and no more were asked without it."""
    return mark is not None and (mark["below"], mark["trials"]) == (below, num_asked)


def why_unknown(sweep: Sweep, posterior: Posterior | None, why_lowest: str | None) -> str | None:
    """Why nothing can be said of further trials; None: it can."""
    if sweep.study.constraint is not None:
        return "the study has a constraint, which is not foretold"
    if posterior is None:
        return why_lowest or "the values tell no noise"
    return None


def expected_gain(posterior: Posterior, trials: Sequence[FrozenTrial]) -> dict[str, dict[str, float]]:
    """After so many more trials: {expected, low, high} in units of the metric, the ends of an 80 % interval."""
    random = np.random.default_rng(len(posterior.numbers))  # of the told trials alone: a restart says the same
    process = posterior.process.with_level(LEVEL)
    complete_T = np.array([trials[number].state == TrialState.COMPLETE for number in posterior.numbers])
    told_CD = process.x_ND[complete_T]
    mean_C, _ = process.predict(told_CD)
    ended = [trial for trial in trials if trial.params and trial.state.is_finished()]
    best_BD = told_CD[mean_C.argsort()[:BEST]]
    x_MD = np.r_[told_CD, candidates(posterior.cube, process, best_BD, float(mean_C.min()), ended, random)]
    mean_M, covariance_MM = process.joint(x_MD)
    once, other = posterior.cube.is_finite, elsewhere(posterior, trials)
    value_NS = play_on(mean_M, covariance_MM, process.noise_variance, len(told_CD), other, max(AFTER), once, random)
    metric_NS = np.exp(value_NS) if posterior.is_log else value_NS
    gain_NS = metric_NS[0] - metric_NS[list(AFTER)]
    low_N, high_N = np.quantile(gain_NS, INTERVAL, axis=1)
    return {
        str(num): {"expected": float(gain_S.mean()), "low": float(low), "high": float(high)}
        for num, gain_S, low, high in zip(AFTER, gain_NS, low_N, high_N, strict=True)
    }


def elsewhere(posterior: Posterior, trials: Sequence[FrozenTrial]) -> float:
    """The lowest value, scaled, of the baselines that lie outside the search space; inf where there is none."""
    lowest = min((t.value for t in trials if t.state == TrialState.COMPLETE and not t.params and t.value is not None), default=np.inf)
    return float(np.log(max(lowest, 1e-300)) if posterior.is_log else lowest)


def candidates(
    cube: Cube, process: GaussianProcess, best_BD: np.ndarray, lowest: float, ended: Sequence[FrozenTrial], random: np.random.Generator
) -> np.ndarray:
    """(CANDIDATES, D) points that the search may come to. Of a finite space each once, and none where a trial has `ended`: there may be
    fewer."""
    near = [cube.near(np.repeat(best_BD, NEIGHBOURS, axis=0), step, random) for step in STEPS]
    x_ND = np.concatenate([cube.points(random.random((DRAWN, len(cube.entries)))), *near])
    if cube.is_finite:
        x_ND = np.unique(x_ND.round(9), axis=0)
        x_ND = x_ND[is_new(cube, x_ND, ended)]
        if not len(x_ND):
            return x_ND
    gain_N = log_expected_gain(*process.predict(x_ND), lowest)
    return x_ND[(-gain_N).argsort(kind="stable")[:CANDIDATES]]


def play_on(
    mean_M: np.ndarray,
    covariance_MM: np.ndarray,
    noise: float,
    num_told: int,
    other: float,
    num: int,
    once: bool,
    random: np.random.Generator,
) -> np.ndarray:
    """(num + 1, S) values without noise of what would be chosen, now and after each of so many further trials. The first `num_told`
    points are the complete trials. `other`: a value that may be chosen as well. `once`: no point is told twice."""
    spread_M, base_MM = np.linalg.eigh(covariance_MM)
    root_MM = base_MM * np.sqrt(np.maximum(spread_M, 0))
    truth_SM = mean_M + random.standard_normal((FUNCTIONS, len(mean_M))) @ root_MM.T
    mean_SM = np.tile(mean_M, (FUNCTIONS, 1))
    variance_SM = np.tile(np.diag(covariance_MM), (FUNCTIONS, 1))
    tried_SM = np.zeros_like(mean_SM, dtype=bool)
    tried_SM[:, :num_told] = True
    s, learnt, chosen = np.arange(FUNCTIONS), list[np.ndarray](), list[np.ndarray]()
    for step in range(num + 1):
        known_SM = np.where(tried_SM, mean_SM, np.inf)
        chosen.append(np.where(known_SM.min(axis=1) < other, truth_SM[s, known_SM.argmin(axis=1)], other))
        if step == num or (once and tried_SM.all()):
            break
        gain_SM = log_expected_gain(mean_SM, np.sqrt(np.maximum(variance_SM, 1e-12)), known_SM.min(axis=1)[:, None])
        next_S = np.where(tried_SM & once, -np.inf, gain_SM).argmax(axis=1)
        shared_SM = covariance_MM[next_S] - sum((row_SM * row_SM[s, next_S][:, None] for row_SM in learnt), np.zeros_like(mean_SM))
        total_S = np.maximum(shared_SM[s, next_S], 0) + noise
        told_S = truth_SM[s, next_S] + np.sqrt(noise) * random.standard_normal(FUNCTIONS)
        mean_SM += shared_SM * ((told_S - mean_SM[s, next_S]) / total_S)[:, None]
        learnt.append(shared_SM / np.sqrt(total_S)[:, None])
        variance_SM -= learnt[-1] ** 2
        tried_SM[s, next_S] = True
    return np.array(chosen + [chosen[-1]] * (num + 1 - len(chosen)))


def describe_gain(sweep: Sweep, trials: Sequence[FrozenTrial], posterior: Posterior | None, why_lowest: str | None) -> dict[str, Any]:
    """For choice.json."""
    why = why_unknown(sweep, posterior, why_lowest)
    if why is not None or posterior is None:
        return {"why": why, "after": {}}
    return {"why": None, "after": expected_gain(posterior, trials)}


def promised(gain: dict[str, Any]) -> float | None:
    """What the next AFTER[0] trials are expected to gain, in units of the metric; None where nothing is known."""
    return None if gain["why"] is not None else float(gain["after"][str(AFTER[0])]["expected"])
