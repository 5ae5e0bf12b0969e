"""The replay's queue where the answer is known, the three searchers behind their one face, and the surrogate on known curves."""

import json

import numpy as np
import pytest

from aae.tuning.replay import surrogate
from aae.tuning.replay.search import SweepSearch, play
from aae.tuning.study.parents import load_sweep
from benchmarks import search_quality
from benchmarks.searchers import LastBest, Plain, Random

SWEEP = load_sweep(search_quality.SWEEP, {})


class Listed:
    """Trials in a given order; those of `stopped` end after their first epoch."""

    def __init__(self, stopped=(), epochs=3):
        self.stopped, self.epochs, self.asked, self.heard = stopped, epochs, 0, []

    def ask(self):
        self.asked += 1
        return self.asked - 1, {"trial": self.asked - 1}

    def report(self, key, epoch, value):
        self.heard.append((key, epoch, value))
        return epoch == self.epochs or key in self.stopped

    def best(self):
        return {"heard": len(self.heard)}


def steady(values):
    return np.full(3, float(values["trial"])), np.ones(3)


def test_two_slots_take_turns_and_an_epoch_that_ends_with_the_budget_counts():
    searcher = Listed()
    assert play(searcher, steady, 2, [0.5, 3, 4]) == [{"heard": 0}, {"heard": 6}, {"heard": 8}]
    assert searcher.heard == [(0, 1, 0), (1, 1, 1), (0, 2, 0), (1, 2, 1), (0, 3, 0), (1, 3, 1), (2, 1, 2), (3, 1, 3)]


def test_a_stopped_trial_frees_its_slot_at_once_and_a_slow_one_holds_only_its_own():
    searcher = Listed(stopped={1, 2})
    play(searcher, steady, 2, [3])
    assert searcher.heard == [(0, 1, 0), (1, 1, 1), (0, 2, 0), (2, 1, 2), (0, 3, 0), (3, 1, 3)]

    searcher = Listed()
    play(searcher, lambda values: (steady(values)[0], np.full(3, 10.0 if values["trial"] == 0 else 1.0)), 2, [9])
    assert {key for key, _, _ in searcher.heard} == {1, 2, 3}


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


def test_the_rungs_are_those_of_semi_at_the_same_fraction_of_a_training():
    assert search_quality.our_sweep().study.pruner == {"kind": "SuccessiveHalvingPruner", "min_resource": 1, "reduction_factor": 3}
    assert search_quality.our_sweep().study.sampler == {"kind": "auto", "seed": 0}
    assert search_quality.our_sweep(("study.sampler={kind: RandomSampler}",)).study.sampler == {"kind": "RandomSampler"}


def known_curves(x_TD):
    """They fall to an end that depends on two of three dimensions."""
    end_T = 0.05 + 0.2 * (x_TD[:, 0] - 0.3) ** 2 + 0.1 * x_TD[:, 1]
    return end_T[:, None] * (1 + 2 * np.exp(-np.arange(9)))


def test_the_surrogate_recovers_a_smooth_function_and_finds_the_noise_that_is_in_it():
    random = np.random.default_rng(0)
    x_TD, fresh_TD = random.random((60, 3)), random.random((200, 3))
    exact = surrogate.Surrogate(x_TD, known_curves(x_TD))
    assert exact.curves(fresh_TD) == pytest.approx(known_curves(fresh_TD), rel=0.05)

    noisy = surrogate.Surrogate(x_TD, known_curves(x_TD) * np.exp(0.1 * random.standard_normal((60, 1))))
    assert exact.noise_std() < 0.02 and 0.06 < noisy.noise_std() < 0.14
    drawn_R = np.log([noisy.noisy(x_TD[0], random)[-1] for _ in range(400)])
    assert drawn_R.std() == pytest.approx(noisy.noise_std(), rel=0.2)
    assert surrogate.cross_validate(x_TD, known_curves(x_TD)).r2_last > 0.95


def test_parameters_without_any_effect_are_not_foretold():
    found = []
    for seed in range(3):  # in one table chance alone finds something
        random = np.random.default_rng(seed)
        found.append(surrogate.cross_validate(random.random((25, 3)), known_curves(random.random((25, 3)))).r2_last)
    assert np.mean(found) < 0.05


def test_collapses_come_where_they_were_recorded_and_spoil_nothing_else():
    random = np.random.default_rng(0)
    x_TD = random.random((60, 3))
    curve_TE = known_curves(x_TD)
    curve_TE[x_TD[:, 2] > 0.8] = 0.9
    task = surrogate.Surrogate(x_TD, curve_TE)
    safe_ND, unsafe_ND = (np.column_stack([random.random((50, 2)), np.full(50, z)]) for z in (0.1, 0.95))
    assert task.curves(safe_ND) == pytest.approx(known_curves(safe_ND), rel=0.1)
    safe, unsafe = (np.mean([task.noisy(x_D, random)[-1] == 0.9 for x_D in x_ND]) for x_ND in (safe_ND, unsafe_ND))
    assert safe < 0.2 and unsafe > 0.4


def test_the_cube_is_that_of_the_search():
    low, high = ({path: entry.ends()[end] for path, entry in SWEEP.space.entries.items()} for end in (0, 1))
    assert surrogate.to_unit(SWEEP.space, low) == pytest.approx(np.zeros(6))
    assert surrogate.to_unit(SWEEP.space, high) == pytest.approx(np.ones(6))
    middle = surrogate.to_unit(SWEEP.space, low | {"optim.reconstruction.rate": 0.01})
    assert middle[3] == pytest.approx(0.5)


def test_shares_count_a_tie_as_half():
    score_SRB = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.2, 0.5], [0.1] * 4, [1.0] * 4])[:, :, None]
    (row,) = search_quality.summary(score_SRB, [30])
    assert {name: share for name, (share, _) in row["ours_better_than"].items()} == {
        "plain": 0.625,
        "plain, our rungs": 0.125,
        "random": 1.0,
    }
    assert row["error_quartiles"]["ours"][1] == 0.25 and "62.5 ± 24.2 %" in search_quality.table([row])[2]


def test_the_records_of_the_replay_name_what_they_were_made_of():
    lines = [json.loads(line) for line in search_quality.RECORDS.read_text().splitlines()]
    found = [line for line in lines if line["benchmark"] == "search_quality"]
    assert found
    for line in found:
        assert line["fit"]["trials"] >= 60 and line["n"] >= 200 and line["commit"]


def test_last_best_has_no_choice_before_the_first_report():
    assert LastBest(SWEEP).best() is None
