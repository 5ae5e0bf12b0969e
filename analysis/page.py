"""A run as one page of HTML: the verdict first, then what it rests on. One file, pictures inside, no script, no address."""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from aae.metrics import collapse_warnings
from analysis import confirmed
from analysis.trials import STATES, Run, TrialRecord, short_names

MAX_STRIP = 6  # latent pictures in the strip of epochs
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
figure { margin: .4rem 0 1rem; } img { max-width: 100%; height: auto; } .strip { display: flex; flex-wrap: wrap; gap: 8px; }
.strip figure { flex: 0 1 32%; min-width: 240px; margin: 0; }
""".strip()
HEADINGS = {
    "history": "Optimisation history",
    "importance": "Parameter importance",
    "parallel": "Parallel coordinates",
    "slices": "Slices",
    "learning-curves": "Learning curves",
}


def compose(run: Run, figures: Figures) -> str:
    parts = [
        f"<h1>{escape(run.name)}</h1><p class=note>{escape(about(run))}</p>",
        *([confirmed.section(run.confirmed), "<h2>The search before it</h2>"] if run.confirmed else []),
        verdict_section(run),
        "<h2>Reproduce</h2>" + section(reproduce_section(run)),
        "<h2>Trials</h2>" + section(trial_table(run)),
    ]
    for name, heading in HEADINGS.items():
        png, caption = figures[name]
        parts.append(f"<h2>{heading}</h2>" + section(figure(png, caption, heading)))
    parts.append("<h2>States</h2>" + section(state_table(run)))
    parts.append("<h2>Warnings</h2>" + section(bullets(warnings_of(run)) or "<p>None.</p>"))
    parts.append("<h2>What the best trial has learnt</h2>" + latent_pictures(run))
    title = f"<title>{escape(run.name)}</title>"
    head = f'<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">{title}'
    return f"{head}\n<style>{CSS}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"


def about(run: Run) -> str:
    made = run.manifest
    versions, code = made.get("versions") or {}, made.get("code") or {}
    commit = str(code.get("commit") or "unknown")[:10] + (" with changes" if code.get("diff") else "")
    return (
        f"{len(run.trials)} trials on {made.get('device')}, torch {versions.get('torch')}, optuna {versions.get('optuna')}, commit {commit}"
    )


# ---- the verdict ----


def verdict(run: Run) -> list[str]:
    """The answer in plain sentences, the first one the answer itself."""
    best = run.best
    if best is None:
        return no_verdict(run)
    data = {path: best.config.get(path) for path in ("data.num_validation", "data.num_labels", "data.label_seed", "train.seed")}
    num_validation, scored = data["data.num_validation"], sum(trial.value is not None for trial in run.trials)
    lines = [f"Best configuration: trial {best.name}, {run.metric} {run.shown(best.value)} after {best.epochs} epochs."]
    tied = [trial.name for trial in run.trials if trial is not best and trial.state == "COMPLETE" and trial.value == best.value]
    if tied:
        lines.append(f"Trial {', '.join(tied)} has the same number; the earlier one is named.")
    unfinished = states(run)["interrupted"]
    if unfinished:
        lines.append(f"{unfinished} of {len(run.trials)} trials {'have' if unfinished > 1 else 'has'} not ended yet, so this may change.")
    lines.append(
        f"This is {'what the search alone said' if run.confirmed else 'no result yet'}: one draw of {labels(data['data.num_labels'])} "
        f"(label seed {data['data.label_seed']}) and one initialisation (seed {data['train.seed']}), and the lowest of {scored} trials' "
        "numbers, which flatters it."
    )
    if num_validation:
        spread = ""
        if run.scale == 100 and best.value is not None:
            error = 100 * math.sqrt(best.value * (1 - best.value) / num_validation)
            spread = f" Their number alone makes the error uncertain by {error:.2f} points (one standard error)."
        lines.append(f"The search used {num_validation:,} validation labels, after every epoch of every trial.{spread}")
    lines.append("The search did not read the test set." if run.confirmed else "The test set was not read.")
    return lines + baseline_lines(run, best)


def labels(count: Any) -> str:
    return "all labels" if count == -1 else f"{count} labels"


def no_verdict(run: Run) -> list[str]:
    if not run.trials:
        return ["No trial has been asked yet, so there is nothing to judge."]
    if all(trial.state == "FAIL" for trial in run.trials):
        reasons = list(dict.fromkeys(trial.reason or "no reason was recorded" for trial in run.trials))
        more = f" And {len(reasons) - 3} other reasons, in the table of trials." if len(reasons) > 3 else ""
        return [f"All {len(run.trials)} trials failed, so there is no best configuration.", f"Why: {'; '.join(reasons[:3])}.{more}"]
    count = ", ".join(f"{count} {state}" for state, count in states(run).items() if count)
    return [f"No trial is complete, so there is no best configuration ({count}).", "The test set was not read."]


def baseline_lines(run: Run, best: TrialRecord) -> list[str]:
    baselines = [trial for trial in run.trials if trial.baseline]
    if not baselines:
        return ["This study ran no baseline, so nothing known stands beside the number."]
    lines, gaps = [], 0
    searched = any(trial.state == "COMPLETE" and not trial.baseline for trial in run.trials)
    for trial in baselines:
        name = f"Baseline {trial.baseline} (trial {trial.number})"
        if trial is best:
            lines.append(f"{name} is itself the best: no searched configuration {'was better' if searched else 'is complete'}.")
        elif trial.state != "COMPLETE" or trial.value is None or best.value is None:
            lines.append(f"{name} is {trial.state}{f' ({trial.reason})' if trial.reason else ''}: no number to compare with.")
        else:
            gap = (trial.value - best.value) * run.scale
            unit = " points" if run.scale == 100 else ""
            lines.append(f"{name}: {run.shown(trial.value)}, {gap:.2f}{unit} above the best, on the same labels and epochs.")
            gaps += not best.baseline
    if gaps:
        lines.append("The baselines were run once and not selected, so even a real gap would look larger here than it is.")
    return lines


def verdict_section(run: Run) -> str:
    first, *rest = verdict(run)
    numbers = ""
    if run.best is not None:
        beside = [trial for trial in run.trials if trial.baseline and trial.state == "COMPLETE" and trial is not run.best]
        shown = [
            (" class=best", run.best, f"best: trial {run.best.name}"),
            *(("", trial, f"baseline {trial.baseline}") for trial in beside),
        ]
        items = [f"<div{kind}><b>{escape(run.shown(trial.value))}</b> {escape(text)}</div>" for kind, trial, text in shown]
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


def states(run: Run) -> dict[str, int]:
    return {state: sum(trial.state == state for trial in run.trials) for state in STATES}


def ranked(run: Run) -> list[TrialRecord]:
    """Complete ones first, the best at the top, then the others by number."""
    return sorted(run.trials, key=lambda trial: (trial.state != "COMPLETE", trial.value if trial.state == "COMPLETE" else 0, trial.number))


def number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def trial_table(run: Run) -> str:
    short = short_names(run.searched_paths)
    head = "<th class=text>trial</th><th class=text>state</th>" + "".join(
        f"<th>{escape(name)}</th>" for name in (run.metric, "epochs", "seconds")
    )
    head += "".join(f"<th title='{escape(path)}'>{escape(name).replace('.', '.<wbr>')}</th>" for path, name in short.items())
    body = []
    for trial in ranked(run):
        cells = [run.shown(trial.value), str(trial.epochs), f"{trial.seconds:.0f}", *(number(trial.params.get(path)) for path in short)]
        kind = " class=best" if trial is run.best else ""
        first = f"<td class=text>{escape(trial.name)}</td><td class=text>{trial.state}</td>"
        body.append(f"<tr{kind}>{first}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
        if trial.reason and trial.state != "PRUNED":  # a line of its own: some are a paragraph. Of a pruned trial the epochs say it
            body.append(f"<tr><td></td><td class='text why' colspan={len(cells) + 1}>{escape(trial.reason)}</td></tr>")
    text = "The value is that of a trial's last epoch; where a trial stopped early it compares with none of another length."
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
    lines = []
    for trial in run.trials:
        num_classes = trial.config.get("model.num_classes", 0)
        lines += [f"trial {trial.name}: {text}" for text in collapse_warnings(trial.rows, num_classes)]
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


def latent_pictures(run: Run) -> str:
    """Those that the training itself drew, of its highest epoch, and how the code space came to be."""
    if run.best is None:
        return section("<p>No trial is complete, so there is no best one to show.</p>")
    attempt = run.best.folder.last_attempt()
    by_epoch: dict[int, dict[str, Path]] = {}
    for path in sorted(attempt.samples_path.glob("epoch-*.png")) if attempt is not None else []:
        match = re.fullmatch(r"epoch-(\d+)-(samples|reconstructions|latent)\.png", path.name)
        if match:
            by_epoch.setdefault(int(match[1]), {})[match[2]] = path
    if not by_epoch:
        command = f"python -m analysis.latents {shlex.quote(str(run.path))} --trial {run.best.number}"
        return section(f"<p>This trial drew no pictures. Where its checkpoint is, this draws them:</p><pre>{escape(command)}</pre>")
    last, classes = max(by_epoch), run.best.config.get("model.class_source") == "encoder"
    captions = {
        "samples": "Generated: each row one style z from the prior, each column one class y." if classes else "Generated from the prior.",
        "reconstructions": "Validation images, each followed by its reconstruction.",
        "latent": "Style codes of validation images, coloured by class. Style without class looks like one cloud of mixed colours.",
    }
    shown = {kind: by_epoch[last][kind] for kind in captions if kind in by_epoch[last]}
    content = f"<p>Trial {escape(run.best.name)}, epoch {last}.</p>"
    pictures = "".join(figure(path.read_bytes(), captions[kind], kind) for kind, path in shown.items())
    content = section(f"{content}<div class=strip>{pictures}</div>")
    epochs = [epoch for epoch, paths in sorted(by_epoch.items()) if "latent" in paths]
    if len(epochs) > 1:
        chosen = epochs[:: -(-len(epochs) // MAX_STRIP)]
        chosen = sorted({*chosen, epochs[-1]})
        strip = "".join(figure(by_epoch[epoch]["latent"].read_bytes(), f"epoch {epoch}", f"codes at epoch {epoch}") for epoch in chosen)
        content += f"<h2>How the code space came to be</h2>{section(f'<div class=strip>{strip}</div>')}"
    return content
