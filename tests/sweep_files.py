"""Sweep files for tests, on tiny.npz (tests/golden.py)."""

from pathlib import Path
from typing import Any

import yaml

SYSTEM_SWEEP = """
study:
  name: s
  num_trials: 20
  sampler: {kind: TPESampler, seed: 0, n_startup_trials: 5}
  pruner: {kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}
baselines:
  plain: {train.ema_decay: null}
trial:
  data: {name: npz, folder: tiny.npz, num_labels: 20, num_validation: 105}
  model: {hidden_dims: [16], init_std: null}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 4, batch_size: 50, labelled_batch_size: 20, sample_every: 0, precision: float32}
search_space:
  model.z_dim: {kind: int, low: 2, high: 12}
  optim.reconstruction.rate: {kind: float, low: 0.001, high: 0.03, log: true}
"""
TINY_SWEEP = """
study: {name: s, num_trials: 3, draws_per_trial: 3, sampler: {kind: RandomSampler, seed: 0}}
baselines: {slow: {optim.reconstruction.rate: 0.001}}
trial:
  data: {name: npz, folder: tiny.npz, num_labels: 20, num_validation: 105}
  model: {hidden_dims: [16], init_std: null}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 3, batch_size: 50, labelled_batch_size: 20, sample_every: 0, precision: float32}
search_space: {model.z_dim: {kind: int, low: 2, high: 12}}
"""
STUDY = {"name": "mine", "num_trials": "4", "sampler": "{kind: RandomSampler, seed: 0}", "pruner": "{kind: NopPruner}"}
TRIAL = {
    "data": "{name: npz, folder: tiny.npz, num_labels: 20, num_validation: 105}",
    "model": "{hidden_dims: [16]}",
    "objective": "{adversarial_y: {}, classification: {}}",
    "train": "{epochs: 2, batch_size: 50, labelled_batch_size: 20, sample_every: 0}",
}
SEARCH_SPACE = {"model.z_dim": "{kind: int, low: 6, high: 12}"}
# Each is another value to some reader of YAML: a number, a bool, a date, a time, or nothing.
TEXTS = [
    "007",
    "010",
    "on",
    "off",
    "no",
    "yes",
    "y",
    "True",
    "false",
    "1:30",
    "1:30.5",
    "2024_01_15",
    "2024-01-15",
    "1e3",
    "12e3",
    "4112e07",
]
TEXTS += ["0x10", "0o17", "0b11", "1_000", ".5", "5.", "-1", "+1", "1.0", ".inf", ".nan", "nan", "inf", "2015", "=", "0", "1e-4", "NaN"]
NOTHING = ["null", "Null", "NULL", "~"]


def sweep_text(study=None, trial=None, baselines=None, space=None, end="") -> str:
    """The sweep above with some lines set, or left out where None; a block given as text stands as it is."""
    blocks: dict[str, Any] = {"study": study, "trial": trial, "baselines": baselines, "search_space": space}
    lines = []
    for (name, changes), base in zip(blocks.items(), (STUDY, TRIAL, {}, SEARCH_SPACE), strict=True):
        if isinstance(changes, str):
            lines.append(f"{name}: {changes}")
            continue
        lines.append(f"{name}:")
        lines += [f"  {key}: {value}" for key, value in (base | (changes or {})).items() if value is not None]
    return "\n".join(lines) + "\n" + end


SPACE = {
    "model.z_dim": {"kind": "int", "low": 2, "high": 6},
    "optim.reconstruction.rate": {"kind": "float", "low": 0.005, "high": 0.03, "log": True},
    "optim.schedule.kind": {"kind": "categorical", "choices": ["constant", "step"]},
    "optim.schedule.drop_at": {"kind": "float", "low": 0.5, "high": 0.9, "when": {"optim.schedule.kind": "step"}},
}


def make_sweep(folder: Path, data: Path, **blocks) -> Path:
    """A sweep file. `data` is a user's own .npz."""
    trial = {
        "data": {"name": "npz", "folder": str(data), "num_labels": 20, "num_validation": 105},
        "model": {"hidden_dims": [16], "init_std": None},
        "objective": {"adversarial_y": {}, "classification": {}},
        "train": {"epochs": 3, "batch_size": 50, "labelled_batch_size": 20, "sample_every": 1, "precision": "float32"},
    }
    study = {"name": "s", "num_trials": 1, "sampler": {"kind": "RandomSampler", "seed": 0}, "pruner": {"kind": "NopPruner"}}
    sweep = {"study": study | blocks.get("study", {}), "trial": trial | blocks.get("trial", {})}
    sweep |= {"baselines": blocks.get("baselines", {}), "search_space": blocks.get("space", SPACE)}
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump(sweep, sort_keys=False))
    return path
