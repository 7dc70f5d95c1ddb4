"""What every model of the zoo costs, how exact it is and where it comes from, read from the models themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax

from pushforward._types import Traits
from pushforward.flows.build import build
from pushforward.flows.registry import ENTRIES, Entry, plain

# Options with which a function gives a model that has a name of its own in the literature.
VARIANTS: tuple[tuple[str, Mapping[str, Any]], ...] = (("nsf", {"autoregressive": False}),)


@dataclass(frozen=True)
class FlowFacts:
    """The facts about one model of the zoo.

    Attributes:
        call: The call that makes it, such as `nsf(autoregressive=False)`.
        summary: One line with its equation.
        density: Cost of a log-density: `"parallel"` is one pass, `"sequential"` one step per dimension, `"iterative"` a
            solver that runs to its tolerance, `"absent"` not available.
        sampling: Cost of a sample, in the same words.
        log_det: `"exact"`, `"unbiased"` (random, right on average) or `"biased"`.
        conditional: Whether the model takes conditions.
        source: Authors, year and place of the publication.
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
    """The models as a table: printed as text, or as Markdown for documents.

    Attributes:
        rows: The facts, a row for each model.
        home: The module of the functions, as a user writes it.
    """

    rows: tuple[FlowFacts, ...] = field(default=())
    home: str = "pf.flows"

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

    def to_markdown(self, short: bool = False) -> str:
        """A table for documents.

        Args:
            short: Whether to write the names of the models alone, without their equations.
        """
        lines = ["| call | model | density | sampling | log-det | source |", "|---|---|---|---|---|---|"]
        for row in self.rows:
            model = row.summary.partition(":")[0] if short else row.summary
            cells = (f"`{self.home}.{row.call}`", model, row.density, row.sampling, row.log_det, row.source)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def describe_zoo(
    entries: Mapping[str, Entry] = ENTRIES, variants: Sequence[tuple[str, Mapping[str, Any]]] = VARIANTS
) -> Description:
    """The facts about each entry of a zoo; nothing is computed, for the models are only traced.

    Args:
        entries: Entries of the zoo by name.
        variants: Options with which an entry gives another model.
    """
    rows = []
    for name, entry in entries.items():
        own = [{}, *(options for variant, options in variants if variant == name)]
        rows += [_facts(entry, options) for options in own]
    return Description(tuple(rows))


def _facts(entry: Entry, options: Mapping[str, Any]) -> FlowFacts:
    traits = traits_of(entry, options)
    written = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return FlowFacts(
        call=f"{entry.name}({written})" if written else entry.name,
        summary=plain(entry.summary),
        density=traits.inverse,
        sampling=traits.forward,
        log_det=traits.log_det,
        conditional=True,
        source=plain(entry.source),
    )


def traits_of(entry: Entry, options: Mapping[str, Any]) -> Traits:
    """The traits of the bijection that an entry builds with these options."""
    flow = eqx.filter_eval_shape(lambda key: build(entry, key, {"dim": 2, **options}), jax.random.key(0))
    return flow.bijection.traits
