"""The tables of modes: `python -m benchmarks.modes` prints every metric, and writes a row a mode into docs/results.md and docs/log.md.

A record is mode-MODE-S, a single training of sweeps/MODE.yaml with initialisation S. records/mode-* are of the file as it is (`_long`:
with more epochs) and go to docs/results.md. records/superseded.jsonl holds those of values that the file had before, with a suffix
(mode-MODE_SUFFIX-S); they go to docs/log.md. The last epoch's validation metrics, and the test metrics where `analysis.test` has read
them: mean, and standard deviation over initialisations.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from pathlib import Path

from aae.metrics import shown
from aae.runs import Row, TrialFolder, read_json
from benchmarks.superseded import unpack

PROJECT = Path(__file__).resolve().parent.parent
RECORDS, RESULTS, LOG = PROJECT / "records", PROJECT / "docs" / "results.md", PROJECT / "docs" / "log.md"
HEAD = "| mode | n | epochs | metric | validation | test | prior_mismatch |"
FULL_HEAD = "| mode | n | epochs | core-minutes each | metric | validation | test |"
MAIN = ("error", "cluster_error", "component_error", "parzen_nll", "class_from_z")  # a page shows the first that the mode has
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
    return mean if len(values) < 2 else f"{mean.split()[0]} ± {shown(f'val/{name}', statistics.stdev(values))}"


def last_rows(folders: list[TrialFolder]) -> tuple[list[Row], list[Row]]:
    """(the last epoch's rows, the test metrics where they were read)."""
    tests = [read_json(folder.path / "test.json", {"metrics": {}})["metrics"] for folder in folders]
    return [folder.rows()[-1] for folder in folders], tests


def both(last: list[Row], tests: list[Row], name: str) -> str:
    """Two cells: a metric on validation and on test images."""
    read = [test[f"test/{name}"] for test in tests if f"test/{name}" in test]
    return f"{spread([row[f'val/{name}'] for row in last], name)} | {spread(read, name) if len(read) == len(last) else '-'}"


def page_table(modes: dict[str, list[TrialFolder]]) -> str:
    """A row a mode: its main metric, and how far the validation codes lie from their prior."""
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for mode, folders in modes.items():
        last, tests = last_rows(folders)
        main = next(name for name in MAIN if f"val/{name}" in last[0])
        mismatch = spread([row["val/prior_mismatch"] for row in last], "prior_mismatch")
        lines.append(f"| {mode} | {len(last)} | {last[0]['epoch']} | {main} | {both(last, tests, main)} | {mismatch} |")
    return "\n".join(lines)


def full_table(modes: dict[str, list[TrialFolder]]) -> str:
    """A row a metric."""
    lines = [FULL_HEAD, "|---" * FULL_HEAD.count(" | ") + "|---|"]
    for mode, folders in modes.items():
        last, tests = last_rows(folders)
        minutes = statistics.mean(sum(row["time/epoch_s"] for row in folder.rows()) / 60 for folder in folders)
        head = f"| {mode} | {len(last)} | {last[0]['epoch']} | {minutes:.0f} |"
        for name in SHOWN:
            if f"val/{name}" in last[0]:
                lines.append(f"{head} {name} | {both(last, tests, name)} |")
                head = "| | | | |"
    return "\n".join(lines)


def read_modes(records: Path) -> dict[str, list[TrialFolder]]:
    modes: dict[str, list[TrialFolder]] = {}
    for path in sorted(records.glob("mode-*")):
        modes.setdefault(path.name.removeprefix("mode-").rpartition("-")[0], []).append(TrialFolder(path))
    return modes


def with_table(text: str, table: str) -> str:
    """The page with its table of modes made anew."""
    return re.sub(rf"^{re.escape(HEAD)}\n(\|.*\n)+", lambda _: table + "\n", text, flags=re.MULTILINE)


def tables() -> dict[Path, tuple[str, str]]:
    """Page -> (its table, all metrics of the same records)."""
    with tempfile.TemporaryDirectory() as folder:
        unpack(Path(folder))
        modes = {RESULTS: read_modes(RECORDS), LOG: read_modes(Path(folder))}
        return {page: (page_table(found), full_table(found)) for page, found in modes.items()}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for page, (table, full) in tables().items():
        page.write_text(with_table(page.read_text(), table))
        print(f"{page.relative_to(PROJECT)}\n\n{full}\n")
