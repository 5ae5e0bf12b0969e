"""What a trial leaves with W&B, for tests: its key, its rows, and the records of its file."""

import json
import subprocess
import sys
from pathlib import Path

from aae.tuning.workers.wandb_runs import Tracker, wait_for_runs

KEY = "0123456789" * 4
CLOSED = "http://127.0.0.1:9"  # nobody listens there


def inspect(run: Path, name: str) -> list[dict]:
    """Every record of a run's file. There is one file, however often the trial was handed out."""
    (file,) = (run / "wandb").glob(f"*run-*-{name}/*.wandb")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(file)]
    return [json.loads(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]


def items(records: list[dict]) -> list[dict]:
    return [record["history"]["item"] for record in records if record["type"] == "history"]


def summary(records: list[dict]) -> dict:
    merged: dict = {}
    for record in records:
        merged |= record["summary"]["update"] if record["type"] == "summary" else {}
    return merged


def only(records: list[dict], kind: str) -> dict:
    (record,) = (record[kind] for record in records if record["type"] == kind)
    return record


def row(epoch: int) -> dict:
    return {"epoch": epoch, "val/error": 0.5 / epoch, "val/reconstruction": 10.0}


def end(tracker: Tracker, state: str, reason: str | None = None) -> None:
    """finish(), and to the end of what it left to the background."""
    tracker.finish(state, reason)
    wait_for_runs(30)
