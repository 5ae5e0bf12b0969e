"""What a sweep found: tables on the screen, and report/ in the run folder.

report/index.html   one self-contained page, the verdict first     report/*.png  its figures
      /best.yaml    a sweep file: `python -m aae.train RUN/report/best.yaml` trains the best trial's configuration alone
      /trials.csv   every trial with its whole configuration; errors are fractions here
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aae import checkpoint
from aae.config import ConfigError
from aae.errors import REFUSED, refusal
from aae.runs import CONFIRM, command_folder, running, write_atomically
from aae.streams import exit_code, plain_console, steady_streams
from analysis import confirmed
from analysis.advice import advice
from analysis.figures import draw_all
from analysis.frames import trial_table
from analysis.page import number, page_html, sampled, train_command
from analysis.strips import STRIP_KINDS, strips
from analysis.trained import find_trained, writing
from analysis.trials import Run, TrialRecord, ranked, read_run, short_names, shown_state, states
from analysis.verdict import search_verdict

TOP = 10  # trials on the screen
HEAD_WIDTH = 62  # characters of the columns that every table has


def write_files(run: Run, running: bool = False) -> Path:
    """Writes report/ of a run folder and returns its index.html. All is composed before the first file is written, and each is
    written whole. `running`: a driver is at work on it. Raises ConfigError where it cannot be written."""
    figures = draw_all(run)
    files: dict[str, bytes | str | None] = {f"{name}.png": png for name, (png, _) in figures.items()}
    files |= {f"strip-{kind}.png": None for kind in STRIP_KINDS}
    files |= {f"strip-{kind}.png": png for kind, png in (strips(run.best.folder) if run.best is not None else {}).items()}
    files |= {"best.yaml": best_yaml(run), "trials.csv": trials_csv(run), "index.html": page_html(run, figures, running)}
    report = run.path / "report"
    with writing(report):
        write_each(report, files)
    return report / "index.html"


def write_each(report: Path, files: dict[str, bytes | str | None]) -> None:
    for name, content in files.items():
        if content is None:  # what an earlier report had and this one has not
            (report / name).unlink(missing_ok=True)
        else:
            write_atomically(report / name, content)


def best_yaml(run: Run) -> str | None:
    best = run.best
    if best is None or not best.folder.config_path.is_file():
        return None
    config: Any = OmegaConf.to_container(OmegaConf.structured(checkpoint.read_config(best.folder.path)))
    data = config["data"]
    there = command_folder(data["folder"], run.manifest) / Path(data["folder"] or "").expanduser()
    if data["folder"] and os.path.exists(there):  # the file is trained from anywhere
        data["folder"] = str(there)
    sweep = {"study": {"name": f"{run.name}-best", "metric": run.metric}, "trial": config}
    head = f"# Trial {best.name} of study {run.name}: {run.metric} {run.value_text(best.value)} after {best.epochs} epochs.\n"
    return f"{head}#   {train_command(run, best)}\n" + OmegaConf.to_yaml(OmegaConf.create(sweep))


def trials_csv(run: Run) -> str:
    columns, rows = trial_table(run)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([columns, *rows])
    return buffer.getvalue()


# ---- the screen ----


def show(run: Run, console: Console, running: bool = False) -> None:
    for line in [*(confirmed.confirmation_verdict(run.confirmed) if run.confirmed else []), *search_verdict(run)]:
        console.print(line, soft_wrap=True)  # a reason or a name may look like rich's markup
    if run.trials:
        first = [replace(trial, state=shown_state(trial.state, running)) for trial in ranked(run)[:TOP]]
        console.print(table_of(run, first, console.width))
        console.print(", ".join(f"{count} {shown_state(state, running)}" for state, count in states(run).items() if count))
    for line in advice(run):
        console.print(f"note: {line}", soft_wrap=True)
    if run.best is not None and run.best.params:
        values = ", ".join(f"{path}={number(value)}" for path, value in run.best.params.items())
        console.print(f"trial {run.best.number} {'has' if run.best.baseline else 'sampled'} {values}", soft_wrap=True)


def table_of(run: Run, trials: list[TrialRecord], width: int) -> Table:
    """A line a trial. The sampled values have columns where `width` characters hold them; the page has them in any case."""
    more = f" (the first {len(trials)} of {len(run.trials)})" if len(trials) < len(run.trials) else ""
    note = None
    if run.constraint is not None and any(trial.excess for trial in trials):
        note = f"* ends above {run.constraint['metric']} {run.constraint['upper']:g}: breaks the constraint"
    title = f"{run.name}: trials, the best first{more}"
    table = Table(title=title, title_justify="left", caption=note, caption_justify="left")
    for column in ("trial", "state", run.metric, "epochs", "seconds"):
        table.add_column(column, justify="left" if column in ("trial", "state") else "right", no_wrap=True)
    short = short_names(run.searched_paths)
    if width < HEAD_WIDTH + sum(len(name) + 3 for name in short.values()):
        short = {}
    for name in short.values():
        table.add_column(name, justify="right", no_wrap=True)
    for trial in trials:
        mark = " *" if trial.excess else ""
        head = (trial.name, trial.state, run.value_text(trial.value) + mark, str(trial.epochs), f"{trial.seconds:.0f}")
        values = [sampled(trial, path) for path in short]
        table.add_row(*map(Text, (*head, *values)), style="bold" if trial is run.best else None)
    return table


def report_training(path: Path) -> int:
    """The strips of one training, into its report/. Raises ConfigError where it drew less than two epochs."""
    trained = find_trained(path, None)
    drawn = strips(trained.folder)
    if not drawn:
        raise ConfigError(f"{path}: drew no pictures of two epochs yet (train.sample_every); analysis.latents draws the last epoch")
    with writing(trained.report):
        for kind, png in drawn.items():
            picture = trained.picture(f"strip-{kind}.png")
            write_atomically(picture, png)
            print(picture)
    return exit_code("analysis.report")


def main(arguments: list[str] | None = None) -> int:
    steady_streams()
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report",
        description="Tables on the screen and RUN/report/: index.html, best.yaml, trials.csv, and strips of the best trial's pictures over "
        "its epochs. Also while the sweep runs. Of a single aae.train the strips alone.",
        epilog="example: python -m analysis.report runs/quick",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a sweep, or of a single aae.train")
    options = parser.parse_args(arguments)
    try:
        if (options.run / "config.yaml").is_file():
            return report_training(options.run)
        run, driver = read_run(options.run), running(options.run)
        searching = driver is not None and driver.get("work") != CONFIRM
        page = write_files(run, running=searching)
    except REFUSED as error:
        print(f"analysis.report: {refusal(error)}", file=sys.stderr)
        return 2
    console = plain_console()
    show(run, console, running=searching)
    console.print(f"report: {page}", soft_wrap=True)
    return exit_code("analysis.report")


if __name__ == "__main__":
    sys.exit(main())
