"""What a Ray worker runs: one attempt of one trial, from its folder, reporting every epoch to the driver and to W&B."""

from __future__ import annotations

import contextlib
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import torch
from ray import cloudpickle, tune

from aae import checkpoint
from aae.config import flatten
from aae.data import DataError, load_configured
from aae.device import choose_device
from aae.errors import is_full_disk
from aae.runs import DIVERGED, PARENT, Attempt, Row, TrialFolder, read_json
from aae.train import Diverged, train
from aae.tuning.workers.wandb_runs import Tracker, wait_for_runs

LAST_WAIT_S = 12.0  # Ray waits 15 s for it
WAIT_S = 0.2  # of a worker without work, between two signs of life


class FinishesRuns:
    """Mixed into Ray's actor, whose process is killed as soon as this returns: the runs of its trials end first."""

    def cleanup(self) -> None:
        super().cleanup()  # type: ignore[misc]
        wait_for_runs(LAST_WAIT_S)


def run_trial(handout: dict[str, Any], study: dict[str, Any]) -> None:
    """Trains the attempt `handout["attempt"]`. It reports its own failure; what no code can report, a killed worker, is the
    driver's to see. `study` is wandb_runs.describe_study's, with what the place gives a trial."""
    if "question" in handout:
        answer(handout["question"])
    attempt = Attempt(Path(handout["attempt"]))
    folder = TrialFolder(attempt.path.parent)
    config = checkpoint.read_config(folder.path)
    parent = {PARENT: folder.fork["trial"]} if folder.fork else {}
    tracker = Tracker(study, f"{handout['number']:04d}", flatten(config) | parent, attempt)

    def report(row: Row) -> None:
        tracker.log(row)
        tune.report(row)

    outcome: tuple[str, str | None] = ("COMPLETE", None)
    try:
        # A relative data.folder is meant from where the command was given, and Ray's workers run elsewhere.
        dataset = load_configured(config.data, study["command_folder"])
        # Ray lets a trial that was given no GPU see all those of its node.
        train(config, report, folder, attempt, dataset, choose_device(study["gpu"]))
    except Diverged as error:
        # A sampler learns from pruned trials and ignores failed ones: as a failure it would come back to this corner for ever.
        outcome = ("PRUNED", f"{DIVERGED}: {error}")
    except torch.cuda.OutOfMemoryError as error:
        outcome = ("FAIL", f"the GPU ran out of memory: {str(error).splitlines()[0]}")
    except MemoryError:
        outcome = ("FAIL", "the host ran out of memory")
    except DataError as error:
        outcome = ("FAIL", str(error))
    except OSError as error:
        # A full disk is no trial's own failure: each one would fail in turn, and be spent.
        outcome = ("DISK FULL" if is_full_disk(error) else "FAIL", explained(error, folder))
    except Exception as error:  # whatever it is, the sweep goes on without this trial and says why
        outcome = ("FAIL", explained(error, folder))
    except SystemExit:  # Ray ends a stopped trial so, after the driver has told a pruned one
        result = read_json(folder.result_path)
        outcome = (result["state"], result["reason"]) if result else ("INTERRUPTED", "the same command goes on")
        raise
    finally:
        tracker.finish(*outcome)
        free_gpu()
    if outcome[0] != "COMPLETE":
        tune.report({"state": outcome[0], "reason": outcome[1]})


def answer(question: bytes) -> NoReturn:
    """Answers the driver, and keeps this process until it has a trial for it: then the report does not return."""
    function, arguments = cloudpickle.loads(question)  # of this sweep's driver, as the trials themselves are: Ray brings both
    given = function(*arguments)
    free_gpu()
    tune.report({"answer": given})
    while True:
        time.sleep(WAIT_S)
        tune.report({"waiting": True})


def free_gpu() -> None:
    """Gives back what a process keeps of its GPU for later: others may share it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def explained(error: Exception, folder: TrialFolder) -> str:
    """An exception in a line; all of it is in the trial's traceback.txt."""
    with contextlib.suppress(OSError):
        (folder.path / "traceback.txt").write_text(traceback.format_exc())
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


run_trial.__mixins__ = (FinishesRuns,)  # type: ignore[attr-defined]
