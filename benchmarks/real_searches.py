"""Ours, plain Ray Tune + OptunaSearch + ASHA and random search on the task itself, after equal wall time: beside the replays.

    python -m benchmarks.real_searches [--seeds S ...] [--minutes M]
    python -m benchmarks.real_searches --summary [--minutes M]

The task and our settings are those of benchmarks/search_quality.py. Minutes count from a search's command on, so each pays for its
own start-up. Random search runs in our engine, without a pruner. What each would choose then is trained again from SEEDS fresh
initialisations, which no search has seen: their mean validation error is the score. A line a repeat is appended to
benchmarks/records.jsonl, so that repeats may come from several days.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aae.device import device_name
from aae.inputs import read_sweep
from aae.intervals import INTERVAL, t_interval
from aae.layers import trial_from_sweep
from aae.manifest import git
from aae.tuning.replay.compare import SLOTS
from aae.tuning.replay.processes import run_jobs
from analysis.trials import read_run
from benchmarks.overhead import plain_trial
from benchmarks.search_quality import PROJECT, RECORDS, SWEEP, our_sweep, without_folder

BENCHMARK = "real_searches"
SEEDS = (1, 2, 3)
OURS = "ours"
SEARCHES = [OURS, "plain", "random"]
ENVIRONMENT = {"RAY_worker_niceness": "0", "PYTHONPATH": str(PROJECT)}


def search(name: str, folder: Path, seed: int, minutes: float) -> dict[str, Any]:
    """How many trials it asked for, what it would choose, and the error that it had seen of that."""
    if name == "plain":
        return plain(folder, seed, minutes)
    ours = our_sweep(() if name == OURS else ("study.sampler={kind: RandomSampler}", "study.pruner={kind: NopPruner}")).study
    blocks = {"sampler": ours.sampler | {"seed": seed}, "pruner": ours.pruner}
    study = {"name": name, "folder": str(folder), "num_trials": 10_000, "max_concurrent": SLOTS, "max_minutes": minutes} | blocks
    command = [
        sys.executable,
        str(PROJECT / "launch.py"),
        str(SWEEP),
        *(f"study.{key}={json.dumps(value)}" for key, value in study.items()),
    ]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | ENVIRONMENT)
    run = read_run(folder / name)
    return {"trials": len(run.trials), "values": run.best.params if run.best else None, "found": run.best.value if run.best else None}


def plain(folder: Path, seed: int, minutes: float) -> dict[str, Any]:
    """In a process of its own, as a user's script."""
    code = "from benchmarks.real_searches import fit; import sys; fit(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))"
    command = [sys.executable, "-c", code, str(folder), str(seed), str(minutes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ENVIRONMENT, cwd=PROJECT)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def fit(folder: str, seed: int, minutes: float) -> None:
    began = time.monotonic()
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    sweep = our_sweep()
    ray.init(address="local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    space = {path: entry.distribution for path, entry in sweep.space.entries.items()}
    tuner = tune.Tuner(
        tune.with_resources(plain_trial, {"cpu": 1}),
        param_space={"sweep": str(SWEEP)},
        tune_config=tune.TuneConfig(
            num_samples=-1,
            metric=sweep.study.metric,
            mode="min",
            search_alg=OptunaSearch(space, metric=sweep.study.metric, mode="min", seed=seed),
            scheduler=ASHAScheduler(max_t=sweep.epochs),
            time_budget_s=60 * minutes - (time.monotonic() - began),
        ),
        run_config=tune.RunConfig(storage_path=f"{folder}/plain", verbose=0),
    )
    results = tuner.fit()
    best = results.get_best_result()
    values = {path: best.config[path] for path in space}
    print(json.dumps({"trials": len(results), "values": values, "found": best.metrics[sweep.study.metric]}))


def error_again(values: dict[str, Any], seed: int) -> float:
    """Validation error of these values from another initialisation."""
    from aae.train import train

    return float(train(trial_from_sweep(read_sweep(SWEEP), None, values | {"train.seed": seed}), lambda row: None)["val/error"])


def repeat(seed: int, minutes: float) -> dict[str, Any]:
    """Each search once, and what it chose trained again. Another goes first each time, as the machine's other load drifts."""
    found = {}
    for name in np.roll(SEARCHES, seed).tolist():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = search(name, Path(folder), seed, minutes)
        print(f"seed {seed}, {name}: {found[name]['trials']} trials, best {found[name]['found']}", flush=True)
    chosen = [name for name, one in found.items() if one["values"]]
    jobs = [partial(without_folder, partial(error_again, found[name]["values"]), again) for name in chosen for again in SEEDS]
    errors = np.reshape(run_jobs(jobs, SLOTS, lambda done: None) if jobs else [], (len(chosen), len(SEEDS)))
    for name, error_S in zip(chosen, errors.round(4).tolist(), strict=True):
        found[name]["again"] = error_S
    return found


def summary(lines: list[dict[str, Any]]) -> list[str]:
    """Of repeats of one length: the mean score of each search, and ours beside each other. One that chose nothing is wrong everywhere."""
    score = {name: np.array([np.mean(line[name].get("again", 1.0)) for line in lines]) for name in SEARCHES}
    said = [f"{len(lines)} repeats (seeds {', '.join(str(line['seed']) for line in lines)}) of {lines[0]['minutes']:g} min"]
    for name, score_R in score.items():
        text = f"{name}: {100 * score_R.mean():.2f} %, {np.mean([line[name]['trials'] for line in lines]):.0f} trials"
        if name != OURS and len(lines) > 1:
            low, high = t_interval((score_R - score[OURS]).tolist())
            better = (score[OURS] < score_R).sum() + (score[OURS] == score_R).sum() / 2
            text += f"; ours is better in {better:g} of {len(lines)}, by {100 * (score_R - score[OURS]).mean():.2f} points"
            text += f" ({100 * low:.2f} to {100 * high:.2f}, {INTERVAL})"
        said.append(text)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S", help="of the searches, one repeat each")
    parser.add_argument("--minutes", type=float, default=4, metavar="M", help="of each search")
    parser.add_argument("--summary", action="store_true", help="of the recorded repeats of that length; nothing is run")
    options, commit = parser.parse_args(), git("rev-parse", "--short", "HEAD")  # of the code that runs, not of the end
    for seed in [] if options.summary else options.seeds:
        line = {"benchmark": BENCHMARK, "seed": seed, "minutes": options.minutes, "slots": SLOTS, **repeat(seed, options.minutes)}
        line |= {"load_at_end": round(os.getloadavg()[2], 1), "device": device_name(), "commit": commit}
        with open(RECORDS, "a") as file:
            file.write(json.dumps(line) + "\n")
    recorded = [json.loads(line) for line in RECORDS.read_text().splitlines()]
    of_length = [line for line in recorded if line["benchmark"] == BENCHMARK and line["minutes"] == options.minutes and "seed" in line]
    print("\n".join(summary(of_length) if of_length else [f"no repeat of {options.minutes:g} min is recorded"]))


if __name__ == "__main__":
    main()
