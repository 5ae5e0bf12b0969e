"""`launch.py SWEEP --plan`: what a sweep would do. Starts nothing, writes nothing."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from aae.runs import JOURNAL, read_json
from aae.tuning.driver import forecast
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.journal import read_trials
from aae.tuning.workers.rehearsal import cases_of, values_text


def print_plan(sweep: Sweep, console: Console) -> None:
    console.print(sweep.to_yaml(), markup=False, highlight=False, soft_wrap=True)
    for case in cases_of(sweep):
        console.print(f"{case.name}: {values_text(case.values) if case.name.startswith('sampled') else 'run first, never pruned'}")
    console.print(forecast_text(sweep), highlight=False)


def forecast_text(sweep: Sweep) -> str:
    """Nothing is started for it: from this study's own told trials; else what its start has measured; else the cost that the sweep's
    header gives; else none."""
    run = sweep.study.path
    if (run / JOURNAL).is_file():
        rest = forecast.forecast_left(run, read_trials(run), sweep.study.num_trials, None)
        first = (read_json(run / forecast.FORECAST) or {}).get("first")
        if rest:
            return f"forecast: {rest}"
        if first:
            return f"forecast: {forecast.Forecast(**first)}, measured before its first trial"
    cost = re.search(r"^#\s*Cost:\s*(.+)$", Path(sweep.source).read_text(), re.MULTILINE)
    if cost:
        return f"forecast: {cost.group(1)} (from the sweep's header, for the file as it is); a start measures it before the first trial"
    return "forecast: none is possible before it starts: no cost is in the sweep's header; a start measures it before the first trial"
