"""Optuna's samplers and pruners by name: what a sweep file may say, and what is made of it."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

import optuna

from aae.errors import ConfigError, one_line, require

AUTO = "auto"
FIRST_EPOCH = 2  # from which on the pruner `auto` may stop a trial: aae/tuning/study/promise.py


class AutoSampler:
    """Stands for the sampler that fits the study: aae/tuning/study/trial_sampler.py."""

    def __init__(self, seed: int | None = None):
        self.seed = seed


class AutoPruner(optuna.pruners.NopPruner):
    """Stands for aae/tuning/study/promise.py, which the study asks. To Optuna, and to the forecast, it prunes nothing."""

    def __init__(self) -> None:
        pass


SAMPLERS = {AUTO: AutoSampler} | {kind.__name__: kind for kind in (optuna.samplers.TPESampler, optuna.samplers.RandomSampler)}
PRUNERS = {AUTO: AutoPruner} | {
    kind.__name__: kind
    for kind in (
        optuna.pruners.SuccessiveHalvingPruner,
        optuna.pruners.HyperbandPruner,
        optuna.pruners.MedianPruner,
        optuna.pruners.PercentilePruner,
        optuna.pruners.NopPruner,
    )
}
# Of a sampler's or pruner's numbers, where it is not 0. Optuna checks most pruners when they are made; Hyperband when it first prunes.
LEAST = {"n_ei_candidates": 1, "min_resource": 1, "max_resource": 1, "reduction_factor": 2}


def make_from_block(block: dict[str, Any], kinds: dict[str, Any], **extra: Any) -> Any:
    """An Optuna sampler or pruner from a block that `check_kind` has passed."""
    return kinds[block["kind"]](**({key: value for key, value in block.items() if key != "kind"} | extra))


def first_rung(pruner: dict[str, Any]) -> int:
    """The earliest epoch after which the pruner of this block, which is no NopPruner, may stop a trial."""
    kind = pruner["kind"]
    if kind == AUTO:
        return FIRST_EPOCH
    if kind in ("MedianPruner", "PercentilePruner"):
        return max(1, pruner.get("n_warmup_steps", 0))
    least: Any = pruner.get("min_resource", 1)
    waits = pruner.get("reduction_factor", 4) ** pruner.get("min_early_stopping_rate", 0)  # of successive halving alone
    return 1 if least == "auto" else int(least * waits)


def check_kind(path: str, block: dict[str, Any], kinds: dict[str, Any]) -> None:
    """The kind is known and takes these arguments: names and types by its signature. Raises ConfigError."""
    arguments = {str(key): value for key, value in block.items()}
    kind = arguments.pop("kind", None)
    require(isinstance(kind, str) and kind in kinds, f"{path}.kind", kind, f"give one of {', '.join(kinds)}")
    plain = arguments_of(kinds[kind])
    for name, value in arguments.items():
        require(name in plain, f"{path}.{name}", "an unknown argument", f"{kind} takes {', '.join(plain) or 'none'}")
        fits = type(value) in plain[name] or (float in plain[name] and type(value) is int)
        require(fits, f"{path}.{name}", repr(value), f"give {' or '.join(getattr(k, '__name__', str(k)) for k in plain[name])}")
        least = LEAST.get(name, 0)
        require(not isinstance(value, int | float) or value >= least, f"{path}.{name}", value, f"give at least {least}")
    try:
        make_from_block(block, kinds)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {kind} refuses {arguments}: {one_line(error)}") from None


def arguments_of(kind: Any) -> dict[str, tuple[type, ...]]:
    """The arguments of a sampler or pruner that a YAML file can hold, with the plain types that each takes."""
    signature = inspect.signature(kind.__init__, eval_str=False)
    hints = typing.get_type_hints(kind.__init__, vars(optuna) | vars(typing) | vars(inspect.getmodule(kind)))
    return {name: plain_types(hints.get(name)) for name in signature.parameters if plain_types(hints.get(name))}


def plain_types(hint: Any) -> tuple[type, ...]:
    """The plain types that a hint allows; none for callables and other things that a YAML file cannot hold."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    plain = tuple(option for option in options if option in (int, float, str, bool, type(None)))
    return plain if plain != (type(None),) else ()
