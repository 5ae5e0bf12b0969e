"""Runs side by side: tables on the screen, and one self-contained page."""

from __future__ import annotations

import argparse
import base64
import io
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aae import metrics
from aae.errors import REFUSED, refusal
from aae.pictures import import_matplotlib, matplotlib_defaults
from aae.runs import write_atomically
from aae.streams import exit_code, plain_console, steady_streams
from analysis.comparison import Comparison, Difference, Side, best_after, compare_runs
from analysis.trained import writing
from analysis.trials import states

import_matplotlib()  # before the module below does it

from matplotlib.figure import Figure  # noqa: E402

Rows = list[tuple[str, list[str]]]  # a name, and a text a run
CSS = """
body { font: 16px/1.55 system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 1100px; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; font-size: .9rem; display: block; overflow-x: auto; } img { max-width: 100%; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #e1e4e8; vertical-align: top; }
""".strip()


def value_rows(found: Comparison) -> Rows:
    """What came out, a row a quantity."""
    sides = found.sides
    shortest = min(side.slot_s for side in sides)
    after = f"lowest after {duration(shortest)} of slot time"
    rows = [
        ("metric", [side.run.metric for side in sides]),
        ("trials", [", ".join(f"{count} {state}" for state, count in states(side.run).items() if count) or "none" for side in sides]),
        ("slot time", [duration(side.slot_s) for side in sides]),
        ("best in the search", [text_of(side.best) for side in sides]),
        (after, [side.run.value_text(best_after(side, shortest)) for side in sides]),
        ("confirmed winner", [text_of(side.winner) for side in sides]),
        ("its baseline", [text_of(side.baseline) for side in sides]),
    ]
    if found.pairs:
        gaps = {label: gap for label, gap in found.pairs}
        text = [f"{gaps[side.label]}" if side.label in gaps else "-" for side in sides]
        rows.append((f"winner minus that of {sides[0].label}, same draws", text))
    return rows


def text_of(value: Any) -> str:
    return "-" if value is None else f"{value.name}: {value}"


def difference_rows(differences: list[Difference]) -> Rows:
    return [(row.path, [value_text(value) for value in row.values]) for row in differences]


def value_text(value: Any) -> str:
    if isinstance(value, dict):
        return entry_text(value) if "kind" in value else "{}"
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def entry_text(entry: dict[str, Any]) -> str:
    """Of the search space: int 6 to 12; float 0.3 to 3, log; sgd or adam."""
    if "choices" in entry:
        text = " or ".join(map(value_text, entry["choices"]))
    else:
        text = f"{entry['kind']} {value_text(entry.get('low'))} to {value_text(entry.get('high'))}"
        text += ", log" if entry.get("log") else f", steps of {value_text(entry['step'])}" if entry.get("step") not in (None, 1) else ""
    when = [f"{path} is {' or '.join(map(value_text, values))}" for path, values in (entry.get("when") or {}).items()]
    return text + (f", where {' and '.join(when)}" if when else "")


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# ---- the screen ----


def show(found: Comparison, console: Console) -> None:
    labels = [side.label for side in found.sides]
    for title, rows in sections(found):
        if rows:
            table = Table(title=title, title_justify="left", show_lines=False)
            for column in ("", *labels):
                table.add_column(Text(column), overflow="fold")
            for name, texts in rows:
                table.add_row(*map(Text, (name, *texts)))
            console.print(table)
        else:
            console.print(f"{title}: nothing")
    for line in found.cautions:
        console.print(f"note: {line}", soft_wrap=True)


def sections(found: Comparison) -> list[tuple[str, Rows]]:
    return [
        ("What came out", value_rows(found)),
        ("What differs in the sweeps", difference_rows(found.asked)),
        ("What they were made with, where it differs", difference_rows(found.made)),
    ]


# ---- the page ----


def page_of(found: Comparison) -> str:
    labels = [side.label for side in found.sides]
    title = escape(" against ".join(labels))
    parts = [f"<h1>{title}</h1>", *(f"<p>{escape(line)}</p>" for line in found.cautions)]
    for heading, rows in sections(found):
        head = "".join(f"<th>{escape(label)}</th>" for label in labels)
        body = "".join(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>" for name, texts in rows)
        parts.append(f"<h2>{heading}</h2>" + (f"<table><tr><th></th>{head}</tr>{body}</table>" if rows else "<p>Nothing.</p>"))
    for heading, draw in FIGURES.items():
        png = base64.b64encode(draw(found)).decode()
        parts.append(f'<h2>{heading}</h2><img alt="{heading}" src="data:image/png;base64,{png}">')
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    meta = f'<meta charset=utf-8>{policy}<meta name=viewport content="width=device-width"><title>{title}</title>'
    return f"<!doctype html>\n<html lang=en><head>{meta}<style>{CSS}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"


def drawn(draw: Callable[[Any, Side, str], None], found: Comparison, x_label: str) -> bytes:
    """A figure with a line or more a run, on one axis where their metrics are the same, else on one a metric."""
    names = list(dict.fromkeys(side.run.metric for side in found.sides))
    with matplotlib_defaults():
        figure = Figure(figsize=(9, 3.8 * len(names)), layout="constrained")
        axes = dict(zip(names, figure.subplots(len(names), squeeze=False)[:, 0], strict=True))
        for index, side in enumerate(found.sides):
            draw(axes[side.run.metric], side, f"C{index % 10}")
        for name, axis in axes.items():
            axis.set(xlabel=x_label, ylabel=metrics.label(name))
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def learning_curves(found: Comparison) -> bytes:
    def draw(axis: Any, side: Side, colour: str) -> None:
        epochs, values = side.curve
        name = f"{plain(side.label)}: {side.best.name}" if side.best else f"{plain(side.label)}: no trial is complete"
        axis.plot(epochs, [value * side.run.scale for value in values], color=colour, marker=".", label=plain(name))

    return drawn(draw, found, "epoch of the best trial")


def progress(found: Comparison) -> bytes:
    unit_s, unit = (60, "minutes") if max(side.slot_s for side in found.sides) < 7200 else (3600, "hours")

    def draw(axis: Any, side: Side, colour: str) -> None:
        seconds, values = side.progress
        spent = [at / unit_s for at in (*seconds, side.slot_s)] if seconds else []
        best = [value * side.run.scale for value in (*values, *values[-1:])]
        axis.step(spent, best, where="post", color=colour, marker=".", label=plain(side.label))

    return drawn(draw, found, f"slot time of all trials that had ended ({unit})")


def plain(text: str) -> str:
    """No mathematics of matplotlib's, and no label that hides itself."""
    return text.replace("$", r"\$").lstrip("_") or " "


FIGURES: dict[str, Callable[[Comparison], bytes]] = {
    "Learning curves of the best trials": learning_curves,
    "The best so far over slot time": progress,
}


def main(arguments: list[str] | None = None) -> int:
    steady_streams()
    parser = argparse.ArgumentParser(
        prog="python -m analysis.compare",
        description="Runs side by side: what was asked otherwise, what came out and how sure it is. Tables on the screen, and a page.",
        epilog="example: python -m analysis.compare runs/quick runs/quick-2",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a sweep; two or more")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: compare-OTHERS.html in the first run's report/)")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        parser.error("give two runs or more, as runs/quick runs/quick-2")
    try:
        found = compare_runs(options.runs)
        others = "-".join(path.resolve().name for path in options.runs[1:])
        page = options.output or options.runs[0] / "report" / f"compare-{others}.html"
        with writing(page.parent):
            write_atomically(page, page_of(found))
    except REFUSED as error:
        print(f"analysis.compare: {refusal(error)}", file=sys.stderr)
        return 2
    console = plain_console()
    show(found, console)
    console.print(f"page: {page}", soft_wrap=True)
    return exit_code("analysis.compare")


if __name__ == "__main__":
    sys.exit(main())
