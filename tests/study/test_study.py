"""The one truth, without Ray: what a kill at any write leaves, and what the next start makes of it."""

import errno
import fcntl
import io
import json
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from rich.console import Console

from aae import checkpoint
from aae.config import ConfigError
from aae.runs import TrialFolder, trial_folder, write_rows
from aae.tuning.driver import opening
from aae.tuning.driver import run as driver
from aae.tuning.study.choice import ranked
from aae.tuning.study.journal import cut_torn_tail, read_study
from aae.tuning.study.lock import DriverLock
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from aae.tuning.study.trial_sampler import TrialSampler
from aae.tuning.workers import trial as tuning_trial
from aae.tuning.workers.engine import WorkerSearch
from analysis.trials import asked_trials
from tests.sweeping import Quiet, begun, row

SWEEP = """
study:
  name: s
  num_trials: {num_trials}
  sampler: {{kind: TPESampler, seed: 0, n_startup_trials: 3}}
  pruner: {pruner}
baselines: {baselines}
trial:
  data: {{num_labels: 100}}
  objective: {{adversarial_y: {{}}, classification: {{}}}}
  train: {{epochs: 6}}
search_space:
  model.z_dim: {{kind: int, low: 6, high: 12}}
  optim.reconstruction.rate: {{kind: float, low: 0.005, high: 0.03, log: true}}
"""
HALVING = "{kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}"


@pytest.fixture
def make_study(tmp_path: Path):
    """Opens the study of one folder, again and again, as a driver that is killed and started again does."""

    def make(num_trials: int = 8, pruner: str = HALVING, baselines: str = "{}", **study) -> SweepStudy:
        file = tmp_path / "s.yaml"
        file.write_text(SWEEP.format(num_trials=num_trials, pruner=pruner, baselines=baselines))
        (tmp_path / "run").mkdir(exist_ok=True)
        return SweepStudy(tmp_path / "run", load_sweep(file, {f"study.{key}": value for key, value in study.items()}))

    return make


def play(study: SweepStudy, errors: dict[int, float], until: int | None = None) -> None:
    """Runs the study's trials one after the other; trial n has the error errors[n] / epoch, written as a worker does."""
    while (handout := study.next()) is not None:
        for epoch in range(handout.first_epoch + 1, 7):
            written = handout.attempt.write_row(row(epoch, errors.get(handout.number, 0.5) / epoch))
            if study.report(handout.number, written):
                break
            if until == handout.number and epoch == 2:
                return  # the driver is gone here
        else:
            study.tell(handout.number, TrialState.COMPLETE)


def table(study: SweepStudy) -> list[tuple]:
    return [(t.number, t.state.name, t.params, t.intermediate_values) for t in study.trials()]


ERRORS = {0: 0.5, 1: 0.4, 2: 0.6, 3: 0.3, 4: 0.55, 5: 0.2, 6: 0.45, 7: 0.1}


def test_a_study_opened_again_in_the_middle_ends_as_one_that_was_never_closed(make_study, tmp_path):
    play(make_study(), ERRORS)
    undisturbed = table(make_study())
    (tmp_path / "run").rename(tmp_path / "undisturbed")
    for stop_at in (0, 3, 5, 7):
        study = make_study()
        study.reconcile()
        play(study, ERRORS, until=stop_at)
    study = make_study()
    study.reconcile()
    play(study, ERRORS)
    assert table(study) == undisturbed
    assert all(state != "RUNNING" for _, state, _, _ in undisturbed)


@pytest.mark.parametrize("every", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_between_the_writes_of_a_verdict_does_not_change_it(make_study, tmp_path, every):
    """Writes to the journal of a short study, places of all kinds, are in turn the last one before a kill."""
    play(make_study(), ERRORS)
    undisturbed = table(make_study())
    journal = tmp_path / "run" / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert any(b"verdict" in line for line in lines) and any(b"completed_rung_" in line for line in lines)
    rows = {n: trial_folder(tmp_path / "run", n).rows() for n in range(8)}
    for kept in range(3, len(lines), every):
        journal.write_bytes(b"".join(lines[:kept]))
        for path in (tmp_path / "run").glob("trials/*/result.json"):
            path.unlink()
        trials = make_study().trials()
        for number, all_rows in rows.items():  # a worker may be at most one epoch ahead of what the journal knows
            told = [t for t in trials if t.number == number]
            handed_out = bool(told) and len(told[0].params) == 2
            known = len(told[0].intermediate_values) if told else 0
            attempt = trial_folder(tmp_path / "run", number).last_attempt()
            if attempt is not None:
                write_rows(attempt.metrics_path, all_rows[: known + 1] if handed_out else [])
        study = make_study()
        study.reconcile()
        play(study, ERRORS)
        assert table(study) == undisturbed, f"killed after write {kept}: {lines[kept - 1]!r}"


def test_a_torn_last_line_of_the_journal_is_cut_and_the_study_goes_on(make_study, tmp_path):
    play(make_study(), ERRORS, until=4)
    journal = tmp_path / "run" / "study.journal"
    whole = journal.read_bytes()
    for torn in (b'{"op_code":', b'{"op_code":8,"worker_id":"x"}'):
        journal.write_bytes(whole + torn)
        study = make_study()
        assert journal.read_bytes().startswith(whole) and not journal.read_bytes().endswith(torn)
        study.reconcile()
    play(study, ERRORS)
    assert study.all_told


def test_an_append_that_a_full_disk_tears_leaves_a_journal_that_goes_on(make_study, tmp_path, monkeypatch):
    study, journal = make_study(), tmp_path / "run" / "study.journal"
    study.next()

    def full(backend, logs):
        with open(journal, "ab") as file:
            file.write(b'{"op_code":')
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(JournalFileBackend, "append_logs", full)
        study.report(0, row(1, 0.5))
    study.report(0, row(1, 0.5))  # there is room again
    assert make_study().trial(0).intermediate_values == {1: 0.5}


def test_cutting_leaves_a_whole_journal_alone(tmp_path):
    journal = tmp_path / "j"
    journal.write_bytes(b"{}\n{}\n")
    cut_torn_tail(journal)
    assert journal.read_bytes() == b"{}\n{}\n"


def test_epochs_that_a_worker_wrote_and_the_study_lacks_are_told_once(make_study, tmp_path):
    study = make_study(pruner="{kind: NopPruner}")
    handout = study.next()
    study.report(0, handout.attempt.write_row(row(1, 0.5)))
    handout.attempt.write_row(row(2, 0.4))
    handout.attempt.write_row(row(3, 0.3))
    again = make_study(pruner="{kind: NopPruner}")
    assert again.reconcile() == {"told": 2, "ended": 0, "going on": 1}
    assert again.trial(0).intermediate_values == {1: 0.5, 2: 0.4, 3: 0.3}
    assert again.next().first_epoch == 3


def leave_all_rows(study: SweepStudy, checkpoint_epoch: int) -> None:
    """A worker that wrote every epoch's row, and of its checkpoints this one last, and reported none."""
    handout = study.next()
    for epoch in range(1, 7):
        handout.attempt.write_row(row(epoch, 0.6 / epoch))
    checkpoint.save(handout.attempt.checkpoint_path, {"epoch": checkpoint_epoch})


def test_a_trial_with_no_epoch_left_is_told_complete_without_a_worker(make_study):
    leave_all_rows(make_study(pruner="{kind: NopPruner}"), checkpoint_epoch=6)
    again = make_study(pruner="{kind: NopPruner}")
    assert again.reconcile()["ended"] == 1
    assert again.trial(0).state == TrialState.COMPLETE and again.trial(0).value == pytest.approx(0.1)
    result = json.loads(trial_folder(again.run, 0).result_path.read_text())
    assert (result["state"], result["epochs"]) == ("COMPLETE", 6)


def test_a_trial_whose_last_row_came_without_its_checkpoint_is_handed_out_again(make_study):
    """Told complete it would keep an older epoch's weights, or none, beside the last epoch's value."""
    leave_all_rows(make_study(pruner="{kind: NopPruner}"), checkpoint_epoch=5)
    again = make_study(pruner="{kind: NopPruner}")
    assert again.reconcile() == {"told": 6, "ended": 0, "going on": 1}
    assert again.next().first_epoch == 6 and again.trial(0).state == TrialState.RUNNING


def test_a_trial_that_is_told_keeps_one_small_checkpoint_whatever_was_killed(make_study):
    study = make_study(pruner="{kind: NopPruner}")
    whole = {"epoch": 1, "x_dim": 2, "averaged": {}, "optimizers": {}}
    for _ in range(3):
        attempt = study.next().attempt
        checkpoint.save(attempt.checkpoint_path, whole)
        attempt.checkpoint_path.with_name(".checkpoint.pt.1").write_bytes(b"half")
        study.unfinished.append(0)
    last = study.next().attempt
    study.report(0, last.write_row(row(1, 0.5)))
    study.tell(0, TrialState.PRUNED)
    assert list(last.path.parent.rglob("*checkpoint.pt*")) == [last.checkpoint_path]
    assert checkpoint.read(last.checkpoint_path).keys() == {"epoch", "x_dim", "averaged"}


def test_a_broken_checkpoint_does_not_stop_its_trial_from_being_told(make_study):
    study = make_study(pruner="{kind: NopPruner}")
    handout = study.next()
    handout.attempt.checkpoint_path.write_bytes(b"torn")
    study.report(0, handout.attempt.write_row(row(1, 0.5)))
    study.tell(0, TrialState.FAIL, "why")
    assert json.loads(handout.folder.result_path.read_text())["reason"] == "why"


def test_every_ask_has_a_seed_of_its_own(make_study):
    """A resumed study asked by a sampler with the same seed would draw its first trial again."""
    first = make_study(num_trials=2)
    params = [first.next() and first.trial(n).params for n in range(2)]
    again = make_study(num_trials=4)
    again.unfinished.clear()
    params += [again.next() and again.trial(n).params for n in (2, 3)]
    assert len({json.dumps(p) for p in params}) == 4


def test_more_trials_extend_the_study(make_study):
    play(make_study(num_trials=3), ERRORS)
    study = make_study(num_trials=5)
    study.reconcile()
    play(study, ERRORS)
    assert [t.number for t in study.trials()] == [0, 1, 2, 3, 4] and study.all_told


def test_a_baseline_runs_first_and_is_never_pruned(make_study):
    baselines = "{inside: {model.z_dim: 8, optim.reconstruction.rate: 0.01}, outside: {train.update: alternating}}"
    study = make_study(baselines=baselines)
    play(study, {0: 0.9, 1: 0.95} | {n: 0.3 for n in range(2, 8)})
    inside, outside = study.trial(0), study.trial(1)
    assert inside.state == outside.state == TrialState.COMPLETE
    assert inside.params == {"model.z_dim": 8, "optim.reconstruction.rate": 0.01}
    assert outside.params == {}  # differs in a path that is not searched: the sampler does not see it
    assert study.next() is None


def test_a_baseline_with_another_block_on_or_off_is_no_point_of_the_space(tmp_path):
    """Seen to fail with None taken for a path that is not there: with that block searched the first hand-out ended by a KeyError."""
    text = SWEEP.format(num_trials=4, pruner=HALVING, baselines="{without: {objective.consistency: null}, inside: {model.z_dim: 7}}")
    text = text.replace("adversarial_y: {}", "adversarial_y: {}, consistency: {}")
    for number, searched in enumerate(("", "  objective.consistency.weight: {kind: float, low: 0.1, high: 1.0}\n")):
        (tmp_path / "s.yaml").write_text(text + searched)
        (folder := tmp_path / str(number)).mkdir()
        study = SweepStudy(folder, load_sweep(tmp_path / "s.yaml", {}))
        play(study, {}, until=1)
        assert study.trial(0).params == {} and study.trial(1).params["model.z_dim"] == 7
    (tmp_path / "s.yaml").write_text(text.replace(", consistency: {}", "").replace("consistency: null", "consistency: {}"))
    assert SweepStudy(tmp_path, sweep := load_sweep(tmp_path / "s.yaml", {})).inside_space(sweep.baselines["without"]) == {}


def test_a_value_of_a_baseline_that_is_not_set_is_the_fixed_one(make_study):
    study = make_study(baselines="{only_update: {train.update: alternating}}")
    config = study.next().config
    assert (config.train.update, config.model.z_dim) == ("alternating", 10)


def test_the_pruner_is_not_asked_after_the_earliest_drop(make_study, tmp_path):
    file = tmp_path / "drop.yaml"
    text = SWEEP.format(num_trials=4, pruner=HALVING, baselines="{}")
    file.write_text(
        text + "  optim.schedule.kind: {kind: categorical, choices: [constant, step]}\n"
        "  optim.schedule.drop_at: {kind: float, low: 0.34, high: 0.9, when: {optim.schedule.kind: step}}\n"
    )
    sweep = load_sweep(file, {})
    assert sweep.last_rung == 2
    (tmp_path / "drop").mkdir()
    study = SweepStudy(tmp_path / "drop", sweep)
    play(study, {0: 0.1, 1: 0.1, 2: 0.2, 3: 0.3})
    stopped = [t.last_step for t in study.trials() if t.state == TrialState.PRUNED]
    assert stopped and max(stopped) <= 2


def test_a_trial_that_is_told_keeps_its_state(make_study):
    study = make_study()
    study.next()
    study.tell(0, TrialState.FAIL, "first")
    study.tell(0, TrialState.COMPLETE, "second")
    assert study.trial(0).state == TrialState.FAIL and study.trial(0).user_attrs["reason"] == "first"


def test_the_highest_attempt_counts_and_a_lost_worker_may_go_on_writing(make_study):
    study = make_study(pruner="{kind: NopPruner}")
    lost = study.next()
    study.report(0, lost.attempt.write_row(row(1, 0.5)))
    study.unfinished.append(0)
    current = study.next()
    lost.attempt.write_row(row(2, 0.9))  # cut off from the network, not dead
    current.attempt.write_row(row(2, 0.4))
    assert current.attempt.path.name == "attempt-1"
    assert [r["val/error"] for r in TrialFolder(current.folder.path).rows()] == [0.5, 0.4]


@pytest.mark.parametrize(
    "pruner",
    [
        "{kind: HyperbandPruner, min_resource: 1, max_resource: 6, reduction_factor: 2}",
        "{kind: MedianPruner, n_startup_trials: 2}",
        "{kind: PercentilePruner, percentile: 50.0, n_startup_trials: 2}",
        "{kind: NopPruner}",
    ],
)
def test_every_pruner_works_with_baselines_and_reopening(make_study, pruner):
    baselines = "{outside: {train.update: alternating}}"
    for stop_at in (0, 2, 4):
        study = make_study(pruner=pruner, baselines=baselines)
        study.reconcile()
        play(study, ERRORS, until=stop_at)
    study = make_study(pruner=pruner, baselines=baselines)
    study.reconcile()
    play(study, ERRORS)
    assert study.all_told and study.trial(0).state == TrialState.COMPLETE
    for trial in study.trials():
        rows = trial_folder(study.run, trial.number).rows()
        assert trial.intermediate_values == {r["epoch"]: r["val/error"] for r in rows}


def test_under_hyperband_a_study_that_was_closed_asks_the_same_points(make_study):
    """Seen to fail: until its first verdict a pruner of a fresh start knows no brackets, so the sampler saw the trials of all."""
    pruner = "{kind: HyperbandPruner, min_resource: 1, max_resource: 6, reduction_factor: 2}"
    errors = {number: 0.3 + 0.01 * number for number in range(12)}
    study = make_study(num_trials=12, pruner=pruner)
    play(study, errors)
    again = SweepStudy(Path(shutil.copytree(study.run, study.run.with_name("copy"))), study.sweep)
    assert study.values(study.ask()) == again.values(again.ask())


def test_a_trial_that_has_its_parameters_is_handed_out_again_without_the_sampler(make_study, monkeypatch):
    """So no other study that was learnt from is asked for; it may be gone when all is asked."""
    study = make_study(num_trials=2)
    values = study.next().config.model.z_dim
    again = make_study(num_trials=2)
    again.reconcile()
    monkeypatch.setattr(SweepStudy, "handle", lambda self, number: pytest.fail("the sampler was made"))
    assert again.next().config.model.z_dim == values


def test_tpe_learns_past_a_baseline_that_it_does_not_see(make_study):
    """With a multivariate TPE a trial without parameters would empty the space that all trials share."""
    study = make_study(num_trials=8, pruner="{kind: NopPruner}", baselines="{outside: {train.update: alternating}}")
    play(study, ERRORS)
    many = replace(study.sweep, study=replace(study.sweep.study, sampler=study.sweep.study.sampler | {"multivariate": True}))
    sampler = TrialSampler(many, 8)
    assert set(sampler.infer_relative_search_space(study.study, study.trial(7))) == {"model.z_dim", "optim.reconstruction.rate"}


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no study\.journal"):
        read_study(tmp_path)


# ---- ends that a kill interrupts, and epochs trained again ----

MEDIAN = "{kind: MedianPruner, n_startup_trials: 1}"


def run_alone(study: SweepStudy, number: int, error: float) -> None:
    handout = study.next()
    assert handout.number == number
    for epoch in range(1, 7):
        study.report(number, handout.attempt.write_row(row(epoch, error)))
    study.tell(number, TrialState.COMPLETE)


def test_an_epoch_that_is_trained_again_is_not_judged_again(make_study):
    """Its verdict was to go on; by the time a checkpoint's later epochs are repeated, other trials have made the median lower."""
    study = make_study(pruner=MEDIAN)
    first = study.next()
    study.report(0, first.attempt.write_row(row(1, 0.9)))
    study.report(0, first.attempt.write_row(row(2, 0.9)))
    study.unfinished.append(0)
    again = study.next()  # after a dead worker, whose last checkpoint was at epoch 0
    run_alone(study, 1, 0.1)
    assert not study.report(0, again.attempt.write_row(row(1, 0.9)))
    assert study.trial(0).state == TrialState.RUNNING


@pytest.mark.parametrize("pruner", [MEDIAN, HALVING])
def test_a_verdict_to_stop_stands_when_a_kill_comes_before_the_trial_is_told(make_study, monkeypatch, pruner):
    study = make_study(pruner=pruner)
    run_alone(study, 0, 0.5)
    study.next()
    monkeypatch.setattr(study, "tell", lambda *arguments: None)  # the kill comes before it
    assert study.report(1, row(1, 0.9))
    again = make_study(pruner="{kind: NopPruner}")  # by now the pruner may answer differently
    assert again.catch_up(1, [row(1, 0.9)]) and again.trial(1).user_attrs["reason"] == "pruned at epoch 1"


def test_the_reason_of_an_end_that_a_kill_did_not_let_happen_goes(make_study):
    study = make_study(pruner="{kind: NopPruner}")
    handout = study.next()
    study.storage.set_trial_user_attr(study.id_of(0), "reason", "diverged: on the machine before")  # killed here
    for epoch in range(1, 7):
        study.report(0, handout.attempt.write_row(row(epoch, 0.5)))
    study.tell(0, TrialState.COMPLETE)
    assert study.trial(0).user_attrs["reason"] is None
    assert json.loads(handout.folder.result_path.read_text())["reason"] is None


def test_a_trial_that_ends_without_an_epoch_says_so(make_study):
    study = make_study()
    study.next()
    study.tell(0, TrialState.COMPLETE)
    assert (study.trial(0).state, study.trial(0).user_attrs["reason"]) == (TrialState.FAIL, "it ended without a finished epoch")


# ---- Ray's side ----


@pytest.fixture
def make_search(make_study):
    def make(**changes) -> WorkerSearch:
        search = WorkerSearch("val/error", SimpleNamespace(slots=2), threading.Event())
        search.begin(make_study(**({"num_trials": 1, "pruner": "{kind: NopPruner}"} | changes)), Quiet())
        return search

    return make


def test_a_worker_that_always_dies_in_the_same_epoch_ends_although_it_repeats_the_epochs_before(make_search):
    """The host's out-of-memory killer in epoch 3, with checkpoints too rare to come before it."""
    search = make_search()
    for attempt in range(4):
        trial = f"ray-{attempt}"
        assert search.suggest(trial)["number"] == 0
        for epoch in (1, 2):
            search.take_result(trial, search.trials.live[trial].attempt.write_row(row(epoch, 0.5)))
        search.on_trial_complete(trial, error=True)
    assert search.trials.study.trial(0).state == TrialState.FAIL
    assert "3 attempts in a row" in search.trials.study.trial(0).user_attrs["reason"]
    assert len(search.trials.observer.lost_causes) == 3  # "it goes on" is not said of the last
    assert search.suggest("ray-4") == "FINISHED"


def test_attempts_that_were_lost_with_their_nodes_are_no_failures_of_the_trial(make_search):
    """The death of a node is seen after that of its workers, so it is asked for again with each attempt."""
    search, alive = make_search(), {"a", "b", "c", "d"}
    search.trials.place = SimpleNamespace(slots=2, alive=lambda node: node in alive)

    def lose(attempt: int, node: str) -> None:
        assert search.suggest(f"ray-{attempt}")["number"] == 0
        search.take_result(f"ray-{attempt}", {"actor": [None], "node": node, "worker": "1", "hostname": "h"})
        search.on_trial_complete(f"ray-{attempt}", error=True)

    for attempt, node in enumerate("ab"):
        lose(attempt, node)
        alive.remove(node)
    lose(2, "c")
    lose(3, "d")
    assert search.trials.study.trial(0).state == TrialState.RUNNING
    lose(4, "c")
    assert search.trials.study.trial(0).state == TrialState.FAIL


def test_a_trial_that_has_reported_all_of_its_epochs_is_complete_whatever_its_folder_shows(make_search):
    """A network file system may show another host's file late. Seen to fail where the end is read from the folder: no trial is
    left, none is told, and the sweep waits for ever."""
    search = make_search()
    search.suggest("ray-0")
    attempt = search.trials.live["ray-0"].attempt
    for epoch in range(1, search.trials.study.sweep.epochs + 1):
        search.take_result("ray-0", attempt.write_row({"epoch": epoch, "val/error": 0.5}))
    attempt.metrics_path.write_text("")
    search.on_trial_complete("ray-0")
    assert search.trials.study.trial(0).state == TrialState.COMPLETE and search.suggest("ray-1") == "FINISHED"


def test_a_training_that_is_repeated_for_its_last_weights_and_stopped_on_the_way_is_not_complete(make_search):
    """Seen to fail: told complete with an older epoch's weights, and a confirmation could never be reported."""
    search = make_search()
    search.suggest("ray-0")
    for epoch in range(1, search.trials.study.sweep.epochs + 1):
        search.take_result("ray-0", search.trials.live["ray-0"].attempt.write_row(row(epoch, 0.5)))
    search.on_trial_complete("ray-0", error=True)  # before its last checkpoint
    search.suggest("ray-1")
    search.take_result("ray-1", row(1, 0.5))
    search.trials.stopping.set()
    search.on_trial_complete("ray-1")
    assert search.trials.study.trial(0).state == TrialState.RUNNING


def test_a_trial_that_ends_early_without_a_word_is_handed_out_again(make_search):
    search = make_search()
    for attempt in range(3):
        assert search.suggest(f"ray-{attempt}")["number"] == 0
        search.on_trial_complete(f"ray-{attempt}")
    assert (
        search.trials.study.trial(0).state == TrialState.FAIL and "3 attempts in a row" in search.trials.study.trial(0).user_attrs["reason"]
    )


def test_a_sweep_of_which_no_trial_came_to_anything_exits_with_1_and_a_stopped_one_with_its_signals_code():
    """Through Ray: test_sweep, among the slow ones."""

    def ended(*ends: tuple[TrialState, str | None]) -> SimpleNamespace:
        trials = [SimpleNamespace(state=state, user_attrs={"reason": reason}) for state, reason in ends]
        return SimpleNamespace(trials=lambda: trials)

    diverged, failed = (TrialState.PRUNED, "diverged: nan"), (TrialState.FAIL, "died")
    assert driver.exit_code(ended(diverged, failed), None) == 1
    assert driver.exit_code(ended(diverged, (TrialState.PRUNED, "pruned at epoch 2")), None) == 0
    assert driver.exit_code(ended(diverged, (TrialState.COMPLETE, None)), None) == 0 == driver.exit_code(ended(), None)
    assert [driver.exit_code(ended(diverged), number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == [130, 143, 0]


def test_a_row_that_a_failed_trial_could_not_report_is_told(make_search):
    """The disk was full for the checkpoint, after the row and before the report."""
    search = make_search()
    search.suggest("ray-0")
    search.trials.live["ray-0"].attempt.write_row(row(1, 0.5))
    assert search.take_result("ray-0", {"state": "FAIL", "reason": "OSError: no space"})
    assert search.trials.study.trial(0).state == TrialState.FAIL and search.trials.study.trial(0).intermediate_values == {1: 0.5}


def test_a_trial_whose_process_is_ended_after_its_last_word_is_over(make_search, monkeypatch):
    """An error of CUDA stays in its process, so the driver kills that. Seen to fail where `_end` asks for the cause first: lost, it
    says, and hands out a trial that was told."""
    search = make_search(num_trials=2)
    monkeypatch.setattr("ray.kill", lambda actor: None)
    search.suggest("ray-0")
    search.take_result("ray-0", {"actor": [None], "node": "a", "worker": "1", "hostname": "h"})
    search.take_result("ray-0", {"state": "FAIL", "reason": "device-side assert", "spent": True})
    search.on_trial_complete("ray-0", error=True)
    assert search.trials.study.trial(0).state == TrialState.FAIL and search.trials.observer.lost_causes == []
    assert search.suggest("ray-1")["number"] == 1


def test_a_disk_that_is_full_breaks_the_sweep_off_and_spends_no_trial(make_search, monkeypatch):
    """Each trial in turn would fail, and be told so for good."""
    search = make_search()

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tuning_trial, "epochs", full)
        patched.setattr(tuning_trial, "load_configured", lambda *arguments: None)
        patched.setattr(Path, "write_text", full)  # not even room for the traceback
        given = {"wandb_mode": "disabled", "command_folder": ".", "gpu": False}
        (word,) = tuning_trial.train_attempt(search.suggest("ray-0"), given)
    with pytest.raises(OSError, match="No space left on device"):
        search.take_result("ray-0", word)
    assert search.trials.study.trial(0).state == TrialState.RUNNING


def test_a_study_that_cannot_be_told_breaks_the_sweep_off_and_it_does_not_wait_for_ever(make_search, monkeypatch):
    """Ray takes what `on_trial_complete` raises for the trial's own failure and goes on."""
    search = make_search()
    search.suggest("ray-0")
    for epoch in range(1, 7):
        search.take_result("ray-0", search.trials.live["ray-0"].attempt.write_row(row(epoch, 0.5)))

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(search.trials.study, "tell", full)
    with pytest.raises(OSError, match="No space"):
        search.on_trial_complete("ray-0")
    with pytest.raises(OSError, match="No space"):
        search.suggest("ray-1")


# ---- the run folder ----


def test_a_start_that_is_killed_while_it_makes_the_folder_is_gone_on_with(workplace, monkeypatch):
    """Each write of a start in turn is the one that a kill, or a full disk, does not let happen."""
    small = {"data.name": "npz", "data.folder": "tiny.npz", "data.num_validation": 105, "data.num_labels": 20, "train.batch_size": 50}
    Path("s.yaml").write_text(SWEEP.format(num_trials=2, pruner=HALVING, baselines="{}"))
    sweep = load_sweep("s.yaml", small | {"train.labelled_batch_size": 20})

    def dies(path, content):
        path.with_name(f".{path.name}.1").write_bytes(b"half")  # what a writer that was killed leaves
        raise OSError(errno.ENOSPC, "No space left on device")

    for function in ("write_json", "write_atomically"):
        with monkeypatch.context() as patched, pytest.raises(ConfigError, match="make room"):
            patched.setattr(opening, function, dies)
            begun(sweep).__enter__()
    with begun(sweep):
        pass
    assert {"manifest.json", "sweep.yaml"} <= {path.name for path in Path("runs/s").iterdir()}


PATHS_OF_LATER = ("data.shuffle_seed", "data.label_draw", "objective.adversarial_y.prior.kind", "objective.adversarial_y.prior.values")


def test_a_study_that_was_begun_before_a_path_existed_goes_on_with_its_default_and_with_no_other_value(workplace):
    """Also a path of a block that is off by default, and on here. And a block that was off is not taken for one with defaults."""
    Path("s.yaml").write_text(SWEEP.format(num_trials=2, pruner=HALVING, baselines="{}"))
    sweep = load_sweep("s.yaml", {"objective.classification": None, "data.num_labels": 0, "study.metric": "val/cluster_error"})
    recorded = json.loads(json.dumps(sweep.fingerprint()))
    assert all(recorded["trial"].pop(path, None) in (None, "balanced", "uniform") for path in PATHS_OF_LATER)
    opening.refuse_changes(recorded, sweep, Path("runs/s"))
    other = sweep.fingerprint() | {"trial": sweep.fingerprint()["trial"] | {"data.label_draw": "random"}}
    with pytest.raises(ConfigError, match=r"trial\.data\.label_draw was balanced, is random"):
        opening.refuse_changes(recorded, SimpleNamespace(fingerprint=lambda: other), Path("runs/s"))
    on = load_sweep("s.yaml", {"study.metric": "val/error"})
    with pytest.raises(ConfigError, match=r"trial\.objective\.classification\.weight was None, is 1\.0"):
        opening.refuse_changes(
            recorded, SimpleNamespace(fingerprint=lambda: sweep.fingerprint() | {"trial": on.fingerprint()["trial"]}), Path("r")
        )


def test_a_renamed_run_is_refused_with_the_name_that_it_had(workplace):
    """Seen to advise study.name=other, which the user had just given."""
    Path("s.yaml").write_text(SWEEP.format(num_trials=2, pruner=HALVING, baselines="{}"))
    recorded = json.loads(json.dumps(load_sweep("s.yaml", {}).fingerprint()))
    name = recorded["study"]["name"]
    with pytest.raises(ConfigError, match=f"runs/other: it holds the study {name}, so it was renamed; call the folder {name} again"):
        opening.refuse_changes(recorded, load_sweep("s.yaml", {"study.name": "other"}), Path("runs/other"))


def test_the_run_folder_has_the_study_as_it_was_last_started(make_study, tmp_path):
    """Seen to keep the first num_trials, so that the page said that an extended sweep had ended."""
    for num, limit in ((4, None), (40, 0.5)):
        opening.write_sweep(tmp_path / "run", make_study(num_trials=num, max_minutes=limit).sweep)
        assert asked_trials(tmp_path / "run") == num
    assert load_sweep(tmp_path / "run" / "sweep.yaml", {}).study.max_minutes == 0.5
    (tmp_path / "run" / "sweep.yaml").write_text("study: {")
    assert asked_trials(tmp_path / "run") is None


def test_what_the_data_would_spoil_is_said_once_at_a_sweeps_start(workplace):
    Path("s.yaml").write_text(SWEEP.format(num_trials=2, pruner=HALVING, baselines="{}"))
    values = {"data.name": "npz", "data.folder": "tiny.npz", "data.num_validation": 5, "data.num_labels": 20}
    sweep = load_sweep("s.yaml", values | {"train.batch_size": 50, "train.labelled_batch_size": 20})
    console = Console(file=io.StringIO(), width=40)
    opening.check_start(sweep, console)
    line = (
        "warning: the 5 validation images hold no image of class 5, 6, 7, 8, 9: data.shuffle_seed=0 shuffles a file that is sorted by class"
    )
    assert console.file.getvalue().splitlines() == [line]


def test_a_copy_of_a_run_folder_leaves_the_original_s_driver_alone(tmp_path):
    """The lock of a running sweep names its Ray's session; the next start on the same folder ends a dead one, on a copy nothing."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    lock = DriverLock(original)
    lock.name_session("the session")
    shutil.copytree(original, copy)
    assert DriverLock(copy).predecessor.get("session") is None
    lock._stop.set()  # killed: the lock is free, the name tag stays
    lock._file.close()
    assert DriverLock(original).predecessor["session"] == "the session"


def test_a_reader_that_looks_at_the_lock_does_not_turn_a_driver_away(tmp_path):
    with open(tmp_path / ".lock", "a+") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)  # as `running` does, for a moment
        threading.Timer(0.2, lambda: fcntl.flock(reader, fcntl.LOCK_UN)).start()
        DriverLock(tmp_path).release()
    DriverLock(tmp_path)
    with pytest.raises(ConfigError, match="another driver runs this study"):
        DriverLock(tmp_path)


def test_baselines_in_another_order_are_another_sweep(tmp_path):
    """A trial's number says which baseline it is: in another order one would run twice and another never."""
    prints = []
    for baselines in ("{a: {model.z_dim: 7}, b: {model.z_dim: 8}}", "{b: {model.z_dim: 8}, a: {model.z_dim: 7}}"):
        file = tmp_path / "s.yaml"
        file.write_text(SWEEP.format(num_trials=4, pruner=HALVING, baselines=baselines))
        prints.append(load_sweep(file, {}).fingerprint())
    assert prints[0] != prints[1]


# ---- constraints

MISMATCH = {0: 0.5, 1: 0.05, 2: 0.1, 3: 0.9}  # of a trial's codes to their prior, at its last epoch


def play_mismatched(study: SweepStudy) -> None:
    """Trial n reconstructs worse the larger n, so the best reconstruction is that of trial 0."""
    while (handout := study.next()) is not None:
        for epoch in range(1, 7):
            values = {"val/reconstruction": 20.0 + handout.number, "val/prior_mismatch": MISMATCH[handout.number] + (6 - epoch)}
            study.report(handout.number, handout.attempt.write_row({"epoch": epoch} | values))
        study.tell(handout.number, TrialState.COMPLETE)


def test_a_trial_that_ends_above_the_constraint_is_behind_all_that_do_not(make_study):
    """Seen to fail with `constrain` left out of SweepStudy.tell: then trial 0 is the best."""
    constrained = {"metric": "val/reconstruction", "constraint": {"metric": "val/prior_mismatch", "upper": 0.2}}
    play_mismatched(make_study(4, "{kind: NopPruner}", **constrained))
    study = make_study(4, "{kind: NopPruner}", **constrained)  # as a later process reads the journal
    found = [trial.constraints["val/prior_mismatch"] for trial in study.trials()]
    assert found == pytest.approx([value - 0.2 for value in MISMATCH.values()])
    assert [trial.number for trial in ranked(study.trials(), study.run)] == [1, 2, 0, 3]
    assert study.study.best_trial.number == 1


def test_without_a_constraint_trials_have_none(make_study):
    play(make_study(), ERRORS)
    assert all(not trial.constraints for trial in make_study().trials())
