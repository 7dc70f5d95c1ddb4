"""What every model of the zoo costs, how exact it is and where it comes from, read from the models themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax

from pushforward._types import Traits
from pushforward.distributions import Flow

# Options that make another model of a function, as the literature counts them.
VARIANTS: tuple[tuple[str, Mapping[str, Any]], ...] = (("nsf", {"autoregressive": True}),)


@dataclass(frozen=True)
class FlowFacts:
    """One model.

    Attributes:
        call: how it is made, such as `nsf(autoregressive=True)`.
        summary: the first sentence of its documentation.
        density: cost of a log-density: `"parallel"` is one pass, `"sequential"` one step per dimension, `"iterative"` a
            solver that runs to its tolerance, `"absent"` not available.
        sampling: cost of a sample, in the same words.
        log_det: `"exact"`, `"unbiased"` (random, right on average) or `"biased"`.
        conditional: whether it takes conditions.
        source: authors, year, where.
    """

    call: str
    summary: str
    density: str
    sampling: str
    log_det: str
    conditional: bool
    source: str


@dataclass(frozen=True)
class Description:
    """The models as a table: printed as text, or as Markdown for documents."""

    rows: tuple[FlowFacts, ...] = field(default=())

    def __iter__(self) -> Iterator[FlowFacts]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        cells = [["call", "density", "sampling", "log-det", "source"]]
        cells += [[row.call, row.density, row.sampling, row.log_det, row.source] for row in self.rows]
        widths = [max(len(line[n]) for line in cells) for n in range(len(cells[0]))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
        )

    def to_markdown(self) -> str:
        """A table for documents."""
        lines = ["| call | model | density | sampling | log-det | source |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            cells = (f"`pf.flows.{row.call}`", row.summary, row.density, row.sampling, row.log_det, row.source)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def describe_zoo(
    zoo: Mapping[str, Callable[..., Flow]], variants: Sequence[tuple[str, Mapping[str, Any]]] = VARIANTS
) -> Description:
    """The facts about each function of a zoo; nothing is computed, for the models are only traced.

    Args:
        zoo: functions by name.
        variants: options that make another model of one of them.
    """
    rows = []
    for name, make in zoo.items():
        own = [{}, *(options for variant, options in variants if variant == name)]
        rows += [_facts(name, make, options) for options in own]
    return Description(tuple(rows))


def _facts(name: str, make: Callable[..., Flow], options: Mapping[str, Any]) -> FlowFacts:
    text = inspect.getdoc(make) or ""
    traits = _traits(make, options)
    written = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return FlowFacts(
        call=f"{name}({written})" if written else name,
        summary=_plain(text.split("\n\n")[0]),
        density=traits.inverse,
        sampling=traits.forward,
        log_det=traits.log_det,
        conditional="condition_dim" in inspect.signature(make).parameters,
        source=section(text, "Source"),
    )


def _traits(make: Callable[..., Flow], options: Mapping[str, Any]) -> Traits:
    flow = eqx.filter_eval_shape(lambda key: make(key, dim=2, **options), jax.random.key(0))
    return flow.bijection.traits


def section(text: str, title: str) -> str:
    """A section of a docstring, on one line; empty if there is none."""
    found = re.search(rf"^{title}:\s*(.+?)(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return _plain(found[1]).rstrip(".") if found else ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
