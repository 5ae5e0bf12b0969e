"""Names that Ray does not offer to the public, each with what it is for; tests/cluster/test_private.py says when one is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def running_cluster_address() -> str | None:
    """Of the cluster that `ray start` made this machine a node of; it may be dead. Publicly only ray.init(address="auto") knows it,
    which asks for minutes where nobody answers."""
    from ray._private.utils import read_ray_address

    address: str | None = read_ray_address()
    return address


def cores_in_quota() -> int:
    """Of a container, by its cgroup. Publicly only a running Ray tells, after it has started with them."""
    from ray._private.utils import get_num_cpus

    return int(get_num_cpus(override_docker_cpu_warning=True))


def validated_cluster_config(content: dict[str, Any]) -> dict[str, Any]:
    """A file for `ray up` as Ray fills it in. Publicly only `ray up` checks one, by starting it. Raises whatever Ray does."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = prepare_config(content)
    validate_config(config)
    return config


def error_text(trial: Any) -> str:
    """Ray's account of an actor that could not be made. Tune's own `get_error` looks into the storage, where it has not come yet, and an
    actor that was made is asked itself."""
    path = trial.error_file
    return Path(path).read_text(encoding="utf-8", errors="replace") if path and Path(path).exists() else ""
