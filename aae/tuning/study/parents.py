"""What a fork goes on from: the other study's best trials, read once, and their checkpoints as long as a trial asks for one."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from aae import checkpoint, manifest
from aae.errors import ConfigError, require
from aae.inputs import read_sweep
from aae.runs import JOURNAL, TrialFolder, read_manifest, trial_folder, write_atomically, write_json
from aae.tuning.spec.blocks import ForkConfig
from aae.tuning.spec.fork import Fork, Parent, first_drop
from aae.tuning.spec.sweep import Sweep, compose_sweep, read_study_of
from aae.tuning.study.choice import ranked
from aae.tuning.study.journal import read_trials
from aae.tuning.study.learning import read_others, with_learnt
from aae.tuning.study.optuna_views import each_once


def load_sweep(path: str | Path, overrides: dict[str, Any], run: Path | None = None) -> Sweep:
    """Reads and checks a sweep file and the command line. `run`: the study's folder, where it is not the one that the file names.
    Raises ConfigError."""
    file = read_sweep(path)
    study = read_study_of(file, overrides, str(path))
    parents = None if study.forked is None else read_parents(study.forked, run or study.path)
    return with_learnt(compose_sweep(file, overrides, parents, str(path)), run or study.path)


def read_parents(asked: ForkConfig, run: Path) -> Fork:
    """As the study in `run` began with it; else from what the other study is now. Raises ConfigError."""
    made = read_manifest(run)
    if made is not None and made["sweep"]["study"].get("fork") == vars(asked):
        return Fork.read(made["fork"])
    other = Path(asked.run).expanduser()
    asked = replace(asked, run=str(other))
    made = read_manifest(other) if (other / JOURNAL).is_file() else None
    require(made is not None, "study.fork.run", asked.run, "it holds no sweep; run the study to fork first, and give its folder")
    assert made is not None
    trials = read_trials(other)
    complete, num_left = each_once(ranked(trials, other)), sum(not trial.state.is_finished() for trial in trials)
    want = f"{len(complete)} different configurations of {other} are complete: " + ("give at most that" if complete else "run it on")
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
    return Parent(number, value, file_sha256(saved), blocks | {"train": blocks["train"] | {"keep_epochs": []}})


def parent_checkpoint(fork: Fork, parent: Parent) -> Path:
    """Raises ConfigError where it is no longer that of the study's beginning."""
    attempt = trial_folder(fork.run, parent.trial).last_attempt()
    path = Path(fork.run) if attempt is None else attempt.kept_path(fork.epoch)
    if not path.is_file() or file_sha256(path) != parent.checkpoint:
        raise ConfigError(f"study.fork: the checkpoint of trial {parent.trial}, epoch {fork.epoch}, is gone from {fork.run}, or another")
    return path


def begin_from_parent(fork: Fork, folder: TrialFolder, values: dict[str, Any]) -> None:
    """Gives a trial its parent's labels, rows and checkpoint, and writes down whose they are. Raises ConfigError."""
    parent = fork.parent(values)
    saved, theirs = parent_checkpoint(fork, parent), trial_folder(fork.run, parent.trial)
    if theirs.labels_path.exists():
        write_atomically(folder.labels_path, theirs.labels_path.read_bytes())
    write_json(folder.fork_path, {"run": fork.run, "id": fork.id, "epoch": fork.epoch} | asdict(parent))
    folder.begin_from(saved, theirs.rows()[: fork.epoch])


def refuse_other_past(sweep: Sweep, data: dict[str, str] | None) -> None:
    """Before a start: the data are the other study's, and its checkpoints are there as long as a trial will ask for one; so are the
    trials that are learnt from. `data`: None where they are not here yet. Raises ConfigError."""
    fork = sweep.fork
    if len(list(sweep.study.path.glob("trials/*"))) < sweep.study.num_trials:
        read_others(sweep)
    if fork is None:
        return
    if data is not None:
        require(data == fork.data, "data.folder", ", ".join(data), f"that is not what {fork.run} was trained on; restore it")
    if len(list(sweep.study.path.glob("trials/*/fork.json"))) < sweep.study.num_trials:
        for parent in fork.parents:
            parent_checkpoint(fork, parent)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
