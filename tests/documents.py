"""Runs the code blocks of a Markdown document, in order, as a reader would who types them into one folder.

Blocks marked `python` share one interpreter, blocks marked `bash` go to a shell in the same folder. A `text` block
after a block that prints is its output: it must come out as shown, where `...` stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# These set up an environment of their own and run these very tests; test_readme.py looks at them in another way.
SETUP_COMMANDS = ("git clone", "python3 examples/quickstart.py", "python3 scripts/test.py")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the document on which the text starts."""

    language: str
    text: str
    line: int


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    text = document.read_text()
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in FENCE.finditer(text)]


def unknown_names(document: Path) -> list[str]:
    """Names of pushforward in the snippets that do not exist, and keywords that what is called does not take.

    Without running them, so that it costs nothing: what follows the result of a call is not looked at.
    """
    known: dict[str, Any] = {}
    wrong: dict[str, None] = {}  # in order, each once

    def look_up(owner: Any, name: str, node: ast.AST, words: str) -> Any:
        if not hasattr(owner, name):
            wrong[f"{words} in line {node.lineno}"] = None  # type: ignore[attr-defined]
        return getattr(owner, name, None)

    def resolve(node: ast.AST) -> Any:
        """The object that a dotted name stands for, or None if it is not of pushforward."""
        if isinstance(node, ast.Name):
            return known.get(node.id)
        owner = resolve(node.value) if isinstance(node, ast.Attribute) else None
        return None if owner is None else look_up(owner, node.attr, node, ast.unparse(node))  # type: ignore[attr-defined]

    code = [block for block in blocks(document) if block.language == "python"]
    nodes = [node for block in code for node in ast.walk(ast.parse("\n" * (block.line - 1) + block.text))]
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in (alias for alias in node.names if alias.name.split(".")[0] == "pushforward"):
                module = importlib.import_module(alias.name)
                known[alias.asname or "pushforward"] = module if alias.asname else sys.modules["pushforward"]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "pushforward":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                words = f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = look_up(module, alias.name, node, words)
    for node in nodes:
        if isinstance(node, ast.Attribute):
            resolve(node)
        elif isinstance(node, ast.Call) and callable(called := resolve(node.func)):
            taken = inspect.signature(called).parameters
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in taken.values()):
                foreign = [own.arg for own in node.keywords if own.arg is not None and own.arg not in taken]
                wrong |= {f"{ast.unparse(node.func)}({name}=) in line {node.lineno}": None for name in foreign}
    return list(wrong)


def run_in_order(document: Path) -> None:
    """Run every block in the current folder; the traceback of an error gives the line of the document."""
    import pushforward

    # A remark on the example data is no fault of the document.
    warnings.filterwarnings("ignore", category=pushforward.TableWarning)
    namespace: dict[str, object] = {"__name__": "__main__"}
    output = ""
    for block in blocks(document):
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(document), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(code, namespace)  # noqa: S102
            output = printed.getvalue()
        elif block.language == "bash":
            lines = [line for line in block.text.splitlines() if not line.startswith(SETUP_COMMANDS)]
            command = ["bash", "-euxc", "\n".join(lines)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        elif block.language == "text":
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            if not doctest.OutputChecker().check_output(block.text, output, flags):
                raise AssertionError(f"{document}:{block.line}: shown\n{block.text}\nbut it prints\n{output}")


def check_document(document: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a document's blocks in `folder`, beside a copy of the example data, with the settings that a user has."""
    shutil.copytree(ROOT / "examples/data", folder / "examples/data")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    if document.parent.name == "how-to":  # many programs and short fits: a quarter of the time is XLA's
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    command = [sys.executable, "-W", "error", __file__, str(document)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{document.name} does not run:\n{done.stdout}\n{done.stderr}"
    return done


if __name__ == "__main__":
    run_in_order(Path(sys.argv[1]))


def leads_somewhere(target: Path) -> bool:
    """Whether a link's file is there, or the site's build makes it: a page of the gallery comes from its script."""
    made = target.suffix == ".md" and target.resolve().parent == (ROOT / "docs" / "gallery").resolve()
    scripts = [ROOT / folder / f"{target.stem}.py" for folder in ("gallery", "examples")]
    return target.exists() or (made and any(script.exists() for script in scripts))
