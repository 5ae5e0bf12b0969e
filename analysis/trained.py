"""One trained trial, of a run or of aae.train alone: its folder, its images, and where its pictures go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aae import checkpoint
from aae.config import ConfigError, TrialConfig
from aae.data import Dataset, load_configured
from aae.manifest import data_changes
from aae.runs import JOURNAL, TrialFolder, command_folder, manifest_over, trial_folder
from analysis.trials import read_run


@dataclass(frozen=True)
class Trained:
    folder: TrialFolder
    config: TrialConfig
    report: Path  # where its pictures go
    stem: str  # what their names begin with
    title: str

    def picture(self, name: str) -> Path:
        return self.report / f"{self.stem}{name}"


def find_trained(path: Path, number: int | None) -> Trained:
    """`path` is a run folder (default: its best complete trial), one of its trials, or a folder of aae.train.
    Raises ConfigError."""
    path = path if path.name == path.resolve().name else path.resolve()  # `.`: where it lies says whose it is
    inside_run = path.parent.name == "trials" and (path.parent.parent / JOURNAL).is_file()
    if inside_run and path.name.isdigit() and number is None:
        path, number = path.parent.parent, int(path.name)
    if (path / "config.yaml").is_file():
        if number is not None:
            raise ConfigError(f"--trial: got {number}; {path} is a single training, leave --trial out")
        return Trained(TrialFolder(path), checkpoint.read_config(path), path / "report", "", path.resolve().name)
    if not (path / JOURNAL).is_file():
        raise ConfigError(f"{path}: neither a sweep nor a training; give runs/STUDY, or the folder of an aae.train")
    if number is None:
        best = read_run(path).best
        if best is None:
            raise ConfigError(f"{path}: no trial is complete, so there is no best one; name a trial with --trial")
        number = best.number
    folder = trial_folder(path, number)
    if number < 0 or not folder.config_path.is_file():
        there = sorted(int(trial.name) for trial in (path / "trials").glob("[0-9]*") if (trial / "config.yaml").is_file())
        known = f"there are {there[0]} to {there[-1]}" if there else "it has none yet"
        raise ConfigError(f"--trial: got {number}; {path} holds no such trained trial, {known}")
    return Trained(folder, checkpoint.read_config(folder.path), path / "report", f"trial-{number:04d}-", f"trial {number}")


def load_images(folder: TrialFolder, config: TrialConfig, x_dim: int) -> Dataset:
    """What the trial was trained on. Raises DataError where it is not there, ConfigError where the file is another by now."""
    made = manifest_over(folder.path)
    dataset = load_configured(config.data, command_folder(config.data.folder, made))
    found = dataset.validation.images_NX.shape[1]
    changed = data_changes({"data": {}} | made, {"data": dataset.hashes})
    changed += [f"{config.data.folder} holds images of {found} pixels, not of {x_dim}"] if found != x_dim else []
    if changed:
        raise ConfigError(f"{folder.path}: {', '.join(changed)}: not what it was trained on; restore the data")
    return dataset


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes the folder. Raises ConfigError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror or error}); make room, or copy the run elsewhere") from None
