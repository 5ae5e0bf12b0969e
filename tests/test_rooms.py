"""The rooms of the tests."""

import re
from pathlib import Path


def test_no_test_module_is_imported():
    """What several need lies in a plain module beside the rooms: then no edit of one room's tests breaks another's."""
    importing = re.compile(r"^(from|import) tests\S*\.test_", re.MULTILINE)
    files = [path for folder in ("tests", "benchmarks") for path in Path(__file__).parents[1].joinpath(folder).rglob("*.py")]
    assert len(files) > 50 and [path.name for path in files if importing.search(path.read_text(encoding="utf-8"))] == []
