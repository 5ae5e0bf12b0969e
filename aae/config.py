"""Every knob of one training, with its unit or range; those of `objective:` are in aae/terms.py. How a sweep file and a command line
become one is in aae/layers.py.

The dotted path of a field (`model.z_dim`) is its only name: in YAML, in the search space, in W&B and in every table.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aae.errors import ConfigError as ConfigError  # what this module raises, so others read it here
from aae.errors import require
from aae.switches import check_sizes, check_switches
from aae.terms import ClassPriorConfig, ObjectiveConfig

PHASES = ("reconstruction", "discriminator", "generator", "classification")  # in the order of a step
MOST = 10_000_000  # of units, samples and threads: more is a slip
# The datasets whose size is known before they are loaded: images for training and validation together, and classes.
KNOWN_SIZES = {"mnist": (60_000, 10), "fashion_mnist": (60_000, 10), "svhn": (73_257, 10)}


@dataclass(frozen=True)
class DataConfig:
    name: Literal["mnist", "fashion_mnist", "svhn", "npz"] = "mnist"
    folder: str | None = None  # null: the user's cache; for npz: the file itself; for svhn: a folder of one's own .mat files
    shuffle_seed: int | None = None  # npz alone: shuffles x_train before the split, for files sorted by class; null: as they lie
    num_labels: int = 0  # of training images only; 0 none, -1 all that there are
    label_draw: Literal["balanced", "random"] = "balanced"  # as many of each class, or of all training images alike
    label_seed: int = 0  # which labels are drawn; 0-99 search, 100-199 selection, 200-299 report
    num_draws: int = 1  # trainings side by side, as aae/draws.py says; study.draws_per_trial sets it
    num_validation: int = 10_000  # the last images of the training files, after shuffle_seed

    def __post_init__(self) -> None:
        require(self.num_labels >= -1, "data.num_labels", self.num_labels, "give a count, 0 for none or -1 for all")
        require(self.label_seed >= 0, "data.label_seed", self.label_seed, "give a seed of at least 0")
        require(self.shuffle_seed is None or self.shuffle_seed >= 0, "data.shuffle_seed", self.shuffle_seed, "give at least 0, or null")
        want = f"{self.name} keeps its published order: leave it out, only npz is shuffled"
        require(self.shuffle_seed is None or self.name == "npz", "data.shuffle_seed", self.shuffle_seed, want)
        require(1 <= self.num_draws <= 100, "data.num_draws", self.num_draws, "give 1 to 100")
        require(self.num_validation >= 2, "data.num_validation", self.num_validation, "give at least two validation images")
        if self.name == "npz":
            require(bool(self.folder), "data.folder", self.folder, "name your .npz file here, data.name=npz reads it")
        elif self.known_size is not None:
            num_images, num_classes = self.known_size
            want = f"{self.name} has {num_images} images for both"
            require(self.num_validation < num_images, "data.num_validation", self.num_validation, want)
            fits = self.label_draw == "random" or self.num_labels <= 0 or self.num_labels % num_classes == 0
            want = f"labels are balanced over {num_classes} classes: give a multiple of {num_classes}"
            require(fits, "data.num_labels", self.num_labels, want)
            num_train = num_images - self.num_validation
            want = f"there are {num_train} training images; -1 takes all their labels"
            require(self.num_labels <= num_train, "data.num_labels", self.num_labels, want)

    @property
    def known_size(self) -> tuple[int, int] | None:
        """(images for training and validation, classes), where it does not take loading them to know. A folder of svhn may hold fewer."""
        return None if self.name == "svhn" and self.folder else KNOWN_SIZES.get(self.name)


@dataclass(frozen=True)
class ModelConfig:
    z_dim: int = 10  # width of the style code
    num_classes: int = 10  # heads of y; what labels are one-hot over; parts of a prior that has a part a class
    hidden_dims: list[int] = field(default_factory=lambda: [1000, 1000])  # of encoder, decoder and both discriminators
    discriminator_dims: list[int] | None = None  # of both discriminators; null: hidden_dims
    encoder: Literal["deterministic", "gaussian"] = "deterministic"  # gaussian: z ~ N(mean, softplus(raw std)^2), reparameterised
    class_source: Literal["none", "label", "encoder"] = "encoder"  # who tells the decoder the class
    combine: Literal["concat", "heads"] = "concat"  # the decoder reads [y, z], or W y + z with a row of W a class
    init_std: float | None = 0.01  # weights ~ N(0, init_std^2), biases 0; null: He
    heads_std: float | None = None  # of the initial W of combine=heads, in units of z; null: by init_std
    discriminator_init_std: float | None = None  # of the discriminators' weights, all layers; null: by init_std
    leaky_slope: float = 0.0  # of the discriminators' ReLU
    batch_norm: bool = False  # in the encoder's hidden layers, before the ReLU (Ioffe and Szegedy 2015)

    def __post_init__(self) -> None:
        require(1 <= self.z_dim <= MOST, "model.z_dim", self.z_dim, f"give at least 1, at most {MOST}")
        require(2 <= self.num_classes <= MOST, "model.num_classes", self.num_classes, f"give at least 2, at most {MOST}")
        for name in ("hidden_dims", "discriminator_dims"):
            dims = getattr(self, name)
            ok = dims is None or (bool(dims) and all(isinstance(dim, int) and 1 <= dim <= MOST for dim in dims))
            require(ok, f"model.{name}", dims, f"give widths of at least 1, at most {MOST}")
        for name, null in {"init_std": "He", "discriminator_init_std": "that of init_std", "heads_std": "that of init_std"}.items():
            std = getattr(self, name)
            require(std is None or std > 0, f"model.{name}", std, f"give a positive number, or null for {null}")
        require(0 <= self.leaky_slope < 1, "model.leaky_slope", self.leaky_slope, "give a number in [0, 1)")

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `model.Autoencoder`, but for the number of pixels."""
        return {
            "z_dim": self.z_dim,
            "hidden_dims": self.hidden_dims,
            "num_heads": self.num_classes if self.class_source == "encoder" else 0,
            "decoder_classes": self.num_classes if self.class_source != "none" else 0,
            "sampled": self.encoder == "gaussian",
            "added_heads": self.combine == "heads",
            "batch_norm": self.batch_norm,
        }


@dataclass(frozen=True)
class PhaseRateConfig:
    rate: float = 0.1  # learning rate before the schedule's drops
    momentum: float = 0.1  # of SGD; beta1 of Adam


@dataclass(frozen=True)
class ScheduleConfig:
    """The rate is constant until `drop_at`, then steps, or falls along a cosine or a line, to `factor` times itself."""

    kind: Literal["constant", "step", "cosine", "linear"] = "constant"
    unit: Literal["fraction", "epoch"] = "fraction"  # of drop_at and second_drop_at
    drop_at: float = 0.6  # the drop epoch is rounded, and so many epochs run at the full rate; past the end: never
    second_drop_at: float | None = None  # `factor` once more; read by kind step alone
    factor: float = 0.1

    def __post_init__(self) -> None:
        require(0 < self.factor <= 1, "optim.schedule.factor", self.factor, "give a number in (0, 1]")
        for name in ("drop_at", "second_drop_at"):
            at = getattr(self, name)
            if at is not None:
                limit, unit = (1.0, "a fraction of train.epochs in [0, 1]") if self.unit == "fraction" else (math.inf, "an epoch")
                require(0 <= at <= limit, f"optim.schedule.{name}", at, f"give {unit}, or set optim.schedule.unit")
        if self.second_drop_at is not None:
            require(self.second_drop_at > self.drop_at, "optim.schedule.second_drop_at", self.second_drop_at, "it must come after drop_at")


@dataclass(frozen=True)
class OptimConfig:
    """One optimiser a phase, each with its own momentum: shared momentum traps runs (docs/deviations.md)."""

    kind: Literal["sgd", "adam"] = "sgd"
    reconstruction: PhaseRateConfig = field(default_factory=lambda: PhaseRateConfig(rate=0.01, momentum=0.9))
    discriminator: PhaseRateConfig = field(default_factory=PhaseRateConfig)
    generator: PhaseRateConfig = field(default_factory=PhaseRateConfig)
    classification: PhaseRateConfig = field(default_factory=lambda: PhaseRateConfig(rate=0.1, momentum=0.9))
    decoder_speed: float = 1.0  # the decoder's rate in the reconstruction phase, from epoch 3 on, in units of reconstruction.rate
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        require(self.decoder_speed > 0, "optim.decoder_speed", self.decoder_speed, "give a positive factor; 1: one rate for both")
        for name in PHASES:
            phase = getattr(self, name)
            require(phase.rate > 0, f"optim.{name}.rate", phase.rate, "give a positive learning rate")
            require(0 <= phase.momentum < 1, f"optim.{name}.momentum", phase.momentum, "give a number in [0, 1)")


@dataclass(frozen=True)
class TrainConfig:
    epochs: int = 60  # over the unlabelled images
    update: Literal["alternating", "joint"] = "joint"  # codes anew before each phase, or once a step
    batch_size: int = 100  # unlabelled images a step
    labelled_batch_size: int = 100  # labelled images a step, from a stream of their own
    learnt_labelled_batch_size: int | None = None  # the same, once an epoch's cross-entropy was below 0.001 nats; null: no other
    input_noise_std: float = 0.3  # Gaussian, on pixels in [0, 1], training only
    labelled_spread: float = 0.0  # noise on labelled images with the covariance of all, in units of their spread; falls with the rates
    input_dropout: float = 0.0  # share of pixels set to 0, the rest scaled up to make up for it; training only
    shift: int = 0  # each image is moved by up to so many pixels either way, zeros filled in, its target too; training only
    ema_decay: float | None = 0.999  # of the averaged weights; null: they are the plain ones
    seed: int = 0  # initial weights, order of images, noise, prior samples
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where the device multiplies it natively
    num_threads: int = 1  # of the CPU; part of what makes a run repeatable to the bit
    checkpoint_every: str = "auto"  # epochs, or a time such as 30s (then at the next epoch's end); auto: 30s on a GPU, else 1
    keep_epochs: list[int] = field(default_factory=list)  # their whole checkpoints stay, for a study that forks this one
    sample_every: int = 10  # epochs between pictures, and one set at the end; 0: none
    parzen_samples: int = 0  # of the Parzen estimate of the likelihood after each epoch (paper: 10000); 0: none

    def __post_init__(self) -> None:
        for name, low in {"epochs": 1, "batch_size": 1, "labelled_batch_size": 1, "seed": 0, "num_threads": 1}.items():
            require(getattr(self, name) >= low, f"train.{name}", getattr(self, name), f"give a whole number of at least {low}")
        learnt, most = self.learnt_labelled_batch_size, self.labelled_batch_size
        want = f"it takes the place of train.labelled_batch_size={most}: give 1 to {most}, or null"
        require(learnt is None or 1 <= learnt <= most, "train.learnt_labelled_batch_size", learnt, want)
        for epoch in self.keep_epochs:
            ok = isinstance(epoch, int) and 1 <= epoch <= self.epochs
            require(ok, "train.keep_epochs", epoch, f"give epochs from 1 to {self.epochs} (train.epochs)")
        require(self.num_threads <= MOST, "train.num_threads", self.num_threads, "give the number of cores")
        require(self.parzen_samples <= MOST, "train.parzen_samples", self.parzen_samples, f"give at most {MOST}")
        for name in ("sample_every", "parzen_samples", "shift"):
            require(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "give a whole number, or 0 for none")
        require(0 <= self.input_dropout < 1, "train.input_dropout", self.input_dropout, "give a share in [0, 1)")
        for name in ("input_noise_std", "labelled_spread"):
            require(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "give a number of at least 0")
        require(self.ema_decay is None or 0 < self.ema_decay < 1, "train.ema_decay", self.ema_decay, "give a number in (0, 1), or null")
        every = re.fullmatch(r"auto|[1-9]\d{0,5}s?", self.checkpoint_every)
        require(every is not None, "train.checkpoint_every", self.checkpoint_every, "give epochs (1), seconds (30s) or auto")


@dataclass(frozen=True)
class TrialConfig:
    """Everything one training needs; equal configurations on equal machines give equal numbers."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        check_switches(self)
        check_sizes(self)

    def with_class_probabilities(self, values: list[float]) -> TrialConfig:
        """What objective.adversarial_y.prior of kind labels comes to, once they are drawn and counted."""
        assert self.objective.adversarial_y is not None
        adversarial_y = replace(self.objective.adversarial_y, prior=ClassPriorConfig("given", values))
        return replace(self, objective=replace(self.objective, adversarial_y=adversarial_y))
