"""The records of superseded series, as folders again. docs/log.md says which series these are.

    python -m benchmarks.superseded FOLDER      records/superseded.jsonl -> FOLDER/mode-MODE_SUFFIX-S, as benchmarks.record wrote them

A line of the file is one file of a record: {"record": its folder's name, "path": inside it, "text": its content}.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

RECORDS = Path(__file__).resolve().parent.parent / "records" / "superseded.jsonl"


def unpack(target: Path) -> None:
    for line in RECORDS.read_text().splitlines():
        file = json.loads(line)
        path = target / file["record"] / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["text"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.superseded", description="Unpack records/superseded.jsonl.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the records' folders are written")
    unpack(parser.parse_args().folder)
