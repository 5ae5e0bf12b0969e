"""`launch.py status RUN`: where a sweep stands. Reads only, from any terminal or node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from aae.errors import no_sweep
from aae.streams import require_written
from aae.tuning.commands.arguments import command_parser
from aae.tuning.commands.output import add_json_option, print_object


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("status", "Where a sweep stands; reads only, from any terminal or node.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    add_json_option(options, "where it stands")
    given = options.parse_args(arguments)

    from analysis.gain import gain_lines
    from analysis.report import TOP, table_of
    from analysis.trials import ranked, read_run, shown_state

    found = status_of(given.run)
    if given.json:
        print_object(found)
        return 0
    print_status(given.run, found, console)
    if found["study"] is not None:
        read = read_run(given.run)
        if read.trials:
            shown = [replace(trial, state=shown_state(trial.state, is_searching(found["driver"]))) for trial in ranked(read)[:TOP]]
            console.print(table_of(read, shown, console.width))
        for line in gain_lines(read):
            console.print(line, soft_wrap=True)
    require_written()
    return 0


def is_searching(driver: dict[str, Any] | None) -> bool:
    """A confirmation leaves a search that was cut off as it is."""
    from aae.runs import CONFIRM

    return driver is not None and driver.get("work") != CONFIRM


def starting(driver: dict[str, Any], run: Path) -> dict[str, Any]:
    """Where a sweep stands that has a driver, and no study yet."""
    nothing = dict.fromkeys(("study", "metric", "num_trials", "best", "confirmation"))
    return {"run": str(run), "driver": named(driver), "states": {}, "trials": []} | nothing


def named(driver: dict[str, Any]) -> dict[str, Any]:
    return {key: driver.get(key) for key in ("pid", "host", "work")}


def status_of(run: Path) -> dict[str, Any]:
    """What --json prints: docs/json.md. Raises ConfigError where there is no sweep."""
    from aae.runs import JOURNAL, read_manifest, read_rows, running
    from aae.tuning.confirm.plan import standing_of
    from aae.tuning.study.journal import read_trials
    from aae.tuning.study.optuna_views import word_of
    from analysis.trials import asked_trials, read_run, shown_state

    holder = running(run)
    if holder is not None and is_searching(holder) and (read_manifest(run) is None or not read_rows(run / JOURNAL)):
        return starting(holder, run)
    if read_manifest(run) is None:
        raise no_sweep(run)
    words = {trial.number: shown_state(word_of(trial), is_searching(holder)) for trial in read_trials(run)}
    read = read_run(run)
    keys = ("number", "value", "epochs", "seconds", "reason", "baseline", "params")
    trials = [{key: getattr(trial, key) for key in keys} | {"state": words.get(trial.number, trial.state)} for trial in read.trials]
    return {
        "run": str(run),
        "study": read.name,
        "metric": read.metric,
        "num_trials": asked_trials(run),
        "driver": None if holder is None else named(holder),
        "states": {word: list(words.values()).count(word) for word in sorted(set(words.values()))},
        "best": read.best.number if read.best is not None else None,
        "trials": trials,
        "confirmation": standing_of(run),
    }


def print_status(run: Path, found: dict[str, Any], console: Console) -> None:
    holder, own = found["driver"], found["confirmation"]
    if found["study"] is None:
        console.print(f"{run}: starting (pid {holder['pid']} on {holder['host']}), no trial yet")
        return
    who = f"running (pid {holder['pid']} on {holder['host']})" if holder else "not running"
    console.print(f"{run}: {who}; " + (", ".join(f"{count} {state}" for state, count in found["states"].items()) or "no trials yet"))
    for trial in found["trials"]:
        if trial["state"] in ("running", "interrupted"):
            console.print(f"  trial {trial['number']}: {progress(run, trial['number'], found['metric'])}")
    if own is not None:
        frozen = f", winner frozen: {own['winner']}" if own["winner"] else ""
        console.print(f"confirmation: {own['stage']}, {own['trainings_told']} training{'s' * (own['trainings_told'] != 1)} told{frozen}")
        for line in verdict_of(run)[:1]:
            console.print(line, soft_wrap=True)
    if found["states"].get("interrupted"):
        renamed = "" if run.resolve().name == found["study"] else f"renamed from {found['study']}: call it so again, and "
        console.print(f"{renamed}the same launch.py command goes on with it", soft_wrap=True)


def verdict_of(run: Path) -> list[str]:
    """What a confirmation found; nothing before it is done."""
    from analysis.confirmed import confirmation_verdict, read_confirmed

    found = read_confirmed(run)
    return [] if found is None else confirmation_verdict(found)


def progress(run: Path, number: int, metric: str) -> str:
    from aae import metrics
    from aae.runs import trial_folder

    rows = trial_folder(run, number).rows()
    return f"epoch {rows[-1]['epoch']}, {metric} {metrics.shown(metric, rows[-1].get(metric))}" if rows else "no epoch yet"
