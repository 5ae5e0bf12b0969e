"""What a study of many trials costs its driver: `python -m benchmarks.large_study [--trials N]`, N = 10,000 unless said.

Trials without a training: each has the folder, the rows and the 10 reports of one, its values drawn around a curve. All but the
last MEASURED are sampled at random, to be quick; then the journal is opened again, as after a kill, and the sweep's own sampler
and pruner go on. A line is appended to benchmarks/records.jsonl: seconds to open, a suggestion, a report, the end of a complete trial
(with the choice); memory and journal a trial; files opened a trial, the rows that a worker would write among them. Nothing here depends
on a machine with a GPU, and Ray takes no part. docs/cluster.md says what follows from it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from aae.device import device_name
from aae.inputs import parse_overrides
from aae.manifest import git
from aae.tuning.spec.sweep import Sweep
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy

RECORDS = Path(__file__).with_name("records.jsonl")
SWEEP = Path(__file__).resolve().parent.parent / "sweeps" / "semi.yaml"
EPOCHS, MEASURED = 10, 100


def resident() -> int:
    """Bytes of this process in memory; Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count_opens(folder: str) -> dict[str, int]:
    """From now on, of files in a folder. It counts as long as the process lives: an audit hook cannot be taken back."""
    opens = {"journal": 0, "other": 0}

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(folder):
            opens["journal" if str(arguments[0]).endswith(".journal") else "other"] += 1

    sys.addaudithook(count)
    return opens


def sweep_of(run: Path, num_trials: int, *arguments: str) -> Sweep:
    return load_sweep(
        SWEEP, parse_overrides([f"study.folder={run}", f"study.num_trials={num_trials}", f"train.epochs={EPOCHS}", *arguments])
    )


def run_trials(study: SweepStudy, seconds: dict[str, list[float]]) -> None:
    """Every trial that is left, one after the other."""
    chance = random.Random(0)
    while True:
        began = time.perf_counter()
        handout = study.next()
        seconds["suggestion"].append(time.perf_counter() - began)
        if handout is None:
            return
        end = chance.uniform(0.02, 0.2)
        for epoch in range(handout.first_epoch + 1, EPOCHS + 1):
            row = handout.attempt.write_row({"epoch": epoch, study.metric: end * (1 + chance.uniform(2, 3) / epoch)})
            began = time.perf_counter()
            stopped = study.report(handout.number, row)
            seconds["report"].append(time.perf_counter() - began)
            if stopped:
                break
        else:
            began = time.perf_counter()
            study.tell(handout.number, TrialState.COMPLETE)
            seconds["tell"].append(time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000, metavar="N")
    num_trials, commit = parser.parse_args().trials, git("rev-parse", "--short", "HEAD")  # of the code that runs, not of the end
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        random_sweep = sweep_of(run, num_trials - MEASURED, "study.sampler={kind: RandomSampler}", "study.pruner={kind: NopPruner}")
        before = resident()  # the memory of the study that is dropped below goes into the next one's, so not after it
        run_trials(SweepStudy(run, random_sweep), {"suggestion": [], "report": [], "tell": []})
        began = time.perf_counter()
        study = SweepStudy(run, sweep_of(run, num_trials))
        study.reconcile()
        opened = time.perf_counter() - began
        seconds: dict[str, list[float]] = {"suggestion": [], "report": [], "tell": []}
        opens = count_opens(folder)
        run_trials(study, seconds)
        opened_files = {f"{kind}_opens_per_trial": round(count / MEASURED, 1) for kind, count in opens.items()}
        grown = resident() - before
        line = {"benchmark": "large_study", "trials": num_trials, "reports": EPOCHS, "sampler": study.sweep.study.sampler["kind"]}
        line |= {"open_s": round(opened, 1)}
        for name, values in seconds.items():
            line |= {f"{name}_s_median": round(statistics.median(values), 4), f"{name}_s_max": round(max(values), 4)}
        line |= {"memory_kb_per_trial": round(grown / 1e3 / num_trials, 1)}
        line |= {"journal_kb_per_trial": round((run / "study.journal").stat().st_size / 1e3 / num_trials, 1)}
        line |= opened_files | {"n": MEASURED, "device": device_name(), "commit": commit}
    print(json.dumps(line))
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
