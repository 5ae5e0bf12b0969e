"""What no block of a sweep can see alone: checks of a composed `Sweep`, and notes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aae.config import ConfigError, require
from aae.runs import PARENT
from aae.tuning.spec.blocks import SEARCH
from aae.tuning.spec.fork import CHANGES, SCHEDULE
from aae.tuning.spec.metrics import METRICS
from aae.tuning.spec.samplers_and_pruners import first_rung

if TYPE_CHECKING:
    from aae.tuning.spec.sweep import Sweep

TERMS = {  # phase -> the terms that may be in it
    "reconstruction": ("reconstruction", "head_separation"),
    "generator": ("adversarial_z", "adversarial_y"),
    "classification": ("classification", "consistency", "mutual_information"),
}


def check_together(sweep: Sweep) -> None:
    """What no block can see alone."""
    if not sweep.space.entries and not sweep.baselines:
        what = "; ".join(sweep.notes) or "search_space is empty"
        raise ConfigError(f"{sweep.source}: {what}, and there are no baselines; give something to try (aae.train trains one alone)")
    check_fork(sweep)
    check_confirm(sweep)
    has_it, want = METRICS[sweep.study.metric]
    everything: dict[str, dict[str, Any]] = {"": {}} | sweep.baselines
    for name, values in everything.items():
        require(has_it(sweep.config(values)), "study.metric", sweep.study.metric + (f" with the baseline {name}" if name else ""), want)
    for path, entry in sweep.space.entries.items():
        for values in sweep.space.with_ends(entry):
            got = f"{values[path]}, which has no {sweep.study.metric}"
            require(has_it(sweep.config(values)), f"search_space.{path}", got, f"{want}, or leave this value out")
    if sweep.study.pruner["kind"] != "NopPruner":
        for path in ("train.batch_size", "train.labelled_batch_size", "train.learnt_labelled_batch_size"):
            require(
                path not in sweep.space.entries,
                f"search_space.{path}",
                "searched under a pruner",
                "rungs compare equal epochs of equal batches: set it in trial:, or use the NopPruner",
            )
    for phase, names in TERMS.items():  # a term alone in its phase: its weight and the rate are one knob
        terms = [name for name in names if getattr(sweep.fixed.objective, name) is not None]
        for path in [f"objective.{name}.weight" for name in terms if len(terms) == 1]:
            rate = f"optim.{phase}.rate"
            both = path in sweep.space.entries and rate in sweep.space.entries
            require(not both, f"search_space.{path}", f"searched together with {rate}", "they are one knob: search one of them")


def check_fork(sweep: Sweep) -> None:
    """What a fork asks of the rest of the sweep. Raises ConfigError."""
    fork = sweep.fork
    if fork is None:
        return
    kind = sweep.study.pruner["kind"]
    want = f"the trials of a parent are alike up to epoch {fork.epoch}, and a drop of the rates must be seen to its end: use the NopPruner"
    require(kind == "NopPruner", "study.pruner.kind", kind, want)
    for path in sweep.space.entries:
        want = f"it acts before epoch {fork.epoch}, where the trials are those of {fork.run}: search {SCHEDULE}*, {' or '.join(CHANGES)}"
        require(path in (PARENT, *CHANGES) or path.startswith(SCHEDULE), f"search_space.{path}", "searched", want)
    for parent in fork.parents:
        sweep.config({PARENT: parent.trial})
        for change in ({path: at} for path in CHANGES for at in sweep.space.ends(path)):
            try:
                sweep.config({PARENT: parent.trial} | change)
            except ConfigError as error:
                raise ConfigError(f"search_space.{error}") from None
    for name, values in sweep.baselines.items():
        try:
            sweep.config(values)
        except ConfigError as error:
            raise ConfigError(f"baselines.{name}: {error}") from None
    drop, lowest = sweep.earliest_drop, sweep.space.lowest(f"{SCHEDULE}drop_at")
    path, got = ("", sweep.fixed.optim.schedule.drop_at) if lowest is None else ("search_space.", lowest)
    want = f"it counts over all {sweep.epochs} epochs, and the earliest drop, after epoch {drop}, is before the fork at epoch {fork.epoch}"
    require(drop >= fork.epoch, f"{path}{SCHEDULE}drop_at", got, want)


def check_confirm(sweep: Sweep) -> None:
    """What the block asks of the rest of the sweep. Raises ConfigError."""
    asked = sweep.study.confirmation
    if asked is None:
        return
    known = ", ".join(sweep.baselines) or "none"
    require(
        asked.baseline is None or asked.baseline in sweep.baselines, "study.confirm.baseline", asked.baseline, f"this sweep has {known}"
    )
    searched = max(0, sweep.study.num_trials - len(sweep.baselines))
    want = f"the search has {searched} trials beside its baselines (study.num_trials={sweep.study.num_trials})"
    require(asked.select_k <= searched, "study.confirm.select_k", asked.select_k, want)
    require(asked.select_k + len(sweep.baselines) >= 1, "study.confirm.select_k", 0, "there is no baseline either: give at least 1")
    for path, seed in (("data.label_seed", sweep.fixed.data.label_seed), ("train.seed", sweep.fixed.train.seed)):
        want = "with study.confirm the search's seeds are 0 to 99; 100-199 are for selection, 200-299 for the report"
        require(seed in SEARCH, path, seed, want)


def copies_notes(sweep: Sweep) -> list[str]:
    """Without a search space every trial after the baselines is the fixed part, with the same seeds."""
    num, enough = sweep.study.num_trials, len(sweep.baselines) + 1
    if sweep.space.entries or num <= enough:
        return []
    return [
        f"nothing is searched: trials {enough - 1} to {num - 1} are one training again and again; study.num_trials={enough} has it once"
    ]


def pruner_notes(sweep: Sweep) -> list[str]:
    pruner, first = sweep.study.pruner, first_rung(sweep.study.pruner)
    if pruner["kind"] == "NopPruner" or first <= sweep.last_rung:
        return []
    return [
        f"the pruner never acts: its first rung is epoch {first}, after the last one it is asked at ({sweep.last_rung} of {sweep.epochs})"
    ]
