"""The machine under a training: which device, what it multiplies natively, and what makes its numbers repeatable."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import torch

from aae.config import TrialConfig


def choose_device(gpu: bool = True) -> torch.device:
    """A GPU, where there is one and it may be used."""
    return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")


def device_name(device: torch.device | None = None) -> str:
    """The GPU's name, or the processor's and what torch makes of it: equal names compute equal bits. Without `device` that of the one
    that a training would take here."""
    if (device or choose_device()).type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        processor = next(
            (
                line.split(":", 1)[1].strip()
                for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
                if line.startswith("model name")
            ),
            processor,
        )
    return f"{processor} ({torch.backends.cpu.get_cpu_capability()})"


def resolve(config: TrialConfig, device: torch.device) -> TrialConfig:
    """The configuration with nothing left to the machine. `precision: auto` becomes what this device multiplies natively, and
    `checkpoint_every: auto` a time where an epoch may take a second, else an epoch."""
    precision, checkpoint_every = config.train.precision, config.train.checkpoint_every
    if precision == "auto":
        precision = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if checkpoint_every == "auto":
        checkpoint_every = "30s" if device.type == "cuda" else "1"
    return replace(config, train=replace(config.train, precision=precision, checkpoint_every=checkpoint_every))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Natively, that is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("avx512_bf16") or processor.get("amx_tile"))


def steady_memory() -> None:
    """Fixed limits for when freed memory goes back to the system. glibc's own move as it runs, and cost page faults at every step
    (docs/log.md)."""
    m_trim_threshold, m_mmap_threshold = -1, -3  # of malloc.h
    ask_glibc("mallopt", m_mmap_threshold, 32 << 20)
    ask_glibc("mallopt", m_trim_threshold, 256 << 20)


def give_back_memory() -> None:
    """Returns the holes in the heap to the system. glibc does not fill them again: without this the joint update in bfloat16, with a
    checkpoint an epoch, grows to 7 GB (docs/log.md)."""
    ask_glibc("malloc_trim", 0)


def ask_glibc(function: str, *arguments: int) -> None:
    """Does nothing where the C library is another one."""
    call = getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None
    if call is not None:
        call(*arguments)


def repeatable(device: torch.device, num_threads: int) -> None:
    """The same configuration on the same machine gives the same bits."""
    torch.set_num_threads(num_threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # On by default then, it fills every empty tensor: a kernel each.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
