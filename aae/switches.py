"""What of a configuration does not go together: switches and sizes. `config.TrialConfig` asks this when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aae.errors import ConfigError, require

if TYPE_CHECKING:
    from aae.config import TrialConfig


def check_switches(config: TrialConfig) -> None:
    """Switches that exclude each other, each with the way out: a mode is a set of switches, and nothing else says which.
    Raises ConfigError."""
    data, model, objective = config.data, config.model, config.objective
    adversarial_z, prior = objective.adversarial_z, objective.adversarial_z.prior
    for name in ("adversarial_y", "classification", "consistency", "mutual_information"):
        if getattr(objective, name) is not None and model.class_source != "encoder":
            raise ConfigError(
                f"objective.{name}: it needs an inferred class, got model.class_source={model.class_source}; "
                f"set model.class_source=encoder, or objective.{name}=null"
            )
    if objective.classification is not None:
        require(data.num_labels != 0, "objective.classification", "data.num_labels=0", "give labels, or objective.classification=null")
    else:
        want = "nothing learns labels here: leave it out, or turn objective.classification on"
        for name in ("learnt_labelled_batch_size", "labelled_spread"):
            require(not getattr(config.train, name), f"train.{name}", getattr(config.train, name), want)
    if adversarial_z.sees_label:
        path = "objective.adversarial_z.sees_label"
        require(data.num_labels != 0, path, "data.num_labels=0", f"give labels, or {path}=false")
    if adversarial_z.sees_class:
        path = "objective.adversarial_z.sees_class"
        want = f"it needs an inferred class: set model.class_source=encoder, or {path}=false"
        require(model.class_source == "encoder", path, f"model.class_source={model.class_source}", want)
        want = f"the discriminator is told the label or the inferred class: set one of {path} and sees_label to false"
        require(not adversarial_z.sees_label, path, "sees_label too", want)
    if model.class_source == "label":
        want = "the decoder is told every image's label: give -1, all of them, or infer the class with model.class_source=encoder"
        require(data.num_labels == -1, "data.num_labels", data.num_labels, want)
    class_prior = objective.adversarial_y.prior if objective.adversarial_y is not None else None
    if class_prior is not None and class_prior.values is not None:
        got, want = len(class_prior.values), f"give one for each of the {model.num_classes} classes (model.num_classes)"
        require(got == model.num_classes, "objective.adversarial_y.prior.values", f"{got} values", want)
    if objective.consistency is not None and objective.consistency.aligned:
        path, kind = "objective.consistency.aligned", "uniform" if class_prior is None else class_prior.kind
        want = f"its classes are equally frequent: give objective.adversarial_y.prior.kind=uniform, or {path}=false"
        require(kind == "uniform", path, f"true with classes of kind {kind}", want)
    if class_prior is not None and class_prior.kind == "labels":
        path, want = "objective.adversarial_y.prior.kind", "it counts the labels that are drawn: give some, or kind uniform or given"
        require(data.num_labels != 0, path, "labels with data.num_labels=0", want)
        want = "which head is which class is not known then: turn it on, or give kind uniform or given"
        require(objective.classification is not None, path, "labels without objective.classification", want)
    reads = objective.classification is not None or adversarial_z.sees_label or model.class_source == "label"
    want = "nothing reads labels here: turn objective.classification or objective.adversarial_z.sees_label on, or give 0"
    require(data.num_labels == 0 or reads, "data.num_labels", data.num_labels, want)
    if model.combine == "heads" and model.class_source == "none":
        raise ConfigError("model.combine: got heads without a class; W y + z needs y: set model.class_source=encoder, or combine=concat")
    moves_heads, path = objective.reconstruction.moves_heads, "objective.reconstruction.moves_heads"
    if model.combine != "heads":
        given, want = f"with model.combine={model.combine}", "there are no heads: set model.combine=heads, or "
        require(model.heads_std is None, "model.heads_std", f"{model.heads_std} {given}", f"{want}model.heads_std=null")
        require(moves_heads, path, f"false {given}", f"{want}{path}=true")
    placed = moves_heads or objective.head_separation is not None or model.heads_std is not None
    want = f"the heads stay near each other: set model.heads_std, turn objective.head_separation on, or {path}=true"
    require(placed, path, "false with nothing that places the heads", want)
    if objective.head_separation is not None and model.combine != "heads":
        raise ConfigError(
            "objective.head_separation: got model.combine=concat, which has no heads to keep apart; "
            "set model.combine=heads, or objective.head_separation=null"
        )
    if prior.kind == "mixture":
        require(model.z_dim % 2 == 0, "model.z_dim", model.z_dim, "the mixture lives in pairs of dimensions: give an even number")
    if prior.kind == "swiss_roll":
        require(model.z_dim == 2, "model.z_dim", model.z_dim, "the swiss roll is a curve in a plane: give 2")


def check_sizes(config: TrialConfig) -> None:
    """Batches and classes against what is known of the data before they are loaded. Raises ConfigError."""
    data, model, train = config.data, config.model, config.train
    if config.objective.classification is not None and data.num_labels > 0:
        want = f"there are {data.num_labels} labels (data.num_labels): give at most that"
        require(train.labelled_batch_size <= data.num_labels, "train.labelled_batch_size", train.labelled_batch_size, want)
    if model.batch_norm:
        labelled = ["labelled_batch_size", "learnt_labelled_batch_size"] if config.objective.classification is not None else []
        for name in ["batch_size", *labelled]:
            size, want = getattr(train, name), "model.batch_norm takes a mean over the batch: give at least 2"
            require(size is None or size >= 2, f"train.{name}", size, want)
    if data.known_size is not None:
        num_images, num_classes = data.known_size
        num_train = num_images - data.num_validation
        require(train.batch_size <= num_train, "train.batch_size", train.batch_size, f"there are {num_train} training images")
        fits = not data.num_labels or model.num_classes == num_classes
        require(fits, "model.num_classes", model.num_classes, f"{data.name} has {num_classes} labelled classes")
