"""The code that made a result; checkpoints, kept results, prune's jobs, the ablation and the tests all ask here."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

STAGES = Path(__file__).parents[1]


def closure(*modules: str) -> list[Path]:
    """The files below stages/ that modules need: their own, those that they import, and so on.

    The __init__ of a package is a file of the closure, but its imports are not followed, because they serve the
    package's users. stages/__init__.py and its imports belong to every closure: they choose the libraries' code for
    this processor, on which the last digits of a sum depend.

    Args:
        modules: dotted names, such as "stages.gnn.training".

    Returns:
        Paths, sorted.
    """
    root = STAGES / "__init__.py"
    reached = {root} if root.is_file() else set()
    waiting = {file for module in modules for file in _files(module)}
    for file in reached:
        waiting |= set(imported(file.read_text(encoding="utf-8")))
    while waiting:
        file = waiting.pop()
        reached.add(file)
        if file.name != "__init__.py":
            waiting |= set(imported(file.read_text(encoding="utf-8"))) - reached
    return sorted(reached)


def imported(source: str) -> Iterator[Path]:
    """Yields the files below stages/ that a source text imports, each with the __init__ of its packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files(name)


@functools.cache
def digest(*modules: str) -> str:
    """A digest of the `closure` of modules; it does not depend on the project's path."""
    whole = hashlib.sha256()
    for path in closure(*modules):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(STAGES).as_posix()} {len(content)} ".encode() + content)
    return whole.hexdigest()


def _files(name: str) -> list[Path]:
    """The files of a dotted name: the module, and the __init__ of its packages; empty for a name not below stages/."""
    parts = name.split(".")
    if parts[0] != STAGES.name:
        return []
    files = []
    for length in range(1, len(parts)):
        path = STAGES.joinpath(*parts[1 : length + 1])
        files += [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return files
