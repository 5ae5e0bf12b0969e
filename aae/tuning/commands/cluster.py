"""`launch.py cluster check|down FILE`: a Ray cluster, before anything is spent on it, and its end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from aae.tuning.commands.arguments import add_overrides, command_parser


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("cluster", "Checks a cluster before anything is spent on it, or ends it.")
    options.add_argument("action", choices=("check", "down"), help="check: starts no trial. down: ends Ray on every host of the file")
    options.add_argument("file", type=Path, help="a file for ray up, where ray up is given; or, on the cluster, the sweep to check it for")
    add_overrides(options, "path=value", "as for the sweep's own command")
    given = options.parse_intermixed_args(arguments)

    from aae.tuning.cluster.cluster_file import check_file, is_cluster_file, stop_cluster

    if given.action == "down":
        return stop_cluster(given.file, console)
    if is_cluster_file(given.file):
        check_file(given.file)
        console.print(f"{given.file}: filled in, and Ray takes it", soft_wrap=True)
        return 0

    from aae.inputs import parse_overrides
    from aae.tuning.cluster.preflight import check_cluster
    from aae.tuning.study.parents import load_sweep

    return check_cluster(load_sweep(given.file, parse_overrides(given.overrides)), console)
