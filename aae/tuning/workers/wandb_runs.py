"""The W&B run of a trial, and that of the whole study. Nothing that W&B does or fails to do may stop, fail or delay either.

Offline without a key, online with one; WANDB_MODE and the other standard variables win, but the files always lie in the run
folder's wandb/, ready for `wandb sync`; `wandb leet RUN/wandb` shows them in the terminal. All of it is derived from the run
folder: an attempt that goes on writes the earlier epochs again and replaces the offline file of the attempt before it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aae.runs import REASON, Attempt, Row, TrialFolder, expected_values
from aae.tuning.workers.wandb_environment import TAG_LENGTH, Mode, forget_other_runs, never_ask, user_tags

PROJECT = "aae-sweep"
INIT_TIMEOUT_S = 20.0  # on a thread of its own: nobody waits for it
UPLOAD_TIMEOUT_S = 15.0  # what W&B may take at a run's end and at a process's exit; the rest waits for `wandb sync`
TRIAL_WAIT_S = 1.5  # Ray gives a stopped trial's thread 2 s
STUDY_WAIT_S = 20.0
LEAVE_S = 1.0
START_S = 0.1  # between two runs that open online, on average, when every slot starts one
FOLLOW_S = 10.0  # how often the driver looks for newly told trials

unreachable = False  # of this process: after one failed start online, its later runs are offline from the start


def print_warning(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


guards = set["Guard"]()  # of this process: those that have something to do


class Guard:
    """Does W&B's calls one after another on a thread of its own. The first failure is said, and nothing is asked after it."""

    def __init__(self, say: Callable[[str], None] = print_warning) -> None:
        self.say, self.broken = say, False
        guards.add(self)
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            self._do_calls()
        finally:
            guards.discard(self)

    def _do_calls(self) -> None:
        while (call := self.calls.get()) is not None:
            try:
                call()
            except Exception as error:  # W&B raises many kinds, and none of them is the trial's concern
                self.broken = True
                self.say(f"W&B failed and is left alone from here on: {type(error).__name__}: {error}")
                return

    def do(self, call: Callable[[], None]) -> None:
        if not self.broken:
            self.calls.put(call)

    def close(self, timeout_s: float) -> bool:
        """Waits for what was asked so far, at most `timeout_s`; what is left then goes on alone while the process lives. Whether all is
        done."""
        self.calls.put(None)
        self.thread.join(timeout_s)
        return not self.thread.is_alive()

    def give_up(self, timeout_s: float) -> None:
        self.say(f"W&B was not done after {timeout_s:g} s; nobody waits for it any longer, wandb sync sends the rest")


def wait_for_runs(timeout_s: float) -> None:
    """Until every run of this process has ended, at most so long; the process ends then."""
    until = time.monotonic() + timeout_s
    for guard in list(guards):
        if not guard.close(max(0.0, until - time.monotonic())):
            guard.give_up(timeout_s)


class Tracker:
    """One trial's run: group = study, the configuration under dotted paths, an epoch axis, pictures, a summary with the state."""

    def __init__(self, study: dict[str, Any], name: str, config: dict[str, Any], attempt: Attempt):
        self.attempt, self.epoch = attempt, 0
        self.run: Any = None
        self.guard = Guard(self._say) if study["wandb_mode"] != "disabled" else None
        if self.guard is not None:
            self.guard.do(lambda: self._open(study, name, config))

    def log(self, row: Row) -> None:
        if self.guard is not None:
            self.guard.do(lambda: self._log(row))

    def finish(self, state: str, reason: str | None) -> None:
        if self.guard is not None:
            self.guard.do(lambda: self._finish(state, reason))
            self.guard.close(TRIAL_WAIT_S)

    def _open(self, study: dict[str, Any], name: str, config: dict[str, Any]) -> None:
        if study["wandb_mode"] == "online":  # as many start at once as there are slots, and the service limits its rate
            time.sleep(random.uniform(0.0, START_S * (study.get("slots", 1) - 1)))
        tags = [f"trial {name}", *([study["baselines"][name]] if name in study["baselines"] else [])]
        self.run = open_run(study, name, "trial", config, tags, self._say)
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")
        self.epoch = last_step(self.run)
        for row in self.attempt.rows():
            self._log(row)

    def _log(self, row: Row) -> None:
        import wandb

        if row["epoch"] <= self.epoch:
            return
        self.epoch = row["epoch"]
        images = sorted(self.attempt.samples_path.glob(f"epoch-{self.epoch:04d}-*.png"))
        pictures = {f"pictures/{path.stem.split('-', 2)[2]}": wandb.Image(str(path)) for path in images}
        self.run.log(row | pictures, step=self.epoch, commit=True)

    def _say(self, text: str) -> None:
        """Into the trial's folder too, for the driver to say it: nobody reads a worker's log."""
        print_warning(text)
        TrialFolder(self.attempt.path.parent).add_warning(text)

    def _finish(self, state: str, reason: str | None) -> None:
        self.run.summary["state"] = state
        self.run.summary["reason"] = reason
        self.run.finish(exit_code=1 if state == "FAIL" else 0)


def open_run(study: dict[str, Any], name: str, kind: str, config: dict[str, Any], tags: list[str], say: Callable[[str], None]) -> Any:
    """A W&B run under a fixed id, so that a trial or a study that goes on is the same run. Offline, said once, where the service
    does not answer."""
    global unreachable
    never_ask()
    forget_other_runs()  # of a node's own environment
    os.environ["WANDB_MODE"] = study["wandb_mode"]  # W&B refuses what it does not know, Online with a capital too
    for key, value in study["environment"].items():
        os.environ.setdefault(key, value)
    import wandb

    def init(mode: Mode) -> Any:
        folder, run_id = Path(study["run"]), f"{study['id']}-{name}"
        for older in (folder / "wandb").glob(f"*run-*-{run_id}") if mode == "offline" else ():  # what follows holds all of it
            shutil.rmtree(older, ignore_errors=True)
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=os.environ.get("WANDB_RUN_GROUP") or study["name"],
            job_type=kind,
            name=f"{study['name']}/{name}",
            id=run_id,
            resume="allow" if mode == "online" else None,
            dir=str(folder),
            mode=mode,
            tags=[tag[:TAG_LENGTH] for tag in (*tags, *user_tags())],
            config=config,
            reinit="create_new",  # the run before it may still be uploading
            settings=wandb.Settings(
                console="off", x_disable_stats=True, silent=True, init_timeout=INIT_TIMEOUT_S, finish_timeout=UPLOAD_TIMEOUT_S
            ),
        )

    if study["wandb_mode"] == "online" and not unreachable:
        try:
            return init("online")
        except Exception as error:  # no key on this node, no network, too many runs for the account
            unreachable = True
            say(f"W&B cannot be reached, what follows is written offline, for `wandb sync`: {type(error).__name__}: {error}")
            wandb.teardown()  # its service process holds the id as one in use
    return init("offline")


def last_step(run: Any) -> int:
    """Of a run that goes on online: what the service has already."""
    return run.step - 1 if run.resumed else 0


def follow_study(study: dict[str, Any], trials: Callable[[], list[Any]], say: Callable[[str], None]) -> Callable[[list[Path]], None]:
    """Opens the study's own run on a thread, which logs the best so far as trials are told. Returns what ends it, once, with the
    table of trials and these figures. `trials` gives the study's FrozenTrials."""
    if study["wandb_mode"] == "disabled":
        return lambda figures: None
    done, shown = threading.Event(), list[Path]()

    def work() -> None:
        import wandb

        run = open_run(study, "study", "study", {"study": study["name"]}, ["study"], say)
        run.define_metric("told")
        run.define_metric("*", step_metric="told")
        shown_in = Path(study["run"]) / "wandb"
        offline = f"W&B is offline; wandb leet {shown_in} shows it, docs/wandb.md says how to send it"
        say(offline if run.offline else f"W&B: {run.project_url}")
        before, order = last_step(run), list[int]()
        while True:
            ended = done.wait(FOLLOW_S)
            rows = told_rows(trials(), study["metric"], order)
            for row in rows[before:]:
                run.log(row, step=row["told"])
            before = max(before, len(rows))
            if ended:
                break
        columns, data = trials_table(trials(), study["metric"])
        run.summary["num_trials"] = len(data)
        run.summary.update(chosen(Path(study["run"]), trials()))
        try:
            figures = {f"figures/{path.stem}": wandb.Image(str(path)) for path in shown}
            run.log({"trials": wandb.Table(columns=columns, data=data, allow_mixed_types=True)} | figures, step=max(before, run.step))
        finally:
            run.finish()

    guard = Guard(say)
    guard.do(work)

    def finish(figures: list[Path]) -> None:
        if done.is_set():
            return
        shown.extend(figures)
        done.set()
        if not guard.close(STUDY_WAIT_S):
            guard.give_up(STUDY_WAIT_S)
            leave_at_exit()

    return finish


def leave_at_exit() -> None:
    """W&B's hook at the process's exit waits for its service process without a bound; a service that hangs would hold it for ever.
    `teardown` takes the hook away and then waits likewise: on a thread that ends with the process."""

    def teardown() -> None:
        with contextlib.suppress(Exception):
            sys.modules["wandb"].teardown()

    thread = threading.Thread(target=teardown, daemon=True)
    thread.start()
    thread.join(LEAVE_S)


def told_rows(trials: list[Any], metric: str, order: list[int]) -> list[Row]:
    """A row a told trial, in the order of telling: told, trial, its last value, the best complete one so far. `order` has the numbers of
    those that were seen told, and gets the others: by the clock, which may have been set back since the first ones."""
    told = {trial.number: trial for trial in trials if trial.state.is_finished()}
    order += sorted(told.keys() - set(order), key=lambda number: told[number].datetime_complete)
    rows, best = list[Row](), None
    for trial in (told[number] for number in order):
        if trial.state.name == "COMPLETE" and all(value <= 0 for value in trial.constraints.values()):
            best = trial.value if best is None else min(best, trial.value)
        values = {metric: trial.intermediate_values.get(trial.last_step), f"best {metric}": best}
        rows.append({"told": len(rows) + 1, "trial": trial.number} | {key: value for key, value in values.items() if value is not None})
    return rows


def chosen(run: Path, trials: list[Any]) -> dict[str, Any]:
    """The study's best trial, as its driver chose it; empty where none is complete."""
    from aae.tuning.study.choice import ranked

    best = next(iter(ranked(trials, run)), None)
    return {} if best is None else {"best_trial": best.number, "best_value": best.value} | expected_values(run).get(best.number, {})


def trials_table(trials: list[Any], metric: str) -> tuple[list[str], list[list[Any]]]:
    """(columns, rows) with every trial's state and reason, as the study knows them."""
    from aae.tuning.study.optuna_views import baseline_name, last_value, word_of  # with Optuna: a trial's worker does not need it

    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    data = [
        [
            trial.number,
            word_of(trial),
            last_value(trial),
            trial.last_step or 0,
            trial.user_attrs.get(REASON),
            baseline_name(trial),
            *(trial.params.get(path) for path in paths),
        ]
        for trial in trials
    ]
    return ["trial", "state", metric, "epochs", "reason", "baseline", *paths], data
