"""A few steps of a few configurations, before the first trial: what would fail is found in seconds, and what it costs is measured.

Every baseline and a few sampled configurations train in the workers that trials will have, as many at a time as trials will be: so the
clock sees what they cost each other. A trial in the same process sets all that it depends on itself, and takes its randomness from its
own generators.
"""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from omegaconf import OmegaConf
from rich.console import Console

from aae import checkpoint, samples
from aae.config import ConfigError, TrialConfig
from aae.data import DataError, load_configured
from aae.device import choose_device, repeatable, resolve, steady_memory
from aae.draws import Draw, prepare, state_dict
from aae.errors import Diverged, one_line, out_of_memory
from aae.layers import configure
from aae.paths import flatten
from aae.runs import GB, PARENT, read_manifest
from aae.schedules import rate_multiplier
from aae.train import measure, train_epoch
from aae.tuning.spec.sweep import Sweep
from aae.tuning.workers.pool import Workers

NUM_EXAMPLES = 3  # sampled configurations, those that --plan prints
NUM_SAMPLED = 32  # that are composed, and not trained: a part of a tenth of the space is missed once in 29 sweeps
MAX_STEPS, ENOUGH_S = 10, 0.5  # after the first two: so many steps, or so long, are timed
MAX_BLAMED = 20  # paths that are tried for one that cures a failure


@dataclass(frozen=True)
class Case:
    name: str
    values: dict[str, Any]  # under dotted paths, over the fixed part


@dataclass(frozen=True)
class Cost:
    """Of one training, measured."""

    epoch_s: float  # training, evaluation and checkpoint
    start_s: float  # data, weights
    checkpoint_bytes: int  # whole, while it trains
    kept_bytes: int  # what is left of it in the end
    gpu_bytes: int  # at most, 0 without a GPU
    gpu_total_bytes: int = 0  # of the GPU that it ran on
    not_drawn: str | None = None  # why it has no pictures


@dataclass(frozen=True)
class Failure:
    what: str
    diverged: bool = False
    names_path: bool = False  # it says itself what to change


def cases_of(sweep: Sweep) -> list[Case]:
    """Every baseline, then sampled examples. Raises ConfigError for values that no configuration can have."""
    cases = [Case(f"baseline {name}", values) for name, values in sweep.baselines.items()]
    cases += [Case(f"sampled example {number}", values) for number, values in enumerate(sampled(sweep, NUM_EXAMPLES), 1)]
    for case in cases:
        sweep.config(case.values)
    return cases


def sampled(sweep: Sweep, num: int) -> list[dict[str, Any]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [sweep.space.suggest(study.ask()) for _ in range(num if sweep.space.entries else 0)]


def refuse_untrainable_part(sweep: Sweep) -> None:
    """The ends of each range are tried when a sweep is read; not what lies between them, or two paths together. A trial there fails, is
    counted, and teaches the sampler nothing. A study that was begun goes on. Raises ConfigError."""
    if read_manifest(sweep.study.path) is not None:
        return
    refused = list[str]()
    for values in sampled(sweep, NUM_SAMPLED):
        try:
            sweep.config(values)
        except ConfigError as error:
            refused.append(str(error))
    if refused:
        what = f"{len(refused)} of {NUM_SAMPLED} sampled configurations cannot be trained, the first for this: {refused[0]}"
        raise ConfigError(f"search_space: {what}; narrow a range, or give it a step or a condition")


def precision_here(config: TrialConfig, gpu: bool) -> str:
    return resolve(config, choose_device(gpu)).train.precision


def precision_there(sweep: Sweep, workers: Workers) -> str:
    """What `train.precision` is where trials run: `auto` is asked of the workers that the rehearsal will have, for the driver's machine
    may have a GPU that no trial is given, or none. Where they differ it is the one that all have. Raises RuntimeError without an answer."""
    config = sweep.fixed
    if config.train.precision != "auto":
        return config.train.precision
    num = min(workers.place.slots, len(cases_of(sweep)))
    answers = workers.ask(precision_here, [(config, workers.gpu)] * num, [f"the precision of worker {k + 1}" for k in range(num)])
    known = {answer for answer in answers if isinstance(answer, str)}
    if not known:
        raise RuntimeError(f"train.precision: got auto; the workers that were asked for it failed: {answers[0]}")
    return known.pop() if len(known) == 1 else "float32"


def try_out(config: TrialConfig, command_folder: str, gpu: bool = True) -> Cost | Failure:
    """What a worker does: two steps, a few timed ones, an evaluation, pictures and a checkpoint to nowhere."""
    started = time.monotonic()
    try:
        device = choose_device(gpu)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # of what the process tried before
        config = resolve(config, device)
        steady_memory()
        repeatable(device, config.train.num_threads)
        dataset = load_configured(config.data, command_folder)
        draws, validation = prepare(config, dataset, None, device), dataset.validation.to(device)
        in_epoch = len(dataset.train.label_N) // config.train.batch_size
        rate = rate_multiplier(config.optim.schedule, config.train.epochs, in_epoch)

        def autocast() -> contextlib.AbstractContextManager[Any]:
            return torch.autocast(device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16")

        def seconds_of(steps: int, draw: Draw = draws[0]) -> float:
            since = time.monotonic()
            train_epoch(draw, dataset.image_shape, steps, autocast, rate)
            return time.monotonic() - since

        start_s = time.monotonic() - started
        for draw in draws:
            draw.state.epoch = config.train.epochs - 1  # the consistency term may begin late, and costs most
            seconds_of(min(2, in_epoch), draw)  # the first steps also pay for what comes once
        once = seconds_of(1)
        steps = max(1, min(MAX_STEPS, in_epoch, round(ENOUGH_S / max(once, 1e-4))))
        step_s = seconds_of(steps) / steps
        since = time.monotonic()
        measure(draws[0], validation, dataset.image_shape)
        measure_s, since = time.monotonic() - since, time.monotonic()
        whole, kept = io.BytesIO(), io.BytesIO()
        saved = state_dict(draws)
        torch.save(saved, whole)
        torch.save({key: saved[key] for key in checkpoint.KEPT}, kept)
        used = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
        epoch_s = len(draws) * (in_epoch * step_s + measure_s) + time.monotonic() - since
        why = None
        if config.train.sample_every:
            with contextlib.suppress(OSError), tempfile.TemporaryDirectory() as nowhere:  # its disk is not the trials'
                shown = draws[0].state.averaged, validation, config, dataset.image_shape
                why = samples.why_not_drawn(Path(nowhere), 1, *shown)
        return Cost(epoch_s, start_s, whole.tell(), kept.tell(), used, total, why)
    except Diverged as error:
        return Failure(f"diverges at once ({error})", diverged=True)
    except DataError as error:
        return Failure(str(error), names_path=True)
    except Exception as error:  # a shape that does not fit, a bug: whatever it is, every such trial would fail of it
        return Failure("runs out of memory" if out_of_memory(error) else f"fails with {type(error).__name__}: {one_line(error)}")


def try_out_there(configs: dict[str, TrialConfig], workers: Workers) -> list[Cost | Failure]:
    answers = workers.ask(try_out, [(config, str(Path.cwd()), workers.gpu) for config in configs.values()], list(configs))
    return [Failure(str(answer)) if isinstance(answer, RuntimeError) else answer for answer in answers]


def rehearse(sweep: Sweep, workers: Workers, console: Console) -> dict[str, Cost]:
    """Case -> what it costs. Raises ConfigError where one fails, or where all diverge: a trial that diverges teaches the sampler, a
    study of nothing else is a mistake."""
    cases = cases_of(sweep)
    found = try_out_there({case.name: sweep.config(case.values) for case in cases}, workers)
    failures = [(case, failure) for case, failure in zip(cases, found, strict=True) if isinstance(failure, Failure)]
    diverged = [case for case, failure in failures if failure.diverged]
    for case, failure in failures:
        if not failure.diverged or len(diverged) == len(cases):
            raise ConfigError(refusal(sweep, case, failure, workers))
    costs = {case.name: cost for case, cost in zip(cases, found, strict=True) if isinstance(cost, Cost)}
    refuse_crowd(costs.values(), workers.place.resources.get("gpu", 0))
    if workers.gpu and any(not cost.gpu_total_bytes for cost in costs.values()):
        text = "warning: trials ask for a GPU, and torch finds none in the worker: they train on the processor (launch.py cluster check)"
        console.print(text, soft_wrap=True)
    undrawn = next((why for why in (cost.not_drawn for cost in costs.values()) if why is not None), None)
    if undrawn is not None:
        text = f"warning: pictures cannot be drawn ({undrawn}); trials train without (train.sample_every=0 asks for none)"
        console.print(text, soft_wrap=True)
    for case in diverged:
        console.print(f"note: {case.name} diverges at once: {values_text(case.values)}", soft_wrap=True)
    return costs


def refuse_crowd(costs: Iterable[Cost], share: float) -> None:
    """Raises ConfigError where the trials that share a GPU take more memory than it has, by what a rehearsed one was seen to take. What
    CUDA takes for each process comes on top and is not counted."""
    for cost in costs:
        at_once = int(1 / share + 1e-9) if 0 < share < 1 else 1
        if 0 < cost.gpu_total_bytes < at_once * cost.gpu_bytes and at_once > 1:
            each, total = cost.gpu_bytes / GB, cost.gpu_total_bytes / GB
            want = f"give at least {math.ceil(100 * each / total) / 100:g}"
            got = f"got {share:g}; {at_once} trials of {each:.2f} GB each do not fit a GPU of {total:.1f} GB"
            raise ConfigError(f"study.resources_per_trial.gpu: {got}: {want}")


def refusal(sweep: Sweep, case: Case, failure: Failure, workers: Workers) -> str:
    """Names the first path that cures it when it is put back: a searched one to the fixed value, then a fixed one to its default."""
    if failure.names_path:
        return failure.what
    config = flatten(sweep.config(case.values))
    for path, cured in cures(sweep, case)[:MAX_BLAMED]:
        (again,) = try_out_there({f"{case.name} with another {path}": cured}, workers)
        if not isinstance(again, Failure):
            return f"{path}: got {config.get(path)}; {case.name} {failure.what}, with {flatten(cured).get(path)} it does not"
    return f"{sweep.source}: {case.name} {failure.what}; its values: {values_text(case.values) or 'the fixed ones'}"


def cures(sweep: Sweep, case: Case) -> list[tuple[str, TrialConfig]]:
    """(path, the case's configuration with that path put back), where this makes a configuration."""
    config, defaults = sweep.config(case.values), flatten(TrialConfig())
    found = []
    for path in (path for path in case.values if path != PARENT):  # of no configuration
        with contextlib.suppress(ConfigError):
            found.append((path, sweep.config({other: value for other, value in case.values.items() if other != path})))
    for path, value in flatten(config).items():
        if path not in case.values and not path.startswith("data.") and path in defaults and defaults[path] != value:
            with contextlib.suppress(ConfigError):
                found.append((path, configure(OmegaConf.structured(config), {path: defaults[path]}, "")))
    return found


def values_text(values: dict[str, Any]) -> str:
    return ", ".join(f"{path}={value:.4g}" if isinstance(value, float) else f"{path}={value}" for path, value in values.items())
