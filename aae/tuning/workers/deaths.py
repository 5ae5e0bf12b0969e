"""Why a worker died, by what is known: Ray's word, the kernel's count, and the last line of the worker's own log. A cause is never
guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from aae.tuning.cluster.ray_private import error_text
from aae.tuning.cluster.sessions import session_folder

ASK_S = 5.0  # a dead actor answers at once that it is dead
MAX_CHARACTERS = 200


def cause_of_death(actor: Any, worker: str | None, trial: Any, kills: int | None = None) -> str:
    """In a few words. `actor` and `worker`, Ray's id of its process: of one that lived long enough to say who it is; `trial`: Tune's,
    which knows why another one could not be made; `kills`: memory_kills() when a worker of this machine began."""
    if actor is None:
        return f"its worker could not start: {last_line(error_text(trial)) or 'Ray does not say why'}"
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=ASK_S)
        said = ""
    except ray.exceptions.RayError as error:
        said = str(error).lower()
    if "node has died" in said:
        return "its node was lost"
    if "low on memory" in said:  # Ray's own monitor; the kernel's killer leaves but a count
        return "Ray ended the worker: its node was low on memory"
    if kills is not None and memory_kills() > kills:
        return "the worker died, and the kernel has since its start ended a process of this machine for want of memory"
    own = last_words(session_folder(), worker)
    return f"the worker died; its log ends with: {own}" if own else "the worker died"


def memory_kills() -> int:
    """How many processes of this machine its kernel has ended for want of memory; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def last_words(session: Path, worker: str | None) -> str:
    """The line of a worker's log that says most of its end; empty where it says nothing, or lies on another node. "*": any worker's."""
    for log in sorted(session.glob(f"logs/worker-{worker}-*.err")):
        text = log.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if not line.startswith(":")]  # those are Ray's own marks
        fatal = [line for line in lines if line.startswith("Fatal Python error")]  # what follows it is a stack
        if own := last_line("\n".join(fatal or lines)):
            return own
    return ""


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:MAX_CHARACTERS] if lines else ""
