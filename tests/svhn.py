"""SVHN's two files in small: random images, the digits in turn, in the format of the published ones."""

from pathlib import Path

import numpy as np
import scipy.io


def svhn_arrays(num: int, seed: int = 0) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, num), dtype=np.uint8)
    return {"X": x, "y": (np.arange(num, dtype=np.uint8) % 10 + 1)[:, None]}


def write_svhn(folder: Path, num_train: int, num_test: int) -> Path:
    folder.mkdir()
    scipy.io.savemat(folder / "train_32x32.mat", svhn_arrays(num_train))
    scipy.io.savemat(folder / "test_32x32.mat", svhn_arrays(num_test, seed=1))
    return folder
