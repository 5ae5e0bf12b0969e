"""cluster.yaml and clusters/ against our check and Ray's own, and what `cluster down` asks of the hosts. No address is asked."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from aae.config import ConfigError
from aae.tuning.cluster.cluster_file import PLACEHOLDER, STOP, check_file, stop_cluster
from launch import main

PROJECT = Path(__file__).resolve().parents[2]
FILES = ["cluster.yaml", "clusters/aws.yaml"]
FILLED = {
    "HEAD_ADDRESS": "192.0.2.1",  # addresses for documentation, RFC 5737
    "WORKER_1_ADDRESS": "192.0.2.2",
    "WORKER_2_ADDRESS": "192.0.2.3",
    "USER": "me",
    "PRIVATE_KEY_FILE": "~/.ssh/id",
    "SECURITY_GROUP_ID": "sg-0123456789abcdef0",
    "FILE_SYSTEM_ID": "fs-0123456789abcdef0",
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home with a key and a token; the project is the current folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (".ssh/id", ".ray/auth_token"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("0" * 64)
        (tmp_path / name).chmod(0o600)
    monkeypatch.chdir(PROJECT)
    return tmp_path


def filled(home: Path, name: str, old: str = "", new: str = "") -> Path:
    """The file with every placeholder filled in, and `old` replaced."""
    text = PLACEHOLDER.sub(lambda found: FILLED[found.group()[1:-1]], (PROJECT / name).read_text())
    assert old in text
    (home / "filled.yaml").write_text(text.replace(old, new))
    return home / "filled.yaml"


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_each_file_once_it_is_filled_in(home, name):
    config = check_file(filled(home, name))
    for part in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = (line for line in config[part] if "ray start" in line)
        assert "RAY_AUTH_MODE=token" in start and ".venv/bin/ray start" in start
    head = "".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head and "RAY_health_check_failure_threshold=3" in head
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("make setup" in line for line in config["setup_commands"])
    assert any("/nfs/runs ~/aae-sweep/runs" in line for line in config["setup_commands"])


def test_machines_of_ones_own_are_all_workers_and_ray_is_told_not_to_use_its_second_autoscaler(home):
    config = check_file(filled(home, "cluster.yaml"))
    (machines,) = config["available_node_types"].values()  # the local provider has one kind of machine
    assert machines["max_workers"] == machines["min_workers"] == 2 == len(config["provider"]["worker_ips"])
    assert "RAY_enable_autoscaler_v2=0" in "".join(config["head_start_ray_commands"])


def test_on_aws_the_head_is_on_demand_and_idle_and_gpu_workers_are_spot_instances_from_none_on(home):
    types = check_file(filled(home, "clusters/aws.yaml"))["available_node_types"]
    head, worker = types["head"], types["gpu_worker"]
    assert head["resources"] == {"CPU": 0} and "InstanceMarketOptions" not in head["node_config"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert (worker["min_workers"], worker["max_workers"], worker["resources"]["GPU"]) == (0, 8, 1)
    for machine in (head, worker):
        assert re.fullmatch(r"ami-[0-9a-f]{17}", machine["node_config"]["ImageId"])
        assert machine["node_config"]["SecurityGroupIds"] == ["sg-0123456789abcdef0"]


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_filled_in_is_refused_by_name(home, name, capsys):
    assert main(["cluster", "check", name]) == 2
    said = capsys.readouterr().err
    for placeholder in set(PLACEHOLDER.findall(re.sub("#.*", "", (PROJECT / name).read_text()))):
        assert placeholder in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("max_workers: 2", "max_workers: 2\ninitial_workers: 1", "Ray refuses it: .*initial_workers"),
        ("make setup", "make nightly", "setup_commands: got nightly, which is another version tomorrow"),
        ("~/.ssh/id", "~/.ssh/other", "auth.ssh_private_key: got ~/.ssh/other; there is no such file"),
        ("type: local", "type: local\n  type: [", "cannot be read"),
        ("provider:", "providers:", "it names no provider"),
        ("ssh_private_key: ~/.ssh/id", "ssh_private_key: [~/.ssh/id]", "auth.ssh_private_key: got"),
        ("ssh_private_key: ~/.ssh/id", "ssh_private_key: null", "auth.ssh_private_key: got null; give one text"),
        ("auth:", "auth:\nunused:", "auth: got null; give a block"),
    ],
)
def test_a_file_that_would_not_work_is_refused_with_what_is_wrong(home, old, new, says):
    with pytest.raises(ConfigError, match=says) as caught:
        check_file(filled(home, "cluster.yaml", old, new))
    assert "\n" not in str(caught.value)


def test_a_token_that_is_missing_or_open_to_others_is_refused_with_the_command(home):
    file, token = filled(home, "cluster.yaml"), home / ".ray" / "auth_token"
    token.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        check_file(file)
    token.unlink()
    with pytest.raises(ConfigError, match="ray get-auth-token --generate"):
        check_file(file)


def test_a_good_file_is_said_to_be_one(home, capsys):
    assert main(["cluster", "check", str(filled(home, "cluster.yaml"))]) == 0
    assert "Ray takes it" in capsys.readouterr().out


@pytest.mark.parametrize("path", [PROJECT / "cluster.yaml", *sorted((PROJECT / "clusters").iterdir())], ids=lambda path: path.name)
def test_no_file_for_a_cluster_says_latest_or_nightly(path):
    assert not re.search("latest|nightly", path.read_text(), re.IGNORECASE)


def test_the_versions_of_ray_in_the_lock_and_in_the_project_are_one():
    lock, project = ((PROJECT / name).read_text() for name in ("requirements.lock", "pyproject.toml"))
    (pinned,) = re.findall(r"^ray==(\S+)", lock, re.MULTILINE) or re.findall(r"^ray\[[^]]*\]==(\S+)", lock, re.MULTILINE)
    assert f"ray[default,tune]=={pinned}" in project


# ---- down ----

SSH = """#!/usr/bin/env bash
# Stands for ssh: the last argument is the command, the one before it the host.
host="${@: -2:1}"
echo "$host $*" >> "$LOG"
case "$host" in
  *192.0.2.1) ;;
  *192.0.2.2) [[ "$*" == *ProxyCommand* ]] || { echo "no route to host" >&2; exit 255; } ;;
  *192.0.2.3) echo "$LEFT" ;;
esac
"""


def stopped(home: Path, monkeypatch, left: str) -> tuple[int, str, list[str]]:
    (home / "ssh").write_text(SSH)
    (home / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(home / "log"))
    monkeypatch.setenv("LEFT", left)
    console = Console(record=True, width=400)
    code = stop_cluster(filled(home, "cluster.yaml"), console)
    return code, console.export_text(), (home / "log").read_text().splitlines()


def test_down_ends_ray_on_the_head_first_then_on_every_worker_by_way_of_the_head_where_it_must(home, monkeypatch):
    code, said, asked = stopped(home, monkeypatch, "")
    assert code == 0 and said.count("no Ray process is left") == 3
    assert next(line.split()[0] for line in asked) == "me@192.0.2.1"
    assert sorted(line.split()[0] for line in asked[1:]) == ["me@192.0.2.2", "me@192.0.2.2", "me@192.0.2.3"]
    assert all("ray stop" in line for line in asked)


def test_down_says_what_is_left_and_where(home, monkeypatch):
    code, said, _ = stopped(home, monkeypatch, "77 /x/ray/core/src/ray/raylet/raylet --stuck")
    assert code == 1 and "192.0.2.3: 1 Ray processes are left, the first is 77 /x/ray" in said


def test_the_command_that_looks_for_ray_finds_its_processes_and_not_itself():
    look = STOP.split("done; ")[1]
    for name in ("/x/ray/core/src/ray/raylet/raylet", "ray::ResourceTrainable.train()", "python -u /x/ray/dashboard/agent.py"):
        process = subprocess.Popen(["bash", "-c", f"exec -a {name!r} sleep 30"])
        try:
            for _ in range(50):
                found = subprocess.run(["bash", "-c", look], capture_output=True, text=True).stdout
                if f"{process.pid} " in found:
                    break
            assert f"{process.pid} " in found and "pgrep" not in found
        finally:
            process.kill()
            process.wait()


def test_the_files_are_yaml_without_a_key_twice():
    class Once(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            assert len(set(keys)) == len(keys), keys
            return super().construct_mapping(node, deep)

    for name in FILES:
        yaml.load((PROJECT / name).read_text(), Once)  # a SafeLoader: plain data alone
