"""A training's error curve as a function of its parameters: Gaussian processes over recorded trials, for searches to be replayed on.

The logarithms of the curves are written in their first COMPONENTS principal components, and each component is a Gaussian process
over the unit cube of the search space: Matern 5/2, a length a dimension, hyperparameters by maximum likelihood (Rasmussen &
Williams 2006, sections 4.2 and 5.4). Noise is what it finds no function for: each component's nugget, and the part of a recorded
curve that the components leave out. Trials that collapsed are outliers to any smooth function. They are left out of it, and come
back as an event: how often, is a kernel average of the recorded trials near by, and the curve is that of a recorded one.
"""

# T trials, D dimensions, E epochs, C components

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg, optimize, stats

COMPONENTS = 3
JITTER = 1e-6
FOLDS = 8
ABOVE = 0.005  # by how much a curve may lie above a guess
COLLAPSED = 2 / 3  # of a guess: an error at the end that is above is of a training that came apart
NEAR = 0.2  # length of the kernel that averages collapses, in edges of the cube


def matern(a_ND: np.ndarray, b_MD: np.ndarray, length_D: np.ndarray, is_choice_D: np.ndarray) -> np.ndarray:
    """(N, M), 1 at distance 0; two different choices are 1 apart."""
    difference_NMD = np.where(is_choice_D, a_ND[:, None] != b_MD[None], a_ND[:, None] - b_MD[None])
    r = np.sqrt(5) * np.sqrt(((difference_NMD / length_D) ** 2).sum(-1))
    return (1 + r + r * r / 3) * np.exp(-r)


@dataclass(frozen=True)
class Recorded:
    """Trials that ran all of their epochs."""

    x_TD: np.ndarray  # points of the study's cube, aae/tuning/study/cube.py
    curve_TE: np.ndarray  # the metric
    is_choice_D: np.ndarray
    guess: float | None = 0.9  # what a guess comes to; None: the metric is no share of images

    def part(self, of_T: np.ndarray) -> Recorded:
        return replace(self, x_TD=self.x_TD[of_T], curve_TE=self.curve_TE[of_T])

    @property
    def is_log(self) -> bool:
        return bool(self.curve_TE.min() >= 0 and self.curve_TE.max() > 0)

    @property
    def scaled_TE(self) -> np.ndarray:
        """Logarithms where the metric is never negative; 0 counts as half of the lowest other value."""
        if not self.is_log:
            return self.curve_TE
        return np.log(np.maximum(self.curve_TE, self.curve_TE[self.curve_TE > 0].min() / 2))

    @property
    def highest(self) -> float:
        return math.inf if self.guess is None else self.guess + ABOVE

    @property
    def collapsed_T(self) -> np.ndarray:
        return self.curve_TE[:, -1] > (math.inf if self.guess is None else COLLAPSED * self.guess)


class GaussianProcess:
    """Of one number over the cube. `noise_std`: its nugget, in the unit of y."""

    def __init__(self, x_TD: np.ndarray, y_T: np.ndarray, is_choice_D: np.ndarray):
        self.x_TD, self.is_choice_D = x_TD, is_choice_D
        self.mean, self.scale = float(y_T.mean()), float(y_T.std()) or 1.0
        target_T, dims = (y_T - self.mean) / self.scale, x_TD.shape[1]

        def loss(theta: np.ndarray) -> float:
            """Negative log likelihood, with a weak prior that keeps a length that the data say nothing about where it is."""
            factor = self.factor(theta)
            half = linalg.solve_triangular(factor, target_T, lower=True)
            prior = ((theta[:dims] - np.log(0.7)) ** 2).sum() / 2 + theta[dims] ** 2 / 2 + (theta[dims + 1] + 2) ** 2 / 8
            return float(half @ half / 2 + np.log(np.diag(factor)).sum() + prior)

        start = np.r_[np.full(dims, np.log(0.7)), 0.0, -2.0]  # lengths, signal variance, noise variance: their logarithms
        bounds = [(np.log(0.05), np.log(20))] * dims + [(-4, 4), (-10, 1)]
        theta = optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
        self.length_D, self.signal, self.noise_std = np.exp(theta[:dims]), np.exp(theta[dims]), self.scale * np.exp(theta[dims + 1] / 2)
        self.alpha_T = linalg.cho_solve((self.factor(theta), True), target_T)

    def factor(self, theta: np.ndarray) -> np.ndarray:
        num, dims = self.x_TD.shape
        kernel = np.exp(theta[dims]) * matern(self.x_TD, self.x_TD, np.exp(theta[:dims]), self.is_choice_D)
        return linalg.cholesky(kernel + (np.exp(theta[dims + 1]) + JITTER) * np.eye(num), lower=True)

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        return self.mean + self.scale * self.signal * matern(x_ND, self.x_TD, self.length_D, self.is_choice_D) @ self.alpha_T


class Surrogate:
    """`curves` without noise or collapse; `noisy` as a training would report one. `kind` makes the function of a component; `noise` times
    the noise that was found."""

    def __init__(self, recorded: Recorded, kind: Callable[..., Any] = GaussianProcess, noise: float = 1.0):
        self.noise = noise
        self.all_TD, self.is_choice_D = recorded.x_TD, recorded.is_choice_D
        self.is_log, self.highest, self.collapsed_T = recorded.is_log, recorded.highest, recorded.collapsed_T
        self.worst = float(recorded.curve_TE.max()) if recorded.guess is None else recorded.highest
        self.collapsed_PE = recorded.curve_TE[self.collapsed_T]
        log_TE, x_TD = recorded.scaled_TE[~self.collapsed_T], recorded.x_TD[~self.collapsed_T]
        self.mean_E = log_TE.mean(axis=0)
        self.base_CE = np.linalg.svd(log_TE - self.mean_E, full_matrices=False)[2][:COMPONENTS]
        score_TC = (log_TE - self.mean_E) @ self.base_CE.T
        self.left_TE = log_TE - self.mean_E - score_TC @ self.base_CE
        self.processes = [kind(x_TD, score_T, self.is_choice_D) for score_T in score_TC.T]

    def to_metric(self, scaled: np.ndarray) -> np.ndarray:
        return np.minimum(np.exp(scaled) if self.is_log else scaled, self.highest)

    def collapse_chance(self, x_D: np.ndarray) -> float:
        near_T = matern(x_D[None], self.all_TD, np.full(len(x_D), NEAR), self.is_choice_D)[0]
        return float(near_T @ self.collapsed_T / near_T.sum())

    def log_curves(self, x_ND: np.ndarray) -> np.ndarray:
        return self.mean_E + np.stack([process(x_ND) for process in self.processes], axis=1) @ self.base_CE

    def curves(self, x_ND: np.ndarray) -> np.ndarray:
        """(N, E) errors."""
        return self.to_metric(self.log_curves(x_ND))

    def noisy(self, x_D: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """(E,)"""
        if len(self.collapsed_PE) and random.random() < self.collapse_chance(x_D):
            return np.array(self.collapsed_PE[random.integers(len(self.collapsed_PE))])
        noise_C = random.standard_normal(len(self.processes)) * [process.noise_std for process in self.processes]
        noise_E = noise_C @ self.base_CE + self.left_TE[random.integers(len(self.left_TE))]
        return self.to_metric(self.log_curves(x_D[None])[0] + self.noise * noise_E)

    def noise_std(self) -> float:
        """Of the logarithm of the last epoch's error: about the relative spread of one configuration's trainings."""
        variance = sum((process.noise_std * base_E[-1]) ** 2 for process, base_E in zip(self.processes, self.base_CE, strict=True))
        return self.noise * float(np.sqrt(variance + self.left_TE[:, -1].var()))


@dataclass(frozen=True)
class Fit:
    """Of trials that the surrogate had not seen, FOLDS times a part of them. Those that collapsed are left out."""

    r2_last: float  # of the last epoch's log error
    spearman_last: float
    rms_last: float  # of the log error: about a relative error
    rms_curve: float  # the same over all epochs
    best_third: float  # Spearman's within the third of the trials that ended best: where a search ends


def cross_validate(recorded: Recorded, seed: int = 0) -> Fit:
    whole = recorded.part(~recorded.collapsed_T)
    order_T = np.random.default_rng(seed).permutation(len(whole.x_TD))
    found_TE = np.empty_like(whole.curve_TE)
    for held in np.array_split(order_T, FOLDS):
        seen = np.setdiff1d(order_T, held)
        found_TE[held] = Surrogate(whole.part(seen)).log_curves(whole.x_TD[held])
    log_TE = whole.scaled_TE
    miss_TE, last_T = found_TE - log_TE, log_TE[:, -1]
    best = last_T.argsort()[: len(last_T) // 3]
    return Fit(
        r2_last=1 - float((miss_TE[:, -1] ** 2).mean() / last_T.var()),
        spearman_last=spearman(found_TE[:, -1], last_T),
        rms_last=float(np.sqrt((miss_TE[:, -1] ** 2).mean())),
        rms_curve=float(np.sqrt((miss_TE**2).mean())),
        best_third=spearman(found_TE[best, -1], last_T[best]),
    )


def spearman(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    return float(stats.spearmanr(a, b).statistic)
