"""CONTRIBUTING's tree of files, and what the files themselves are held to."""

import re

from tests.sweeping import PROJECT

OURS = sorted(path for folder in ("aae", "analysis") for path in (PROJECT / folder).rglob("*.py") if path.name != "__init__.py")


def test_the_tree_names_every_file_and_no_other():
    """Seen to fail with fourteen files missing."""
    page = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = page.partition("aae/      ")[2].partition("cluster.yaml  clusters/")[0].replace("launch.py", "")
    assert sorted(re.findall(r"\b\w+\.py\b", tree)) == sorted(path.name for path in OURS)


def test_no_file_is_longer_than_a_reader_s_patience():
    too_long = [path.name for path in [*OURS, PROJECT / "launch.py"] if len(path.read_text(encoding="utf-8").splitlines()) > 300]
    assert not too_long


def test_no_test_module_is_imported():
    """What several need lies in a plain module beside the rooms: then no edit of one room's tests breaks another's."""
    importing = re.compile(r"^(from|import) tests\S*\.test_", re.MULTILINE)
    files = [path for folder in ("tests", "benchmarks") for path in (PROJECT / folder).rglob("*.py")]
    assert len(files) > 50 and [path.name for path in files if importing.search(path.read_text(encoding="utf-8"))] == []
