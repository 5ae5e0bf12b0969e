"""Seconds that a trivial trial takes: ours against plain Ray Tune with OptunaSearch and ASHA, as its documentation starts it.

    python -m benchmarks.overhead [--repeats N]

Both train the same tiny networks through the same `aae.train.train`, with the same space and two slots, in turn. Plain Tune has
fresh actors, its default, and logs to its own files alone; ours keeps its workers, and writes the study, the trial's folder and an
offline W&B run besides. Counted is from the first trial's end to the last one's, so no start-up. A line is appended to
benchmarks/records.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from aae.device import device_name
from aae.manifest import git

PROJECT = Path(__file__).resolve().parent.parent
RECORDS = Path(__file__).with_name("records.jsonl")
NUM_TRIALS, SLOTS = 20, 2
SWEEP = """
study:
  name: ours
  num_trials: NUM_TRIALS
  max_concurrent: 2
  sampler: {kind: TPESampler, seed: 0}
  pruner: {kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}
trial:
  data: {name: npz, folder: FOLDER/tiny.npz, num_labels: 20, num_validation: 100}
  model: {hidden_dims: [16]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 2, batch_size: 50, labelled_batch_size: 20, sample_every: 0}
search_space:
  model.z_dim: {kind: int, low: 2, high: 12}
  optim.reconstruction.rate: {kind: float, low: 0.001, high: 0.03, log: true}
"""


def write_dataset(folder: Path) -> None:
    random = np.random.default_rng(0)
    images = {"x_train": (400, 6, 6), "x_test": (50, 6, 6)}
    arrays = {key: random.integers(0, 256, shape, dtype=np.uint8) for key, shape in images.items()}
    np.savez(folder / "tiny.npz", **arrays, y_train=np.arange(400) % 10, y_test=np.arange(50) % 10)


def seconds_a_trial(ends: list[float]) -> float:
    return (max(ends) - min(ends)) / (len(ends) - 1)


def ours(folder: Path) -> float:
    subprocess.run(
        [sys.executable, str(PROJECT / "launch.py"), str(folder / "s.yaml"), f"study.folder={folder}"], check=True, capture_output=True
    )
    return seconds_a_trial([path.stat().st_mtime for path in (folder / "ours" / "trials").glob("*/result.json")])


def plain_trial(values: dict[str, Any]) -> None:
    """What a user of plain Tune would write around the same training."""
    from ray import tune

    from aae.data import load_configured
    from aae.inputs import read_sweep
    from aae.layers import trial_from_sweep
    from aae.runs import TrialFolder
    from aae.train import train

    config = trial_from_sweep(read_sweep(values.pop("sweep")), None, values)
    folder = TrialFolder(Path.cwd() / "trial")
    train(config, tune.report, folder, folder.next_attempt(), load_configured(config.data))


def plain(folder: Path) -> float:
    """In a process of its own, as a user's script."""
    code = "from benchmarks.overhead import fit; import sys; fit(sys.argv[1])"
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True, env=env, cwd=PROJECT)
    return float(done.stdout.splitlines()[-1])


def fit(folder: str) -> None:
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    ends: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
            ends.append(time.time())

    ray.init(address="local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    space = {
        "sweep": f"{folder}/s.yaml",
        "model.z_dim": tune.randint(2, 13),
        "optim.reconstruction.rate": tune.loguniform(0.001, 0.03),
    }
    tuner = tune.Tuner(
        tune.with_resources(plain_trial, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=NUM_TRIALS,
            metric="val/error",
            mode="min",
            search_alg=ConcurrencyLimiter(OptunaSearch(), SLOTS),
            scheduler=ASHAScheduler(max_t=2, grace_period=1, reduction_factor=2),
        ),
        run_config=tune.RunConfig(storage_path=f"{folder}/plain", callbacks=[Ends()], verbose=0),
    )
    failed = [result.error for result in tuner.fit() if result.error]
    assert not failed and len(ends) == NUM_TRIALS, failed
    print(seconds_a_trial(ends))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    repeats, commit = parser.parse_args().repeats, git("rev-parse", "--short", "HEAD")  # of the code that runs, not of the end
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        for name, run in (("plain", plain), ("ours", ours)):
            with tempfile.TemporaryDirectory() as made:
                folder = Path(made)
                write_dataset(folder)
                (folder / "s.yaml").write_text(SWEEP.replace("FOLDER", made).replace("NUM_TRIALS", str(NUM_TRIALS)))
                seconds[name].append(run(folder))
                print(f"{name}: {seconds[name][-1]:.2f} s a trial", flush=True)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["plain"], strict=True)]
    line = {"benchmark": "overhead", "trials": NUM_TRIALS, "slots": SLOTS}
    line |= {f"{name}_s_a_trial": [round(value, 2) for value in values] for name, values in seconds.items()}
    line |= {"ours_over_plain_median": round(statistics.median(ratios), 3), "n": repeats}
    line |= {"device": device_name(), "commit": commit}
    print(json.dumps(line))
    with open(RECORDS, "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
