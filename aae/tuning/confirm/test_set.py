"""The report of a confirmation: the test set, read once, and what fewer validation labels would have chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aae import checkpoint, metrics
from aae.data import Dataset, load_test
from aae.runs import trial_folder
from aae.tuning.confirm.plan import Plan, guessing, value_of
from aae.tuning.study.study import SweepStudy

FEWER_LABELS, SUBSETS = (100, 1000), 1000
OF_PREDICTIONS = ("val/error", "val/cluster_error")  # shares of wrong predictions, so an image has its own


def confirmation_report(study: SweepStudy, plan: Plan, winner: dict[str, Any] | None, run: Path, data: Dataset) -> dict[str, Any]:
    """The content of report.json. The one place of a sweep that reads the test set: by the averaged weights of each training's last
    epoch, after the last training. `load_test` gives it for the frozen winner's record alone."""
    if not study.all_told:
        raise RuntimeError(f"{study.run}: trainings are left; the test set is read after the last one")
    where = study.sweep.fixed.data
    test = load_test(where.name, where.folder, winner)
    assert winner is not None
    metric = study.metric
    test_metric = "test/" + metric.partition("/")[2]
    found: dict[str, dict[str, Any]] = {}
    wrong: dict[str, list[np.ndarray]] = {}
    for number, (candidate, _) in enumerate(plan.report_trainings(winner), len(plan.selection_trainings)):
        trial, folder = study.trial(number), trial_folder(study.run, number)
        value, attempt = None, folder.last_attempt()
        if trial.state.name != "FAIL":  # a collapse counts; so does a divergence, with the last weights it had, or as guessing
            value = guessing(test_metric, plan.num_classes)
            saved = 0 if attempt is None else checkpoint.epoch(attempt.checkpoint_path)
            if trial.state.name == "COMPLETE" and saved != study.sweep.epochs:  # to score it as a guess would be a false result
                path = attempt.checkpoint_path if attempt else folder.path
                raise RuntimeError(f"{path}: cannot be read as the last epoch of a complete training; restore it, the report needs it")
            if saved:
                model, config = checkpoint.load(folder.path)
                row, prediction_N = metrics.evaluate(model, test, config, data.image_shape, fitted=data.validation)
                value = row[metric]
                if metric in OF_PREDICTIONS:
                    wrong.setdefault(candidate.name, []).append((prediction_N != test.label_N).numpy())
        one = found.setdefault(
            candidate.name, {"name": candidate.name, "trial": candidate.trial, test_metric: [], metric: [], "trainings": []}
        )
        one[test_metric].append(value)
        one[metric].append(value_of(trial, metric, plan.num_classes))
        one["trainings"].append({"number": number, "state": trial.state.name, "epochs": trial.last_step or 0})
    first, *second = found.values()
    return {
        "metric": test_metric,
        "winner": first,
        "baseline": second[0] if second else None,
        "draws": sorted({seed for _, seed in plan.report_trainings(winner)}),
        "draw": "label seed" if plan.draw_is_label_seed else "initialisation seed",
        "asked": plan.asked,
        "frozen": winner,
        "candidates": [
            {"name": c.name, "trial": c.trial, "baseline": c.baseline, "search": c.value, "selection": values}
            | ({"excess": winner["excess"][index]} if "excess" in winner else {})  # over the study's constraint, on average
            for index, (c, values) in enumerate(zip(plan.candidates, winner[metric], strict=True))
        ],
        "search": {"trials": plan.asked_trials, "complete": len(plan.compared)},
        "num_test": len(test.label_N),
        "num_validation": len(data.validation.label_N),
        "num_labels": where.num_labels,
        "epochs": study.sweep.epochs,
        "difference_std_error_of_test_set": difference_error(*(wrong.get(one["name"], []) for one in found.values())),
        "fewer_labels": simulate_fewer_labels(run, plan, metric, data.validation.label_N),
    }


def difference_error(first: list[np.ndarray], second: list[np.ndarray] | None = None) -> float | None:
    """Standard error that the choice of test images gives the mean paired difference of two configurations' errors."""
    if not first or not second or len(first) != len(second):
        return None
    difference_N = np.mean(first, axis=0) - np.mean(second, axis=0)
    return float(difference_N.std(ddof=1) / np.sqrt(len(difference_N)))


def simulate_fewer_labels(run: Path, plan: Plan, metric: str, label_N: Tensor) -> list[dict[str, Any]]:
    """Had the search had fewer validation labels: over random subsets of them, which trial its predictions would have made the
    lowest, and how much worse that one is on all of them than the search's lowest. Of the trials that were complete; ties are broken at
    random."""
    wrong = {}  # of each trial, on each image; the sum of its draws where it has several
    for number in plan.compared if metric == "val/error" else []:
        attempt = trial_folder(run, number).last_attempt()
        if attempt is not None and (attempt.path / "predictions.npy").is_file():
            predictions = np.load(attempt.path / "predictions.npy")
            if np.iinfo(predictions.dtype).max < int(label_N.max()):  # of an earlier version, wrapped at 256
                continue
            wrong_DN = np.atleast_2d(predictions) != label_N.numpy()
            wrong[number], num_draws = wrong_DN.sum(axis=0), len(wrong_DN)
    if len(wrong) < 2:
        return []
    numbers, wrong_TN, random = np.array(list(wrong)), np.array(list(wrong.values())), np.random.default_rng(0)
    error_T, found = wrong_TN.mean(axis=1) / num_draws, []
    for num in (num for num in FEWER_LABELS if num < wrong_TN.shape[1]):
        chosen = []
        for _ in range(SUBSETS):
            wrong_T = wrong_TN[:, random.choice(wrong_TN.shape[1], num, replace=False)].sum(axis=1)
            chosen.append(int(np.argmin(wrong_T + random.random(len(numbers)))))
        share_T = np.bincount(chosen, minlength=len(numbers)) / SUBSETS
        order = [int(index) for index in np.argsort(-share_T, kind="stable") if share_T[index] > 0]
        found.append(
            {
                "labels": num,
                "subsets": SUBSETS,
                "chosen": {str(numbers[index]): float(share_T[index]) for index in order},
                "worse": float((error_T[chosen] - error_T.min()).mean()),
                "worse_95": float(np.quantile(error_T[chosen] - error_T.min(), 0.95)),
            }
        )
    return found
