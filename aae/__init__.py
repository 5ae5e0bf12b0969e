"""Adversarial autoencoders in plain PyTorch. `model, config = aae.load("runs/STUDY/trials/0007")`."""

import os
from typing import TYPE_CHECKING, Any

from aae.interrupts import say_in_a_line

if TYPE_CHECKING:
    from aae.checkpoint import load

say_in_a_line()

# Read by CUDA when it starts: without it its matrix products are not repeatable to the bit.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports torch at the first use of `load`: `launch.py --help` does not wait for it."""
    if name == "load":
        from aae.checkpoint import load

        return load
    raise AttributeError(f"module 'aae' has no attribute '{name}'")
