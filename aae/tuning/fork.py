"""Trials that go on from another study's: `study.fork: {run: runs/semi_rates, top_k: 3, epoch: 30}`.

The parent, one of that study's best, is a parameter of the search: `fork.parent`. A trial has its parent's configuration, labels,
rows and weights up to that epoch, and a schedule of its own from there. Nothing else may differ, so a training from epoch 0 with the
trial's configuration comes out the same to the bit: `reproduce` and `confirm` train so.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution

from aae import checkpoint, manifest
from aae.config import TrialConfig, flatten
from aae.errors import ConfigError, require
from aae.layers import to_trial
from aae.runs import PARENT, TrialFolder, read_manifest, trial_folder, write_atomically, write_json
from aae.schedules import drop_epoch
from aae.tuning.journal import open_study
from aae.tuning.space import Entry
from aae.tuning.views import best_first

if TYPE_CHECKING:
    from aae.tuning.config import Sweep

SCHEDULE = "optim.schedule."
FREE = ("train.epochs", "train.keep_epochs", "train.checkpoint_every", "train.sample_every", "data.folder")  # change no epoch's numbers


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


def read_fork(block: Any) -> ForkConfig | None:
    """Raises ConfigError."""
    if block is None:
        return None
    want = "give a block, as {run: runs/semi_rates, top_k: 3, epoch: 30}, or null"
    require(isinstance(block, dict) and set(block) == set(ForkConfig.__dataclass_fields__), "study.fork", block, want)
    return ForkConfig(**block)


@dataclass(frozen=True)
class Parent:
    trial: int  # its number in the other study
    value: float
    checkpoint: str  # SHA-256
    config: dict[str, Any]  # all of it, in blocks

    @cached_property
    def values(self) -> dict[str, Any]:
        """The same under dotted paths."""
        return flatten(to_trial(OmegaConf.create(self.config)))


@dataclass(frozen=True)
class Fork:
    """What a study was forked from. It is in its manifest, and stays when the other study goes on."""

    run: str
    id: str  # of the other study
    epoch: int
    parents: tuple[Parent, ...]  # the best first
    data: dict[str, str]  # file -> SHA-256, of the other study
    notes: tuple[str, ...]

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Fork:
        return cls(**(stored | {"parents": tuple(Parent(**parent) for parent in stored["parents"]), "notes": tuple(stored["notes"])}))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def entry(self) -> Entry:
        return Entry(PARENT, CategoricalDistribution([parent.trial for parent in self.parents]), {})

    def parent(self, values: dict[str, Any]) -> Parent:
        """The one that these values name; else the best. Raises ConfigError."""
        number = values.get(PARENT, self.parents[0].trial)
        found = [parent for parent in self.parents if parent.trial == number]
        known = ", ".join(str(parent.trial) for parent in self.parents)
        require(bool(found), PARENT, number, f"the parents of this study are trials {known} of {self.run}")
        return found[0]

    def refuse_early(self, config: TrialConfig, parent: Parent) -> None:
        """Raises ConfigError where the configuration differs from its parent's in anything that acts before the fork."""
        for path, value in flatten(config).items():
            same = path in FREE or path.startswith(SCHEDULE) or value == parent.values[path]
            theirs = f"trial {parent.trial} of {self.run} has {parent.values[path]}"
            require(same, path, value, f"{theirs}, and it acts before the fork at epoch {self.epoch}: leave it out")
        require(
            config.train.epochs > self.epoch, "train.epochs", config.train.epochs, f"the fork starts after epoch {self.epoch}: give more"
        )
        drop = first_drop(config)
        want = f"the rates drop after epoch {drop} of {config.train.epochs}, before the fork at epoch {self.epoch}: drop later"
        require(drop >= self.epoch, f"{SCHEDULE}drop_at", config.optim.schedule.drop_at, want)

    def saved(self, parent: Parent) -> Path:
        """Its checkpoint. Raises ConfigError where it is no longer that of the study's beginning."""
        attempt = trial_folder(self.run, parent.trial).last_attempt()
        path = Path(self.run) if attempt is None else attempt.kept_path(self.epoch)
        if not path.is_file() or digest(path) != parent.checkpoint:
            raise ConfigError(
                f"study.fork: the checkpoint of trial {parent.trial}, epoch {self.epoch}, is gone from {self.run}, or another"
            )
        return path

    def begin(self, folder: TrialFolder, values: dict[str, Any]) -> None:
        """Gives a trial its parent's labels, rows and checkpoint, and writes down whose they are. Raises ConfigError."""
        parent = self.parent(values)
        saved, theirs = self.saved(parent), trial_folder(self.run, parent.trial)
        if theirs.labels_path.exists():
            write_atomically(folder.labels_path, theirs.labels_path.read_bytes())
        write_json(folder.fork_path, {"run": self.run, "id": self.id, "epoch": self.epoch} | asdict(parent))
        folder.begin_from(saved, theirs.rows()[: self.epoch])


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_drop(config: TrialConfig) -> int | float:
    """After which epoch the rates leave their full height; infinite: never."""
    schedule = config.optim.schedule
    return float("inf") if schedule.kind == "constant" else drop_epoch(schedule.drop_at, schedule.unit, config.train.epochs)


def under(fork: Fork | None, trial: DictConfig, values: dict[str, Any]) -> tuple[DictConfig, dict[str, Any]]:
    """(the `trial:` block over the configuration of the parent that the values name, the other values)."""
    if fork is None:
        return trial, values
    merged: Any = OmegaConf.merge(OmegaConf.create(fork.parent(values).config), trial)
    return merged, {path: value for path, value in values.items() if path != PARENT}


def find_fork(asked: ForkConfig, run: Path) -> Fork:
    """As the study in `run` began with it; else from what the other study is now. Raises ConfigError."""
    made = read_manifest(run)
    if made is not None and made["sweep"]["study"].get("fork") == vars(asked):
        return Fork.read(made["fork"])
    other = Path(asked.run)
    made = read_manifest(other) if (other / "study.journal").is_file() else None
    require(made is not None, "study.fork.run", asked.run, "it holds no sweep; run the study to fork first, and give its folder")
    assert made is not None
    trials = open_study(other, "", create=False).get_trials(deepcopy=False)
    complete, num_left = best_first(trials), sum(not trial.state.is_finished() for trial in trials)
    want = f"{len(complete)} trials of {other} are complete: " + ("give at most that" if complete else "run it on")
    require(asked.top_k <= len(complete), "study.fork.top_k", asked.top_k, want)
    parents = tuple(read_parent(asked, trial.number, trial.value) for trial in complete[: asked.top_k])
    changed = manifest.training_changes(manifest.current(made), manifest.describe([], made["data"]))
    notes = [f"{other} was trained otherwise, so a training from epoch 0 may differ from a fork: {'; '.join(changed)}"] if changed else []
    notes += [f"{num_left} trials of {other} have not ended: the parents are the best of those that have"] if num_left else []
    return Fork(asked.run, made["id"], asked.epoch, parents, made["data"], tuple(notes))


def read_parent(asked: ForkConfig, number: int, value: float) -> Parent:
    """Raises ConfigError where a trial has no such checkpoint, or one that no schedule could share."""
    folder, path = trial_folder(asked.run, number), "study.fork.epoch"
    config, attempt = checkpoint.read_config(folder.path), folder.last_attempt()
    kept = sorted(int(saved.stem.partition("-")[2]) for saved in attempt.path.glob("checkpoint-*.pt")) if attempt else []
    there = f"checkpoints of epochs {', '.join(map(str, kept))}" if kept else "no checkpoint to fork"
    want = f"trial {number} of {asked.run} has kept {there}: a study keeps them by train.keep_epochs=[{asked.epoch}]"
    require(attempt is not None and asked.epoch in kept, path, asked.epoch, want)
    assert attempt is not None
    saved, drop = attempt.kept_path(asked.epoch), first_drop(config)
    require(checkpoint.epoch(saved) == asked.epoch, path, asked.epoch, f"{saved} is broken: restore it, or give another epoch")
    want = f"trial {number} of {asked.run} drops its rates after epoch {drop}, before that: give at most {drop}, or fork constant rates"
    require(drop >= asked.epoch, path, asked.epoch, want)
    blocks: Any = OmegaConf.to_container(OmegaConf.structured(config))
    return Parent(number, value, digest(saved), blocks | {"train": blocks["train"] | {"keep_epochs": []}})


def check_fork(sweep: Sweep) -> None:
    """What a fork asks of the rest of the sweep. Raises ConfigError."""
    fork = sweep.fork
    if fork is None:
        return
    kind = sweep.study.pruner["kind"]
    want = f"the trials of a parent are alike up to epoch {fork.epoch}, and a drop of the rates must be seen to its end: use the NopPruner"
    require(kind == "NopPruner", "study.pruner.kind", kind, want)
    for path in sweep.space.entries:
        want = f"it acts before epoch {fork.epoch}, where the trials are those of {fork.run}: search {SCHEDULE}*, and this in that study"
        require(path == PARENT or path.startswith(SCHEDULE), f"search_space.{path}", "searched", want)
    for parent in fork.parents:
        sweep.config({PARENT: parent.trial})
    for name, values in sweep.baselines.items():
        try:
            sweep.config(values)
        except ConfigError as error:
            raise ConfigError(f"baselines.{name}: {error}") from None
    drop, lowest = sweep.earliest_drop, sweep.space.lowest(f"{SCHEDULE}drop_at")
    path, got = ("", sweep.fixed.optim.schedule.drop_at) if lowest is None else ("search_space.", lowest)
    want = f"it counts over all {sweep.epochs} epochs, and the earliest drop, after epoch {drop}, is before the fork at epoch {fork.epoch}"
    require(drop >= fork.epoch, f"{path}{SCHEDULE}drop_at", got, want)


def refuse_other_past(sweep: Sweep, data: dict[str, str]) -> None:
    """Before a start: the data are the other study's, and its checkpoints are there as long as a trial will ask for one.
    Raises ConfigError."""
    fork = sweep.fork
    if fork is None:
        return
    require(data == fork.data, "data.folder", ", ".join(data), f"that is not what {fork.run} was trained on; restore it")
    if len(list(sweep.study.path.glob("trials/*/fork.json"))) < sweep.study.num_trials:
        for parent in fork.parents:
            fork.saved(parent)
