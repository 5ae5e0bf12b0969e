"""Why a worker died, by what is known: Ray's word, and the last one in the worker's own log. A cause is never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from aae.tuning.cluster.ray_private import error_text
from aae.tuning.cluster.sessions import session_folder

ASK_S = 5.0  # a dead actor answers at once that it is dead
MAX_CHARACTERS = 200


def cause_of_death(actor: Any, worker: str | None, trial: Any) -> str:
    """In a few words. `actor` and `worker`, Ray's id of its process: of one that lived long enough to say who it is; `trial`: Tune's,
    which knows why another one could not be made."""
    if actor is None:
        return f"its worker could not start: {last_line(error_text(trial)) or 'Ray does not say why'}"
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=ASK_S)
        said = ""
    except ray.exceptions.RayError as error:
        said = str(error).lower()
    if "node has died" in said:
        return "its node was lost"
    if "low on memory" in said:  # Ray's own monitor; the kernel's killer leaves no word
        return "Ray ended the worker: its node was low on memory"
    own = last_words(session_folder(), worker)
    return f"the worker died; its log ends with: {own}" if own else "the worker died"


def last_words(session: Path, worker: str | None) -> str:
    """The line of a worker's log that says most of its end; empty where it says nothing, or lies on another node. "*": any worker's."""
    for log in sorted(session.glob(f"logs/worker-{worker}-*.err")):
        lines = [
            line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if not line.startswith(":")
        ]  # those are Ray's own marks
        fatal = [line for line in lines if line.startswith("Fatal Python error")]  # what follows it is a stack
        if own := last_line("\n".join(fatal or lines)):
            return own
    return ""


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:MAX_CHARACTERS] if lines else ""
