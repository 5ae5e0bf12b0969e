"""A recorded trial trained again, and every epoch compared with what was recorded."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from aae import checkpoint, manifest, metrics
from aae.config import ConfigError, TrialConfig
from aae.data import Dataset, load_configured
from aae.device import choose_device, device_name
from aae.draws import refuse_unfit
from aae.errors import DataError, Diverged
from aae.runs import JOURNAL, Row, TrialFolder, command_folder, read_manifest, same_row, trial_folder
from aae.train import train
from aae.tuning.study.choice import ranked
from aae.tuning.study.journal import read_trials
from aae.tuning.study.study import code_numbers


class Enough(Exception):
    """The recorded epochs are all there."""


def best_trial(run: Path) -> int:
    """The best complete trial. Raises ConfigError where there is none."""
    complete = ranked(read_trials(run), run)
    if not complete:
        raise ConfigError(f"{run}: no trial is complete, so there is no best one; name a trial with --trial")
    return complete[0].number


@dataclass(frozen=True)
class Reproduction:
    trial: int
    epochs: int  # recorded
    epochs_again: int
    metric: str
    recorded: float | None  # the metric after the last recorded epoch
    again: float | None
    first_difference: int | None  # the first epoch that came out otherwise
    changed: list[str]  # what is not as it was recorded with

    @property
    def equal(self) -> bool:
        return self.first_difference is None and self.epochs_again == self.epochs

    @property
    def verdict(self) -> str:
        return "reproduced" if self.equal else "not verified" if self.changed else "differs"

    @property
    def exit_code(self) -> int:
        return 0 if self.equal else 1


def reproduce(run: Path, number: int | None, console: Console) -> Reproduction:
    """Trains a trial again from its recorded configuration and labels, up to its last recorded epoch.

    On the same device, versions and code every epoch must be equal to the bit; elsewhere what differs is printed. Raises
    ConfigError where there is nothing to reproduce."""
    made = read_manifest(run)
    if made is None:
        raise ConfigError(f"{run}: holds no manifest.json; give the folder of a sweep, as runs/quick")
    number = best_trial(run) if number is None else number
    folder = trial_folder(run, number)
    rows = folder.rows()
    if not rows:
        raise ConfigError(f"--trial: got {number}; {run} holds no such trial with a finished epoch, name another one")
    config = checkpoint.read_config(folder.path)
    data = load_configured(config.data, command_folder(config.data.folder, made))
    refuse_other_data(config, data, made, number)
    trials = read_trials(run)
    if number >= len(trials):
        raise ConfigError(f"{run / JOURNAL}: it has {len(trials)} trials, not trial {number}; restore all of it from a copy")
    numbers = code_numbers(trials[number])
    device, recorded_on = device_again(rows, made["device"])
    now = manifest.describe([], data.hashes) | {"device": device_name(device)}
    changed = manifest.training_changes(manifest.made_by(made, numbers[-1]) | {"device": recorded_on}, now)
    changed += made.get("fork", {}).get("notes", [])
    if retold := sum(bool(row.get("retold")) for row in rows):
        changed.append(f"{retold} of its epochs were trained twice and came out otherwise then")
    if len(numbers) > 1:
        changed.append("its code was changed while it trained, and that was accepted")
    console.print(f"training trial {number} of {run} again, {len(rows)} epochs")
    if changed:
        console.print("not what it was recorded with: " + "; ".join(changed))
    new, ended = train_again(config, data, folder, len(rows), device, console)
    wrong = [row["epoch"] for row, again in zip(rows, new, strict=False) if not same_row(row, again)]
    last, again = rows[-1], new[-1] if new else {}
    metric = made["sweep"]["study"]["metric"]
    before, after = last.get(metric), again.get(metric)
    console.print(f"{metric} at epoch {last['epoch']}: recorded {metrics.shown(metric, before)}, now {metrics.shown(metric, after)}")
    found = Reproduction(number, len(rows), len(new), metric, before, after, wrong[0] if wrong else None, changed)
    if found.equal:
        console.print(f"reproduced: {len(rows)} epochs equal to the bit")
        return found
    console.print(f"differs from epoch {wrong[0]} on" if wrong else f"it {ended} after {len(new)} of {len(rows)} epochs")
    if changed:
        console.print("not verified: no spread recorded")
    return found


def refuse_other_data(config: TrialConfig, data: Dataset, made: dict[str, Any], number: int) -> None:
    """Changed data that still fit are trained on, and named. Raises DataError where they do not: the trial cannot be trained again."""
    try:
        refuse_unfit(config, data)
    except DataError as error:
        changed = "; ".join(manifest.data_changes(made, {"data": data.hashes})) or "its data are others"
        raise DataError(f"{changed}, and trial {number} does not fit them: {error}; restore the data") from None


def device_again(rows: list[Row], driver: str) -> tuple[torch.device, str]:
    """(this machine's device for it, what trained these rows). A trial may have trained elsewhere than its driver ran, on several
    devices one after the other, or without the GPU that is here. Rows of older runs do not say it: `driver`, the manifest's."""
    recorded = ", then ".join(dict.fromkeys(row.get("device", driver) for row in rows))
    processor = torch.device("cpu")
    return (processor if recorded == device_name(processor) else choose_device()), recorded


def train_again(
    config: TrialConfig, data: Dataset, folder: TrialFolder, num_epochs: int, device: torch.device, console: Console
) -> tuple[list[Row], str]:
    """(rows, how it ended). In a temporary folder, with the labels that were recorded."""
    new: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary, Progress(console=console, disable=not console.is_terminal) as progress:
        again = TrialFolder(Path(temporary) / "trial")
        again.path.mkdir()
        if folder.labels_path.exists():
            shutil.copy(folder.labels_path, again.labels_path)
        task = progress.add_task("epochs", total=num_epochs)

        def report(row: Row) -> None:
            new.append(row)
            progress.update(task, completed=row["epoch"])
            if row["epoch"] == num_epochs:
                raise Enough

        try:
            train(config, report, again, dataset=data, device=device)
        except Enough:
            return new, "ended"
        except Diverged as error:
            return new, f"diverged ({error})"
    return new, "ended"
