"""A run as one page of HTML: the verdict first, then what it rests on. One file, pictures inside, no script, no address."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable
from html import escape
from typing import Any

from aae import metrics
from aae.runs import STATES
from analysis import confirmed
from analysis.advice import advice
from analysis.strips import drawn_by_kind, strips
from analysis.trials import Run, TrialRecord, ranked, short_names, states
from analysis.verdict import search_verdict

BESIDE = {  # what the table of trials shows beside a metric
    "val/error": ("val/knn_error",),
    "val/cluster_error": ("val/cluster_error_majority", "val/knn_error", "val/reconstruction"),
    "val/component_error": ("val/component_error_of_prior",),
    "val/parzen_nll": ("val/parzen_std", "val/reconstruction"),
}
Figures = dict[str, tuple[bytes | None, str]]
CSS = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1d2733; background: #f4f5f7; margin: 0; }
main { max-width: 1200px; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
section { background: #fff; border: 1px solid #e1e4e8; border-radius: 8px; padding: 1.2rem 1.4rem; margin: 1rem 0; overflow-x: auto; }
section > :first-child { margin-top: 0; }
.verdict { border-left: 6px solid #1f4e79; } .numbers { display: flex; flex-wrap: wrap; gap: .3rem 2.2rem; align-items: baseline; }
.numbers b { font-size: 1.4rem; color: #56616e; } .numbers .best b { font-size: 2.1rem; color: #1f4e79; }
.note, figcaption { color: #56616e; font-size: .92rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem .45rem; border-bottom: 1px solid #e8eaed; white-space: nowrap; }
th { color: #56616e; font-weight: 600; white-space: normal; vertical-align: bottom; }
td.text, th.text { text-align: left; } td.why { white-space: normal; color: #56616e; }
tr.best td { background: #eaf2f9; font-weight: 600; }
pre { background: #f0f2f5; padding: .6rem .8rem; border-radius: 6px; overflow-x: auto; font-size: .88rem; margin: .5rem 0; }
figure { margin: .4rem 0 1rem; } img { max-width: 100%; height: auto; } .beside { display: flex; flex-wrap: wrap; gap: 8px; }
.beside figure { flex: 0 1 32%; min-width: 240px; margin: 0; }
""".strip()
HEADINGS = {
    "history": "Optimisation history",
    "importance": "Parameter importance",
    "parallel": "Parallel coordinates",
    "slices": "Slices",
    "learning-curves": "Learning curves",
}


def page_html(run: Run, figures: Figures) -> str:
    parts = [
        f"<h1>{escape(run.name)}</h1><p class=note>{escape(about(run))}</p>",
        *([confirmed.confirmation_section(run.confirmed), "<h2>The search before it</h2>"] if run.confirmed else []),
        verdict_section(run),
        "<h2>Reproduce</h2>" + section(reproduce_section(run)),
        "<h2>Trials</h2>" + section(trial_table(run)),
    ]
    for name, heading in HEADINGS.items():
        png, caption = figures[name]
        parts.append(f"<h2>{heading}</h2>" + section(figure(png, caption, heading)))
    parts.append("<h2>States</h2>" + section(state_table(run)))
    parts.append("<h2>Warnings</h2>" + section(bullets(warnings_of(run)) or "<p>None.</p>"))
    parts.append("<h2>What the best trial has learnt</h2>" + pictures(run))
    title = f"<title>{escape(run.name)}</title>"
    head = f'<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">{title}'
    return f"{head}\n<style>{CSS}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"


def about(run: Run) -> str:
    made = run.manifest
    versions, code = made.get("versions") or {}, made.get("code") or {}
    commit = str(code.get("commit") or "unknown")[:10] + (" with changes" if code.get("diff") else "")
    devices = dict.fromkeys(row["device"] for trial in run.trials for row in trial.rows if "device" in row)
    where = " and ".join(devices) or made.get("device")
    return f"{len(run.trials)} trials on {where}, torch {versions.get('torch')}, optuna {versions.get('optuna')}, commit {commit}"


def verdict_section(run: Run) -> str:
    first, *rest = search_verdict(run)
    numbers = ""
    if run.best is not None:
        beside = [trial for trial in run.trials if trial.baseline and trial.state == "COMPLETE" and trial is not run.best]
        shown = [
            (" class=best", run.best, f"best: trial {run.best.name}"),
            *(("", trial, f"baseline {trial.baseline}{', breaks the constraint' if trial.excess else ''}") for trial in beside),
        ]
        items = [f"<div{kind}><b>{escape(run.value_text(trial.value))}</b> {escape(text)}</div>" for kind, trial, text in shown]
        numbers = f"<div class=numbers>{''.join(items)}</div>"
    values = {} if run.best is None else run.best.params
    table = ""
    if values:
        rows = "".join(f"<tr><td class=text>{escape(path)}</td><td>{escape(number(value))}</td></tr>" for path, value in values.items())
        table = f"<table><tr><th class=text>searched</th><th>best</th></tr>{rows}</table>"
    text = "".join(f"<p>{escape(line)}</p>" for line in rest)
    return f"<section class=verdict>{numbers}<p><b>{escape(first)}</b></p>{text}{table}</section>"


def reproduce_section(run: Run) -> str:
    if run.best is None:
        return "<p>Nothing to reproduce yet.</p>"
    folder = shlex.quote(str(run.path))
    return (
        "<p>Train the best trial again and compare every epoch with what was recorded:</p>"
        f"<pre>python launch.py reproduce {escape(folder)} --trial {run.best.number}</pre>"
        f"<p>Or train its configuration alone, without a sweep:</p><pre>{escape(train_command(run, run.best))}</pre>"
    )


def train_command(run: Run, best: TrialRecord) -> str:
    """With a folder of its own: the default is named after the file, and every study's file is best.yaml."""
    output = run.path.parent / f"train-{run.name}-{best.number:04d}"
    return f"python -m aae.train {shlex.quote(str(run.path / 'report' / 'best.yaml'))} --output {shlex.quote(str(output))}"


# ---- tables ----


def number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def trial_table(run: Run) -> str:
    short = short_names(run.searched_paths)
    constraint = run.constraint or {"metric": None, "upper": 0.0}
    columns = [key for key in (constraint["metric"], *BESIDE.get(run.metric, ())) if any(key in trial.last for trial in run.trials)]
    head = "<th class=text>trial</th><th class=text>state</th>" + "".join(
        f"<th>{escape(name)}</th>" for name in (run.metric, "epochs", "seconds", *columns)
    )
    head += "".join(f"<th title='{escape(path)}'>{escape(name).replace('.', '.<wbr>')}</th>" for path, name in short.items())
    body = []
    for trial in ranked(run):
        more = [metrics.shown(key, trial.last.get(key)) for key in columns]
        if trial.excess:
            more[0] += f" > {constraint['upper']:g}"
        cells = [run.value_text(trial.value), str(trial.epochs), f"{trial.seconds:.0f}", *more]
        cells += [number(trial.params.get(path)) for path in short]
        kind = " class=best" if trial is run.best else ""
        first = f"<td class=text>{escape(trial.name)}</td><td class=text>{trial.state}</td>"
        body.append(f"<tr{kind}>{first}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
        if trial.reason and trial.state != "PRUNED":  # a line of its own: some are a paragraph. Of a pruned trial the epochs say it
            body.append(f"<tr><td></td><td class='text why' colspan={len(cells) + 1}>{escape(trial.reason)}</td></tr>")
    text = "The value is that of a trial's last epoch; where a trial stopped early it compares with none of another length."
    if any(trial.excess for trial in run.trials):
        text += f" Trials above {constraint['metric']} {constraint['upper']:g} break the study's constraint and stand behind all others."
    note = f"<p class=note>{text}</p>"
    return f"<table><tr>{head}</tr>{''.join(body)}</table>{note}"


def state_table(run: Run) -> str:
    rows = [
        f"<tr><td class=text>{state}</td><td>{count}</td><td class='text why'>{STATES[state]}</td></tr>"
        for state, count in states(run).items()
        if count
    ]
    return f"<table>{''.join(rows)}</table>" if rows else "<p>No trial has been asked yet.</p>"


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


def section(content: str) -> str:
    return f"<section>{content}</section>"


def bullets(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def figure(png: bytes | None, caption: str, alternative: str) -> str:
    if png is None:
        return f"<p>{escape(caption)}</p>"
    source = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(alternative)}" src="data:image/png;base64,{source}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def pictures(run: Run) -> str:
    """Those that the training itself drew, of its highest epoch, and how they came to be."""
    if run.best is None:
        return section("<p>No trial is complete, so there is no best one to show.</p>")
    by_kind = drawn_by_kind(run.best.folder)
    if not by_kind:
        command = f"python -m analysis.latents {shlex.quote(str(run.path))} --trial {run.best.number}"
        return section(f"<p>This trial drew no pictures. Where its checkpoint is, this draws them:</p><pre>{escape(command)}</pre>")
    last = max(epoch for paths in by_kind.values() for epoch in paths)
    captions = captions_of(run.best)
    shown = [figure(paths[last].read_bytes(), captions[kind], kind) for kind, paths in by_kind.items() if last in paths]
    content = section(f"<p>Trial {escape(run.best.name)}, epoch {last}.</p><div class=beside>{''.join(shown)}</div>")
    rows = [figure(png, HOW[kind], f"{kind} over the epochs") for kind, png in strips(run.best.folder).items()]
    if rows:
        content += f"<h2>How the code space came to be</h2>{section(''.join(rows))}"
    return content


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
