"""Which of the project's files a module depends on, by the import statements in them. Nothing is imported for it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path


def imported_files(project: Path, roots: tuple[str, ...]) -> set[str]:
    """The project's files that these modules consist of or import, by the files' own import statements: also inside functions, and
    not where only a type checker reads them. Of a package, all of its modules."""
    waiting = [name for root in roots for name in modules_in(project, root)]
    seen, files = set(waiting), set[str]()
    while waiting:
        name = waiting.pop()
        path = file_of(project, name)
        if path is None:  # a function or class, or somebody else's module
            continue
        files.add(str(path.relative_to(project)))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = {part for each in imported_names(path, package) for part in with_parents(each)} - seen
        seen |= found
        waiting += found
    return files


def modules_in(project: Path, package: str) -> list[str]:
    names = [package, *(f"{package}.{path.stem}" for path in (project / package.replace(".", "/")).glob("[a-z]*.py"))]
    return [part for name in names for part in with_parents(name)]


def with_parents(name: str) -> list[str]:
    """a, a.b and a.b.c of a.b.c: Python reads the packages' own files too."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def file_of(project: Path, module: str) -> Path | None:
    path = project / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def imported_names(path: Path, package: str) -> set[str]:
    """Modules that a file imports, and what it takes from them: that may be a module too."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    names = set[str]()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        waiting += ast.iter_child_nodes(node)
    return names
