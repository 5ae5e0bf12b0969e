"""The knobs of `objective:`, a block for each term of a training. What a term computes is in aae/losses.py and aae/objective.py."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from aae.errors import require


@dataclass(frozen=True)
class PriorConfig:
    kind: Literal["gaussian", "mixture", "swiss_roll"] = "gaussian"  # aae/priors.py has their formulas
    std: float = 1.0  # of each dimension; gaussian alone

    def __post_init__(self) -> None:
        require(self.std > 0, "objective.adversarial_z.prior.std", self.std, "give a positive number")
        fits = self.kind == "gaussian" or self.std == 1
        require(fits, "objective.adversarial_z.prior.std", self.std, f"{self.kind} has its own spread: leave std out")


@dataclass(frozen=True)
class TermConfig:
    weight: float = 1.0  # times the term, in its phase; of an adversarial term, the generator's side only


@dataclass(frozen=True)
class ReconstructionConfig(TermConfig):
    moves_heads: bool = True  # of combine=heads; false: W is moved by head_separation alone, or stays where it begins


@dataclass(frozen=True)
class AdversarialZConfig(TermConfig):
    prior: PriorConfig = field(default_factory=PriorConfig)
    sees_label: bool = False  # the discriminator is told the label, or that there is none; the prior's sample is of that class
    sees_class: bool = False  # it is told the inferred class, beside the prior's sample too: then z is like p(z) within each class


@dataclass(frozen=True)
class ClassPriorConfig:
    kind: Literal["uniform", "labels", "given"] = "uniform"  # labels: the frequencies of the labels that are drawn, no others
    values: list[float] | None = None  # a probability a class; given alone

    def __post_init__(self) -> None:
        path, values = "objective.adversarial_y.prior.values", self.values
        want = "only kind given has values, and it needs them: a probability a class"
        require((values is not None) == (self.kind == "given"), path, values, want)
        if values is not None:
            ok = all(isinstance(value, float) and value > 0 for value in values) and abs(sum(values) - 1) <= 1e-6
            require(ok, path, values, "give positive probabilities that sum to 1")


@dataclass(frozen=True)
class AdversarialYConfig(TermConfig):
    prior: ClassPriorConfig = field(default_factory=ClassPriorConfig)
    noise_std: float = 0.0  # Gaussian, on what the discriminator of y sees, real and inferred alike

    def __post_init__(self) -> None:
        require(self.noise_std >= 0, "objective.adversarial_y.noise_std", self.noise_std, "give a number of at least 0")


@dataclass(frozen=True)
class ConsistencyConfig(TermConfig):
    epsilon: float = 1.5  # how far an image is moved; L2 over pixels in [0, 1]
    xi: float = 1.0  # how far it is moved to find out where to; smaller ones drown in bfloat16 (docs/deviations.md)
    around: Literal["noisy", "clean", "other"] = "noisy"  # which image is moved; other: shifted and noised anew
    aligned: bool = False  # the target is weighted against the classes that a batch has too many of
    from_epoch: int = 0  # it begins after so many epochs; past the end: never

    def __post_init__(self) -> None:
        for name in ("epsilon", "xi"):
            require(getattr(self, name) > 0, f"objective.consistency.{name}", getattr(self, name), "give a positive length")
        require(self.from_epoch >= 0, "objective.consistency.from_epoch", self.from_epoch, "give a number of epochs, or 0 for the first")


@dataclass(frozen=True)
class MutualInformationConfig(TermConfig):
    weight: float = 0.1
    balance: float = 4.0  # how much classes as frequent as their prior count, against sure ones
    until_epoch: int | None = None  # after so many epochs the balance is 1, as in the mutual information itself; null: it stays

    def __post_init__(self) -> None:
        require(self.balance >= 0, "objective.mutual_information.balance", self.balance, "give a number of at least 0")
        until, want = self.until_epoch, "give a number of epochs, or null"
        require(until is None or until >= 0, "objective.mutual_information.until_epoch", until, want)


@dataclass(frozen=True)
class HeadSeparationConfig(TermConfig):
    threshold: float = 4.0  # heads nearer than this are pushed apart; in units of z

    def __post_init__(self) -> None:
        require(self.threshold > 0, "objective.head_separation.threshold", self.threshold, "give a positive distance")


@dataclass(frozen=True)
class ObjectiveConfig:
    """A term exists when its block does: `adversarial_y: {}` turns it on, null turns it off."""

    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    adversarial_z: AdversarialZConfig = field(default_factory=AdversarialZConfig)
    adversarial_y: AdversarialYConfig | None = None
    classification: TermConfig | None = None
    consistency: ConsistencyConfig | None = None  # virtual adversarial training (Miyato et al. 2018), in the classification phase
    mutual_information: MutualInformationConfig | None = None  # of image and class (Hu et al. 2017), in the classification phase
    head_separation: HeadSeparationConfig | None = None

    def __post_init__(self) -> None:
        for name, term in {item.name: getattr(self, item.name) for item in fields(self)}.items():
            if term is not None:
                want = f"give a number of at least 0 (objective.{name}=null turns the term off)"
                require(term.weight >= 0, f"objective.{name}.weight", term.weight, want)

    @property
    def class_probabilities(self) -> list[float] | None:
        """p(y); None where it is uniform. Of kind labels only where `with_class_probabilities` has given them."""
        assert self.adversarial_y is None or self.adversarial_y.prior.kind != "labels", "the labels are not drawn yet"
        return None if self.adversarial_y is None else self.adversarial_y.prior.values
