"""Write the generated tables of the reference: every bijection and every flow, with cost, exactness and source.

    .venv/bin/python scripts/reference.py

Costs and exactness are read from `traits`, texts from docstrings; `tests/test_reference.py` fails when a page is stale.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import equinox as eqx
import jax

import pushforward as pf
from pushforward.bijections.base import AbstractBijection
from pushforward.flows import ENTRIES
from pushforward.flows.maps import MAPS
from pushforward.flows.option import options_of
from pushforward.flows.options import Map
from pushforward.flows.registry import Entry, plain
from pushforward.images import IMAGE_ENTRIES, ImageEntry

ROOT = Path(__file__).resolve().parent.parent


def bijections() -> str:
    """A row for each exported bijection, its traits those of its first case."""
    sys.path.append(str(ROOT / "tests"))
    from cases import CASES

    kinds: dict[type, AbstractBijection] = {}
    for case in CASES.values():
        made = eqx.filter_eval_shape(case.make, jax.random.key(0))
        kinds.setdefault(type(made), made)
    lines = ["| name | map | forward | inverse | log-det | source |", "|---|---|---|---|---|---|"]
    for kind, made in sorted(kinds.items(), key=lambda item: item[0].__name__):
        facts = [made.traits.forward, made.traits.inverse, made.traits.log_det]
        if kind.__module__.endswith(("combinators", "lifting", "products")):
            facts = ["as its members"] * 3
        own = [f"`{kind.__name__}`", *_words(kind), *facts, _source(kind)]
        lines.append("| " + " | ".join(own) + " |")
    return "\n".join(lines) + "\n"


def scalar_maps() -> str:
    """A row for each exported scalar map."""
    lines = ["| name | map | source |", "|---|---|---|"]
    for name, kind in sorted(vars(pf.bijections.scalar_maps).items()):
        if inspect.isclass(kind) and issubclass(kind, pf.AbstractScalarMap) and not inspect.isabstract(kind):
            lines.append("| " + " | ".join([f"`{name}`", *_words(kind), _source(kind)]) + " |")
    return "\n".join(lines) + "\n"


def _words(kind: type) -> list[str]:
    first = (inspect.getdoc(kind) or "").split("\n\n")[0]
    return [" ".join(first.split()).replace("|", "\\|")]


def _source(kind: type) -> str:
    """The section of that name in a docstring, on one line; empty if there is none."""
    found = re.search(r"^Source:\s*(.+?)(?:\n\s*\n|\Z)", inspect.getdoc(kind) or "", re.MULTILINE | re.DOTALL)
    return plain(found[1]).rstrip(".") if found else ""


def scalar_map_options() -> str:
    """A row for each scalar map that flows take by name, with its options and their defaults."""
    declared = options_of(Map)
    lines = ["| `scalar_map=` | class | of | options |", "|---|---|---|---|"]
    for name, entry in MAPS.items():
        options = ", ".join(f"`{key}={entry.defaults.get(key, declared[key].default)!r}`" for key in entry.options)
        lines.append(f"| `{name}` | `{entry.kind}` | the {entry.space} | {options} |")
    return "\n".join(lines) + "\n"


def flow_options(entries: Mapping[str, Entry | ImageEntry] = ENTRIES) -> str:
    """A row for each option of a zoo: what it takes, its default, and the models that have another one."""
    options = {name: option for entry in reversed(entries.values()) for name, option in entry.options.items()}
    lines = ["| option | what it is | it takes | default |", "|---|---|---|---|"]
    for name in dict.fromkeys(name for entry in entries.values() for name in entry.options):
        option = options[name]
        of_flow = {flow: entry.options[name].default for flow, entry in entries.items() if name in entry.options}
        usual = Counter(map(repr, of_flow.values())).most_common(1)[0][0]
        others = [f"{value!r} for `{flow}`" for flow, value in of_flow.items() if repr(value) != usual]
        cells = [f"`{name}`", option.text, option.expected, ", ".join([usual, *others])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


TABLES = {
    "README.md": {"zoo": lambda: pf.flows.describe().to_markdown(short=True)},
    "docs/reference/zoo.md": {
        "zoo": lambda: pf.flows.describe().to_markdown(),
        "scalar maps": scalar_map_options,
        "options": flow_options,
    },
    "docs/reference/images.md": {
        "images": lambda: pf.images.describe().to_markdown(),
        "options": lambda: flow_options(IMAGE_ENTRIES),
    },
    "docs/reference/bijections.md": {"bijections": bijections, "scalar maps": scalar_maps},
}


def page(name: str) -> str:
    """The page as it should be."""
    text = (ROOT / name).read_text()
    for mark, table in TABLES[name].items():
        begin, end = f"<!-- {mark}: written by scripts/reference.py -->\n\n", f"\n<!-- end of {mark} -->"
        head, _, rest = text.partition(begin)
        text = head + begin + table() + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    for name in TABLES:
        (ROOT / name).write_text(page(name))
