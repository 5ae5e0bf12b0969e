"""Whether a worker that trains many trials one after the other grows: `python -m benchmarks.worker_memory [--trials N]`, N = 200.

The trivial trials of benchmarks.overhead, one slot, so that one process trains them all: its id and its resident memory as the trials
end. A line is appended to benchmarks/records.jsonl: the memory after each tenth of the trials, and how many processes there were.
Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from aae.device import device_name
from aae.manifest import git
from benchmarks.overhead import RECORDS, SWEEP, write_dataset
from tests.sweeping import count_told, launched, workers


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, metavar="N")
    num_trials, commit = parser.parse_args().trials, git("rev-parse", "--short", "HEAD")  # of the code that runs, not of the end
    pids: set[int] = set()
    memory_mb: dict[int, float] = {}  # by trials told
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_dataset(folder)
        (folder / "s.yaml").write_text(SWEEP.replace("FOLDER", made).replace("NUM_TRIALS", str(num_trials)))
        output = folder / "output.txt"
        one_slot = ["study.max_concurrent=1", "study.pruner={kind: NopPruner}"]
        with (
            output.open("w") as screen,
            launched(made, str(folder / "s.yaml"), f"study.folder={folder}", *one_slot, stdout=screen) as driver,
        ):
            while driver.poll() is None:
                told = count_told(folder / "ours") if (folder / "ours").exists() else 0
                for pid in workers(made) if told else ():
                    pids.add(pid)
                    try:
                        memory_mb[told] = resident_mb(pid)
                    except OSError:  # it has ended between the two looks
                        continue
                time.sleep(0.5)
        assert driver.returncode == 0, output.read_text()
    tenths = [max(told for told in memory_mb if told <= num_trials * tenth / 10) for tenth in range(1, 11)]
    line = {"benchmark": "worker_memory", "trials": num_trials, "processes": len(pids)}
    line |= {"memory_mb": {told: round(memory_mb[told]) for told in tenths}, "device": device_name(), "commit": commit}
    print(json.dumps(line))
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
