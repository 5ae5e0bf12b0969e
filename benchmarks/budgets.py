"""How well a sweep keeps its budgets of minutes and of disk: `python -m benchmarks.budgets`, five minutes on two cores.

`study.max_minutes` runs out in the middle of epochs that take longer than it; counted by the driver itself. `study.max_disk_gb` is half
of what the sweep would fill; the run folder is looked at ten times a second, and what counts is the most that it ever held. A line is
appended to benchmarks/records.jsonl.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from aae.device import device_name
from aae.manifest import git
from aae.tuning.driver.budget import GB, bytes_used
from benchmarks.overhead import PROJECT, RECORDS
from tests.sweeping import count_told, launched

MINUTES, DISK_GB, TRIALS = 1.0, 0.016, 40
COMMON = [str(PROJECT / "sweeps" / "quick.yaml"), "model.hidden_dims=[100, 100]", "study.pruner={kind: NopPruner}", "train.sample_every=0"]


def largest_during(folder: Path, *arguments: str) -> int:
    """Runs a sweep in `folder` to its end or its budget's; the most bytes that its run folder held."""
    most, run = 0, folder / "quick"
    with (
        (folder / "output.txt").open("w") as screen,
        launched(str(folder), *COMMON, f"study.folder={folder}", *arguments, stdout=screen) as driver,
    ):
        while driver.poll() is None:
            most = max(most, bytes_used(run) if run.exists() else 0)
            time.sleep(0.1)
    assert driver.returncode == 0, (folder / "output.txt").read_text()
    return most


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    commit = git("rev-parse", "--short", "HEAD")  # of the code that runs, not of the end
    line: dict[str, object] = {"benchmark": "budgets", "max_minutes": MINUTES, "max_disk_gb": DISK_GB}
    with tempfile.TemporaryDirectory() as made:
        largest_during(Path(made), "study.num_trials=2", "train.batch_size=4", f"study.max_minutes={MINUTES}")
        assert count_told(Path(made) / "quick") == 0, "a trial ended first: take smaller batches"
        (seconds,) = json.loads((Path(made) / "quick" / "forecast.json").read_text())["invocations"]
        line["minutes_over"] = round(seconds / (60 * MINUTES) - 1, 4)
    with tempfile.TemporaryDirectory() as made:
        short = [f"study.num_trials={TRIALS}", "train.epochs=3", "train.batch_size=1000"]
        most = largest_during(Path(made), *short, f"study.max_disk_gb={DISK_GB}")
        forecast = json.loads((Path(made) / "quick" / "forecast.json").read_text())
        line |= {"disk_over": round(most / (DISK_GB * GB) - 1, 4), "trials_told": count_told(Path(made) / "quick"), "of": TRIALS}
        line |= {"disk_gb_foreseen": round(forecast["first"]["disk_bytes"] / GB, 3), "forecast_error": forecast.get("error")}
    line |= {"n": 1, "device": device_name(), "commit": commit}
    print(json.dumps(line))
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
