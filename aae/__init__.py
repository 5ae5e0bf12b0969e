"""Adversarial autoencoders in plain PyTorch. `model, config = aae.load("runs/STUDY/trials/0007")`."""

import os

# Read by CUDA when it starts: without it its matrix products are not repeatable to the bit.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from aae.checkpoint import load

__all__ = ["load"]
