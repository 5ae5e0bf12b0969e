"""What is left of a told trial in its folder. Derived from the study, so it can be done again after a kill."""

from __future__ import annotations

from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from aae import checkpoint
from aae.runs import REASON, trial_folder, write_json


def close_trial(run: Path, trial: FrozenTrial) -> None:
    """Its result.json, and its checkpoint made small."""
    folder = trial_folder(run, trial.number)
    rows = folder.rows()
    result = {
        "number": trial.number,
        "state": trial.state.name,
        "epochs": len(rows),
        "seconds": round(folder.seconds(rows), 1),
        "reason": trial.user_attrs.get(REASON),
        "metrics": rows[-1] if rows else {},
    }
    if folder.fork:
        result["forked_at"] = folder.fork["epoch"]
    folder.path.mkdir(parents=True, exist_ok=True)
    attempt = folder.last_attempt()
    if attempt is not None:
        checkpoint.shrink(attempt.checkpoint_path)
        kept = {attempt.checkpoint_path}
        if trial.state == TrialState.COMPLETE:  # a fork takes no other
            kept |= set(attempt.path.glob("checkpoint-*.pt"))
        for path in folder.path.glob("attempt-*/*checkpoint*.pt*"):  # whole ones, and halves of saves that a kill ended
            if path not in kept:
                path.unlink(missing_ok=True)
    write_json(folder.result_path, result)  # last: where it is missing, all of this is done again
