"""What several files of tests share: a tiny dataset, and a folder of one's own with it as a file."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from aae.data import Dataset
from tests.golden import tiny_arrays, tiny_dataset

pytest.register_assert_rewrite("tests.refusals", "tests.sweeping")  # so that they say what they compared

# Ray starts its workers at nice 15, where any other test that computes beside them leaves them a thirtieth of a core.
os.environ.setdefault("RAY_worker_niceness", "0")

# A shell that runs the tests in the background, or under nohup, has these ignored, and so would what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# No test takes the power from the machine, and each fsync is milliseconds. Processes that a test starts keep theirs.
os.fsync = lambda file: None


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """300 / 105 / 50 images of 6 x 6 in ten classes."""
    return tiny_dataset()


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """The current folder: empty but for tiny.npz, the same dataset as a user's own file."""
    np.savez(tmp_path / "tiny.npz", **tiny_arrays())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: at the end the other process would wait for the last of them."""
    items.sort(key=lambda item: item.get_closest_marker("system") is None)
