"""The W&B run of a trial, and that of the whole study. Nothing that W&B does or fails to do may stop or fail a trial.

Offline without a key, online with one; the standard WANDB_* variables win. Offline files lie in the run folder's wandb/, ready
for `wandb sync`; `wandb leet RUN/wandb` shows them in the terminal.
"""

from __future__ import annotations

import contextlib
import netrc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aae.runs import Attempt, Row

PROJECT = "aae-sweep"
INIT_TIMEOUT_S, FINISH_TIMEOUT_S = 30.0, 2.0  # Ray gives a stopped trial's thread 2 s


def choose_mode() -> str:
    """online | offline | disabled."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return "disabled"
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("online", "offline", "disabled"):
        return mode
    return "online" if has_key() else "offline"


def has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0].split(":")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class Guard:
    """Runs W&B's calls: the first failure is said once on stderr, and nothing is asked of W&B after it."""

    def __init__(self) -> None:
        self.broken = False

    def __call__(self, timeout_s: float, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if self.broken:
            return None
        answer: list[Any] = []

        def work() -> None:
            try:
                answer.append(call(*arguments, **named))
            except Exception as error:  # W&B raises many kinds, and none of them is the trial's concern
                answer.append(None)
                self.broken = True
                print(f"warning: W&B failed and is left alone from here on: {type(error).__name__}: {error}", file=sys.stderr)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(timeout_s)
        if not answer:
            self.broken = True
            print(f"warning: W&B did not answer within {timeout_s:.0f} s and is left alone from here on", file=sys.stderr)
            return None
        return answer[0]


class Tracker:
    """One trial's run: group = study, the configuration under dotted paths, an epoch axis, pictures, a summary with the state."""

    def __init__(self, study: dict[str, Any], name: str, config: dict[str, Any], attempt: Attempt):
        self.attempt, self.guard, self.run = attempt, Guard(), None
        self.mode = study["wandb_mode"]
        if self.mode == "disabled":
            return
        tags = [f"trial {name}", *([study["baselines"][name]] if name in study["baselines"] else [])]
        self.run = self.guard(INIT_TIMEOUT_S, start, study, name, "trial", config, tags)

    def log(self, row: Row) -> None:
        if self.run is not None:
            self.guard(FINISH_TIMEOUT_S, self._log, row)

    def _log(self, row: Row) -> None:
        import wandb

        assert self.run is not None
        images = sorted(self.attempt.samples_path.glob(f"epoch-{row['epoch']:04d}-*.png"))
        pictures = {f"pictures/{path.stem.split('-', 2)[2]}": wandb.Image(str(path)) for path in images}
        self.run.log(row | pictures, step=row["epoch"])

    def finish(self, state: str, reason: str | None) -> None:
        if self.run is not None:
            self.guard(FINISH_TIMEOUT_S, self._finish, state, reason)

    def _finish(self, state: str, reason: str | None) -> None:
        assert self.run is not None
        self.run.summary["state"] = state
        self.run.summary["reason"] = reason
        self.run.finish(exit_code=1 if state == "FAIL" else 0, quiet=True)


def start(study: dict[str, Any], name: str, kind: str, config: dict[str, Any], tags: list[str]) -> Any:
    """A W&B run under a fixed id: an attempt that goes on elsewhere continues it, and no step counts twice."""
    import wandb

    folder = Path(study["run"]) / "wandb"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(sys.stderr):
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=study["name"],
            job_type=kind,
            name=f"{study['name']}/{name}",
            id=f"{study['id']}-{name}",
            resume="allow" if study["wandb_mode"] == "online" else None,
            dir=str(folder.parent),
            mode=study["wandb_mode"],
            tags=tags,
            config=config,
            reinit="finish_previous",
            settings=wandb.Settings(console="off", x_disable_stats=True, silent=True, init_timeout=INIT_TIMEOUT_S - 5),
        )
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    run.define_metric("val/error", step_metric="epoch", summary="last")
    return run


def log_study(study: dict[str, Any], table: list[dict[str, Any]], figures: list[Path]) -> str | None:
    """The study's own run: the table of its trials and its figures. Returns the project's URL when online."""
    if study["wandb_mode"] == "disabled":
        return None
    guard = Guard()

    def work() -> str | None:
        import wandb

        run = start(study, "study", "study", {"study": study["name"]}, ["study"])
        columns = list(dict.fromkeys(key for row in table for key in row))
        data = [[None if row.get(column) is None else str(row[column]) for column in columns] for row in table]
        best = [row["value"] for row in table if row.get("state") == "COMPLETE"]
        run.log({"trials": wandb.Table(columns=columns, data=data)} | {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures})
        run.summary["best val/error"] = min(best) if best else None
        run.summary["num_trials"] = len(table)
        url = run.project_url if study["wandb_mode"] == "online" else None
        run.finish(quiet=True)
        return url

    return guard(60.0, work)
