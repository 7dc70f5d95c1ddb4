"""Write `docs/reference/api/`: a page for every public module, with each name's signature and docstring.

    .venv/bin/python scripts/api_reference.py

Everything is read from the code; `tests/test_reference.py` fails when a page is stale.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pushforward as pf

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference" / "api"
WIDTH = 100  # of a signature on one line
# Titles of a docstring's sections, as `design.md` lists them.
SECTION = re.compile(
    r"^(Args|Attributes|Returns|Yields|Raises|Shapes|Cost|Log-det|Source|Example|Examples|Note):[ ]*(.*)$"
)
# What stands in an annotation that is an object, and how the code writes it.
SHORTER = (
    (re.compile(r"<(?:function|class) '?([\w.]+)'?(?: at 0x[0-9a-f]+)?>"), r"\1"),
    (re.compile(r" at 0x[0-9a-f]+"), ""),
    (re.compile(r"\b(?:pushforward|jax|jaxlib|jaxtyping|equinox|collections|typing)\.(?:\w+\.)*(?=\w)"), ""),
    (re.compile(r"Union\[Key\[[^]]*\], UInt32\[[^]]*\], UInt32\[[^]]*\], NoneType\]"), "PRNGKeyArray | None"),
    (re.compile(r"Union\[Key\[[^]]*\], UInt32\[[^]]*\], UInt32\[[^]]*\]\]"), "PRNGKeyArray"),
)
LISTED = ("Args", "Attributes", "Raises")  # sections whose entries are a name, a colon and a text
WRITTEN = "<!-- This page is written by scripts/api_reference.py from the docstrings. -->"


def public_modules() -> list[str]:
    """The names of the public modules, in the order of the alphabet."""
    return sorted(pf._MODULES)


def page(module: str) -> str:
    """The page of one module."""
    home = importlib.import_module(f"pushforward.{module}")
    lines = [f"# `pushforward.{module}`", "", WRITTEN, "", *_prose(inspect.getdoc(home) or ""), ""]
    for name in sorted(set(home.__all__), key=lambda name: (name.lower(), name)):
        lines += _entry(f"pushforward.{module}", name, getattr(home, name))
    return "\n".join(lines).rstrip() + "\n"


def index() -> str:
    """The page that lists the modules."""
    lines = ["# The API", "", WRITTEN, "", "| module | what it holds |", "|---|---|"]
    for module in public_modules():
        first = (inspect.getdoc(importlib.import_module(f"pushforward.{module}")) or "").split("\n\n")[0]
        lines.append(f"| [`pushforward.{module}`]({module}.md) | {_cell(first)} |")
    lines += ["", "These names stand in `pushforward` itself:", ""]
    lines += [f"- [`{name}`]({home.split('.')[0]}.md)" for name, home in _faces()]
    return "\n".join(lines) + "\n"


def _faces() -> list[tuple[str, str]]:
    """The names of the public face whose home has a page."""
    return sorted((name, home) for name, home in pf._HOME.items() if home.split(".")[0] in pf._MODULES)


def _entry(module: str, name: str, value: Any) -> list[str]:
    if inspect.ismodule(value):
        return [f"## `{name}`", "", *_prose(inspect.getdoc(value) or ""), ""]
    if not (inspect.isclass(value) or callable(value)):
        return [f"## `{name}`", "", f"A constant of type `{type(value).__name__}`.", ""]
    lines = [f"## `{name}`", "", "```py", *_signature(f"{module}.{name}", value), "```", ""]
    lines += [*_docstring(inspect.getdoc(value) or "")]
    if inspect.isclass(value):
        for method, function in _methods(value):
            lines += [f"### `{name}.{method}`", "", "```py", *_signature(method, function), "```", ""]
            lines += _docstring(inspect.getdoc(function) or "")
    return lines


def _methods(kind: type) -> list[tuple[str, Any]]:
    """The public methods that a class documents itself; an override without words inherits the contract's page."""
    own = []
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if name.startswith("_") or not inspect.isfunction(inspect.unwrap(function)) or not function.__doc__:
            continue
        own.append((name, getattr(kind, name)))
    return own


def _signature(name: str, value: Any) -> list[str]:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return [f"{name}(...)"]
    parts = [_parameter(parameter) for parameter in signature.parameters.values() if parameter.name != "self"]
    stars = [i for i, p in enumerate(signature.parameters.values()) if p.kind is p.KEYWORD_ONLY]
    if stars and not any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        parts.insert(stars[0] - (len(signature.parameters) - len(parts)), "*")
    line = f"{name}({', '.join(parts)})"
    return [line] if len(line) <= WIDTH else [f"{name}(", *[f"    {part}," for part in parts], ")"]


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter as its module writes it: where annotations are objects, Python prints where their types live."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = stars + parameter.name
    if parameter.annotation is not parameter.empty:
        text += ": " + _plain(inspect.formatannotation(parameter.annotation)).replace("'", "")
    if parameter.default is not parameter.empty:
        text += f" = {_plain(repr(parameter.default))}"
    return text


def _plain(text: str) -> str:
    for pattern, short in SHORTER:
        text = pattern.sub(short, text)
    return text


def _docstring(text: str) -> list[str]:
    """A Google-style docstring as Markdown: sections as bold words, arguments as a list, examples as they are."""
    out: list[str] = []
    title, body = "", []

    def close() -> None:
        if title:
            out.extend(_section(title, body))
        else:
            out.extend([*_prose("\n".join(body)), ""])

    for line in text.splitlines():
        if match := SECTION.match(line):
            close()
            title, body = match[1], [match[2]] if match[2] else []
        elif title and line and not line.startswith(" "):
            close()
            title, body = "", [line]
        else:
            body.append(line)
    close()
    return out


def _section(title: str, body: list[str]) -> list[str]:
    text = inspect.cleandoc("\n" + "\n".join(body)) if body and body[0].startswith(" ") else "\n".join(body)
    text = inspect.cleandoc(text)
    if title.startswith("Example"):
        return [f"**{title}**", "", "```pycon", *text.splitlines(), "```", ""]
    if title not in LISTED:
        return [f"**{title}.** " + " ".join(text.split()), ""]
    items: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"^(\*{0,2}[\w., *]+?): (.*)$", line):
            items.append(f"- `{match[1]}`: {match[2]}")
        elif line.strip() and items:
            items[-1] += " " + line.strip()
        elif line.strip():
            items.append(line.strip())
    return [f"**{title}**", "", *items, ""]


def _prose(text: str) -> list[str]:
    return text.strip().splitlines()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Every page by its path."""
    return {FOLDER / "index.md": index(), **{FOLDER / f"{module}.md": page(module) for module in public_modules()}}


def main() -> None:
    """Write the pages, and remove those of modules that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = pages()
    for path, text in written.items():
        path.write_text(text)
    for path in set(FOLDER.glob("*.md")) - set(written):
        path.unlink()


if __name__ == "__main__":
    main()
