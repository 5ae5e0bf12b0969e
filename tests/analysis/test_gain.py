"""The price of the next hour and the rungs that counted, in the words of the report."""

from pathlib import Path

import pytest

from aae.runs import CHOICE, FORECAST, TrialFolder, write_json
from analysis.gain import gain_lines, time_text
from analysis.page import HEADINGS, plots
from analysis.plots import rungs_data
from analysis.rungs import Rung, rung_lines, rungs_caption, rungs_of
from analysis.trials import Run, TrialRecord

GAIN = {
    "why": None,
    "after": {"10": {"expected": 0.0011, "low": 0.0, "high": 0.003}, "20": {"expected": 0.002, "low": -0.0004, "high": 0.005}},
}
RUNGS = {
    "trials": 23,
    "least_trials": 20,
    "least_correlation": 0.6,
    "correlation": {"1": 0.19, "3": 0.57, "9": 0.9},
    "stops": {"1": 8, "9": 3},
    "stops_left_out": {"1": 4},
}


def run_of(folder: Path, choice: dict | None, metric: str = "val/error") -> Run:
    """Four told trials of 270 s each, two at a time."""
    if choice is not None:
        write_json(folder / CHOICE, {"trials": {}} | choice)
    write_json(folder / FORECAST, {"first": {"slots": 2}, "invocations": []})
    rows = [{"epoch": 1, metric: 0.2}]
    trials = [
        TrialRecord(
            number=number,
            state="COMPLETE",
            value=0.2,
            excess=0.0,
            epochs=1,
            seconds=270.0,
            reason=None,
            baseline=None,
            params={"model.z_dim": 2},
            distributions={},
            config={},
            rows=rows,
            folder=TrialFolder("."),
            expected={},
        )
        for number in range(4)
    ]
    return Run(folder, "s", metric, {"sweep": {"study": {}}}, trials)


def test_the_next_trials_have_a_price_and_a_gain(tmp_path):
    assert gain_lines(run_of(tmp_path, {"gain": GAIN})) == [
        "20 more trials, about 45 min: expected gain 0.20 points (-0.04 to 0.50, 80 %)."
    ]


def test_a_search_that_ended_early_says_by_what_and_how_it_goes_on(tmp_path):
    ended = {"below": 0.002, "expected": 0.0011, "trials": 34}
    assert gain_lines(run_of(tmp_path, {"gain": GAIN, "ended": ended}))[1] == (
        "The search ended after 34 trials: the next ten promised 0.11 points, less than study.stop_below_gain=0.002. Another value goes on."
    )


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        (None, []),
        ({}, []),
        (
            {"gain": {"why": "the search is random", "after": {}}},
            ["What more trials would gain is not known: the search is random."],
        ),
    ],
)
def test_what_is_not_known_is_said_and_an_older_folder_is_silent(tmp_path, choice, says):
    assert gain_lines(run_of(tmp_path, choice)) == says
    assert rung_lines(run_of(tmp_path, choice)) == [] and rungs_of(run_of(tmp_path, choice)) == []


def test_other_metrics_have_their_own_unit(tmp_path):
    assert "expected gain 0.002" in gain_lines(run_of(tmp_path, {"gain": GAIN}, "val/parzen_nll"))[0]


def test_the_rungs_that_counted_and_those_that_did_not_are_named_with_their_correlation(tmp_path):
    run = run_of(tmp_path, {"rungs": RUNGS})
    assert rungs_of(run) == [Rung(1, 0.19, False, 8, 4), Rung(3, 0.57, False, 0, 0), Rung(9, 0.9, True, 3, 0)]
    (line,) = rung_lines(run)
    assert "of 23 whole trials; below 0.6 the pruner stops nobody" in line
    assert line.endswith("epoch 1: 0.19 (8 stopped, 4 let go on); epoch 9: 0.90 (3 stopped).")


def test_the_plot_of_the_rungs_has_what_the_driver_recorded(tmp_path):
    run = run_of(tmp_path, {"rungs": RUNGS})
    drawn = rungs_data(run)
    assert drawn is not None and drawn["least"] == 0.6 and [one["epoch"] for one in drawn["rungs"]] == [1, 3, 9]
    assert drawn["rungs"][0] == {"epoch": 1, "correlation": 0.19, "counts": False, "stopped": 8, "left_out": 4}
    (shown,) = [plot for plot in plots(run, {}) if plot["name"] == "rungs"]
    assert shown["heading"] == HEADINGS["rungs"] and shown["scripted"] and "over the 23 searched trials" in shown["caption"]


def test_a_pruner_without_rungs_has_the_plot_without_a_limit(tmp_path):
    run = run_of(tmp_path, {"rungs": RUNGS | {"least_correlation": None, "stops_left_out": {}}})
    drawn, caption = rungs_data(run), rungs_caption(run)
    assert drawn is not None and drawn["least"] is None and all(one["counts"] for one in drawn["rungs"])
    assert caption is not None and caption.endswith("Circles: epochs at which trials were stopped.") and rung_lines(run) == []


@pytest.mark.parametrize("choice", [None, {}, {"rungs": None}, {"rungs": RUNGS | {"trials": 5, "correlation": {}}}])
def test_where_no_correlation_is_known_there_is_no_such_plot(choice, tmp_path):
    run = run_of(tmp_path, choice)
    assert rungs_data(run) is None and rungs_caption(run) is None and "rungs" not in [plot["name"] for plot in plots(run, {})]


def test_before_there_are_enough_whole_trials_the_rungs_are_said_to_be_the_file_s(tmp_path):
    few = RUNGS | {"trials": 5, "correlation": {}}
    assert rung_lines(run_of(tmp_path, {"rungs": few})) == [
        "The rungs are the file's: 5 searched trials ran all of their epochs, and 20 are needed to judge an epoch."
    ]


def test_times_read_as_people_say_them():
    assert [time_text(seconds) for seconds in (5, 89, 2700, 5400, 36000)] == ["5 s", "89 s", "45 min", "1.5 h", "10.0 h"]
