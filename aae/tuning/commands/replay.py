"""`launch.py replay RUN`: which sampler, rungs and budget would have found how much. Reads only."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aae.errors import no_sweep, require
from aae.streams import require_written
from aae.tuning.commands.arguments import command_parser


def run(arguments: list[str], console: Console) -> int:
    text = "Replay other samplers, rungs and budgets on surrogates of this study's own curves, in simulated time."
    options = command_parser("replay", text)
    options.add_argument("run", type=Path, help="a run folder with at least 20 different complete trials; best of a RandomSampler")
    options.add_argument(
        "--budgets",
        type=int,
        nargs="+",
        default=[15, 30],
        metavar="N",
        help="how long a simulated search may take, in whole trainings (default: 15 30)",
    )
    options.add_argument(
        "--replays",
        type=int,
        default=60,
        metavar="N",
        help="simulated searches of each setting (default: 60); four times as many halve the error",
    )
    given = options.parse_args(arguments)
    for name, low in (("budgets", 2), ("replays", 1)):
        for value in [getattr(given, name)] if name == "replays" else given.budgets:
            require(value >= low, f"--{name}", value, f"give a whole number of at least {low}")

    from aae.runs import read_manifest
    from aae.tuning.cluster.sessions import cores
    from aae.tuning.replay.compare import SLOTS, describe, read_recorded, replay_all, settings_of, table
    from aae.tuning.study.journal import read_trials

    made = read_manifest(given.run)
    if made is None:
        raise no_sweep(given.run)
    settings, budgets = settings_of(given.run), sorted(set(given.budgets))
    sweep = settings[0].sweep
    recorded = read_recorded(given.run, sweep)
    for line in describe(recorded, given.run, read_trials(given.run)):
        console.print(line, soft_wrap=True)
    started, shown = time.monotonic(), 0.0

    def say(done: int, num: int) -> None:
        nonlocal shown
        if done / num >= shown + 0.1 or done == num:
            left = (time.monotonic() - started) * (num - done) / done
            console.print(f"{done} of {num} replays" + (f", {left:.0f} s left" if left else ""))
            shown = done / num

    try:
        value_SRB = replay_all(recorded, settings, budgets, given.replays, cores(), say)
    except RuntimeError as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    heading, *rows = table(settings, value_SRB, budgets, sweep.study.metric)
    shape = Table(*heading, box=None, pad_edge=False)
    for row in rows:
        shape.add_row(*row)
    console.print(shape)
    num = f"{value_SRB.shape[1]} replays on {SLOTS} slots"
    console.print(
        f"{num}: the median of what the configuration chosen comes to without noise, and in how many of them it is", soft_wrap=True
    )
    console.print("better than that of random search after the same slot time, ± the share's standard error", soft_wrap=True)
    require_written()
    return 0
