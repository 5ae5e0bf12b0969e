"""The `study:` block of a sweep file, and the two blocks in it that are classes of their own: `confirm:` and `fork:`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aae.config import ConfigError, require
from aae.errors import one_line
from aae.layers import around
from aae.tuning.spec.learnt import check_learn_from
from aae.tuning.spec.metrics import CONSTRAINTS, METRICS, check_constraint
from aae.tuning.spec.samplers_and_pruners import PRUNERS, SAMPLERS, check_kind

SEARCH, SELECTION, REPORT = range(100), range(100, 200), range(200, 300)  # pools of seeds: what chose is never drawn again
# Never merged with the arguments of a default.
BLOCKS = ("constraint", "sampler", "pruner", "resources_per_trial", "confirm", "fork", "learn_from")


@dataclass(frozen=True)
class StudyConfig:
    name: str = ""
    folder: str = "runs"  # on a cluster: storage that every node sees
    metric: str = "val/error"
    direction: Literal["minimize", "maximize"] = "minimize"
    constraint: Any = None  # or {metric: val/prior_mismatch, upper: 0.2}: a trial that ends above is worse than any that does not
    num_trials: int = 20  # every trial ever asked: baselines and failures count
    draws_per_trial: int = 1  # a trial is so many trainings, of label seeds (else initialisation seeds) from 0 on; its value their mean
    max_minutes: float | None = None  # per invocation, to the end of its last attempt
    max_disk_gb: float | None = None  # of the run folder, in 10^9 bytes; checkpoints of losers go first
    stop_below_gain: float | None = None  # in units of the metric: the search ends where its next ten trials promise less
    max_concurrent: int | None = None  # a cap, for machines shared with others
    sampler: dict[str, Any] = field(default_factory=lambda: {"kind": "auto", "seed": 0})
    pruner: dict[str, Any] = field(default_factory=lambda: {"kind": "NopPruner"})
    resources_per_trial: Any = "auto"  # one core, or {cpu: 2}, {gpu: 0.25}
    fork: Any = None  # or {run: runs/OTHER, top_k: 3, epoch: 30}: trials go on from another study's best, aae/tuning/spec/fork.py
    learn_from: Any = None  # or [runs/OTHER, ...]: the sampler sees their told trials too, aae/tuning/spec/learnt.py
    confirm: Any = None  # or {select_k: 3, select_draws: 3, report_draws: 10, baseline: NAME}: aae/tuning/confirm/plan.py

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
        for name in ("max_minutes", "max_disk_gb", "max_concurrent", "stop_below_gain"):
            value = getattr(self, name)
            want = "give a positive finite number, or null for no limit"
            require(value is None or (value > 0 and math.isfinite(value)), f"study.{name}", value, want)
        check_stop(self.stop_below_gain, self.sampler, self.constraint)
        read_confirm_block(self.confirm)
        read_fork_block(self.fork)
        check_learn_from(self.learn_from, self.sampler, self.fork)
        check_constraint(self.constraint, self.metric, self.pruner)
        check_resources(self.resources_per_trial)
        check_kind("study.sampler", self.sampler, SAMPLERS)
        check_kind("study.pruner", self.pruner, PRUNERS)

    @property
    def path(self) -> Path:
        return Path(self.folder).expanduser() / self.name

    @property
    def confirmation(self) -> ConfirmConfig | None:
        return read_confirm_block(self.confirm)

    @property
    def forked(self) -> ForkConfig | None:
        return read_fork_block(self.fork)


def check_stop(gain: float | None, sampler: dict[str, Any], constraint: Any) -> None:
    """What the next trials promise must be foretold for it."""
    path, random = "study.stop_below_gain", sampler.get("kind") == "RandomSampler"
    require(gain is None or not random, path, gain, "a random search is not foretold: use the sampler auto or TPESampler, or null")
    require(gain is None or constraint is None, path, gain, "a study with a constraint is not foretold: write null")


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
class ConfirmConfig:
    select_k: int = 3  # of the searched configurations, the best; the baselines come on top
    select_draws: int = 3  # of each candidate, from pool 100-199
    report_draws: int | None = None  # of the winner and the baseline, from pool 200-299; fixed before the first
    half_width: float | None = None  # or so many that the 95 % interval of the difference is this narrow, in units of the metric
    baseline: str | None = None  # what the winner is compared with; null: reported alone

    def __post_init__(self) -> None:
        path, pool = "study.confirm", len(SELECTION)
        for name, low in {"select_k": 0, "select_draws": 1, "report_draws": 1}.items():
            value, high = getattr(self, name), math.inf if name == "select_k" else pool
            ok = (value is None and name == "report_draws") or (type(value) is int and low <= value <= high)
            require(ok, f"{path}.{name}", value, f"give a whole number, {low} or more" if high > pool else f"give {low} to {pool} draws")
        ok = self.half_width is None or (type(self.half_width) in (int, float) and 0 < self.half_width < math.inf)
        require(ok, f"{path}.half_width", self.half_width, "give a positive number in units of the metric, as 0.001 for 0.1 points")
        require(self.baseline is None or isinstance(self.baseline, str), f"{path}.baseline", self.baseline, "name a baseline of this sweep")
        if self.report_draws is not None and self.half_width is not None:
            require(False, path, "report_draws and half_width", "one follows from the other: give one of them")
        neither = self.report_draws is None and self.half_width is None
        require(not neither, path, "neither report_draws nor half_width", "say how many draws the report takes, as report_draws: 10")
        enough = self.half_width is None or self.select_draws >= 2
        require(enough, f"{path}.select_draws", self.select_draws, "half_width is computed from the spread over draws: give at least 2")


def read_confirm_block(block: Any) -> ConfirmConfig | None:
    """Raises ConfigError."""
    if block is None:
        return None
    names = ", ".join(ConfirmConfig.__dataclass_fields__)
    require(isinstance(block, dict), "study.confirm", block, "give a block, as {select_k: 3, select_draws: 3, report_draws: 10}, or null")
    for key in block:
        require(key in ConfirmConfig.__dataclass_fields__, f"study.confirm.{key}", "an unknown key", f"its keys are {names}")
    return ConfirmConfig(**block)


@dataclass(frozen=True)
class ForkConfig:
    run: str  # the other study's folder
    top_k: int  # of its complete trials, the best
    epoch: int  # of their checkpoints that train.keep_epochs kept

    def __post_init__(self) -> None:
        require(
            isinstance(self.run, str) and bool(self.run), "study.fork.run", self.run, "name the other study's folder, as runs/semi_rates"
        )
        for name in ("top_k", "epoch"):
            value = getattr(self, name)
            require(type(value) is int and value >= 1, f"study.fork.{name}", value, "give a whole number of at least 1")


def read_fork_block(block: Any) -> ForkConfig | None:
    """Raises ConfigError."""
    if block is None:
        return None
    want = "give a block, as {run: runs/semi_rates, top_k: 3, epoch: 30}, or null"
    require(isinstance(block, dict) and set(block) == set(ForkConfig.__dataclass_fields__), "study.fork", block, want)
    return ForkConfig(**block)


def read_study_block(block: DictConfig, overrides: dict[str, Any], source: str) -> StudyConfig:
    """`overrides`: of the command line, those of study. under their names in it. Raises ConfigError."""
    layered = OmegaConf.merge(block)
    try:
        for key, value in overrides.items():
            for outer in around(key):
                whole = not OmegaConf.is_list(OmegaConf.select(layered, outer))
                require(whole, f"study.{key}", value, f"study.{outer} is a list: write it as a whole")
            OmegaConf.update(layered, key, value, merge=False, force_add=True)
        raw: Any = OmegaConf.to_container(layered)
        blocks = {key: raw.pop(key) for key in BLOCKS if key in raw}
        for key in ("sampler", "pruner"):
            require(isinstance(blocks.get(key, {}), dict), f"study.{key}", blocks.get(key), "give a block, as {kind: NopPruner}")
        plain = OmegaConf.merge(OmegaConf.structured(StudyConfig(name="unnamed")), {"name": ""}, raw)
        values = {str(key): value for key, value in OmegaConf.to_container(plain).items()}  # type: ignore[union-attr]
        return StudyConfig(**(values | blocks))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"{source}: study.{one_line(error)}") from None


def refuse_without_block(path: str) -> None:
    """A field of `study:` or `study.confirm:` that the command line names alone. Raises ConfigError."""
    for block, known in (("study", StudyConfig), ("study.confirm", ConfirmConfig)):
        if path in known.__dataclass_fields__:
            raise ConfigError(f"{path}: there is no such path; did you mean {block}.{path}?")
