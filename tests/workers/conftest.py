"""The environment of this room's tests."""

import os
import sys

import pytest

from aae.tuning.workers import wandb_runs


@pytest.fixture(autouse=True)
def plain_environment(tmp_path, monkeypatch):
    """No key, no netrc, no variable of the developer's; W&B's process ends with the test, and its own files lie in tmp_path."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(wandb_runs, "unreachable", False)
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:  # that a run has set
        del os.environ[name]
