"""The losses of 20 steps are those in tests/golden: a refactor leaves them, a change of the maths writes them anew and says why."""

import math

import pytest

from tests.golden import FOLDER, GOLDEN, STEPS, from_text, losses, path_of, to_text


@pytest.mark.parametrize(("mode", "update"), GOLDEN)
def test_the_losses_of_twenty_steps_are_the_golden_ones(mode, update):
    golden, now = from_text(path_of(mode, update).read_text()), losses(mode, update)
    assert list(now) == list(golden)
    for name, values in golden.items():
        assert now[name] == pytest.approx(values, rel=1e-4), name


@pytest.mark.parametrize(("mode", "update"), GOLDEN)
def test_golden_losses_are_of_a_training_that_learns(mode, update):
    golden = from_text(path_of(mode, update).read_text())
    assert all(len(values) == STEPS and all(map(math.isfinite, values)) for values in golden.values())
    assert golden["reconstruction/reconstruction"][-1] < 0.9 * golden["reconstruction/reconstruction"][0]
    for falling in ("classification/classification", "reconstruction/head_separation"):
        assert falling not in golden or golden[falling][-1] < golden[falling][0]
    assert to_text(golden) == path_of(mode, update).read_text()


def test_every_golden_file_is_compared():
    assert {path_of(*one) for one in GOLDEN} == set(FOLDER.glob("*.txt"))
