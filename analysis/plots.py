"""What the page's script draws: the trials of a run as plain JSON. The plots themselves are in templates/plots.js.

optuna.visualization draws with plotly too. It is not used here: its figures do not say which dot is which trial, so that no click in
one could mark the trial in another."""

from __future__ import annotations

import base64
import functools
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis.codes import codes_with_images
from analysis.rungs import known_rungs
from analysis.strips import drawn_by_kind
from analysis.studies import NotDrawn, importance_study, importances
from analysis.trials import Run, TrialRecord, ranked, short_names, shown_state

MAX_LINES = 400  # trials that are drawn as lines, or as dots of many plots
MAX_EPOCHS = 120  # values of one line
PICTURE_BYTES = 1_200_000  # of the trials' pictures on the page, base64
PICTURE_SIDE = 420  # pixels at most
DIGITS = 5  # of the metric's values


def plot_data(run: Run, running: bool) -> dict[str, Any]:
    """JSON that holds no NaN. Errors are in percent."""
    order = ranked(run)
    paths = run.searched_paths
    drawn, apart = drawn_numbers(run, order), epochs_apart(run)
    pictures = {} if running else inlined_pictures([trial for trial in order if trial is not run.best])
    common = common_values(run)
    return {
        "metric": run.metric,
        "label": run.metric_label,
        "unit": " %" if run.scale == 100 else "",
        "best": None if run.best is None else run.best.number,
        "axes": [axis_of(run, path, name) for path, name in short_names(paths).items()],
        "trials": [trial_data(run, trial, trial.number in drawn, common, pictures, running, apart) for trial in order],
        "epochs_apart": apart,
        "common": common,
        "importance": importance_data(run),
        "rungs": rungs_data(run),
        "fork_epoch": (run.manifest.get("fork") or {}).get("epoch"),
        "codes": None if running else codes_with_images(run),
    }


def drawn_numbers(run: Run, order: list[TrialRecord]) -> set[int]:
    """Trials that every plot shows. Of more than MAX_LINES: the better half of them, the baselines, and of the rest every so many."""
    if len(order) <= MAX_LINES:
        return {trial.number for trial in order}
    half = MAX_LINES // 2
    rest = sorted(trial.number for trial in order[half:])
    step = math.ceil(len(rest) / half)
    return {trial.number for trial in order[:half]} | {trial.number for trial in run.trials if trial.baseline} | set(rest[::step])


def thinned(run: Run) -> str | None:
    """What the plots leave out, as a sentence."""
    num = len(drawn_numbers(run, ranked(run)))
    longest = max((len(trial.rows) for trial in run.trials), default=0)
    lines = []
    if num < len(run.trials):
        lines.append(
            f"Of {len(run.trials):,} trials the plots show {num}: the best {MAX_LINES // 2}, the baselines, and of the rest every so many."
        )
        lines.append("The history and the table have them all.")
    if longest > MAX_EPOCHS:
        lines.append(f"Of {longest} epochs a line shows at most {MAX_EPOCHS}, evenly spaced, and the last.")
    return " ".join(lines) or None


def trial_data(
    run: Run, trial: TrialRecord, drawn: bool, common: dict[str, Any], pictures: dict[int, dict[str, str]], running: bool, apart: int
) -> dict[str, Any]:
    own = {path: plain(value) for path, value in (trial.config or trial.params).items()}
    return {
        "number": trial.number,
        "name": trial.name,
        "baseline": trial.baseline,
        "state": shown_state(trial.state, running),
        "reason": trial.reason,
        "value": scaled(run, trial.value),
        "broken": bool(trial.excess),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 1),
        "params": [param(trial, path) for path in run.searched_paths],
        "drawn": drawn,
        "curve": curve(run, trial, apart) if drawn else None,
        "config": {path: value for path, value in own.items() if path not in common or common[path] != value},
        "pictures": picture_data(trial, pictures.get(trial.number, {})),
    }


def scaled(run: Run, value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value * run.scale:.{DIGITS}g}")


def plain(value: Any) -> Any:
    """As JSON takes it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def param(trial: TrialRecord, path: str) -> Any:
    """None where the trial does not have it; a choice as the text that its axis has."""
    if path not in trial.params:
        return None
    value = trial.params[path]
    return choice_of(value) if hasattr(trial.distributions[path], "choices") else plain(value)


def choice_of(value: Any) -> str | int | float:
    """A number, which the page compares and sorts as one; anything else as a sweep file has it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, int | float) else str(value)


def epochs_apart(run: Run) -> int:
    """Of the values that a line shows: of all lines the same, so that they can be compared."""
    return math.ceil(max((trial.epochs for trial in run.trials), default=0) / MAX_EPOCHS) or 1


def curve(run: Run, trial: TrialRecord, apart: int) -> list[list[float]]:
    """[epochs, values] of the study's metric, and its last."""
    known = [(row["epoch"], scaled(run, row[run.metric])) for row in trial.rows if run.metric in row]
    points = [(epoch, value) for epoch, value in known if value is not None]
    kept = [point for point in points if (point[0] - 1) % apart == 0 or point == points[-1]]
    return [[epoch for epoch, _ in kept], [value for _, value in kept]]


def ranks_caption(run: Run) -> str:
    if sum(bool(curve(run, trial, 1)[0]) for trial in run.trials) < 2:
        return "Fewer than two trials have finished an epoch, so there are no ranks."
    drawn = len(drawn_numbers(run, ranked(run)))
    among = f"the {drawn} shown that ran it" if drawn < len(run.trials) else "those that ran it"
    first = f"Where each trial stood, epoch by epoch, among {among}: 1 is the best."
    return f"{first} Lines that cross late are trials judged too soon."


def common_values(run: Run) -> dict[str, Any]:
    """Configuration values that all but a few trials share: said once, for they are most of the configuration. A path of a block that is
    off in some trials is said with each."""
    configs = [trial.config for trial in run.trials if trial.config]
    if not configs:
        return {}
    everywhere = set(configs[0]).intersection(*configs) - set(run.searched_paths)
    return {path: plain(value) for path, value in configs[len(configs) // 2].items() if path in everywhere}


def axis_of(run: Run, path: str, name: str) -> dict[str, Any]:
    """A searched parameter as a range or a list of choices; of trials that had different ones, all of them."""
    distributions = [trial.distributions[path] for trial in run.trials if path in trial.distributions]
    found: dict[str, Any] = {"path": path, "name": name}
    if all(hasattr(distribution, "choices") for distribution in distributions):
        choices = dict.fromkeys(choice_of(choice) for distribution in distributions for choice in distribution.choices)
        return found | {"choices": list(choices)}
    numeric = [distribution for distribution in distributions if hasattr(distribution, "low")]
    low, high = min(one.low for one in numeric), max(one.high for one in numeric)
    return found | {"low": plain(low), "high": plain(high), "log": bool(numeric[0].log), "whole": isinstance(low, int)}


def importance_data(run: Run) -> dict[str, float] | None:
    try:
        study, _ = importance_study(run)
        return {name: round(float(share), 4) for name, share in importances(study).items()}
    except NotDrawn:  # the caption says why
        return None


def rungs_data(run: Run) -> dict[str, Any] | None:
    rungs = known_rungs(run)
    return {"least": run.choice["rungs"]["least_correlation"], "rungs": [rung._asdict() for rung in rungs]} if rungs else None


# ---- pictures ----


def picture_data(trial: TrialRecord, inlined: dict[str, str]) -> list[dict[str, Any]]:
    """Those of the highest epoch: where each lies beside the page, and itself where the page has room for it."""
    return [
        {"kind": kind, "epoch": epoch, "file": f"../{'/'.join(path.parts[-5:])}", "source": inlined.get(kind)}
        for kind, (epoch, path) in last_pictures(trial).items()
    ]


def last_pictures(trial: TrialRecord) -> dict[str, tuple[int, Path]]:
    return {kind: max(paths.items()) for kind, paths in drawn_by_kind(trial.folder).items()}


def inlined_pictures(order: list[TrialRecord]) -> dict[int, dict[str, str]]:
    """Number -> kind -> a small copy, the best trials first, until PICTURE_BYTES are spent."""
    found, left = dict[int, dict[str, str]](), PICTURE_BYTES
    for trial in order:
        for kind, (_, path) in last_pictures(trial).items():
            source = small_copy(path)
            left -= len(source)
            if left < 0:
                return found
            if source:
                found.setdefault(trial.number, {})[kind] = source
    return found


@functools.cache
def small_copy(path: Path) -> str:
    """A data address, or nothing where the picture cannot be read."""
    try:
        small = read_picture(path)
    except (OSError, ValueError, SyntaxError):  # the last is Pillow's word for a broken PNG
        return ""
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=60)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read_picture(file: Path | io.BytesIO) -> Image.Image:
    """A PNG without its transparency."""
    from matplotlib.image import imread

    return Image.fromarray((255 * imread(file)[..., :3]).round().astype(np.uint8))


def fewer_colours(png: bytes) -> bytes:
    """A figure for readers without JavaScript, at a quarter of the bytes."""
    buffer = io.BytesIO()
    read_picture(io.BytesIO(png)).quantize(64, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def png_address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
