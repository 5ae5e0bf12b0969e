"""Keeps a finished training or sweep as a record: its text files, without the machine's name and paths.

    python -m benchmarks.record FOLDER NAME      a folder of aae.train, or a sweep's -> records/NAME

A record has the layout of a run folder, so `analysis` reads it as one; it lacks checkpoints, pictures, reports and W&B's files.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from aae.config import ConfigError, require
from aae.runs import TrialFolder, read_json, running

RECORDS = Path("records")
ABSOLUTE = re.compile(r"""(?<![^\s="'])/\w[^\s"',]*""")  # at the start of a word: "/data/x", folder=/data/x, but not runs/x


def training_files(folder: TrialFolder, finished: bool = True) -> list[Path]:
    """Of a single training or a trial of a sweep; of the attempts the highest, as every reader takes it. Raises ConfigError where it
    must be finished and is not."""
    if finished and not folder.result_path.is_file():
        raise ConfigError(f"{folder.path}: not finished, it has no result.json; its own command goes on with it")
    attempt = folder.last_attempt()
    read = folder.path / "test.json"  # of analysis.test
    paths = [
        folder.config_path,
        folder.labels_path,
        folder.fork_path,
        folder.result_path,
        read,
        *([attempt.metrics_path] if attempt else []),
    ]
    return [path for path in paths if path.is_file()]


def files_of(folder: Path, finished: bool = False) -> list[Path]:
    """What is kept of a folder, but for its manifest; of a search also what is interrupted, for it may be stopped by hand. Raises
    ConfigError where it is no training and no sweep, or not finished."""
    if (folder / "study.journal").is_file():
        require(running(folder) is None, str(folder), "a sweep that is running", "wait for its end, or stop it")
        trials = sorted(path for path in folder.glob("trials/*") if path.is_dir())
        confirmed = (folder / "confirm" / "report.json").is_file()
        kept = [path for trial in trials for path in training_files(TrialFolder(trial), finished)]
        # forecast.json has the wall time; a confirmation is a study too, and has a report.
        names = ("sweep.yaml", "choice.json", "forecast.json", "report.json")
        more = [name for name in names if (folder / name).is_file()]
        confirmation = files_of(folder / "confirm", finished=True) if confirmed else []
        return [*(folder / name for name in [*more, "study.journal"]), *kept, *confirmation]
    if (folder / "config.yaml").is_file():
        return training_files(TrialFolder(folder))
    raise ConfigError(f"{folder}: neither a sweep nor a training; give runs/STUDY, or the folder of an aae.train")


def without_paths(value: Any) -> Any:
    """Absolute paths cut to their last part."""
    if isinstance(value, dict):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    return ABSOLUTE.sub(lambda path: Path(path[0]).name, value) if isinstance(value, str) else value


def manifest_of(folder: Path) -> str:
    """The manifest without host and paths. Raises ConfigError where there is none."""
    made = read_json(folder / "manifest.json")
    require(isinstance(made, dict), str(folder / "manifest.json"), type(made).__name__, "a record needs what the run was made with")
    kept = {key: value if key == "code" else without_paths(value) for key, value in made.items() if key != "host"}
    return json.dumps(kept, indent=2) + "\n"


def read_record(folder: Path) -> dict[str, str]:
    """Path inside the record -> text. Raises ConfigError."""
    texts = {"manifest.json": manifest_of(folder)}
    if (folder / "confirm" / "report.json").is_file():
        texts["confirm/manifest.json"] = manifest_of(folder / "confirm")
    for path in files_of(folder):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not text; restore it from a copy") from None
        found = ABSOLUTE.search(text)
        if found:  # the manifest is a description; these are data, and a changed copy would be no record
            raise ConfigError(f"{path}: names {found[0]}, a path of this machine: no record; run with relative folders, or none")
        texts[path.relative_to(folder).as_posix()] = text
    return texts


def write_record(texts: dict[str, str], target: Path) -> None:
    """Whole or not at all. Raises ConfigError where another record has the name."""
    if target.exists():
        old = {name: (target / name).read_text() if (target / name).is_file() else None for name in texts}
        differs = [name for name, text in texts.items() if old[name] != text]
        if differs:
            raise ConfigError(f"{target}: another record, it differs in {differs[0]}; give another NAME, or remove that one")
        return
    making = target.with_name(f".{target.name}")
    shutil.rmtree(making, ignore_errors=True)
    for name, text in texts.items():
        (making / name).parent.mkdir(parents=True, exist_ok=True)
        (making / name).write_text(text)
    making.rename(target)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record", description="Keep a finished run's text files in records/NAME.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="runs/STUDY, or the folder of an aae.train")
    parser.add_argument("name", metavar="NAME", help="of the record; figures read semi-* (trainings) and quick (the sweep)")
    options = parser.parse_args(arguments)
    target = RECORDS / options.name
    try:
        require(bool(re.fullmatch(r"\w[\w.-]*", options.name)), "NAME", repr(options.name), "give letters, digits, '-', '_' and '.'")
        texts = read_record(options.folder)
        write_record(texts, target)
    except (ConfigError, OSError) as error:
        print(f"benchmarks.record: {error}", file=sys.stderr)
        return 2
    print(f"{target}: {len(texts)} files, {sum(map(len, texts.values())):,} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
