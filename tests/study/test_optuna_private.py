"""What Optuna does with the private names of aae/tuning/study/optuna_private.py. A new version that does otherwise fails here first."""

import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import TPESampler

from aae.tuning.study.optuna_private import PruningView, View


@pytest.fixture
def study() -> optuna.Study:
    """Three complete trials of x = 0, 1, 2 and a running one with a report at step 1; trial 0 is the one to hide."""
    made = optuna.create_study(sampler=TPESampler(seed=0, n_startup_trials=1))
    for x in (0.0, 1.0, 2.0):
        made.enqueue_trial({"x": x})
        trial = made.ask()
        trial.report(trial.suggest_float("x", 0, 2), 1)
        made.tell(trial, x)
    made.ask().report(3.0, 1)
    return made


def is_first(trial: optuna.trial.FrozenTrial) -> bool:
    return trial.number == 0


def test_a_study_has_the_private_names_that_samplers_and_pruners_use(study):
    for name in ("_get_trials", "_storage"):
        assert hasattr(study, name), f"optuna {optuna.__version__} took Study.{name} away: see optuna_private.py for what we need it for"
    assert callable(study._storage.set_trial_system_attr), "optuna's storages have no set_trial_system_attr: pruners mark trials otherwise"


def test_a_sampler_asks_a_view_for_its_trials_and_gets_no_hidden_one(study):
    asked = []

    class Watched(View):
        def _get_trials(self, *arguments, **named):
            asked.append(super()._get_trials(*arguments, **named))
            return asked[-1]

    sampler, trial = TPESampler(seed=0, n_startup_trials=1), study.trials[3]
    sampler.sample_independent(Watched(study, is_first), trial, "x", optuna.distributions.FloatDistribution(0, 2))
    assert asked, f"the TPESampler of optuna {optuna.__version__} asks for trials otherwise: hidden ones reach it now"
    assert all(trial.number != 0 for trials in asked for trial in trials)


@pytest.mark.parametrize("pruner", [SuccessiveHalvingPruner(min_resource=1), HyperbandPruner(min_resource=1, max_resource=2)])
def test_a_pruner_s_marks_are_caught_and_not_written(study, pruner):
    view = PruningView(study, is_first)
    pruner.prune(view, study.trials[3])
    assert view.marks, f"{type(pruner).__name__} of optuna {optuna.__version__} writes its marks past Study._storage"
    assert study.trials[3].system_attrs == {}


def test_a_pruner_compares_with_no_hidden_trial(study):
    """Without trial 0 the running one, at 3, stands with three others and not above their median alone by it."""
    pruner = MedianPruner(n_startup_trials=3, n_warmup_steps=0)
    assert pruner.prune(study, study.trials[3]) and not pruner.prune(PruningView(study, is_first), study.trials[3])
