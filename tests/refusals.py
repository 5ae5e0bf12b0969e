"""Wrong input for tests: a program run in this process, and what a refusal must be."""

from pathlib import Path

import launch
from aae import train
from tests.folders import listing


def run(program: str, arguments: list[str], capsys) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a program, in this process."""
    from analysis import report

    main = {"launch": launch.main, "train": train.main, "report": report.main}[program]
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse
        code = stopped.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(program: str, arguments: list[str], says: tuple[str, ...], workplace: Path, capsys) -> None:
    before = listing(workplace)
    code, _, stderr = run(program, arguments, capsys)
    assert code == 2, stderr
    assert 1 <= stderr.count("\n") <= 3 and "Traceback" not in stderr
    assert all(text in stderr for text in says), stderr
    assert listing(workplace) == before
