"""Where trials run: Ray, started here or joined, what a trial takes of it, and how many trials fit now.

A trial lies on one node whole, so what fits is counted node by node, and counted anew while a sweep runs: nodes come and go.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ray
import torch
import yaml

from aae.tuning.spec.sweep import Sweep

LOOK_S = 2.0  # between two looks at the nodes: a new one has work within this and Ray Tune's own turn
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
GPU_SHARE = 0.25  # of a GPU for a trial under `auto`: a 1000-wide AAE uses a small part of one


@dataclass
class Place:
    """Where trials run."""

    where: str
    resources: dict[str, float]  # of a trial
    cap: int | None = None  # study.max_concurrent
    joined: bool = False  # a cluster, whose nodes come and go
    _looked: float = field(default=-math.inf, repr=False)
    _counted: int = field(default=0, repr=False)

    @property
    def slots(self) -> int:
        """How many trials may be handed out at once: those that fit on the nodes that are there now and, where an autoscaler can add
        nodes, as many again as fit on one of these. The autoscaler reacts only to queued trials."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._counted, self._looked = self._count(), now
        return self._counted

    def _count(self) -> int:
        here = sum(trials_fitting(node, self.resources) for node in alive_nodes().values())
        kinds = [(trials_fitting(kind, self.resources), count) for kind, count in node_kinds(self.joined)]
        if here < sum(each * count for each, count in kinds):
            here += max(each for each, _ in kinds)
        return here if self.cap is None else min(here, self.cap)

    def alive(self, node: str) -> bool:
        return node in alive_nodes()

    @property
    def most_on_a_node(self) -> int:
        nodes = [*alive_nodes().values(), *(kind for kind, _ in node_kinds(self.joined))]
        return max([1, *(trials_fitting(node, self.resources) for node in nodes)])


def alive_nodes() -> dict[str, dict[str, float]]:
    """Node id -> its resources, whoever uses them."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def node_kinds(joined: bool) -> list[tuple[dict[str, float], int]]:
    """(resources, how many at most) of what the autoscaler of this head may add: `ray up` leaves its file there. Empty without one, for
    machines of one's own, which all join by themselves, and where no cluster is joined: the file outlives its cluster."""
    if not joined:
        return []
    try:
        config = yaml.safe_load(Path(os.path.expanduser(BOOTSTRAP)).read_text(encoding="utf-8"))
        kinds, head, most = config["available_node_types"], config["head_node_type"], config["max_workers"]
        return [(kind["resources"], min(kind["max_workers"], most)) for name, kind in kinds.items() if name != head and kind["resources"]]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def trials_fitting(node: Mapping[str, float], trial: Mapping[str, float]) -> int:
    """How many trials a node of these resources holds. A share of a GPU lies on one GPU whole."""

    def fitting(kind: str, amount: float) -> int:
        there = node.get(kind.upper(), 0)
        if kind == "gpu" and amount < 1:
            return int(there) * int(1 / amount + 1e-9)
        return int(there / amount + 1e-9)

    return min(fitting(kind, amount) for kind, amount in trial.items() if amount)


def trial_resources(sweep: Sweep, joined: bool) -> dict[str, float]:
    """What study.resources_per_trial says; under `auto` a core for each of train.num_threads, and a part of a GPU where there are any.
    Where no cluster is joined they count only if torch can use them: Ray counts cards."""
    wanted = sweep.study.resources_per_trial
    if wanted != "auto":
        return dict(wanted)
    nodes = [*alive_nodes().values(), *(kind for kind, _ in node_kinds(joined))]
    gpus = any(node.get("GPU") for node in nodes) and (joined or torch.cuda.is_available())
    return {"cpu": sweep.fixed.train.num_threads} | ({"gpu": GPU_SHARE} if gpus else {})


def describe_nodes(joined: bool) -> str:
    """What there is, a kind of node once; Ray lists nodes in no order."""

    def text(node: Mapping[str, float]) -> str:
        return ", ".join(f"{key.lower()}: {node.get(key, 0):g}" for key in ("CPU", "GPU"))

    kinds = Counter(text(node) for node in alive_nodes().values())
    here = "; ".join(f"{kind}" + (f" on each of {count} nodes" if count > 1 else "") for kind, count in sorted(kinds.items()))
    more = "".join(f", and up to {count} nodes of {text(kind)} can be added" for kind, count in node_kinds(joined) if count)
    return f"there is {here} here{more}"
