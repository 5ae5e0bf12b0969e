"""What a confirmation trains: the candidates, and the draws that each stage takes from its own pool.

A draw is a label seed and, of the same number, an initialisation seed; where nothing is labelled, or everything, it is the
latter alone. The search may use 0-99, so what it chose by is never drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from aae.config import TrialConfig
from aae.intervals import draws_needed, spread
from aae.runs import CONFIRM, JOURNAL
from aae.tuning.spec.blocks import REPORT, SELECTION, ConfirmConfig
from aae.tuning.spec.metrics import guessing
from aae.tuning.study.journal import read_study

PLAN, WINNER = "plan", "winner"  # user attributes of that study


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
    selects: bool = True  # one candidate alone is the winner, without a training

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
    def selection_trainings(self) -> list[tuple[Candidate, int]]:
        """A draw after the other, each for all candidates."""
        if not self.selects:
            return []
        return [(candidate, seed) for seed in SELECTION[: self.settings.select_draws] for candidate in self.candidates]

    def reported(self, winner: dict[str, Any]) -> list[Candidate]:
        """The winner and, where it is another one, the named baseline."""
        named = [c for c in self.candidates if c.baseline is not None and c.baseline == self.settings.baseline]
        first = self.candidates[winner["candidate"]]
        return [first, *(candidate for candidate in named if candidate != first)]

    def report_trainings(self, winner: dict[str, Any]) -> list[tuple[Candidate, int]]:
        return [(candidate, seed) for seed in REPORT[: winner["report_draws"]] for candidate in self.reported(winner)]


def begun_confirmation(run: Path) -> optuna.Study | None:
    """The confirmation's study of a run folder; None before its first whole write."""
    journal = run / CONFIRM / JOURNAL
    if not journal.is_file() or b"\n" not in journal.read_bytes():
        return None
    return read_study(run / CONFIRM)


def standing_of(run: Path) -> dict[str, Any] | None:
    """How far the confirmation of a run has come; None before it has begun."""
    own = begun_confirmation(run)
    if own is None:
        return None
    told = sum(trial.state.is_finished() for trial in own.get_trials(deepcopy=False))
    winner = own.user_attrs.get(WINNER)
    stage = "done" if (run / CONFIRM / "report.json").is_file() else "report" if winner else "selection"
    return {"stage": stage, "trainings_told": told, "winner": winner["name"] if winner else None}


def blocks_of(config: TrialConfig) -> dict[str, Any]:
    container: dict[str, Any] = OmegaConf.to_container(OmegaConf.structured(config))  # type: ignore[assignment]
    return container


def seed_path(config: dict[str, Any]) -> str:
    return "data.label_seed" if config["data"]["num_labels"] > 0 else "train.seed"


def on_draw(config: dict[str, Any], seed: int) -> dict[str, Any]:
    """The configuration on a draw. A checkpoint an epoch: the report scores a training that diverges with its last finite weights."""
    labels = {"num_draws": 1} | ({"label_seed": seed} if seed_path(config) == "data.label_seed" else {})
    train = config["train"] | {"seed": seed, "keep_epochs": [], "checkpoint_every": "1"}
    return config | {"data": config["data"] | labels, "train": train}


def value_of(trial: FrozenTrial, metric: str, num_classes: int) -> float | None:
    """A training's value. A collapse counts as it is, a divergence with its last finite value, and an error without any as that of
    guessing. None: it failed, or it has none."""
    if trial.state == TrialState.FAIL:
        return None
    if trial.last_step is not None:
        return trial.intermediate_values[trial.last_step]
    return guessing(metric, num_classes)


def only_candidate(plan: Plan, metric: str) -> dict[str, Any]:
    """The winner's record where nothing is selected."""
    return {"candidate": 0, "name": plan.candidates[0].name, metric: [[]], "report_draws": plan.settings.report_draws}


def choose(plan: Plan, trials: Sequence[FrozenTrial], metric: str) -> dict[str, Any] | None:
    """The winner's record: the candidate with the lowest mean over the selection's draws, among those that keep the study's
    constraint on average; and the number of draws of the report. None where no candidate has all of its values."""
    of = [[trials[n] for n, (other, _) in enumerate(plan.selection_trainings) if other == candidate] for candidate in plan.candidates]
    constrained = any(trial.constraints for row in of for trial in row)

    def value(trial: FrozenTrial) -> float | None:
        """None too where it is unknown whether the constraint held: it diverged before any epoch ended."""
        return None if constrained and not trial.constraints else value_of(trial, metric, plan.num_classes)

    values = [[value(trial) for trial in row] for row in of]
    broken = [max(0.0, float(np.mean([sum(trial.constraints.values()) for trial in row]))) for row in of]
    whole = {index: [v for v in row if v is not None] for index, row in enumerate(values) if None not in row}
    if not whole:
        return None
    best = min(whole, key=lambda index: (broken[index], float(np.mean(whole[index])), index))
    record = {"candidate": best, "name": plan.candidates[best].name, metric: values, "report_draws": plan.settings.report_draws}
    record |= {"excess": broken} if any(broken) else {}
    if plan.settings.half_width is not None:
        paired = len(plan.reported(record)) > 1 and len(whole) > 1
        std = spread(np.array(list(whole.values())), paired)
        num, expected = draws_needed(std, plan.settings.half_width, len(REPORT))
        record |= {"report_draws": num, "spread": std, "paired": paired, "expected_half_width": expected}
    return record
