"""A run's trials and epochs as tables, for trials.csv and for pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from analysis.trials import Run


def trial_table(run: Run) -> tuple[list[str], list[list[Any]]]:
    """(columns, a row a trial), with its whole configuration; errors are fractions."""
    paths = list(dict.fromkeys(path for trial in run.trials for path in trial.config or trial.params))
    held = [run.constraint["metric"]] if run.constraint is not None else []
    rows = []
    for trial in run.trials:
        values: dict[str, Any] = trial.config or trial.params
        head = [trial.number, trial.state, trial.baseline, trial.value, trial.epochs, round(trial.seconds, 1), trial.reason]
        rows.append([*head, *(trial.last.get(key) for key in held), *(values.get(path) for path in paths)])
    return ["number", "state", "baseline", run.metric, "epochs", "seconds", "reason", *held, *paths], rows


def trial_frame(run: Run) -> pd.DataFrame:
    """Raises ModuleNotFoundError, saying what to install, where there is no pandas."""
    columns, rows = trial_table(run)
    return import_pandas().DataFrame(rows, columns=columns).set_index("number")


def epoch_frame(run: Run) -> pd.DataFrame:
    """A row an epoch of each trial, with all that its metrics.jsonl says. Raises ModuleNotFoundError as above."""
    rows = [{"number": trial.number, **row} for trial in run.trials for row in trial.rows]
    frame = import_pandas().DataFrame(rows, columns=list(dict.fromkeys(["number", "epoch", *(key for row in rows for key in row)])))
    return frame.set_index(["number", "epoch"])


def import_pandas() -> Any:
    try:
        import pandas
    except ModuleNotFoundError:
        raise ModuleNotFoundError("data frames need pandas, which is not installed; pip install pandas") from None
    return pandas
