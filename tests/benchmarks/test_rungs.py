"""The rank correlation of a rung with the end, against scipy's, and what it is not computed for."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from aae.config import ConfigError
from analysis.trials import read_run
from benchmarks.rungs import main, rank_correlation, report, rung, values_of

QUICK = Path(__file__).resolve().parents[2] / "records" / "quick"


def test_the_rank_correlation_is_scipys_with_ties_and_without_order():
    random = np.random.default_rng(0)
    a_RT, b_RT = random.integers(0, 6, (50, 12)), random.normal(size=(50, 12))
    assert rank_correlation(a_RT, b_RT) == pytest.approx([stats.spearmanr(a, b).statistic for a, b in zip(a_RT, b_RT, strict=True)])
    assert np.isnan(rank_correlation(np.ones((1, 5)), b_RT[:1, :5]))


def test_a_rung_of_no_use_and_one_that_foretells_everything():
    random, last_T = np.random.default_rng(1), np.arange(40) / 40
    value_TE = np.stack([random.permutation(last_T), 2 * last_T + 1, last_T], axis=1)
    rho, low, high, _ = rung(value_TE, 1)
    assert low < 0 < high and abs(rho) < 0.4
    assert rung(value_TE, 2) == (pytest.approx(1), pytest.approx(1), pytest.approx(1), 1)


def test_the_interval_holds_the_correlation_of_the_population_about_as_often_as_it_says():
    """Normal values whose ranks correlate by 0.8; over 200 studies of 30 trials. A bootstrap of ranks is a little short."""
    random, held = np.random.default_rng(2), 0
    truth = 6 / np.pi * np.arcsin(0.8135 / 2)  # of ranks, where the values correlate by 0.8135
    for _ in range(200):
        both = random.multivariate_normal([0, 0], [[1, 0.8135], [0.8135, 1]], 30)
        _, low, high, _ = rung(both, 1)
        held += low <= truth <= high
    assert 0.88 <= held / 200 <= 0.99


def test_a_record_of_a_study_under_a_pruner_is_said_to_be_no_evidence(capsys):
    assert main([str(QUICK), "--epochs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    value_TE = values_of(read_run(QUICK))
    assert lines[0] == f"quick: val/error, {len(value_TE)} complete searched trials of {value_TE.shape[1]} epochs"
    assert "fewer than 20" in lines[1] and "no evidence" in lines[2] and len(lines) == 5
    assert f"{stats.spearmanr(value_TE[:, 2], value_TE[:, -1]).statistic:.2f}" in lines[4]


@pytest.mark.parametrize(("arguments", "says"), [([str(QUICK), "--epochs", "7"], "--epochs: got 7"), (["records"], "no study.journal")])
def test_what_cannot_be_computed_is_refused(arguments, says, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_too_few_trials_are_refused():
    run = read_run(QUICK)
    run.trials[:] = [trial for trial in run.trials if trial.state == "PRUNED"]
    with pytest.raises(ConfigError, match="0 complete searched trials"):
        report(run, None)
