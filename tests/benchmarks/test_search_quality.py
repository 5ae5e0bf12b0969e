"""The three searchers behind their one face, and what is recorded of their replays."""

import json

import numpy as np
import pytest

from aae.tuning.replay.search import SweepSearch, play
from aae.tuning.replay.surrogate import GaussianProcess, matern
from aae.tuning.study.parents import load_sweep
from benchmarks import search_quality
from benchmarks.posterior_draw import PosteriorDraw
from benchmarks.quadratic import Quadratic
from benchmarks.searchers import Opponent, Plain, Random

SWEEP = load_sweep(search_quality.SWEEP, {})


@pytest.mark.parametrize("make", [SweepSearch, Plain, Random])
def test_every_searcher_chooses_the_best_that_it_saw(make):
    """The error is the distance of z_dim from 9, and the same at every epoch. Ours counts whole trainings alone."""
    sweep, seen = search_quality.our_sweep(("study.pruner={kind: NopPruner}",)), []
    searcher = make(sweep, 3)

    def train(values):
        seen.append(distance(values))
        return np.full(sweep.epochs, seen[-1]), np.ones(sweep.epochs)

    (chosen,) = play(searcher, train, 1, [7.5 * sweep.epochs])
    searcher.close()
    assert distance(chosen) == min(seen[:-1] if make is SweepSearch else seen) and set(chosen) == set(SWEEP.space.entries)
    assert len(seen) == 8 or make is Plain  # seven whole ones, and the one that the budget cut


def distance(values):
    return 0.1 + abs(values["model.z_dim"] - 9) / 10


def test_ours_keeps_nothing_on_disk_and_repeats_itself_to_the_bit():
    def once():
        searcher = SweepSearch(search_quality.our_sweep(), 5)
        (chosen,) = play(searcher, lambda values: (np.full(9, values["train.input_noise_std"] + 0.1), np.ones(9)), 2, [40.0])
        searcher.close()
        assert not searcher.folder.exists()
        return chosen

    assert once() == once() is not None


def test_plain_asha_stops_the_worse_of_two_at_the_first_rung_and_tells_optuna_that_it_is_complete():
    searcher = Plain(SWEEP, 0)
    (good, _), (bad, _) = searcher.ask(), searcher.ask()
    assert not searcher.report(good, 1, 0.2)
    assert searcher.report(bad, 1, 0.8)
    told = {trial.number: trial for trial in searcher.search._ot_study.trials}
    assert told[1].state.name == "COMPLETE" and told[1].value == 0.8 and told[0].state.name == "RUNNING"
    assert searcher.best() == searcher.values[good]


def test_an_opponent_with_our_choice_is_misled_by_luck_less_often():
    """The error rises with one parameter, and a lucky trial is lower than the best one."""
    lucky, expected, random = Random(SWEEP, 0), Random(SWEEP, 0, our_choice=True), np.random.default_rng(1)
    for _ in range(40):
        noise = 0.1 * random.standard_normal()
        for searcher in (lucky, expected):
            key, values = searcher.ask()
            error = 0.3 + values["train.input_noise_std"] + noise
            assert [searcher.report(key, epoch, error) for epoch in range(1, 10)] == [False] * 8 + [True]
    assert expected.best()["train.input_noise_std"] < lucky.best()["train.input_noise_std"]
    assert Random(SWEEP, 0, our_choice=True).best() is None


def test_ours_is_the_sampler_and_the_pruner_of_semi():
    study = search_quality.our_sweep().study
    assert study.sampler == {"kind": "auto", "seed": 0} and study.pruner == {"kind": "auto"}
    assert search_quality.our_sweep(("study.sampler={kind: RandomSampler}",)).study.sampler == {"kind": "RandomSampler"}


def test_a_quadratic_is_found_again_with_its_noise():
    random = np.random.default_rng(0)
    x_TD = random.random((400, 2))
    y_T = 3 + x_TD[:, 0] - 2 * x_TD[:, 0] * x_TD[:, 1] + 0.1 * random.standard_normal(400)
    found = Quadratic(x_TD, y_T, np.array([False, False]))
    assert found.noise_std == pytest.approx(0.1, rel=0.1)
    assert found(np.array([[0.5, 0.5], [1.0, 1.0]])) == pytest.approx([3.0, 2.0], abs=0.05)


def test_draws_of_a_posterior_have_its_mean_and_spread_where_nothing_was_recorded():
    random = np.random.default_rng(0)
    x_TD = random.random((60, 2)) * [1, 0.5]
    y_T = 3 + np.sin(5 * x_TD[:, 0]) + x_TD[:, 1] + 0.05 * random.standard_normal(60)
    process = GaussianProcess(x_TD, y_T, np.array([False, False]))
    near_far_ND = np.array([[0.5, 0.25], [0.5, 1.0]])
    draws = np.array([PosteriorDraw(process, random)(near_far_ND) for _ in range(200)])
    known_NT = process.signal * matern(near_far_ND, x_TD, process.length_D, process.is_choice_D)
    kernel_TT = process.signal * matern(x_TD, x_TD, process.length_D, process.is_choice_D)
    noise_TT = (process.noise_std / process.scale) ** 2 * np.eye(60)
    variance_N = process.signal - (known_NT * np.linalg.solve(kernel_TT + noise_TT, known_NT.T).T).sum(axis=1)
    std_N = process.scale * np.sqrt(variance_N)
    assert np.abs(draws.mean(axis=0) - process(near_far_ND)) == pytest.approx([0, 0], abs=4 * std_N.max() / np.sqrt(200))
    assert draws.std(axis=0) == pytest.approx(std_N, rel=0.2) and std_N[1] > 5 * std_N[0]


def test_a_posterior_draw_is_another_in_each_replay_and_the_same_for_a_seed():
    x_ND = np.full((1, 6), 0.5)
    one, again, other = (search_quality.task_of(seed, search_quality.DRAW, 1.0).curves(x_ND) for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()


def test_the_bootstrap_is_wider_where_replays_of_one_surrogate_are_alike():
    alike, apart = np.repeat([1.0, 0.0] * 4, 25).reshape(8, 25), np.tile([1.0, 0.0], 100).reshape(8, 25)
    (mean, *wide), (_, *narrow) = search_quality.with_interval(alike), search_quality.with_interval(apart)
    assert np.diff(wide) > 2 * np.diff(narrow) and narrow[0] < mean == 0.5 < narrow[1]


def test_shares_count_a_tie_as_half():
    score_SRB = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.2, 0.5], [0.1] * 4, [0.3] * 4, [1.0] * 4])[:, :, None]
    (row,) = search_quality.summary(score_SRB, np.array([0.25, 0.25, 0.4, 0.4]), [30])
    assert list(row["worse_than_baseline"].values()) == [0.0, 0.25, 0.0, 0.5, 1.0]
    assert [row["ours_better_than"][name][0] for name in search_quality.SEARCHERS[1:]] == [0.625, 0.125, 0.625, 1.0]
    low, high = row["ours_better_than"]["plain, late rungs"][1:]
    assert low < 0.625 < high and row["error_quartiles"]["ours"][1] == 0.25
    assert f"62 % ({100 * low:.0f} to {100 * high:.0f})" in search_quality.table([row])[2]


def test_the_records_of_the_replay_name_what_they_were_made_of():
    lines = [json.loads(line) for line in search_quality.RECORDS.read_text().splitlines()]
    found = [line for line in lines if line["benchmark"] == "search_quality"]
    assert found
    for line in found:
        assert line["fit"]["trials"] >= 60 and line["n"] >= 200 and line["commit"]


def test_last_best_has_no_choice_before_the_first_report():
    assert Opponent(SWEEP).best() is None
