"""A sweep file and a command line, composed once into a checked `Sweep`.

defaults of aae/config.py  <-  a fork's parent  <-  `trial:`  <-  sampled values, or a baseline's  <-  key=value on the command line

The command line always wins, so it is put into the fixed part and into each baseline here, and what it sets is not searched.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aae.config import TrialConfig, require
from aae.data import DataError, Dataset
from aae.draws import draws_labels, refuse_unfit, seeds_of
from aae.layers import UNSAID, around, baseline_values, configure, said, set_paths, to_trial
from aae.paths import flatten
from aae.runs import PARENT
from aae.schedules import drop_epoch
from aae.tuning.spec.blocks import REPORT, SELECTION, ConfirmConfig, StudyConfig, read_study_block, refuse_without_block
from aae.tuning.spec.fork import CHANGES, Fork
from aae.tuning.spec.learnt import Learnt
from aae.tuning.spec.space import SearchSpace
from aae.tuning.spec.space_reader import read_space
from aae.tuning.spec.whole_checks import check_together, copies_notes, pruner_notes


@dataclass(frozen=True)
class Sweep:
    """A checked sweep: nothing in it can be refused any more once Ray has started."""

    study: StudyConfig
    trial: DictConfig  # the fixed part, before sampled values, with the command line in it
    space: SearchSpace
    baselines: dict[str, dict[str, Any]]  # each with what the command line says of its paths
    source: str
    fork: Fork | None
    notes: tuple[str, ...]  # what the user should know: paths taken out, entries dropped, a pruner that cannot act
    learnt: tuple[Learnt, ...] = ()  # of other studies

    def config(self, values: dict[str, Any]) -> TrialConfig:
        """A trial's configuration: the fixed part and these values. Raises ConfigError."""
        own = {path: value for path, value in values.items() if path != PARENT}
        config = configure(self.base(values), own, "")
        if self.fork is not None:
            self.fork.refuse_early(config, self.fork.parent(values))
        return config

    def base(self, values: dict[str, Any]) -> DictConfig:
        """The fixed part; of a fork over the configuration of the parent that the values name."""
        if self.fork is None:
            return self.trial
        return self._over_parents[self.fork.parent(values).trial]

    @cached_property
    def _over_parents(self) -> dict[int, DictConfig]:
        assert self.fork is not None
        return {parent.trial: over_parent(parent.config, self.trial) for parent in self.fork.parents}

    @cached_property
    def fixed(self) -> TrialConfig:
        """The configuration without any sampled value."""
        return self.config({})

    @property
    def epochs(self) -> int:
        return self.fixed.train.epochs

    @property
    def own_epochs(self) -> int:
        """Those that a trial trains itself."""
        return self.epochs - (self.fork.epoch if self.fork is not None else 0)

    @cached_property
    def last_rung(self) -> int:
        """The pruner is asked up to this epoch: the earliest drop that the space allows, for trials after a drop look better
        than those before it, whatever they are worth at the end; so do trials whose consistency term has begun, or whose mutual
        information has another balance. The last epoch itself is never asked."""
        return min(self.earliest_drop, self.earliest_change, self.epochs - 1)

    @property
    def earliest_change(self) -> int:
        """After which epoch a term changes in some trials and not in others: where that is fixed, they all change at once."""
        fixed, epochs = flatten(self.fixed), [self.epochs]
        for path in CHANGES:
            entry = self.space.entries.get(path)
            if entry is not None:
                epochs += [end for end in (*entry.ends(), *([fixed[path]] if entry.when else [])) if end is not None]
        return min(epochs)

    @property
    def earliest_drop(self) -> int:
        schedule, path = self.fixed.optim.schedule, "optim.schedule.kind"
        entry, by_kind = self.space.entries.get("optim.schedule.drop_at"), self.space.entries.get(path)
        in_some = by_kind is not None and bool(by_kind.when)  # only some trials search the kind; the others have the fixed one
        drops: list[float] = []
        for kind in self.space.possible(path, schedule.kind):
            if kind == "constant":
                continue
            when = {path: [kind]} if entry is None else {path: [kind]} | entry.when
            if entry is not None and kind in when[path]:
                drops += entry.ends()
            of_fixed_kind = in_some and kind == schedule.kind and entry is not None and path in entry.when
            if entry is None or kind not in when[path] or len(when) > 1 or of_fixed_kind:  # where no drop is sampled it is the fixed one
                drops.append(schedule.drop_at)
        units = self.space.possible("optim.schedule.unit", schedule.unit)
        return min((drop_epoch(drop, unit, self.epochs) for drop in drops for unit in units), default=self.epochs)

    def with_precision(self, precision: str) -> Sweep:
        """The sweep with nothing left to the machine: what `train.precision: auto` is in this study."""
        path = "train.precision"
        baselines = {name: values | {path: precision} if values.get(path) == "auto" else values for name, values in self.baselines.items()}
        trial = set_paths(self.trial, {path: precision}, "") if self.fixed.train.precision == "auto" else self.trial
        return replace(self, trial=trial, baselines=baselines)

    def fingerprint(self) -> dict[str, Any]:
        """What every trial of the study depends on, as plain data; equal for a study that may be gone on with. The rest of the
        `study:` block may change between two invocations."""
        study = {item: getattr(self.study, item) for item in ("name", "metric", "direction", "constraint", "sampler", "pruner")}
        study |= {item: getattr(self.study, item) for item in ("fork", "learn_from") if getattr(self.study, item) is not None}
        return {
            "study": study | {"baselines": list(self.baselines)},  # their order: trial numbers stand for them
            "trial": flatten(self.fixed),
            "baselines": self.baselines,
            "search_space": self.space.to_yaml(),
        }

    def to_blocks(self) -> dict[str, Any]:
        """The sweep as a file that runs again: study, fixed part with the command line in it, baselines, space."""
        # Of a fork only what is its own: the rest is the parent's.
        trial = self.trial if self.fork is not None else OmegaConf.structured(self.fixed)
        return {
            "study": {key: value for key, value in vars(self.study).items() if value is not None},
            "baselines": self.baselines,
            "trial": OmegaConf.to_container(trial),
            "search_space": {path: entry for path, entry in self.space.to_yaml().items() if path != PARENT},
        }

    def to_yaml(self) -> str:
        return OmegaConf.to_yaml(OmegaConf.create(self.to_blocks(), flags={"allow_objects": True}))


def read_study_of(file: DictConfig, overrides: Mapping[str, Any], source: str) -> StudyConfig:
    """The `study:` block with the command line over it. Raises ConfigError."""
    require("study" not in overrides, "study", overrides.get("study"), "set one of its fields, as study.num_trials=40")
    asked = {path.removeprefix("study."): value for path, value in overrides.items() if path.startswith("study.")}
    return read_study_block(file.study, asked, source)


def compose_sweep(file: DictConfig, overrides: Mapping[str, Any], fork: Fork | None, source: str) -> Sweep:
    """`file`: its blocks, as aae.inputs.read_sweep gives them. `fork`: what `study.fork` names, read by aae/tuning/study/parents.py.
    Raises ConfigError."""
    study, typed = (
        read_study_of(file, overrides, source),
        {path: value for path, value in overrides.items() if not path.startswith("study.")},
    )

    for path in typed:
        refuse_without_block(path)

    def over_best(trial: DictConfig) -> DictConfig:
        return trial if fork is None else over_parent(fork.parents[0].config, trial)

    to_trial(over_best(file.trial), f"{source}: trial.")  # the file alone first: its own errors name it
    trial = with_draws(file.trial, configure(over_best(file.trial), typed, ""), study.draws_per_trial, fork)
    if fork is None:
        trial = set_paths(trial, typed, "")
    else:  # a block that is off here may be on in the parent: checked above, over the best
        trial = copy.deepcopy(trial)
        for path, value in typed.items():
            OmegaConf.update(trial, path, value, merge=True, force_add=True)
    space, notes = read_space(file.search_space, over_best(trial), set(typed), source)
    if fork is not None:
        space = SearchSpace({PARENT: fork.entry} | space.entries)
    sweep = Sweep(study, trial, space, {}, source, fork, tuple(notes))
    baselines = {name: read_baseline(file, name, typed, sweep) for name in map(str, file.baselines)}
    sweep = replace(sweep, baselines=baselines)
    check_together(sweep)
    return replace(sweep, notes=(*notes, *(fork.notes if fork is not None else ()), *copies_notes(sweep), *pruner_notes(sweep)))


def over_parent(parent: dict[str, Any], trial: DictConfig) -> DictConfig:
    merged: Any = OmegaConf.merge(OmegaConf.create(parent), trial)
    return merged


def read_baseline(file: DictConfig, name: str, typed: Mapping[str, Any], sweep: Sweep) -> dict[str, Any]:
    """A baseline's values with the command line over them. Raises ConfigError where they make no configuration."""
    best = {} if sweep.fork is None else {PARENT: sweep.fork.parents[0].trial}
    values = best | overridden(baseline_values(file, name), typed)
    own = {path: value for path, value in values.items() if path != PARENT or sweep.fork is None}
    configure(sweep.base(values), own, f"baselines.{name}.", f"{sweep.source}: baselines.{name}: ")
    return values


def overridden(values: dict[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Values under dotted paths, and over them what `typed` says of the same paths, of blocks around them or of parts of them. A block
    that is off stays off, unless `typed` turns it on: a part of it is meant for the other configurations."""
    kept, won = dict(values), dict[str, Any]()
    for path, value in typed.items():
        outer = any(f"{own}.".startswith(f"{path}.") for own in values)
        off = any(said(values, block) is None and said(typed, block) in (None, UNSAID) for block in around(path))
        if not outer and (off or not any(path.startswith(f"{own}.") for own in values)):
            continue
        before = kept.pop(path, None)
        for own in [own for own in kept if own.startswith(f"{path}.")]:
            # A block that is turned off takes with it what the baseline sets in it, and one that is turned on what it turns off.
            if value is None or (kept[own] is None and said(typed, own) is not UNSAID):
                del kept[own]
        blocks = isinstance(before, dict) and isinstance(value, dict)
        won[path] = OmegaConf.to_container(OmegaConf.merge(before, value)) if blocks else value
    return kept | won


def with_draws(trial: DictConfig, config: TrialConfig, num: int, fork: Fork | None) -> DictConfig:
    """The fixed part with the study's number of draws in it. Raises ConfigError where the rest of the configuration forbids it."""
    data, path = config.data, "study.draws_per_trial"
    if fork is not None:
        theirs = fork.parents[0].values["data.num_draws"]
        require(num == theirs, path, num, f"the trials that it goes on from have {theirs}: write that")
    require(data.num_draws in (1, num), path, num, f"data.num_draws is {data.num_draws}: leave that out, this says how many")
    if num == 1:
        return trial
    kind, own = ("label", "data.label_seed") if draws_labels(config) else ("initialisation", "train.seed")
    first = seeds_of(config).start
    require(first == 0, path, num, f"its {kind} seeds are 0 to {num - 1}, and {own} is {first}: leave that out")
    return set_paths(trial, {"data.num_draws": num}, "")


def refuse_unfit_sweep(sweep: Sweep, dataset: Dataset) -> None:
    """What only the data can tell, for the fixed part, every baseline and both ends of what is searched. Raises DataError."""
    paths = ["train.batch_size", "train.labelled_batch_size", "train.shift", "model.num_classes", "model.class_source"]
    paths += ["objective.adversarial_y.prior.kind"]
    ends = [values for path in paths if path in sweep.space.entries for values in sweep.space.with_ends(sweep.space.entries[path])]
    for values in [{}, *sweep.baselines.values(), *ends]:
        refuse_unfit(sweep.config(values), dataset)
        refuse_unfit_draws(sweep.config(values), sweep.study.confirmation, dataset)


def refuse_unfit_draws(config: TrialConfig, asked: ConfirmConfig | None, dataset: Dataset) -> None:
    """The same of the draws that a confirmation takes: one that cannot be trained would leave it without a winner, or the report a draw
    short. Raises DataError."""
    if asked is None or config.data.num_labels <= 0:
        return
    for pool, num in ((SELECTION, asked.select_draws), (REPORT, asked.report_draws or len(REPORT))):
        try:
            refuse_unfit(replace(config, data=replace(config.data, label_seed=pool[0], num_draws=num)), dataset)
        except DataError as error:
            raise DataError(f"study.confirm: of the label seeds {pool[0]} to {pool[num - 1]} one does not fit; {error}") from None
