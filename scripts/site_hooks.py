"""What MkDocs is told beyond `mkdocs.yml`: the navigation, formulas as MathML, links to the source, plain Markdown."""

from __future__ import annotations

import html
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
# Folders of the documentation in the order of the navigation, with the names of their tabs; others follow.
TABS = {
    "tutorial": "Tutorial",
    "gallery": "Gallery",
    "how-to": "How to",
    "coming_from": "Coming from",
    "explanation": "Explanation",
    "reference": "Reference",
}
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
HEADING = re.compile(r"^(##|###) `([\w.]+)`$", re.MULTILINE)
API = "reference/api/"


def on_config(config: Any) -> Any:
    """Set the navigation: the home page, and a tab for each folder."""
    folder = Path(config["docs_dir"])
    names = [name for name in TABS if (folder / name).is_dir()]
    names += sorted({path.parent.name for path in folder.glob("*/*.md")} - set(TABS))
    config["nav"] = ["index.md", *({TABS.get(name, name): _pages(folder, folder / name)} for name in names)]
    return config


def _pages(root: Path, folder: Path) -> list[Any]:
    pages: list[Any] = [str(path.relative_to(root)) for path in sorted(folder.glob("*.md"))]
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and any(path.glob("*.md"))]
    return pages + [{"API" if path.name == "api" else path.name: _pages(root, path)} for path in inner]


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each module of the source, to which the reference links."""
    for path in sorted((SOURCE / "pushforward").rglob("*.py")):
        text = path.read_text()
        if text.strip():
            place = path.relative_to(SOURCE)
            page = f'---\nsearch:\n  exclude: true\n---\n\n# {place}\n\n````python linenums="1"\n{text}\n````\n'
            files.append(File.generated(config, f"source/{place.with_suffix('.md')}", content=page))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Under each heading of the API: a link to the lines of the source."""
    if not page.file.src_uri.startswith(API):
        return markdown
    module = importlib.import_module(f"pushforward.{Path(page.file.src_uri).stem}") if _is_module(page) else None
    return markdown if module is None else HEADING.sub(lambda found: found[0] + _link(module, found[2]), markdown)


def _is_module(page: Any) -> bool:
    return Path(page.file.src_uri).stem != "index"


def _link(module: Any, name: str) -> str:
    value = module
    for part in name.split("."):
        value = inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
    value = getattr(value, "__func__", getattr(value, "fget", value))
    try:
        path, line = inspect.getsourcefile(inspect.unwrap(value)), inspect.getsourcelines(inspect.unwrap(value))[1]
    except (TypeError, OSError):  # a constant, or a method that is made
        return ""
    if path is None or not Path(path).resolve().is_relative_to(SOURCE):
        return ""
    place = Path(path).resolve().relative_to(SOURCE).with_suffix(".md")
    return f"\n\n[source](../../source/{place}#__codelineno-0-{max(line, 1)})"


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Formulas as MathML, which browsers draw by themselves."""

    def formula(found: re.Match[str]) -> str:
        text = html.unescape(found[3])
        try:
            return convert(text, display="block" if found[2] == "[" else "inline")
        except Exception as error:
            raise PluginError(
                f"{page.file.src_uri}: the formula {text!r} cannot be written as MathML: {error}"
            ) from error

    return FORMULA.sub(formula, content)


def on_post_build(config: Any) -> None:
    """Every page as Markdown beside its HTML, and `llms.txt`, which lists them."""
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    lines = [f"# {config['site_name']}", "", f"> {config['site_description']}", ""]
    for path in sorted(docs.rglob("*.md")):
        text, place = path.read_text(), path.relative_to(docs)
        target = site / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        title = text.partition("\n")[0].lstrip("# ").replace("`", "")
        paragraphs = [part for part in text.split("\n\n")[1:] if part[:1].isalpha()]
        lines.append(f"- [{title}]({place}): {' '.join(paragraphs[0].split())[:200] if paragraphs else title}")
    (site / "llms.txt").write_text("\n".join(lines) + "\n")
