"""What is measured after an epoch, on validation images without noise, in float32. Each metric once, with its unit.

val/error             fraction of images whose most likely class is not their label, averaged (EMA) weights
val/error_plain       the same of the weights as they are
val/error_draws       of a trial of several draws, whose metrics are means over them: val/error of each (aae/draws.py)
val/cluster_error     without labels in training: each cluster takes the label of the image that is surest of it (Makhzani et
                      al. 2015, section 6), fraction of images whose cluster has another label than they
val/cluster_error_majority  the same where a cluster takes the label of most of its images
val/component_error   fraction of images whose code is nearest to another class's part of the prior
val/component_error_of_prior  the same of the prior's own samples: what a perfect match still gets wrong
val/knn_error         fraction of the second half of the images whose label is not that of most of their NEIGHBOURS nearest in
                      the first half, in the code W y + z
val/parzen_nll        minus the mean log-likelihood of an image under a Parzen window over samples, in nats (`aae.likelihood`)
val/parzen_std        the window's width that was chosen, in pixels
val/reconstruction    half the squared distance, summed over pixels, mean over images (averaged weights, as all but error_plain)
val/prior_mismatch    Gaussian prior: KL, in nats, of the normal fitted to the codes z to the prior; healthy < 0.2
                      other priors: energy distance of the codes to fresh samples of the prior, in units of z
val/prior_mismatch_of_prior  other priors: the same of two fresh samples of the prior
val/z_min_eigenvalue  smallest eigenvalue of the codes' covariance, over that of the prior's; < 0.05 is a collapse
val/class_from_z      fraction of images whose class a quadratic discriminant reads from z; of ten classes < 0.2: z carries style only
val/class_kl          KL, in nats, of the mean q(y) to p(y) (objective.adversarial_y.prior); healthy < 0.01, and more for few images
val/class_entropy     mean entropy of q(y | x), in nats; healthy < 0.1
val/class_count       exp of the entropy of the most likely classes' counts; healthy >= 9.5 of 10, of clusters >= 0.8 K
val/class_count_of_prior  where p(y) is not uniform: the same of p(y), and what takes the place of K

A sampled encoder's codes are drawn with a noise of their own, the same at every evaluation. Where training moves its images
(train.shift), what is said of z alone is of images moved likewise (`moved`); all else is of the images as they are.
"""

# N images, M samples or images beside them, X pixels, Z style dim, K classes

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from aae import losses
from aae.config import TrialConfig
from aae.data import Split
from aae.errors import Diverged
from aae.likelihood import PARZEN_IMAGES, parzen, parzen_choosing
from aae.model import Autoencoder, Encoder
from aae.noise import shifted
from aae.priors import NEAREST_PART, SAMPLE_PRIOR, sample_categorical, unlabelled
from aae.runs import Row

CHUNK, VOTERS = 2000, 5000  # images that pass the networks at once; codes whose distances are there at once
NEIGHBOURS = 5  # that vote in val/knn_error
ENERGY_CODES = 4000  # its cost grows with their square. Evenly spread: MNIST's first test images are unlike the rest


def is_error(metric: str) -> bool:
    """Fractions in code, percent wherever people read them; every other metric is a plain number."""
    return "error" in metric.rpartition("/")[2]


def scale(metric: str) -> int:
    return 100 if is_error(metric) else 1


def unit(metric: str) -> str:
    return "%" if is_error(metric) else "nats" if metric.endswith("parzen_nll") else ""


def shown(metric: str, value: float | None) -> str:
    """A value as people read it, with its unit: 1.90 %, 25.31, -312.4 nats."""
    if value is None:
        return "-"
    text = f"{100 * value:.2f}" if is_error(metric) else f"{value:.4g}"
    return f"{text} {unit(metric)}".strip()


def label(metric: str) -> str:
    """Of an axis or a column."""
    return f"{metric} ({unit(metric)})" if unit(metric) else metric


def to_pixels(images: Tensor) -> Tensor:
    """uint8 images to float32 pixels in [0, 1]."""
    return images.to(torch.float32) / 255


def chunks(split: Split) -> Iterator[Tensor]:
    """All images, the last partial batch included."""
    for images in split.images_NX.split(CHUNK):
        yield to_pixels(images)


@torch.no_grad()
def class_logits(encoder: Encoder, split: Split) -> Tensor:
    return torch.cat([encoder(x_BX)[0] for x_BX in chunks(split)])


@torch.no_grad()
def encode(model: Autoencoder, split: Split) -> tuple[Tensor, Tensor, Tensor]:
    """(logits_NK, y_NK as the decoder is told it, z_NZ)."""
    generator, encoder, codes = torch.Generator().manual_seed(1), model.encoder, []  # 0 seeds the prior's samples
    for x_BX, label_B in zip(chunks(split), split.label_N.split(CHUNK), strict=True):
        noise_BZ = torch.randn(len(x_BX), encoder.z_dim, generator=generator).to(x_BX.device) if encoder.sampled else None
        logits_BK, z_BZ = encoder(x_BX, noise_BZ)
        codes.append((logits_BK, model.class_code(logits_BK, label_B), z_BZ))
    logits_NK, y_NK, z_NZ = (torch.cat(parts) for parts in zip(*codes, strict=True))
    return logits_NK, y_NK, z_NZ


@torch.no_grad()
def evaluate(
    model: Autoencoder, split: Split, config: TrialConfig, image_shape: tuple[int, int, int], fitted: Split | None = None
) -> tuple[Row, Tensor]:
    """(metrics of the averaged weights, predicted labels N). Reads the validation split, whatever is given as such. Raises Diverged.

    What is fitted to images, the labels of clusters and the width of the Parzen window, is fitted to those of `fitted` where they
    are given: validation images, when the test set is scored."""
    logits_NK, y_NK, z_NZ = encode(model, split)
    style_NZ = encode(model, moved(split, config.train.shift, image_shape))[2] if config.train.shift else z_NZ
    if not all(
        code.isfinite().all() for code in (logits_NK, z_NZ, style_NZ)
    ):  # before anything is decomposed, which would be another error
        raise Diverged("a code of a validation image is not finite")
    squared = torch.zeros((), device=z_NZ.device)
    for x_BX, y_BK, z_BZ in zip(chunks(split), y_NK.split(CHUNK), z_NZ.split(CHUNK), strict=True):
        squared += losses.reconstruction(model.decoder(y_BK, z_BZ), x_BX) * len(x_BX)
    label_N, row, prediction_N = split.label_N, Row(), torch.zeros(len(z_NZ), dtype=torch.long)
    if config.objective.classification is not None:
        prediction_N = logits_NK.argmax(dim=-1)
        row["val/error"] = error(logits_NK, label_N)
    elif model.encoder.num_heads:
        named = (logits_NK, label_N) if fitted is None else (class_logits(model.encoder, fitted), fitted.label_N)
        of_exemplar_K, of_majority_K = cluster_labels(*named)
        prediction_N = of_exemplar_K[logits_NK.argmax(dim=-1)]
        row["val/cluster_error"] = float((prediction_N != label_N).double().mean())
        row["val/cluster_error_majority"] = float((of_majority_K[logits_NK.argmax(dim=-1)] != label_N).double().mean())
    row["val/reconstruction"] = float(squared) / len(z_NZ)
    if model.encoder.num_heads:
        row |= class_monitors(y_NK, config.objective.class_probabilities)
    row |= style_monitors(style_NZ, label_N, config)
    if config.model.combine == "heads":
        row["val/knn_error"] = neighbour_error(model.decoder.code(y_NK, z_NZ), label_N)
    if config.train.parzen_samples:
        samples_MX = new_images(model, config, config.train.parzen_samples, torch.Generator().manual_seed(0 if fitted is None else 1))
        images_NX = split.images_NX[:PARZEN_IMAGES][1::2] if fitted is None else split.images_NX
        log_likelihood_N, std = parzen(samples_MX, to_pixels(parzen_choosing(fitted or split)), to_pixels(images_NX))
        row |= {"val/parzen_nll": -float(log_likelihood_N.mean()), "val/parzen_std": std}
    return row, prediction_N


def moved(split: Split, furthest: int, image_shape: tuple[int, int, int]) -> Split:
    """The images, each moved as training moves its own (train.shift), the same way at every evaluation. It is the codes of moved images
    that a training matches to the prior: those of images as they are fill only a part of it."""
    generator, images = torch.Generator().manual_seed(2), []
    for images_BX in split.images_NX.split(CHUNK):
        shift_B2 = torch.randint(-furthest, furthest + 1, (len(images_BX), 2), generator=generator).to(images_BX.device)
        images.append(shifted(images_BX, shift_B2, furthest, image_shape))
    return Split(torch.cat(images), split.label_N)


def cluster_labels(logits_NK: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
    """(label of each cluster's surest image K, label of most of its images K).

    Sure is ranked by log-odds, since probabilities saturate to 1 in float32. A cluster without images takes its exemplar's label."""
    num_heads, num_labels = logits_NK.shape[1], int(label_N.max()) + 1
    of_exemplar_K = label_N[log_odds(logits_NK).argmax(dim=0)]
    pairs_N = logits_NK.argmax(dim=-1) * num_labels + label_N
    counts_KL = torch.bincount(pairs_N, minlength=num_heads * num_labels).reshape(num_heads, num_labels)
    return of_exemplar_K, torch.where(counts_KL.sum(dim=-1) > 0, counts_KL.argmax(dim=-1), of_exemplar_K)


def log_odds(logits_NK: Tensor) -> Tensor:
    """log q(y = k | x) - log q(y != k | x), in nats: in the order of the probability, and it does not saturate."""
    others_KK = ~torch.eye(logits_NK.shape[1], dtype=torch.bool, device=logits_NK.device)
    return logits_NK - torch.stack([logits_NK[:, others_K].logsumexp(dim=-1) for others_K in others_KK], dim=1)


def neighbour_error(code_NZ: Tensor, label_N: Tensor) -> float:
    """k-nearest-neighbour error, a fraction: the first half of the codes votes on the second, k = NEIGHBOURS."""
    half = len(code_NZ) // 2
    nearest = [torch.cdist(m_MZ, code_NZ[:half]).topk(min(NEIGHBOURS, half), largest=False)[1] for m_MZ in code_NZ[half:].split(VOTERS)]
    return float((label_N[:half][torch.cat(nearest)].mode(dim=-1).values != label_N[half:]).double().mean())


@torch.no_grad()
def new_images(
    model: Autoencoder, config: TrialConfig, num: int, generator: torch.Generator, label: int | None = None, component: int | None = None
) -> Tensor:
    """pixels_NX in [0, 1]: z from the prior, all of it or the part `component`; y from p(y), or all `label`."""
    device, prior, num_classes = next(model.parameters()).device, config.objective.adversarial_z.prior, model.decoder.num_classes
    part_N = unlabelled(num) if component is None else torch.full((num,), component)
    z_NZ = SAMPLE_PRIOR[prior.kind](part_N, config.model.z_dim, config.model.num_classes, prior.std, generator)
    y_NK = torch.zeros(num, 0)
    if num_classes:
        p = config.objective.class_probabilities
        y_NK = sample_categorical(num, num_classes, generator, p) if label is None else torch.eye(num_classes)[label].expand(num, -1)
    pairs = zip(y_NK.to(device).split(CHUNK), z_NZ.to(device).split(CHUNK), strict=True)
    return torch.cat([model.decoder(y_BK, z_BZ) for y_BK, z_BZ in pairs])


def error(logits_NK: Tensor, label_N: Tensor) -> float:
    """Wrong ones over all, a fraction."""
    return int((logits_NK.argmax(dim=-1) != label_N).sum()) / len(label_N)


def class_monitors(y_NK: Tensor, probabilities: Sequence[float] | None = None) -> Row:
    """`probabilities`: p(y), where it is not uniform."""
    num_classes, of_prior = y_NK.shape[1], Row()
    mean_K = y_NK.mean(dim=0)
    share_K = torch.bincount(y_NK.argmax(dim=-1), minlength=num_classes) / len(y_NK)
    kl = math.log(num_classes) - torch.special.entr(mean_K).sum()
    if probabilities is not None:
        probability_K = torch.tensor(probabilities, device=mean_K.device)
        kl = -(mean_K * probability_K.log()).sum() - torch.special.entr(mean_K).sum()
        of_prior = {"val/class_count_of_prior": float(torch.special.entr(probability_K).sum().exp())}
    return {
        "val/class_kl": float(kl),
        "val/class_entropy": float(torch.special.entr(y_NK).sum(dim=-1).mean()),
        "val/class_count": float(torch.special.entr(share_K).sum().exp()),
    } | of_prior


def healthy_classes(row: Row, num_classes: int, num_images: float) -> bool:
    """Whether q(y) looks as it should without a label: like p(y), sure of each image, and at least 0.8 of p(y)'s classes used."""
    chance = (num_classes - 1 + 3 * math.sqrt(2 * (num_classes - 1))) / (2 * num_images)  # of the KL, about a chi-square over 2 N
    even, sure = row.get("val/class_kl", math.inf) < 0.01 + chance, row.get("val/class_entropy", math.inf) < 0.1
    return even and sure and row.get("val/class_count", 0.0) >= 0.8 * row.get("val/class_count_of_prior", num_classes)


def style_monitors(z_NZ: Tensor, label_N: Tensor, config: TrialConfig) -> Row:
    """Of the codes against their prior: small matrices on the CPU in float64, the same everywhere; distances on the codes' device."""
    prior = config.objective.adversarial_z.prior
    z, label = z_NZ.double().cpu() / prior.std, label_N.cpu()
    eigenvalues = torch.linalg.eigvalsh(torch.cov(z.T).reshape(2 * [z.shape[1]]))
    row: Row = {"val/z_min_eigenvalue": float(eigenvalues[0]), "val/class_from_z": quadratic_discriminant_accuracy(z, label)}
    if prior.kind == "gaussian":
        floor = eigenvalues.clamp(min=1e-12)
        kl = 0.5 * (eigenvalues.sum() + z.mean(dim=0).square().sum() - z.shape[1] - floor.log().sum())
        return {"val/prior_mismatch": float(kl)} | row
    # Samples of a generator of their own, the same at every evaluation and on every device, as many as there are codes.
    generator, num_classes = torch.Generator().manual_seed(0), config.model.num_classes

    def samples(label_N: Tensor) -> Tensor:
        return SAMPLE_PRIOR[prior.kind](label_N, config.model.z_dim, num_classes, prior.std, generator).to(z_NZ.device)

    shown = z_NZ[torch.linspace(0, len(z_NZ) - 1, min(len(z_NZ), ENERGY_CODES)).round().long()]
    first, second = (samples(unlabelled(len(shown))) for _ in range(2))
    row |= {"val/prior_mismatch": energy_distance(shown, first), "val/prior_mismatch_of_prior": energy_distance(second, first)}
    of_prior = torch.linalg.eigvalsh(torch.cov(second.double().cpu().T / prior.std).reshape(2 * [z.shape[1]]))
    row["val/z_min_eigenvalue"] /= float(of_prior[0])
    if config.objective.adversarial_z.sees_label:
        nearest = NEAREST_PART[prior.kind]
        row["val/component_error"] = float((nearest(z_NZ, num_classes) != label_N).double().mean())
        row["val/component_error_of_prior"] = float((nearest(samples(label), num_classes) != label_N).double().mean())
    return row


def energy_distance(a_NZ: Tensor, b_MZ: Tensor) -> float:
    """2 E|a - b| - E|a - a'| - E|b - b'| over pairs, in units of z (Szekely and Rizzo 2013); of alike ones E|a - a'| (1/N + 1/M)."""
    across, within_a, within_b = (torch.cdist(x, y).double().mean() for x, y in ((a_NZ, b_MZ), (a_NZ, a_NZ), (b_MZ, b_MZ)))
    return float(2 * across - within_a - within_b)


def quadratic_discriminant_accuracy(z_NZ: Tensor, label_N: Tensor) -> float:
    """A normal a class fitted on the first half of the codes, scored on the second: a fraction. A class of few images is never read."""
    half, num_classes = len(z_NZ) // 2, int(label_N.max()) + 1
    score_NK = torch.full((len(z_NZ) - half, num_classes), -math.inf, dtype=z_NZ.dtype)
    for k in range(num_classes):
        z = z_NZ[:half][label_N[:half] == k]
        if len(z) > z_NZ.shape[1] + 1:  # fewer are too few to fit a covariance
            covariance = torch.cov(z.T).reshape(z.shape[1], z.shape[1]) + 1e-6 * torch.eye(z.shape[1], dtype=z.dtype)
            lower, wrong = torch.linalg.cholesky_ex(covariance)
            if not wrong:  # far out and nearly on a line, codes have no inverse in float64
                normal = torch.distributions.MultivariateNormal(z.mean(dim=0), scale_tril=lower, validate_args=False)
                score_NK[:, k] = normal.log_prob(z_NZ[half:]) + math.log(len(z) / half)
    return 1 - error(score_NK, label_N[half:])


def collapse_warnings(rows: list[Row], num_classes: int) -> list[str]:
    """What has looked collapsed for three epochs running after epoch 10. A warning stops nothing."""
    used = rows[-1].get("val/class_count_of_prior", num_classes) if rows else num_classes
    signs = {
        "the style codes lie in fewer dimensions than z has (val/z_min_eigenvalue < 0.05)": ("val/z_min_eigenvalue", 0.05),
        "some classes are not used (val/class_count)": ("val/class_count", 0.8 * used),
    }
    warnings = []
    for text, (key, limit) in signs.items():
        run = 0
        for row in rows[10:]:
            run = run + 1 if row.get(key, math.inf) < limit else 0
            if run == 3:
                warnings.append(f"{text} from epoch {row['epoch'] - 2}")
                break
    return warnings
