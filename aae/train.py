"""One training, from a configuration to its metrics. `python -m aae.train SWEEP` runs it without a sweep around it.

The loop reads top to bottom, and the outside world takes its rows: a Ray worker asks `epochs` for the next one, `train` gives each to
the function `report`, a progress bar on a laptop or `list.append` in a test.
"""

# B batch, L labelled batch, X pixels, Z style dim, K classes

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
from torch import Tensor

from aae import checkpoint, manifest, metrics, samples
from aae.config import ConfigError, TrialConfig, require
from aae.data import Dataset, Split, data_warnings, epoch_indices, labelled_indices, load_configured
from aae.device import choose_device, device_name, give_back_memory, repeatable, resolve, steady_memory
from aae.draws import Draw, load_state_dict, mean_row, prepare, refuse_unfit, state_dict
from aae.errors import REFUSED, Diverged, fault, of_the_machine, refusal
from aae.inputs import SWEEP_BLOCKS, parse_overrides, read_sweep, refuse_unmeant_folder
from aae.layers import trial_from_sweep
from aae.noise import add_noise, draw_noise, shifted, spread_out
from aae.objective import Batch, build_phases
from aae.paths import flatten
from aae.runs import Attempt, Row, TrialFolder, read_json, write_atomically, write_json
from aae.schedules import decoder_speed, rate_multiplier
from aae.streams import steady_streams
from aae.updates import UPDATE, Autocast, averaging_decay, rates_of

SHOWN = {  # of an epoch, on the screen
    "error": "val/error",
    "plain": "val/error_plain",
    "cluster error": "val/cluster_error",
    "component error": "val/component_error",
    "reconstruction": "val/reconstruction",
    "mismatch": "val/prior_mismatch",
    "Parzen": "val/parzen_nll",
}
LEARNT = 0.001  # nats: below it an epoch's mean cross-entropy says that labels have little more to teach


def train_epoch(draw: Draw, image_shape: tuple[int, int, int], steps: int, autocast: Autocast, rate: Callable[[int], float]) -> Row:
    """One pass over the unlabelled images. Returns the mean of every term over its steps. Raises Diverged."""
    state, train, labelled = draw.state, draw.train, draw.labelled
    state.phases = build_phases(state.config, state.model, state.epoch)
    state.model.train()
    config, optim, device = state.config.train, state.config.optim, train.images_NX.device
    order_SB = epoch_indices(len(train.images_NX), config.batch_size, state.generators["unlabelled"]).to(device)
    num_labelled = (config.learnt_labelled_batch_size if state.labels_learnt else None) or config.labelled_batch_size
    learns = len(labelled.images_NX) > 0 and state.config.objective.classification is not None
    order_SL = labelled_indices(len(labelled.label_N), num_labelled, steps, state.generators["labelled"]).to(device) if learns else None
    everything = order_SL is not None and num_labelled == len(labelled.label_N)
    names = [f"{phase.name}/{term.name}" for phase in state.phases for term in phase.terms]
    sums = torch.zeros(len(names), device=device)
    for index in range(steps):
        x_BX, label_B = metrics.to_pixels(train.images_NX[order_SB[index]]), train.label_N[order_SB[index]]
        rows_L = slice(0) if order_SL is None else slice(None) if everything else order_SL[index]
        x_LX, label_L = metrics.to_pixels(labelled.images_NX[rows_L]), labelled.label_N[rows_L]
        noise = draw_noise(state.config, state.generators, label_B, state.x_dim, len(x_LX), state.epoch)
        other_BX = None
        if noise.other_pixels is not None:
            other_BX = add_noise(shifted(x_BX, noise.other_shift_B2, config.shift, image_shape), noise.other_pixels, config)
        x_BX = shifted(x_BX, noise.shift_B2, config.shift, image_shape)
        x_LX = shifted(x_LX, noise.labelled_shift_L2, config.shift, image_shape)
        multiplier = rate(state.steps)
        x_LX = spread_out(x_LX, noise.mixed_LB, x_BX, multiplier)
        noisy_BX, noisy_LX = add_noise(x_BX, noise.pixels, config), add_noise(x_LX, noise.labelled_pixels, config)
        rates = rates_of(state, multiplier, decoder_speed(optim, state.steps, len(order_SB)))
        values = UPDATE[config.update](state, Batch(x_BX, noisy_BX, label_B, noisy_LX, label_L, other_BX), noise, rates, autocast)
        sums += torch.stack(values).detach()
        if config.ema_decay is not None:
            state.average(averaging_decay(config.ema_decay, state.steps))
        state.steps += 1
    means = (sums / steps).tolist()  # the only wait for the device in an epoch
    if not all(math.isfinite(mean) for mean in means):
        raise Diverged("; ".join(f"{name} is {mean}" for name, mean in zip(names, means, strict=True) if not math.isfinite(mean)))
    row: Row = dict(zip(names, means, strict=True))
    state.epoch += 1
    state.labels_learnt |= row.get("classification/classification", math.inf) < LEARNT
    return row


def train(
    config: TrialConfig,
    report: Callable[[Row], None],
    folder: TrialFolder | None = None,
    attempt: Attempt | None = None,
    dataset: Dataset | None = None,
    device: torch.device | None = None,
) -> Row:
    """Trains as `epochs` does, reports each row, and returns the last one."""
    row: Row = (attempt.rows() or [{}])[-1] if attempt is not None else {}
    for row in epochs(config, folder, attempt, dataset, device):
        report(row)
    return row


def epochs(
    config: TrialConfig,
    folder: TrialFolder | None = None,
    attempt: Attempt | None = None,
    dataset: Dataset | None = None,
    device: torch.device | None = None,
) -> Generator[Row, None, None]:
    """Trains to `train.epochs`, or on from the attempt's checkpoint: an epoch each time it is asked for the next row.

    An epoch ends with its row and its checkpoint, and is then yielded. Without a folder nothing is written.
    Raises Diverged, and DataError or ConfigError for wrong input."""
    device = device or choose_device()
    config = resolve(config, device)
    steady_memory()
    repeatable(device, config.train.num_threads)
    dataset = dataset or load_configured(config.data)
    draws, validation, epochs_done = prepare(config, dataset, folder, device), dataset.validation.to(device), 0
    saved = None if attempt is None else checkpoint.resumable(attempt.checkpoint_path, device)
    # Rows that were lost, or another kind of device than before: from epoch 0.
    if attempt is not None and saved is not None and saved["epoch"] <= len(attempt.rows()) and draws[0].state.can_load(saved):
        load_state_dict(draws, saved)
        epochs_done = saved["epoch"]
    steps = len(dataset.train.label_N) // config.train.batch_size
    rate = rate_multiplier(config.optim.schedule, config.train.epochs, steps)

    def autocast() -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16")

    saved_at, name, told = time.monotonic(), device_name(device), False
    for epoch in range(epochs_done + 1, config.train.epochs + 1):
        started = time.monotonic()
        means = [train_epoch(draw, dataset.image_shape, steps, autocast, rate) for draw in draws]
        trained = time.monotonic()
        measured = [measure(draw, validation, dataset.image_shape) for draw in draws]
        row: Row = {
            "epoch": epoch,
            **mean_row([values for values, _ in measured]),
            **mean_row(means),
            "train/rate_multiplier": rate(draws[0].state.steps - 1),
            "time/epoch_s": round(trained - started, 3),
            "time/evaluation_s": round(time.monotonic() - trained, 3),
            "time/images_per_s": round(len(draws) * steps * config.train.batch_size / (trained - started), 1),
            "device": name,
        }
        last = epoch == config.train.epochs
        if attempt is not None:
            every = config.train.sample_every
            if every and (epoch % every == 0 or last):
                shown = draws[0].state.averaged, validation, config, dataset.image_shape
                why = samples.why_not_drawn(attempt.samples_path, epoch, *shown)
                if why is not None and not told:
                    told = True
                    print(f"warning: epoch {epoch}: its pictures cannot be drawn ({why}); the training goes on", file=sys.stderr)
            if last:  # (N,), or (draws, N) of several
                kind = np.min_scalar_type(max(config.model.num_classes, dataset.num_classes) - 1)  # uint8 up to 256 classes
                predictions = np.stack([prediction_N.cpu().numpy().astype(kind) for _, prediction_N in measured])
                np.save(attempt.path / "predictions.npy", predictions if len(draws) > 1 else predictions[0])
            row = attempt.write_row(row)
            if epoch in config.train.keep_epochs:  # before the other: a restart from that would not come by here again
                checkpoint.save(attempt.kept_path(epoch), state_dict(draws))
            if last or checkpoint_due(config.train.checkpoint_every, epoch, time.monotonic() - saved_at):
                checkpoint.save(attempt.checkpoint_path, state_dict(draws))
                saved_at = time.monotonic()
        give_back_memory()
        yield row


def measure(draw: Draw, validation: Split, image_shape: tuple[int, int, int]) -> tuple[Row, Tensor]:
    """(validation metrics, predicted class of each image). Raises Diverged."""
    draw.settle()
    state = draw.state
    row, prediction_N = metrics.evaluate(state.averaged, validation, state.config, image_shape)
    if not all(math.isfinite(value) for value in row.values()):
        raise Diverged(f"a validation metric is not finite: {row}")
    if "val/error" in row:
        row["val/error_plain"] = metrics.error(metrics.class_logits(state.model.encoder, validation), validation.label_N)
    return row, prediction_N


def checkpoint_due(every: str, epoch: int, seconds: float) -> bool:
    return seconds >= int(every[:-1]) if every.endswith("s") else epoch % int(every) == 0


# ---- the command line -------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    steady_streams()
    parser = argparse.ArgumentParser(
        prog="python -m aae.train",
        description="Train one adversarial autoencoder, without a sweep around it.",
        epilog="example: python -m aae.train sweeps/semi.yaml --baseline paper train.epochs=50",
    )
    parser.add_argument("sweep", help="a sweep file; its trial: block and, with --baseline, one of its baselines")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="set any path of the configuration, e.g. model.z_dim=8")
    parser.add_argument("--baseline", metavar="NAME", help="train this baseline of the sweep file")
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="where to (default: runs/train-SWEEP[-BASELINE])")
    options = parser.parse_intermixed_args(arguments)
    name = "-".join(["train", Path(options.sweep).stem, *filter(None, [options.baseline])])
    try:
        refuse_unmeant_folder(str(options.output or ""), "--output")
        folder = TrialFolder(options.output.expanduser() if options.output else Path("runs") / name)
        overrides = parse_overrides(options.overrides)
        for path in overrides:
            alone = path.split(".")[0] not in SWEEP_BLOCKS
            require(alone, path, "a path of the study", "aae.train trains alone, on paths such as train.epochs; launch.py runs the study")
        config = resolve(trial_from_sweep(read_sweep(options.sweep), options.baseline, overrides), choose_device())
        dataset = load_configured(config.data)
        refuse_unfit(config, dataset)
        claim(folder, config, dataset)
        for warning in data_warnings(config, dataset):
            print(f"warning: {warning}", file=sys.stderr)
        return train_alone(config, folder, dataset)
    except REFUSED as error:
        print(f"aae.train: {refusal(error)}", file=sys.stderr)
        return 2
    except (OSError, MemoryError, RuntimeError) as error:
        if not of_the_machine(error):
            raise
        print(fault(error, options.output or Path("runs") / name), file=sys.stderr)
        return 1


def claim(folder: TrialFolder, config: TrialConfig, dataset: Dataset) -> None:
    """Makes the folder, or finds in it the same configuration to go on with. Raises ConfigError."""
    if os.path.exists(folder.config_path):  # pathlib's raises for a name that is too long
        recorded, now = flatten(checkpoint.read_config(folder.path)), flatten(config)
        now |= {"train.checkpoint_every": recorded["train.checkpoint_every"]}  # changes no number; its default is the device's
        differs = [f"{path}={value}" for path, value in recorded.items() if path not in now or now[path] != value]
        if differs:
            raise ConfigError(f"{folder.path}: holds a training with {', '.join(differs)}; name another folder with --output")
        changed = manifest.data_changes(read_json(folder.path / "manifest.json", {"data": {}}), {"data": dataset.hashes})
        if changed:
            raise ConfigError(f"{folder.path}: {', '.join(changed)}; restore the data, or name another folder with --output")
        return
    described, existed = folder.path / "manifest.json", os.path.exists(folder.path)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        # It alone, or half of it under a hidden name: a start that was killed right here.
        if any(path != described and not path.name.startswith(".") for path in folder.path.iterdir()):
            raise ConfigError(f"{folder.path}: not empty and no training; name another folder with --output")
        write_json(described, manifest.describe(manifest.own_command(), dataset.hashes))
        write_atomically(folder.config_path, OmegaConf.to_yaml(OmegaConf.structured(config)))
    except OSError as error:
        with contextlib.suppress(OSError):
            described.unlink(missing_ok=True)
            if not existed:
                folder.path.rmdir()
        raise ConfigError(f"{folder.path}: cannot be written ({error.strerror}); name another folder with --output") from None


def train_alone(config: TrialConfig, folder: TrialFolder, dataset: Dataset) -> int:
    """Trains with a progress bar, or a line an epoch where there is no terminal. Returns the exit code."""
    attempt = folder.next_attempt()
    done = len(attempt.rows())
    console = Console()
    print(f"{folder.path}: {config.train.epochs} epochs on {device_name()}" + (f", going on after {done}" if done else ""))
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    state, reason = "COMPLETE", None
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("epoch", total=config.train.epochs, completed=done)

        def report(row: Row) -> None:
            text = f"epoch {row['epoch']}: " + ", ".join(
                f"{name} {metrics.shown(key, row[key])}" for name, key in SHOWN.items() if key in row
            )
            progress.update(task, completed=row["epoch"], description=text)
            if not console.is_terminal:
                print(f"{text}, {row['time/epoch_s']} s", flush=True)

        try:
            train(config, report, folder, attempt, dataset)
        except Diverged as error:
            state, reason = "FAIL", f"diverged: {error}"
        except KeyboardInterrupt:
            progress.stop()
            print(f"interrupted after epoch {len(attempt.rows())}; the same command goes on from there", file=sys.stderr)
            return 130
    rows = attempt.rows()
    result = {"state": state, "epochs": len(rows), "seconds": round(folder.seconds(rows), 1), "reason": reason}
    write_json(folder.result_path, result | {"metrics": rows[-1] if rows else {}})
    for warning in metrics.collapse_warnings(rows, config.model.num_classes):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{state}{f' ({reason})' if reason else ''}: {folder.path}")
    return 0 if state == "COMPLETE" else 1


if __name__ == "__main__":
    sys.exit(main())
