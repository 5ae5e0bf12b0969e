"""The sweep's command line: arguments in, aae.tuning called, a table and a report out. `python launch.py --help` explains."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aae.config import ConfigError
from aae.data import DataError
from aae.layers import parse_overrides

if TYPE_CHECKING:
    from aae.tuning.config import Sweep

USAGE = """\
  python launch.py sweeps/quick.yaml                          run a sweep, or go on with an interrupted one
  python launch.py sweeps/semi.yaml train.epochs=20           the same with paths of study: or trial: set
  python launch.py sweeps/semi.yaml --plan                    what would run, three sampled trials, a forecast
  python launch.py status runs/quick                          where it stands, from another terminal
  python launch.py confirm runs/quick study.confirm=...       the winner, on fresh draws, with an interval: README
  python launch.py reproduce runs/quick [--trial N]           train the best trial (or N) again and compare
  python launch.py cluster check|down FILE                    a Ray cluster: whether it fits, and its end: docs/cluster.md
"""
ACCEPT = "go on although code under aae/ or versions have changed since; the trials then carry which code made them"


def main(arguments: list[str]) -> int:
    console = Console(soft_wrap=not sys.stdout.isatty())
    commands = {"status": status, "reproduce": reproduce, "confirm": confirm, "cluster": cluster}
    try:
        if arguments and arguments[0] in commands:
            return commands[arguments[0]](arguments[1:], console)
        return sweep(arguments, console)
    except (ConfigError, DataError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the trials start or after they end; between them the sweep has its own handlers
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def parser(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"python launch.py{name}", description=description, epilog=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def sweep(arguments: list[str], console: Console) -> int:
    options = parser("", "Ray Tune drives an Optuna search over adversarial autoencoders; one YAML says what to search.")
    options.add_argument("sweep", help="a sweep file, for example sweeps/quick.yaml")
    options.add_argument(
        "overrides",
        nargs="*",
        metavar="path=value",
        help="set a path of study: or trial:, as study.num_trials=40 model.z_dim=8; a searched path that is set is searched no longer",
    )
    options.add_argument("--plan", action="store_true", help="print the resolved sweep, sampled trials and a forecast; start nothing")
    options.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    given = options.parse_intermixed_args(arguments)

    from aae.tuning.config import load_sweep  # Optuna and Ray take seconds to import: --help does not wait for them

    checked = load_sweep(given.sweep, parse_overrides(given.overrides))
    for note in checked.notes:
        console.print(f"note: {note}", highlight=False)
    if given.plan:
        from aae.tuning.plan import print_plan

        print_plan(checked, console)
        return 0

    from aae.tuning.sweep import run_sweep
    from analysis.report import show, write_files
    from analysis.trials import read_run

    started = time.monotonic()
    try:
        study, code, stopped, finish_tracking = run_sweep(checked, given.accept_changes, console)
    except (RuntimeError, OSError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    trials = study.trials()
    interrupted = sum(not trial.state.is_finished() for trial in trials)
    if trials:
        run = read_run(study.run)
        page = write_files(run)
        show(run, console)
        console.print(f"report: {page}", soft_wrap=True, highlight=False)
        finish_tracking(sorted(page.parent.glob("*.png")))
    best = [trial for trial in trials if trial.state.name == "COMPLETE"]
    if best:
        console.print(f"reproduce the best: python launch.py reproduce {shlex.quote(str(study.run))}", soft_wrap=True)
    if interrupted or len(trials) < checked.study.num_trials:
        console.print(
            f"{interrupted} interrupted, {max(0, checked.study.num_trials - len(trials))} not asked yet; the same command goes on"
        )
    elif checked.study.confirm is not None and stopped:  # in the last epochs: some signals end with 0
        console.print("stopped before the confirmation; the same command goes on with it")
    elif checked.study.confirm is not None and code == 0:
        if checked.study.max_minutes is not None:  # of the whole invocation
            left = checked.study.max_minutes - (time.monotonic() - started) / 60
            if left <= 0:
                console.print("the minutes are spent before the confirmation; the same command goes on with it")
                return code
            checked = replace(checked, study=replace(checked.study, max_minutes=left))
        return confirmed(study.run, checked, given.accept_changes, console)
    return code


def status(arguments: list[str], console: Console) -> int:
    options = parser(" status", "Where a sweep stands; reads only, from any terminal or node.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    given = options.parse_args(arguments)

    from aae.tuning.plan import print_status
    from analysis.report import TOP, table_of
    from analysis.trials import ranked, read_run

    print_status(given.run, console)
    run = read_run(given.run)
    if run.trials:
        console.print(table_of(run, ranked(run)[:TOP], console.width))
    return 0


def reproduce(arguments: list[str], console: Console) -> int:
    options = parser(" reproduce", "Train a trial again from what was recorded, and compare every epoch to the bit.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    options.add_argument("--trial", type=int, metavar="N", help="which trial (default: the best)")
    given = options.parse_args(arguments)

    from aae.tuning.reproduce import reproduce as train_again

    return train_again(given.run, given.trial, console)


def cluster(arguments: list[str], console: Console) -> int:
    options = parser(" cluster", "Checks a cluster before anything is spent on it, or ends it.")
    options.add_argument("action", choices=("check", "down"), help="check: starts no trial. down: ends Ray on every host of the file")
    options.add_argument("file", type=Path, help="a file for ray up, where ray up is given; or, on the cluster, the sweep to check it for")
    options.add_argument("overrides", nargs="*", metavar="path=value", help="as for the sweep's own command")
    given = options.parse_intermixed_args(arguments)

    from aae.tuning.cluster_file import check_file, down, is_cluster_file

    if given.action == "down":
        return down(given.file, console)
    if is_cluster_file(given.file):
        check_file(given.file)
        console.print(f"{given.file}: filled in, and Ray takes it", highlight=False, soft_wrap=True)
        return 0
    from aae.tuning.cluster import check
    from aae.tuning.config import load_sweep

    return check(load_sweep(given.file, parse_overrides(given.overrides)), console)


def confirm(arguments: list[str], console: Console) -> int:
    options = parser(" confirm", "Select the winner on fresh draws, freeze it, and report it on others; or go on with that.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    options.add_argument(
        "overrides", nargs="*", metavar="study.confirm=...", help="where the sweep file has none, as study.confirm.report_draws=10"
    )
    options.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    given = options.parse_intermixed_args(arguments)

    from aae.tuning.confirm import load_searched

    return confirmed(given.run, load_searched(given.run, parse_overrides(given.overrides)), given.accept_changes, console)


def confirmed(run: Path, checked: Sweep, accept: bool, console: Console) -> int:
    """Confirms, prints the verdict and puts it on the run's page. Returns the exit code."""
    from aae.tuning.confirm import confirm as run_confirmation
    from analysis.confirmed import verdict
    from analysis.report import write_files
    from analysis.trials import read_run

    try:
        code = run_confirmation(run, checked, accept, console)
    except (RuntimeError, OSError) as error:
        print(f"launch.py: {error}", file=sys.stderr)
        return 1
    read = read_run(run)
    if read.confirmed is not None:
        for line in verdict(read.confirmed):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        console.print(f"report: {write_files(read)}", soft_wrap=True, highlight=False)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
