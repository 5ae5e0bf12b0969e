"""What a sweep shows while it runs: one live table, or a line a finished trial where there is no terminal."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aae import metrics
from aae.runs import REASON, Row, trial_folder
from aae.tuning.study.choice import ranked
from aae.tuning.study.optuna_views import baseline_name, is_baseline, last_value, word_of
from aae.tuning.study.study import Handout, SweepStudy

if TYPE_CHECKING:
    from aae.tuning.cluster.nodes import Place  # with Ray: who only asks where a study stands does not wait for it

MAX_LINES = 12  # finished trials shown in the live table


def seconds_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def name_of(trial: FrozenTrial) -> str:
    return f" ({baseline_name(trial)})" if is_baseline(trial) else ""


def breaks(trial: FrozenTrial) -> str:
    return "".join(f", breaks the constraint on {metric}" for metric, excess in trial.constraints.items() if excess > 0)


class SweepConsole:
    """Follows the study. Ray's thread writes, the display's own thread draws."""

    def __init__(self, study: SweepStudy, place: Place, console: Console):
        self.study, self.place, self.console = study, place, console
        self.started_at = time.monotonic()
        self.live_rows: dict[int, Row] = {}
        self.live_since: dict[int, float] = {}
        self.seconds: list[float] = []  # of the trials ended in this invocation
        self.handed_out: dict[int, int] = {}  # in this invocation -> warnings of earlier ones
        self.warned = set[str]()  # what its workers had to say: once, whichever of them says it first
        self.lock = threading.Lock()
        self.live = Live(get_renderable=self.table, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> SweepConsole:
        if self.console.is_terminal:
            self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.console.is_terminal:
            self.live.__exit__(*error)
        for number in sorted(self.handed_out):  # W&B may fail after its trial has ended
            self.pass_on(number)

    def pass_on(self, number: int) -> None:
        """What the trial's workers had to say, once for the whole sweep."""
        for text in trial_folder(self.study.run, number).warnings()[self.handed_out.get(number, 0) :]:
            if text not in self.warned:
                self.warned.add(text)
                self.say(f"warning: trial {number}: {text}")

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    # ---- what the engine tells ----

    def started(self, handout: Handout) -> None:
        self.handed_out.setdefault(handout.number, len(handout.folder.warnings()))
        with self.lock:
            self.live_rows[handout.number] = {"epoch": handout.first_epoch}
            self.live_since[handout.number] = time.monotonic()

    def epoch(self, number: int, row: Row) -> None:
        with self.lock:
            self.live_rows[number] = row

    def ended(self, number: int) -> None:
        with self.lock:
            self.live_rows.pop(number, None)
            since = self.live_since.pop(number, None)
        trial = self.study.trial(number)
        seconds = 0.0 if since is None else time.monotonic() - since
        if trial.state != TrialState.FAIL:
            self.seconds.append(seconds)
        if not self.console.is_terminal:
            self.say(f"{self.line(trial)}, {seconds:.0f} s; {self.standing()}")
        self.pass_on(number)

    def lost(self, number: int, cause: str) -> None:
        with self.lock:
            self.live_rows.pop(number, None)
            self.live_since.pop(number, None)
        self.say(f"trial {number}: {cause}; it goes on from its checkpoint")

    # ---- what is shown ----

    def value_text(self, value: float | None) -> str:
        return metrics.shown(self.study.metric, value)

    def line(self, trial: FrozenTrial) -> str:
        reason = trial.user_attrs.get(REASON)
        why = f" ({reason})" if reason and trial.state == TrialState.FAIL else ""
        value = f"{self.value_text(last_value(trial))}{breaks(trial)}"
        what = "trial" if self.study.sweep.space.entries else "training"
        return f"{what} {trial.number}{name_of(trial)} {word_of(trial)} {value}, {trial.last_step or 0} epochs{why}"

    def standing(self) -> str:
        """Best so far, how many are told, and when it will end."""
        trials = self.study.trials()
        told = sum(trial.state.is_finished() for trial in trials)
        best = next(iter(ranked(trials, self.study.run)), None)
        text = f"{told} of {self.study.num_trials} told"
        if self.study.sweep.space.entries:  # else each is a draw, or one of a few known configurations: the lowest says nothing
            text += (
                f", best {self.value_text(best.value)} (trial {best.number}{name_of(best)}{breaks(best)})"
                if best is not None
                else ", none complete yet"
            )
        left = self.forecast()
        return f"{text}, about {seconds_text(left)} left" if left else text

    def forecast(self) -> float | None:
        """Seconds to the end: each further trial takes the mean of the ended ones, a running one that less its age."""
        if not self.seconds or not (slots := self.place.slots):  # none, while no node is left that fits a trial
            return None
        told = sum(trial.state.is_finished() for trial in self.study.trials())
        mean, now = sum(self.seconds) / len(self.seconds), time.monotonic()
        with self.lock:
            running = [max(mean - (now - since), 0.0) for since in self.live_since.values()]
        waiting = max(self.study.num_trials - told - len(running), 0)
        return max((waiting * mean + sum(running)) / slots, *running, 0.0)

    def table(self) -> Group:
        trials = self.study.trials()
        finished = [trial for trial in trials if trial.state.is_finished()]
        with self.lock:
            rows, since = dict(self.live_rows), dict(self.live_since)
        table = Table(title=f"{self.study.sweep.study.name}: {self.study.metric} on validation data", title_justify="left")
        for column in ("trial", "state", "value", "epoch", "time"):
            table.add_column(column, justify="left" if column in ("trial", "state") else "right")
        for trial in finished[-MAX_LINES:]:
            value = f"{self.value_text(last_value(trial))}{breaks(trial)}"
            table.add_row(f"{trial.number}{name_of(trial)}", word_of(trial), value, str(trial.last_step or 0), "")
        for number, row in sorted(rows.items()):
            elapsed = seconds_text(time.monotonic() - since.get(number, time.monotonic()))
            epochs = f"{row.get('epoch', 0)}/{self.study.sweep.epochs}"
            table.add_row(str(number), "running", self.value_text(row.get(self.study.metric)), epochs, elapsed, style="bold")
        return Group(table, Text(f"{self.standing()}; {seconds_text(time.monotonic() - self.started_at)} so far; Ctrl-C is safe"))
