"""Execute the pages of the gallery, and write them as Markdown with their pictures.

    .venv/bin/python scripts/build_gallery.py            every page that changed
    .venv/bin/python scripts/build_gallery.py NAME ...   only these

A page is `gallery/NAME.py`: a script in the percent format, which jupytext reads and nbclient executes, cell by cell. A
cell that fails ends the build. The finished examples are pages too: `examples/NAME.py`, which run in the root, where
their data are. What comes out is kept in `.cache/gallery/NAME` under a hash of the page, of
`gallery/_style.py` and of the package's sources, and taken from there until one of them changes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import resource
import shutil
import sys
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "gallery"
CACHE = ROOT / ".cache" / "gallery"
WORKERS = 2
# Seconds a cell may take by the clock: far beyond what a page should, so that a loaded machine fails nothing.
CELL_SECONDS = 600
THUMBNAIL = (480, 190)
# A cell that draws is folded away on the site: it says how a picture looks, not what is in it.
DRAWS = re.compile(r"^show\(", re.MULTILINE)
FOLDED = '<details markdown="1"><summary>How the picture is drawn</summary>\n\n{}\n\n</details>'


@dataclass(frozen=True)
class Page:
    """A page as the site needs it.

    Attributes:
        name: Its name, that of its file.
        title: Its title.
        summary: Its first sentence.
        alternative: The text for readers who cannot see its first picture.
        cpu_seconds: What its execution took, in seconds of the processor.
    """

    name: str
    title: str
    summary: str
    alternative: str
    cpu_seconds: float

    @property
    def folder(self) -> Path:
        """Where its Markdown `NAME.md`, its pictures `NAME-1.png`, ... and `NAME-thumbnail.png` are."""
        return CACHE / self.name


class PageError(Exception):
    """A page did not run, or lacks what a page needs."""


def contents() -> list[tuple[str, list[str]]]:
    """The sections of the gallery, in order, each with the names of its pages."""
    sections = tomllib.loads((GALLERY / "contents.toml").read_text())["section"]
    return [(section["title"], section["pages"]) for section in sections]


def script(name: str) -> Path:
    """The script of a page, in the folder that its section names."""
    sections = tomllib.loads((GALLERY / "contents.toml").read_text())["section"]
    folder = next((part["folder"] for part in sections if "folder" in part and name in part["pages"]), "gallery")
    return ROOT / folder / f"{name}.py"


def names() -> list[str]:
    """The pages of the gallery, in order."""
    return [name for _, pages in contents() for name in pages]


def finished(name: str) -> Page:
    """A page that was executed before.

    Raises:
        PageError: it was not, or has changed since.
    """
    kept = CACHE / name / "page.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if found.pop("digest", None) != _digest(name):
        raise PageError(f"{name}.py has changed since it ran; run .venv/bin/python scripts/build_gallery.py first.")
    return Page(**found)


def _digest(name: str) -> str:
    """What a page's output depends on, as a hash."""
    found = hashlib.sha256()
    sources = sorted((ROOT / "src" / "pushforward").rglob("*.py"))
    for path in [Path(__file__), script(name), GALLERY / "_style.py", *sources]:
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def execute(name: str) -> Page:
    """Run a page in a fresh interpreter, and keep what it gave.

    Raises:
        PageError: a cell fails, or a picture has no text for those who cannot see it.
    """
    import jupytext
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = jupytext.read(script(name), fmt="py:percent")
    begun = _children_seconds()
    place = {"metadata": {"path": str(GALLERY if script(name).parent == GALLERY else ROOT)}}
    # Its remark that it speaks unencrypted on 127.0.0.1 is a warning; errors are still printed.
    quiet = ["--IPKernelApp.log_level=ERROR"]
    client = NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=place)
    client.extra_arguments = quiet
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise PageError(f"{name}.py: {re.sub(chr(27) + r'.*?m', '', str(error))}") from None
    text, pictures = _markdown(name, notebook.cells)
    seconds = round(_children_seconds() - begun, 1)
    title, _, rest = text.partition("\n")
    remark = (
        f"This page took {seconds:.0f} s of processor time to run. Its source: [{name}.py]({name}.py), which takes its "
        "looks from [_style.py](_style.py).\n"
    )
    page = Page(name, title.removeprefix("# ").strip(), _first_sentence(rest), pictures[0][0], seconds)
    shutil.rmtree(page.folder, ignore_errors=True)
    page.folder.mkdir(parents=True)
    (page.folder / f"{name}.md").write_text(f"{text}\n{remark}")
    for number, (_, picture) in enumerate(pictures, 1):
        (page.folder / f"{name}-{number}.png").write_bytes(picture)
    _thumbnail(pictures[0][1], page.folder / f"{name}-thumbnail.png")
    (page.folder / "page.json").write_text(json.dumps({**asdict(page), "digest": _digest(name)}, indent=1))
    return page


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _markdown(name: str, cells: list[Any]) -> tuple[str, list[tuple[str, bytes]]]:
    """The Markdown of executed cells, and their pictures, each with its text."""
    parts: list[str] = []
    pictures: list[tuple[str, bytes]] = []
    for cell in cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.strip())
            continue
        code = f"```python\n{cell.source.strip()}\n```"
        parts.append(FOLDED.format(code) if DRAWS.search(cell.source) else code)
        printed = "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")
        if printed.strip():
            parts.append(f"```text\n{printed.rstrip()}\n```")
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise PageError(f"{name}.py: a cell writes to standard error:\n{output['text']}")
            data = output.get("data", {})
            if "image/png" in data:
                text = " ".join(data.get("text/plain", "").split())
                if not text or text.startswith(("<Figure", "Figure(")):
                    raise PageError(f"{name}.py: a picture has no text; use `show(figure, text)` of _style.py.")
                pictures.append((text, base64.b64decode(data["image/png"])))
                parts.append(f"![{text}]({name}-{len(pictures)}.png)")
    if not pictures:
        raise PageError(f"{name}.py has no picture; use `show(figure, text)` of _style.py.")
    return "\n\n".join(parts) + "\n", pictures


def _first_sentence(text: str) -> str:
    paragraph = next(part for part in text.split("\n\n") if part.strip()[:1].isalpha())
    return re.split(r"(?<=[.:])\s", " ".join(paragraph.split()))[0].removesuffix(":").rstrip(".") + "."


def _thumbnail(picture: bytes, target: Path) -> None:
    """A small picture, cut to the shape of a card around its middle."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(picture)) as image:
        ImageOps.pad(image.convert("RGB"), THUMBNAIL, color="white").quantize(128).save(target, optimize=True)


def main(chosen: list[str]) -> int:
    """Execute the pages that changed, two at a time; print what each took, and the errors at the end."""
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        print(f"No such page in gallery/contents.toml: {', '.join(unknown)}", file=sys.stderr)
        return 2
    waiting, failed, begun = [], [], time.monotonic()
    for name in chosen or names():
        try:
            finished(name)
        except PageError:
            waiting.append(name)
    _prepare_environment()
    with ProcessPoolExecutor(WORKERS) as pool:
        running = {pool.submit(execute, name): name for name in waiting}
        for done in as_completed(running):
            try:
                print(f"{done.result().cpu_seconds:6.1f} s of CPU  {running[done]}.py", flush=True)
            except PageError as error:
                failed.append(str(error))
    for error in failed:
        print(f"\n{error}", file=sys.stderr)
    if waiting:
        print(f"{len(waiting) - len(failed)} pages in {time.monotonic() - begun:.0f} s, {len(failed)} failed")
    return 1 if failed else 0


def _prepare_environment() -> None:
    """Settings that the pages' interpreters inherit, as the tests have them: one device, compiled programs kept."""
    sys.path.insert(0, str(ROOT / "src"))
    from pushforward._compile_cache import JAX_FOLDER, JAX_SETTINGS, caches

    defaults = {
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "agg",
        # scikit-learn's threads wait for each other busily, and two pages share two cores: a cell of one took minutes.
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA remarks on slow compilations, where the machine is busy
        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",  # it compiles a spline's derivatives in half the time
        JAX_FOLDER: str(caches() / "pushforward" / "jax"),
        **JAX_SETTINGS,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a remark of the kernel's debugger, which nobody uses
    }
    for setting, value in defaults.items():
        os.environ.setdefault(setting, value)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
