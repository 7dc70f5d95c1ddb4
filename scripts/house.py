"""Measure the shape of the house: how long, how repetitive and how wide the source is.

    python3 scripts/house.py [CHECKOUT]

Each figure is a rule of `docs/explanation/design.md`; `tests/test_house.py` holds the rules to their bounds.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_PARAMETERS = 10
COMBINATORS = "Chain|Scan|Invert|Partial|Vmap|EmbedCondition|WithCondition|Concatenate|Conv1x1"


def sources(root: Path = ROOT) -> list[Path]:
    """Every Python file of the package."""
    return sorted((root / "src" / "pushforward").rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Each function of a file, with its dotted name."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.")
            elif not isinstance(child, ast.expr):
                yield from walk(child, prefix)

    yield from walk(ast.parse(path.read_text()), "")


def n_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many arguments a function names, without `self` and `cls`."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def wide_functions(root: Path = ROOT) -> list[str]:
    """The functions with more than `MAX_PARAMETERS` parameters."""
    found = []
    for path in sources(root):
        for name, function in functions(path):
            if (n := n_parameters(function)) > MAX_PARAMETERS:
                found.append(f"{path.relative_to(root / 'src/pushforward')}:{name} ({n})")
    return found


def repeated_share(folder: str, root: Path = ROOT, times: int = 3) -> float:
    """The share of the lines of a package that occur `times` times or more in it.

    Counted are lines of more than three characters, without their indentation.
    """
    files = sorted((root / "src" / "pushforward" / folder).rglob("*.py"))
    lines = [line.strip() for path in files for line in path.read_text().splitlines()]
    counts = Counter(line for line in lines if len(line) > 3)
    return sum(n for n in counts.values() if n >= times) / max(len(lines), 1)


def ladders(root: Path = ROOT) -> list[str]:
    """The files that ask of what combinator a bijection is, outside the combinators' own."""
    asks = re.compile(rf"isinstance\([^()]+, \(?(?:\w+\.)?(?:{COMBINATORS})\b")
    found = [path for path in sources(root) if asks.search(path.read_text())]
    return [str(path.relative_to(root / "src/pushforward")) for path in found]


def long_files(root: Path = ROOT, limit: int = 400) -> list[str]:
    """The files of more than `limit` lines."""
    sizes = {path: len(path.read_text().splitlines()) for path in sources(root)}
    return [f"{path.relative_to(root / 'src/pushforward')} ({n})" for path, n in sizes.items() if n > limit]


def shared_names(root: Path = ROOT) -> dict[str, int]:
    """The file names that occur in more than one package, `__init__` and `base` aside."""
    names = Counter(path.name for path in sources(root))
    return {name: n for name, n in names.items() if n > 1 and name not in ("__init__.py", "base.py")}


def n_lines(root: Path = ROOT) -> int:
    """Lines of the package."""
    return sum(len(path.read_text().splitlines()) for path in sources(root))


def main(root: Path) -> None:
    """Print every figure."""
    print(f"source lines: {n_lines(root):,} in {len(sources(root))} files")
    wide = wide_functions(root)
    print(f"functions with more than {MAX_PARAMETERS} parameters: {len(wide)}", *wide, sep="\n    ")
    print(f"lines of flows/ that occur three times or more: {repeated_share('flows', root):.0%}")
    asked = ladders(root)
    print(f"files with an isinstance ladder over combinators: {len(asked)}", *asked, sep="\n    ")
    print("files of more than 400 lines:", *long_files(root), sep="\n    ")
    names = shared_names(root)
    print(f"file names in more than one package: {len(names)}", ", ".join(sorted(names)), sep="\n    ")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT)
