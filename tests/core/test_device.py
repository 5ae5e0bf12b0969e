"""What a configuration leaves to the machine, and what makes its numbers repeatable."""

import pytest
import torch

from aae.config import TrialConfig
from aae.device import multiplies_bfloat16, repeatable, resolve
from tests.golden import tiny_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [({"avx512_bf16": True}, True), ({"amx_tile": True}, True), ({"avx512_bf16": False, "avx512_f": True}, False), ({}, False)],
)
def test_a_processor_takes_bfloat16_where_it_multiplies_it_natively(monkeypatch, capabilities, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(CPU) is native
    resolved = resolve(tiny_config({"train.precision": "auto"}), CPU)
    assert resolved.train.precision == ("bfloat16" if native else "float32")


def test_a_checkpoint_is_written_every_epoch_and_on_a_gpu_every_thirty_seconds(monkeypatch):
    """An epoch of MNIST may take a second there, and 80 MB a second and trial are too much for a file server."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert TrialConfig().train.checkpoint_every == "auto"
    assert [resolve(TrialConfig(), device).train.checkpoint_every for device in (CPU, CUDA)] == ["1", "30s"]
    assert [resolve(tiny_config({"train.checkpoint_every": "2"}), device).train.checkpoint_every for device in (CPU, CUDA)] == ["2", "2"]


def test_what_the_configuration_says_itself_is_not_touched():
    config = tiny_config({"train.precision": "float32", "train.checkpoint_every": "7s"})
    assert resolve(config, CPU) == resolve(config, CUDA) == config


def test_deterministic_algorithms_do_not_fill_empty_tensors_on_top(monkeypatch):
    """Seen to fail without the switch: torch fills them by default, a kernel each."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # and the variable goes again
    threads, filled = torch.get_num_threads(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        repeatable(CUDA, threads)
        assert torch.are_deterministic_algorithms_enabled() and not torch.utils.deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
