"""`launch.py SWEEP [path=value ...]`: runs a sweep, or goes on with it."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from aae.errors import ConfigError, fault
from aae.streams import require_written
from aae.tuning.commands.arguments import ACCEPT, add_overrides, command_parser
from aae.tuning.commands.output import add_json_option, apart_from_the_object, print_object

if TYPE_CHECKING:  # Ray, Optuna and torch take seconds to import: --help does not wait for them
    from aae.tuning.driver.run import Outcome
    from aae.tuning.spec.sweep import Sweep


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("", "Ray Tune drives an Optuna search over adversarial autoencoders; one YAML says what to search.")
    options.add_argument("sweep", help="a sweep file, for example sweeps/quick.yaml")
    what = "set a path of study: or trial:, as study.num_trials=40 model.z_dim=8; a searched path that is set is searched no longer"
    add_overrides(options, "path=value", what)
    options.add_argument("--plan", action="store_true", help="print the resolved sweep, sampled trials and a forecast; start nothing")
    options.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    add_json_option(options, "with --plan: the plan")
    given = options.parse_intermixed_args(arguments)
    if given.json and not given.plan:
        options.error("--json goes with --plan, and with the commands status, confirm and reproduce")

    from aae.inputs import parse_overrides
    from aae.tuning.study.parents import load_sweep

    started = time.monotonic()
    checked = load_sweep(given.sweep, parse_overrides(given.overrides))
    if given.json:
        from aae.tuning.commands.plan import plan_of

        with apart_from_the_object(True, console):
            plan = plan_of(checked, given.accept_changes)
        print_object(plan)
        refuse_after(plan)
        return 0
    for note in checked.notes:
        console.print(f"note: {note}")
    if given.plan:
        from aae.tuning.commands.plan import plan_of, print_plan

        plan = plan_of(checked, given.accept_changes)
        print_plan(checked, plan, console)
        require_written()
        refuse_after(plan)
        return 0

    from aae.tuning.driver.run import run_sweep
    from analysis.live import rewritten_page

    @contextlib.contextmanager
    def follow_page(run: Path) -> Iterator[Callable[[], list[Path]]]:
        with rewritten_page(run) as stop_rewriting:

            def write_last() -> list[Path]:
                stop_rewriting()
                return write_page(run, console)

            yield write_last

    try:
        outcome = run_sweep(checked, given.accept_changes, console, follow_page)
    except PermissionError:  # launch.py has words for it
        raise
    except (RuntimeError, OSError) as error:
        print(f"launch.py: {fault(error)}", file=sys.stderr)
        return 1
    return say_what_is_next(checked, outcome, given.accept_changes, started, console)


def refuse_after(plan: dict[str, Any]) -> None:
    """Raises ConfigError where a start would be refused."""
    if plan["refused"]:
        raise ConfigError("; ".join(plan["refused"]))


def write_page(run: Path, console: Console) -> list[Path]:
    """The run's report, shown and written. Returns its figures."""
    from analysis.report import show, write_files
    from analysis.trials import read_run

    read = read_run(run)
    page = write_files(read)
    show(read, console)
    console.print(f"report: {page}", soft_wrap=True)
    return sorted(page.parent.glob("*.png"))


def say_what_is_next(checked: Sweep, outcome: Outcome, accept: bool, started: float, console: Console) -> int:
    """How the best is reproduced, what is left, or the confirmation itself. Returns the exit code."""
    run, trials, study = outcome.study.run, outcome.study.trials(), checked.study
    interrupted, unasked = sum(not trial.state.is_finished() for trial in trials), outcome.study.num_trials - len(trials)
    if any(trial.state.name == "COMPLETE" for trial in trials):
        console.print(f"reproduce the best: python launch.py reproduce {shlex.quote(str(run))}", soft_wrap=True)
    if interrupted or unasked:
        console.print(f"{interrupted} interrupted, {unasked} not asked yet; the same command goes on")
    elif study.confirm is not None and outcome.stopped:  # in the last epochs: some signals end with 0
        console.print("stopped before the confirmation; the same command goes on with it")
    elif study.confirm is not None and outcome.code == 0:
        if study.max_minutes is not None:  # of the whole invocation
            left = study.max_minutes - (time.monotonic() - started) / 60
            if left <= 0:
                console.print("the minutes are spent before the confirmation; the same command goes on with it")
                return outcome.code
            checked = replace(checked, study=replace(study, max_minutes=left))
        from aae.tuning.commands.confirm import confirm_and_show

        return confirm_and_show(run, checked, accept, console)
    return outcome.code
