"""Another truth than a Gaussian process, for replays: a polynomial of second degree, fitted to the same recorded trials."""

from __future__ import annotations

import itertools

import numpy as np

PENALTY = 1.0  # on the squares of all weights but the constant's, against a residual variance of 1


class Quadratic:
    """Of one number over the cube, as a surrogate takes it. `noise_std`: what is left, in the unit of y."""

    def __init__(self, x_TD: np.ndarray, y_T: np.ndarray, is_choice_D: np.ndarray):
        assert not is_choice_D.any(), "a polynomial of choices means nothing"
        self.mean, self.scale = float(y_T.mean()), float(y_T.std()) or 1.0
        terms_TF = self.terms(x_TD)
        square_FF = terms_TF.T @ terms_TF + PENALTY * np.diag([0.0] + [1.0] * (terms_TF.shape[1] - 1))
        self.weight_F = np.linalg.solve(square_FF, terms_TF.T @ ((y_T - self.mean) / self.scale))
        used = float(np.trace(np.linalg.solve(square_FF, terms_TF.T @ terms_TF)))  # effective number of weights
        left_T = y_T - self(x_TD)
        self.noise_std = float(np.sqrt(left_T @ left_T / max(len(y_T) - used, 1.0)))

    @staticmethod
    def terms(x_ND: np.ndarray) -> np.ndarray:
        """(N, F): 1, every path, every product of two."""
        centred_ND = 2 * x_ND - 1
        pairs = itertools.combinations_with_replacement(range(x_ND.shape[1]), 2)
        return np.column_stack([np.ones(len(x_ND)), centred_ND, *(centred_ND[:, a] * centred_ND[:, b] for a, b in pairs)])

    def __call__(self, x_ND: np.ndarray) -> np.ndarray:
        return self.mean + self.scale * self.terms(x_ND) @ self.weight_F
