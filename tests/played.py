"""Run folders whose trials met given fates, without Ray and without training; and runs of any size that were never on a disk."""

import math
import random
from dataclasses import dataclass, field
from pathlib import Path

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from aae.runs import trial_folder, write_json
from aae.tuning.study.parents import load_sweep
from aae.tuning.study.study import SweepStudy
from analysis.trials import Run, TrialRecord
from tests.sweep_files import make_sweep

HOSTILE = "<script>alert(1)</script> [/red] & 'x\""  # as markup of a page, and of a terminal
INSIDE = {"model.z_dim": 3, "optim.reconstruction.rate": 0.01, "optim.schedule.kind": "constant"}
OUTSIDE = {"train.update": "alternating"}


@dataclass
class Fate:
    """What becomes of a played trial: its errors, an epoch each, and how it ends."""

    errors: list[float]
    state: str = "COMPLETE"
    reason: str | None = None
    more: dict[str, float] = field(default_factory=dict)  # other metrics of its rows


def failed(reason: str = "RuntimeError: out of luck") -> Fate:
    return Fate([], "FAIL", reason)


def open_run(folder: Path, num_trials: int, data: Path = Path("none.npz"), study: dict | None = None, **blocks) -> SweepStudy:
    """The study of a run folder `folder`/run with a manifest, as a driver opens it."""
    run = folder / "run"
    run.mkdir(parents=True)
    sweep = load_sweep(make_sweep(folder, data, study={"num_trials": num_trials} | (study or {}), **blocks), {})
    made = {"id": "0", "precision": "float32", "sweep": sweep.fingerprint(), "device": "a processor", "data": {}}
    write_json(run / "manifest.json", made | {"versions": {"torch": "2", "optuna": "5"}, "code": {"commit": "abc", "diff": None}})
    return SweepStudy(run, sweep)


def play(folder: Path, fates: list[Fate], **blocks) -> Path:
    """A run folder whose trials met these fates, without Ray and without training. Returns its path."""
    study = open_run(folder, len(fates), **blocks)
    for fate in fates:
        handout = study.next()
        for epoch, error in enumerate(fate.errors, 1):
            row = {"epoch": epoch, study.metric: error, **fate.more, "time/epoch_s": 2.0, "time/evaluation_s": 0.5}
            study.report(handout.number, handout.attempt.write_row(row))
        if fate.state == "DIVERGED":
            study.tell(handout.number, TrialState.PRUNED, "diverged: generator/adversarial_z is nan")
        elif fate.state != "interrupted":
            study.tell(handout.number, TrialState[fate.state], fate.reason)
    return study.run


MIXED = [
    Fate([0.5, 0.3, 0.1]),  # the baseline inside the space
    Fate([0.6, 0.4, 0.2]),  # the one outside
    Fate([0.5, 0.2, 0.06]),
    Fate([0.5, 0.01], "PRUNED", "pruned at epoch 2"),  # lower than the best, and not the best: it did not finish
    Fate([0.9], "DIVERGED"),
    failed(f"ValueError: {HOSTILE}"),
    Fate([0.4, 0.2, 0.04]),
    *(Fate([0.5, 0.3, 0.05 + 0.01 * number]) for number in range(6)),
    Fate([0.45, 0.3], "interrupted"),
]
MIXED_BASELINES = {"known": INSIDE, HOSTILE: OUTSIDE}


SPACE = {
    "model.z_dim": IntDistribution(4, 12),
    "optim.reconstruction.rate": FloatDistribution(1e-3, 1e-1, log=True),
    "optim.generator.rate": FloatDistribution(1e-3, 1e-1, log=True),
    "objective.adversarial_z.weight": FloatDistribution(0.3, 3.0, log=True),
    "train.ema_decay": CategoricalDistribution((None, 0.9, 0.99)),
    "optim.schedule.kind": CategoricalDistribution(("constant", "step", "cosine")),
    "optim.schedule.drop_at": FloatDistribution(0.5, 0.9),
}


def made_up(run: Path, num: int, epochs: int) -> Run:
    """A run as `read_run` gives it: two fifths complete, the others pruned at a quarter or a twelfth of their epochs, one in 30 failed."""
    random_ = random.Random(0)
    return Run(run, "made-up", "val/error", MANIFEST, [made_up_trial(run, number, epochs, random_) for number in range(num)])


MANIFEST = {"sweep": {"study": {"name": "made-up", "metric": "val/error"}}, "device": "a processor"}


def made_up_trial(run: Path, number: int, epochs: int, random_: random.Random) -> TrialRecord:
    params = {
        "model.z_dim": random_.randint(4, 12),
        "optim.reconstruction.rate": 10 ** random_.uniform(-3, -1),
        "optim.generator.rate": 10 ** random_.uniform(-3, -1),
        "objective.adversarial_z.weight": 10 ** random_.uniform(-0.5, 0.47),
        "train.ema_decay": random_.choice((None, 0.9, 0.99)),
        "optim.schedule.kind": random_.choice(("constant", "step", "cosine")),
    }
    if params["optim.schedule.kind"] != "constant":
        params["optim.schedule.drop_at"] = random_.uniform(0.5, 0.9)
    failed_, complete = random_.random() < 1 / 30, random_.random() < 0.4 or number < 2
    ran = 0 if failed_ else epochs if complete else random_.choice((max(1, epochs // 12), max(1, epochs // 4)))
    lowest = 0.02 + 0.02 * abs(math.log10(params["optim.reconstruction.rate"]) + 1.7) + 0.003 * abs(params["model.z_dim"] - 8)
    errors = [lowest + 0.5 * math.exp(-10 * epoch / epochs) * (1 + 0.1 * random_.random()) for epoch in range(1, ran + 1)]
    return TrialRecord(
        number=number,
        state="FAIL" if failed_ else "COMPLETE" if complete else "PRUNED",
        value=errors[-1] if errors else None,
        excess=0.0,
        epochs=ran,
        seconds=2.5 * ran,
        reason="RuntimeError: out of luck" if failed_ else None,
        baseline=None,
        params=params,
        distributions={path: SPACE[path] for path in params},
        config={f"block.number_{index}": index for index in range(50)} | params,
        rows=[{"epoch": epoch, "val/error": error} for epoch, error in enumerate(errors, 1)],
        folder=trial_folder(run, number),
    )
