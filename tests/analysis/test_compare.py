"""Runs side by side: what differs, what came out with its interval, and a page that needs nothing else."""

import math
import re
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from aae.intervals import t_interval
from aae.runs import read_json, write_json
from analysis import compare, comparison
from analysis.comparison import best_after, compare_runs, estimate, progress_of, side_of
from analysis.trials import Run, TrialRecord, read_run
from tests.sweeping import PROJECT

RECORD = PROJECT / "records" / "confirm-small"  # 24 trials, confirmed on 10 draws


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    return Path(shutil.copytree(RECORD, tmp_path / "first")), Path(shutil.copytree(RECORD, tmp_path / "second"))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_copies_of_a_run_differ_in_nothing(two):
    found = compare_runs(two)
    assert (found.asked, found.made) == ([], [])
    assert found.sides[0].best == found.sides[1].best and found.sides[0].progress == found.sides[1].progress
    ((_, gap),) = found.pairs
    assert (gap.value, gap.low, gap.high, gap.num) == (0, 0, 0, 10)


def test_what_was_asked_or_made_otherwise_is_named_by_its_path_and_nothing_else_is(two):
    change(two[1] / "sweep.yaml", "batch_size: 500", "batch_size: 250")
    change(two[1] / "sweep.yaml", "num_trials: 24", "num_trials: 30")
    made = read_json(two[1] / "manifest.json")
    write_json(two[1] / "manifest.json", made | {"device": "another"})
    found = compare_runs(two)
    assert [(row.path, row.values) for row in found.asked] == [("study.num_trials", [24, 30]), ("trial.train.batch_size", [500, 250])]
    assert [row.path for row in found.made] == ["device"]


def confirm_otherwise(run: Path, shift: float, **changes: object) -> list[float]:
    """The winner's errors moved by `shift`, a little more on some draws."""
    path = run / "confirm" / "report.json"
    report = read_json(path)
    moved = [value + shift + 0.001 * (index % 3) for index, value in enumerate(report["winner"]["test/error"])]
    write_json(path, report | {"winner": report["winner"] | {"test/error": moved}} | changes)
    return moved


def test_winners_are_compared_on_the_draws_that_both_have_pair_by_pair(two):
    """Its interval is narrower than either winner's own, for a draw's labels are in both."""
    ours, draws = read_json(two[0] / "confirm" / "report.json")["winner"]["test/error"], list(range(202, 212))
    theirs = confirm_otherwise(two[1], 0.02, draws=draws)
    found = compare_runs(two)
    ((label, gap),) = found.pairs
    gaps = [second - first for first, second in zip(ours[2:], theirs[:8], strict=True)]  # draws 202 to 209
    assert label == "second" and gap.num == 8 and gap.value == pytest.approx(np.mean(gaps))
    assert (gap.low, gap.high) == pytest.approx(t_interval(gaps))
    shown = re.fullmatch(r"([+-]\d\.\d\d) points \(([+-]\d\.\d\d) \.\. ([+-]\d\.\d\d), n = 8 draws\)", str(gap))
    assert [float(end) for end in shown.groups()] == pytest.approx([100 * gap.value, 100 * gap.low, 100 * gap.high], abs=0.005)
    assert (found.sides[1].winner.low, found.sides[1].winner.high) == pytest.approx(t_interval(theirs))


@pytest.mark.parametrize("what", ["data", "labels", "metric", "draw"])
def test_winners_of_other_data_labels_or_metric_are_no_pair(what, two):
    made = read_json(two[1] / "manifest.json")
    if what == "data":
        write_json(two[1] / "manifest.json", made | {"data": {"other.npz": "0" * 64}})
    elif what == "draw":  # a seed draws other labels there
        trial = made["sweep"]["trial"] | {"data.label_draw": "random"}
        write_json(two[1] / "manifest.json", made | {"sweep": made["sweep"] | {"trial": trial}})
    else:
        report = read_json(two[1] / "confirm" / "report.json")
        changes = {"num_labels": 1000} if what == "labels" else {"metric": "test/cluster_error"}
        confirm_otherwise(two[1], 0.0, **changes, winner=report["winner"] | {"test/cluster_error": [0.1] * 10}, baseline=None)
    assert compare_runs(two).pairs == []


def test_one_draw_has_no_interval_and_several_have():
    assert str(estimate("val/error", "trial 1", [0.0858])) == "8.58 % (1 draw, no interval)"
    assert str(estimate("val/error", "trial 1", [0.08, 0.09, 0.10])) == "9.00 % (6.52 .. 11.48, n = 3 draws)"


def trial(number: int, ended_after: int | None, seconds: float, value: float | None, state: str = "COMPLETE") -> TrialRecord:
    ended = None if ended_after is None else datetime(2026, 1, 1) + timedelta(seconds=ended_after)
    return TrialRecord(number, state, value, 0.0, 1, seconds, None, None, {}, {}, {}, [], None, (0,), ended)


def test_progress_is_over_the_slot_time_of_all_that_had_ended_pruned_ones_too():
    """Trial 0 ended last; a running one is not in it; a pruned one costs and is no best."""
    trials = [trial(0, 60, 50, 0.1), trial(1, 20, 20, 0.3), trial(2, 30, 5, 0.05, "PRUNED"), trial(3, 40, 10, 0.4), trial(4, None, 7, None)]
    assert progress_of(Run(Path("x"), "x", "val/error", {}, trials)) == ([20, 85], [0.3, 0.1])


def test_a_trial_that_breaks_the_constraint_is_no_best_so_far():
    """Seen to fail where the value alone counts."""
    trials = [trial(0, 10, 10, 0.3), replace(trial(1, 20, 10, 0.1), excess=0.5), trial(2, 30, 10, 0.2)]
    assert progress_of(Run(Path("x"), "x", "val/error", {}, trials)) == ([10, 30], [0.3, 0.2])


def test_the_slot_time_of_a_run_is_that_after_its_last_trial_to_the_bit(monkeypatch):
    """As of Python 3.12 `sum` rounds otherwise than `+=`: seen to leave out a best trial that ended last."""
    monkeypatch.setattr(comparison, "sum", math.fsum, raising=False)
    assert math.fsum([0.1, 0.2, 0.3]) < 0.1 + 0.2 + 0.3
    run = Run(Path("x"), "x", "val/error", {}, [trial(number, number, (number + 1) / 10, 0.5 - 0.1 * number) for number in range(3)])
    vars(run).update(confirmed=None, choice={})
    side = side_of(run, "x")
    assert best_after(side, side.slot_s) == 0.3


def test_a_best_that_breaks_the_constraint_is_said_to():
    run = Run(Path("x"), "x", "val/error", {}, [replace(trial(0, 10, 10, 0.2), excess=0.5)])
    vars(run).update(confirmed=None, choice={})
    assert compare.text_of(side_of(run, "x").best) == "trial 0, breaks the constraint: 20.00 % (1 draw, no interval)"


def test_after_so_much_slot_time_the_last_best_that_it_had_found_counts(two):
    """Seen to fail with the first best, and with the slot time of the longest run: a run's whole search against a part of another's."""
    found = compare_runs(two)
    progress = ([10.0, 20.0, 30.0], [0.3, 0.2, 0.1])
    short, long = (replace(side, progress=progress, slot_s=slot_s) for side, slot_s in zip(found.sides, (25.0, 90.0), strict=True))
    assert [best_after(long, seconds) for seconds in (5, 10, 25, 30, 90)] == [None, 0.3, 0.2, 0.1, 0.1]
    rows = dict(compare.value_rows(replace(found, sides=[short, long])))
    assert rows["lowest after 25 s of slot time"] == ["20.00 %", "20.00 %"]


def test_the_best_trials_curve_ends_with_the_epoch_of_its_value_and_its_draws_give_its_interval():
    """A worker may write a row that the study was not told. Seen to fail with that row in the curve, and with the mean as one draw."""
    rows = [{"epoch": n, "val/error": 0.1 * n, "val/error_draws": [0.1 * n - 0.01, 0.1 * n, 0.1 * n + 0.01]} for n in (1, 2, 3)]
    run = Run(Path("x"), "x", "val/error", {}, [replace(trial(0, 10, 10, 0.2), epochs=2, rows=rows)])
    vars(run).update(confirmed=None, choice={})
    side = side_of(run, "x")
    assert side.curve == ([1, 2], [0.1, 0.2])
    assert side.best.num == 3 and (side.best.low, side.best.high) == pytest.approx(t_interval([0.19, 0.2, 0.21]))


def test_a_run_without_a_complete_trial_stands_beside_another(two, capsys):
    (two[1] / "study.journal").write_text("")
    assert compare.main([str(two[0]), str(two[1])]) == 0
    assert "Not confirmed" not in capsys.readouterr().out  # its report.json is there
    side = compare_runs(two).sides[1]
    assert side.best is None and side.progress == ([], []) and side.curve == ([], [])


def test_the_page_is_one_file_that_loads_nothing_and_a_name_does_it_no_harm(two, tmp_path, capsys):
    """Seen to fail without the `escape` of the labels."""
    hostile = two[1].rename(tmp_path / "$x <script>alert(1)<")
    assert compare.main([str(two[0]), str(hostile)]) == 0
    (page,) = (two[0] / "report").glob("compare-*.html")
    text = page.read_text(encoding="utf-8")
    assert str(page) in capsys.readouterr().out
    assert "<script" not in text and "http://" not in text and "https://" not in text and "default-src 'none'" in text
    assert text.count("data:image/png;base64,") == len(compare.FIGURES) and len(text) < 500_000


@pytest.mark.parametrize("width", ["80", "200"])
def test_the_tables_name_what_was_compared_at_any_width(width, two, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", width)
    change(two[1] / "sweep.yaml", "batch_size: 500", "batch_size: 250")
    confirm_otherwise(two[1], 0.02)
    assert compare.main([str(two[0]), str(two[1]), "--output", str(two[0] / "page.html")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.split("note:")[0].splitlines())) <= int(width)
    for text in ("trial.train.batch_size", "500", "250", "18.38 %", "n = 10", "same draws", "first 17, second 17"):
        assert text in " ".join(said.split()), text


@pytest.mark.parametrize(("arguments", "says"), [(["RUN"], "give two runs or more"), (["RUN", "none"], "none: no such folder")])
def test_what_cannot_be_compared_is_refused_in_a_line(arguments, says, capsys):
    try:
        code = compare.main([str(RECORD) if argument == "RUN" else argument for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    said = capsys.readouterr().err
    assert code == 2 and says in said and "Traceback" not in said


def test_frames_have_the_columns_of_trials_csv_and_every_epoch(tmp_path):
    pandas = pytest.importorskip("pandas")
    import analysis
    from analysis.report import trials_csv

    run = analysis.read_run(str(RECORD))
    (tmp_path / "trials.csv").write_text(trials_csv(run))
    frame, csv = run.frame(), pandas.read_csv(tmp_path / "trials.csv", index_col="number")
    assert list(frame.columns) == list(csv.columns) and list(frame["val/error"]) == pytest.approx(list(csv["val/error"]))
    assert frame.loc[run.best.number, "val/error"] == run.best.value
    epochs = run.epochs()
    assert len(epochs) == sum(len(trial.rows) for trial in run.trials)
    last = read_run(RECORD).best.rows[-1]
    assert epochs.loc[(run.best.number, last["epoch"]), "val/error"] == last["val/error"]


@pytest.mark.parametrize("text", ["study: {}\nsearch_space:\n  model.z_dim\n", "- a\n"])
def test_a_sweep_file_of_which_only_a_part_is_left_is_refused(two, text, capsys):
    """Seen to fail with an AttributeError and a TypeError."""
    (two[1] / "sweep.yaml").write_text(text)
    assert compare.main([str(run) for run in two]) == 2
    error = capsys.readouterr().err
    assert "sweep.yaml: " in error and "restore it from a copy" in error and error.count("\n") == 1
