"""The told trials of other studies as points of this one's search space: what `study.learn_from` gives the sampler."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from aae.errors import ConfigError, require
from aae.inputs import read_trial
from aae.layers import to_trial
from aae.manifest import first_of
from aae.paths import every_path, flatten, with_later_paths
from aae.runs import JOURNAL, TrialFolder, read_manifest, trial_folder
from aae.tuning.spec.blocks import SEARCH
from aae.tuning.spec.fork import FREE
from aae.tuning.spec.learnt import Learnt
from aae.tuning.spec.space import SearchSpace, decode_choice
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.expected_improvement import STARTUP_COMPLETE
from aae.tuning.study.journal import read_trials
from aae.tuning.study.optuna_views import word_of
from aae.tuning.study.posterior import told_and_searched, without_copies
from aae.tuning.study.trial_sampler import why_tpe

PATH = "study.learn_from"
NOT_NAMED = {path for path in FREE if path != "train.epochs"} | {
    "train.seed",
    "data.label_seed",
}  # what differs in them is noise, or nothing


def with_learnt(sweep: Sweep, run: Path) -> Sweep:
    """The sweep with what it learns from: as the study in `run` began with it; else from what the other studies are now.
    Raises ConfigError."""
    asked = sweep.study.learn_from
    if asked is None:
        return sweep
    if sweep.study.confirmation is not None:
        for other in asked:
            refuse_reported_seeds(Path(other).expanduser())
    made = read_manifest(run)
    if made is not None and made["sweep"]["study"].get("learn_from") == asked:
        learnt = tuple(Learnt.read(stored) for stored in made["learnt"])
    else:
        why = "nothing is searched" if not sweep.space.entries else why_tpe(sweep)
        require(why is None, PATH, ", ".join(asked), f"{why}, so there is no Gaussian process that would learn: leave it out")
        learnt = tuple(read_learnt(sweep, Path(other).expanduser(), run) for other in asked)
        require(len({one.id for one in learnt}) == len(learnt), PATH, ", ".join(asked), "name each study once")
    return replace(sweep, learnt=learnt, notes=(*sweep.notes, *(one.note for one in learnt)))


def refuse_reported_seeds(other: Path) -> None:
    """Its trials steer this search, so they must not have seen the draws that its confirmation will select and report on.
    Raises ConfigError."""
    made = read_manifest(other) if (other / JOURNAL).is_file() else None
    want = "with study.confirm the seeds of what a search learns from are 0 to 99: leave that study out"
    for path in ("data.label_seed", "train.seed"):
        seed = 0 if made is None else made["sweep"]["trial"].get(path, 0)
        require(seed in SEARCH, PATH, f"{other}, whose {path} is {seed}", want)


def read_learnt(sweep: Sweep, other: Path, run: Path) -> Learnt:
    """Raises ConfigError where nothing can be learnt from that folder."""
    made = read_manifest(other) if (other / JOURNAL).is_file() else None
    require(made is not None, PATH, other, "it holds no sweep; give the folder of a study that has run, as runs/semi_rates")
    assert made is not None
    require(other.resolve() != run.resolve(), PATH, other, "that is this study itself: its own trials are seen anyway")
    metric = made["sweep"]["study"]["metric"]
    require(metric == sweep.study.metric, PATH, other, f"its metric is {metric} and this study's is {sweep.study.metric}: leave it out")
    told, _ = without_copies(told_and_searched(read_trials(other)))
    inside = trials_inside(sweep.space, other, made, told)
    complete = sum(trial.state == TrialState.COMPLETE for trial in inside)
    want = f"{complete} complete configurations of its {len(told)} told ones lie in this search space, and {STARTUP_COMPLETE} are needed"
    require(complete >= STARTUP_COMPLETE, PATH, other, f"{want}: widen the ranges, or leave it out")
    otherwise = fixed_otherwise(sweep, made)
    note = f"learns from {other}: {len(inside)} of its {len(told)} told configurations lie in this search space"
    note += f"; otherwise there: {first_of(otherwise)}" if otherwise else ""
    return Learnt(str(other), made["id"], tuple(trial.number for trial in inside), sha256_of(inside), note)


def read_others(sweep: Sweep) -> list[list[FrozenTrial]]:
    """The trials that the sampler sees of each other study: those that this study began with. Raises ConfigError where one is gone, or
    no longer tells what it did."""
    found = []
    for learnt in sweep.learnt:
        other = Path(learnt.run)
        made = read_manifest(other) if (other / JOURNAL).is_file() else None
        told = [] if made is None else [trial for trial in read_trials(other) if trial.number in learnt.trials]
        trials = [] if made is None else trials_inside(sweep.space, other, made, told_and_searched(told))
        if sha256_of(trials) != learnt.sha256:
            want = "restore it, or start a fresh study with study.name=other"
            raise ConfigError(f"{PATH}: {other} is gone, or its trials are not those that this study began with; {want}")
        found.append(trials)
    return found


def trials_inside(space: SearchSpace, other: Path, made: dict[str, Any], told: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those of the `told` trials of the study in `other`, its manifest `made`, that lie in this space, with its parameters. What was fixed
    there stands at its value, of a fork's trial what its parent had. Raises ConfigError."""
    fixed, found = with_later_paths(made["sweep"]["trial"]), []
    for trial in told:
        whole = own_values(trial_folder(other, trial.number)) if made.get("fork") else fixed
        params = space.params_of(whole | {path: decode_choice(value) for path, value in trial.params.items()})
        if params is not None:
            moved = copy.copy(trial)
            moved.params = params
            found.append(moved)
    return found


def own_values(folder: TrialFolder) -> dict[str, Any]:
    """All of a trial's configuration under dotted paths. Raises ConfigError."""
    return flatten(to_trial(read_trial(folder.config_path), f"{PATH}: {folder.config_path}: "))


def fixed_otherwise(sweep: Sweep, made: dict[str, Any]) -> list[str]:
    """The paths that this study does not search and that differ there, each with both values."""
    here, there, default = flatten(sweep.fixed), made["sweep"]["trial"], every_path()
    searched, found = made["sweep"]["search_space"], []
    for path in sorted(here.keys() | there.keys()):
        own, others = (values.get(path, default.get(path, "on")) for values in (here, there))  # a path may have come since
        if path in sweep.space.entries or path in NOT_NAMED:
            continue
        if path in searched:
            found.append(f"{path} searched, here {own}")
        elif others != own != "auto":  # what that comes to is found where trials run
            found.append(f"{path} {others}, here {own}")
    return found


def sha256_of(trials: list[FrozenTrial]) -> str:
    told = [[trial.number, word_of(trial), trial.params, sorted(trial.intermediate_values.items())] for trial in trials]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
