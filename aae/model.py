"""The networks of the adversarial autoencoder: plain numbers in, no configuration inside."""

# B batch, X pixels, Z style dim, K classes

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def mlp(in_dim: int, hidden_dims: Sequence[int], leaky_slope: float = 0.0) -> nn.Sequential:
    """Linear and ReLU layers, without an output layer."""
    layers: list[nn.Module] = []
    for out_dim in hidden_dims:
        layers += [nn.Linear(in_dim, out_dim), nn.LeakyReLU(leaky_slope) if leaky_slope else nn.ReLU()]
        in_dim = out_dim
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """x_BX -> (logits_BK, z_BZ): one trunk, a linear head for the class (absent when num_classes is 0) and one for the style."""

    def __init__(self, x_dim: int, hidden_dims: Sequence[int], num_classes: int, z_dim: int):
        super().__init__()
        self.trunk = mlp(x_dim, hidden_dims)
        self.heads = nn.Linear(hidden_dims[-1], num_classes + z_dim)
        self.num_classes = num_classes

    def forward(self, x_BX: Tensor) -> tuple[Tensor, Tensor]:
        both = self.heads(self.trunk(x_BX)).float()
        return both[:, : self.num_classes], both[:, self.num_classes :]


class Decoder(nn.Module):
    """(y_BK, z_BZ) -> pixels_BX in (0, 1). y is a probability vector or one-hot, never logits."""

    def __init__(self, num_classes: int, z_dim: int, hidden_dims: Sequence[int], x_dim: int):
        super().__init__()
        self.trunk = mlp(num_classes + z_dim, hidden_dims)
        self.pixels = nn.Linear(hidden_dims[-1], x_dim)

    def forward(self, y_BK: Tensor, z_BZ: Tensor) -> Tensor:
        return torch.sigmoid(self.pixels(self.trunk(torch.cat([y_BK, z_BZ], dim=-1))).float())


class Discriminator(nn.Module):
    """codes -> logits_B; positive = looks like a sample of the prior."""

    def __init__(self, in_dim: int, hidden_dims: Sequence[int], leaky_slope: float):
        super().__init__()
        self.trunk = mlp(in_dim, hidden_dims, leaky_slope)
        self.logit = nn.Linear(hidden_dims[-1], 1)

    def forward(self, codes: Tensor) -> Tensor:
        return self.logit(self.trunk(codes)).float().squeeze(-1)


class Autoencoder(nn.Module):
    """What is left when training is over: `encoder(x_BX) -> (logits_BK, z_BZ)` and `decoder(y_BK, z_BZ) -> pixels_BX`."""

    def __init__(self, x_dim: int, z_dim: int, num_classes: int, hidden_dims: Sequence[int]):
        super().__init__()
        self.encoder = Encoder(x_dim, hidden_dims, num_classes, z_dim)
        self.decoder = Decoder(num_classes, z_dim, hidden_dims, x_dim)


class AAE(nn.Module):
    """An adversarial autoencoder. `num_classes` 0: no inferred class, and no `disc_y`.

    Weights are drawn from `generator` as N(0, init_std^2), or by He's rule when init_std is None; biases start at 0."""

    def __init__(
        self,
        x_dim: int,
        z_dim: int,
        num_classes: int,
        hidden_dims: Sequence[int],
        init_std: float | None,
        leaky_slope: float,
        generator: torch.Generator,
    ):
        super().__init__()
        self.encoder = Encoder(x_dim, hidden_dims, num_classes, z_dim)
        self.decoder = Decoder(num_classes, z_dim, hidden_dims, x_dim)
        self.disc_z = Discriminator(z_dim, hidden_dims, leaky_slope)
        self.disc_y = Discriminator(num_classes, hidden_dims, leaky_slope) if num_classes else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                std = init_std if init_std is not None else (2 / module.in_features) ** 0.5
                nn.init.normal_(module.weight, std=std, generator=generator)
                nn.init.zeros_(module.bias)
