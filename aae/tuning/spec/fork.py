"""A study whose trials go on from another's best: `study.fork: {run: runs/semi_rates, top_k: 3, epoch: 30}`.

The parent, one of that study's best trials, is a parameter of the search: `fork.parent`. A trial has its parent's configuration,
labels, rows and weights up to that epoch, and a schedule of its own from there; it may also begin the consistency term at another epoch,
or end the balance of mutual information, if neither trial does so before the fork. Nothing else may differ, so a training from epoch 0
with the trial's configuration comes out the same to the bit: `reproduce` and `confirm` train so.

Here is what a sweep must know of its parents. Their study and checkpoints are read by aae/tuning/study/parents.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution

from aae.config import TrialConfig
from aae.errors import require
from aae.layers import to_trial
from aae.paths import flatten
from aae.runs import PARENT
from aae.schedules import drop_epoch
from aae.tuning.spec.space import Entry

SCHEDULE = "optim.schedule."
CHANGES = (
    "objective.consistency.from_epoch",
    "objective.mutual_information.until_epoch",
)  # when a term becomes another; null: never
FREE = ("train.epochs", "train.keep_epochs", "train.checkpoint_every", "train.sample_every", "data.folder")  # change no epoch's numbers


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
            theirs = parent.values.get(path, "that block on" if value is None else "that block off")
            same = path in FREE or path.startswith(SCHEDULE) or value == theirs
            later = path in CHANGES and path in parent.values and all(at is None or at >= self.epoch for at in (value, theirs))
            has = f"trial {parent.trial} of {self.run} has {theirs}"
            require(same or later, path, value, f"{has}, and it acts before the fork at epoch {self.epoch}: leave it out")
        require(
            config.train.epochs > self.epoch, "train.epochs", config.train.epochs, f"the fork starts after epoch {self.epoch}: give more"
        )
        drop = first_drop(config)
        want = f"the rates drop after epoch {drop} of {config.train.epochs}, before the fork at epoch {self.epoch}: drop later"
        require(drop >= self.epoch, f"{SCHEDULE}drop_at", config.optim.schedule.drop_at, want)


def first_drop(config: TrialConfig) -> int | float:
    """After which epoch the rates leave their full height; infinite: never."""
    schedule = config.optim.schedule
    return float("inf") if schedule.kind == "constant" else drop_epoch(schedule.drop_at, schedule.unit, config.train.epochs)
