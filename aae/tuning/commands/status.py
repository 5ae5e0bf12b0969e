"""`launch.py status RUN`: where a sweep stands. Reads only, from any terminal or node."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console

from aae.errors import ConfigError
from aae.tuning.commands.arguments import command_parser


def run(arguments: list[str], console: Console) -> int:
    options = command_parser("status", "Where a sweep stands; reads only, from any terminal or node.")
    options.add_argument("run", type=Path, help="a run folder, for example runs/quick")
    given = options.parse_args(arguments)

    from analysis.gain import gain_lines
    from analysis.report import TOP, table_of
    from analysis.trials import ranked, read_run

    print_status(given.run, console)
    read = read_run(given.run)
    if read.trials:
        console.print(table_of(read, ranked(read)[:TOP], console.width))
    for line in gain_lines(read):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def print_status(run: Path, console: Console) -> None:
    """Raises ConfigError where there is no sweep."""
    from aae.runs import CONFIRM, read_manifest
    from aae.tuning.confirm.plan import WINNER, begun_confirmation
    from aae.tuning.study.journal import read_trials
    from aae.tuning.study.lock import running
    from aae.tuning.study.optuna_views import word_of

    made = read_manifest(run)
    if made is None:
        raise ConfigError(f"{run}: holds no sweep; give a run folder, as runs/quick")
    holder = running(run)
    trials = read_trials(run)
    searching = holder is not None and holder.get("work") != CONFIRM  # a confirmation leaves a search that was cut off as it is
    states = Counter(word_of(trial, searching) for trial in trials)
    who = f"running (pid {holder.get('pid')} on {holder.get('host')})" if holder else "not running"
    console.print(f"{run}: {who}; " + (", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no trials yet"))
    for trial in trials:
        if not trial.state.is_finished():
            console.print(f"  trial {trial.number}: {progress(run, trial.number, made['sweep']['study']['metric'])}", highlight=False)
    own = begun_confirmation(run)
    if own is not None:
        ended = sum(trial.state.is_finished() for trial in own.get_trials(deepcopy=False))
        winner = own.user_attrs.get(WINNER)
        stage = "done" if (run / CONFIRM / "report.json").is_file() else "report" if winner else "selection"
        frozen = f", winner frozen: {winner['name']}" if winner else ""
        console.print(f"confirmation: {stage}, {ended} trainings told{frozen}", highlight=False)
    if not searching and any(not trial.state.is_finished() for trial in trials):
        console.print("the same launch.py command goes on with it")


def progress(run: Path, number: int, metric: str) -> str:
    from aae import metrics
    from aae.runs import trial_folder

    rows = trial_folder(run, number).rows()
    return f"epoch {rows[-1]['epoch']}, {metric} {metrics.shown(metric, rows[-1].get(metric))}" if rows else "no epoch yet"
