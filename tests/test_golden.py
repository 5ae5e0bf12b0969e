"""The losses of 20 steps are those in tests/golden: a refactor leaves them, a change of the maths writes them anew and says why."""

import math

import pytest

from aae.updates import UPDATE
from tests.golden import STEPS, from_text, losses, path_of, to_text


@pytest.mark.parametrize("update", UPDATE)
def test_the_losses_of_twenty_steps_are_the_golden_ones(update):
    golden, now = from_text(path_of(update).read_text()), losses(update)
    assert list(now) == list(golden)
    for name, values in golden.items():
        assert now[name] == pytest.approx(values, rel=1e-4), name


@pytest.mark.parametrize("update", UPDATE)
def test_golden_losses_are_of_a_training_that_learns(update):
    golden = from_text(path_of(update).read_text())
    assert all(len(values) == STEPS and all(map(math.isfinite, values)) for values in golden.values())
    assert golden["reconstruction/reconstruction"][-1] < 0.9 * golden["reconstruction/reconstruction"][0]
    assert golden["classification/classification"][-1] < golden["classification/classification"][0]
    assert to_text(golden) == path_of(update).read_text()
