"""How much of the slots' time a sweep spends training.

    python -m benchmarks.slot_share [--trials N] [--epochs N]     20 trials of 15 epochs, about 30 s each on a free core
    python -m benchmarks.slot_share --run RUN                     of a sweep that has ended, run in one go

Training is what the rows of the trials say of themselves: epochs and their evaluation, by the clock of the worker. Checkpoints,
W&B, reports, the sampler and Ray are not in it. Slot time is the number of slots times the time from the first trial's hand-out to
the end of the last one, both from the study. `share` counts the tail against the sweep: the slots that have no trial left wait for
those that have. `share_without_tail` leaves that waiting out: it is the shorter, the more trials there are. Start-up and the report
are in neither. A line is appended to benchmarks/records.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from aae.config import ConfigError, require
from aae.device import device_name
from aae.manifest import git
from aae.runs import read_json, trial_folder
from aae.tuning.study.journal import open_study

PROJECT = Path(__file__).resolve().parent.parent
RECORDS, SWEEP = PROJECT / "benchmarks" / "records.jsonl", PROJECT / "benchmarks" / "search_quality.yaml"


def slot_share(trials: list[FrozenTrial], training_s: float, slots: int) -> dict[str, Any]:
    """`trials` have all ended. The last `slots` ends are each another slot's: who ends earlier gets another trial."""
    starts = [trial.datetime_start.timestamp() for trial in trials if trial.datetime_start]
    ends = sorted(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete)
    slot_s = slots * (ends[-1] - min(starts))
    tail_s = sum(ends[-1] - end for end in ends[-slots:])
    found = {"trials": len(trials), "slots": slots, "training_s": training_s, "slot_s": slot_s, "tail_s": tail_s}
    shares = {"share": training_s / slot_s, "share_without_tail": training_s / (slot_s - tail_s)}
    return {key: round(value, 1) for key, value in found.items()} | {key: round(value, 4) for key, value in shares.items()}


def of_run(run: Path, slots: int) -> dict[str, Any]:
    """Raises ConfigError for a run with trials that have not ended, or that were handed out more than once."""
    trials = open_study(run, "", create=False).get_trials(deepcopy=False)
    unfinished = sum(not trial.state.is_finished() for trial in trials)
    require(len(trials) >= slots and not unfinished, str(run), f"{unfinished} unfinished of {len(trials)}", "give a run that has ended")
    again = sum((trial_folder(run, trial.number).path / "attempt-1").exists() for trial in trials)
    require(not again, str(run), f"{again} trials were handed out twice", "give a run without interruption: pauses are no overhead")
    results = [read_json(trial_folder(run, trial.number).result_path) for trial in trials]
    states = {state: sum(trial.state == state for trial in trials) for state in (TrialState.COMPLETE, TrialState.PRUNED)}
    found = slot_share(trials, sum(result["seconds"] for result in results), slots)
    return found | {"trial_s_mean": round(found["training_s"] / len(trials), 1), "complete": states[TrialState.COMPLETE]}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slot_share", description="The share of slot time that a sweep trains.")
    parser.add_argument("--trials", type=int, default=20, metavar="N")
    parser.add_argument("--epochs", type=int, default=15, metavar="N")
    parser.add_argument("--slots", type=int, default=2, metavar="N", help="of this machine or of RUN")
    parser.add_argument("--run", type=Path, metavar="RUN", help="measure this sweep instead of a fresh one")
    options = parser.parse_args(arguments)
    commit = git("rev-parse", "--short", "HEAD")  # of the code that runs, not of the end
    try:
        if options.run is not None:
            found = of_run(options.run, options.slots)
        else:
            with tempfile.TemporaryDirectory() as folder:
                run_sweep(Path(folder), options)
                found = of_run(Path(folder) / "slot_share", options.slots)
    except ConfigError as error:
        print(f"benchmarks.slot_share: {error}", file=sys.stderr)
        return 2
    line = {"benchmark": "slot_share", **found, "load_at_end": round(os.getloadavg()[1], 1), "device": device_name(), "commit": commit}
    print(json.dumps(line))
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")
    return 0


def run_sweep(folder: Path, options: argparse.Namespace) -> None:
    study = [
        f"study.folder={folder}",
        "study.name=slot_share",
        f"study.num_trials={options.trials}",
        f"study.max_concurrent={options.slots}",
    ]
    command = [sys.executable, str(PROJECT / "launch.py"), str(SWEEP), *study, f"train.epochs={options.epochs}"]
    # Ray's workers are at nice 15: beside anything else the slots would hold less than a core.
    subprocess.run(command, check=True, env={"RAY_worker_niceness": "0"} | os.environ)


if __name__ == "__main__":
    sys.exit(main())
