"""`launch.py SWEEP --plan`: what a sweep would do. Starts nothing, writes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rich.console import Console

from aae import manifest
from aae.data import DataError, data_warnings, load_configured
from aae.download import own_folder, published_hashes
from aae.errors import ConfigError
from aae.runs import CHOICE, FORECAST, JOURNAL, read_json, read_manifest
from aae.tuning.driver import forecast
from aae.tuning.driver.opening import refuse_changes, refuse_other_content
from aae.tuning.spec.sweep import Sweep, refuse_unfit_sweep
from aae.tuning.study.gain import still_ended
from aae.tuning.study.journal import read_trials
from aae.tuning.study.parents import refuse_other_past
from aae.tuning.study.trial_sampler import describe_sampler
from aae.tuning.workers.rehearsal import cases_of, refuse_untrainable_part, values_text


def plan_of(sweep: Sweep, accept: bool) -> dict[str, Any]:
    """What --plan --json prints: docs/json.md."""
    warnings, refused = warnings_and_refusals(sweep, accept)
    refuse_untrainable_part(sweep)
    return {
        "study": sweep.study.name,
        "folder": str(sweep.study.path),
        "sweep": sweep.to_blocks(),
        "notes": list(sweep.notes),
        "sampler": describe_sampler(sweep),
        "cases": [{"name": case.name, "values": case.values} for case in cases_of(sweep)],
        "warnings": warnings,
        "refused": refused,
        "forecast": forecast_of(sweep),
    }


def print_plan(sweep: Sweep, plan: dict[str, Any], console: Console) -> None:
    console.print(sweep.to_yaml(), soft_wrap=True)
    for case in plan["cases"]:
        text = values_text(case["values"]) if case["name"].startswith("sampled") else "run first, never pruned"
        console.print(f"{case['name']}: {text}")
    if plan["sampler"] is not None:
        console.print(plan["sampler"])
    for warning in plan["warnings"]:
        console.print(f"warning: {warning}", soft_wrap=True)
    console.print(f"forecast: {plan['forecast']['text']}")


def warnings_and_refusals(sweep: Sweep, accept: bool) -> tuple[list[str], list[str]]:
    """(warnings, why a start would be refused), as far as the folder and a user's own data tell: a published dataset is not fetched for a
    plan, and a file that is not here may lie where the sweep will run."""
    warnings, refused, dataset = list[str](), list[str](), None
    data, run = sweep.fixed.data, sweep.study.path
    try:
        if data.known_size is None:
            dataset = load_configured(data)
            refuse_unfit_sweep(sweep, dataset)
            warnings += data_warnings(sweep.fixed, dataset)
        elif data.folder:
            own_folder(data.folder)
    except DataError as error:
        elsewhere = data.folder is not None and not Path(data.folder).expanduser().exists()
        (warnings if elsewhere else refused).append(f"{error}; the sweep would not start here" if elsewhere else str(error))
    hashes = published_hashes(data.name, data.folder) if dataset is None else dataset.hashes
    try:
        refuse_other_content(run)
        recorded = read_manifest(run)
        if recorded is not None:
            refuse_changes(recorded["sweep"], sweep.with_precision(recorded["precision"]), run)
            now = manifest.describe(manifest.own_command(), recorded["data"] if hashes is None else hashes)
            manifest.go_on(recorded, now, run, accept)
        refuse_other_past(sweep, hashes)
    except ConfigError as error:
        refused.append(str(error))
    return warnings, refused


def forecast_of(sweep: Sweep) -> dict[str, Any]:
    """Nothing is started for it: from this study's own told trials; else what its start has measured; else the cost that the sweep's
    header gives; else none."""

    def found(source: str | None, text: str, numbers: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"from": source, "text": text, "numbers": numbers}

    run = sweep.study.path
    if (run / JOURNAL).is_file():
        trials, mark = read_trials(run), (read_json(run / CHOICE) or {}).get("ended")
        ended = still_ended(mark, sweep.study.stop_below_gain, len(trials))
        rest = forecast.forecast_left(run, trials, len(trials) if ended else sweep.study.num_trials, None)
        first = (read_json(run / FORECAST) or {}).get("first")
        if rest:
            return found("told trials", rest)
        if first:
            return found("rehearsal", f"{forecast.Forecast(**first)}, measured before its first trial", first)
    cost = re.search(r"^#\s*Cost:\s*(.+)$", Path(sweep.source).read_text(encoding="utf-8"), re.MULTILINE)
    if cost:
        text = f"{cost.group(1)} (from the sweep's header, for the file as it is); a start measures it before the first trial"
        return found("header", text)
    return found(None, "none before it starts, which measures it; a line `# Cost: ...` at the top of the sweep file would stand here")
