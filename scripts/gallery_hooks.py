"""How MkDocs gets the gallery: pages, pictures, sources, the cards of the first page, and the navigation.

`scripts/build_gallery.py` has executed the pages before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import build_gallery as gallery

CARDS = "<!-- cards -->"
INDEX = "gallery/index.md"


def _page(name: str) -> gallery.Page:
    try:
        return gallery.finished(name)
    except gallery.PageError as error:
        raise PluginError(str(error)) from None


def on_config(config: Any) -> Any:
    """Set the gallery's tab: its first page, and a group for each section."""
    groups = [
        {title: [{_page(name).title: f"gallery/{name}.md"} for name in pages]} for title, pages in gallery.contents()
    ]
    config["nav"] = [{"Gallery": [INDEX, *groups]} if "Gallery" in entry else entry for entry in config["nav"]]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add each page, its pictures and its source."""
    for name in gallery.names():
        page = _page(name)
        made = [page.folder / f"{name}.md", *sorted(page.folder.glob("*.png")), gallery.script(name)]
        for path in made:
            files.append(File.generated(config, f"gallery/{path.name}", abs_src_path=str(path)))
    style = gallery.GALLERY / "_style.py"
    files.append(File.generated(config, f"gallery/{style.name}", abs_src_path=str(style)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """On the first page: a card for each page, with its picture, title and first sentence."""
    if page.file.src_uri != INDEX:
        return markdown
    return markdown.replace(CARDS, cards())


def cards() -> str:
    """The sections of the gallery with the cards of their pages, in Markdown."""
    lines: list[str] = []
    for title, pages in gallery.contents():
        lines += [f"## {title}", "", '<div class="grid cards" markdown>', ""]
        for page in map(_page, pages):
            picture = f"[![{page.alternative}]({page.name}-thumbnail.png)]({page.name}.md)"
            lines += [f"-   {picture}", "", f"    **[{page.title}]({page.name}.md)**", "", f"    {page.summary}", ""]
        lines += ["</div>", ""]
    return "\n".join(lines)


def on_post_build(config: Any) -> None:
    """The pages as Markdown beside their HTML, and their lines in `llms.txt`, which `site_hooks` began."""
    site = Path(config["site_dir"])
    first = site / INDEX
    first.write_text(first.read_text().replace(CARDS, cards()))
    lines = []
    for page in map(_page, gallery.names()):
        (site / "gallery" / f"{page.name}.md").write_text((page.folder / f"{page.name}.md").read_text())
        lines.append(f"- [{page.title}](gallery/{page.name}.md): {page.summary}\n")
    with (site / "llms.txt").open("a") as listed:
        listed.writelines(lines)
