"""Golden losses: 20 steps of each mode on a tiny dataset, a `step loss` a line for every term, in plain text.

`python -m tests.golden` (make golden) writes them anew. A refactor leaves them as they are; a change of the maths changes them
in the same commit, which says why.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from aae import metrics
from aae.config import TrialConfig
from aae.data import Dataset, Split, epoch_indices
from aae.draws import split_labels
from aae.layers import set_paths, to_trial
from aae.noise import Noise, draw_noise
from aae.objective import Batch
from aae.updates import UPDATE, State, rates_of

FOLDER = Path(__file__).with_name("golden")
STEPS = 20
SIDE, NUM_CLASSES = 6, 10


def tiny_arrays(num_train: int = 300, num_validation: int = 105, num_test: int = 50) -> dict[str, np.ndarray]:
    """The arrays of a user's .npz: ten noisy patterns of 6 x 6 pixels, the classes in turn. Validation is the end of x_train."""
    random = np.random.default_rng(0)
    patterns = random.integers(0, 256, (NUM_CLASSES, SIDE, SIDE))
    arrays = {}
    for name, num in (("train", num_train + num_validation), ("test", num_test)):
        label = np.arange(num) % NUM_CLASSES
        noise = random.integers(-60, 61, (num, SIDE, SIDE))
        arrays |= {f"x_{name}": np.clip(patterns[label] + noise, 0, 255).astype(np.uint8), f"y_{name}": label}
    return arrays


def tiny_dataset(num_train: int = 300, num_validation: int = 105) -> Dataset:
    arrays = tiny_arrays(num_train, num_validation)
    images, label = torch.tensor(arrays["x_train"]).flatten(1), torch.tensor(arrays["y_train"])
    train, validation = Split(images[:num_train], label[:num_train]), Split(images[num_train:], label[num_train:])
    return Dataset(train, validation, (1, SIDE, SIDE), NUM_CLASSES, {})


TINY = {
    "data.name": "npz",
    "data.folder": "tiny.npz",
    "data.num_labels": 20,
    "data.num_validation": 105,
    "model.hidden_dims": [16],
    "train.batch_size": 50,
    "train.labelled_batch_size": 20,
    "train.learnt_labelled_batch_size": None,  # a sweep's own may be more than 20
    "train.sample_every": 0,
}


def tiny_config(values: dict[str, Any] | None = None) -> TrialConfig:
    """A semi-supervised configuration for `tiny_dataset`, float32; `values` under dotted paths."""
    base = OmegaConf.create({"model": {"init_std": None}, "objective": {"adversarial_y": {}, "classification": {}}})
    base.train = {"epochs": 3, "precision": "float32"}
    return to_trial(set_paths(set_paths(base, TINY, ""), values or {}, ""))


def tiny_batches(config: TrialConfig, dataset: Dataset, num_steps: int) -> list[Batch]:
    """Batches as a training makes them: noisy once a step, all labelled images in each; -1 for a label that was not drawn."""
    generator = torch.Generator().manual_seed(7)
    ((seen, labelled),) = split_labels(config, dataset, None)
    epochs = [epoch_indices(len(dataset.train.label_N), config.train.batch_size, generator) for _ in range(num_steps)]
    x_LX = metrics.to_pixels(labelled.images_NX)

    def noisy(x: torch.Tensor) -> torch.Tensor:
        return x + config.train.input_noise_std * torch.randn(x.shape, generator=generator)

    batches = []
    for order_B in torch.cat(epochs)[:num_steps]:
        x_BX = metrics.to_pixels(dataset.train.images_NX[order_B])
        batch = Batch(x_BX, noisy(x_BX), seen.label_N[order_B], noisy(x_LX), labelled.label_N)
        consistency = config.objective.consistency
        batches.append(batch._replace(other_BX=noisy(x_BX)) if consistency is not None and consistency.around == "other" else batch)
    return batches


NEITHER = {"objective.adversarial_y": None, "objective.classification": None, "model.class_source": "none", "data.num_labels": 0}
SHOWN = {"data.num_labels": 20, "objective.adversarial_z.sees_label": True, "model.z_dim": 2, "model.encoder": "gaussian"}
MODES: dict[str, dict[str, Any]] = {  # name -> switches, over those of `tiny_config`
    "semi": {"objective.adversarial_z.weight": 0.7, "objective.classification.weight": 1.3, "optim.classification.rate": 0.02},
    "unsupervised_gaussian": NEITHER,
    "unsupervised_mixture": NEITHER | {"objective.adversarial_z.prior.kind": "mixture", "model.z_dim": 4, "model.encoder": "gaussian"},
    "label_regularised_mixture": NEITHER | SHOWN | {"objective.adversarial_z.prior.kind": "mixture"},
    "label_regularised_swiss_roll": NEITHER | SHOWN | {"objective.adversarial_z.prior.kind": "swiss_roll"},
    "supervised": NEITHER | {"model.class_source": "label", "data.num_labels": -1},
    "clustering": {
        "objective.classification": None,
        "data.num_labels": 0,
        "model.num_classes": 16,
        "objective.adversarial_y.noise_std": 0.3,
    },
    "consistency_noisy": {"objective.consistency": {"weight": 0.7}, "optim.classification.rate": 0.02},
    "consistency_clean": {"objective.consistency": {"weight": 0.7, "around": "clean"}, "optim.classification.rate": 0.02},
    "consistency_aligned": {
        "objective.consistency": {"weight": 0.7, "around": "other", "aligned": True},
        "optim.classification.rate": 0.02,
    },
    "mutual_information": {
        "objective.classification": None,
        "data.num_labels": 0,
        "model.num_classes": 16,
        "model.batch_norm": True,
        "objective.adversarial_y.noise_std": 0.3,
        "objective.consistency": {"epsilon": 0.5},
        "objective.mutual_information": {},
        "optim.classification.rate": 0.02,
    },
    "sees_class": {"objective.adversarial_z.sees_class": True, "model.encoder": "gaussian", "optim.classification.rate": 0.02},
    "narrow_discriminators": {
        "model.discriminator_dims": [8, 4],
        "model.discriminator_init_std": 0.2,
        "optim.classification.rate": 0.02,
    },
    "dim_reduction": {"model.combine": "heads", "model.z_dim": 2, "objective.head_separation": {}, "optim.classification.rate": 0.02},
    "dim_reduction_separated_heads": {
        "model.combine": "heads",
        "model.z_dim": 2,
        "objective.head_separation": {},
        "objective.reconstruction.moves_heads": False,
        "optim.classification.rate": 0.02,
    },
    "clustering_fixed_heads": {
        "objective.classification": None,
        "data.num_labels": 0,
        "model.num_classes": 16,
        "model.combine": "heads",
        "model.heads_std": 2.0,
        "objective.reconstruction.moves_heads": False,
        "objective.adversarial_y.noise_std": 0.3,
    },
}
BOTH_UPDATES = (
    "semi",
    "consistency_noisy",
    "mutual_information",
    "sees_class",
    "narrow_discriminators",
    "clustering_fixed_heads",
    "dim_reduction_separated_heads",
)
GOLDEN = [*((mode, "alternating") for mode in BOTH_UPDATES), *((mode, "joint") for mode in MODES)]


def noise_of(state: State, batch: Batch) -> Noise:
    """The next step's."""
    return draw_noise(state.config, state.generators, batch.label_B, state.x_dim, len(batch.label_L), state.epoch)


def take_step(state: State, batch: Batch, noise: Noise | None = None) -> dict[str, float]:
    """One step of the configured update at the configured rates, with the state's next noise or one given: every term, unweighted."""
    rates = rates_of(state, 1.0, state.config.optim.decoder_speed)
    update = UPDATE[state.config.train.update]
    values = update(state, batch, noise_of(state, batch) if noise is None else noise, rates, contextlib.nullcontext)
    names = [f"{phase.name}/{term.name}" for phase in state.phases for term in phase.terms]
    return {name: float(value.detach()) for name, value in zip(names, values, strict=True)}


def losses(mode: str, update: str) -> dict[str, list[float]]:
    """Every term, unweighted, at each step; float32, one thread."""
    config = tiny_config(MODES[mode] | {"train.update": update, "optim.generator.rate": 0.02})
    torch.set_num_threads(1)
    dataset = tiny_dataset()
    state = State(config, dataset.train.images_NX.shape[1], torch.device("cpu"))
    steps = [take_step(state, batch) for batch in tiny_batches(config, dataset, STEPS)]
    return {name: [step[name] for step in steps] for name in steps[0]}


def path_of(mode: str, update: str) -> Path:
    return FOLDER / f"{mode}_{update}_float32.txt"


def to_text(history: dict[str, list[float]]) -> str:
    return "".join(
        f"# {name}\n" + "".join(f"{step} {value:.9g}\n" for step, value in enumerate(values)) for name, values in history.items()
    )


def from_text(text: str) -> dict[str, list[float]]:
    history: dict[str, list[float]] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            history[line[2:]] = []
        else:
            step, value = line.split()
            last = history[next(reversed(history))]
            assert int(step) == len(last), line
            last.append(float(value))
    return history


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for mode, update in GOLDEN:
        path_of(mode, update).write_text(to_text(losses(mode, update)))
        print(path_of(mode, update))
