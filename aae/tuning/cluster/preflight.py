"""Whether every node of a cluster is fit to train a sweep's trials, found before anything is spent on them.

A probe on each node says what is there: versions, code, GPUs, data (fetched now, once a node, and checked by hash), the clock, free
disk, and whether the run folder is the one that everybody means: a token written here must be read there, and the other way round.
The driver, which need not be a node that trains, is what they are compared with.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aae import manifest
from aae.config import ConfigError, DataConfig
from aae.data import DataError, load_configured
from aae.errors import one_line
from aae.runs import GB
from aae.tuning.cluster.nodes import Place, alive_nodes, describe_nodes, trial_resources
from aae.tuning.cluster.sessions import cluster_address, ray_running
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.lock import DriverLock

ANSWER_S = 420.0  # what a probe may take: a worker's start, and a download of the data by its slowest way
MAX_CLOCK_S = 5.0  # a driver's heartbeat is believed dead after 30 s by another host's clock, and written every 5 s
MIN_FREE_GB = 2.0  # a trial's checkpoint is 80 MB and Ray's logs are small: less than this is a disk that somebody else fills
TABLE_WIDTH = 140  # at least: where a narrow terminal breaks the lines, nothing is left out


@dataclass
class Facts:
    """Of one node, or of the driver."""

    name: str
    python: str
    torch: str
    ray: str
    code: dict[str, Any]  # manifest.code()
    gpus: list[str]  # as the driver of the GPUs names them; empty without one
    cuda: str | None  # that torch was built for
    data: dict[str, str] = field(default_factory=dict)  # file -> SHA-256
    shared: bool = False  # the run folder is the driver's
    free_gb: dict[str, float] = field(default_factory=dict)  # of the run folder's disk, and of Ray's own
    clock_s: float = 0.0  # ahead of the driver's
    problems: list[str] = field(default_factory=list)


class Probe:
    """Runs on a node, as an actor without any resources: it asks and trains nothing."""

    def look(self, name: str, data: DataConfig, folder: str, token: str) -> Facts:
        facts = facts_here(name)
        try:
            facts.data = load_configured(data).hashes
        except DataError as error:
            facts.problems.append(f"data: {error}")
        problem = shared_problem(Path(folder), token, name)
        facts.shared = problem is None
        facts.problems += [problem] if problem else []
        for place in (folder, tempfile.gettempdir()):
            with contextlib.suppress(OSError):
                facts.free_gb[place] = shutil.disk_usage(place).free / GB
        return facts

    def clock(self) -> float:
        return time.time()


def facts_here(name: str) -> Facts:
    return Facts(name, platform.python_version(), torch.__version__, ray.__version__, manifest.code(), gpus_here(), torch.version.cuda)


def gpus_here() -> list[str]:
    """Asked of the driver of the GPUs, since Ray hides them from who has not asked for one."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def shared_problem(folder: Path, token: str, name: str) -> str | None:
    """Reads the driver's token in the folder and leaves one for it. Only whole files under new names, so that no cache of a network
    file system can have an older answer."""
    try:
        got = (folder / token).read_text(encoding="utf-8")
        if got != token:
            return f"{folder}: what is read there is not what was written here"
        (folder / f"{token}-{name}").write_text(name, encoding="utf-8")
    except FileNotFoundError:
        return f"{folder}: is another folder there than here; give one that every node sees, with study.folder=FOLDER"
    except OSError as error:
        return f"{folder}: cannot be written there ({error.strerror})"
    return None


def probe_nodes(nodes: dict[str, str], data: DataConfig, folder: Path) -> list[Facts]:
    """Facts of each node (id -> name), problems included. `folder` exists; what is written into it is removed."""
    token = f".check-{secrets.token_hex(8)}"
    probes = {
        node: ray.remote(Probe).options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in nodes
    }
    try:
        (folder / token).write_text(token, encoding="utf-8")
        answers = {node: probe.look.remote(nodes[node], data, str(folder), token) for node, probe in probes.items()}
        ray.wait(list(answers.values()), num_returns=len(answers), timeout=ANSWER_S)
        found = []
        for node, answer in answers.items():
            try:
                facts = ray.get(answer, timeout=0)
                facts.clock_s = clock_difference(probes[node])
                if facts.shared and not (folder / f"{token}-{nodes[node]}").exists():
                    facts.shared = False
                    facts.problems.append(f"{folder}: what is written there is not seen here")
            except ray.exceptions.GetTimeoutError:
                facts = silent_node(nodes[node], f"no answer within {ANSWER_S:.0f} s")
            except ray.exceptions.RayError as error:
                last = [line.strip() for line in str(error).splitlines() if line.strip()]
                facts = silent_node(nodes[node], f"cannot run this code: {last[-1][:300]}")
            found.append(facts)
        return found
    finally:
        for path in folder.glob(f"{token}*"):
            path.unlink(missing_ok=True)
        for probe in probes.values():
            ray.kill(probe)


def silent_node(name: str, why: str) -> Facts:
    """Of a node that has not answered."""
    return Facts(name, "", "", "", {}, [], None, problems=[why])


def clock_difference(probe: Any) -> float:
    """Seconds that the probe's clock is ahead, the least of three by how long the question took."""
    asked = []
    for _ in range(3):
        before = time.time()
        there = ray.get(probe.clock.remote(), timeout=30)
        after = time.time()
        asked.append((after - before, there - (before + after) / 2))
    return min(asked)[1]


def find_problems(here: Facts, found: Facts, gpus: float) -> None:
    """Adds what does not fit the driver, `gpus` being what Ray says of the node."""
    if not found.python:  # it has not answered
        return
    for what in ("python", "torch", "ray"):
        ours, theirs = getattr(here, what), getattr(found, what)
        if ours != theirs:
            found.problems.append(f"{what} {theirs}, here {ours}; make setup there")
    changed = manifest.changed_modules({"code": here.code}, {"code": found.code})
    if changed:
        found.problems.append(f"other code: {', '.join(changed[:3])}{' and more' if len(changed) > 3 else ''}; ray up copies it anew")
    if found.data and found.data != here.data:
        found.problems.append("other data than here")
    if found.gpus and found.cuda is None:
        found.problems.append(f"{found.gpus[0]}, and a torch without CUDA; make setup there without TORCH_INDEX")
    if gpus and not found.gpus and found.cuda is not None:
        found.problems.append(f"Ray counts {gpus:g} GPUs, nvidia-smi none")
    if abs(found.clock_s) > MAX_CLOCK_S:
        found.problems.append(f"its clock is {found.clock_s:+.1f} s from this one's; let NTP set both")
    for place, free in found.free_gb.items():
        if free < MIN_FREE_GB:
            found.problems.append(f"{place}: {free:.1f} GB are free, {MIN_FREE_GB:g} are needed")


def check_nodes(sweep: Sweep, folder: Path) -> tuple[Table, list[str]]:
    """(a table of the nodes, problems, each with its node's name) of the cluster that Ray is connected to. Raises DataError where
    the data cannot even be had here."""
    config = sweep.fixed.data
    data = DataConfig(**vars(config) | {"folder": config.folder and str(Path(config.folder).expanduser().resolve())})
    here = facts_here(socket.gethostname())
    here.data = load_configured(data).hashes
    alive = [node for node in ray.nodes() if node["Alive"]]
    names = distinct_names([node["NodeManagerAddress"] for node in alive])
    found = probe_nodes({node["NodeID"]: name for node, name in zip(alive, names, strict=True)}, data, folder.resolve())
    table = Table(title=f"{len(found)} nodes", title_justify="left")
    for column in ("node", "Python", "torch", "Ray", "code", "GPUs", "data", "runs/", "clock", "free GB", ""):
        table.add_column(column)
    for node, facts in zip(alive, found, strict=True):
        gpus = node["Resources"].get("GPU", 0.0)
        find_problems(here, facts, gpus)
        table.add_row(*(Text(cell) for cell in table_cells(facts, gpus, here)), style=None if not facts.problems else "red")
    return table, [f"{facts.name}: {problem}" for facts in found for problem in facts.problems]


def distinct_names(addresses: list[str]) -> list[str]:
    """Names for tables and files: an address, numbered where several nodes share it."""
    return [
        address if addresses.count(address) == 1 else f"{address}#{addresses[:place].count(address) + 1}"
        for place, address in enumerate(addresses)
    ]


def table_cells(facts: Facts, gpus: float, here: Facts) -> list[str]:
    commit = (facts.code.get("commit") or "no commit")[:9]
    same = not manifest.changed_modules({"code": here.code}, {"code": facts.code}) if facts.code else False
    return [
        facts.name,
        facts.python,
        facts.torch,
        facts.ray,
        f"{commit}{'' if same else ' other'}" if facts.code else "",
        f"{gpus:g} {', '.join(sorted(set(facts.gpus)))}".strip(),
        "same" if facts.data and facts.data == here.data else "no",
        "same" if facts.shared else "no",
        f"{facts.clock_s:+.2f} s",
        " / ".join(f"{free:.0f}" for free in facts.free_gb.values()),
        "fit" if not facts.problems else "not fit",
    ]


def check_cluster(sweep: Sweep, console: Console) -> int:
    """`launch.py cluster check SWEEP`. Returns the exit code: 1 where a node is not fit. Raises ConfigError without a cluster."""
    address = cluster_address()
    if address is None:
        raise ConfigError("RAY_ADDRESS: not set, and this machine is no node of a Ray cluster; run it on the head, as docs/cluster.md says")
    folder = sweep.study.path.parent
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"study.folder: got {folder}; it cannot be made ({error.strerror})") from None
    try:
        with ray_running(None, address) as where:
            console.print(f"{where}, for {sweep.source} in {folder.resolve()}", soft_wrap=True)
            table, problems = check_nodes(sweep, folder)
    except OSError as error:
        raise ConfigError(f"study.folder: got {folder}; it cannot be written ({one_line(error)})") from None
    finally:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table, crop=False)
    for problem in problems:
        console.print(problem, soft_wrap=True)
    return int(bool(problems))


def enter_cluster(sweep: Sweep, lock: DriverLock, stack: contextlib.ExitStack, console: Console) -> Place:
    """Starts Ray, or joins it, until the stack ends. Raises ConfigError where not one trial fits, on one machine where it asks for a GPU
    that torch cannot use, and on a cluster of several nodes where one of them is not fit."""
    address = cluster_address()
    joined, asked = address is not None, sweep.study.resources_per_trial
    unusable = not joined and not torch.cuda.is_available()
    if unusable and asked != "auto" and asked.get("gpu"):
        want = "ask for cpu alone, or install the GPU's driver and a torch for it"
        raise ConfigError(f"study.resources_per_trial: got {dict(asked)}; torch {torch.__version__} can use no GPU here: {want}")
    where = stack.enter_context(ray_running(lock, address))
    if unusable and any(node.get("GPU") for node in alive_nodes().values()):
        console.print(
            f"warning: there is a GPU, and torch {torch.__version__} cannot use it: trials train on the processor", soft_wrap=True
        )
    place = Place(where, trial_resources(sweep, joined), sweep.study.max_concurrent, joined)
    if place.slots < 1:
        raise ConfigError(f"study.resources_per_trial: got {place.resources}; {describe_nodes(joined)}: ask for less")
    num = sum(node["Alive"] for node in ray.nodes())
    if num > 1:
        _, problems = check_nodes(sweep, sweep.study.path)
        if problems:
            more = f" (and {len(problems) - 2} more)" if len(problems) > 2 else ""
            raise ConfigError(f"the cluster is not fit: {'; '.join(problems[:2])}{more}; launch.py cluster check shows all of it")
        console.print(f"checked {num} nodes: the same versions, code, data and run folder")
    return place
