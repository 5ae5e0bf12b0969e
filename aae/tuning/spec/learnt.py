"""What a study learns from: `study.learn_from: [runs/OTHER]`, told trials of other studies with the same metric.

Its sampler sees them; its pruner does not, and they are no trials of it. Here is what a sweep must know of them. Their studies are read
by aae/tuning/study/learning.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aae.errors import require
from aae.tuning.spec.samplers_and_pruners import AUTO


@dataclass(frozen=True)
class Learnt:
    """Of one other study. It is in the manifest, and stays when the other study goes on."""

    run: str
    id: str  # of the other study
    trials: tuple[int, ...]  # their numbers there
    sha256: str  # of what they tell
    note: str  # how many, and what is fixed otherwise there

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Learnt:
        return cls(**(stored | {"trials": tuple(stored["trials"])}))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_learn_from(runs: Any, sampler: dict[str, Any], fork: Any) -> None:
    """Raises ConfigError."""
    if runs is None:
        return
    path = "study.learn_from"
    ok = isinstance(runs, list) and bool(runs) and all(isinstance(run, str) and run for run in runs)
    require(ok, path, runs, "give a list of run folders, as [runs/semi_rates], or null")
    require(len(set(runs)) == len(runs), path, runs, "name each study once")
    require(fork is None, path, runs, "a fork's parents mean nothing to another study: leave this or study.fork out")
    want = f"only the sampler {{kind: {AUTO}}} learns from other studies: use that, or leave study.learn_from out"
    require(sampler.get("kind") == AUTO, "study.sampler.kind", sampler.get("kind"), want)
