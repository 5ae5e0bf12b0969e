"""The winner of a search: selected on fresh draws, frozen, and judged by the test set on draws that are fresher still.

All of it is one Optuna study of its own in RUN/confirm, whose trials are the planned trainings by number: those of the selection
and, once the winner is frozen in it, those of the report. So what holds of a search holds here: kill anything at any moment, and
the same command goes on.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial
from rich.console import Console

from aae import checkpoint, manifest
from aae.data import Dataset, load_configured
from aae.errors import ConfigError, no_sweep
from aae.layers import set_paths, to_trial
from aae.runs import CONFIRM, command_folder, read_json, read_manifest, trial_folder, write_json
from aae.tuning.cluster.home import caches_placed
from aae.tuning.cluster.nodes import Place
from aae.tuning.cluster.preflight import enter_cluster
from aae.tuning.cluster.sessions import cluster_address, remove_dead_session
from aae.tuning.confirm.plan import PLAN, WINNER, Candidate, Plan, begun_confirmation, blocks_of, choose, on_draw, only_candidate
from aae.tuning.confirm.test_set import confirmation_report
from aae.tuning.driver.budget import Budget
from aae.tuning.driver.opening import taken_back
from aae.tuning.driver.training import EXIT_CODE, train_study
from aae.tuning.spec.blocks import REPORT, SELECTION, refuse_without_block
from aae.tuning.spec.space import SearchSpace
from aae.tuning.spec.sweep import Sweep, refuse_unfit_draws
from aae.tuning.study.choice import ranked
from aae.tuning.study.journal import open_study, read_trials
from aae.tuning.study.lock import DriverLock
from aae.tuning.study.optuna_views import baseline_name, each_once, is_baseline
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.pool import Workers
from aae.tuning.workers.wandb_environment import describe_study

SETTABLE = ("study.confirm", "study.max_minutes", "study.max_disk_gb", "study.max_concurrent", "study.resources_per_trial")


def load_searched(run: Path, overrides: dict[str, Any]) -> Sweep:
    """The sweep of a run folder, for its confirmation. What was begun is gone on with as it was asked. Raises ConfigError."""
    made = read_manifest(run)
    if made is None or not (run / "sweep.yaml").is_file():
        raise no_sweep(run)
    for path in overrides:
        refuse_without_block(path)
        if not path.startswith(SETTABLE):
            raise ConfigError(f"{path}: not of a confirmation, which trains what the search chose; set {', '.join(SETTABLE)}")
    own = begun_confirmation(run)
    if own is not None and PLAN in own.user_attrs and not any(path.startswith("study.confirm") for path in overrides):
        overrides = overrides | {"study.confirm": own.user_attrs[PLAN]["asked"]}
    overrides = overrides | {"study.num_trials": len(searched_trials(run))}  # it may have been extended since
    sweep = with_data(load_sweep(run / "sweep.yaml", overrides, run), made)
    if sweep.study.confirmation is None:
        example = "study.confirm='{select_k: 3, select_draws: 3, report_draws: 10}'"
        raise ConfigError(f"study.confirm: got null, from {run / 'sweep.yaml'}; say what to confirm, as {example}")
    return sweep


def with_data(sweep: Sweep, made: dict[str, Any]) -> Sweep:
    """Its data are found where the search had them, from any folder."""
    folder = sweep.fixed.data.folder
    place = command_folder(folder, made)
    if not folder or place == Path.cwd():
        return sweep
    return replace(sweep, trial=set_paths(sweep.trial, {"data.folder": str(place / Path(folder).expanduser())}, ""))


def searched_trials(run: Path) -> list[FrozenTrial]:
    """The search's trials. Raises ConfigError where none is complete."""
    trials = read_trials(run)
    if not ranked(trials, run):
        raise ConfigError(f"{run}: no trial is complete, so there is nothing to confirm; the sweep's own command goes on with it")
    return trials


def make_plan(run: Path, sweep: Sweep, num_classes: int) -> Plan:
    """Who is confirmed, from what the search has told so far. Raises ConfigError; writes nothing."""
    asked = sweep.study.confirmation
    assert asked is not None
    trials = searched_trials(run)
    complete = ranked(trials, run)
    baselines = [trial for trial in trials if is_baseline(trial) and trial_folder(run, trial.number).config_path.is_file()]
    num = sum(not is_baseline(trial) for trial in complete)
    if asked.select_k > num:
        raise ConfigError(f"study.confirm.select_k: got {asked.select_k}; {num} searched trials are complete: give at most that")
    searched = [trial for trial in each_once([*baselines, *complete]) if not is_baseline(trial)]  # a small space may have fewer
    candidates = []
    for trial in [*baselines, *searched[: asked.select_k]]:
        config = checkpoint.read_config(trial_folder(run, trial.number).path)
        baseline = baseline_name(trial)
        name = f"{baseline} (trial {trial.number})" if baseline else f"trial {trial.number}"
        candidates.append(Candidate(name, trial.number, baseline, trial.value, blocks_of(config)))
    if asked.baseline is not None and asked.baseline not in [candidate.baseline for candidate in candidates]:
        raise ConfigError(f"study.confirm.baseline: got {asked.baseline}; the search has not trained it: run it on, or name another one")
    selects = len(candidates) > 1 or asked.half_width is not None  # whose spread says how many draws the report takes
    return Plan(vars(asked), candidates, [trial.number for trial in complete], len(trials), num_classes, selects)


def sweep_of_trainings(run: Path, sweep: Sweep, plan: Plan, winner: dict[str, Any] | None) -> Sweep:
    """The confirmation as a sweep that searches nothing: its baselines are the trainings, in order."""
    trainings = plan.selection_trainings + (plan.report_trainings(winner) if winner else [])
    values = {f"{candidate.name}, draw {seed}": on_draw(candidate.config, seed) for candidate, seed in trainings}
    # Of a fork too it is epoch 0, on other labels.
    off: dict[str, Any] = {"pruner": {"kind": "NopPruner"}} | dict.fromkeys(("confirm", "fork", "learn_from", "stop_below_gain"))
    study = replace(sweep.study, name=CONFIRM, folder=str(run), num_trials=len(values), **off)
    trial = OmegaConf.create(blocks_of(sweep.fixed))
    return replace(sweep, study=study, trial=trial, space=SearchSpace({}), baselines=values, fork=None, learnt=())


def run_confirmation(run: Path, sweep: Sweep, accept: bool, console: Console) -> int:
    """Selects, freezes and reports, or goes on with it; RUN/confirm/report.json is there when all of it is done. Returns the exit
    code. Raises ConfigError or DataError with nothing written, and RuntimeError where it broke midway."""
    budget = Budget(sweep.study, run, lambda: searched_trials(run))  # one for both stages
    cluster_address()
    folder, made, asked = run / CONFIRM, read_manifest(run), sweep.study.confirmation
    assert made is not None and asked is not None
    data = load_configured(sweep.fixed.data)
    if data.hashes != made["data"]:
        raise ConfigError(f"data.folder: {', '.join(data.hashes)} is not what the search was trained on; restore that")
    fresh = None if begun_confirmation(run) else make_plan(run, sweep, data.num_classes)
    for candidate in fresh.candidates if fresh else []:
        refuse_unfit_draws(to_trial(OmegaConf.create(candidate.config)), asked, data)
    lock = DriverLock(run, console.print, work=CONFIRM)
    with contextlib.ExitStack() as held:
        held.callback(lock.release)
        held.enter_context(taken_back(folder, fresh is not None))
        if remove_dead_session(lock.predecessor):
            console.print("removed the session folder of a driver that was killed")
        folder.mkdir(exist_ok=True)
        own, _ = open_study(folder, CONFIRM)
        if PLAN not in own.user_attrs:
            own.set_user_attr(PLAN, (fresh or make_plan(run, sweep, data.num_classes)).to_json())
        plan = Plan.read(own.user_attrs[PLAN])
        if plan.asked != vars(asked):
            was = ", ".join(f"{key}={value}" for key, value in plan.asked.items() if value is not None)
            want = "what a report takes is fixed before its first draw: leave study.confirm as it was"
            raise ConfigError(f"{folder}: was begun with {was}; {want}")
        if (folder / "report.json").is_file():
            return 0
        described = describe_confirmation(made, data, folder, accept, console)
        if not plan.selects and WINNER not in own.user_attrs:
            freeze(own, plan, only_candidate(plan, sweep.study.metric), console)
        study = SweepStudy(folder, sweep_of_trainings(run, sweep, plan, own.user_attrs.get(WINNER)))
        study.code_number = len(described.get("accepted", []))
        before = len(study.trials())
        counts = study.reconcile()
        if described != read_json(folder / "manifest.json"):  # after all that may refuse the start
            write_json(folder / "manifest.json", described)
        if before:
            text = ", ".join(f"{count} {what}" for what, count in counts.items())
            console.print(f"{folder}: {before} training{'s' * (before > 1)} so far; reconciled: {text}")
        with contextlib.ExitStack() as stack:
            stack.enter_context(caches_placed(run))
            code = train_stages(study, run, sweep, plan, made, lock, budget, console, stack)
        if code is None:
            write_json(folder / "report.json", confirmation_report(study, plan, study.study.user_attrs.get(WINNER), run, data))
        return code or 0


def describe_confirmation(made: dict[str, Any], data: Dataset, folder: Path, accept: bool, console: Console) -> dict[str, Any]:
    """Its manifest; says what of it is not as the search had it. Writes nothing. Raises ConfigError where it was begun with other code."""
    now = manifest.describe(manifest.own_command(), data.hashes)
    now["folder"] = made.get("folder", now["folder"])  # the search's data.folder is in its configurations
    before = read_json(folder / "manifest.json")
    own = now if before is None else manifest.go_on(before, now, folder, accept)
    for line in manifest.note_of_other_changes(own, now):
        console.print(line, soft_wrap=True)
    changed = manifest.training_changes(manifest.current(made), now)
    if changed:
        console.print(f"not what the search ran with: {'; '.join(changed)}")
    return own


def train_stages(
    study: SweepStudy,
    run: Path,
    sweep: Sweep,
    plan: Plan,
    made: dict[str, Any],
    lock: DriverLock,
    budget: Budget,
    console: Console,
    stack: contextlib.ExitStack,
) -> int | None:
    """Trains the selection, freezes the winner, trains the report. Returns None, or an exit code where it stopped before the end."""
    place: Place | None = None
    while True:
        winner = study.study.user_attrs.get(WINNER)
        study.sweep = stage = sweep_of_trainings(run, sweep, plan, winner)
        if not study.all_told:
            say = functools.partial(console.print, soft_wrap=True)
            about = describe_study(f"{run.name}-{CONFIRM}", f"{made['id']}c", run, study.metric, list(stage.baselines), say)
            place = place or enter_cluster(stage, lock, stack, console)
            console.print(f"{stage_line(plan, winner)}, {place.slots} at a time, on {place.where}", soft_wrap=True)
            about["command_folder"] = str(command_folder(plan.candidates[0].config["data"]["folder"], made))
            with Workers(place, about, study.metric, study.run) as workers:
                received = train_study(study, workers, budget, console, lambda: None)
            if not study.all_told:
                left = stage.study.num_trials - sum(trial.state.is_finished() for trial in study.trials())
                what = f"training{'s' * (left > 1)} of the {'report' if winner else 'selection'} {'are' if left > 1 else 'is'} left"
                console.print(f"{left} {what}; the same command goes on")
                return 0 if received is None else EXIT_CODE[signal.Signals(received)]
            if received is not None and winner is None:  # it came while the last ones of the stage ended
                console.print("the selection is trained, the report's trainings are left; the same command goes on")
                return EXIT_CODE[signal.Signals(received)]
        if winner is not None:
            return None
        winner = choose(plan, study.trials(), study.metric)
        if winner is None:
            raise RuntimeError(f"{study.run}: no candidate has a value on every draw of the selection, so there is no winner")
        freeze(study.study, plan, winner, console)


def freeze(own: optuna.Study, plan: Plan, winner: dict[str, Any], console: Console) -> None:
    """From here on the winner never changes, and its record opens the test set."""
    own.set_user_attr(WINNER, winner | {"frozen": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())})
    console.print(winner_line(plan, winner), soft_wrap=True)


def stage_line(plan: Plan, winner: dict[str, Any] | None) -> str:
    """A stage in a line, before it starts."""
    names = [candidate.name for candidate in (plan.reported(winner) if winner else plan.candidates)]
    draws, pool = (winner["report_draws"], REPORT) if winner else (plan.settings.select_draws, SELECTION)
    kind, note = ("label", "") if plan.draw_is_label_seed else ("initialisation", " (this study draws no labels)")
    seeds = f"{kind} seed {pool[0]}" if draws == 1 else f"{draws} {kind} seeds from {pool[0]} on"
    num = draws * len(names)
    return f"{'report' if winner else 'selection'}: {', '.join(names)}; {seeds}{note}: {num} training{'s' * (num > 1)}"


def winner_line(plan: Plan, winner: dict[str, Any]) -> str:
    text = f"{'winner of the selection' if plan.selects else 'the only candidate'}, frozen: {winner['name']}"
    if plan.settings.half_width is not None:
        of = "the paired difference" if winner["paired"] else "the mean"
        text += f"; {winner['report_draws']} draws, with which the interval of {of} is expected to be +-{winner['expected_half_width']:.2g}"
        if winner["expected_half_width"] > plan.settings.half_width:
            text += f": the pool's {len(REPORT)} are not enough for the {plan.settings.half_width:g} that was asked for"
    return text
