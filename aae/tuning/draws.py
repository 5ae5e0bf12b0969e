"""What a confirmation trains: the `study.confirm:` block, the candidates, and the draws that each stage takes from its own pool.

A draw is a label seed and, of the same number, an initialisation seed; where nothing is labelled, or everything, it is the
latter alone. The search may use 0-99, so what it chose by is never drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from aae.config import TrialConfig, require
from aae.intervals import draws_needed, spread
from aae.metrics import is_error

if TYPE_CHECKING:
    from aae.tuning.config import Sweep

NAME = "confirm"  # the folder in the run's, and the study in it
PLAN, WINNER = "plan", "winner"  # user attributes of that study
SEARCH, SELECTION, REPORT = range(100), range(100, 200), range(200, 300)


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


def read_confirm(block: Any) -> ConfirmConfig | None:
    """Raises ConfigError."""
    if block is None:
        return None
    names = ", ".join(ConfirmConfig.__dataclass_fields__)
    require(isinstance(block, dict), "study.confirm", block, "give a block, as {select_k: 3, select_draws: 3, report_draws: 10}, or null")
    for key in block:
        require(key in ConfirmConfig.__dataclass_fields__, f"study.confirm.{key}", "an unknown key", f"its keys are {names}")
    return ConfirmConfig(**block)


def check_confirm(sweep: Sweep) -> None:
    """What the block asks of the rest of the sweep. Raises ConfigError."""
    asked = sweep.study.confirmation
    if asked is None:
        return
    known = ", ".join(sweep.baselines) or "none"
    require(
        asked.baseline is None or asked.baseline in sweep.baselines, "study.confirm.baseline", asked.baseline, f"this sweep has {known}"
    )
    searched = sweep.study.num_trials - len(sweep.baselines)
    want = f"the search has {searched} trials beside its baselines (study.num_trials={sweep.study.num_trials})"
    require(asked.select_k <= searched, "study.confirm.select_k", asked.select_k, want)
    require(asked.select_k + len(sweep.baselines) >= 1, "study.confirm.select_k", 0, "there is no baseline either: give at least 1")
    for path, seed in (("data.label_seed", sweep.fixed.data.label_seed), ("train.seed", sweep.fixed.train.seed)):
        want = "with study.confirm the search's seeds are 0 to 99; 100-199 are for selection, 200-299 for the report"
        require(seed in SEARCH, path, seed, want)


@dataclass(frozen=True)
class Candidate:
    name: str
    trial: int  # its number in the search
    baseline: str | None
    value: float | None  # in the search
    config: dict[str, Any]  # all of it, in blocks


@dataclass(frozen=True)
class Plan:
    """What a confirmation was begun with. It is in its study, and never changes."""

    asked: dict[str, Any]  # the block
    candidates: list[Candidate]
    compared: list[int]  # every trial that was complete in the search
    asked_trials: int  # of the search, pruned and failed ones too
    num_classes: int

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Plan:
        return cls(**(stored | {"candidates": [Candidate(**candidate) for candidate in stored["candidates"]]}))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def draw_is_label_seed(self) -> bool:
        return seed_path(self.candidates[0].config) == "data.label_seed"

    @property
    def settings(self) -> ConfirmConfig:
        return ConfirmConfig(**self.asked)

    @property
    def selection(self) -> list[tuple[Candidate, int]]:
        """A draw after the other, each for all candidates."""
        return [(candidate, seed) for seed in SELECTION[: self.settings.select_draws] for candidate in self.candidates]

    def reported(self, winner: dict[str, Any]) -> list[Candidate]:
        """The winner and, where it is another one, the named baseline."""
        named = [c for c in self.candidates if c.baseline is not None and c.baseline == self.settings.baseline]
        first = self.candidates[winner["candidate"]]
        return [first, *(candidate for candidate in named if candidate != first)]

    def report(self, winner: dict[str, Any]) -> list[tuple[Candidate, int]]:
        return [(candidate, seed) for seed in REPORT[: winner["report_draws"]] for candidate in self.reported(winner)]


def blocks_of(config: TrialConfig) -> dict[str, Any]:
    container: dict[str, Any] = OmegaConf.to_container(OmegaConf.structured(config))  # type: ignore[assignment]
    return container


def seed_path(config: dict[str, Any]) -> str:
    return "data.label_seed" if config["data"]["num_labels"] > 0 else "train.seed"


def drawn(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """The configuration on a draw."""
    labels = {"label_seed": seed, "num_draws": 1} if seed_path(config) == "data.label_seed" else {}
    return config | {"data": config["data"] | labels, "train": config["train"] | {"seed": seed, "keep_epochs": []}}


def value_of(trial: FrozenTrial, metric: str, num_classes: int) -> float | None:
    """A training's value. A collapse counts as it is, a divergence with its last finite value, and an error without any as that of
    guessing. None: it failed, or it has none."""
    if trial.state == TrialState.FAIL:
        return None
    if trial.last_step is not None:
        return trial.intermediate_values[trial.last_step]
    return guessing(metric, num_classes)


def guessing(metric: str, num_classes: int) -> float | None:
    return 1 - 1 / num_classes if is_error(metric) else None


def choose(plan: Plan, trials: Sequence[FrozenTrial], metric: str) -> dict[str, Any] | None:
    """The winner's record: the candidate with the lowest mean over the selection's draws, among those that keep the study's
    constraint on average; and the number of draws of the report. None where no candidate has all of its values."""
    of = [[trials[n] for n, (other, _) in enumerate(plan.selection) if other == candidate] for candidate in plan.candidates]
    values = [[value_of(trial, metric, plan.num_classes) for trial in row] for row in of]
    broken = [max(0.0, float(np.mean([sum(trial.constraints.values()) for trial in row]))) for row in of]
    whole = {index: [v for v in row if v is not None] for index, row in enumerate(values) if None not in row}
    if not whole:
        return None
    best = min(whole, key=lambda index: (broken[index], float(np.mean(whole[index])), index))
    record = {"candidate": best, "name": plan.candidates[best].name, metric: values, "report_draws": plan.settings.report_draws}
    if plan.settings.half_width is not None:
        paired = len(plan.reported(record)) > 1 and len(whole) > 1
        std = spread(np.array(list(whole.values())), paired)
        num, expected = draws_needed(std, plan.settings.half_width, len(REPORT))
        record |= {"report_draws": num, "spread": std, "paired": paired, "expected_half_width": expected}
    return record
