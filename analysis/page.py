"""A run as one page of HTML: the verdict first, then what it rests on. One file, its pictures, data and scripts inside; it loads nothing.

The template is templates/page.html. What it shows is composed here, but for the plots: they are drawn in the browser from the JSON of
`plot_data` by plotly.js, which is in the page whole (of the Python package plotly: 4.8 MB, most of the file)."""

from __future__ import annotations

import base64
import functools
import hashlib
import shlex
import time
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from aae import metrics
from aae.runs import STATES
from analysis import confirmed
from analysis.advice import advice
from analysis.figures import Figures
from analysis.plots import choice_of, fewer_colours, plot_data, png_address, ranks_caption, thinned
from analysis.rungs import rungs_caption
from analysis.strips import drawn_by_kind, strips
from analysis.studies import plural
from analysis.trials import Run, TrialRecord, asked_trials, ranked, short_names, shown_state, states
from analysis.verdict import search_verdict

TEMPLATES = Path(__file__).resolve().parent / "templates"
SCRIPTS = ("state.js", "plots.js", "table.js")  # in this order, as one
REWRITTEN_S = 30  # how often the page of a running sweep reloads itself
BESIDE = {  # what the table of trials shows beside a metric
    "val/error": ("val/knn_error",),
    "val/cluster_error": ("val/cluster_error_majority", "val/knn_error", "val/reconstruction"),
    "val/component_error": ("val/component_error_of_prior",),
    "val/parzen_nll": ("val/parzen_std", "val/reconstruction"),
}
HEADINGS = {  # of the plots: their names, and those of their figures
    "history": "Optimisation history",
    "learning-curves": "Learning curves",
    "ranks": "Rank of the trials over the epochs",
    "rungs": "How well an epoch foretells the end",
    "parallel": "Parallel coordinates",
    "slices": "Slices",
    "importance": "Parameter importance",
}


def page_html(run: Run, figures: Figures, running: bool = False) -> str:
    """`running`: a driver is at work. Then the page says so, reloads itself, and leaves out what takes long."""
    style, scripts = read_template("page.css"), "\n".join(map(read_template, SCRIPTS))
    return (
        environment()
        .get_template("page.html")
        .render(
            name=run.name,
            about=about(run),
            standing=standing(run, running),
            running={"written": round(time.time()), "every_s": REWRITTEN_S} if running else None,
            confirmation=None if run.confirmed is None else confirmation(run.confirmed),
            verdict=verdict(run),
            reproduce=None if run.best is None else reproduce_commands(run, run.best),
            table=trial_table(run, running),
            plots=plots(run, figures),
            thinned=thinned(run),
            states=[(shown_state(state, running), count, STATES[state]) for state, count in states(run).items() if count],
            warnings=warnings_of(run),
            pictures=pictures(run),
            data=plot_data(run, running),
            style=Markup(style),
            plotly=Markup(plotly_js()),
            script=Markup(scripts),
            hashes=" ".join(script_hash(text) for text in (plotly_js(), scripts)),
        )
    )


# ---- the template ----


@functools.cache
def environment() -> Environment:
    made = Environment(loader=FileSystemLoader(TEMPLATES, encoding="utf-8"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return made


@functools.cache
def read_template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def plotly_js() -> str:
    return str(get_plotlyjs())


@functools.cache
def script_hash(script: str) -> str:
    """As the page's Content-Security-Policy names the two scripts that may run: no other can, whatever a name on the page says."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


# ---- what stands on it ----


def about(run: Run) -> str:
    made = run.manifest
    versions, code = made.get("versions") or {}, made.get("code") or {}
    commit = str(code.get("commit") or "unknown")[:10] + (" with changes" if code.get("diff") else "")
    devices = dict.fromkeys(row["device"] for trial in run.trials for row in trial.rows if "device" in row)
    where = " and ".join(devices) or made.get("device")
    return f"{plural(len(run.trials), 'trial')} on {where}, torch {versions.get('torch')}, optuna {versions.get('optuna')}, commit {commit}"


def standing(run: Run, running: bool) -> str:
    """Whether the sweep runs, was cut off or has ended."""
    told = sum(trial.state != "interrupted" for trial in run.trials)
    asked = max(asked_trials(run.path) or 0, len(run.trials))
    if running:
        return f"Running: {told} of {asked} trials told, {len(run.trials) - told} at work."
    if not asked:
        return "No trial has been asked yet."
    if told < asked and told == len(run.trials) and run.choice.get("ended") is not None:
        return f"Ended: {told} of {asked} trials told, and study.stop_below_gain asks for no more."
    if told < asked:
        return f"Interrupted: {told} of {asked} trials told. The sweep's own command goes on with it."
    return "Ended: the one trial told." if asked == 1 else f"Ended: all {asked} trials told."


def confirmation(found: confirmed.Confirmed) -> dict[str, Any]:
    first, *rest = confirmed.confirmation_verdict(found)
    roles = confirmed.roles_of(found)
    return {
        "numbers": [{"value": found.mean(role), "text": found.report[role]["name"], "best": role == "winner"} for role in roles],
        "first": first,
        "rest": rest,
        "metric": found.metric,
        "draw": found.report["draw"],
        "picture": confirmed.picture(found, roles),
        "draws": confirmed.draw_table(found, roles),
        "selection": confirmed.selection_table(found),
    }


def verdict(run: Run) -> dict[str, Any]:
    """`rest` are the sentences below the answer: what a choice or a forecast has to say of itself is appended there."""
    first, *rest = search_verdict(run)
    beside = [trial for trial in run.trials if trial.baseline and trial.state == "COMPLETE" and trial is not run.best and run.best]
    numbers = [
        {
            "value": run.value_text(trial.value),
            "best": False,
            "text": f"baseline {trial.baseline}{', breaks the constraint' * bool(trial.excess)}",
        }
        for trial in beside
    ]
    if run.best is not None:
        numbers.insert(0, {"value": run.value_text(run.best.value), "best": True, "text": f"best: trial {run.best.name}"})
    searched = {} if run.best is None else run.best.params
    return {"first": first, "rest": rest, "numbers": numbers, "searched": {path: number(value) for path, value in searched.items()}}


def reproduce_commands(run: Run, best: TrialRecord) -> list[tuple[str, str]]:
    again = f"python launch.py reproduce {shlex.quote(str(run.path))} --trial {best.number}"
    return [
        ("Train the best trial again and compare every epoch with what was recorded:", again),
        ("Or train its configuration alone, without a sweep:", train_command(run, best)),
    ]


def train_command(run: Run, best: TrialRecord) -> str:
    """With a folder of its own: the default is named after the file, and every study's file is best.yaml."""
    output = run.path.parent / f"train-{run.name}-{best.number:04d}"
    return f"python -m aae.train {shlex.quote(str(run.path / 'report' / 'best.yaml'))} --output {shlex.quote(str(output))}"


def plots(run: Run, figures: Figures) -> list[dict[str, Any]]:
    """Where one cannot be drawn, its caption says why; the one of the rungs is left out, for most studies have none."""
    drawn_alone = {"ranks": ranks_caption(run), "rungs": rungs_caption(run)}  # by the script: there are no PNGs of them
    drawn: dict[str, tuple[bytes | None, str | None]] = {**figures, **{name: (None, caption) for name, caption in drawn_alone.items()}}
    found = []
    for name, heading in HEADINGS.items():
        png, caption = drawn.get(name, (None, "Not drawn."))
        if caption is not None:
            picture = None if png is None else png_address(fewer_colours(png))
            found.append({"name": name, "heading": heading, "caption": caption, "scripted": name in drawn_alone, "picture": picture})
    return found


# ---- tables ----


def number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(choice_of(value))


def sampled(trial: TrialRecord, path: str) -> str:
    """Empty where the trial does not have it."""
    return number(trial.params[path]) if path in trial.params else ""


def trial_table(run: Run, running: bool) -> dict[str, Any]:
    short = short_names(run.searched_paths)
    constraint = run.constraint or {"metric": None, "upper": 0.0}
    known = {key for trial in run.trials for key in (*trial.last, *([constraint["metric"]] if trial.excess else []))}
    columns = [key for key in (constraint["metric"], *BESIDE.get(run.metric, ())) if key in known]
    rows = []
    for trial in ranked(run):
        more = [metrics.shown(key, trial.last.get(key)) for key in columns]
        if trial.excess:
            more[0] += f" > {constraint['upper']:g}"
        cells = [run.value_text(trial.value), str(trial.epochs), f"{trial.seconds:.0f}", *more]
        rows.append(
            {
                "number": trial.number,
                "name": trial.name,
                "state": shown_state(trial.state, running),
                "best": trial is run.best,
                "cells": cells + [sampled(trial, path) for path in short],
                # a line of its own: some are a paragraph. Of a pruned trial the epochs say it
                "why": trial.reason if trial.state != "PRUNED" else None,
            }
        )
    note = "The value is that of a trial's last epoch; where a trial stopped early it compares with none of another length."
    if any(trial.excess for trial in run.trials):
        note += f" Trials above {constraint['metric']} {constraint['upper']:g} break the study's constraint and stand behind all others."
    head = [{"key": key, "name": key, "title": ""} for key in (run.metric, "epochs", "seconds", *columns)]
    return {"head": head + [{"key": name, "name": name, "title": path} for path, name in short.items()], "rows": rows, "note": note}


def warnings_of(run: Run) -> list[str]:
    lines = advice(run)
    for trial in run.trials:
        num_classes = trial.config.get("model.num_classes", 0)
        lines += [f"trial {trial.name}: {text}" for text in metrics.collapse_warnings(trial.rows, num_classes)]
        retold = sum(bool(row.get("retold")) for row in trial.rows)
        if retold:
            lines.append(f"trial {trial.name}: {retold} epochs were trained again elsewhere and came out otherwise; the first values stand")
    return lines


# ---- pictures ----


def pictures(run: Run) -> dict[str, Any]:
    """Those that the training of the best trial drew, of its highest epoch, and how they came to be."""
    if run.best is None:
        return {"why": "No trial is complete, so there is no best one to show.", "command": None, "strips": []}
    by_kind = drawn_by_kind(run.best.folder)
    if not by_kind:
        command = f"python -m analysis.latents {shlex.quote(str(run.path))} --trial {run.best.number}"
        return {"why": "This trial drew no pictures. Where its checkpoint is, this draws them:", "command": command, "strips": []}
    last = max(epoch for paths in by_kind.values() for epoch in paths)
    captions = captions_of(run.best)
    shown = [(kind, png_address(paths[last].read_bytes()), captions[kind]) for kind, paths in by_kind.items() if last in paths]
    rows = [(kind, png_address(png), HOW[kind]) for kind, png in strips(run.best.folder).items()]
    return {"why": None, "of": f"Trial {run.best.name}, epoch {last}.", "shown": shown, "strips": rows}


HOW = {
    "latent": "The codes of validation images, from the first epoch that was drawn to the last.",
    "samples": "The same styles and classes, decoded.",
    "reconstructions": "The same validation images, each followed by its reconstruction.",
}


def captions_of(trial: TrialRecord) -> dict[str, str]:
    source, prior = trial.config.get("model.class_source"), trial.config.get("objective.adversarial_z.prior.kind")
    samples = {"mixture": "Generated: a row is a component of the prior.", "swiss_roll": "Generated: a row is a stretch of the roll."}
    if source != "none":
        samples = {}
    generated = "Generated: each row one style z from the prior, each column one class y."
    codes = "Style codes of validation images, coloured by class. Style without class looks like one cloud of mixed colours."
    if trial.config.get("model.combine") == "heads":
        codes = "The code W y + z of validation images, coloured by class; the numbers stand at the heads."
    elif source == "none":
        codes = "Codes of validation images, coloured by class" + (", over samples of the prior." if prior in samples else ".")
    return {
        "latent": codes,
        "samples": samples.get(str(prior), "Generated from the prior." if source == "none" else generated),
        "reconstructions": "Validation images, each followed by its reconstruction.",
    }
