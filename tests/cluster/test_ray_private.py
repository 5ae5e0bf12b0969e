"""The private names of Ray that aae/tuning/cluster/ray_private.py needs: a new version that takes one away is said so."""

import importlib
from types import SimpleNamespace

import pytest

from aae.tuning.cluster import ray_private

GONE = "this version of Ray has no such name: look for a public one, or mend aae/tuning/cluster/ray_private.py"


@pytest.mark.parametrize(
    ("module", "names"),
    [("ray._private.utils", ["read_ray_address", "get_num_cpus"]), ("ray.autoscaler._private.util", ["prepare_config", "validate_config"])],
)
def test_ray_still_has_the_private_names_that_the_sweep_needs(module, names):
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        pytest.fail(f"{error}: {GONE}")
    assert [name for name in names if not hasattr(found, name)] == [], GONE


def test_a_trial_of_tune_still_says_where_its_error_is_written():
    from ray.tune.experiment.trial import Trial

    assert isinstance(getattr(Trial, "error_file", None), property), GONE


def test_what_they_give_is_what_is_read(tmp_path):
    assert ray_private.cores_in_quota() >= 1
    assert ray_private.running_cluster_address() is None or ":" in ray_private.running_cluster_address()
    (tmp_path / "error.txt").write_text("why")
    assert ray_private.error_text(SimpleNamespace(error_file=tmp_path / "error.txt")) == "why"
    assert ray_private.error_text(SimpleNamespace(error_file=None)) == ""
