"""Private names of libraries: each in one file a library that says what for, and there as long as the library has it."""

import importlib
import re
from types import SimpleNamespace

import pytest

from aae.tuning.cluster import ray_private
from tests.sweeping import PROJECT

NAMES = (
    r"ray\._private",
    r"autoscaler\._private",
    r"\._storage\b",
    r"_trial_id\b",
    r"__mixins__",
    r"temporary_state",
    r"\berror_file\b",
    r"\._connection\b",
    r"_file_path\b",
    r"\._contains\b",
    r"torch\.cpu\._",
    r"torch\._foreach",
)


def test_no_private_name_of_a_library_is_used_outside_the_files_that_say_why():
    """Seen to fail on the code of before: 25 lines in 12 files."""
    pattern = re.compile("|".join(NAMES))
    files = [path for folder in ("aae", "analysis") for path in sorted((PROJECT / folder).rglob("*.py"))] + [PROJECT / "launch.py"]
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()}"
        for path in files
        if not path.name.endswith("_private.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(["use the public name, or move it to LIBRARY_private.py with the reason:", *found])


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
