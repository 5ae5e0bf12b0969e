"""The tables of modes in docs/results.md, from records/mode-*: `python -m benchmarks.modes` writes them there.

A record is mode-MODE-S, a single training of sweeps/MODE.yaml with initialisation S; with a suffix, mode-MODE_SUFFIX-S, it is of
values that the file had before, and in the second table; `_long` is of the file as it is, with more epochs. The last epoch's
validation metrics, and the test metrics where `analysis.test` has read them: mean, and standard deviation over initialisations.
"""

from __future__ import annotations

import re
import statistics
from pathlib import Path

from aae.metrics import shown
from aae.runs import TrialFolder, read_json

PROJECT = Path(__file__).resolve().parent.parent
FOLDER, PAGE = PROJECT / "records", PROJECT / "docs" / "results.md"
HEAD = "| mode | n | epochs | core-minutes each | metric | validation | test |"
EARLIER = ("_constant", "_slow")  # constant rates; and before that a generator at 3e-4
# What a mode is measured by, besides the reconstruction.
SHOWN = (
    "error",
    "cluster_error",
    "cluster_error_majority",
    "component_error",
    "component_error_of_prior",
    "knn_error",
    "parzen_nll",
    "prior_mismatch",
    "prior_mismatch_of_prior",
    "class_from_z",
    "reconstruction",
)


def spread(values: list[float], name: str) -> str:
    """The mean and the standard deviation, in the metric's own unit."""
    mean = shown(f"val/{name}", statistics.mean(values))
    return mean if len(values) < 2 else f"{mean} ± {shown(f'val/{name}', statistics.stdev(values))}"


def table(modes: dict[str, list[TrialFolder]]) -> str:
    lines = [HEAD, "|---|---|---|---|---|---|---|"]
    for mode, folders in modes.items():
        last = [folder.rows()[-1] for folder in folders]
        tests = [read_json(folder.path / "test.json", {"metrics": {}})["metrics"] for folder in folders]
        minutes = statistics.mean(sum(row["time/epoch_s"] for row in folder.rows()) / 60 for folder in folders)
        head = f"| {mode} | {len(last)} | {last[0]['epoch']} | {minutes:.0f} |"
        for name in SHOWN:
            if f"val/{name}" in last[0]:
                read = [test[f"test/{name}"] for test in tests if f"test/{name}" in test]
                found = spread([row[f"val/{name}"] for row in last], name)
                lines.append(f"{head} {name} | {found} | {spread(read, name) if len(read) == len(last) else '-'} |")
                head = "| | | | |"
    return "\n".join(lines)


def with_tables(text: str) -> str:
    """The page with its two tables made anew: of what the files say now, and of what they said before."""
    modes: dict[str, list[TrialFolder]] = {}
    for path in sorted(FOLDER.glob("mode-*")):
        modes.setdefault(path.name.removeprefix("mode-").rpartition("-")[0], []).append(TrialFolder(path))
    earlier = {mode: modes.pop(mode) for mode in list(modes) if mode.endswith(EARLIER)}
    made = iter((table(modes), table(earlier)))
    return re.sub(rf"^{re.escape(HEAD)}\n(\|.*\n)+", lambda _: next(made) + "\n", text, flags=re.MULTILINE)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
