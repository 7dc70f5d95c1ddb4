"""The names of objectives, read without importing JAX, for the help of the command line."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path


def objective_names() -> tuple[str, ...]:
    """The names that the classes of `pushforward.objectives` declare, read from their source text."""
    spec = find_spec("pushforward")
    folders = [] if spec is None else [Path(place) / "objectives" for place in spec.submodule_search_locations or ()]
    found: list[str] = []
    for path in sorted(path for folder in folders for path in folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Dict):
                continue
            if isinstance(node.target, ast.Name) and node.target.id == "names":
                found += [str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)]
    return tuple(sorted(found))
