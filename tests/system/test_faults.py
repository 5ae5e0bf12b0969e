"""The kill matrix: every fault once, among the slow tests; `make faults` runs all, seeded. Here only that the hook fires where it must."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aae.runs import read_rows
from tests.faults import FAULTS, OWN_DISK, run_fault

HOOKED = Path(__file__).resolve().parents[1] / "hooked"


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("name", FAULTS)
def test_after_a_fault_the_same_command_ends_with_nothing_lost_twice_or_left(name):
    if name in OWN_DISK and os.geteuid() != 0:
        pytest.skip("a small disk of its own needs root")
    run_fault(name, 1, None)


@pytest.mark.parametrize(("nth", "rows"), [(1, 0), (3, 2)])
def test_the_kill_falls_inside_the_append_that_was_asked_for_and_leaves_half_a_line(tmp_path, nth, rows):
    """The faults' own hook: one that never fires would let every fault hold."""
    path = tmp_path / "metrics.jsonl"
    append = f"for k in range(1, 5):\n  with open({str(path)!r}, 'ab') as file: file.write(b'{{\"epoch\": %d}}\\n' % k)"
    fault = {"place": "row append", "nth": nth, "once": str(tmp_path / "happened")}
    env = os.environ | {"PYTHONPATH": str(HOOKED), "AAE_TEST_FAULT": json.dumps(fault)}
    killed = subprocess.run([sys.executable, "-c", append], env=env)
    assert killed.returncode == -9 and (tmp_path / "happened").exists()
    assert len(read_rows(path)) == rows and not path.read_bytes().endswith(b"\n")
    assert subprocess.run([sys.executable, "-c", append], env=env).returncode == 0  # once only: the sweep that goes on is spared
