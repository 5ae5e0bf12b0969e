"""What a handful of draws says of a mean: its interval, and how many draws a narrower one takes. Numbers in, numbers out.

The interval is Student's. How often it holds the mean for errors as skewed as real ones, and what was tried beside it, is
simulated in benchmarks/coverage.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

INTERVAL = "95 % t-intervals"
# n draws -> how often such an interval held the truth in simulated confirmations, with the residuals of a real one and with those of
# a recipe of which some trainings are trapped: ((of a mean, trapped), (of a paired difference, trapped)). From
# benchmarks/records.jsonl, "coverage", at true_spread 1; a test compares them.
COVERAGE = {
    3: ((0.947, 0.782), (0.9018, 0.8378)),
    5: ((0.95, 0.8985), (0.9394, 0.8946)),
    10: ((0.9455, 0.9205), (0.9359, 0.9372)),
}


def coverage(num: int) -> tuple[int, tuple[float, float], tuple[float, float]]:
    """(the largest simulated n that is not above `num`, or the smallest; coverage of a mean; of a paired difference)."""
    n = max((n for n in COVERAGE if n <= num), default=min(COVERAGE))
    return n, *COVERAGE[n]


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """(low, high) around the mean of at least two values."""
    half = half_width(float(np.std(values, ddof=1)), len(values), level)
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def upper_bound(values: Sequence[float], level: float = 0.95) -> float:
    """One-sided: the mean lies below it with this confidence."""
    return t_interval(values, 2 * level - 1)[1]


def half_width(std: float, num: int, level: float = 0.95) -> float:
    return float(stats.t.ppf((1 + level) / 2, num - 1)) * std / math.sqrt(num)


def draws_needed(std: float, wanted: float, at_most: int) -> tuple[int, float]:
    """(the fewest draws, 2 to `at_most`, whose interval is expected to be that narrow; the half width expected with them)."""
    num = next((num for num in range(2, at_most + 1) if half_width(std, num) <= wanted), at_most)
    return num, half_width(std, num)


def spread(errors_CD: np.ndarray, paired: bool) -> float:
    """Standard deviation over draws of one configuration's error, pooled over configurations; `paired`: of the difference of
    two on the same draws, from what neither the configuration nor the draw explains. At least two draws (and two
    configurations, if paired)."""
    num_configurations, num_draws = errors_CD.shape
    residual_CD = errors_CD - errors_CD.mean(axis=1, keepdims=True)
    if not paired:
        return math.sqrt(float((residual_CD**2).sum()) / (num_configurations * (num_draws - 1)))
    residual_CD = residual_CD - residual_CD.mean(axis=0, keepdims=True)
    return math.sqrt(2 * float((residual_CD**2).sum()) / ((num_configurations - 1) * (num_draws - 1)))
