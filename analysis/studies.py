"""A run as an Optuna study in memory: what its plots and the importance of its parameters are computed from.

Parameters stand under short names and errors in percent, so that no axis needs a second reading. Trial numbers stay those of the run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from analysis.advice import TOP_SHARE, each_once
from analysis.trials import Run, TrialRecord, short_names

MIN_FOR_IMPORTANCE_FIGURE = 8
FEW = 100  # trials, below which the importance is said to be a hint


class NotDrawn(Exception):
    """Why there is no such figure: a sentence for the page."""


def optuna_study(run: Run, values: Callable[[TrialRecord], float | None], baselines: bool) -> optuna.Study:
    """A copy in memory. Trials without a value count as failed; so do baselines that the space cannot express, if not wanted."""
    study, short = optuna.create_study(), short_names(run.searched_paths)
    for trial in run.trials:
        value = values(trial) if trial.params or baselines else None
        study.add_trial(
            create_trial(
                state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                value=None if value is None else value * run.scale,
                params={short[path]: value for path, value in trial.params.items()},
                distributions={short[path]: distribution for path, distribution in trial.distributions.items()},
            )
        )
    return study


def plural(count: int, what: str) -> str:
    """`what` has 'trial' in it."""
    return f"{count} {what}" if count == 1 else f"{count} {what.replace('trial', 'trials', 1).replace('keeps', 'keep')}"


def final(trial: TrialRecord) -> float | None:
    """None where it is no answer: of a trial that did not end, or that breaks the study's constraint."""
    return trial.value if trial.state == "COMPLETE" and not trial.excess else None


def complete(run: Run) -> str:
    return "complete trial" if run.constraint is None else "complete trial that keeps the constraint"


def kept(run: Run, count: int) -> str:
    """What the trials that count are."""
    return "complete" if run.constraint is None else f"complete and keep{'s' * (count == 1)} the constraint"


def complete_study(run: Run, least: int, what: str) -> tuple[optuna.Study, int]:
    study = optuna_study(run, final, baselines=False)
    count = sum(trial.state == TrialState.COMPLETE for trial in study.trials)
    if run.trials and not run.searched_paths:
        raise NotDrawn(f"This study searched no parameter, so there are {what}.")
    if count < least:
        raise NotDrawn(f"{plural(count, 'searched trial')} {kept(run, count)}; {what} below {least}.")
    return study, count


def importance_study(run: Run) -> tuple[optuna.Study, str]:
    """(what the importance is computed from, the caption that says so): every configuration once. Raises NotDrawn."""
    searched = [trial for trial in run.complete if trial.params]
    counted = {trial.number for trial in each_once(searched)}
    named = f"{'different ' * (len(counted) < len(searched))}searched trial"
    study = optuna_study(run, lambda trial: final(trial) if trial.number in counted else None, baselines=False)
    count, what = sum(trial.state == TrialState.COMPLETE for trial in study.trials), f"the final {run.metric} of the complete trials"
    if count < MIN_FOR_IMPORTANCE_FIGURE:  # then pruned trials too, all judged at the same epoch
        reached = each_once(run.reached)
        if len(reached) < MIN_FOR_IMPORTANCE_FIGURE:
            enough = f"an importance of parameters would be noise below {MIN_FOR_IMPORTANCE_FIGURE}"
            raise NotDrawn(f"{plural(count, named)} {kept(run, count)}, {len(reached)} with a finished epoch; {enough}.")
        epoch, numbers = min(len(trial.rows) for trial in reached), {trial.number for trial in reached}
        study = optuna_study(run, lambda trial: trial.rows[epoch - 1].get(run.metric) if trial.number in numbers else None, baselines=False)
        few = f"only {count} {'is' if count == 1 else 'are'} {kept(run, count)}, and {epoch} is the last epoch that all of these reached"
        what = f"{run.metric} at epoch {epoch} of complete and pruned trials ({few})"
        count = len(reached)
    if len({trial.value for trial in study.trials if trial.state == TrialState.COMPLETE}) == 1:
        raise NotDrawn(f"{plural(count, 'trial')} have the same {run.metric}, so no parameter tells the better ones from the rest.")
    caption = f"PED-ANOVA on {plural(count, 'trial')}: what tells the best {TOP_SHARE:.0%} from the rest, measured by {what}. "
    return study, caption + ("With so few trials the order of the first ones is a hint, not a finding." if count < FEW else "")


def importances(study: optuna.Study) -> dict[str, float]:
    """Name -> share, the largest first. Raises NotDrawn where optuna cannot tell any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of experimental parts, and of ties: nothing that a reader of the screen can act on
        try:
            found = dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=TOP_SHARE)))
        except (ValueError, RuntimeError) as error:
            raise NotDrawn(f"The importance cannot be computed: {error}") from None
    if len(found) < 2:  # the shares are of one whole, so that of a single parameter is 1, whatever it does
        raise NotDrawn("An importance compares parameters, and this study searched only one.")
    return found
