"""Before the first trial: what would fail is refused by name, what the study takes is foreseen. And budgets, which are kept."""

import contextlib
import dataclasses
import io
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from optuna.trial import TrialState
from rich.console import Console

from aae import losses, schedules
from aae import train as training
from aae.config import ConfigError
from aae.runs import GB, Attempt, trial_folder
from aae.tuning.driver import budget as tuning_budget
from aae.tuning.driver.budget import Budget, bytes_used
from aae.tuning.driver.console import SweepConsole
from aae.tuning.driver.forecast import ForecastFile, foresee, simulate
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from aae.tuning.workers.engine import WorkerSearch
from aae.tuning.workers.rehearsal import Cost, Failure, cases_of, precision_there, refuse_crowd, rehearse, try_out
from tests.sweeping import Quiet, assert_one_truth, count_rows, launch, launched, marked, row, trials_of, wait_for

SWEEP = """
study: {{name: s, folder: ., num_trials: {num_trials}, pruner: {pruner}}}
baselines: {baselines}
trial:
  data: {{name: npz, folder: tiny.npz, num_validation: 105, num_labels: 20}}
  model: {{hidden_dims: [8]}}
  objective: {{adversarial_y: {{}}, classification: {{}}}}
  train: {{epochs: 6, batch_size: 50, labelled_batch_size: 20, sample_every: 0}}
search_space:
  model.z_dim: {{kind: int, low: 2, high: 12}}
  optim.reconstruction.rate: {rate}
"""
RATE = "{kind: float, low: 0.001, high: 0.03, log: true}"
NOP, HALVING = "{kind: NopPruner}", "{kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}"


@pytest.fixture
def make_sweep(workplace):
    def make(num_trials=8, pruner=NOP, baselines="{}", rate=RATE, **overrides):
        Path("s.yaml").write_text(SWEEP.format(num_trials=num_trials, pruner=pruner, baselines=baselines, rate=rate))
        return load_sweep("s.yaml", overrides)

    return make


# ---- while it runs ----


@pytest.mark.parametrize(
    ("ages", "seconds"),
    [
        ([], 4 * 100 / 2),
        ([90.0, 40.0], (2 * 100 + 10 + 60) / 2),
        ([90.0, 40.0, 0.0, 500.0], 100.0),  # the youngest is the last to end, and one that is late ends at once
    ],
)
def test_the_time_left_counts_how_old_running_trials_are(make_sweep, workplace, monkeypatch, ages, seconds):
    """Fails where a running trial counts as one that has not begun: with one of two left, half a trial too much."""
    console = SweepConsole(SweepStudy(workplace, make_sweep(num_trials=4)), SimpleNamespace(slots=2), Console())
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert console.forecast() is None
    console.seconds, console.live_since = [80.0, 120.0], {number: 1000.0 - age for number, age in enumerate(ages)}
    assert console.forecast() == seconds
    console.place.slots = 0  # while no node is left that fits a trial; seen to fail with a division by it
    assert console.forecast() is None


# ---- the rehearsal ----


@pytest.mark.parametrize(("begins", "computed"), [(5, True), (1000, False)])
def test_a_rehearsal_takes_steps_with_the_consistency_term_wherever_it_begins_later(make_sweep, workplace, monkeypatch, begins, computed):
    """Fails where its epochs count from 0. A term that never begins costs nothing."""
    seen, perturb = [], losses.adversarial_perturbation
    monkeypatch.setattr(losses, "adversarial_perturbation", lambda *arguments: seen.append(0) or perturb(*arguments))
    assert isinstance(try_out(make_sweep(**{"objective.consistency": {"from_epoch": begins}}).config({}), str(workplace)), Cost)
    assert bool(seen) == computed


def test_in_a_rehearsal_the_decoder_is_hardly_faster_yet_as_in_a_training_s_first_steps(make_sweep, workplace, monkeypatch):
    """Seen to fail where its few steps are taken for a whole epoch: then the decoder has its speed in the last of them."""
    seen, real = [], schedules.decoder_speed
    monkeypatch.setattr(training, "decoder_speed", lambda *arguments: seen.append(real(*arguments)) or seen[-1])
    config = make_sweep(**{"optim.decoder_speed": 4.0, "train.batch_size": 2}).config({})
    assert isinstance(try_out(config, str(workplace)), Cost)
    assert seen[0] == 1 < seen[-1] < 1.5


def test_a_rehearsal_measures_what_an_epoch_takes_and_leaves_nothing(make_sweep, workplace):
    sweep = make_sweep(baselines="{plain: {train.ema_decay: null}}")
    cases = cases_of(sweep)
    assert [case.name for case in cases] == ["baseline plain", *(f"sampled example {number}" for number in (1, 2, 3))]
    before = sorted(os.listdir())
    for case in cases:
        cost = try_out(sweep.config(case.values), str(workplace))
        assert isinstance(cost, Cost), cost
        assert 0 < cost.epoch_s < 30 and cost.kept_bytes < cost.checkpoint_bytes
    assert sorted(os.listdir()) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_a_rehearsal_takes_of_a_gpu_is_its_own_whatever_the_process_tried_before(make_sweep, workplace):
    def used(**change) -> int:
        found = try_out(make_sweep(**change).config({}), str(workplace))
        assert isinstance(found, Cost), found
        return found.gpu_bytes

    alone = used()
    assert used(**{"model.hidden_dims": [2000, 2000]}) > 2 * alone and used() < 1.5 * alone


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optim.reconstruction.rate": 1e30}, "diverges at once"),
        ({"model.hidden_dims": [10**7, 10**7]}, "out of memory"),
        ({"data.folder": "gone.npz"}, "gone.npz"),
    ],
)
def test_a_rehearsal_says_what_fails(make_sweep, workplace, change, says):
    failure = try_out(make_sweep(**change).config({}), str(workplace))
    assert isinstance(failure, Failure) and says in failure.what and "\n" not in failure.what


def test_a_rehearsal_draws_a_set_of_pictures_and_says_once_what_breaks_there(make_sweep, workplace, monkeypatch):
    drawn = []

    def fails(path, *arguments):
        drawn.append(path.name)
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr("aae.pictures.latent_scatter", fails)
    sweep, before = make_sweep(**{"train.sample_every": 1}), sorted(os.listdir())
    answers = [try_out(sweep.config(case.values), str(workplace)) for case in cases_of(sweep)]
    assert drawn == ["epoch-0001-latent.png"] * 3 and sorted(os.listdir()) == before
    assert {answer.not_drawn for answer in answers} == {"RuntimeError: latex could not be found"}
    workers = SimpleNamespace(place=SimpleNamespace(resources={"cpu": 1}), gpu=False, ask=lambda *_: answers)
    console = Console(file=io.StringIO(), width=500)
    rehearse(sweep, workers, console)
    said = console.file.getvalue()
    assert said.count("warning:") == 1 and "pictures cannot be drawn (RuntimeError: latex could not be found)" in said
    assert isinstance(try_out(make_sweep(**{"train.sample_every": 0}).config({}), str(workplace)), Cost) and len(drawn) == 3


@pytest.mark.parametrize(("total", "lines"), [(0, 1), (24 * 10**9, 0)])
def test_workers_that_were_given_a_gpu_and_found_none_are_said(make_sweep, total, lines):
    """Seen to fail with no word: a worker's torch may be one without CUDA."""
    answers = [dataclasses.replace(cost(), gpu_total_bytes=total)] * len(cases_of(make_sweep()))
    workers = SimpleNamespace(place=SimpleNamespace(resources={"gpu": 0.5}), gpu=True, ask=lambda *_: answers)
    console = Console(file=io.StringIO(), width=500)
    rehearse(make_sweep(), workers, console)
    assert console.file.getvalue().count("warning: trials ask for a GPU, and torch finds none") == lines


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model.hidden_dims=[10000000, 10000000]"], ("model.hidden_dims: got [10000000, 10000000]", "runs out of memory")),
        (["optim.reconstruction.rate=1.0e+30"], ("optim.reconstruction.rate: got 1e+30", "diverges at once")),
    ],
)
def test_a_sweep_that_cannot_work_is_refused_by_the_path_and_leaves_nothing(make_sweep, workplace, arguments, says):
    """Seen to fail with `leave_nothing` left out: then the folder stays."""
    make_sweep()
    done = launch("s.yaml", "study.max_concurrent=1", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert all(text in done.stderr for text in says) and done.stderr.count("\n") == 1
    assert not Path("s").exists()


@pytest.mark.parametrize(
    ("answers", "precision"),
    [
        (["bfloat16", "bfloat16"], "bfloat16"),
        (["bfloat16", "float32"], "float32"),
        ([RuntimeError("the worker died"), "bfloat16"], "bfloat16"),
    ],
)
def test_the_precision_is_one_that_every_worker_that_was_asked_has(make_sweep, answers, precision):
    workers = SimpleNamespace(place=SimpleNamespace(slots=2), gpu=False, ask=lambda function, arguments, names: answers[: len(names)])
    assert precision_there(make_sweep(**{"train.precision": "auto"}), workers) == precision
    assert precision_there(make_sweep(**{"train.precision": "float32"}), None) == "float32"  # nobody is asked


def test_where_no_worker_can_say_its_precision_the_sweep_is_refused_with_the_reason(make_sweep):
    workers = SimpleNamespace(place=SimpleNamespace(slots=1), gpu=False, ask=lambda *_: [RuntimeError("the worker died")])
    with pytest.raises(RuntimeError, match=r"train\.precision: got auto; .* failed: the worker died"):
        precision_there(make_sweep(**{"train.precision": "auto"}), workers)


# ---- the forecast ----


def cost(epoch_s=2.0, start_s=0.0) -> Cost:
    return Cost(epoch_s, start_s, checkpoint_bytes=80 * 10**6, kept_bytes=14 * 10**6, gpu_bytes=0)


def test_without_a_pruner_the_simulation_is_arithmetic(make_sweep):
    """8 trials of 6 epochs of 2 s in 3 slots, 1 s to start each: three rounds."""
    assert simulate(make_sweep(), 8, 3, dict.fromkeys(range(8), 2.0), 1.0) == (48, 104.0, 39.0)


def test_the_pruner_s_verdicts_are_in_the_forecast_and_a_baseline_is_not_pruned(make_sweep):
    """Halving at epochs 1, 2 and 4 over equal chances: 6 epochs for an eighth of them, 4 for another eighth, 2 for a quarter, 1 for half:
    2.25, and more as it promotes early. The records' quick sweep: 16 trials took 48 epochs, 3 a trial."""
    epochs, _, _ = simulate(make_sweep(pruner=HALVING), 60, 2, dict.fromkeys(range(60), 1.0), 0.0)
    assert 60 * 2.0 < epochs < 60 * 3.2
    with_baseline, _, _ = simulate(make_sweep(pruner=HALVING, baselines="{plain: {train.ema_decay: null}}"), 1, 2, {0: 1.0}, 0.0)
    assert with_baseline == 6


def test_a_study_of_many_trials_takes_as_much_more(make_sweep):
    small, large = (foresee(make_sweep(num_trials=number), {"sampled example 1": cost()}, {"cpu": 1}, 2, 0.0) for number in (40, 400))
    assert large.slot_s == pytest.approx(10 * small.slot_s) and large.wall_s == pytest.approx(10 * small.wall_s)
    assert large.epochs == 2400 and large.disk_bytes == pytest.approx(400 * 14e6, rel=0.05)
    assert large.peak_bytes > large.disk_bytes
    assert "core-hours" in str(large) and "GPU-hours" in str(foresee(make_sweep(), {"sampled example 1": cost()}, {"gpu": 0.25}, 4, 0.0))


def test_the_forecast_s_error_is_kept_over_invocations(make_sweep, tmp_path):
    """The first invocation is killed: what it had written is all that is known of it."""
    study = SweepStudy(tmp_path, make_sweep(num_trials=1))
    started = time.monotonic() - 30
    first = foresee(study.sweep, {"sampled example 1": cost()}, {"cpu": 1}, 1, 0.0)
    assert first.wall_s == 12
    ForecastFile(tmp_path, started, first)
    record = ForecastFile(tmp_path, started, None)
    assert record.close(study.trials()) == []
    handout = study.next()
    for epoch in range(1, 7):
        study.report(0, handout.attempt.write_row(row(epoch, 0.5) | {"time/epoch_s": 2.4}))
    study.tell(0, TrialState.COMPLETE)
    (said,) = record.close(study.trials())
    content = json.loads((tmp_path / "forecast.json").read_text())
    assert content["error"]["wall_s"] == pytest.approx(12 / 60 - 1, abs=0.01) and content["error"]["slot_s"] == pytest.approx(
        -1 / 6, abs=0.01
    )
    assert (
        "2 invocations" in said and "-80 % of the wall time" in said and "-17 % of the slot time" in said and "+0 % of the epochs" in said
    )
    assert ForecastFile(tmp_path, started, None).content["error"] == content["error"]


# ---- budgets ----


@pytest.fixture
def told(make_sweep, tmp_path):
    """A study with 8 told trials and an unfinished one; trial n has the error 0.1 n and a checkpoint of 1 MB. 2 and 5 are pruned."""
    study = SweepStudy(tmp_path / "run", make_sweep(num_trials=9)) if (tmp_path / "run").mkdir() is None else None
    for number in range(9):
        handout = study.next()
        handout.attempt.checkpoint_path.write_bytes(os.urandom(10**6))
        study.report(number, handout.attempt.write_row(row(1, 0.1 * number)))
        if number < 8:
            study.tell(number, TrialState.PRUNED if number in (2, 5) else TrialState.COMPLETE)
    return study


def left(study: SweepStudy) -> list[int]:
    return [number for number in range(9) if Attempt(trial_folder(study.run, number).path / "attempt-0").checkpoint_path.exists()]


def test_losers_give_their_checkpoints_the_worst_first_and_never_the_best_or_what_runs(told):
    """Seen to fail with `kept` empty, and with the order of `ranked` turned round."""
    whole = bytes_used(told.run) / GB + 1e-6
    made = Budget(dataclasses.replace(told.sweep.study, max_disk_gb=whole), told.run, told.trials)
    for gigabytes, remain in (
        (whole, set(range(9))),
        (whole - 0.0005, {0, 1, 3, 4, 5, 6, 7, 8}),
        (whole - 0.0025, {0, 1, 3, 4, 6, 8}),
    ):
        made.gigabytes, made._next_look = gigabytes, 0.0
        assert made.spent() is None and set(left(told)) == remain
    made.gigabytes, made._next_look = 0.001, 0.0
    assert "study.max_disk_gb=0.001 is used up" in made.spent()
    assert left(told) == [0, 1, 3, 4, 6, 8]  # the best five, and the one that has not ended
    confirm = {"select_k": 0, "report_draws": 2}
    asked = Budget(dataclasses.replace(told.sweep.study, max_disk_gb=0.001, confirm=confirm), told.run, told.trials)
    assert "is used up" in asked.spent() and len(left(told)) == 2  # of no candidate: the best stays all the same


def test_a_checkpoint_that_goes_while_the_budget_looks_at_it_ends_no_sweep(told, monkeypatch):
    """Tune's thread removes the others of a trial that it tells. Seen to fail without the `except`: FileNotFoundError."""
    made = Budget(dataclasses.replace(told.sweep.study, max_disk_gb=bytes_used(told.run) / GB - 0.0005), told.run, told.trials)

    def listed_and_gone(run: Path, number: int) -> SimpleNamespace:
        found = list(trial_folder(run, number).path.glob("attempt-*/checkpoint*.pt"))
        if number == 2:  # the first that the budget would take
            found[0].unlink()
        return SimpleNamespace(path=SimpleNamespace(glob=lambda pattern: found))

    monkeypatch.setattr(tuning_budget, "trial_folder", listed_and_gone)
    assert made.spent() is None
    assert made.removed == 1 and left(told) == [0, 1, 3, 4, 6, 7, 8]


def test_a_file_with_two_names_takes_its_place_once(tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(10**6))
    once = bytes_used(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert bytes_used(tmp_path) == once >= 10**6


def test_a_file_that_goes_while_a_folder_is_measured_hides_no_other(tmp_path, monkeypatch):
    """Seen to fail where the whole folder is given up: then less is counted, and the next look takes the rest for growth."""
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(os.urandom(10**5))
    listed = os.scandir

    @contextlib.contextmanager
    def listed_and_gone(folder):
        with listed(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
            (tmp_path / "a").unlink()
            yield found

    monkeypatch.setattr(tuning_budget.os, "scandir", listed_and_gone)
    assert bytes_used(tmp_path) >= 2 * 10**5


def test_a_budget_of_minutes_counts_from_its_start(make_sweep, tmp_path, monkeypatch):
    made = Budget(make_sweep(**{"study.max_minutes": 2}).study, tmp_path, list)
    assert made.spent() is None
    monkeypatch.setattr(tuning_budget.time, "monotonic", lambda: made.started + 120.1)
    assert "study.max_minutes=2 is used up" in made.spent()


def test_an_attempt_that_a_budget_ends_is_no_failure_and_goes_on_where_it_was(make_sweep, tmp_path):
    """Seen to fail without the first lines of HandOuts._end: then it is handed out again, and at the third time told FAIL."""
    stopping = threading.Event()
    search, sweep = WorkerSearch("val/error", SimpleNamespace(slots=1), stopping), make_sweep(num_trials=1)
    search.begin(SweepStudy(tmp_path, sweep), Quiet())
    search.suggest("ray-0")
    search.take_result("ray-0", search.trials.live["ray-0"].attempt.write_row(row(1, 0.5)))
    stopping.set()
    search.on_trial_complete("ray-0", error=True)
    assert search.suggest("ray-1") == "FINISHED" and search.trials.observer.lost_causes == []
    study = SweepStudy(tmp_path, sweep)
    assert study.reconcile()["going on"] == 1 and study.next().first_epoch == 1


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.data
def test_a_budget_of_minutes_ends_running_epochs_and_the_same_command_goes_on(tmp_path):
    """It does not wait for a report: no epoch of half a minute has ended. How far past the budget it ends, benchmarks.budgets
    measures: a busy machine decides that. Trained again, each trial comes out as it would have."""
    (tmp_path / "s.yaml").write_text(
        SWEEP.format(num_trials=2, pruner=NOP, baselines="{}", rate=RATE).replace(
            "name: npz, folder: tiny.npz, num_validation: 105", "name: mnist"
        )
    )
    command = [str(tmp_path / "s.yaml"), f"study.folder={tmp_path}", "train.epochs=1", "train.batch_size=2", "data.num_labels=100"]
    with launched(str(tmp_path), *command, "study.max_minutes=0.6") as driver:
        output = driver.communicate(timeout=120)[0]
    assert driver.returncode == 0, output
    assert "study.max_minutes=0.6 is used up" in output and "Traceback" not in output and "ERROR" not in output
    (seconds,) = json.loads((tmp_path / "s" / "forecast.json").read_text())["invocations"]
    assert seconds >= 36 and count_rows(tmp_path / "s") == 0
    wait_for(lambda: not marked(str(tmp_path)), 30, "no process is left")
    assert "2 interrupted, 0 not asked yet; the same command goes on" in output
    assert not any(trial.state.is_finished() for trial in trials_of(tmp_path / "s"))
    done = launch(*command)
    assert done.returncode == 0 and "reconciled: 0 told, 0 ended, 2 going on" in done.stdout, done.stdout + done.stderr
    assert_one_truth(tmp_path / "s", 2)
    assert "it took " in done.stdout and " in 2 invocations; the forecast was off by" in done.stdout


@pytest.mark.parametrize(
    ("share", "want"), [(0.25, "4 trials of 7.00 GB each do not fit a GPU of 24.0 GB: give at least 0.3"), (0.3, None), (1, None)]
)
def test_a_share_of_a_gpu_that_holds_too_many_trials_is_refused_with_one_that_would_do(share, want):
    costs = [dataclasses.replace(cost(), gpu_bytes=7 * 10**9, gpu_total_bytes=24 * 10**9)]
    if want is None:
        refuse_crowd(costs, share)
    else:
        with pytest.raises(ConfigError, match=want):
            refuse_crowd(costs, share)
