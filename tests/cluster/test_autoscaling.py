"""A sweep on a head that can hold no trial: nodes come because trials wait, from Ray's own pretended cloud."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ray.util import get_node_ip_address

from tests.sweeping import MARK, assert_one_truth, launch, marked, trials_of, wait_for

SWEEP = """
study:
  name: s
  num_trials: 3
  sampler: {kind: RandomSampler, seed: 0}
  resources_per_trial: {cpu: 1}
trial:
  data: {name: npz, folder: tiny.npz, num_validation: 105, num_labels: 20}
  model: {hidden_dims: [16]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 2, batch_size: 50, labelled_batch_size: 20, sample_every: 0}
search_space:
  model.z_dim: {kind: int, low: 2, high: 400}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def cluster_file(address: str) -> dict:
    """What `ray up` would leave on a head without a core that may add one node of one core."""
    # All nodes share an address, so each goes by its id, and nobody logs in to one.
    provider = {"use_node_id_as_ip": True, "disable_node_updaters": True, "disable_launch_config_check": True}
    lists = ("initialization_commands", "setup_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter")
    commands = [f"{which}_{what}_commands" for which in ("head", "worker") for what in ("setup", "start_ray")]
    return {
        "cluster_name": "pretended",
        "provider": provider | {"type": "fake_multinode", "gcs_address": address},
        "max_workers": 1,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
        },
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    } | {name: [] for name in (*lists, *commands)}


@pytest.fixture
def head(workplace):
    """The address of a head that has no core, and whose nodes, none at first, are processes of its autoscaler. Ray's own helper for
    this, AutoscalingCluster, would end every other Ray on the machine."""
    temp, mark = Path(f"/tmp/ra{os.getpid()}"), str(workplace)  # short: Ray's sockets lie there
    temp.mkdir()
    address = f"{get_node_ip_address()}:{free_port()}"
    (workplace / "ray_bootstrap_config.yaml").write_text(json.dumps(cluster_file(address)))
    env = os.environ | {MARK: mark, "HOME": str(workplace), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    env |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "0"}
    ray = str(Path(sys.executable).with_name("ray"))
    subprocess.run([ray, "get-auth-token", "--generate"], check=True, capture_output=True, env=env)
    ports = {"port": address.rpartition(":")[2], "ray-client-server-port": free_port(), "min-worker-port": 0, "max-worker-port": 0}
    given = {"num-cpus": 0, "temp-dir": temp, "dashboard-agent-listen-port": 0, "include-dashboard": "false"} | ports
    words = [f"--{name}={value}" for name, value in given.items()]
    started = [ray, "start", "--head", "--block", "--autoscaling-config=ray_bootstrap_config.yaml", *words]
    with open(workplace / "head.log", "wb") as log:
        process = subprocess.Popen(started, env=env, stdout=log, stderr=log)
    try:
        yield address
    finally:
        for pid in marked(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)
        wait_for(lambda: not marked(mark), 30, "no process of the cluster is left")
        shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.system
def test_from_no_node_at_all_a_sweep_brings_one_up_and_its_trials_run_there(head, workplace):
    (workplace / "s.yaml").write_text(SWEEP)
    host, _, port = head.rpartition(":")
    wait_for(lambda: not socket.socket().connect_ex((host, int(port))), 60, "the head answers")
    done = launch("s.yaml", RAY_ADDRESS=head, RAY_AUTH_MODE="token", HOME=str(workplace))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 at a time with 1 cpu each, on the Ray cluster at" in done.stdout, done.stdout
    run = workplace / "runs" / "s"
    assert_one_truth(run, 3)
    assert {trial.state.name for trial in trials_of(run)} == {"COMPLETE"}
