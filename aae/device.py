"""The machine under a training: which device, what it multiplies natively, and what makes its numbers repeatable."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from dataclasses import replace

import torch

from aae.config import TrialConfig


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve(config: TrialConfig, device: torch.device) -> TrialConfig:
    """The configuration with nothing left to the machine: `precision: auto` becomes what this device multiplies natively."""
    if config.train.precision != "auto":
        return config
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return replace(config, train=replace(config.train, precision="bfloat16" if native else "float32"))


def steady_memory() -> None:
    """Keeps freed tensors' memory in the process. glibc's own limits move as it runs: under them the joint update in bfloat16 grew
    by 1 to 2 MB a step, to 7 GB, most of it holes (docs/log.md)."""
    m_trim_threshold, m_mmap_threshold = -1, -3  # of malloc.h
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            libc = ctypes.CDLL(None)
            libc.mallopt(m_mmap_threshold, 32 << 20)
            libc.mallopt(m_trim_threshold, 256 << 20)


def repeatable(device: torch.device, num_threads: int) -> None:
    """The same configuration on the same machine gives the same bits."""
    torch.set_num_threads(num_threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
