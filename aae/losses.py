"""The losses as pure functions of tensors. Each says its sign, its reduction and its unit."""

# B batch, L labelled batch, X pixels, Z style dim, K classes, P pairs of classes

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def reconstruction(pixels_BX: Tensor, x_BX: Tensor) -> Tensor:
    """Half the squared Euclidean distance, *summed* over pixels, mean over B (Makhzani et al. 2015).

    Averaged over pixels instead, it would be 784 times weaker against the adversarial terms: a bug of several ports."""
    return (pixels_BX.float() - x_BX).square().sum() * (0.5 / len(x_BX))


def discriminator(real_B: Tensor, fake_B: Tensor) -> Tensor:
    """Discriminator side, of logits: mean over B of -log D(prior sample) - log(1 - D(code)), in nats. 2 ln 2 = it cannot tell."""
    return F.softplus(-real_B.float()).mean() + F.softplus(fake_B.float()).mean()


def generator(fake_B: Tensor) -> Tensor:
    """Generator side, non-saturating: mean over B of -log D(code), in nats. Lower = codes look more like the prior."""
    return F.softplus(-fake_B.float()).mean()


def classification(logits_LK: Tensor, label_L: Tensor) -> Tensor:
    """Cross-entropy of logits (no softmax before it), mean over L, in nats."""
    return F.cross_entropy(logits_LK.float(), label_L)


def head_separation(heads_KZ: Tensor, threshold: float) -> Tensor:
    """Half the squared distance that a pair of heads lacks to `threshold`, summed over pairs; 0 = all are far enough apart.

    The paper asks for heads pushed apart when they are nearer than a threshold (section 7); the squared hinge is our choice."""
    first_P, second_P = torch.triu_indices(len(heads_KZ), len(heads_KZ), offset=1, device=heads_KZ.device)
    apart_P = torch.linalg.vector_norm(heads_KZ[first_P] - heads_KZ[second_P], dim=-1)
    return 0.5 * F.relu(threshold - apart_P).square().sum()


def consistency(target_BK: Tensor, logits_BK: Tensor) -> Tensor:
    """KL divergence of the second class distribution from the first, both given as logits, mean over B, in nats; 0 = the same. No
    gradient goes into the first."""
    log_p_BK, log_q_BK = target_BK.detach().float().log_softmax(dim=-1), logits_BK.float().log_softmax(dim=-1)
    return (log_p_BK.exp() * (log_p_BK - log_q_BK)).sum() / len(log_p_BK)


def aligned(logits_BK: Tensor) -> Tensor:
    """Logits of each class distribution times 1/K over the batch's mean of it: a class that the batch has too many of loses its unsure
    images (distribution alignment, Berthelot et al. 2020, arXiv 1911.09785, section 3.1, there with a running mean). A mean below one
    image counts as one."""
    mean_K = logits_BK.float().softmax(dim=-1).mean(dim=0).clamp(min=1 / len(logits_BK))
    return logits_BK.float() - mean_K.log()


def mutual_information(logits_BK: Tensor, prior_K: Tensor, balance: float) -> Tensor:
    """Mean entropy of the class distributions, and `balance` times the KL divergence of their mean from `prior_K`, in nats; 0 = each image
    is sure of its class, and classes are as frequent as the prior says. With a uniform prior and balance 1 it is log K less the mutual
    information of image and class (Hu et al. 2017, arXiv 1702.08720; 4 is the balance of their code)."""
    log_q_BK = logits_BK.float().log_softmax(dim=-1)
    log_mean_K = log_q_BK.logsumexp(dim=0) - math.log(len(log_q_BK))  # of a class that no image has any more it stays finite
    divergence = (log_mean_K.exp() * (log_mean_K - prior_K.log())).sum()
    return -(log_q_BK.exp() * log_q_BK).sum(dim=-1).mean() + balance * divergence


def adversarial_perturbation(
    classify: Callable[[Tensor], Tensor], target_BK: Tensor, x_BX: Tensor, direction_BX: Tensor, xi: float, epsilon: float
) -> Tensor:
    """The vector of length `epsilon` for each image along which `classify`, images -> logits, leaves the target fastest, as far as one
    power iteration from a random unit vector tells: epsilon g / |g|, with g the gradient of KL(target, x + xi d) by d alone (Miyato et
    al. 2018, section 3.3). 0 where g is 0. It is a constant: no gradient goes into it."""

    def divergence(d_BX: Tensor) -> Tensor:
        return consistency(target_BK, classify(x_BX + xi * d_BX))

    with torch.no_grad():  # for the weights; func.grad differentiates by d all the same
        g_BX = torch.func.grad(divergence)(direction_BX)
        g_BX = g_BX / g_BX.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30)  # of a sure image it is tiny, and its square would be 0
        return epsilon * F.normalize(g_BX)
