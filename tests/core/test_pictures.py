"""What the analysis makes of a trained model of every mode: its pictures, new images of its parts, and its test metrics."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from aae import checkpoint, metrics, samples, train
from aae.data import Split, load_dataset, load_test
from aae.likelihood import PARZEN_STDS
from aae.paths import flatten
from aae.pictures import image_grid, latent_scatter
from aae.priors import SAMPLE_PRIOR, nearest_component, unlabelled
from aae.runs import TrialFolder, write_json
from analysis import generate, latents, report, strips
from analysis import test as testing
from tests.folders import copy, listing
from tests.golden import NUM_CLASSES, SIDE, tiny_arrays
from tests.sweep_files import make_sweep

ROOT = Path(__file__).resolve().parents[2]
NO_LABELS = ["data.num_labels=0", "objective.classification=null"]
PLAIN = ["model.class_source=none", "objective.adversarial_y=null", *NO_LABELS, "model.z_dim=2"]
MIXTURE = "objective.adversarial_z.prior.kind=mixture"
MODES = {
    "gaussian": [*PLAIN, "model.encoder=gaussian"],
    "mixture": [*PLAIN, MIXTURE],
    "roll": [*PLAIN, "data.num_labels=20", "objective.adversarial_z={prior: {kind: swiss_roll}, sees_label: true}"],
    "supervised": [
        "model.class_source=label",
        "data.num_labels=-1",
        "objective.adversarial_y=null",
        "objective.classification=null",
        MIXTURE,
    ],
    "semi": ["train.epochs=3"],
    "clusters": [*NO_LABELS, "model.num_classes=12"],
    "heads": ["model.combine=heads", "objective.head_separation={}", "model.z_dim=2"],
    "likelihood": [*PLAIN, "model.z_dim=4", "train.parzen_samples=30"],
}
DRAWN = {  # what `latents` draws of them without being asked
    "gaussian": ["samples", "reconstructions", "latent", "manifold"],
    "mixture": ["samples", "reconstructions", "latent", *(f"manifold-component-{k}" for k in range(NUM_CLASSES))],
    "roll": ["samples", "reconstructions", "latent", "manifold"],
    "supervised": ["samples", "reconstructions", "latent"],
    "semi": ["samples", "reconstructions", "latent"],
    "clusters": ["samples", "reconstructions", "latent", "clusters"],
    "heads": ["samples", "reconstructions", "latent", "manifold"],
    "likelihood": ["samples", "reconstructions", "latent"],
}


@pytest.fixture(scope="session")
def modes(tmp_path_factory) -> Path:
    """A trained folder a mode, on tiny.npz beside them."""
    folder = tmp_path_factory.mktemp("modes")
    np.savez(folder / "tiny.npz", **tiny_arrays())
    sweep = make_sweep(folder, folder / "tiny.npz", space={})
    for mode, overrides in MODES.items():
        assert train.main([str(sweep), "--output", str(folder / mode), "train.epochs=1", *overrides]) == 0
    return folder


@torch.no_grad()
def decoded(model, y_NK, z_NZ) -> torch.Tensor:
    return model.decoder(y_NK, torch.as_tensor(z_NZ, dtype=torch.float32))


# ---- latents


@pytest.mark.parametrize("mode", MODES)
def test_latents_draws_what_the_mode_has(mode, modes, tmp_path, capsys):
    folder = copy(modes / mode, tmp_path / mode)
    assert latents.main([str(folder)]) == 0
    paths = [folder / "report" / f"{name}.png" for name in DRAWN[mode]]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    assert sorted(paths) == sorted((folder / "report").iterdir())
    assert all(float(matplotlib.image.imread(path)[..., :3].std()) > 0.02 for path in paths)


def test_latents_draws_the_kinds_it_is_asked_for(modes, tmp_path, capsys):
    folder = copy(modes / "semi", tmp_path / "semi")
    assert latents.main([str(folder), "--kind", "clusters", "latent", "--num", "30"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / "report" / f"{kind}.png") for kind in ("clusters", "latent")]


@pytest.mark.parametrize(
    ("mode", "arguments", "says"),
    [
        ("semi", ["--kind", "manifold"], "--kind manifold: got codes of 10 dimensions (model.z_dim); a manifold is a plane"),
        ("likelihood", ["--kind", "latent", "manifold"], "--kind manifold: got codes of 4 dimensions"),
        ("gaussian", ["--kind", "clusters"], "--kind clusters: got model.class_source=none; no class is inferred"),
        ("supervised", ["--kind", "clusters"], "--kind clusters: got model.class_source=label; no class is inferred"),
    ],
)
def test_a_kind_that_the_mode_has_not_is_one_line_and_writes_nothing(mode, arguments, says, modes, capsys):
    before = listing(modes)
    assert latents.main([str(modes / mode), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err
    assert listing(modes) == before


def test_the_manifold_of_a_gaussian_is_the_plane_from_minus_3_to_3_the_second_coordinate_upwards(modes):
    model, config = checkpoint.load(modes / "gaussian")
    ((name, (pixels, columns)),) = samples.manifolds(model, config).items()
    assert name == "manifold" and columns == 20 and len(pixels) == 400
    corners = [(-3.0, 3.0), (3.0, 3.0), (-3.0, -3.0), (3.0, -3.0)]
    expected = decoded(model, torch.zeros(4, 0), corners)
    assert torch.allclose(pixels[[0, 19, 380, 399]], expected, atol=1e-6)


def test_the_manifold_of_a_component_lies_in_its_own_frame_outward_to_the_right(modes):
    """From the formula, not from aae/priors: the centre at distance 1.4 in the direction 2 pi k / 10."""
    model, config = checkpoint.load(modes / "mixture")
    drawn = samples.manifolds(model, config)
    assert len(drawn) == NUM_CLASSES
    for k in (0, 3, 7):
        pixels, columns = drawn[f"manifold-component-{k}"]
        angle = 2 * math.pi * k / NUM_CLASSES
        out, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        ends = np.array([0.4 * out + 0.2 * across, 2.4 * out + 0.2 * across, 2.4 * out - 0.2 * across])  # 1.4 -+ 1
        expected = decoded(model, torch.zeros(3, 0), ends)
        assert columns == 20 and torch.allclose(pixels[[0, 19, len(pixels) - 1]], expected, atol=1e-5)


def test_a_row_of_the_rolls_manifold_is_a_classs_stretch_from_the_inside_out(modes):
    model, config = checkpoint.load(modes / "roll")
    ((_, (pixels, columns)),) = samples.manifolds(model, config).items()
    assert columns == 20 and len(pixels) == 20 * NUM_CLASSES
    for k, place in ((0, 0), (4, 7), (9, 19)):
        root = math.sqrt((k + (place + 0.5) / 20) / NUM_CLASSES)
        z = [[3 * root * math.cos(4 * math.pi * root), 3 * root * math.sin(4 * math.pi * root)]]
        assert torch.allclose(pixels[20 * k + place], decoded(model, torch.zeros(1, 0), z)[0], atol=1e-5)


def test_the_manifold_of_added_heads_is_the_plane_of_the_code_around_them_all(modes):
    model, config = checkpoint.load(modes / "heads")
    ((_, (pixels, columns)),) = samples.manifolds(model, config).items()
    heads_K2 = model.decoder.heads_KZ.detach()
    low, high = heads_K2.amin(dim=0), heads_K2.amax(dim=0)
    centre, edge = (low + high) / 2, 3 + float((high - low).max()) / 2
    with torch.no_grad():
        corner = torch.sigmoid(model.decoder.pixels(model.decoder.trunk(centre + torch.tensor([-edge, edge]))))
    assert columns == 20 and torch.allclose(pixels[0], corner, atol=1e-5)


def test_a_row_of_the_clusters_is_its_head_and_the_surest_of_its_own_images(modes):
    """Fails where images are ranked without asking whether they are of that cluster: an unused cluster would show some."""
    model, config = checkpoint.load(modes / "clusters")
    images = load_dataset("npz", str(modes / "tiny.npz"), 105).validation
    pixels, columns = samples.clusters(model, images)
    rows = pixels.reshape(12, columns, -1)
    logits_NK = metrics.class_logits(model.encoder, images)
    odds_NK = logits_NK.softmax(dim=-1).double()
    assert torch.allclose(rows[:, 0], decoded(model, torch.eye(12), torch.zeros(12, config.model.z_dim)), atol=1e-6)
    for k in range(12):
        own = (logits_NK.argmax(dim=-1) == k).nonzero().flatten()
        surest = own[odds_NK[own, k].argsort(descending=True)][: columns - 1]
        shown = rows[k, 1 : 1 + len(surest)] * 255
        assert sorted(map(tuple, shown.round().int().tolist())) == sorted(map(tuple, images.images_NX[surest].int().tolist()))
        assert bool((rows[k, 1 + len(surest) :] == 1).all())


def test_without_classes_a_row_of_the_samples_is_a_part_of_the_prior(modes, monkeypatch):
    model, config = checkpoint.load(modes / "mixture")
    seen = []
    monkeypatch.setattr(samples, "decode", lambda model, y_NK, z_NZ: seen.append(z_NZ) or z_NZ)
    _, columns = samples.samples(model, config)
    nearest = nearest_component(seen[0], NUM_CLASSES).reshape(NUM_CLASSES, columns)
    assert (nearest == torch.arange(NUM_CLASSES)[:, None]).float().mean() > 0.9


# ---- generate


def test_component_and_class_together_give_images_of_both(modes, tmp_path, capsys):
    folder = copy(modes / "supervised", tmp_path / "supervised")
    model, config = checkpoint.load(folder)
    arguments = [str(folder), "--num", "20", "--seed", "3"]
    for asked, part, label in ((["--component", "4", "--class", "7"], 4, 7), (["--class", "0"], None, 0)):
        assert generate.main([*arguments, *asked]) == 0
        images = np.load(capsys.readouterr().out.splitlines()[1])
        part_N = unlabelled(20) if part is None else torch.full((20,), part)
        z_NZ = SAMPLE_PRIOR["mixture"](part_N, config.model.z_dim, NUM_CLASSES, 1.0, torch.Generator().manual_seed(3))
        expected = decoded(model, torch.eye(NUM_CLASSES)[label].expand(20, -1), z_NZ).reshape(-1, SIDE, SIDE)
        assert np.abs(images / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-6
    names = ["generated-class-0-seed-3.npy", "generated-component-4-class-7-seed-3.npy"]
    assert sorted(path.name for path in (folder / "report").glob("*.npy")) == names


def test_how_many_images_show_the_class_asked_for_is_said_by_the_trials_own_encoder(modes, tmp_path, capsys):
    folder = copy(modes / "semi", tmp_path / "semi")
    model, _ = checkpoint.load(folder)
    assert generate.main([str(folder), "--num", "50", "--class", "3"]) == 0
    out, err = capsys.readouterr()
    images_NX = torch.from_numpy(np.load(out.splitlines()[1])).reshape(50, -1)
    read = round(100 * float((model.encoder(metrics.to_pixels(images_NX))[0].argmax(dim=-1) == 3).double().mean()))
    assert err == f"the trial's own encoder reads {read} % of them as class 3\n" and 0 < read < 100
    for mode, asked in (("semi", []), ("supervised", ["--class", "3"])):  # no class asked for, an encoder that infers none
        assert generate.main([str(copy(modes / mode, tmp_path / f"{mode}-again")), "--num", "5", *asked]) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("mode", "arguments", "says"),
    [
        ("mixture", ["--component", "10"], "--component: got 10; give a component from 0 to 9"),
        ("mixture", ["--component", "-1"], "--component: got -1"),
        ("mixture", ["--class", "0"], "--class: got 0; this decoder is told no class"),
        ("semi", ["--component", "0"], "--component: got 0; the gaussian prior has one part"),
        ("supervised", ["--component", "1", "--class", "10"], "--class: got 10; give a class from 0 to 9"),
    ],
)
def test_a_part_or_class_that_is_not_there_is_one_line_and_writes_nothing(mode, arguments, says, modes, capsys):
    before = listing(modes)
    assert generate.main([str(modes / mode), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err
    assert listing(modes) == before


# ---- strips


def test_a_strip_shows_at_most_six_epochs_from_the_first_to_the_last_in_their_order(tmp_path):
    """Each epoch's picture is of a grey of its own, so that the strip says which ones stand where."""
    pictures = {epoch: tmp_path / f"{epoch}.png" for epoch in range(1, 14)}
    for epoch, path in pictures.items():
        image_grid(path, np.full((1, 400), epoch / 20), (1, 20, 20), 1)
    (tmp_path / "strip.png").write_bytes(strips.strip(pictures))
    drawn = matplotlib.image.imread(tmp_path / "strip.png")[..., 0]
    middle = drawn[drawn.shape[0] // 2 + 20]
    greys = [round(float(grey) * 20) for grey in middle if grey < 0.95]
    assert [grey for grey in dict.fromkeys(greys) if greys.count(grey) > 100] == [1, 3, 6, 8, 11, 13]


def test_of_a_single_training_the_report_is_its_strips(modes, tmp_path, capsys):
    folder = copy(modes / "semi", tmp_path / "semi")
    assert report.main([str(folder)]) == 0
    paths = [folder / "report" / f"strip-{kind}.png" for kind in strips.STRIP_KINDS]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths] and sorted(paths) == sorted((folder / "report").iterdir())
    widths = [matplotlib.image.imread(path).shape[1] for path in paths]
    assert min(widths) > 3 * 400  # three epochs beside each other
    TrialFolder(folder).next_attempt()
    shutil.rmtree(folder / "attempt-1" / "samples")
    assert strips.strips(TrialFolder(folder)) == {}  # of the highest attempt alone


# ---- the test set of one training


def test_the_test_metrics_are_those_of_the_averaged_weights_written_once_and_never_read_again(modes, tmp_path, monkeypatch, capsys):
    folder = copy(modes / "semi", tmp_path / "semi")
    before = listing(folder)
    assert testing.main([str(folder)]) == 0
    first = capsys.readouterr().out
    model, config = checkpoint.load(folder)
    images = load_test("npz", str(modes / "tiny.npz"), {"state": "COMPLETE"})
    row, _ = metrics.evaluate(model, images, config, (1, SIDE, SIDE))
    written = json.loads((folder / "test.json").read_text())
    assert written["metrics"] == {key.replace("val/", "test/"): value for key, value in row.items()}
    assert written["num_images"] == 50 and written["epochs"] == 3
    p = row["val/error"]
    assert math.isclose(written["standard_errors"]["test/error"], math.sqrt(p * (1 - p) / 50))
    assert f"test/error {100 * p:.2f} % +- {100 * math.sqrt(p * (1 - p) / 50):.2f} points" in first
    assert {name: content for name, content in listing(folder).items() if name != "test.json"} == before

    def withheld(*arguments):
        raise AssertionError("read again")

    monkeypatch.setattr(testing, "load_test", withheld)
    assert testing.main([str(folder)]) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[:-1] == first.splitlines()[:-1] and "nothing was evaluated again" in again


def test_the_reconstructions_standard_error_is_that_of_a_mean_over_images(modes):
    model, _ = checkpoint.load(modes / "semi")
    images = load_test("npz", str(modes / "tiny.npz"), {"state": "COMPLETE"})
    with torch.no_grad():
        x_NX = metrics.to_pixels(images.images_NX)
        logits_NK, z_NZ = model.encoder(x_NX)
        value_N = 0.5 * (model.decoder(logits_NK.softmax(dim=-1), z_NZ) - x_NX).square().sum(dim=1)
    errors = testing.standard_errors({"test/error": 0.5}, model, images)
    assert math.isclose(errors["test/reconstruction"], float(value_N.std()) / math.sqrt(50), rel_tol=1e-5)


def test_clusters_take_their_labels_from_validation_and_are_scored_on_the_test_set(modes, tmp_path, monkeypatch):
    """Fails where `metrics.evaluate` names the clusters by the test images themselves, whose labels are others here."""
    folder = copy(modes / "clusters", tmp_path / "clusters")
    images = load_test("npz", str(modes / "tiny.npz"), {"state": "COMPLETE"})
    images = Split(images.images_NX, (images.label_N + 1) % NUM_CLASSES)
    monkeypatch.setattr(testing, "load_test", lambda *arguments: images)
    assert testing.main([str(folder)]) == 0
    model, _ = checkpoint.load(folder)
    validation = load_dataset("npz", str(modes / "tiny.npz"), 105).validation
    named, logits_NK = (metrics.class_logits(model.encoder, split) for split in (validation, images))
    label_K = validation.label_N[named.log_softmax(dim=-1).double().sub(torch.log1p(-named.double().softmax(dim=-1))).argmax(dim=0)]
    wrong = float((label_K[logits_NK.argmax(dim=-1)] != images.label_N).double().mean())
    own = metrics.evaluate(model, images, checkpoint.read_config(folder), (1, SIDE, SIDE))[0]["val/cluster_error"]
    assert json.loads((folder / "test.json").read_text())["metrics"]["test/cluster_error"] == wrong != own


def test_a_likelihood_is_scored_on_all_test_images_beside_real_training_images(modes, tmp_path, capsys):
    folder = copy(modes / "likelihood", tmp_path / "likelihood")
    assert testing.main([str(folder), "--num", "60"]) == 0
    found = json.loads((folder / "test.json").read_text())
    dataset, images = load_dataset("npz", str(modes / "tiny.npz"), 105), load_test("npz", str(modes / "tiny.npz"), {"state": "COMPLETE"})
    for name, one in found["likelihood"].items():
        assert one["num"] == 60 and any(math.isclose(one["std"], std) for std in PARZEN_STDS), name
    model, config = checkpoint.load(folder)
    random = torch.Generator().manual_seed(1)
    real = dataset.train.images_NX[torch.randperm(300, generator=random)[:60]]
    for name, samples_MX in (
        ("samples", metrics.new_images(model, config, 60, random)),
        ("training_images", real / 255),
    ):
        one, x_NX = found["likelihood"][name], (images.images_NX / 255).double()
        square_NM = (x_NX[:, None] - samples_MX.double()).square().sum(dim=-1)
        norm = math.log(60) + 0.5 * SIDE**2 * math.log(2 * math.pi * one["std"] ** 2)
        log_p_N = (-square_NM / (2 * one["std"] ** 2)).logsumexp(dim=1) - norm
        assert math.isclose(one["mean"], float(log_p_N.mean()), rel_tol=1e-4)
        assert math.isclose(one["standard_error"], float(log_p_N.std()) / math.sqrt(50), rel_tol=1e-3)
    assert "test/parzen_nll" not in found["metrics"]
    out = capsys.readouterr().out
    assert "nats an image" in out and "60 fresh samples" in out and "60 real training images" in out


REFUSED = {
    "a sweep": lambda folder: (folder / "study.journal").write_text(""),
    "a trial of a sweep": lambda folder: (folder.parent.parent / "study.journal").write_text(""),
    "a copy of a trial": lambda folder: (folder / "result.json").write_text('{"number": 3, "state": "COMPLETE", "epochs": 1}'),
    "no training": lambda folder: (folder / "config.yaml").unlink(),
    "not finished": lambda folder: (folder / "result.json").unlink(),
    "diverged": lambda folder: (folder / "result.json").write_text('{"state": "FAIL", "epochs": 1}'),
    "no checkpoint": lambda folder: (folder / "attempt-0" / "checkpoint.pt").unlink(),
    "broken test.json": lambda folder: (folder / "test.json").write_text("{"),
    "other test.json": lambda folder: (folder / "test.json").write_text("{}"),
}
WORDS = {
    "a sweep": "launch.py confirm",
    "a trial of a sweep": "launch.py confirm",
    "a copy of a trial": "launch.py confirm",
    "no training": "no training",
    "not finished": "not finished (1 epochs so far)",
    "diverged": "not finished (FAIL)",
    "no checkpoint": "holds no checkpoint",
    "broken test.json": "test.json: broken",
    "other test.json": "test.json: got other keys",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_finished_training_of_its_own_gets_no_test_set_and_nothing_is_written(kind, modes, tmp_path, monkeypatch, capsys):
    folder = copy(modes / "gaussian", tmp_path / "trials" / "0003")
    REFUSED[kind](folder)
    before = listing(tmp_path)
    monkeypatch.setattr(testing, "load_test", lambda *arguments: pytest.fail("the test set was asked for"))
    assert testing.main([str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and WORDS[kind] in err
    assert listing(tmp_path) == before


def test_a_wrong_number_of_samples_is_refused(modes, capsys):
    assert testing.main([str(modes / "likelihood"), "--num", "0"]) == 2
    assert "--num: got 0" in capsys.readouterr().err


# ---- a user's settings of matplotlib, and what cannot be drawn


@pytest.mark.parametrize(
    "content",
    [
        "text.usetex: True\nimage.origin: lower\n",
        pytest.param("not a setting\nno.such: 3\nfont.size: large?\n", marks=pytest.mark.slow),
        pytest.param("# f\xfcr\n", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("where", ["working folder", "MATPLOTLIBRC"])
def test_neither_matplotlibrc_nor_mplbackend_is_read(content, where, tmp_path):
    """An unknown backend and a file that is not UTF-8 end the very import of matplotlib."""
    (tmp_path / "work").mkdir()
    rc = (tmp_path / "work" if where == "working folder" else tmp_path) / "matplotlibrc"
    rc.write_bytes(content.encode("latin-1"))
    code = (
        "import os; from analysis import figures; from aae.pictures import matplotlib_defaults\n"
        "with matplotlib_defaults(): print(figures.plt.rcParams['text.usetex'], figures.plt.rcParams['image.origin'])\n"
        "figures.plt.switch_backend('Agg'); figures.plt.figure()\n"
        "print(os.environ['MPLBACKEND'], os.environ['MATPLOTLIBRC'], os.getcwd())"
    )
    environment = os.environ | {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "work", env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["False upper", f"nonsense {tmp_path} {tmp_path / 'work'}"]


def test_a_picture_that_cannot_be_drawn_ends_no_training_and_is_said_once(tmp_path, monkeypatch, capsys):
    def fails(path, *arguments):
        raise ValueError("Third dimension must be 3 or 4")

    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    sweep = make_sweep(tmp_path, tmp_path / "tiny.npz", space={})
    monkeypatch.setattr("aae.pictures.image_grid", fails)
    assert train.main([str(sweep), "--output", str(tmp_path / "one")]) == 0
    warning = "warning: epoch 1: its pictures cannot be drawn (ValueError: Third dimension must be 3 or 4); the training goes on\n"
    assert capsys.readouterr().err == warning
    assert json.loads((tmp_path / "one" / "result.json").read_text())["state"] == "COMPLETE"


def test_a_full_disk_under_a_picture_ends_the_training_as_it_does_under_a_row(tmp_path, monkeypatch, capsys):
    """In a sweep it ends the sweep and spends no trial; swallowed here, it would come back as a row that cannot be written. A training
    alone says it in a line."""

    def full(path, *arguments):
        raise OSError(28, "No space left on device")

    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    sweep = make_sweep(tmp_path, tmp_path / "tiny.npz", space={})
    monkeypatch.setattr("aae.pictures.image_grid", full)
    assert train.main([str(sweep), "--output", str(tmp_path / "one")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'one'}: the disk is full; make room, and the same command goes on\n"


def test_a_disk_that_can_no_longer_be_written_ends_a_training_with_a_line(tmp_path, monkeypatch, capsys):
    """As one that the system mounted anew after an error: first before the first epoch, then under the last file. Seen to end in a
    traceback."""

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    def last_read_only(path, values):
        return read_only() if path.name == "result.json" else write_json(path, values)

    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    sweep = make_sweep(tmp_path, tmp_path / "tiny.npz", space={})
    for name, where, what, refuses in (
        ("first", TrialFolder, "next_attempt", read_only),
        ("last", train, "write_json", last_read_only),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, refuses)
            assert train.main([str(sweep), "--output", str(tmp_path / name)]) == 1
        said = f"{tmp_path / name}: cannot be written (Read-only file system); copy the folder to another disk\n"
        assert capsys.readouterr().err == said


@pytest.mark.parametrize("channels", [2, 5, 13])
def test_images_of_any_number_of_channels_train_and_what_can_be_drawn_of_them_is(channels, tmp_path, capsys):
    random, arrays = np.random.default_rng(0), {}
    for part, num in (("train", 160), ("test", 10)):
        arrays |= {f"x_{part}": random.integers(0, 256, (num, 6, 6, channels), dtype=np.uint8), f"y_{part}": np.arange(num) % 10}
    np.savez(tmp_path / "own.npz", **arrays)
    sweep, folder = make_sweep(tmp_path, tmp_path / "own.npz", space={}), tmp_path / "one"
    assert train.main([str(sweep), "--output", str(folder), "data.num_validation=50"]) == 0
    assert capsys.readouterr().err == f"warning: images of {channels} channels: no picture can show them, so none of images is drawn\n"
    pictures = [f"epoch-000{epoch}-latent.png" for epoch in (1, 2, 3)]
    assert sorted(path.name for path in (folder / "attempt-0" / "samples").iterdir()) == pictures
    assert latents.main([str(folder)]) == 0 and generate.main([str(folder), "--num", "7"]) == 0
    assert report.main([str(folder)]) == 0
    made = {path.name for path in (folder / "report").iterdir()}
    assert made == {"latent.png", "generated-seed-0.npy", "strip-latent.png"}
    assert np.load(folder / "report" / "generated-seed-0.npy").shape == (7, 6, 6, channels)
    capsys.readouterr()
    assert latents.main([str(folder), "--kind", "samples"]) == 2
    assert f"no picture can show images of {channels} channels: ask for latent" in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_a_legend_of_300_classes_leaves_room_for_their_codes(tmp_path):
    random = np.random.default_rng(0)
    path = latent_scatter(tmp_path / "a.png", random.normal(size=(600, 2)), np.arange(600) % 300, "codes")
    assert float(matplotlib.image.imread(path)[:, :200, :3].std()) > 0.05


def test_a_picture_appears_whole(tmp_path, monkeypatch):
    """`analysis.report` reads them while a training draws."""
    image_grid(tmp_path / "a.png", np.zeros((1, 4)), (1, 2, 2), 1)
    before = (tmp_path / "a.png").read_bytes()

    def cut_off(path, *arguments, **options):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.image.imsave", cut_off)
    with pytest.raises(KeyboardInterrupt):
        image_grid(tmp_path / "a.png", np.ones((1, 4)), (1, 2, 2), 1)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", before)]


def test_every_mode_here_is_what_its_name_says(modes):
    """So that a switch renamed in aae/config.py cannot leave one mode tested eight times."""
    configs = [tuple(sorted((k, str(v)) for k, v in flatten(checkpoint.read_config(modes / mode)).items())) for mode in MODES]
    assert len(set(configs)) == len(MODES)
