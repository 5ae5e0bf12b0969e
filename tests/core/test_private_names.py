"""Private names of libraries stand in one file a library, LIBRARY_private.py, that says what for and has a test of its own."""

import ast

from tests.sweeping import PROJECT

PUBLIC = {"_exit", "_replace", "_asdict"}  # of os and of named tuples, documented


def private_names(source: str) -> list[str]:
    """`x._name` where x is not the file's own, and imports of such modules: names that somebody else may take away."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_self(node.value)}
    names = [(n.lineno, n.attr) for n in nodes if isinstance(n, ast.Attribute) and not is_self(n.value) and n.attr not in own | PUBLIC]
    for node in nodes:
        imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        imported += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        names += [(node.lineno, part) for module in imported for part in module.split(".")]
    return [f"{line} {name}" for line, name in names if name.startswith("_") and not name.startswith("__")]


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_no_private_name_of_a_library_is_used_outside_the_files_that_say_why():
    """Seen to fail on commit 908f01c, with 28 of them in 9 files."""
    ours = [path for folder in ("aae", "analysis") for path in sorted((PROJECT / folder).rglob("*.py"))] + [PROJECT / "launch.py"]
    found = [
        f"{path.relative_to(PROJECT)}:{name}"
        for path in ours
        if not path.name.endswith("_private.py")
        for name in private_names(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(["use the public name, or move it to LIBRARY_private.py with the reason:", *found])


def test_private_names_are_found_however_they_are_reached():
    source = ("import ray._private.utils", "from torch._C import x", "study._storage.get()")
    assert sorted(private_names("\n".join(source))) == ["1 _private", "2 _C", "3 _storage"]
