"""What more trials of a search would cost and gain, in words: as its driver foretold, aae/tuning/study/gain.py."""

from __future__ import annotations

from aae.metrics import is_error, shown
from aae.runs import FORECAST, read_json
from analysis.trials import Run


def gain_lines(run: Run) -> list[str]:
    """Silent where nothing is searched, and of a run folder that is older than this. Raises ConfigError where a file is broken."""
    gain, ended = run.choice.get("gain"), run.choice.get("ended")
    if gain is None or not run.searched_paths:
        return []
    if gain["why"] is not None:
        return [f"What more trials would gain is not known: {gain['why']}."]
    num, of = max(((int(num), of) for num, of in gain["after"].items()), key=lambda row: row[0])
    seconds = seconds_of(run, num)
    cost = "" if seconds is None else f", about {time_text(seconds)}"
    low, high = (amount(run, of[key]) for key in ("low", "high"))
    lines = [f"{num} more trials{cost}: expected gain {amount(run, of['expected'])}{unit(run)} ({low} to {high}, 80 %)."]
    if ended is not None:
        lines.append(
            f"The search ended after {ended['trials']} trials: the next ten promised {amount(run, ended['expected'])}{unit(run)}, "
            f"less than study.stop_below_gain={ended['below']:g}. Another value goes on."
        )
    return lines


def seconds_of(run: Run, num: int) -> float | None:
    """Wall time of so many trials, from those that are told; None before the first, and where nobody wrote down how many run at once."""
    first = read_json(run.path / FORECAST, {}).get("first")
    told = [trial.seconds for trial in run.trials if trial.state != "interrupted" and trial.params and trial.seconds]
    return num * sum(told) / len(told) / first["slots"] if told and first else None


def amount(run: Run, gain: float) -> str:
    return f"{run.scale * gain:.2f}" if is_error(run.metric) else shown(run.metric, gain)


def unit(run: Run) -> str:
    return " points" if is_error(run.metric) else ""


def time_text(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
