"""What a recipe's epochs cost, and when an error is reached."""

from omegaconf import OmegaConf

from aae.layers import to_trial
from benchmarks.to_error import minutes_after, minutes_to, stage_name, stages_of, step_seconds

TERM = {
    "objective": {"classification": {}, "consistency": {"weight": 0.5, "from_epoch": 2}},
    "model": {"class_source": "encoder", "hidden_dims": [8]},
    "data": {"num_labels": 100},
    "train": {"learnt_labelled_batch_size": 50},
}


def rows(*errors: float, learnt_after: int) -> list[dict]:
    return [
        {"epoch": number, "val/error": error, "classification/classification": 1e-4 if number >= learnt_after else 0.1}
        for number, error in enumerate(errors, start=1)
    ]


def test_an_epoch_costs_what_its_stage_costs():
    config = to_trial(OmegaConf.create(TERM))
    trained = rows(0.2, 0.1, 0.05, 0.02, learnt_after=3)
    stages = stages_of(config, trained)
    assert [stage_name(stage) for stage in stages] == ["plain", "plain", "consistency", "consistency, labels learnt"]
    minutes = minutes_after(stages, {(False, False): 60, (True, False): 120, (True, True): 90})
    assert minutes == [1, 2, 4, 5.5]
    assert minutes_to(trained, minutes, 0.05) == 4 and minutes_to(trained, minutes, 0.01) is None


def test_without_a_smaller_batch_learnt_labels_change_no_cost():
    config = to_trial(OmegaConf.create(TERM | {"train": {}}))
    assert stages_of(config, rows(0.2, 0.1, 0.05, learnt_after=1)) == [(False, False), (False, False), (True, False)]


def test_a_step_is_timed_in_each_stage():
    config = to_trial(OmegaConf.create(TERM))
    found = step_seconds({"small": config}, {"small": {(False, False), (True, True)}}, steps=1, repeats=1)
    assert set(found["small"]) == {(False, False), (True, True)} and min(found["small"].values()) > 0
