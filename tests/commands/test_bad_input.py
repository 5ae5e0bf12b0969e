"""Wrong input: exit code 2, at most three lines that say what, got and what to do, no traceback, nothing written. And beside
each kind of it the near miss that must pass."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

from aae import train
from aae.config import ConfigError, TrialConfig
from aae.inputs import parse_overrides, read_sweep
from aae.layers import trial_from_sweep
from aae.streams import plain_console
from aae.tuning.spec.schema import sweep_schema
from tests.folders import listing
from tests.refusals import refused, run
from tests.sweep_files import sweep_text

ROOT = Path(__file__).resolve().parents[2]

MNIST = "{name: mnist, num_labels: 100}"
ASHA = "{kind: SuccessiveHalvingPruner, min_resource: 1}"
RATE = "{kind: float, low: 0.01, high: 0.1}"
NO_LABELS = {"data": "{name: npz, folder: tiny.npz, num_labels: 0, num_validation: 105}", "objective": "{adversarial_y: {}}"}
KIND = "{kind: categorical, choices: [constant, step]}"
UNSUPERVISED = ["objective.adversarial_y=null", "objective.classification=null", "model.class_source=none"]
PRIOR = "objective.adversarial_z.prior"
P_OF_Y = "objective.adversarial_y.prior"
SEES_LABEL = "objective.adversarial_z.sees_label"
SEES_CLASS = "objective.adversarial_z.sees_class"
MOVES_HEADS = "objective.reconstruction.moves_heads"


@pytest.fixture(autouse=True)
def nothing_starts(request, monkeypatch):
    """Everything here is refused before Ray starts, and no training begins."""
    import ray

    def no(what):
        return lambda *arguments, **options: pytest.fail(f"{what} began")

    monkeypatch.setattr(ray, "init", no("Ray"))
    if "starts" not in request.keywords:
        monkeypatch.setattr(train, "train_epoch", no("a training"))


# ---- the sweep file as a whole: (content, what is said)

FILES = {
    "missing": (None, ("sweep.yaml: no such file", "sweeps/*.yaml")),
    "empty": ("", ("holds no sweep", "study, baselines, trial, search_space")),
    "only a comment": ("# study: {name: x}\n", ("holds no sweep", "trial")),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", ("not a text file", "sweeps/quick.yaml")),
    "bytes that are text": (b"\x00\x01\x02", ("not valid YAML",)),
    "a sentence": ("hello there", ("holds no sweep",)),
    "a list": ("- study\n- trial\n", ("holds no sweep", "its blocks are")),
    "not closed": ("study: {name: x", ("not valid YAML",)),
    "tabs": ("study:\n\tname: x\n", ("not valid YAML",)),
    "unknown block": (sweep_text(end="trials: {}\n"), ("trials", "an unknown block", "study, baselines, trial, search_space")),
    "block is a list": (sweep_text(trial="[1, 2]"), ("trial", "give a block of keys")),
    "block is a number": (sweep_text(trial="3"), ("trial", "give a block of keys")),
    "duplicate block": (sweep_text(end="trial: {}\n"), ("not valid YAML", "duplicate key trial")),
    "duplicate key": (sweep_text(trial={"train": "{epochs: 2, epochs: 3}"}), ("not valid YAML", "duplicate key epochs")),
    "duplicate search path": (sweep_text(end="  model.z_dim: {kind: int, low: 2, high: 3}\n"), ("duplicate key model.z_dim",)),
    "an object of Python": (sweep_text(trial={"train": "!!python/object/apply:os.getcwd []"}), ("not valid YAML",)),
}


@pytest.mark.parametrize("program", ["launch", "train"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_sweep_is_refused(program, name, workplace, capsys):
    content, says = FILES[name]
    if content is not None:
        (workplace / "sweep.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    refused(program, ["sweep.yaml"], says, workplace, capsys)


@pytest.mark.parametrize("program", ["launch", "train"])
def test_a_folder_in_place_of_a_sweep_is_refused(program, workplace, capsys):
    (workplace / "sweeps").mkdir()
    refused(program, ["sweeps"], ("sweeps: a folder", "give a sweep file"), workplace, capsys)
    refused(program, ["tiny.npz/sweep.yaml"], ("tiny.npz/sweep.yaml", "give a sweep file"), workplace, capsys)


# ---- values of a trial, in the file and on the command line alike: (path=value, what is said)

VALUES = {
    "unknown key": ("model.zdim=8", ("model.zdim", "z_dim")),
    "unknown block of a path": ("modell.z_dim=8", ("modell", "model")),
    "a value where a block is": ("model=8", ("model", "8")),
    "a path below a value": ("model.z_dim.low=8", ("model.z_dim",)),
    "word for a number": ("model.z_dim=ten", ("model.z_dim", "ten")),
    "fraction for a whole number": ("model.z_dim=2.5", ("model.z_dim", "2.5")),
    "list for a number": ("model.z_dim=[1, 2]", ("model.z_dim",)),
    "number for a list": ("model.hidden_dims=16", ("model.hidden_dims", "list")),
    "empty list of widths": ("model.hidden_dims=[]", ("model.hidden_dims: got []", "give widths")),
    "width of 0": ("model.hidden_dims=[16, 0]", ("model.hidden_dims: got [16, 0]", "give widths")),
    "empty list of the discriminators' widths": (
        "model.discriminator_dims=[]",
        ("model.discriminator_dims: got []", "give widths"),
    ),
    "a discriminator's width of 0": ("model.discriminator_dims=[0]", ("model.discriminator_dims: got [0]", "give widths")),
    "null for a number": ("model.z_dim=null", ("model.z_dim: got null; give a value of type int, or leave the line out",)),
    "null for a list": ("model.hidden_dims=null", ("model.hidden_dims: got null; give a list or block, or leave the line out",)),
    "null for a choice": ("train.update=null", ("train.update: got null; give alternating, joint, or leave the line out",)),
    "many codes": ("model.z_dim=999999999999", ("model.z_dim: got 999999999999", "at most 10000000")),
    "many units": ("model.hidden_dims=[99999999999]", ("model.hidden_dims: got [99999999999]", "at most 10000000")),
    "many classes": ("model.num_classes=999999999999", ("model.num_classes: got 999999999999", "at most 10000000")),
    "epochs in lists": ("train.keep_epochs=[[1]]", ("train.keep_epochs: got [1]", "give epochs from 1 to")),
    "units in lists": ("model.hidden_dims=[[8]]", ("model.hidden_dims: got [[8]]", "give widths")),
    "lists in lists": (f"model.hidden_dims={100 * '['}{100 * ']'}", ("too many blocks or lists in one another",)),
    "many threads": ("train.num_threads=99999999999", ("train.num_threads: got 99999999999", "cores")),
    "many samples": ("train.parzen_samples=99999999", ("train.parzen_samples: got 99999999", "at most 10000000")),
    "a value to fill in": ("model.z_dim=???", ("model.z_dim: got ???", "write the value itself")),
    "a block to fill in": ("model=???", ("model: got ???", "leave the line out")),
    "width of no code": ("model.z_dim=0", ("model.z_dim: got 0", "give at least 1")),
    "one class": ("model.num_classes=1", ("model.num_classes: got 1", "give at least 2")),
    "weights of no spread": ("model.init_std=0", ("model.init_std: got 0", "null for He")),
    "discriminators' weights of no spread": (
        "model.discriminator_init_std=0",
        ("model.discriminator_init_std: got 0", "null for that of init_std"),
    ),
    "heads of no spread": ("model.heads_std=0", ("model.heads_std: got 0", "null for that of init_std")),
    "slope of 1": ("model.leaky_slope=1", ("model.leaky_slope: got 1", "[0, 1)")),
    "unknown choice": ("train.update=together", ("train.update", "together", "alternating")),
    "unknown prior": ("objective.adversarial_z.prior.kind=cauchy", ("objective.adversarial_z.prior.kind", "cauchy", "gaussian")),
    "prior of no spread": ("objective.adversarial_z.prior.std=0", ("objective.adversarial_z.prior.std: got 0", "positive")),
    "negative weight": ("objective.classification.weight=-1", ("objective.classification.weight: got -1", "at least 0")),
    "heads without classes": ("model.class_source=none", ("objective.adversarial_y", "model.class_source=encoder")),
    "rate of 0": ("optim.generator.rate=0", ("optim.generator.rate: got 0", "positive")),
    "momentum of 1": ("optim.generator.momentum=1", ("optim.generator.momentum: got 1", "[0, 1)")),
    "drop at 60 of a fraction": ("optim.schedule.drop_at=60", ("optim.schedule.drop_at: got 60", "optim.schedule.unit")),
    "drop before the start": ("optim.schedule.drop_at=-0.1", ("optim.schedule.drop_at: got -0.1", "in [0, 1]")),
    "second drop first": ("optim.schedule.second_drop_at=0.5", ("second_drop_at: got 0.5", "after drop_at")),
    "factor of 0": ("optim.schedule.factor=0", ("optim.schedule.factor: got 0", "(0, 1]")),
    "no epoch": ("train.epochs=0", ("train.epochs: got 0", "at least 1")),
    "negative seed": ("train.seed=-1", ("train.seed: got -1", "at least 0")),
    "no thread": ("train.num_threads=0", ("train.num_threads: got 0", "at least 1")),
    "decay of 1": ("train.ema_decay=1", ("train.ema_decay: got 1", "or null")),
    "negative noise": ("train.input_noise_std=-0.3", ("train.input_noise_std: got -0.3", "at least 0")),
    "half precision": ("train.precision=float16", ("train.precision", "float16", "bfloat16")),
    "checkpoint every minute": ("train.checkpoint_every=1m", ("train.checkpoint_every: got 1m", "30s")),
    "checkpoint never": ("train.checkpoint_every=0", ("train.checkpoint_every: got 0", "epochs (1)")),
    "unknown dataset": ("data.name=imagenet", ("data.name", "imagenet", "mnist")),
    "negative shuffle seed": ("data.shuffle_seed=-1", ("data.shuffle_seed: got -1", "or null")),
    "unknown draw": ("data.label_draw=stratified", ("data.label_draw", "stratified", "balanced")),
    "p(y) is a number": ("objective.adversarial_y.prior=3", ("objective.adversarial_y.prior", "3")),
    "unknown p(y)": ("objective.adversarial_y.prior.kind=data", ("objective.adversarial_y.prior.kind", "data", "uniform")),
    "p(y) given without values": ("objective.adversarial_y.prior.kind=given", (f"{P_OF_Y}.values: got null", "it needs them")),
    "values of a uniform p(y)": (f"{P_OF_Y}.values=[0.5, 0.5]", (f"{P_OF_Y}.values: got [0.5, 0.5]", "only kind given has values")),
    "a p(y) of two classes": (
        f"{P_OF_Y}={{kind: given, values: [0.5, 0.5]}}",
        (f"{P_OF_Y}.values: got 2 values", "each of the 10 classes"),
    ),
    "a p(y) above 1": (f"{P_OF_Y}={{kind: given, values: [0.9, 0.2]}}", (f"{P_OF_Y}.values: got [0.9, 0.2]", "sum to 1")),
    "a p(y) with a 0": (f"{P_OF_Y}={{kind: given, values: [1.0, 0.0]}}", (f"{P_OF_Y}.values: got [1.0, 0.0]", "positive")),
    "no draw": ("data.num_draws=0", ("data.num_draws: got 0", "1 to 100")),
    "negative label seed": ("data.label_seed=-1", ("data.label_seed: got -1", "at least 0")),
    "no validation images": ("data.num_validation=0", ("data.num_validation: got 0", "at least two")),
    "minus two labels": ("data.num_labels=-2", ("data.num_labels: got -2", "-1 for all")),
    "classes without labels": ("data.num_labels=0", ("data.num_labels=0", "give labels")),
    "batch above the labels": ("train.labelled_batch_size=21", ("train.labelled_batch_size: got 21", "there are 20 labels")),
    "no labelled image once learnt": (
        "train.learnt_labelled_batch_size=0",
        ("train.learnt_labelled_batch_size: got 0", "give 1 to 20, or null"),
    ),
    "more labelled images once learnt": (
        "train.learnt_labelled_batch_size=21",
        ("train.learnt_labelled_batch_size: got 21", "train.labelled_batch_size=20"),
    ),
    "a decoder that stands still": ("optim.decoder_speed=0", ("optim.decoder_speed: got 0", "positive factor")),
    "nan": ("optim.generator.rate=nan", ("optim.generator.rate: got nan", "give a")),
    "nan of YAML": ("optim.generator.rate=.nan", ("optim.generator.rate", "nan", "finite")),
    "negative spread": ("train.labelled_spread=-1", ("train.labelled_spread: got -1", "at least 0")),
    "inf": ("train.input_noise_std=inf", ("train.input_noise_std", "inf", "finite")),
    "minus inf of YAML": ("objective.classification.weight=-.inf", ("objective.classification.weight", "inf", "finite")),
    "infinite drop": ("optim.schedule={unit: epoch, drop_at: .inf}", ("optim.schedule.drop_at", "inf", "finite")),
    "interpolation": ("data.folder=${oc.env:HOME}", ("data.folder", "interpolations are not read", "write the value itself")),
}


def with_value(item: str) -> str:
    """The sweep with `a.b=c` written into its trial: block."""
    path, _, value = item.partition("=")
    trial = OmegaConf.to_container(OmegaConf.create(sweep_text()).trial)
    block, names = trial, path.split(".")
    for name in names[:-1]:
        block[name] = block[name] if isinstance(block.get(name), dict) else {}
        block = block[name]
    block[names[-1]] = "VALUE"
    return sweep_text().replace("trial:\n", "unused:\n").split("unused:")[0] + (
        f"trial: {json.dumps(trial)}\n".replace('"VALUE"', f"'{value}'" if value[:2] in ("${", "??") else value)
    )


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_of_a_trial_is_refused_on_the_command_line(name, workplace, capsys):
    item, says = VALUES[name]
    (workplace / "sweep.yaml").write_text(sweep_text())
    for program in ("launch", "train"):
        refused(program, ["sweep.yaml", item], says, workplace, capsys)


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_of_a_trial_is_refused_in_the_file(name, workplace, capsys):
    item, says = VALUES[name]
    (workplace / "sweep.yaml").write_text(with_value(item) + "search_space: {}\nbaselines: {plain: {}}\n")
    for program in ("launch", "train"):
        refused(program, ["sweep.yaml"], says, workplace, capsys)


# ---- other things on the command line: (arguments, what is said)

ARGUMENTS = {
    "key": (["train.epochs"], ("train.epochs: not an override", "path=value")),
    "key=": (["train.epochs="], ("train.epochs=: not an override", "null is written null")),
    "=value": (["=3"], ("=3: not an override", "path=value")),
    "a block of the file": (["baselines=null"], ("baselines: got null", "in the sweep file alone")),
    "a range": (["search_space.model.z_dim=8"], ("in the sweep file alone", "model.z_dim=8 fixes a path")),
    "trial. before a path": (["trial.train.epochs=3"], ("write the path without trial.",)),
    "an unknown block": (["foo.bar=3"], ("there is no 'foo' here", "schema.json")),
    "spaces around =": (["train.epochs =3"], ("not an override", "path=value")),
    "an index": (["model.hidden_dims[0]=3"], ("not an override", "path=value")),
    "two dots": (["model..z_dim=3"], ("not an override", "path=value")),
    "a value that is no YAML": (["model.hidden_dims=[16"], ("model.hidden_dims=[16", "not valid YAML")),
    "a variable in the run folder": (["study.folder=$SCRATCH/runs"], ("study.folder: got '$SCRATCH/runs'", "write the folder itself")),
    "a variable in the data": (["data.folder=a$b.npz"], ("data.folder: got 'a$b.npz'", "variables are not read here")),
    "a variable in a block": (["study.fork={run: $OTHER, top_k: 1, epoch: 1}"], ("study.fork.run: got '$OTHER'", "variables are not")),
    "a home folder of nobody": (["study.folder=~nobody-here/runs"], ("study.folder: got '~nobody-here/runs'", "no such home folder")),
    "a comment in a value": (["data.folder=my data #2.npz"], ("data.folder: got my data #2.npz", "begins a comment", "in quotes")),
    "octal in old YAML": (["train.epochs=010"], ("train.epochs: got 010", "write 10")),
    "digits in groups": (["train.batch_size=1_000"], ("train.batch_size: got 1_000", "write 1000")),
    "minutes and seconds": (["study.max_minutes=1:30"], ("study.max_minutes: got 1:30", "without colons")),
    "a time for checkpoints": (["train.checkpoint_every=1:30"], ("train.checkpoint_every: got 1:30", "seconds (30s)")),
    "a leading zero for checkpoints": (["train.checkpoint_every=010"], ("train.checkpoint_every: got 010", "epochs (1)")),
    "a word of old YAML": ([f"{SEES_LABEL}=yes"], (f"{SEES_LABEL}: got yes", "write true or false")),
    "a tag": (["train.epochs=!!int 5"], ("not valid YAML", "the tag")),
    "an alias in itself": (["model.hidden_dims=&a [*a]"], ("not valid YAML",)),
    "two lines": (["train.epochs=2\nother: 3"], ("not valid YAML",)),
    "a second file": (["other.yaml"], ("other.yaml: not an override", "path=value")),
    "unknown option": (["--epochs", "3"], ("--epochs",)),
    "a block that is off": (
        ["objective.classification=null", "objective.classification.weight=2"],
        ("objective.classification.weight", "is off", "objective.classification={}"),
    ),
    "a shift of half of the image": (["train.shift=3"], ("train.shift: got 3; images are 6 x 6", "give less than half of a side")),
    "batch above the images": (["train.batch_size=301"], ("train.batch_size: got 301", "there are 300")),
    "batch above all labels": (
        ["data.num_labels=-1", "train.labelled_batch_size=301"],
        ("train.labelled_batch_size: got 301", "there are 300"),
    ),
    "25 labels of ten classes": (["data.num_labels=25"], ("data.num_labels: got 25", "multiple")),
    "more labels than images": (["data.num_labels=70000"], ("data.num_labels: got 70000", "there are 300")),
    "too few heads for the labels": (["model.num_classes=9"], ("model.num_classes: got 9", "the labels have 10 classes: give that")),
    "more heads than the labels have classes": (["model.num_classes=16"], ("model.num_classes: got 16", "10 classes: give that")),
    "all images for validation": (["data.num_validation=405"], ("data.num_validation: got 405", "there are 405")),
    "a file that is not there": (["data.folder=none.npz"], ("none.npz", "cannot be read as .npz")),
    "a file that is no npz": (["data.folder=sweep.yaml"], ("sweep.yaml", "cannot be read as .npz")),
    "a file for MNIST": (["data.name=mnist"], ("data.folder: got tiny.npz", "write data.name=npz")),
    "a folder that is not there": (["data.name=mnist", "data.folder=minst"], ("data.folder: got minst; no such folder",)),
    "npz without a file": (["data.folder=null"], ("data.folder: got null", "name your .npz file")),
    "101 labels of MNIST": (["data.name=mnist", "data.num_labels=101"], ("data.num_labels: got 101", "multiple of 10")),
    "70,000 labels of MNIST": (["data.name=mnist", "data.num_labels=70000"], ("data.num_labels: got 70000", "training images")),
    "batch larger than MNIST": (["data.name=mnist", "train.batch_size=60000"], ("train.batch_size: got 60000", "59895 training images")),
    "MNIST with nine heads": (["data.name=mnist", "model.num_classes=9"], ("model.num_classes: got 9", "10 labelled classes")),
}


@pytest.mark.parametrize("program", ["launch", "train"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_wrong_command_line_is_refused(program, name, workplace, capsys):
    arguments, says = ARGUMENTS[name]
    (workplace / "sweep.yaml").write_text(sweep_text())
    refused(program, ["sweep.yaml", *arguments], says, workplace, capsys)


@pytest.mark.parametrize(
    "arguments",
    [[*UNSUPERVISED, f"{SEES_LABEL}=true"], [*UNSUPERVISED[:2], "model.class_source=label", "data.num_labels=-1"]],
    ids=["discriminator", "decoder"],
)
def test_too_few_classes_for_who_is_shown_the_label_are_refused(arguments, workplace, capsys):
    """Fails where refuse_unfit asks for objective.classification: one_hot would then end the training with a traceback."""
    (workplace / "sweep.yaml").write_text(sweep_text())
    says = ("model.num_classes: got 9", "the labels have 10 classes: give that")
    refused("train", ["sweep.yaml", *arguments, "model.num_classes=9"], says, workplace, capsys)


# ---- switches that exclude each other: (arguments, what is said, the way out that it names, more arguments that make it right)

EXCLUSIVE: dict[str, tuple[list[str], tuple[str, ...], list[str]]] = {
    "classification without an inferred class": (
        ["objective.adversarial_y=null", "model.class_source=none"],
        ("objective.classification: it needs an inferred class, got model.class_source=none", "set model.class_source=encoder"),
        ["model.class_source=encoder"],
    ),
    "classification of a class that is told": (
        ["objective.adversarial_y=null", "model.class_source=label", "data.num_labels=-1"],
        ("objective.classification: it needs an inferred class, got model.class_source=label", "objective.classification=null"),
        ["objective.classification=null"],
    ),
    "adversarial_y without an inferred class": (
        ["objective.classification=null", "model.class_source=none", "data.num_labels=0"],
        ("objective.adversarial_y: it needs an inferred class", "objective.adversarial_y=null"),
        ["objective.adversarial_y=null"],
    ),
    "classification without labels": (
        ["data.num_labels=0"],
        ("objective.classification: got data.num_labels=0", "give labels, or objective.classification=null"),
        ["objective.classification=null"],
    ),
    "sees_label without labels": (
        [*UNSUPERVISED, "data.num_labels=0", f"{SEES_LABEL}=true"],
        (f"{SEES_LABEL}: got data.num_labels=0", f"give labels, or {SEES_LABEL}=false"),
        [f"{SEES_LABEL}=false"],
    ),
    "learnt labels that nobody learns": (
        [*UNSUPERVISED, "data.num_labels=0", "train.learnt_labelled_batch_size=10"],
        ("train.learnt_labelled_batch_size: got 10", "leave it out, or turn objective.classification on"),
        ["train.learnt_labelled_batch_size=null"],
    ),
    "labelled images that nobody learns": (
        [*UNSUPERVISED, "data.num_labels=0", "train.labelled_spread=0.5"],
        ("train.labelled_spread: got 0.5", "leave it out, or turn objective.classification on"),
        ["train.labelled_spread=0"],
    ),
    "sees_class without a class": (
        [*UNSUPERVISED, "data.num_labels=0", f"{SEES_CLASS}=true"],
        (f"{SEES_CLASS}: got model.class_source=none", f"set model.class_source=encoder, or {SEES_CLASS}=false"),
        [f"{SEES_CLASS}=false"],
    ),
    "sees_class and sees_label": (
        [f"{SEES_CLASS}=true", f"{SEES_LABEL}=true"],
        (f"{SEES_CLASS}: got sees_label too", f"set one of {SEES_CLASS} and sees_label to false"),
        [f"{SEES_LABEL}=false"],
    ),
    "a spread of heads that are not there": (
        ["model.heads_std=2"],
        ("model.heads_std: got 2.0 with model.combine=concat", "set model.combine=heads, or model.heads_std=null"),
        ["model.combine=heads"],
    ),
    "heads that are not there and not moved": (
        [f"{MOVES_HEADS}=false"],
        (f"{MOVES_HEADS}: got false with model.combine=concat", f"set model.combine=heads, or {MOVES_HEADS}=true"),
        [f"{MOVES_HEADS}=true"],
    ),
    "heads that nothing places": (
        [f"{MOVES_HEADS}=false", "model.combine=heads"],
        (f"{MOVES_HEADS}: got false with nothing that places", "set model.heads_std, turn objective.head_separation on"),
        ["objective.head_separation={}"],
    ),
    "heads that nothing places, placed": (
        [f"{MOVES_HEADS}=false", "model.combine=heads"],
        (f"{MOVES_HEADS}: got false with nothing that places", f"or {MOVES_HEADS}=true"),
        ["model.heads_std=2"],
    ),
    "labels that nobody reads": (
        UNSUPERVISED,
        ("data.num_labels: got 20; nothing reads labels here", SEES_LABEL, "or give 0"),
        ["data.num_labels=0"],
    ),
    "labels that nobody reads, read": (
        UNSUPERVISED,
        ("turn objective.classification or objective.adversarial_z.sees_label on",),
        [f"{SEES_LABEL}=true"],
    ),
    "a class that is told of some images": (
        [*UNSUPERVISED[:2], "model.class_source=label"],
        ("data.num_labels: got 20; the decoder is told every image's label: give -1",),
        ["data.num_labels=-1"],
    ),
    "consistency without an inferred class": (
        [*UNSUPERVISED, "data.num_labels=0", "objective.consistency={}"],
        ("objective.consistency: it needs an inferred class, got model.class_source=none", "objective.consistency=null"),
        ["objective.consistency=null"],
    ),
    "a perturbation of no length": (
        ["objective.consistency={}", "objective.consistency.epsilon=0"],
        ("objective.consistency.epsilon: got 0", "give a positive length"),
        ["objective.consistency.epsilon=1"],
    ),
    "no step to find its direction": (
        ["objective.consistency={}", "objective.consistency.xi=0"],
        ("objective.consistency.xi: got 0", "give a positive length"),
        ["objective.consistency.xi=1"],
    ),
    "a term that begins before the first epoch": (
        ["objective.consistency={}", "objective.consistency.from_epoch=-1"],
        ("objective.consistency.from_epoch: got -1", "0 for the first"),
        ["objective.consistency.from_epoch=99"],
    ),
    "a perturbation around another image": (
        ["objective.consistency={}", "objective.consistency.around=dirty"],
        ("objective.consistency.around", "dirty", "noisy"),
        ["objective.consistency.around=clean"],
    ),
    "equal classes where they are not": (
        ["objective.consistency={aligned: true}", "objective.adversarial_y.prior.kind=labels"],
        ("objective.consistency.aligned: got true with classes of kind labels", "or objective.consistency.aligned=false"),
        ["objective.adversarial_y.prior.kind=uniform"],
    ),
    "a shift to nowhere": (["train.shift=-1"], ("train.shift: got -1", "0 for none"), ["train.shift=1"]),
    "heads without a class": (
        [*UNSUPERVISED, "data.num_labels=0", "model.combine=heads"],
        ("model.combine: got heads without a class", "combine=concat"),
        ["model.combine=concat"],
    ),
    "head separation without heads": (
        ["objective.head_separation={}"],
        ("objective.head_separation: got model.combine=concat", "set model.combine=heads, or objective.head_separation=null"),
        ["model.combine=heads"],
    ),
    "no distance between heads": (
        ["model.combine=heads", "objective.head_separation={}", "objective.head_separation.threshold=0"],
        ("objective.head_separation.threshold: got 0", "give a positive distance"),
        ["objective.head_separation.threshold=1"],
    ),
    "mutual information without an inferred class": (
        [*UNSUPERVISED, "data.num_labels=0", "objective.mutual_information={}"],
        ("objective.mutual_information: it needs an inferred class", "objective.mutual_information=null"),
        ["objective.mutual_information=null"],
    ),
    "a balance below nought": (
        ["objective.mutual_information={}", "objective.mutual_information.balance=-1"],
        ("objective.mutual_information.balance: got -1", "give a number of at least 0"),
        ["objective.mutual_information.balance=0"],
    ),
    "until before the first epoch": (
        ["objective.mutual_information={}", "objective.mutual_information.until_epoch=-1"],
        ("objective.mutual_information.until_epoch: got -1", "give a number of epochs, or null"),
        ["objective.mutual_information.until_epoch=0"],
    ),
    "batch norm over one image": (
        ["model.batch_norm=true", "train.batch_size=1"],
        ("train.batch_size: got 1", "model.batch_norm takes a mean over the batch: give at least 2"),
        ["train.batch_size=2"],
    ),
    "batch norm over one labelled image": (
        ["model.batch_norm=true", "train.labelled_batch_size=1", "train.learnt_labelled_batch_size=null"],
        ("train.labelled_batch_size: got 1", "give at least 2"),
        ["model.batch_norm=false"],
    ),
    "a mixture in an odd number of dimensions": (
        [f"{PRIOR}.kind=mixture", "model.z_dim=3"],
        ("model.z_dim: got 3; the mixture lives in pairs of dimensions", "give an even number"),
        ["model.z_dim=4"],
    ),
    "a swiss roll in four dimensions": (
        [f"{PRIOR}.kind=swiss_roll", "model.z_dim=4"],
        ("model.z_dim: got 4; the swiss roll is a curve in a plane", "give 2"),
        ["model.z_dim=2"],
    ),
    "std of a mixture": (
        [f"{PRIOR}={{kind: mixture, std: 2.0}}"],
        (f"{PRIOR}.std: got 2.0; mixture has its own spread", "leave std out"),
        [f"{PRIOR}={{kind: mixture, std: 1.0}}"],
    ),
    "std of a swiss roll": (
        [f"{PRIOR}={{kind: swiss_roll, std: 2.0}}", "model.z_dim=2"],
        (f"{PRIOR}.std: got 2.0; swiss_roll has its own spread",),
        [f"{PRIOR}={{kind: gaussian, std: 2.0}}"],
    ),
    "more heads than classes, with labels": (
        ["data.name=mnist", "data.num_validation=10000", "model.num_classes=16"],
        ("model.num_classes: got 16", "mnist has 10 labelled classes"),
        ["model.num_classes=10"],
    ),
    "p(y) of labels, without labels": (
        ["objective.classification=null", "data.num_labels=0", f"{P_OF_Y}.kind=labels"],
        (f"{P_OF_Y}.kind: got labels with data.num_labels=0", "give some, or kind uniform or given"),
        [f"{P_OF_Y}.kind=uniform"],
    ),
    "a published dataset, shuffled": (
        ["data.name=mnist", "data.num_validation=10000", "data.shuffle_seed=0"],
        ("data.shuffle_seed: got 0; mnist keeps its published order", "only npz is shuffled"),
        ["data.shuffle_seed=null"],
    ),
    "25 labels of MNIST": (
        ["data.name=mnist", "data.num_validation=10000", "data.num_labels=25"],
        ("data.num_labels: got 25", "multiple of 10"),
        ["data.label_draw=random"],
    ),
    "negative noise on y": (
        ["objective.adversarial_y.noise_std=-1"],
        ("objective.adversarial_y.noise_std: got -1", "at least 0"),
        ["objective.adversarial_y.noise_std=0"],
    ),
    "all pixels left out": (["train.input_dropout=1"], ("train.input_dropout: got 1", "a share in [0, 1)"), ["train.input_dropout=0.5"]),
    "minus one Parzen sample": (["train.parzen_samples=-1"], ("train.parzen_samples: got -1", "0 for none"), ["train.parzen_samples=0"]),
}


@pytest.mark.parametrize("name", EXCLUSIVE)
def test_switches_that_exclude_each_other_are_refused_with_the_way_out_and_it_leads_out(name, workplace, capsys):
    arguments, says, way_out = EXCLUSIVE[name]
    (workplace / "sweep.yaml").write_text(sweep_text(space={"model.z_dim": None}, baselines={"plain": "{}"}) + "  {}\n")
    for program in ("launch", "train"):
        refused(program, ["sweep.yaml", *arguments], says, workplace, capsys)
    config = trial_from_sweep(read_sweep("sweep.yaml"), None, parse_overrides([*arguments, *way_out]))
    assert isinstance(config, TrialConfig)


# ---- study, baselines and search space: (changes of the sweep, arguments, what is said)

STUDIES = {
    "no name": ({"study": {"name": None}}, [], ("study.name: got ''", "folder name")),
    "empty name": ({"study": {"name": "''"}}, [], ("study.name: got ''", "folder name")),
    "name with /": ({}, ["study.name=a/b"], ("study.name: got 'a/b'", "folder name")),
    "name with ..": ({}, ["study.name=a..b"], ("study.name: got 'a..b'", "folder name")),
    "name that is ..": ({}, ["study.name=.."], ("study.name: got '..'", "folder name")),
    "name with a space": ({"study": {"name": "my study"}}, [], ("study.name: got 'my study'", "folder name")),
    "hidden name": ({"study": {"name": ".mine"}}, [], ("study.name: got '.mine'", "folder name")),
    "name that is null": ({"study": {"name": "null"}}, [], ("study.name",)),
    "no study": ({"study": "{}"}, [], ("study.name: got ''", "folder name")),
    "unknown key": ({"study": {"trials": "4"}}, [], ("study.trials", "num_trials")),
    "unknown key set": ({}, ["study.trials=4"], ("study.trials", "num_trials")),
    "nothing below": ({}, ["study.=4"], ("study.=4: not an override",)),
    "study itself": ({}, ["study=4"], ("study: got 4", "set one of its fields")),
    "other metric": ({"study": {"metric": "val/loss"}}, [], ("study.metric: got val/loss", "val/error")),
    "weighted metric": ({"study": {"metric": "generator/adversarial_z"}}, [], ("study.metric", "weight 0", "val/error")),
    "metric of the test set": ({"study": {"metric": "test/error"}}, [], ("study.metric: got test/error", "val/error")),
    "reconstruction alone": ({"study": {"metric": "val/reconstruction"}}, [], ("study.constraint: got null", "val/prior_mismatch")),
    "mismatch alone": ({"study": {"metric": "val/prior_mismatch"}}, [], ("study.metric", "give the prior up", "val/reconstruction")),
    "clusters with labels": ({"study": {"metric": "val/cluster_error"}}, [], ("val/cluster_error", "objective.classification=null")),
    "components without labels": ({"study": {"metric": "val/component_error"}}, [], ("val/component_error", "sees_label=true")),
    "likelihood without samples": ({"study": {"metric": "val/parzen_nll"}}, [], ("val/parzen_nll", "train.parzen_samples=10000")),
    "constraint is a number": ({"study": {"constraint": "0.2"}}, [], ("study.constraint: got 0.2", "upper: 0.2")),
    "constraint of the error": (
        {"study": {"constraint": "{metric: val/error, upper: 0.2}"}},
        [],
        ("study.constraint.metric: got val/error", "val/prior_mismatch"),
    ),
    "constraint without a limit": (
        {"study": {"constraint": "{metric: val/prior_mismatch, upper: -1}"}},
        [],
        ("study.constraint.upper: got -1", "positive"),
    ),
    "constraint under a pruner": (
        {"study": {"constraint": "{metric: val/prior_mismatch, upper: 0.2}", "pruner": "{kind: MedianPruner}"}},
        [],
        ("study.pruner.kind: got MedianPruner", "NopPruner"),
    ),
    "metric without its term": (
        {"trial": NO_LABELS},
        [],
        ("val/error", "add objective.classification"),
    ),
    "maximize an error": ({"study": {"direction": "maximize"}}, [], ("study.direction: got maximize", "minimize")),
    "no direction at all": ({"study": {"direction": "down"}}, [], ("study.direction", "down", "minimize")),
    "no trials": ({"study": {"num_trials": "0"}}, [], ("study.num_trials: got 0", "at least 1")),
    "many trials": ({"study": {"num_trials": "many"}}, [], ("study.num_trials", "many")),
    "half a trial": ({}, ["study.num_trials=2.5"], ("study.num_trials", "2.5")),
    "no draw": ({"study": {"draws_per_trial": "0"}}, [], ("study.draws_per_trial: got 0", "1 to 100")),
    "draws of a later pool": ({}, ["study.draws_per_trial=101"], ("study.draws_per_trial: got 101", "0 to 99")),
    "half a draw": ({}, ["study.draws_per_trial=1.5"], ("study.draws_per_trial", "1.5")),
    "initialisations beside a seed": (
        {"study": {"draws_per_trial": "3", "metric": "val/cluster_error"}, "trial": NO_LABELS},
        ["train.seed=5"],
        ("study.draws_per_trial: got 3", "its initialisation seeds are 0 to 2", "train.seed is 5: leave that out"),
    ),
    "draws beside a label seed": (
        {"study": {"draws_per_trial": "3"}},
        ["data.label_seed=5"],
        ("study.draws_per_trial: got 3", "0 to 2", "data.label_seed is 5: leave that out"),
    ),
    "draws beside a searched label seed": (
        {"study": {"draws_per_trial": "3"}, "space": {"data.label_seed": "{kind: int, low: 0, high: 9}"}},
        [],
        ("search_space.data.label_seed", "every trial must share it"),
    ),
    "draws said twice": (
        {"study": {"draws_per_trial": "3"}},
        ["data.num_draws=2"],
        ("study.draws_per_trial: got 3", "data.num_draws is 2: leave that out"),
    ),
    "draws said elsewhere": ({}, ["data.num_draws=2"], ("study.draws_per_trial: got 1", "data.num_draws is 2")),
    "no minutes": ({}, ["study.max_minutes=0"], ("study.max_minutes: got 0", "null")),
    "minus one at a time": ({}, ["study.max_concurrent=-1"], ("study.max_concurrent: got -1", "null")),
    "no disk": ({}, ["study.max_disk_gb=0"], ("study.max_disk_gb: got 0", "null")),
    "infinite minutes": ({}, ["study.max_minutes=inf"], ("study.max_minutes", "inf", "finite")),
    "a negative gain": ({}, ["study.stop_below_gain=-0.001"], ("study.stop_below_gain: got -0.001", "positive", "null")),
    "a gain of any size": ({}, ["study.stop_below_gain=inf"], ("study.stop_below_gain: got inf", "finite")),
    "a gain that is a word": ({}, ["study.stop_below_gain=little"], ("study.stop_below_gain", "little")),
    "a gain of a random search": (
        {"study": {"sampler": "{kind: RandomSampler}"}},
        ["study.stop_below_gain=0.001"],
        ("study.stop_below_gain: got 0.001", "random", "auto"),
    ),
    "a gain under a constraint": (
        {"study": {"sampler": "{kind: TPESampler}", "constraint": "{metric: val/prior_mismatch, upper: 0.2}"}},
        ["study.stop_below_gain=0.001"],
        ("study.stop_below_gain: got 0.001", "constraint", "null"),
    ),
    "a parent without a fork": (
        {"baselines": {"plain": "{fork.parent: 1}"}},
        [],
        ("baselines.plain.", "there is no 'fork' here"),
    ),
    "unknown sampler": ({"study": {"sampler": "{kind: GridSampler}"}}, [], ("study.sampler.kind: got GridSampler", "TPESampler")),
    "sampler without kind": ({"study": {"sampler": "{seed: 0}"}}, [], ("study.sampler.kind: got null", "TPESampler")),
    "sampler is a word": ({"study": {"sampler": "TPESampler"}}, [], ("study.sampler: got TPESampler", "give a block")),
    "sampler's argument": ({"study": {"sampler": "{kind: RandomSampler, startup: 3}"}}, [], ("study.sampler.startup", "takes seed")),
    "sampler's type": (
        {"study": {"sampler": "{kind: TPESampler, n_startup_trials: ten}"}},
        [],
        ("n_startup_trials: got 'ten'", "give int"),
    ),
    "sampler's seed": ({"study": {"sampler": "{kind: TPESampler, seed: 1.5}"}}, [], ("study.sampler.seed: got 1.5", "give int")),
    "sampler's function": ({"study": {"sampler": "{kind: TPESampler, gamma: 3}"}}, [], ("study.sampler.gamma", "unknown argument")),
    "negative seed of the sampler": ({"study": {"sampler": "{kind: TPESampler, seed: -1}"}}, [], ("study.sampler", "-1")),
    "startup below 0": ({"study": {"sampler": "{kind: TPESampler, n_startup_trials: -3}"}}, [], ("study.sampler", "-3")),
    "no candidates": ({"study": {"sampler": "{kind: TPESampler, n_ei_candidates: 0}"}}, [], ("study.sampler", "n_ei_candidates")),
    "sampler is a block": ({}, ["study.sampler.kind={}"], ("study.sampler.kind: got {}", "give one of auto")),
    "a key of a list": (
        {},
        ["study.learn_from=[a]", "study.learn_from.x=3"],
        ("study.learn_from.x: got 3", "study.learn_from is a list: write it as a whole"),
    ),
    "a key of a key of a list": (
        {},
        ["study.learn_from=[a]", "study.learn_from.x.y=3"],
        ("study.learn_from.x.y: got 3", "study.learn_from is a list: write it as a whole"),
    ),
    "trials to fill in": ({}, ["study.num_trials=???"], ("study.num_trials: got ???", "write the value itself")),
    "unknown pruner": ({"study": {"pruner": "{kind: ASHA}"}}, [], ("study.pruner.kind: got ASHA", "SuccessiveHalvingPruner")),
    "pruner is a list": ({"study": {"pruner": "[NopPruner]"}}, [], ("study.pruner", "give a block")),
    "pruner's argument": ({"study": {"pruner": "{kind: MedianPruner, min_resource: 3}"}}, [], ("min_resource", "n_startup_trials")),
    "pruner's type": ({"study": {"pruner": "{kind: MedianPruner, n_warmup_steps: soon}"}}, [], ("n_warmup_steps: got 'soon'", "give int")),
    "pruner's word": ({"study": {"pruner": "{kind: SuccessiveHalvingPruner, min_resource: soon}"}}, [], ("min_resource", "soon")),
    "pruner's range": ({"study": {"pruner": "{kind: SuccessiveHalvingPruner, min_resource: 0}"}}, [], ("study.pruner", "min_resource")),
    "pruner's percentile": ({"study": {"pruner": "{kind: PercentilePruner, percentile: 150.0}"}}, [], ("study.pruner", "150")),
    "pruner without its percentile": ({"study": {"pruner": "{kind: PercentilePruner}"}}, [], ("study.pruner", "percentile")),
    "unknown resource": ({"study": {"resources_per_trial": "{tpu: 1}"}}, [], ("study.resources_per_trial.tpu: got 1", "{cpu: 1}")),
    "no resource": ({"study": {"resources_per_trial": "{cpu: 0}"}}, [], ("study.resources_per_trial", "something to run on")),
    "resources in a word": ({}, ["study.resources_per_trial=all"], ("study.resources_per_trial: got all", "write auto")),
    "confirmation": ({"study": {"confirm": "{select_k: 3}"}}, [], ("study.confirm", "neither report_draws nor half_width")),
    "a bucket": ({}, ["study.folder=s3://bucket/runs"], ("study.folder: got s3://bucket/runs", "file system")),
    "no folder": ({}, ["study.folder=''"], ("study.folder", "give a folder")),
    "folder below a file": ({}, ["study.folder=tiny.npz/runs"], ("tiny.npz/runs/mine", "cannot be written", "study.folder=")),
    "folder that is a file": ({}, ["study.folder=.", "study.name=tiny.npz"], ("tiny.npz", "study.name=other")),
    "folder that takes nothing": ({}, ["study.folder=/proc/runs"], ("/proc/runs/mine: cannot be written", "study.folder=")),
    "study is an interpolation": ({"study": {"folder": "'${oc.env:HOME}'"}}, [], ("study.folder", "interpolations are not read")),
    # the search space
    "nothing to try": ({"space": "{}"}, [], ("search_space is empty, and there are no baselines", "give something to try")),
    "nothing left to try": (
        {"space": {"model.z_dim": "{kind: int, low: 2, high: 4}"}},
        ["model.z_dim=3"],
        ("model.z_dim is set on the command line: not searched, and there are no baselines", "give something to try"),
    ),
    "a list in quotes": (
        {"space": {"model.hidden_dims": "{kind: categorical, choices: ['[16]', [8]]}"}},
        [],
        ("search_space.model.hidden_dims.choices: got '[16]'", "write a list without quotes"),
    ),
    "a number that no float holds": (
        {"space": {"model.z_dim": f"{{kind: int, low: 2, high: 1{400 * '0'}}}"}},
        [],
        ("search_space.model.z_dim.high: got a number of 401 digits", "write a smaller one"),
    ),
    "a hexadecimal number that no float holds": (
        {},
        [f"study.max_disk_gb=0x{298 * 'f'}"],
        ("study.max_disk_gb: got a number of 300 digits",),
    ),
    "a limit that no float holds": (
        {},
        [f"study.max_disk_gb=1{400 * '0'}"],
        ("study.max_disk_gb: got a number of 401 digits", "write a smaller one"),
    ),
    "a whole number that no sampler tells apart": (
        {"space": {"model.z_dim": "{kind: int, low: 2, high: 99999999999999999999}"}},
        [],
        ("search_space.model.z_dim.high", "give a whole number of at most 9007199254740992"),
    ),
    "a step too small": (
        {"space": {"optim.generator.rate": "{kind: float, low: 0.01, high: 0.1, step: 1.0e-30}"}},
        [],
        ("search_space.optim.generator.rate.step: got 1e-30", "give at least"),
    ),
    "values between the ends that no configuration can have": (  # seen to fail eleven of twenty trials
        {
            "trial": {"objective": "{adversarial_z: {prior: {kind: mixture}}, classification: {}}"},
            "space": {"model.z_dim": "{kind: int, low: 2, high: 12}"},
        },
        [],
        ("search_space: ", "of 32 sampled configurations cannot be trained", "model.z_dim: got", "a step"),
    ),
    "two drops that may cross": (
        {
            "trial": {"optim": "{schedule: {kind: step, drop_at: 0.4, second_drop_at: 0.95}}"},
            "space": {
                "optim.schedule.drop_at": "{kind: float, low: 0.3, high: 0.9}",
                "optim.schedule.second_drop_at": "{kind: float, low: 0.5, high: 0.95}",
            },
        },
        [],
        ("search_space: 7 of 32 sampled configurations cannot be trained", "second_drop_at: got", "narrow a range"),
    ),
    "Hyperband that would divide by 0 at the first prune": (  # seen to, and the study could not be gone on with
        {"study": {"pruner": "{kind: HyperbandPruner, min_resource: 0}"}},
        [],
        ("study.pruner.min_resource: got 0", "give at least 1"),
    ),
    "Hyperband that divides by 1": (
        {"study": {"pruner": "{kind: HyperbandPruner, reduction_factor: 1}"}},
        [],
        ("study.pruner.reduction_factor: got 1", "give at least 2"),
    ),
    "a choice twice in two types": (
        {"space": {"model.z_dim": "{kind: categorical, choices: [4, '4']}"}},
        [],
        ("search_space.model.z_dim.choices: got 4 and '4'", "name it once"),
    ),
    "a condition that never holds": (
        {
            "space": {
                "train.input_noise_std": "{kind: float, low: 0.0, high: 0.5}",
                "optim.generator.rate": "{kind: float, low: 0.01, high: 0.1, when: {train.input_noise_std: 0.3}}",
            }
        },
        [],
        ("when.train.input_noise_std", "hardly ever gives exactly such a value", "a step"),
    ),
    "a block as a choice": (
        {"space": {"objective.adversarial_y": "{kind: categorical, choices: [null, {weight: 2}]}"}},
        [],
        ("search_space.objective.adversarial_y: got a whole block", "as objective.adversarial_y."),
    ),
    "space is a list": ({"space": "[model.z_dim]"}, [], ("search_space", "give a block of keys")),
    "unknown path": ({"space": {"model.zdim": "{kind: int, low: 1, high: 2}"}}, [], ("model.zdim: no such path", "sweep.yaml:14")),
    "path of a block": (
        {"space": {"model": "{kind: int, low: 1, high: 2}"}},
        [],
        ("search_space.model: got a whole block; search paths in it, as model.z_dim", "sweep.yaml:14"),
    ),
    "path without its block": ({"space": {"z_dim": "{kind: int, low: 1, high: 2}"}}, [], ("did you mean model.z_dim", "sweep.yaml:14")),
    "block is off": (
        {"space": {"objective.classification.weight": RATE}, "trial": NO_LABELS},
        [],
        ("search_space.objective.classification.weight", "the block objective.classification is off", "under trial:", "sweep.yaml:14"),
    ),
    "epochs are searched": ({"space": {"train.epochs": "{kind: int, low: 1, high: 9}"}}, [], ("train.epochs", "under trial:")),
    "labels are searched": ({"space": {"data.num_labels": "{kind: int, low: 10, high: 90}"}}, [], ("data.num_labels", "under trial:")),
    "seeds are searched": ({"space": {"train.seed": "{kind: int, low: 0, high: 9}"}}, [], ("train.seed", "under trial:")),
    "no kind": ({"space": {"model.z_dim": "{low: 6, high: 12}"}}, [], ("model.z_dim.kind: got null", "int, float, categorical")),
    "unknown kind": ({"space": {"model.z_dim": "{kind: loguniform, low: 6, high: 12}"}}, [], ("kind: got loguniform", "categorical")),
    "a number for a range": ({"space": {"model.z_dim": "8"}}, [], ("search_space.model.z_dim: got 8", "give a block")),
    "null for a range": ({"space": {"model.z_dim": "null"}}, [], ("search_space.model.z_dim: got null", "give a block")),
    "unknown key of a range": ({"space": {"model.z_dim": "{kind: int, low: 6, upper: 12}"}}, [], ("model.z_dim.upper", "int takes")),
    "choices of a range": ({"space": {"model.z_dim": "{kind: int, low: 6, high: 9, choices: [6]}"}}, [], ("z_dim.choices", "int takes")),
    "low above high": ({"space": {"model.z_dim": "{kind: int, low: 12, high: 6}"}}, [], ("low 12 above high 6", "swap", "sweep.yaml:13")),
    "no high": ({"space": {"model.z_dim": "{kind: int, low: 12}"}}, [], ("model.z_dim.high: got null", "a whole number")),
    "low is a word": ({"space": {"optim.generator.rate": "{kind: float, low: tiny, high: 1}"}}, [], ("rate.low: got tiny", "finite")),
    "half of a whole number": ({"space": {"model.z_dim": "{kind: int, low: 6.5, high: 12}"}}, [], ("z_dim.low: got 6.5", "whole number")),
    "low is true": ({"space": {"model.z_dim": "{kind: int, low: true, high: 12}"}}, [], ("z_dim.low: got True", "whole number")),
    "nan as an end": ({"space": {"optim.generator.rate": "{kind: float, low: .nan, high: 1}"}}, [], ("rate.low", "nan", "finite")),
    "inf as an end": ({"space": {"optim.generator.rate": "{kind: float, low: 0.1, high: .inf}"}}, [], ("rate.high", "inf", "finite")),
    "log from 0": ({"space": {"optim.generator.rate": "{kind: float, low: 0, high: 1, log: true}"}}, [], ("rate.low: got 0", "above 0")),
    "log from below 0": ({"space": {"train.seed_": "{kind: int, low: -1, high: 1, log: true}"}}, [], ("train.seed_: no such path",)),
    "log is a word": (
        {"space": {"optim.generator.rate": "{kind: float, low: 0.1, high: 1, log: 10}"}},
        [],
        ("log: got 10", "true or false"),
    ),
    "log with steps": ({"space": {"model.z_dim": "{kind: int, low: 1, high: 9, log: true, step: 2}"}}, [], ("step: got 2", "remove one")),
    "step of 0": ({"space": {"model.z_dim": "{kind: int, low: 1, high: 9, step: 0}"}}, [], ("model.z_dim.step: got 0", "positive")),
    "empty choices": ({"space": {"optim.kind": "{kind: categorical, choices: []}"}}, [], ("optim.kind.choices: got []", "at least one")),
    "choices in a word": ({"space": {"optim.kind": "{kind: categorical, choices: sgd}"}}, [], ("optim.kind.choices: got sgd", "list")),
    "no choices": ({"space": {"optim.kind": "{kind: categorical}"}}, [], ("optim.kind.choices: got null", "at least one")),
    "a choice twice": (
        {"space": {"optim.kind": "{kind: categorical, choices: [sgd, sgd]}"}},
        [],
        ("optim.kind.choices", "each choice once"),
    ),
    "a choice that is none": ({"space": {"optim.kind": "{kind: categorical, choices: [sgd, lion]}"}}, [], ("optim.kind", "lion", ":14")),
    "a block for a choice": (
        {"space": {"optim.kind": "{kind: categorical, choices: [{a: 1}]}"}},
        [],
        ("optim.kind.choices", "numbers, words"),
    ),
    "an end out of range": ({"space": {"optim.generator.momentum": "{kind: float, low: 0.5, high: 1.5}"}}, [], ("value 1.5", "[0, 1)")),
    "an end of the wrong type": ({"space": {"model.z_dim": "{kind: float, low: 1.5, high: 2.5}"}}, [], ("model.z_dim", "1.5")),
    "when: no such path": (
        {"space": {"optim.generator.rate": RATE[:-1] + ", when: {optim.kin: sgd}}"}},
        [],
        ("when.optim.kin", "no such path"),
    ),
    "when: is a word": ({"space": {"optim.generator.rate": RATE[:-1] + ", when: sgd}"}}, [], ("when: got sgd", "give a block")),
    "when: a value that never occurs": (
        {"space": {"optim.schedule.kind": KIND, "optim.generator.rate": RATE[:-1] + ", when: {optim.schedule.kind: cosine}}"}},
        [],
        ("when.optim.schedule.kind: got ['cosine']", "never takes", "sweep.yaml:15"),
    ),
    "when: a fixed value that can never be": (
        {"space": {"optim.generator.rate": RATE[:-1] + ", when: {optim.kind: lion}}"}},
        [],
        ("when.optim.kind", "lion"),
    ),
    "when: nothing": ({"space": {"optim.generator.rate": RATE[:-1] + ", when: {optim.kind: []}}"}}, [], ("when.optim.kind", "[]")),
    "when: itself": (
        {"space": {"optim.generator.rate": RATE[:-1] + ", when: {optim.generator.rate: 0.1}}"}},
        [],
        ("optim.generator.rate", "wait for each other", "remove one"),
    ),
    "when: in a circle": (
        {
            "space": {
                "optim.kind": "{kind: categorical, choices: [sgd, adam], when: {optim.schedule.kind: step}}",
                "optim.schedule.kind": KIND[:-1] + ", when: {optim.kind: sgd}}",
            }
        },
        [],
        ("optim.kind, optim.schedule.kind", "wait for each other", "remove one"),
    ),
    "one knob twice": (
        {"space": {"objective.classification.weight": RATE, "optim.classification.rate": RATE}},
        [],
        ("objective.classification.weight", "optim.classification.rate", "search one of them"),
    ),
    "batches under a pruner": (
        {"study": {"pruner": ASHA}, "space": {"train.batch_size": "{kind: int, low: 10, high: 50}"}},
        [],
        ("train.batch_size", "under a pruner", "NopPruner"),
    ),
    "labelled batches under a pruner": (
        {"study": {"pruner": ASHA}, "space": {"train.labelled_batch_size": "{kind: int, low: 10, high: 20}"}},
        [],
        ("train.labelled_batch_size", "under a pruner", "NopPruner"),
    ),
    "smaller labelled batches under a pruner": (
        {"study": {"pruner": ASHA}, "space": {"train.learnt_labelled_batch_size": "{kind: int, low: 10, high: 20}"}},
        [],
        ("train.learnt_labelled_batch_size", "under a pruner", "NopPruner"),
    ),
    "a searched batch above the images": (
        {"space": {"train.batch_size": "{kind: int, low: 10, high: 500}"}},
        [],
        ("train.batch_size", "500", "there are 300"),
    ),
    # baselines
    "baseline of other data": ({"baselines": {"b": "{data.num_labels: 30}"}}, [], ("baselines.b.data.num_labels", "same data")),
    "baseline of other epochs": ({"baselines": {"b": "{train.epochs: 3}"}}, [], ("baselines.b.train.epochs", "same data and epochs")),
    "baseline of a block": ({"baselines": {"b": "{train: {epochs: 3}}"}}, [], ("baselines.b.train", "same data and epochs")),
    "baseline's unknown path": ({"baselines": {"b": "{model.zdim: 3}"}}, [], ("baselines.b", "model.zdim", "z_dim")),
    "baseline's value": ({"baselines": {"b": "{model.z_dim: none}"}}, [], ("baselines.b", "model.z_dim", "none")),
    "baseline is a list": ({"baselines": {"b": "[1]"}}, [], ("baselines.b", "give a block of dotted paths")),
    "baseline is null": ({"baselines": {"b": "null"}}, [], ("baselines.b", "give a block of dotted paths")),
    "baseline of a block that is off": (
        {"baselines": {"b": "{objective.classification.weight: 2}"}, "trial": NO_LABELS},
        [],
        ("baselines.b.objective.classification.weight", "is off", "objective.classification={}"),
    ),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_wrong_study_is_refused_before_ray_starts(name, workplace, capsys):
    changes, arguments, says = STUDIES[name]
    (workplace / "sweep.yaml").write_text(sweep_text(**changes))
    refused("launch", ["sweep.yaml", *arguments], says, workplace, capsys)


# ---- one training alone


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--baseline", "papr"], ("baseline papr: got an unknown name", "baselines: paper")),
        (["--baseline"], ("--baseline",)),
        (["study.num_trials=3"], ("study.num_trials", "aae.train trains alone", "launch.py")),
        (["study=3"], ("study", "launch.py")),
        (["search_space.model.z_dim=3"], ("search_space",)),
        (["--output", "tiny.npz"], ("tiny.npz", "--output")),
        (["--output", "tiny.npz/below"], ("tiny.npz/below: cannot be written", "--output")),
        (["--output", "/proc/none"], ("/proc/none: cannot be written", "--output")),
        (["--output", "full"], ("full: not empty and no training", "--output")),
        (["--output", "broken"], ("broken", "config.yaml")),
        (["--output", "other"], ("other", "model.z_dim=3", "--output")),
        (["--output", "$SCRATCH/alone"], ("--output: got '$SCRATCH/alone'", "write the folder itself")),
        (["--output", "~nobody-here/alone"], ("--output: got '~nobody-here/alone'", "no such home folder")),
    ],
)
def test_a_wrong_training_alone_is_refused(arguments, says, workplace, capsys):
    (workplace / "sweep.yaml").write_text(sweep_text(baselines={"paper": "{optim.kind: sgd}"}))
    for folder, file, content in (
        ("full", "letter.txt", "dear"),
        ("broken", "config.yaml", "model: {z_dim: [\n"),
        ("other", "config.yaml", "{data: {}, model: {z_dim: 3}, objective: {}, optim: {}, train: {}}\n"),
    ):
        (workplace / folder).mkdir()
        (workplace / folder / file).write_text(content)
    refused("train", ["sweep.yaml", *arguments], says, workplace, capsys)


# ---- run folders that are none, or broken


def broken_run(folder: Path, kind: str) -> None:
    """The folder of the sweep that is written beside it, with one file missing or broken."""
    from aae import manifest
    from aae.data import load_dataset
    from aae.tuning.study.parents import load_sweep

    folder.mkdir()
    (folder.parent / "sweep.yaml").write_text(sweep_text())
    sweep = load_sweep("sweep.yaml", {"study.folder": "."}).with_precision("float32")
    made = {"id": "0", "precision": "float32", "sweep": sweep.fingerprint()}
    made |= manifest.describe([], load_dataset("npz", "tiny.npz", 105).hashes)
    files = {"manifest.json": json.dumps(made), "sweep.yaml": sweep_text(), "study.journal": ""} | {
        "no manifest": {"manifest.json": None},
        "torn manifest": {"manifest.json": '{"id": "0", "swe'},
        "manifest is a list": {"manifest.json": "[]"},
        "manifest without keys": {"manifest.json": "{}"},
        "no journal": {"study.journal": None},
        "binary journal": {"study.journal": "\x00\x01\n\x02\n"},
        "empty journal": {"study.journal": ""},
        "journal of something else": {"study.journal": '{"hello": "there"}\n'},
    }[kind]
    for file, content in files.items():
        if content is not None:
            (folder / file).write_text(content)


READERS = {"status": ("launch", ["status"]), "reproduce": ("launch", ["reproduce"]), "report": ("report", [])}
NO_RUN = {
    "status": dict.fromkeys(("a file", "empty", "something else"), "run: holds no sweep; give one in which a sweep was started")
    | {"missing": "run: no such folder; give one in which a sweep was started"},
    "reproduce": dict.fromkeys(("missing", "a file", "empty", "something else"), "run: holds no manifest.json; give the folder of a sweep"),
    "report": dict.fromkeys(("missing", "a file"), "run: no such folder; give the folder of a sweep")
    | dict.fromkeys(("empty", "something else"), "run: holds no study.journal; give the folder of a sweep"),
}
BROKEN = {  # what every reader says; "no manifest" is in each one's own words
    "torn manifest": "run/manifest.json: broken, not JSON (Unterminated string",
    "manifest is a list": "run/manifest.json: broken, it lacks code, data, device, id, precision, sweep, versions",
    "manifest without keys": "run/manifest.json: broken, it lacks code, data, device, id, precision, sweep, versions",
    "no journal": "run: holds no study.journal; give the folder of a sweep",
    "binary journal": "run/study.journal: broken, a line is not JSON",
    "empty journal": "run/study.journal: empty, no trial was asked yet; the sweep's own command begins it",
    "journal of something else": "run/study.journal: cannot be read as a study (KeyError: 'op_code'); restore it",
}
NO_MANIFEST = {
    "status": NO_RUN["status"]["empty"],
    "reproduce": NO_RUN["reproduce"]["empty"],
    "report": "run: holds no manifest.json; restore it",
}


@pytest.mark.parametrize(("reader", "kind"), [(reader, kind) for reader, kinds in NO_RUN.items() for kind in kinds])
def test_a_folder_that_is_no_run_is_refused_by_every_reader(reader, kind, workplace, capsys):
    program, arguments = READERS[reader]
    if kind != "missing":
        (workplace / "run").mkdir() if kind != "a file" else (workplace / "run").write_text("hello")
    if kind == "something else":
        (workplace / "run" / "letter.txt").write_text("dear")
    refused(program, [*arguments, "run"], (NO_RUN[reader][kind],), workplace, capsys)


@pytest.mark.parametrize(
    ("reader", "kind"),
    # a sweep without trials has a report that says so
    [(reader, kind) for reader in READERS for kind in ["no manifest", *BROKEN] if (reader, kind) != ("report", "empty journal")],
)
def test_a_broken_run_folder_is_refused_by_every_reader_that_says_which_file(reader, kind, workplace, capsys):
    program, arguments = READERS[reader]
    broken_run(workplace / "run", kind)
    refused(program, [*arguments, "run"], (BROKEN.get(kind, NO_MANIFEST[reader]),), workplace, capsys)


@pytest.mark.parametrize("kind", ["no manifest", *(kind for kind in BROKEN if kind not in ("no journal", "empty journal"))])
def test_a_sweep_does_not_go_on_in_a_broken_run_folder(kind, workplace, capsys):
    """Its manifest is that of this code and sweep, so what is broken is what refuses it."""
    broken_run(workplace / "mine", kind)
    (workplace / "mine" / ".lock").write_text("")  # a driver's own, of every run folder
    says = BROKEN.get(kind, "run: not empty and no sweep; name another with study.name=other").replace("run", "mine", 1)
    refused("launch", ["sweep.yaml", "study.folder=."], (says,), workplace, capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ("the following arguments are required: sweep",)),
        (["status"], ("launch.py status", "the following arguments are required: run")),
        (["reproduce"], ("launch.py reproduce", "the following arguments are required: run")),
        (["confirm"], ("launch.py confirm", "the following arguments are required: run")),
        (["cluster", "up", "x.yaml"], ("launch.py cluster", "invalid choice: 'up' (choose from")),
        (["reproduce", "run", "--trial", "best"], ("argument --trial: invalid int value: 'best'",)),
        (["confirm", "run"], ("run: no such folder",)),
        (["sweep.yaml", "num_trials=8"], ("num_trials: there is no such path; did you mean study.num_trials?",)),
        (["sweep.yaml", "report_draws=8"], ("report_draws: there is no such path; did you mean study.confirm.report_draws?",)),
        (["stauts", "run"], ("stauts: neither a command nor a sweep file", "did you mean status")),
    ],
)
def test_a_wrong_command_of_the_launcher_is_refused(arguments, says, workplace, capsys):
    (workplace / "sweep.yaml").write_text(sweep_text())
    refused("launch", arguments, says, workplace, capsys)


# ---- near misses: right input that must pass. (changes of the sweep, arguments, what the plan prints)

RIGHT = {
    "as it is": ({}, [], "sampled example 3: model.z_dim="),
    "100 labels": ({"trial": {"data": MNIST}}, [], "num_labels: 100"),
    "all labels": ({}, ["data.num_labels=-1", "train.labelled_batch_size=300"], "num_labels: -1"),
    "as many in a batch as labels": ({}, ["train.labelled_batch_size=20"], "labelled_batch_size: 20"),
    "a rate as 1e-4": ({"trial": {"optim": "{generator: {rate: 1e-4}}"}}, [], "rate: 0.0001"),
    "a rate as 1e-4 on the command line": ({}, ["optim.generator.rate=1e-4"], "rate: 0.0001"),
    "a whole number for a fraction": ({}, ["optim.generator.rate=1"], "rate: 1.0"),
    "low equal to high": ({"space": {"model.z_dim": "{kind: int, low: 6, high: 6}"}}, [], "model.z_dim=6"),
    "log from just above 0": ({"space": {"optim.generator.rate": "{kind: float, low: 1e-9, high: 1, log: true}"}}, [], "generator.rate="),
    "a range from 0": ({"space": {"optim.generator.momentum": "{kind: float, low: 0, high: 0.9}"}}, [], "generator.momentum="),
    "steps": ({"space": {"model.z_dim": "{kind: int, low: 2, high: 8, step: 3}"}}, [], "step: 3"),
    "one choice": ({"space": {"optim.kind": "{kind: categorical, choices: [adam]}"}}, [], "optim.kind=adam"),
    "lists as choices": (
        {"space": {"model.hidden_dims": "{kind: categorical, choices: [[16], [8, 8]]}"}},
        ["study.num_trials=5"],
        "model.hidden_dims=[",
    ),
    "null as a choice": ({"space": {"train.ema_decay": "{kind: categorical, choices: [null, 0.9]}"}}, [], "train.ema_decay="),
    "key=null": ({}, ["train.ema_decay=null"], "ema_decay: null"),
    "a term turned off": ({}, ["objective.adversarial_y=null"], "adversarial_y: null"),
    "a term turned on and set": (
        {"trial": {"objective": "{classification: {}}"}},
        ["objective.adversarial_y={}", "objective.adversarial_y.weight=2"],
        "weight: 2.0",
    ),
    "weight of 0": ({}, ["objective.adversarial_y.weight=0"], "weight: 0.0"),
    "a drop past the end": ({}, ["optim.schedule={kind: step, unit: epoch, drop_at: 50}"], "drop_at: 50.0"),
    "when: a fixed value that holds": (
        {"space": {"optim.generator.momentum": "{kind: float, low: 0.1, high: 0.5, when: {optim.kind: [sgd, adam]}}"}},
        [],
        "optim.generator.momentum is searched in every trial: optim.kind is sgd",
    ),
    "when: a fixed value that does not hold": (
        {"space": {"optim.generator.momentum": "{kind: float, low: 0.1, high: 0.5, when: {optim.kind: adam}}"}},
        [],
        "optim.generator.momentum is not searched: optim.kind is sgd",
    ),
    "when: one of its values occurs": (
        {"space": {"optim.schedule.kind": KIND, "optim.generator.rate": RATE[:-1] + ", when: {optim.schedule.kind: [step, cosine]}}"}},
        [],
        "optim.schedule.kind=",
    ),
    "a searched path on the command line": (
        {"space": {"optim.kind": "{kind: categorical, choices: [sgd, adam]}"}},
        ["model.z_dim=3"],
        "model.z_dim is set on the command line: not searched",
    ),
    "weight and another phase's rate": (
        {"space": {"objective.classification.weight": RATE, "optim.generator.rate": RATE}},
        [],
        "objective.classification.weight=",
    ),
    "batches without a pruner": ({"space": {"train.batch_size": "{kind: int, low: 10, high: 50}"}}, [], "train.batch_size="),
    "a pruner that never acts": (
        {"study": {"pruner": "{kind: SuccessiveHalvingPruner, min_resource: 9}"}},
        [],
        "note: the pruner never acts: its first rung is epoch 9",
    ),
    "a pruner's auto": ({"study": {"pruner": "{kind: SuccessiveHalvingPruner, min_resource: auto}"}}, [], "min_resource: auto"),
    "a whole percentile": ({"study": {"pruner": "{kind: PercentilePruner, percentile: 25}"}}, [], "percentile: 25"),
    "a sampler without its seed": ({"study": {"sampler": "{kind: RandomSampler}"}}, [], "kind: RandomSampler"),
    "name with a dot": ({}, ["study.name=mine-2.b_c"], "name: mine-2.b_c"),
    "a name of digits": ({}, ["study.name=2026"], "2026"),
    "parts of a core": ({}, ["study.resources_per_trial={cpu: 0.5}"], "cpu: 0.5"),
    "half a minute": ({}, ["study.max_minutes=0.5"], "max_minutes: 0.5"),
    "a tenth of a point": ({"study": {"sampler": "{kind: auto}"}}, ["study.stop_below_gain=0.001"], "stop_below_gain: 0.001"),
    "baselines alone": ({"space": "{}", "baselines": {"plain": "{}"}}, [], "baseline plain: run first"),
    "a baseline of a whole block": (
        {"baselines": {"b": "{optim.schedule: {kind: step, unit: epoch, drop_at: 50}}"}},
        [],
        "baseline b: run first, never pruned",
    ),
    "a file sorted by class": ({}, ["data.num_validation=5"], "warning: the 5 validation images hold no image of class 5, 6, 7, 8, 9: "),
    "a file that only the cluster has": ({}, ["data.folder=none.npz"], "warning: none.npz: cannot be read as .npz (no such file)"),
    "a folder that only the cluster has": (
        {},
        ["data.name=mnist", "data.folder=minst"],
        "warning: data.folder: got minst; no such folder: name the folder that has the data",
    ),
    "a p(y)": ({}, [f"{P_OF_Y}={{kind: given, values: [{', '.join(['0.1'] * 10)}]}}"], "kind: given"),
    "a draw of any number": ({}, ["data.num_labels=25", "data.label_draw=random"], "label_draw: random"),
    "a step that does not divide its range": (
        {"space": {"model.z_dim": "{kind: int, low: 6, high: 12, step: 4}"}},
        [],
        "note: search_space.model.z_dim: its last value is 10: the steps of 4 from 6 do not meet 12",
    ),
    "a step that does not divide its range of fractions": (
        {"space": {"optim.schedule.factor": "{kind: float, low: 0.1, high: 1, step: 0.2}"}},
        [],
        "note: search_space.optim.schedule.factor: its last value is 0.9: the steps of 0.2 from 0.1 do not meet 1",
    ),
    "a step that divides its range": (
        {"space": {"optim.schedule.factor": "{kind: float, low: 0.1, high: 0.7, step: 0.2}"}},
        [],
        "high: 0.7",
    ),
    "two values": ({}, ["train.epochs=3", "study.num_trials=2"], "num_trials: 2"),
    "$ in a word that is no folder": ({"baselines": {"a$b": "{}"}}, [], "baseline a$b: run first"),
    "~ for the home folder": ({}, ["study.folder=~/runs"], "folder: ~/runs"),
}


def test_a_plan_refuses_a_file_in_place_of_mnists_folder_as_a_start_does(workplace, capsys):
    """Seen to fail with a plan that looked at a user's own data alone."""
    (workplace / "sweep.yaml").write_text(sweep_text())
    refused("launch", ["sweep.yaml", "data.name=mnist", "--plan"], ("data.folder: got tiny.npz", "write data.name=npz"), workplace, capsys)


@pytest.mark.parametrize("name", RIGHT)
def test_right_input_passes_and_a_plan_writes_nothing(name, workplace, capsys):
    changes, arguments, prints = RIGHT[name]
    text = sweep_text(**({"space": {"model.z_dim": None}} if "baselines alone" in name else {}) | changes)
    (workplace / "sweep.yaml").write_text(text)
    before = listing(workplace)
    code, stdout, stderr = run("launch", ["sweep.yaml", *arguments, "--plan"], capsys)
    assert (code, stderr) == (0, "")
    assert prints in stdout
    assert listing(workplace) == before


SWEEPS = [path for path in sorted((ROOT / "sweeps").glob("*.yaml")) if path.stem != "semi_decay"]  # a fork: test_fork


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_the_project_can_be_planned(sweep, workplace, capsys):
    code, stdout, stderr = run("launch", [str(sweep), "--plan"], capsys)
    assert (code, stderr) == (0, "")
    assert "sampled example 3" in stdout and "forecast" in stdout


# ---- what an editor says of the same files, by sweeps/schema.json

UNSEEN = 42  # of the wrong files: what one value says of another, of the data or of the machine, and names that a pattern would hold


def test_an_editor_underlines_most_of_the_wrong_files_and_none_of_the_right_ones(workplace):
    """Seen to fail with the ranges left out of the schema."""
    schema, seen, unseen = Draft7Validator(sweep_schema()), [], []

    def passes(text: str) -> bool:
        (workplace / "sweep.yaml").write_text(text)
        blocks = OmegaConf.to_container(read_sweep("sweep.yaml"))
        return schema.is_valid({name: block for name, block in blocks.items() if block})

    wrong = {f"value {name}": with_value(item) for name, (item, _) in VALUES.items()}
    wrong |= {f"study {name}": sweep_text(**changes) for name, (changes, arguments, _) in STUDIES.items() if not arguments}
    for name, text in wrong.items():
        with contextlib.suppress(ConfigError):  # no sweep to begin with
            (unseen if passes(text) else seen).append(name)
    assert len(seen) >= 20 and len(unseen) <= UNSEEN, (seen, unseen)
    for name, (changes, _, _) in RIGHT.items():
        assert passes(sweep_text(**({"space": {"model.z_dim": None}} if "baselines alone" in name else {}) | changes)), name


# ---- as a program


def program(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, **options)


def test_as_a_program_the_launcher_ends_with_code_2(workplace):
    done = program(str(ROOT / "launch.py"), "none.yaml")
    assert done.returncode == 2
    assert done.stderr == "launch.py: none.yaml: no such file; the sweeps that come with the project are sweeps/*.yaml\n"


def test_as_a_program_a_training_ends_with_code_2(workplace):
    (workplace / "sweep.yaml").write_text(sweep_text())
    before = listing(workplace)
    done = program("-m", "aae.train", "sweep.yaml", "model.z_dim=0")
    assert done.returncode == 2
    assert done.stderr == "aae.train: model.z_dim: got 0; give at least 1, at most 10000000\n"
    assert listing(workplace) == before


def test_a_training_for_which_memory_is_too_small_ends_with_a_line(workplace):
    (workplace / "sweep.yaml").write_text(sweep_text())
    done = program("-m", "aae.train", "sweep.yaml", "--output", "large", "model.hidden_dims=[10000000, 10000000]")
    assert done.returncode == 1
    assert done.stderr == "large: the host ran out of memory; give a smaller network or batch, or end other programs\n"


UNREADABLE = [
    ("launch", ["private/s.yaml"]),
    ("launch", ["status", "private/run"]),
    ("launch", ["reproduce", "private/run"]),
    ("launch", ["sweep.yaml", "study.sampler={kind: auto}", "study.learn_from=[private/run]", "--plan"]),
    ("analysis.report", ["private/run"]),
    ("aae.train", ["private/s.yaml"]),
]


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read all; needs setpriv to give that up")
def test_what_may_not_be_read_is_refused(workplace):
    """As on a cluster, where it is another user's. Seen to end in a traceback."""
    (workplace / "private" / "run").mkdir(parents=True)
    (workplace / "sweep.yaml").write_text(sweep_text())
    (workplace / "private").chmod(0)
    script = "import importlib\n" + "".join(f"print(importlib.import_module({name!r}).main({words}))\n" for name, words in UNREADABLE)
    give_up = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*give_up, sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "2\n" * len(UNREADABLE), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(UNREADABLE) and all("private" in line and "Permission denied" in line for line in lines), done.stderr


def test_a_folder_in_brackets_is_printed_as_it_is(capsys):
    """Seen to be taken for a style, and `[/old]` for the end of one, which is an error."""
    for folder in ("runs [old]/quick", "x[/old]"):
        plain_console().print(f"{folder}: 3 trials so far")
        assert capsys.readouterr().out == f"{folder}: 3 trials so far\n"


def on_a_small_disk(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """A shell script on a file system of 8 KB, `small`, that only these processes see."""
    command = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o size=8k none small || exit 77; {script}", "sh", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, for a small file system of its own")
def test_without_space_left_a_training_and_a_sweep_are_refused(workplace):
    (workplace / "sweep.yaml").write_text(sweep_text())
    (workplace / "small").mkdir()
    if on_a_small_disk("true").returncode != 0:
        pytest.skip("may not mount")
    script = 'head -c 8192 /dev/zero > small/filler; "$@"; code=$?; rm small/filler; ls -A small/*; exit $code'
    for arguments in (
        ["-m", "aae.train", "sweep.yaml", "--output", "small/alone"],
        [str(ROOT / "launch.py"), "sweep.yaml", "study.folder=small"],
    ):
        done = on_a_small_disk(script, sys.executable, *arguments)
        assert done.returncode == 2, done.stderr
        assert "cannot be written (No space left on device)" in done.stderr and done.stderr.count("\n") <= 3, done.stderr
        assert "config.yaml" not in done.stdout and "manifest.json" not in done.stdout
