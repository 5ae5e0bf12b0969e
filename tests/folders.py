"""Folders before and after, for tests."""

import shutil
from pathlib import Path


def listing(folder: Path, but: str = "") -> dict[str, bytes | None]:
    """Everything below a folder, but for the name tag in a lock and a folder named `but`."""
    paths = sorted(path for path in folder.rglob("*") if path.name != ".lock" and but not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))
