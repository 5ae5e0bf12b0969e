"""What a study may minimise, and what it may have to hold to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from aae.config import TrialConfig
from aae.errors import require
from aae.metrics import is_error
from aae.priors import NEAREST_PART

# What a study may minimise: which configurations have it, and what else to do. No weight of a loss enters them: a weighted loss is
# lowest at weight 0. The reconstruction alone is lowest where the prior is given up, so it goes with a constraint.
METRICS: dict[str, tuple[Callable[[TrialConfig], bool], str]] = {
    "val/error": (
        lambda config: config.objective.classification is not None,
        "without it no class has a name: add objective.classification",
    ),
    "val/cluster_error": (
        lambda config: config.model.class_source == "encoder" and config.objective.classification is None,
        "clusters are classes inferred without labels: set model.class_source=encoder and objective.classification=null",
    ),
    "val/component_error": (
        lambda config: config.objective.adversarial_z.sees_label and config.objective.adversarial_z.prior.kind in NEAREST_PART,
        f"it needs a prior with a part a class ({', '.join(NEAREST_PART)}) and objective.adversarial_z.sees_label=true",
    ),
    "val/parzen_nll": (lambda config: config.train.parzen_samples > 0, "set train.parzen_samples=10000"),
    "val/reconstruction": (lambda config: True, ""),
}
CONSTRAINTS = ("val/prior_mismatch",)


def guessing(metric: str, num_classes: int) -> float | None:
    """What a guess comes to, with classes equally frequent; None: the metric is no share of images."""
    return 1 - 1 / num_classes if is_error(metric) else None


def check_constraint(value: Any, metric: str, pruner: dict[str, Any]) -> None:
    path, want = "study.constraint", f"write {{metric: {CONSTRAINTS[0]}, upper: 0.2}}, or null"
    if value is None:
        require(metric != "val/reconstruction", path, "null", f"{metric} alone is lowest where the codes give the prior up: {want}")
        return
    require(isinstance(value, dict) and set(value) == {"metric", "upper"}, path, value, want)
    require(value["metric"] in CONSTRAINTS, f"{path}.metric", value["metric"], f"give {', '.join(CONSTRAINTS)}")
    upper = value["upper"]
    ok = isinstance(upper, int | float) and not isinstance(upper, bool) and 0 < upper < math.inf
    require(ok, f"{path}.upper", upper, "give a positive finite number")
    why = "a pruner sees the metric and not the constraint: use the NopPruner"
    require(pruner.get("kind") == "NopPruner", "study.pruner.kind", pruner.get("kind"), why)
