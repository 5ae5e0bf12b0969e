"""The `study:` block: its fields, their checks, and a sweep file with command-line overrides as one checked `Sweep`."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aae.config import ConfigError, TrialConfig, flatten, require
from aae.data import Dataset
from aae.errors import one_line
from aae.layers import baseline_values, read_sweep, set_paths, to_trial
from aae.runs import PARENT
from aae.schedules import drop_epoch
from aae.train import refuse_unfit
from aae.tuning.draws import ConfirmConfig, check_confirm, read_confirm
from aae.tuning.fork import Fork, check_fork, find_fork, read_fork, under
from aae.tuning.goal import CONSTRAINTS, METRICS, check_constraint
from aae.tuning.kinds import PRUNERS, SAMPLERS, check_kind
from aae.tuning.space import SearchSpace, read_space

# What may change between two invocations of one study: nothing that any trial depends on.
CHANGEABLE = ("num_trials", "max_minutes", "max_disk_gb", "max_concurrent", "resources_per_trial", "confirm", "folder")


@dataclass(frozen=True)
class StudyConfig:
    name: str = ""
    folder: str = "runs"  # on a cluster: storage that every node sees
    metric: str = "val/error"
    direction: Literal["minimize", "maximize"] = "minimize"
    constraint: Any = None  # or {metric: val/prior_mismatch, upper: 0.2}: a trial that ends above is worse than any that does not
    num_trials: int = 20  # every trial ever asked: baselines and failures count
    draws_per_trial: int = 1  # a trial is so many trainings, of the label seeds from 0 on, and its value their mean
    max_minutes: float | None = None  # per invocation, to the end of its last attempt
    max_disk_gb: float | None = None  # of the run folder, in 10^9 bytes; checkpoints of losers go first
    max_concurrent: int | None = None  # a cap, for machines shared with others
    sampler: dict[str, Any] = field(default_factory=lambda: {"kind": "TPESampler", "seed": 0})
    pruner: dict[str, Any] = field(default_factory=lambda: {"kind": "NopPruner"})
    resources_per_trial: Any = "auto"  # one core, or {cpu: 2}, {gpu: 0.25}
    fork: Any = None  # or {run: runs/OTHER, top_k: 3, epoch: 30}: trials go on from another study's best, aae/tuning/fork.py
    confirm: Any = None  # or {select_k: 3, select_draws: 3, report_draws: 10, baseline: NAME}: aae/tuning/draws.py

    def __post_init__(self) -> None:
        require(
            re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.name) is not None and ".." not in self.name,
            "study.name",
            repr(self.name),
            "give a folder name of letters, digits, _ - and .",
        )
        require("://" not in self.folder, "study.folder", self.folder, "give a folder on a file system that every node sees, such as NFS")
        require(bool(self.folder.strip()), "study.folder", repr(self.folder), "give a folder")
        weighted = (
            "a weighted loss is lowest at weight 0; " if self.metric.split("/")[0] in ("reconstruction", "generator", "total") else ""
        )
        alone = "lowest where the codes give the prior up; " if self.metric in CONSTRAINTS else weighted
        require(self.metric in METRICS, "study.metric", self.metric, f"{alone}the metrics of a study are {', '.join(METRICS)}")
        require(self.direction == "minimize", "study.direction", self.direction, f"{self.metric} is better when lower: write minimize")
        require(self.num_trials >= 1, "study.num_trials", self.num_trials, "give at least 1")
        want = "give 1 to 100: the search's label seeds are 0 to 99"
        require(1 <= self.draws_per_trial <= 100, "study.draws_per_trial", self.draws_per_trial, want)
        for name in ("max_minutes", "max_disk_gb", "max_concurrent"):
            value = getattr(self, name)
            want = "give a positive finite number, or null for no limit"
            require(value is None or (value > 0 and math.isfinite(value)), f"study.{name}", value, want)
        read_confirm(self.confirm)
        read_fork(self.fork)
        check_constraint(self.constraint, self.metric, self.pruner)
        check_resources(self.resources_per_trial)
        check_kind("study.sampler", self.sampler, SAMPLERS)
        check_kind("study.pruner", self.pruner, PRUNERS)

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.name

    @property
    def confirmation(self) -> ConfirmConfig | None:
        return read_confirm(self.confirm)


def check_resources(value: Any) -> None:
    if value == "auto":
        return
    path, want = "study.resources_per_trial", "write auto, or a block such as {cpu: 1} or {cpu: 1, gpu: 0.25}"
    require(isinstance(value, dict) and bool(value), path, value, want)
    for key, amount in value.items():
        ok = key in ("cpu", "gpu") and isinstance(amount, int | float) and not isinstance(amount, bool) and 0 <= amount < 1e4
        require(ok, f"{path}.{key}", amount, want)
    require(value.get("cpu", 0) + value.get("gpu", 0) > 0, path, value, "a trial needs something to run on")


@dataclass(frozen=True)
class Sweep:
    """A checked sweep: nothing in it can be refused any more once Ray has started."""

    study: StudyConfig
    trial: DictConfig  # the fixed part, before sampled values
    overrides: dict[str, Any]  # of the command line; they win over sampled values and baselines
    space: SearchSpace
    baselines: dict[str, dict[str, Any]]
    source: str
    fork: Fork | None
    notes: tuple[str, ...]  # what the user should know: paths taken out, entries dropped, a pruner that cannot act

    def config(self, values: dict[str, Any]) -> TrialConfig:
        """A trial's configuration: fixed part, these values, command line. Raises ConfigError."""
        trial, rest = under(self.fork, self.trial, values)
        config = to_trial(set_paths(set_paths(trial, rest, ""), self.overrides, ""))
        if self.fork is not None:
            self.fork.refuse_early(config, self.fork.parent(values))
        return config

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
        than those before it, whatever they are worth at the end. The last epoch itself is never asked."""
        return min(self.earliest_drop, self.epochs - 1)

    @property
    def earliest_drop(self) -> int:
        schedule = self.fixed.optim.schedule
        kinds = self.space.values_of("optim.schedule.kind") or [schedule.kind]
        if kinds == ["constant"]:
            return self.epochs
        lowest = self.space.lowest("optim.schedule.drop_at")
        units = self.space.values_of("optim.schedule.unit") or [schedule.unit]
        return min(drop_epoch(schedule.drop_at if lowest is None else lowest, unit, self.epochs) for unit in units)

    def fingerprint(self) -> dict[str, Any]:
        """What every trial of the study depends on, as plain data; equal for a study that may be gone on with."""
        study = {
            item: getattr(self.study, item)
            for item in ("name", "metric", "direction", "constraint", "sampler", "pruner")
            if item not in CHANGEABLE
        }
        if self.study.fork is not None:
            study["fork"] = self.study.fork
        return {
            "study": study | {"baselines": list(self.baselines)},  # their order: trial numbers stand for them
            "trial": flatten(self.fixed),
            "baselines": self.baselines,
            "search_space": self.space.to_yaml(),
        }


def load_sweep(path: str | Path, overrides: dict[str, Any], run: Path | None = None) -> Sweep:
    """Reads and checks a sweep file and the command line. `run`: the study's folder, where it is not the one that the file names.
    Raises ConfigError."""
    raw = read_sweep(path)
    study = load_study(raw.study, {key[6:]: value for key, value in overrides.items() if key.startswith("study.")}, str(path))
    fixed = {key: value for key, value in overrides.items() if not key.startswith("study.")}
    trial, asked = raw.trial, read_fork(study.fork)
    fork = None if asked is None else find_fork(asked, run or study.path)
    to_trial(under(fork, trial, {})[0], f"{path}: trial.")
    trial = with_draws(trial, to_trial(set_paths(under(fork, trial, {})[0], fixed, "")), study.draws_per_trial)
    base = set_paths(under(fork, trial, {})[0], fixed, "")
    to_trial(base)
    space, notes = read_space(raw.search_space, base, set(fixed), str(path))
    if fork is not None:
        space = SearchSpace({PARENT: fork.entry} | space.entries)
    baselines = {}
    for name in map(str, raw.baselines):
        baselines[name] = ({PARENT: fork.parents[0].trial} if fork is not None else {}) | baseline_values(raw, name)
        start, values = under(fork, trial, baselines[name])
        to_trial(set_paths(set_paths(start, values, f"baselines.{name}."), fixed, ""), f"{path}: baselines.{name}: ")
    sweep = Sweep(study, trial, fixed, space, baselines, str(path), fork, tuple(notes))
    check_together(sweep)
    return replace(sweep, notes=(*notes, *(fork.notes if fork is not None else ()), *pruner_notes(sweep)))


def with_draws(trial: DictConfig, config: TrialConfig, num: int) -> DictConfig:
    """The fixed part with the study's number of draws in it. Raises ConfigError where the rest of the configuration forbids it."""
    data, path = config.data, "study.draws_per_trial"
    require(data.num_draws in (1, num), path, num, f"data.num_draws is {data.num_draws}: leave that out, this says how many")
    if num == 1:
        return trial
    want = f"draws differ in the labels that they draw, and with data.num_labels={data.num_labels} they draw none: give labels, or 1"
    require(data.num_labels > 0, path, num, want)
    want = f"its label seeds are 0 to {num - 1}, and data.label_seed is {data.label_seed}: leave that out"
    require(data.label_seed == 0, path, num, want)
    return set_paths(trial, {"data.num_draws": num}, "")


def refuse_unfit_sweep(sweep: Sweep, dataset: Dataset) -> None:
    """What only the data can tell, for the fixed part, every baseline and both ends of what is searched. Raises DataError."""
    paths = ("train.batch_size", "train.labelled_batch_size", "model.num_classes")
    ends = [{path: end} for path in paths for end in sweep.space.ends(path)]
    for values in [{}, *sweep.baselines.values(), *ends]:
        refuse_unfit(sweep.config(values), dataset)


def load_study(block: DictConfig, overrides: dict[str, Any], source: str) -> StudyConfig:
    layered = OmegaConf.merge(block)
    try:
        for key, value in overrides.items():
            OmegaConf.update(layered, key, value, merge=False, force_add=True)
        raw: Any = OmegaConf.to_container(layered)
        # Blocks of their own, never merged with the arguments of a default.
        blocks = {key: raw.pop(key) for key in ("constraint", "sampler", "pruner", "resources_per_trial", "confirm", "fork") if key in raw}
        for key in ("sampler", "pruner"):
            require(isinstance(blocks.get(key, {}), dict), f"study.{key}", blocks.get(key), "give a block, as {kind: NopPruner}")
        plain = OmegaConf.merge(OmegaConf.structured(StudyConfig(name="unnamed")), {"name": ""}, raw)
        values = {str(key): value for key, value in OmegaConf.to_container(plain).items()}  # type: ignore[union-attr]
        return StudyConfig(**(values | blocks))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"{source}: study.{one_line(error)}") from None


def check_together(sweep: Sweep) -> None:
    """What no block can see alone."""
    if not sweep.space.entries and not sweep.baselines:
        raise ConfigError(f"{sweep.source}: search_space and baselines are both empty; give something to try (aae.train trains one alone)")
    check_fork(sweep)
    has_it, want = METRICS[sweep.study.metric]
    everything: dict[str, dict[str, Any]] = {"": {}} | sweep.baselines
    for name, values in everything.items():
        require(has_it(sweep.config(values)), "study.metric", sweep.study.metric + (f" with the baseline {name}" if name else ""), want)
    if sweep.study.pruner["kind"] != "NopPruner":
        for path in ("train.batch_size", "train.labelled_batch_size"):
            require(
                path not in sweep.space.entries,
                f"search_space.{path}",
                "searched under a pruner",
                "rungs compare equal epochs of equal batches: set it in trial:, or use the NopPruner",
            )
    for path, rate in (
        ("objective.reconstruction.weight", "optim.reconstruction.rate"),
        ("objective.classification.weight", "optim.classification.rate"),
    ):
        both = path in sweep.space.entries and rate in sweep.space.entries
        require(not both, f"search_space.{path}", f"searched together with {rate}", "they are one knob: search one of them")
    check_confirm(sweep)


def pruner_notes(sweep: Sweep) -> list[str]:
    pruner = sweep.study.pruner
    first = pruner.get("min_resource", 1) if pruner["kind"] in ("SuccessiveHalvingPruner", "HyperbandPruner") else 1
    if pruner["kind"] == "NopPruner" or first == "auto" or first <= sweep.last_rung:
        return []
    return [
        f"the pruner never acts: its first rung is epoch {first}, after the last one it is asked at ({sweep.last_rung} of {sweep.epochs})"
    ]


def digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
