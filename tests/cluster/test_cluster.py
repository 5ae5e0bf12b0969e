"""Nodes that come, go, differ and do not fit: what is said of them, and a real sweep over Ray nodes in one process tree."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from aae import manifest
from aae.config import ConfigError
from aae.runs import read_manifest, trial_folder
from aae.tuning.cluster import nodes as place
from aae.tuning.cluster import preflight as cluster
from aae.tuning.cluster import sessions
from aae.tuning.cluster.nodes import Place, trials_fitting
from aae.tuning.cluster.preflight import Facts, distinct_names, facts_here, find_problems, shared_problem
from aae.tuning.study.parents import load_sweep
from tests.sweeping import MARK, assert_one_truth, begun, count_rows, launch, launched, marked, trials_of, wait_for, wait_until_gone

SWEEP = """
study:
  name: s
  num_trials: 5
  sampler: {kind: RandomSampler, seed: 0}
trial:
  data: {name: npz, folder: tiny.npz, num_validation: 105, num_labels: 20}
  model: {hidden_dims: [512, 512]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 30, batch_size: 10, labelled_batch_size: 10, sample_every: 0}
search_space:
  model.z_dim: {kind: int, low: 2, high: 40}
"""


# ---- what fits ----


@pytest.mark.parametrize(
    ("node", "trial", "num"),
    [
        ({"CPU": 4, "GPU": 1}, {"cpu": 1, "gpu": 0.25}, 4),
        ({"CPU": 2, "GPU": 1}, {"cpu": 1, "gpu": 0.25}, 2),
        ({"CPU": 4}, {"gpu": 0.25}, 0),
        ({"GPU": 1}, {"gpu": 0.1}, 10),  # 1 / 0.1 in floating point
        ({"CPU": 1}, {"cpu": 2}, 0),
        ({"CPU": 64, "GPU": 2}, {"cpu": 1, "gpu": 0.4}, 4),
        ({"CPU": 64, "GPU": 2}, {"cpu": 1, "gpu": 0.6}, 2),
        ({"CPU": 64, "GPU": 4}, {"cpu": 1, "gpu": 0.25}, 16),
        ({"CPU": 64, "GPU": 4}, {"gpu": 2}, 2),
    ],
)
def test_trials_are_counted_on_the_node_and_the_gpu_that_have_to_hold_them_whole(node, trial, num):
    """Seen to fail with the sum of a node's GPUs: 5 of 0.4 and 3 of 0.6 on two."""
    assert trials_fitting(node, trial) == num


@pytest.fixture
def nodes(monkeypatch) -> list[dict]:
    """What Ray says there is."""
    known: list[dict] = []
    monkeypatch.setattr(place, "ray", SimpleNamespace(nodes=lambda: known))
    monkeypatch.setattr(place, "LOOK_S", 0.0)
    monkeypatch.setattr(place, "node_kinds", lambda joined: [])
    return known


def node(name: str, **resources: float) -> dict:
    return {"NodeID": name, "Alive": True, "Resources": resources}


def auto(num_threads: int) -> SimpleNamespace:
    """A sweep of study.resources_per_trial=auto."""
    return SimpleNamespace(
        study=SimpleNamespace(resources_per_trial="auto", max_concurrent=None),
        fixed=SimpleNamespace(train=SimpleNamespace(num_threads=num_threads)),
    )


@pytest.mark.parametrize(("quota", "mask", "cores"), [(8, {0, 1}, 2), (2, set(range(64)), 2), (1, {0}, 1), (0, {0}, 1)])
def test_here_there_are_no_more_cores_than_a_container_or_a_scheduler_leaves(monkeypatch, quota, mask, cores):
    monkeypatch.setattr(sessions, "cores_in_quota", lambda: quota)
    monkeypatch.setattr(sessions.os, "sched_getaffinity", lambda pid: mask)
    assert sessions.cores() == cores


def test_two_halves_on_two_nodes_are_no_whole(nodes):
    nodes += [node("a", CPU=1), node("b", CPU=1)]
    assert Place("", {"cpu": 2}).slots == 0


def test_a_node_that_joins_counts_and_one_that_is_lost_does_not(nodes):
    here = Place("", {"gpu": 0.5}, joined=True)
    nodes.append(node("a", GPU=1))
    assert (here.slots, here.alive("a")) == (2, True)
    nodes.append(node("b", GPU=2))
    assert (here.slots, here.most_on_a_node) == (6, 4)
    nodes[0]["Alive"] = False
    assert (here.slots, here.alive("a")) == (4, False)


def test_as_many_trials_wait_as_fit_on_the_node_that_they_wait_for_until_the_cluster_is_as_large_as_it_may_be(nodes, monkeypatch):
    """An autoscaler grows for what waits, and a trial that waits for ever was asked for too early."""
    monkeypatch.setattr(place, "node_kinds", lambda joined: [({"CPU": 4, "GPU": 1}, 2)])
    here, capped = Place("", {"gpu": 0.25}, joined=True), Place("", {"gpu": 0.25}, cap=5, joined=True)
    slots = []
    for name in ("head", "a", "b"):
        nodes.append(node(name) if name == "head" else node(name, CPU=4, GPU=1))
        slots.append((here.slots, capped.slots))
    assert slots == [(4, 4), (8, 5), (8, 5)]


def test_what_an_autoscaler_may_add_is_read_from_the_file_of_ray_up(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place.node_kinds(joined=True) == []
    kinds = {"head": {"resources": {"CPU": 0}, "max_workers": 0}, "gpu": {"resources": {"GPU": 1}, "max_workers": 8}}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        json.dumps({"available_node_types": kinds, "head_node_type": "head", "max_workers": 3})
    )
    assert place.node_kinds(joined=True) == [({"GPU": 1}, 3)]


def test_a_file_of_ray_up_that_was_left_is_not_believed_where_no_cluster_is_joined(tmp_path, monkeypatch):
    """Seen to fail with a quarter of a GPU asked for, which this machine has not, and with "up to 8 nodes can be added"."""
    kinds = {"head": {"resources": {"CPU": 0}, "max_workers": 0}, "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 8}}
    left = {"available_node_types": kinds, "head_node_type": "head", "max_workers": 8}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(left))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(place, "ray", SimpleNamespace(nodes=lambda: [node("a", CPU=2)]))
    resources = place.trial_resources(auto(num_threads=1), joined=False)
    assert resources == {"cpu": 1} and Place("", resources).most_on_a_node == 2
    assert place.describe_nodes(joined=False) == "there is cpu: 2, gpu: 0 here"


def test_what_fits_nowhere_is_told_what_there_is(nodes, monkeypatch):
    monkeypatch.setattr(place, "node_kinds", lambda joined: [({"CPU": 4, "GPU": 1}, 8)])
    nodes += [node("a", CPU=2), node("b", CPU=2), node("c", CPU=1, GPU=1)]
    assert place.describe_nodes(joined=True) == (
        "there is cpu: 1, gpu: 1; cpu: 2, gpu: 0 on each of 2 nodes here, and up to 8 nodes of cpu: 4, gpu: 1 can be added"
    )


@pytest.mark.parametrize(("gpus", "wanted"), [(0, {"cpu": 3}), (2, {"cpu": 3, "gpu": 0.25})])
def test_auto_is_a_core_a_thread_and_a_quarter_of_a_gpu_where_there_is_one(nodes, gpus, wanted):
    nodes.append(node("a", CPU=8, GPU=gpus))
    assert place.trial_resources(auto(num_threads=3), joined=True) == wanted


@pytest.mark.parametrize(("usable", "wanted"), [(False, {"cpu": 3}), (True, {"cpu": 3, "gpu": 0.25})])
def test_on_one_machine_auto_takes_a_gpu_only_where_torch_can_use_it(nodes, monkeypatch, usable, wanted):
    """Ray counts cards. Seen to fail with four slots for sixteen cores beside a card that torch has no driver for."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    nodes.append(node("a", CPU=16, GPU=1))
    assert place.trial_resources(auto(num_threads=3), joined=False) == wanted


def test_a_gpu_that_torch_cannot_use_is_refused_where_it_is_asked_for_and_said_under_auto(nodes, monkeypatch):
    """Seen to fail with a training on the processor, and no word."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cluster, "ray", place.ray)
    monkeypatch.setattr(cluster, "cluster_address", lambda: None)
    monkeypatch.setattr(cluster, "ray_running", lambda *_: contextlib.nullcontext("this machine"))
    nodes.append(node("a", CPU=4, GPU=1))
    written, sweep = io.StringIO(), auto(num_threads=1)
    with contextlib.ExitStack() as stack:
        assert cluster.enter_cluster(sweep, None, stack, Console(file=written)).slots == 4
        assert written.getvalue().startswith("warning: there is a GPU, and torch ")
        sweep.study.resources_per_trial = {"cpu": 1, "gpu": 0.25}
        with pytest.raises(ConfigError, match=r"^study.resources_per_trial: got .*gpu.*; torch .* can use no GPU here: "):
            cluster.enter_cluster(sweep, None, stack, Console(file=written))


# ---- whether a node is fit ----


def changed(**what: object) -> Facts:
    facts = facts_here("10.0.0.2")
    facts.data, facts.shared = {"tiny": "1"}, True
    for name, value in what.items():
        setattr(facts, name, value)
    return facts


@pytest.mark.parametrize(
    ("what", "gpus", "says"),
    [
        ({}, 0, None),
        ({"python": "3.10.1"}, 0, "python 3.10.1, here 3."),
        ({"ray": "2.0"}, 0, "ray 2.0, here"),
        ({"torch": "1.0"}, 0, "torch 1.0, here"),
        ({"code": {"commit": None, "modules": {"aae/train.py": "0"}}}, 0, "other code: aae/"),
        ({"data": {"tiny": "2"}}, 0, "other data than here"),
        ({"gpus": ["NVIDIA A10G, 23028 MiB"], "cuda": None}, 1, "a torch without CUDA"),
        ({"gpus": [], "cuda": "13.0"}, 2, "Ray counts 2 GPUs, nvidia-smi none"),
        ({"clock_s": -7.5}, 0, "its clock is -7.5 s from this one's"),
        ({"free_gb": {"/nfs/runs": 0.5, "/tmp": 80.0}}, 0, "/nfs/runs: 0.5 GB are free"),
    ],
)
def test_each_way_of_not_being_fit_is_said_with_what_to_do_about_it(what, gpus, says):
    here, found = changed(), changed(**what)
    find_problems(here, found, gpus)
    assert (found.problems == []) if says is None else (len(found.problems) == 1 and says in found.problems[0]), found.problems


def test_a_folder_that_is_another_one_there_is_found_by_its_token(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / "token").write_text("token")
    assert shared_problem(here, "token", "b") is None and (here / "token-b").read_text() == "b"
    assert "is another folder there than here" in shared_problem(there, "token", "b")
    (there / "token").write_text("older")
    assert "not what was written here" in shared_problem(there, "token", "b")


def test_nodes_of_one_address_have_names_of_their_own():
    assert distinct_names(["10.0.0.1", "10.0.0.2", "10.0.0.1"]) == ["10.0.0.1#1", "10.0.0.2", "10.0.0.1#2"]


def test_without_a_cluster_there_is_nothing_to_check(workplace, monkeypatch):
    (workplace / "s.yaml").write_text(SWEEP)
    monkeypatch.setattr(cluster, "cluster_address", lambda: None)
    with pytest.raises(ConfigError, match="no node of a Ray cluster"):
        cluster.check_cluster(load_sweep("s.yaml", {}), Console())
    assert not (workplace / "runs").exists()


def test_a_machine_that_ray_start_made_a_node_joins_its_cluster_unless_it_is_told_not_to_or_nobody_answers(monkeypatch):
    monkeypatch.setattr(sessions, "running_cluster_address", lambda: "10.9.9.9:6379")
    answers = [None, ConnectionRefusedError()]
    monkeypatch.setattr(sessions, "no_answer_from", lambda address: answers.pop(0))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert sessions.cluster_address() == "10.9.9.9:6379"
    assert sessions.cluster_address() is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert sessions.cluster_address() is None


# ---- a cluster ----

NODE = """
import sys, time
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = {}
print(cluster.address, flush=True)
for line in sys.stdin:
    what, name = line.split()
    if what == "add":
        nodes[name] = cluster.add_node(num_cpus=1, num_gpus=1)
    else:
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    print("done", flush=True)
cluster.shutdown()
"""


class Nodes:
    """A head without a core, and nodes of a core and a GPU that is none, in a process of their own; ended by its standard input."""

    def __init__(self, mark: str, **environment: str):
        self.mark, self.temp = mark, f"/tmp/rc{os.getpid()}"  # short: Ray's sockets lie there
        env = os.environ | {MARK: mark, "RAY_TMPDIR": self.temp, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
        env |= {f"RAY_health_check_{key}": value for key, value in HEALTH.items()} | environment
        Path(self.temp).mkdir()
        subprocess.run([str(Path(sys.executable).with_name("ray")), "get-auth-token", "--generate"], check=True, capture_output=True)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", NODE], env=env, cwd=self.temp, **pipes)
        self.address = self.process.stdout.readline().strip()

    def ask(self, what: str, name: str) -> None:
        self.process.stdin.write(f"{what} {name}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            wait_until_gone(self.mark, 30)
            shutil.rmtree(self.temp, ignore_errors=True)


HEALTH = {"initial_delay_ms": "2000", "period_ms": "1000", "timeout_ms": "2000", "failure_threshold": "3"}


def running(run: Path) -> int:
    """Trials that were handed out and have not ended."""
    return len(list(run.glob("trials/*/attempt-0"))) - len(list(run.glob("trials/*/result.json")))


@pytest.mark.slow
@pytest.mark.system
def test_each_node_is_checked_and_a_trial_that_fits_on_none_is_refused_with_what_there_is(workplace):
    nodes = Nodes(str(workplace))
    (workplace / "s.yaml").write_text(SWEEP)
    try:
        nodes.ask("add", "a")
        checked = launch("cluster", "check", "s.yaml", RAY_ADDRESS=nodes.address)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert checked.stdout.count(" fit ") == 2 and not list((workplace).glob("runs*")), checked.stdout
        refused = launch("s.yaml", "study.resources_per_trial={cpu: 2}", RAY_ADDRESS=nodes.address)
        assert refused.returncode == 2 and "cpu: 0, gpu: 0; cpu: 1, gpu: 1 here" in refused.stderr, refused.stderr
        assert refused.stderr.count("\n") == 1 and not (workplace / "runs" / "s").exists()
    finally:
        nodes.end()


@pytest.mark.slow
@pytest.mark.system
def test_a_sweep_uses_a_node_that_joins_and_goes_on_without_one_that_is_lost(workplace):
    run, nodes = workplace / "runs" / "s", Nodes(str(workplace))
    (workplace / "s.yaml").write_text(SWEEP)
    try:
        nodes.ask("add", "a")
        os.environ["RAY_ADDRESS"] = nodes.address
        with launched(f"{workplace}-driver", "s.yaml", "study.resources_per_trial={gpu: 0.5}") as driver:
            del os.environ["RAY_ADDRESS"]
            wait_for(lambda: count_rows(run) > 4 or driver.poll() is not None, 90, "both trials of the first node have rows")
            assert driver.poll() is None and running(run) == 2, driver.communicate()[0]
            nodes.ask("add", "b")
            joined = time.monotonic()
            wait_for(lambda: running(run) == 4, 15, "a node that has joined has work")
            print(f"work {time.monotonic() - joined:.1f} s after a node joined")
            rows = count_rows(run)
            wait_for(lambda: count_rows(run) > rows + 4, 60, "the second node's trials run")
            nodes.ask("remove", "a")
            said, _ = driver.communicate(timeout=240)
        assert driver.returncode == 0, said
        assert "checked 2 nodes" in said and "2 at a time with 0.5 gpu each, on the Ray cluster at" in said
        assert said.count("it goes on from its checkpoint") == 2, said
        assert_one_truth(run, 5, distinct=False)
        assert {trial.state.name for trial in trials_of(run)} == {"COMPLETE"}
        again = [trial_folder(run, number).last_attempt().path.name for number in range(5)]
        assert sorted(again) == ["attempt-0"] * 3 + ["attempt-1"] * 2
    finally:
        nodes.end()
    assert not marked(str(workplace)) and not list(run.glob(".check-*"))


# In a worker with a part of a GPU the processor multiplies bfloat16 natively, as such a GPU would; in one without, torch sees every
# GPU of the node, as Ray leaves it. In a driver CUDA_VISIBLE_DEVICES stands for a GPU.
GPUS = """
import os, sys
if any(word.endswith(("default_worker.py", "launch.py")) for word in sys.orig_argv):
    import torch
    given = lambda: bool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    torch.cpu.get_capabilities = lambda: {"avx512_bf16": given()}
    if "launch.py" not in " ".join(sys.orig_argv):
        torch.cuda.is_available = lambda: not given()
"""


@pytest.mark.slow
@pytest.mark.system
def test_the_precision_is_that_of_the_machine_that_trials_run_on_and_a_trial_that_is_given_no_gpu_uses_none(workplace):
    (workplace / "hook").mkdir()
    (workplace / "hook" / "sitecustomize.py").write_text(GPUS)
    (workplace / "s.yaml").write_text(SWEEP)
    hooked = f"{workplace / 'hook'}:{manifest.PROJECT}"
    nodes = Nodes(str(workplace), PYTHONPATH=hooked)
    try:
        nodes.ask("add", "a")
        for name, resources, there, here in (("gpu", "{gpu: 0.5}", "bfloat16", ""), ("cpu", "{cpu: 1}", "float32", "0")):
            given = {"PYTHONPATH": hooked, "RAY_ADDRESS": nodes.address, "CUDA_VISIBLE_DEVICES": here}
            small = {"study.name": name, "study.num_trials": 2, "train.epochs": 1, "train.precision": "auto"}
            words = [f"{path}={value}" for path, value in small.items()]
            done = launch("s.yaml", *words, f"study.resources_per_trial={resources}", **given)
            assert done.returncode == 0, done.stdout + done.stderr
            run = workplace / "runs" / name
            configs = [OmegaConf.load(trial_folder(run, number).config_path) for number in range(2)]
            assert [config.train.precision for config in configs] == [there] * 2 and read_manifest(run)["precision"] == there
            assert {trial.state.name for trial in trials_of(run)} == {"COMPLETE"}
            with begun(load_sweep("s.yaml", small)) as again:  # wherever it goes on
                assert again.sweep.fixed.train.precision == there
    finally:
        nodes.end()


def test_the_modules_of_the_code_are_what_is_compared_and_not_the_commit():
    """A cluster's copy may come without .git."""
    here, found = changed(), changed(code=manifest.code() | {"commit": None})
    find_problems(here, found, 0)
    assert found.problems == []
