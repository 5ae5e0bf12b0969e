"""What codes should look like: samples of p(z) and p(y), and which part of a prior a code lies in.

A prior is drawn for a batch's labels: where it has a part a class, a labelled row's sample lies in its class's part and an
unlabelled row's (-1) anywhere. The Gaussian has no parts and ignores the labels.

gaussian    N(0, std^2 I)
mixture     component k of K, in each pair of dimensions: (u, v) ~ N(0, 0.5^2) x N(0, 0.1^2), moved 1.4 along u and turned by
            2 pi k / K, so that it points outward (the TensorFlow implementation's constants)
swiss_roll  u uniform in [0, 1), radius 3 sqrt(u), angle 4 pi sqrt(u); class k has u in [k / K, (k + 1) / K)
"""

# B batch, N codes, Z style dim, K classes

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

COMPONENT_STD = (0.5, 0.1)  # along the component and across it
COMPONENT_OFFSET = 1.4  # of a component's centre
ROLL_RADIUS, ROLL_ANGLE = 3.0, 4 * math.pi  # at the outer end of the roll

SamplePrior = Callable[[Tensor, int, int, float, torch.Generator], Tensor]  # (label_B, z_dim, K, std, generator) -> z_BZ


def sample_gaussian(label_B: Tensor, z_dim: int, num_classes: int, std: float, generator: torch.Generator) -> Tensor:
    """z_BZ ~ N(0, std^2 I)."""
    return torch.randn(len(label_B), z_dim, generator=generator, device=generator.device) * std


def sample_mixture(label_B: Tensor, z_dim: int, num_classes: int, std: float, generator: torch.Generator) -> Tensor:
    """z_BZ of the component that the label names, or of one at random; the same component in each pair of dimensions."""
    frame_BP2 = torch.randn(len(label_B), z_dim // 2, 2, generator=generator, device=generator.device)
    for axis, axis_std in enumerate(COMPONENT_STD):  # number by number: a tensor of them would be a copy to a GPU at every step
        frame_BP2[..., axis].mul_(axis_std)
    return from_component(drawn_class(label_B, num_classes, generator), frame_BP2, num_classes)


def from_component(component_B: Tensor, frame_BP2: Tensor, num_classes: int) -> Tensor:
    """z_BZ from (u, v) in each component's own frame, whose origin is the component's centre; P pairs of dimensions."""
    angle_B1 = (2 * math.pi / num_classes * component_B)[:, None]
    outward, across = frame_BP2[..., 0] + COMPONENT_OFFSET, frame_BP2[..., 1]
    x = outward * angle_B1.cos() - across * angle_B1.sin()
    y = outward * angle_B1.sin() + across * angle_B1.cos()
    return torch.stack([x, y], dim=-1).flatten(1)


def sample_swiss_roll(label_B: Tensor, z_dim: int, num_classes: int, std: float, generator: torch.Generator) -> Tensor:
    """z_B2 on the roll; a labelled one on its class's stretch of it."""
    u_B = torch.rand(len(label_B), generator=generator, device=generator.device)
    return on_roll(torch.where(label_B < 0, u_B, (label_B + u_B) / num_classes))


def on_roll(u_B: Tensor) -> Tensor:
    """z_B2 at the places u in [0, 1] along the roll, 0 in the middle."""
    root_B = u_B.sqrt()
    radius_B, angle_B = ROLL_RADIUS * root_B, ROLL_ANGLE * root_B
    return torch.stack([radius_B * angle_B.cos(), radius_B * angle_B.sin()], dim=-1)


SAMPLE_PRIOR: dict[str, SamplePrior] = {"gaussian": sample_gaussian, "mixture": sample_mixture, "swiss_roll": sample_swiss_roll}


def drawn_class(label_B: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """The labels, with a class at random where there is none."""
    random_B = torch.randint(num_classes, (len(label_B),), generator=generator, device=generator.device)
    return torch.where(label_B < 0, random_B, label_B)


def unlabelled(batch: int, device: torch.device | str = "cpu") -> Tensor:
    """label_B of samples that may be of any class."""
    return torch.full((batch,), -1, device=device)


@functools.cache
def upper_ends(probabilities: tuple[float, ...], device: torch.device) -> Tensor:
    """u_K, so that u uniform in [0, 1) lies below the k-th, and not below the one before, with the k-th probability. Cached: to make it at
    every step would be a copy to a GPU."""
    return torch.tensor(probabilities, dtype=torch.float64).cumsum(dim=0).float().to(device)


def sample_categorical(batch: int, num_classes: int, generator: torch.Generator, probabilities: Sequence[float] | None = None) -> Tensor:
    """One-hot y_BK, uniform over the K classes, or with these probabilities."""
    if probabilities is None:
        label_B = torch.randint(num_classes, (batch,), generator=generator, device=generator.device)
    else:
        u_B = torch.rand(batch, generator=generator, device=generator.device)
        last = num_classes - 1  # also of a u that the rounded sum of all lies below
        label_B = torch.searchsorted(upper_ends(tuple(probabilities), generator.device), u_B, right=True).clamp(max=last)
    return torch.nn.functional.one_hot(label_B, num_classes).float()


def nearest_component(z_NZ: Tensor, num_classes: int) -> Tensor:
    """The component whose centre is nearest, N."""
    component_K = torch.arange(num_classes, device=z_NZ.device)
    centre_KZ = from_component(component_K, torch.zeros(num_classes, z_NZ.shape[1] // 2, 2, device=z_NZ.device), num_classes)
    return torch.cdist(z_NZ.float(), centre_KZ).argmin(dim=-1)


def nearest_stretch(z_N2: Tensor, num_classes: int) -> Tensor:
    """The class whose stretch of the roll is nearest, N, by 200 places on each."""
    places = 200 * num_classes
    u = (torch.arange(places, device=z_N2.device) + 0.5) / places
    return torch.cdist(z_N2.float(), on_roll(u)).argmin(dim=-1) // 200


NEAREST_PART: dict[str, Callable[[Tensor, int], Tensor]] = {
    "mixture": nearest_component,
    "swiss_roll": nearest_stretch,
}  # of the priors that have a part a class
