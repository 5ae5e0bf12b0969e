"""cluster.yaml against Ray's own checks. Nothing is started and no address is asked."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

PROJECT = Path(__file__).resolve().parent.parent
FILLED = {
    "HEAD_ADDRESS": "192.0.2.1",  # addresses for documentation, RFC 5737
    "FIRST_WORKER_ADDRESS": "192.0.2.2",
    "SECOND_WORKER_ADDRESS": "192.0.2.3",
    "USER": "me",
    "PRIVATE_KEY_FILE": "~/.ssh/id_ed25519",
}


def cluster() -> dict:
    text = (PROJECT / "cluster.yaml").read_text()
    for name, value in FILLED.items():
        assert len(re.findall(rf"\b{name}\b", text)) == 1
        text = re.sub(rf"\b{name}\b", value, text)
    config = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(config, dict)
    return config


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> dict:
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    monkeypatch.chdir(PROJECT)
    config = prepare_config(cluster())
    validate_config(config)
    return config


def test_ray_takes_the_file_once_its_five_values_are_filled_in(prepared):
    (machines,) = prepared["available_node_types"].values()  # the local provider has one kind of machine
    assert machines["max_workers"] == machines["min_workers"] == 2 == len(prepared["provider"]["worker_ips"])


def test_an_unknown_key_is_refused_by_rays_check(prepared):
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(Exception, match="initial_workers"):
        validate_config(prepared | {"initial_workers": 1})


def test_every_machine_gets_the_locked_versions_and_asks_for_the_token(prepared):
    assert any("make setup" in line for line in prepared["setup_commands"])
    for part in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = (line for line in prepared[part] if "ray start" in line)
        assert "RAY_AUTH_MODE=token" in start and ".venv/bin/ray start" in start
    assert "--dashboard-host=127.0.0.1" in "".join(prepared["head_start_ray_commands"])
    assert "~/.ray/auth_token" in prepared["file_mounts"]


def test_the_versions_of_ray_in_the_lock_and_in_the_project_are_one():
    lock, project = ((PROJECT / name).read_text() for name in ("requirements.lock", "pyproject.toml"))
    (pinned,) = re.findall(r"^ray==(\S+)", lock, re.MULTILINE) or re.findall(r"^ray\[[^]]*\]==(\S+)", lock, re.MULTILINE)
    assert f"ray[default,tune]=={pinned}" in project
