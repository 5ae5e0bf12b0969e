"""What a Ray worker runs: hand-outs one after another in one process, each an attempt of a trial from its folder, or a question."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ray
import torch
from ray import cloudpickle, tune

from aae import checkpoint
from aae.config import ConfigError
from aae.data import DataError, load_configured
from aae.device import choose_device
from aae.errors import Diverged, is_full_disk, out_of_memory
from aae.paths import flatten
from aae.runs import DIVERGED, PARENT, Attempt, Row, TrialFolder, read_json
from aae.train import epochs
from aae.tuning.cluster.home import place_caches
from aae.tuning.workers.wandb_runs import Tracker, wait_for_runs

LAST_WAIT_S = 12.0  # Ray waits 15 s for it
WAIT_S = 0.2  # of a worker without work, between two signs of life


class TrialWorker(tune.Trainable):
    """Ray's actor. A step gives Tune the next result of the hand-out; a stop closes it where it stands, at the end of an epoch, and what
    it held is gone before the next one begins. `study` is wandb_environment.describe_study's, with what the place gives a trial."""

    def setup(self, config: dict[str, Any], study: dict[str, Any] | None = None) -> None:
        assert study is not None
        place_caches(Path(study["run"]))
        self.study = study
        self.results = results_of(config, study)

    def step(self) -> Row:
        return next(self.results, {"done": True})

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.results.close()
        self.results = results_of(new_config, self.study)
        return True

    def cleanup(self) -> None:
        """The process is killed as soon as this returns: the W&B runs of its trials end first."""
        self.results.close()
        wait_for_runs(LAST_WAIT_S)


def results_of(handout: dict[str, Any], study: dict[str, Any]) -> Generator[Row, None, None]:
    """First who runs it, at once, for the driver to end it in the middle of an epoch; then what comes of it."""
    context = ray.get_runtime_context()
    own = [context.current_actor]
    try:
        yield {"actor": own, "node": context.get_node_id(), "worker": context.get_worker_id()}
    finally:
        own.clear()  # Ray keeps an actor alive for as long as somebody has a handle of it, itself included
    if "question" in handout:
        yield from answer_question(handout["question"])
    else:
        yield from train_attempt(handout, study)


def train_attempt(handout: dict[str, Any], study: dict[str, Any]) -> Generator[Row, None, None]:
    """Rows of `handout["attempt"]`, which go to W&B too, and how it failed, if it did. What no code can report, a killed worker, is the
    driver's to see."""
    attempt = Attempt(Path(handout["attempt"]))
    folder = TrialFolder(attempt.path.parent)
    config = checkpoint.read_config(folder.path)
    parent = {PARENT: folder.fork["trial"]} if folder.fork else {}
    tracker = Tracker(study, f"{handout['number']:04d}", flatten(config) | parent, attempt)
    outcome: tuple[str, str | None] = ("COMPLETE", None)
    done = 0
    try:
        # A relative data.folder is meant from where the command was given, and Ray's workers run elsewhere.
        dataset = load_configured(config.data, study["command_folder"])
        # Ray lets a trial that was given no GPU see all those of its node.
        with contextlib.closing(epochs(config, folder, attempt, dataset, choose_device(study["gpu"]))) as rows:
            for row in rows:
                tracker.log(row)
                done = row["epoch"]
                yield row
    except Diverged as error:
        # A sampler learns from pruned trials and ignores failed ones: as a failure it would come back to this corner for ever.
        outcome = ("PRUNED", f"{DIVERGED}: {error}")
    except DataError as error:
        outcome = ("FAIL", str(error))
    except OSError as error:
        # A full disk is no trial's own failure: each one would fail in turn, and be spent.
        outcome = ("DISK FULL" if is_full_disk(error) else "FAIL", error_in_a_line(error, folder))
    except Exception as error:  # whatever it is, the sweep goes on without this trial and says why
        whose, why = out_of_memory(error), error_in_a_line(error, folder)
        outcome = ("FAIL", f"{whose}: {why}" if whose else why)
    except GeneratorExit:  # stopped, after the driver has told a trial that is over
        outcome = told_outcome(folder) or (outcome if done >= config.train.epochs else ("INTERRUPTED", "the same command goes on"))
        raise
    finally:
        tracker.finish(*outcome)
        free_gpu()
    if outcome[0] != "COMPLETE":
        yield {"state": outcome[0], "reason": outcome[1], "spent": gpu_is_broken()}


def told_outcome(folder: TrialFolder) -> tuple[str, str | None] | None:
    """What the driver has told of a trial, as far as its folder shows it."""
    with contextlib.suppress(ConfigError, OSError):
        if result := read_json(folder.result_path):
            return result["state"], result["reason"]
    return None


def answer_question(question: bytes) -> Generator[Row, None, None]:
    """Answers the driver, and keeps this process until it has a trial for it."""
    try:
        function, arguments = cloudpickle.loads(question)  # of this sweep's driver, as the trials themselves are: Ray brings both
        found: Row = {"answer": function(*arguments)}
    except Exception as error:
        found = {"failed": f"the worker failed: {type(error).__name__}: {error}"}
    free_gpu()
    yield found | {"spent": gpu_is_broken()}
    while True:
        time.sleep(WAIT_S)
        yield {"waiting": True}


def free_gpu() -> None:
    """Gives back what a process keeps of its GPU for later: others may share it."""
    if torch.cuda.is_initialized():
        with contextlib.suppress(RuntimeError):  # of a GPU that is broken, see below
            torch.cuda.empty_cache()


def gpu_is_broken() -> bool:
    """Whether an error of CUDA stays in this process, as that of a device-side assert does: all that it computes next fails of it. One of
    memory does not stay."""
    try:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def error_in_a_line(error: Exception, folder: TrialFolder) -> str:
    """An exception in a line; all of it is in the trial's traceback.txt."""
    with contextlib.suppress(OSError):
        (folder.path / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())  # CUDA's are several
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
