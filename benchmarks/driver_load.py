"""What the driver of a large study does: a hand-out, a report, a tell; time, journal and files opened for each.

    python -m benchmarks.driver_load [TRIALS]

Plays trials of five epochs with an early pruner, on the study alone: no Ray, no training. The folder is a temporary one, on this
machine's disk. docs/cluster.md says what follows from it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aae.tuning.config import load_sweep
from aae.tuning.study import SweepStudy
from tests.golden import tiny_arrays

EPOCHS = 5
SWEEP = """
study:
  name: load
  num_trials: 100000
  sampler: {kind: TPESampler, seed: 0}
  pruner: {kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}
trial:
  data: {name: npz, folder: tiny.npz, num_validation: 105, num_labels: 20}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 5, batch_size: 50, labelled_batch_size: 20}
search_space:
  model.z_dim: {kind: int, low: 2, high: 60}
  objective.adversarial_z.weight: {kind: float, low: 0.01, high: 10.0, log: true}
  objective.classification.weight: {kind: float, low: 0.01, high: 10.0, log: true}
  optim.reconstruction.rate: {kind: float, low: 0.0001, high: 0.1, log: true}
  optim.schedule.kind: {kind: categorical, choices: [constant, cosine]}
"""


def main(trials: int) -> None:
    opened = {"journal": 0, "other": 0}

    def count(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | Path) and str(arguments[0]).startswith(folder):
            opened["journal" if str(arguments[0]).endswith(".journal") else "other"] += 1

    with tempfile.TemporaryDirectory() as folder:
        sweep_file = Path(folder, "load.yaml")
        sweep_file.write_text(SWEEP)
        np.savez(Path(folder, "tiny.npz"), **tiny_arrays())
        study, random = SweepStudy(Path(folder), load_sweep(sweep_file, {})), np.random.default_rng(0)
        sys.addaudithook(count)
        handed_out, reported, epochs = list[float](), list[float](), 0
        for number in range(trials):
            since = time.perf_counter()
            handout = study.next()
            handed_out.append(time.perf_counter() - since)
            assert handout is not None
            for epoch in range(1, EPOCHS + 1):
                row = handout.attempt.write_row({"epoch": epoch, "val/error": float(random.uniform(0.02, 0.5) / epoch)})
                since = time.perf_counter()
                stop = study.report(number, row)
                reported.append(time.perf_counter() - since)
                epochs += 1
                if stop:
                    break
            else:
                study.tell(number, study.trial(number).state.COMPLETE)
            if (number + 1) % (trials // 5) == 0:
                recent = trials // 5
                size = Path(folder, "study.journal").stat().st_size
                shown = [1e3 * float(np.median(times[-recent:])) for times in (handed_out, reported)]
                print(
                    f"{number + 1} trials: hand-out {shown[0]:.0f} ms, report {shown[1]:.1f} ms (medians of the last {recent}), "
                    f"journal {size / 1e6:.2f} MB, {size / (number + 1):.0f} bytes a trial of {epochs / (number + 1):.1f} epochs, "
                    f"files opened a trial: journal {opened['journal'] / (number + 1):.1f}, others {opened['other'] / (number + 1):.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
