"""Whether new images show the class asked for: of a decoder that draws it, and of one that looks at the style alone."""

from pathlib import Path

import pytest
import torch

from aae import checkpoint
from aae.model import Autoencoder
from benchmarks import class_control
from tests.golden import tiny_config


@pytest.mark.parametrize("told", [True, False])
def test_a_decoder_that_draws_its_class_shows_it_and_one_that_draws_its_style_shows_a_tenth(told, monkeypatch):
    """The first ten pixels are the class, or the style's largest coordinate; the judge reads the brightest of them."""
    config = tiny_config({"model.z_dim": 10})
    model = Autoencoder(36, 10, [16], num_heads=10, decoder_classes=10)
    model.decoder.forward = lambda y_BK, z_BZ: torch.nn.functional.pad(y_BK if told else z_BZ, (0, 26))
    monkeypatch.setattr(checkpoint, "load", lambda folder: (model, config))
    shares = class_control.shown_as_asked(Path("anywhere"), lambda images_BX: (images_BX[:, :10], None))
    assert len(shares) == 10
    assert shares == [1.0] * 10 if told else all(abs(share - 0.1) < 0.03 for share in shares)
