"""The one truth of a sweep: an Optuna study in a journal file that only the driver writes.

It holds every trial with its parameters, values and state. Ray places and runs; what a worker leaves in its folder is told to
the study, and where the two differ after a kill, `reconcile` makes them agree before anything is handed out again.

A verdict takes several journal writes: the value, the pruner's marks, the state. A kill may fall between any two of them, and a
pruner that finds its own mark answers differently. So the pruner's marks are caught, the verdict is written first with the
marks in it, and a restart reads the verdict back instead of asking again. To go on without a mark is no verdict to keep: after a
kill the pruner is asked again, and may stop a trial by what was told meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from optuna.pruners import NopPruner
from optuna.trial import FrozenTrial, Trial, TrialState

from aae import checkpoint
from aae.config import ConfigError, TrialConfig
from aae.paths import flatten
from aae.runs import BASELINE, CODE, DRAWS, PARENT, REASON, VERDICT, Attempt, Row, TrialFolder, trial_folder, write_atomically
from aae.tuning.spec.samplers_and_pruners import AUTO, PRUNERS, make_from_block
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.choice import compute_choice, write_choice
from aae.tuning.study.ended_trial import close_trial
from aae.tuning.study.expected_improvement import STARTUP_COMPLETE
from aae.tuning.study.gain import ENDED, promised, still_ended
from aae.tuning.study.journal import open_study
from aae.tuning.study.learning import read_others
from aae.tuning.study.optuna_private import PruningView
from aae.tuning.study.optuna_views import is_baseline
from aae.tuning.study.parents import begin_from_parent
from aae.tuning.study.posterior import Posterior, read_posterior
from aae.tuning.study.promise import is_hopeless
from aae.tuning.study.rungs import correlation_with_end, foretells, whole_trials
from aae.tuning.study.trial_sampler import TrialSampler


def code_numbers(trial: FrozenTrial) -> list[int]:
    """Which code trained a trial, as manifest.made_by counts; more than one where it was changed on the way."""
    return list(trial.user_attrs.get(CODE, [0]))


@dataclass
class Handout:
    """A trial on its way to a worker."""

    number: int
    config: TrialConfig
    folder: TrialFolder
    attempt: Attempt
    first_epoch: int  # epochs done before this attempt
    last_epoch: int = 0  # that this attempt reported


class SweepStudy:
    """Asks, tells, prunes and reconciles. All of its methods are the driver's."""

    def __init__(self, run: Path, sweep: Sweep):
        self.run, self.sweep, self.metric = run, sweep, sweep.study.metric
        self.study, self.storage = open_study(run, sweep.study.name)
        self.study_id = self.storage.get_study_id_from_name(self.study.study_name)
        # Not the study's: Optuna would show a sampler the trials of one Hyperband bracket alone, and after a restart those of all.
        self.pruner = make_from_block(sweep.study.pruner, PRUNERS)
        self.study.pruner = NopPruner()
        self.fitted: tuple[int, Posterior | None] = (-1, None)  # to so many told trials
        self.code_number = 0  # of the code that trains what is handed out now
        self.unfinished: list[int] = []  # handed out before anything new is asked

    # ---- reading ----

    @cached_property
    def others(self) -> list[list[FrozenTrial]]:
        """Told trials of other studies, for the sampler alone."""
        return read_others(self.sweep)

    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def trial(self, number: int) -> FrozenTrial:
        return self.trials()[number]

    def handle(self, number: int) -> Trial:
        """The trial for suggesting."""
        self.study.sampler = TrialSampler(self.sweep, number, self.others)
        return Trial(self.study, self.id_of(number))

    def id_of(self, number: int) -> int:
        """A trial's name in the storage, which takes what `Trial` and `Study` have no public method for."""
        trial_id: int = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        return trial_id

    @property
    def all_told(self) -> bool:
        trials = self.trials()
        return self.all_asked and all(trial.state.is_finished() for trial in trials)

    @property
    def all_asked(self) -> bool:
        return len(self.trials()) >= self.num_trials

    @property
    def ended(self) -> dict[str, Any] | None:
        """{"below", "expected", "trials"}: why no more is asked although study.num_trials allows it."""
        mark: dict[str, Any] | None = self.study.user_attrs.get(ENDED)
        return mark if still_ended(mark, self.sweep.study.stop_below_gain, len(self.trials())) else None

    @property
    def num_trials(self) -> int:
        """How many it asks in all: those already asked, where a later command asks for fewer or the study has ended early."""
        asked = len(self.trials())
        return asked if self.ended is not None else max(self.sweep.study.num_trials, asked)

    # ---- handing out ----

    def next(self) -> Handout | None:
        """The next trial for a worker: unfinished ones first, then a new one; None when there is nothing to hand out now."""
        while True:
            if self.unfinished:
                number = self.unfinished.pop(0)
            elif not self.all_asked:
                number = self.ask()
            else:
                return None
            handout = self.hand_out(number)
            if handout is not None:
                return handout

    def ask(self) -> int:
        number = len(self.trials())
        self.study.sampler = TrialSampler(self.sweep, number, self.others)
        return self.study.ask().number

    def values(self, number: int) -> dict[str, Any]:
        """A trial's values under dotted paths; sampled, or a baseline's. What a kill left unsampled is sampled now."""
        names = list(self.sweep.baselines)
        if number >= len(names):
            held = self.sweep.space.held(self.trial(number).params)
            return held if held is not None else self.sweep.space.suggest(self.handle(number))
        values, trial_id = self.sweep.baselines[names[number]], self.id_of(number)
        if not is_baseline(self.trial(number)):
            self.storage.set_trial_user_attr(trial_id, BASELINE, {"name": names[number], "values": values})
        for path, value in self.inside_space(values).items():  # stored with its parameters: the sampler learns from it
            if path not in self.trial(number).params:
                distribution = self.sweep.space.entries[path].distribution
                self.storage.set_trial_param(trial_id, path, distribution.to_internal_repr(value), distribution)
        return values

    def inside_space(self, values: dict[str, Any]) -> dict[str, Any]:
        """A baseline as parameters of the space, as Optuna stores them; none when it differs from the fixed part in anything else."""
        parent = {path: value for path, value in values.items() if path == PARENT}
        flat, fixed = flatten(self.sweep.config(values)), flatten(self.sweep.config(parent))
        params = self.sweep.space.params_of(flat | parent)
        if params is None:
            return {}
        # `...`: it is not there, as where a block is on in one of the two alone; None is a value
        elsewhere = any(value != fixed.get(path, ...) for path, value in flat.items() if path not in params)
        return {} if elsewhere else params

    def hand_out(self, number: int) -> Handout | None:
        """Makes the attempt's folder and brings the study up to it; None when that already ends the trial."""
        folder = trial_folder(self.run, number)
        values = self.values(number)
        try:
            config = self.sweep.config(values)
        except ConfigError as error:
            self.tell(number, TrialState.FAIL, f"refused: {error}")
            return None
        text = OmegaConf.to_yaml(OmegaConf.structured(config))
        folder.path.mkdir(parents=True, exist_ok=True)
        if not folder.config_path.exists():
            write_atomically(folder.config_path, text)
        if self.sweep.fork is not None and folder.last_attempt() is None:
            begin_from_parent(self.sweep.fork, folder, values)
        attempt = folder.next_attempt()
        rows = attempt.rows()
        if self.catch_up(number, rows):
            return None
        made_by = code_numbers(self.trial(number)) if len(rows) > folder.fork.get("epoch", 0) else []
        if self.code_number not in made_by and self.code_number:
            self.storage.set_trial_user_attr(self.id_of(number), CODE, [*made_by, self.code_number])
        return Handout(number, config, folder, attempt, len(rows))

    # ---- telling ----

    def report(self, number: int, row: Row) -> bool:
        """Tells an epoch's value. True: the pruner's verdict is to stop, and the trial is told PRUNED already."""
        epoch, value = row["epoch"], row[self.metric]
        assert math.isfinite(value), f"trial {number} reports {value}"  # a pruner answers True for NaN
        trial = self.trial(number)
        if trial.state.is_finished():
            return True
        if epoch in trial.intermediate_values:  # trained again from an older checkpoint: `catch_up` has judged it
            return False
        if epoch == self.sweep.epochs and f"{self.metric}_draws" in row:  # they tell the noise of their mean
            self.storage.set_trial_user_attr(self.id_of(number), DRAWS, row[f"{self.metric}_draws"])
        self.storage.set_trial_intermediate_value(self.id_of(number), epoch, value)
        return self.ask_pruner(number, epoch)

    def posterior(self) -> Posterior | None:
        """Of this study's told trials alone, for the pruner; fitted once for as many."""
        trials = self.trials()
        told = sum(trial.state.is_finished() for trial in trials)
        if told != self.fitted[0]:
            self.fitted = told, read_posterior(trials, self.sweep.space, STARTUP_COMPLETE)
        return self.fitted[1]

    def ask_pruner(self, number: int, epoch: int) -> bool:
        trial = self.trial(number)
        if is_baseline(trial) or epoch > self.sweep.last_rung:
            return False
        verdict = trial.user_attrs.get(VERDICT)
        if verdict is None or verdict["epoch"] != epoch:
            view = PruningView(self.study, is_baseline)
            by_promise = self.sweep.study.pruner["kind"] == AUTO
            stop = is_hopeless(self.posterior(), trial, epoch) if by_promise else bool(self.pruner.prune(view, trial))
            left_out = list((verdict or {}).get("left_out", []))
            if stop and not by_promise and not foretells(correlation_with_end(whole_trials(self.trials()), epoch)):
                stop, left_out = False, [*left_out, epoch]
            verdict = {"epoch": epoch, "stop": stop, "marks": view.marks, "left_out": left_out}
            if stop or view.marks or epoch in left_out:
                self.storage.set_trial_user_attr(self.id_of(number), VERDICT, verdict)
        for key, value in verdict["marks"].items():
            if key not in trial.system_attrs:
                self.storage.set_trial_system_attr(self.id_of(number), key, value)
        if verdict["stop"]:
            self.tell(number, TrialState.PRUNED, f"pruned at epoch {epoch}")
        return bool(verdict["stop"])

    def tell(self, number: int, state: TrialState, reason: str | None = None) -> None:
        """Ends a trial. A trial that is told already stays as it is."""
        trial = self.trial(number)
        if trial.state.is_finished():
            return
        value = trial.intermediate_values.get(trial.last_step) if trial.last_step is not None else None
        if state == TrialState.COMPLETE and value is None:
            state, reason = TrialState.FAIL, "it ended without a finished epoch"
        self.constrain(number)
        if reason != trial.user_attrs.get(REASON):  # one that is there already is of an end that a kill did not let happen
            self.storage.set_trial_user_attr(self.id_of(number), REASON, reason)
        self.study.sampler = TrialSampler(self.sweep, number)
        self.study.tell(number, value if state == TrialState.COMPLETE else None, state)
        close_trial(self.run, self.trial(number))
        self.choose()

    def constrain(self, number: int) -> None:
        """How far a trial's last epoch lies above the study's constraint; above 0 breaks it."""
        constraint, rows = self.sweep.study.constraint, trial_folder(self.run, number).rows()
        if constraint is not None and rows and not self.trial(number).constraints:
            self.handle(number).set_constraint(constraint["metric"], rows[-1][constraint["metric"]] - constraint["upper"])

    def catch_up(self, number: int, rows: list[Row]) -> bool:
        """Tells the study the epochs of an attempt that it lacks, with the verdict after each. True when the trial has ended."""
        told = self.trial(number).last_step
        if told is not None and self.ask_pruner(number, told):  # a kill may have come before its verdict
            return True
        for row in rows:
            if self.report(number, row):
                return True
        attempt = trial_folder(self.run, number).last_attempt()
        # The row comes before the checkpoint: without that the last epoch is trained again, for its weights.
        if rows and attempt is not None and rows[-1]["epoch"] == checkpoint.epoch(attempt.checkpoint_path) == self.sweep.epochs:
            self.tell(number, TrialState.COMPLETE)
            return True
        return False

    def choose(self) -> None:
        """Writes which trial is the best, as the study is now. Where the next ones promise less than they must, the study ends."""
        choice, limit, asked = compute_choice(self.sweep, self.trials()), self.sweep.study.stop_below_gain, len(self.trials())
        expected = promised(choice["gain"])
        if limit is not None and expected is not None and expected < limit and asked < self.sweep.study.num_trials and not self.ended:
            self.study.set_user_attr(ENDED, {"below": limit, "expected": expected, "trials": asked})
        write_choice(self.run, choice | {"ended": self.ended})

    # ---- after a kill ----

    def reconcile(self) -> dict[str, int]:
        """Makes the study and the folders agree before anything is handed out. Returns counts of what was done."""
        counts = {"told": 0, "ended": 0, "going on": 0}
        folders = [(trial, trial_folder(self.run, trial.number)) for trial in self.trials()]
        left = [(trial, folder) for trial, folder in folders if not (trial.state.is_finished() and folder.result_path.exists())]
        for trial, rows in [(trial, folder.rows()) for trial, folder in left]:  # all read first: a broken file leaves the study as it was
            if trial.state.is_finished():
                close_trial(self.run, trial)
                continue
            counts["told"] += len([row for row in rows if row["epoch"] not in trial.intermediate_values])
            if self.catch_up(trial.number, rows):
                counts["ended"] += 1
            else:
                counts["going on"] += 1
                self.unfinished.append(trial.number)
        self.choose()
        return counts
