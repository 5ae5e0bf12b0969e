"""The networks of the adversarial autoencoder: plain numbers in, no configuration inside."""

# B batch, X pixels, H hidden units, Z style dim, K classes

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation without a memory: a training step normalises by its own batch and changes nothing else, so that a second look
    at moved images leaves no trace. What evaluation normalises by is set by `Encoder.settle`."""

    def forward(self, x_BH: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_BH)
        return F.batch_norm(x_BH, None, None, self.weight, self.bias, training=True, eps=self.eps)


def mlp(in_dim: int, hidden_dims: Sequence[int], leaky_slope: float = 0.0, batch_norm: bool = False) -> nn.Sequential:
    """Linear and ReLU layers, without an output layer."""
    layers: list[nn.Module] = []
    for out_dim in hidden_dims:
        layers += [nn.Linear(in_dim, out_dim, bias=not batch_norm)] + [BatchNorm(out_dim)] * batch_norm  # it would take a bias away again
        layers += [nn.LeakyReLU(leaky_slope) if leaky_slope else nn.ReLU()]
        in_dim = out_dim
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """x_BX -> (logits_BK, z_BZ): one trunk, a linear head for the class (absent when num_heads is 0) and one for the style.

    A sampled encoder has a head for the style's spread too: z = mean + softplus(raw) * noise_BZ, or the mean without noise."""

    def __init__(self, x_dim: int, hidden_dims: Sequence[int], num_heads: int, z_dim: int, sampled: bool, batch_norm: bool = False):
        super().__init__()
        self.trunk = mlp(x_dim, hidden_dims, batch_norm=batch_norm)
        self.heads = nn.Linear(hidden_dims[-1], num_heads + z_dim * (2 if sampled else 1))
        self.num_heads, self.z_dim, self.sampled = num_heads, z_dim, sampled

    def forward(self, x_BX: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits_BK, z_BZ, *raw = (
            self.heads(self.trunk(x_BX)).float().split([self.num_heads, self.z_dim] + [self.z_dim] * self.sampled, dim=-1)
        )
        return logits_BK, z_BZ if noise_BZ is None or not raw else z_BZ + F.softplus(raw[0]) * noise_BZ

    @torch.no_grad()
    def settle(self, x_NX: Tensor) -> None:
        """Ready for evaluation: with batch norm, each layer from now on normalises by its mean and variance over these images."""
        self.eval()
        if not any(isinstance(layer, BatchNorm) for layer in self.trunk):
            return
        for layer in self.trunk:
            if isinstance(layer, BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.copy_(x_NX.mean(dim=0))
                layer.running_var.copy_(x_NX.var(dim=0))
            x_NX = layer(x_NX)


class Decoder(nn.Module):
    """(y_BK, z_BZ) -> pixels_BX in (0, 1). y is a probability vector or one-hot, never logits.

    It reads [y, z]; or, with added heads, the one code W y + z, in which each class has a place of its own."""

    def __init__(self, num_classes: int, z_dim: int, hidden_dims: Sequence[int], x_dim: int, added_heads: bool):
        super().__init__()
        self.heads = nn.Linear(num_classes, z_dim, bias=False) if added_heads else None
        self.trunk = mlp(z_dim if added_heads else num_classes + z_dim, hidden_dims)
        self.pixels = nn.Linear(hidden_dims[-1], x_dim)
        self.num_classes = num_classes

    @property
    def heads_KZ(self) -> Tensor:
        """The place of each class in the code; added heads alone have one."""
        assert self.heads is not None
        return self.heads.weight.T

    def code(self, y_BK: Tensor, z_BZ: Tensor, moves_heads: bool = True) -> Tensor:
        """What the decoder reads: [y, z], or W y + z. `moves_heads`: whether a gradient goes into W; into y it always does."""
        if self.heads is None:
            return torch.cat([y_BK, z_BZ], dim=-1)
        return F.linear(y_BK, self.heads.weight if moves_heads else self.heads.weight.detach()).float() + z_BZ

    def forward(self, y_BK: Tensor, z_BZ: Tensor, moves_heads: bool = True) -> Tensor:
        return torch.sigmoid(self.pixels(self.trunk(self.code(y_BK, z_BZ, moves_heads))).float())


class Discriminator(nn.Module):
    """codes -> logits_B; positive = looks like a sample of the prior."""

    def __init__(self, in_dim: int, hidden_dims: Sequence[int], leaky_slope: float):
        super().__init__()
        self.trunk = mlp(in_dim, hidden_dims, leaky_slope)
        self.logit = nn.Linear(hidden_dims[-1], 1)

    def forward(self, codes: Tensor) -> Tensor:
        return self.logit(self.trunk(codes)).float().squeeze(-1)


class Autoencoder(nn.Module):
    """What is left when training is over: `encoder(x_BX) -> (logits_BK, z_BZ)` and `decoder(y_BK, z_BZ) -> pixels_BX`.

    `num_heads` classes are inferred and `decoder_classes` told to the decoder; 0 where there are none."""

    def __init__(
        self,
        x_dim: int,
        z_dim: int,
        hidden_dims: Sequence[int],
        num_heads: int = 0,
        decoder_classes: int = 0,
        sampled: bool = False,
        added_heads: bool = False,
        batch_norm: bool = False,
    ):
        super().__init__()
        self.encoder = Encoder(x_dim, hidden_dims, num_heads, z_dim, sampled, batch_norm)
        self.decoder = Decoder(decoder_classes, z_dim, hidden_dims, x_dim, added_heads)

    def class_code(self, logits_BK: Tensor, label_B: Tensor) -> Tensor:
        """y_BK as the decoder is told it: the inferred probabilities, else the one-hot label, else nothing (B, 0)."""
        if self.decoder.num_classes > logits_BK.shape[1]:
            return F.one_hot(label_B, self.decoder.num_classes).float()
        return logits_BK.softmax(dim=-1)


class AAE(Autoencoder):
    """An autoencoder with its discriminators. `label_classes`: how wide a label or class `disc_z` is shown beside z, 0 for none.

    Weights are drawn from `generator` as N(0, init_std^2), or by He's rule when init_std is None; biases start at 0. The discriminators
    may have widths and a spread of their own, and the decoder's added heads a spread; None: those of the others."""

    def __init__(
        self,
        x_dim: int,
        z_dim: int,
        hidden_dims: Sequence[int],
        *,
        init_std: float | None,
        leaky_slope: float,
        generator: torch.Generator,
        label_classes: int = 0,
        num_heads: int = 0,
        discriminator_dims: Sequence[int] | None = None,
        discriminator_init_std: float | None = None,
        heads_std: float | None = None,
        **shape: Any,
    ):
        super().__init__(x_dim, z_dim, hidden_dims, num_heads, **shape)
        disc_dims = hidden_dims if discriminator_dims is None else discriminator_dims
        self.disc_z = Discriminator(z_dim + label_classes, disc_dims, leaky_slope)
        self.disc_y = Discriminator(num_heads, disc_dims, leaky_slope) if num_heads else None
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                own_std = {"disc_z": discriminator_init_std, "disc_y": discriminator_init_std}.get(name.split(".")[0])
                own_std = heads_std if name == "decoder.heads" else own_std
                std = own_std or init_std or (2 / module.in_features) ** 0.5
                nn.init.normal_(module.weight, std=std, generator=generator)
                if module.bias is not None:  # W of added heads has none
                    nn.init.zeros_(module.bias)
