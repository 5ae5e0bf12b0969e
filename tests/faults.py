"""The kill matrix: `make faults`. Each fault falls at a seeded moment on a sweep of 24 short trials; then the same command runs to
its end, and `finish` looks. A line a fault in records/faults.jsonl; those that are there already are not run again.

    python -m tests.faults [--minutes M] [--only NAME] [--seeds N]
    python -m tests.faults --table        that of docs/reliability.md, from the record
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aae.runs import read_tag
from tests.golden import tiny_arrays
from tests.sweeping import (
    MARK,
    PROJECT,
    assert_one_truth,
    command,
    count_rows,
    count_told,
    launch,
    marked,
    trials_of,
    wait_for,
    workers,
)

RECORD = PROJECT / "records" / "faults.jsonl"
NUM_TRIALS = 24
GONE_S = 120  # within which nothing may be left
SWEEP = """
study:
  name: s
  num_trials: 24
  sampler: {kind: TPESampler, seed: 0, n_startup_trials: 5}
  pruner: {kind: SuccessiveHalvingPruner, min_resource: 1, reduction_factor: 2}
trial:
  data: {name: npz, folder: FOLDER/tiny.npz, num_labels: 20, num_validation: 105}
  model: {hidden_dims: [16]}
  objective: {adversarial_y: {}, classification: {}}
  train: {epochs: 4, batch_size: 50, labelled_batch_size: 20, sample_every: 0}
search_space:
  model.z_dim: {kind: int, low: 2, high: 12}
  optim.reconstruction.rate: {kind: float, low: 0.001, high: 0.03, log: true}
"""
ALONE = ("study.max_concurrent=1", "study.pruner={kind: NopPruner}")  # then the table must equal the undisturbed one

CONFIRM, NUM_TRAININGS = "study.confirm={select_k: 2, select_draws: 2, report_draws: 2}", 6  # 2 x 2, then the winner's 2


class Scene:
    """One sweep that a fault falls on."""

    def __init__(self, folder: Path, seed: int, alone: bool, confirms: bool):
        self.folder, self.run, self.moments = folder, folder / "s", random.Random(seed)
        self.mark = f"{folder}-{seed}"
        self.log = folder.with_suffix(".txt")  # outside of a disk of its own
        np.savez(folder / "tiny.npz", **tiny_arrays())
        (folder / "s.yaml").write_text(SWEEP.replace("FOLDER", str(folder)))
        self.confirms = confirms
        self.arguments = [str(folder / "s.yaml"), f"study.folder={folder}", *(ALONE if alone else ()), *([CONFIRM] if confirms else [])]

    def start(self, fault: dict[str, Any] | None = None, **environment: str) -> subprocess.Popen[bytes]:
        env = os.environ | {"PYTHONPATH": f"{PROJECT / 'tests' / 'hooked'}:{PROJECT}", MARK: self.mark} | environment
        if fault is not None:
            env["AAE_TEST_FAULT"] = json.dumps(fault)
        with open(self.log, "ab") as output:
            return subprocess.Popen(command(*self.arguments), stdout=output, stderr=output, env=env, start_new_session=True)

    def wait_for_a_moment(self, driver: subprocess.Popen[bytes]) -> None:
        """A random number of trials told, and up to a second more."""
        told = self.moments.randrange(NUM_TRIALS - 4)
        wait_for(lambda: (count_rows(self.run) and count_told(self.run) >= told) or driver.poll() is not None, 600, f"{told} told")
        time.sleep(self.moments.random())
        assert driver.poll() is None, f"nothing was tried, it had ended: {self.log.read_text()[-1000:]}"

    def sessions(self) -> str | None:
        return read_tag(self.run / ".lock").get("session")


def ended(scene: Scene, driver: subprocess.Popen[bytes], codes: set[int]) -> None:
    assert driver.wait(timeout=600) in codes, f"exit code {driver.returncode}, not one of {codes}: {scene.log.read_text()[-1000:]}"


# ---- the faults: each leaves an ended driver behind, and fails where it could not fall ----


def at(place: str, most: int) -> Callable[[Scene], None]:
    def fault(scene: Scene) -> None:
        nth = scene.moments.randint(1, most)
        ended(scene, scene.start({"place": place, "nth": nth, "once": str(scene.folder / "happened")}), {-signal.SIGKILL})

    return fault


def kill_driver(scene: Scene) -> None:
    driver = scene.start()
    scene.wait_for_a_moment(driver)
    driver.kill()
    ended(scene, driver, {-signal.SIGKILL})


def kill_during_confirmation(scene: Scene) -> None:
    driver, own = scene.start(), scene.run / "confirm"
    told = scene.moments.randrange(NUM_TRAININGS)
    begun = own / "study.journal"
    wait_for(lambda: (begun.exists() and count_told(own) >= told) or driver.poll() is not None, 600, f"{told} trainings told")
    time.sleep(scene.moments.random())
    assert driver.poll() is None, f"nothing was tried, it had ended: {scene.log.read_text()[-1000:]}"
    driver.kill()
    ended(scene, driver, {-signal.SIGKILL})


def kill_worker(scene: Scene) -> None:
    driver = scene.start()
    scene.wait_for_a_moment(driver)
    at_work: list[int] = []
    wait_for(lambda: at_work.extend(workers(scene.mark)) or at_work, 60, "a worker at work")
    os.kill(at_work[0], signal.SIGKILL)
    ended(scene, driver, {0})


def kill_raylet(scene: Scene) -> None:
    driver = scene.start()
    scene.wait_for_a_moment(driver)
    killed = 0
    for pid in marked(scene.mark):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"/raylet"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    assert killed, "no raylet was found"
    driver.wait(timeout=600)


def send(number: int, times: int, codes: set[int]) -> Callable[[Scene], None]:
    def fault(scene: Scene) -> None:
        driver = scene.start()
        scene.wait_for_a_moment(driver)
        for _ in range(times):
            driver.send_signal(number)
            time.sleep(0.5)
        ended(scene, driver, codes | {0})  # 0: it had ended before the signal came

    return fault


def wrong_clock(scene: Scene) -> None:
    """The first driver's clock is hours ahead or behind, and it is killed; the second one's is right."""
    driver = scene.start({"clock_s": scene.moments.choice([-1, 1]) * scene.moments.uniform(600, 86400)})
    scene.wait_for_a_moment(driver)
    driver.kill()
    ended(scene, driver, {-signal.SIGKILL})


def hanging_tracker(scene: Scene) -> None:
    """W&B online, at an address that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        ended(scene, scene.start(WANDB_BASE_URL=address, WANDB_API_KEY="0" * 40, WANDB_MODE="online"), {0})


def full_disk(scene: Scene) -> None:
    driver = scene.start()
    scene.wait_for_a_moment(driver)
    with contextlib.suppress(OSError), open(scene.folder / "filler", "wb") as filler:
        while True:
            filler.write(b"0" * 4096)
            filler.flush()
    ended(scene, driver, {0, 1})
    (scene.folder / "filler").unlink()


def read_only(scene: Scene) -> None:
    driver = scene.start()
    scene.wait_for_a_moment(driver)
    subprocess.run(["mount", "-o", "remount,ro,force", str(scene.folder)], check=False, capture_output=True)
    try:
        driver.wait(timeout=600)
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(scene.folder)], check=True)


CONFIRMING = "driver killed during a confirmation"
FAULTS: dict[str, Callable[[Scene], None]] = {
    "driver killed": kill_driver,
    "driver killed inside a journal append": at("journal append", 60),
    "driver and worker killed inside a row's append": at("row append", 20),
    "driver and worker killed inside a checkpoint": at("checkpoint", 20),
    "driver and worker killed between checkpoint and report": at("checkpoint to report", 20),
    "driver killed during the report": at("report", 3),
    "worker killed": kill_worker,
    "raylet killed": kill_raylet,
    "disk full": full_disk,
    "folder becomes read-only": read_only,
    "clock moved, driver killed": wrong_clock,
    "W&B hangs": hanging_tracker,
    "SIGTERM": send(signal.SIGTERM, 1, {143}),
    "SIGINT twice": send(signal.SIGINT, 2, {130}),
    CONFIRMING: kill_during_confirmation,
}
OWN_DISK = {"disk full", "folder becomes read-only"}


# ---- what must hold after each ----


def table(run: Path) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.params, trial.state.name, trial.intermediate_values) for trial in trials_of(run)]


def finish(scene: Scene, undisturbed: list[tuple[Any, ...]] | None) -> None:
    """The same command to its end, then every invariant."""
    before = {trial.number: trial.params for trial in trials_of(scene.run)} if (scene.run / "study.journal").exists() else {}
    session = scene.sessions()
    done = launch(*scene.arguments, timeout=900, **{MARK: scene.mark})
    assert done.returncode == 0, done.stdout + done.stderr
    if before:
        assert f"{len(before)} trials so far; reconciled: " in done.stdout, done.stdout
    assert_one_truth(scene.run, NUM_TRIALS)
    if scene.confirms:
        assert_one_truth(scene.run / "confirm", NUM_TRAININGS)
        assert (scene.run / "confirm" / "report.json").exists()
    after = {trial.number: trial.params for trial in trials_of(scene.run)}
    assert all(after[number].items() >= params.items() for number, params in before.items()), "parameters changed"
    if undisturbed is not None:
        assert table(scene.run) == undisturbed, "another table than the undisturbed sweep's"
    wait_for(lambda: not marked(scene.mark), GONE_S, "no process of the sweep is left")
    assert session is None or not Path(session).exists(), f"{session} is left"


@contextlib.contextmanager
def disk_of(folder: Path, own: bool) -> Iterator[None]:
    if own:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        if own:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def run_fault(name: str, seed: int, undisturbed: list[tuple[Any, ...]] | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    scene = None
    try:
        with disk_of(folder, name in OWN_DISK):
            scene = Scene(folder, seed, undisturbed is not None, name == CONFIRMING)
            FAULTS[name](scene)
            finish(scene, undisturbed)
    finally:
        for pid in marked(scene.mark) if scene else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".txt").unlink(missing_ok=True)


def undisturbed_table() -> list[tuple[Any, ...]]:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        scene = Scene(folder, 0, True, False)
        done = launch(*scene.arguments, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        return table(scene.run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_record() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []


def print_table() -> None:
    """Of a run that did not hold, what was found; `finish` says lost, twice or left."""
    lines = read_record()
    print("| fault | runs | lost, twice or left | seconds, median and most |\n|---|---|---|---|")
    for name in FAULTS:
        own = [line for line in lines if line["fault"] == name]
        seconds = [line["seconds"] for line in own]
        took = f"{statistics.median(seconds):.0f}, {max(seconds):.0f}" if own else ""
        failures = [line["failure"].splitlines()[0] for line in own if line["failure"]]
        print(f"| {name} | {len(own) or 'not run'} | {'; '.join(failures) if failures else '0' if own else ''} | {took} |")


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.faults", description="The kill matrix; goes on where its record ends.")
    options.add_argument("--minutes", type=float, default=600, help="no fault is begun after so many")
    options.add_argument("--only", help="the faults whose name holds this")
    options.add_argument("--seeds", type=int, default=4, help="runs of each fault (default: 4, 60 in all)")
    options.add_argument("--table", action="store_true", help="print the record as a table, run nothing")
    given = options.parse_args()
    if given.table:
        print_table()
        return
    until = time.monotonic() + 60 * given.minutes
    lines = read_record()
    have = {(line["fault"], line["seed"]) for line in lines}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True).stdout.strip()
    undisturbed = None
    for seed in range(given.seeds):
        for name in FAULTS:
            if (name, seed) in have or (given.only and given.only not in name) or time.monotonic() > until:
                continue
            if name in OWN_DISK and os.geteuid() != 0:
                print(f"{name}: not run, a small disk of its own needs root")
                continue
            alone = seed % 2 == 0
            undisturbed = undisturbed or (undisturbed_table() if alone else None)
            began, failure = time.monotonic(), None
            try:
                run_fault(name, seed, undisturbed if alone else None)
            except (AssertionError, subprocess.SubprocessError) as error:
                failure = str(error)[-2000:] or repr(error)
            line = {"fault": name, "seed": seed, "alone": alone, "failure": failure, "seconds": round(time.monotonic() - began, 1)}
            line |= {"commit": commit, "device": platform.machine(), "cores": os.cpu_count()}
            with open(RECORD, "a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{name}, seed {seed}: {failure or 'held'} ({line['seconds']} s)", flush=True)


if __name__ == "__main__":
    main()
