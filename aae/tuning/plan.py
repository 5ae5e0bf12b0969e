"""What a sweep would do, and where one stands: text for people, nothing is started or written."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial
from rich.console import Console

from aae import metrics
from aae.config import ConfigError
from aae.data import DataError, data_warnings, load_configured
from aae.runs import read_json, read_manifest, trial_folder
from aae.tuning.config import Sweep, refuse_unfit_sweep
from aae.tuning.console import state_of
from aae.tuning.draws import NAME, WINNER
from aae.tuning.journal import open_study
from aae.tuning.lock import running


def print_plan(sweep: Sweep, console: Console) -> None:
    from aae.tuning.rehearsal import cases_of, shown
    from aae.tuning.sweep import to_yaml

    console.print(OmegaConf.to_yaml(to_yaml(sweep)), markup=False, highlight=False, soft_wrap=True)
    for case in cases_of(sweep):
        console.print(f"{case.name}: {shown(case.values) if case.name.startswith('sampled') else 'run first, never pruned'}")
    for warning in warnings_of(sweep):
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)
    console.print(forecast(sweep), highlight=False)


def warnings_of(sweep: Sweep) -> list[str]:
    """What the user's own data says; a published dataset is not fetched for it."""
    if sweep.fixed.data.known_size is not None:
        return []
    try:
        data = load_configured(sweep.fixed.data)
        refuse_unfit_sweep(sweep, data)
    except DataError as error:
        return [f"{error}; the sweep would not start"]
    return data_warnings(sweep.fixed, data)


def forecast(sweep: Sweep) -> str:
    """Nothing is started for it: from this study's own told trials; else what its start has measured; else the cost that the sweep's
    header gives; else none."""
    from aae.tuning import forecast as measured

    run = sweep.study.path
    if (run / "study.journal").is_file():
        rest = measured.left(run, open_study(run, "", create=False).get_trials(deepcopy=False), sweep.study.num_trials, None)
        first = (read_json(run / measured.NAME) or {}).get("first")
        if rest:
            return f"forecast: {rest}"
        if first:
            return f"forecast: {measured.Forecast(**first)}, measured before its first trial"
    cost = re.search(r"^#\s*Cost:\s*(.+)$", Path(sweep.source).read_text(), re.MULTILINE)
    if cost:
        return f"forecast: {cost.group(1)} (from the sweep's header, for the file as it is); a start measures it before the first trial"
    return "forecast: none is possible before it starts: no cost is in the sweep's header; a start measures it before the first trial"


def begun(run: Path) -> optuna.Study | None:
    """The confirmation's study of a run folder; None before its first whole write."""
    journal = run / NAME / "study.journal"
    if not journal.is_file() or b"\n" not in journal.read_bytes():
        return None
    return open_study(run / NAME, NAME, create=False)


def print_status(run: Path, console: Console) -> None:
    """Raises ConfigError where there is no sweep."""
    made = read_manifest(run)
    if made is None:
        raise ConfigError(f"{run}: holds no sweep; give a run folder, as runs/quick")
    holder = running(run)
    trials = open_study(run, "", create=False).get_trials(deepcopy=False)
    searching = holder is not None and holder.get("work") != NAME  # a confirmation leaves a search that was cut off as it is
    states = Counter(state_of(trial, searching) for trial in trials)
    who = f"running (pid {holder.get('pid')} on {holder.get('host')})" if holder else "not running"
    console.print(f"{run}: {who}; " + (", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no trials yet"))
    for trial in trials:
        if not trial.state.is_finished():
            console.print(f"  trial {trial.number}: {progress(run, trial, made['sweep']['study']['metric'])}", highlight=False)
    own = begun(run)
    if own is not None:
        ended = sum(trial.state.is_finished() for trial in own.get_trials(deepcopy=False))
        winner = own.user_attrs.get(WINNER)
        stage = "done" if (run / NAME / "report.json").is_file() else "report" if winner else "selection"
        frozen = f", winner frozen: {winner['name']}" if winner else ""
        console.print(f"confirmation: {stage}, {ended} trainings told{frozen}", highlight=False)
    if not searching and any(not trial.state.is_finished() for trial in trials):
        console.print("the same launch.py command goes on with it")


def progress(run: Path, trial: FrozenTrial, metric: str) -> str:
    rows = trial_folder(run, trial.number).rows()
    return f"epoch {rows[-1]['epoch']}, {metric} {metrics.shown(metric, rows[-1].get(metric))}" if rows else "no epoch yet"
