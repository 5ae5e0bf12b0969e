"""Rungs that are measured: where an epoch's order foretells nothing of the end, the pruner stops nobody."""

import json
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from scipy import stats

from aae.runs import CHOICE, VERDICT
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.rungs import LEAST_TRIALS, correlation_with_end, rank_correlation, whole_trials
from aae.tuning.study.study import SweepStudy
from tests.sweeping import row

SWEEP = """
study: {name: s, num_trials: 200, sampler: {kind: RandomSampler, seed: 0}, pruner: PRUNER}
trial:
  data: {num_labels: 100}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 6}
search_space:
  optim.generator.rate: {kind: float, low: 0.03, high: 0.3}
"""
HALVING = "{kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}"
MEDIAN = "{kind: MedianPruner, n_startup_trials: 1}"


@pytest.fixture
def make_study(tmp_path: Path):
    """Opens the study of one folder, again and again."""

    def make(pruner: str = HALVING) -> SweepStudy:
        (tmp_path / "s.yaml").write_text(SWEEP.replace("PRUNER", pruner))
        (tmp_path / "run").mkdir(exist_ok=True)
        return SweepStudy(tmp_path / "run", load_sweep(tmp_path / "s.yaml", {}))

    return make


def curve(number: int, useful_from: int) -> list[float]:
    """Errors of six epochs: the order is by chance before an epoch, and that of the end from then on."""
    random = np.random.default_rng(number)
    return [float(random.uniform(0.1, 0.9)) for _ in range(useful_from - 1)] + [0.1 + (number * 7 % 60) / 100] * (7 - useful_from)


def whole(study: SweepStudy, numbers: range, curves: list[list[float]]) -> None:
    """Trials that ran all of their epochs, with the marks that halving leaves on its way."""
    for number, curve_E in zip(numbers, curves, strict=True):
        assert study.ask() == number
        study.values(number)
        for epoch, value in enumerate(curve_E, 1):
            study.storage.set_trial_intermediate_value(study.id_of(number), epoch, value)
        for index, epoch in enumerate((1, 2, 4)):
            study.storage.set_trial_system_attr(study.id_of(number), f"completed_rung_{index}", curve_E[epoch - 1])
        study.tell(number, TrialState.COMPLETE)


def judged(study: SweepStudy, curve_E: list[float]) -> int:
    """After which epoch the pruner stops a new trial; 6, the last one, where it does not."""
    number = study.ask()
    study.values(number)
    for epoch, value in enumerate(curve_E[:-1], 1):
        if study.report(number, row(epoch, value)):
            return epoch
    return 6


def test_copies_of_a_configuration_are_one_whole_trial(make_study):
    """Seen to fail: eleven configurations, of which one was asked ten times, counted as the twenty trials that it takes."""
    study = make_study()
    whole(study, range(20), [curve(number, 1) for number in range(20)])
    trials = study.trials()
    for trial in trials[11:]:
        trial.params = dict(trials[0].params)
    assert [trial.number for trial in whole_trials(trials)] == list(range(11)) and correlation_with_end(whole_trials(trials), 2) is None


def test_the_rank_correlation_is_scipys_with_ties_and_nothing_without_order():
    random = np.random.default_rng(0)
    a_T, b_T = random.integers(0, 6, 30).astype(float), random.normal(size=30)
    assert rank_correlation(a_T, b_T) == pytest.approx(stats.spearmanr(a_T, b_T).statistic)
    assert rank_correlation(np.ones(30), b_T) == 0


@pytest.mark.parametrize("pruner", [HALVING, MEDIAN])
def test_an_epoch_that_foretells_nothing_stops_nobody_once_twenty_whole_trials_say_so(make_study, pruner):
    """The order of the first two epochs is by chance. Seen to fail with every verdict the pruner's."""
    study, curves = make_study(pruner), [curve(number, useful_from=3) for number in range(LEAST_TRIALS)]
    whole(study, range(LEAST_TRIALS - 1), curves[:-1])
    assert judged(study, [0.95] * 6) == 1  # until then the file's own rungs hold
    whole(study, range(LEAST_TRIALS, LEAST_TRIALS + 1), curves[-1:])
    assert judged(study, [0.95] * 6) == (4 if pruner == HALVING else 3)
    study.choose()
    measured = json.loads((study.run / CHOICE).read_text())["rungs"]
    assert measured["trials"] == LEAST_TRIALS and abs(measured["correlation"]["1"]) < 0.6 and measured["correlation"]["4"] == 1
    assert measured["stops"] == {"1": 1, "4" if pruner == HALVING else "3": 1} and measured["stops_left_out"] == {"1": 1, "2": 1}


def test_the_pruner_of_auto_has_no_limit_and_its_correlations_are_recorded_all_the_same(make_study):
    study = make_study("{kind: auto}")
    whole(study, range(LEAST_TRIALS), [curve(number, useful_from=3) for number in range(LEAST_TRIALS)])
    measured = json.loads((study.run / CHOICE).read_text())["rungs"]
    assert measured["least_correlation"] is None and measured["stops_left_out"] == {}
    assert abs(measured["correlation"]["1"]) < 0.6 and measured["correlation"]["4"] == 1


@pytest.mark.parametrize("pruner", [HALVING, MEDIAN])
def test_a_stop_that_was_left_out_stays_so_when_the_study_is_opened_again(make_study, pruner):
    """Also where the trials that are told meanwhile let the rung count again: the verdict stands in the journal. Seen to fail with only
    stops and marks written."""
    study = make_study(pruner)
    whole(study, range(LEAST_TRIALS), [curve(number, useful_from=3) for number in range(LEAST_TRIALS)])
    number = study.ask()
    study.values(number)
    assert not study.report(number, row(1, 0.95))
    whole(study, range(number + 1, 120), [[other / 120] * 6 for other in range(number + 1, 120)])
    assert judged(study, [0.99] * 6) == 1
    again = make_study(pruner)
    assert not again.ask_pruner(number, 1) and again.trial(number).user_attrs[VERDICT]["left_out"] == [1]
