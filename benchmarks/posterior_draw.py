"""A third truth for replays: a function that the recorded trials leave possible, where a surrogate is the mean of all such functions.

The mean is smoother than the task and its valleys are less deep: where no trial lies it knows nothing, and stays near the level of the
rest. So it has less to find than the task. A draw varies as much as the task does, as far as the recorded trials tell.

A draw of the posterior is one of the prior, corrected at the recorded points for what it misses there (Matheron's rule: Wilson et al.
2020, arXiv 2002.09309, equation 13); one of the prior is a sum of cosines with random frequencies (Rahimi & Recht 2007). Those of a
Matern 5/2 kernel are of Student's t with 5 degrees of freedom (Rasmussen & Williams 2006, section 4.2).
"""

# T recorded trials, D dimensions, F cosines

from __future__ import annotations

import copy

import numpy as np
from scipy import linalg

from aae.tuning.replay.surrogate import GaussianProcess, Surrogate, matern

COSINES = 4000


class PosteriorDraw:
    """One function of a Gaussian process over the cube; takes its place in a surrogate, with its noise."""

    def __init__(self, process: GaussianProcess, random: np.random.Generator):
        assert not process.is_choice_D.any(), "cosines of choices mean nothing"
        self.process, self.noise_std, dims = process, process.noise_std, process.x_TD.shape[1]
        stretch_F = np.sqrt(5 / random.chisquare(5, COSINES))
        self.frequency_FD = random.standard_normal((COSINES, dims)) * stretch_F[:, None] / process.length_D
        self.phase_F, self.weight_F = random.uniform(0, 2 * np.pi, COSINES), random.standard_normal(COSINES)
        noise_std = process.noise_std / process.scale
        factor = process.factor(np.r_[np.log(process.length_D), np.log(process.signal), 2 * np.log(noise_std)])
        target_T = factor @ (factor.T @ process.alpha_T)  # the recorded values, scaled
        missed_T = target_T - self.prior(process.x_TD) - noise_std * random.standard_normal(len(target_T))
        self.alpha_T = linalg.cho_solve((factor, True), missed_T)

    def prior(self, x_ND: np.ndarray) -> np.ndarray:
        waves_NF = np.cos(x_ND @ self.frequency_FD.T + self.phase_F)
        return np.sqrt(2 * self.process.signal / COSINES) * waves_NF @ self.weight_F

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        of = self.process
        correction_N = of.signal * matern(x_ND, of.x_TD, of.length_D, of.is_choice_D) @ self.alpha_T
        return of.mean + of.scale * (self.prior(x_ND) + correction_N)


def drawn(surrogate: Surrogate, random: np.random.Generator) -> Surrogate:
    """The surrogate with a draw in the place of each of its processes."""
    found = copy.copy(surrogate)
    found.processes = [PosteriorDraw(process, random) for process in surrogate.processes]
    return found
