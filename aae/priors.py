"""What codes should look like: samples of p(z) and p(y)."""

# B batch, Z style dim, K classes

import torch
from torch import Tensor


def sample_gaussian(batch: int, z_dim: int, std: float, generator: torch.Generator) -> Tensor:
    """z_BZ ~ N(0, std^2 I)."""
    return torch.randn(batch, z_dim, generator=generator, device=generator.device) * std


SAMPLE_PRIOR = {"gaussian": sample_gaussian}


def sample_categorical(batch: int, num_classes: int, generator: torch.Generator) -> Tensor:
    """One-hot y_BK, uniform over the K classes."""
    label_B = torch.randint(num_classes, (batch,), generator=generator, device=generator.device)
    return torch.nn.functional.one_hot(label_B, num_classes).float()
