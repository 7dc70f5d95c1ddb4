"""The zoo's options as pydantic takes them: for flags, TOML keys and the bounds of model files.

All of it follows from the entries of the zoo. Nothing here needs JAX, so that the command line can show its help
without it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from pushforward._objectives import objective_names
from pushforward.flows.option import Option
from pushforward.flows.options import MAX_DIM, BaseName
from pushforward.flows.registry import ENTRIES

__all__ = ["MAX_DIM", "OPTIONS", "BaseName", "FlowName", "FlowOption", "ObjectiveName"]

FlowName: Any = Literal[tuple(ENTRIES)]  # pyright: ignore[reportInvalidTypeForm] - as many as there are entries
if TYPE_CHECKING:
    ObjectiveName = str
else:
    ObjectiveName = Literal[objective_names()]  # those that the classes of objectives declare

Mask = Annotated[list[bool], Field(max_length=MAX_DIM)]
# Rows of booleans, or of zeros and ones: `adjacency[i][j]` says whether coordinate i may depend on coordinate j.
Bit = bool | Annotated[int, Field(ge=0, le=1)]
Adjacency = Annotated[list[Annotated[list[Bit], Field(max_length=2 * MAX_DIM)]], Field(max_length=MAX_DIM)]


@dataclass(frozen=True)
class FlowOption:
    """An option of flows.

    Args:
        kind: Type of the option with its bounds, as pydantic takes it.
        text: Sentence that the help shows.
    """

    kind: Any
    text: str


def _kind(option: Option) -> Any:
    """The type of an option in files, with its bounds."""
    kinds: list[Any] = []
    if option.words:
        kinds.append(Literal[option.words])
    elif option.kind is bool:
        kinds.append(bool)
    elif option.kind is not None:
        kinds.append(Annotated[option.kind, Field(**option.bounds)])
    if option.lists is not None:
        kinds.append({"mask": Mask, "rows": Adjacency}[option.lists])
    kinds += [None] if option.optional else []
    union = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return union


def _all_options() -> dict[str, Option]:
    """Every option of the zoo; its words are those that at least one entry takes."""
    found: dict[str, Option] = {}
    for entry in ENTRIES.values():
        for name, option in entry.options.items():
            words = dict.fromkeys((*(found[name].words if name in found else ()), *option.words))
            found[name] = dataclasses.replace(option, words=tuple(words))
    return found


OPTIONS: dict[str, FlowOption] = {
    name: FlowOption(_kind(option), option.text) for name, option in _all_options().items()
}
