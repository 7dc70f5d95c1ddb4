"""What an entry of the zoo is: data, from which the signature, the docstring and every check of options follow.

Nothing here needs JAX but `make`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pushforward.flows.maps import MAPS, maps_on
from pushforward.flows.option import Option, options_of
from pushforward.flows.options import BASES_ON, IDLE, LINEAR_ON, MAP_OPTIONS, Space

if TYPE_CHECKING:
    from pushforward.distributions import Flow

Function = TypeVar("Function", bound=Callable[..., Any])

# Arguments about the event, which are no options of a flow's architecture: a table decides them.
EVENT = {
    "dim": "length of an event.",
    "condition_dim": "Length of the condition; None for an unconditional flow.",
    "base": "Distribution of the latent; None is a standard normal.",
}
# Costs of a log-density and of a sample by builder, where they are not one pass each; entries may differ.
COSTS = {
    "block": ("parallel", "iterative"),
    "elementwise": ("parallel", "iterative"),
    "neural_ode": ("iterative", "iterative"),
    "regression": ("iterative", "iterative"),
}
# Defaults by builder, where they differ from those of the options.
DEFAULTS = {"regression": {"width": 128, "activation": "silu"}}
# Builders whose layers have no networks unless they are conditional, whatever their width and depth say.
WITHOUT_NETWORKS = ("low_rank", "elementwise")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A flow of the zoo.

    Args:
        name: Name of its function in `pushforward.flows`.
        builder: Name of the function in `pushforward.flows.build.BUILDERS` that assembles it.
        options: Its options by name, with its own defaults; an entry with a scalar map has the options of all maps.
        summary: One line with the equation.
        notes: Further paragraphs of the docstring.
        source: Authors, year and place of the publication.
        cost: Costs of a log-density and of a sample in the words of `Traits`, with the options' defaults.
        log_det: Exactness of the log-determinant in the words of `Traits`.
        space: `"line"`, or `"circle"` for angles in radians.
        fast: The direction in closed form, `"score"` or `"sample"`.
    """

    name: str
    builder: str
    options: Mapping[str, Option]
    summary: str
    notes: str
    source: str
    cost: tuple[str, str]
    log_det: str
    space: Space
    fast: str

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of the distributions that its latent may have."""
        return BASES_ON[self.space]

    @property
    def has_networks(self) -> bool:
        """Whether the flow has networks even without a condition."""
        return self.builder not in WITHOUT_NETWORKS

    def accepted(self, scalar_map: Any = None) -> tuple[str, ...]:
        """The options of the flow with a scalar map, given by name or as an object; None is its own map."""
        chosen = self.options["scalar_map"].default if scalar_map is None and self.has_map else scalar_map
        of_map = MAPS[chosen].options if isinstance(chosen, str) and chosen in MAPS else ()
        return tuple(name for name in self.options if name not in MAP_OPTIONS or not self.has_map or name in of_map)

    @property
    def has_map(self) -> bool:
        """Whether its scalar map is an option."""
        return "scalar_map" in self.options

    def foreign(self, given: Mapping[str, Any]) -> str | None:
        """One sentence on an option that it does not have, None if it has all that are given."""
        accepted = self.accepted(given.get("scalar_map"))
        unknown = [name for name in given if name not in accepted]
        if not unknown:
            return None
        of_map = ""
        if self.has_map and unknown[0] in MAP_OPTIONS:
            chosen = given.get("scalar_map", self.options["scalar_map"].default)
            of_map = f" with scalar_map {chosen!r}" if isinstance(chosen, str) else " with a scalar map that is built"
        return f"{unknown[0]} is no option of the flow {self.name}{of_map}. It has {', '.join(accepted)}."

    def wrong(self, given: Mapping[str, Any]) -> str | None:
        """One sentence on a name that is not allowed here, or on an option that it does not have; else None."""
        for name, option in self.options.items():
            value = given.get(name)
            if isinstance(value, str) and option.words and value not in option.words:
                return option.wrong(self.name, value)
        return self.foreign(given) or self.idle(given)

    def idle(self, given: Mapping[str, Any]) -> str | None:
        """One sentence on an option that another one leaves without effect, None if there is none."""
        for by, values, names in IDLE:
            value = given.get(by, self.options[by].default) if by in self.options else None
            if not isinstance(value, bool | str) or value not in values:
                continue
            for name in names:
                chosen = given.get(name)
                plain = isinstance(chosen, str | int | float) and chosen == self.default(name)
                if name in self.options and chosen is not None and not plain:
                    return f"{self.name}: {name} has no effect with {by}={value!r}. Leave one of the two out."
        return None

    def default(self, name: str, scalar_map: Any = None) -> Any:
        """The default of one of its options, with a scalar map."""
        if name in MAP_OPTIONS and self.has_map:
            chosen = self.options["scalar_map"].default if scalar_map is None else scalar_map
            return MAPS[chosen].defaults.get(name, self.options[name].default)
        return self.options[name].default

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All its options, those that are not given with their defaults.

        Raises:
            TypeError: The flow does not have an option.
            ValueError: An option is out of its bounds.
        """
        given = {name: value for name, value in given.items() if value is not None or name not in MAP_OPTIONS}
        if isinstance(given.get("scalar_map"), str) and self.has_map:  # it comes first: the other options depend on it
            self.options["scalar_map"].check(self.name, given["scalar_map"])
        sentence = self.foreign(given)
        if sentence is not None:
            raise TypeError(sentence)
        for name, value in given.items():
            self.options[name].check(self.name, value)
        sentence = self.idle(given)
        if sentence is not None:
            raise ValueError(sentence)
        chosen = given.get("scalar_map")
        full = {name: self.default(name, chosen) for name in self.accepted(chosen)} | given
        if given.get("adjacency") is not None and "linear" not in given:
            full["linear"] = None  # a mixing layer would join what the graph keeps apart
        return full

    def signature(self) -> inspect.Signature:
        """The signature of its function: None stands for an option that belongs to other scalar maps."""
        kinds = inspect.Parameter
        own = self.accepted()
        made = [kinds("key", kinds.POSITIONAL_OR_KEYWORD), kinds("dim", kinds.KEYWORD_ONLY, annotation=int)]
        made += [kinds(name, kinds.KEYWORD_ONLY, default=None) for name in ("condition_dim", "base")]
        for name in sorted(self.options, key=lambda name: name not in own):
            value = self.default(name) if name in own else None
            made.append(kinds(name, kinds.KEYWORD_ONLY, default=value))
        return inspect.Signature(made)

    def doc(self) -> str:
        """The docstring of its function."""
        own = self.accepted()
        lines = ["key: JAX key for the initial weights.", *(f"{name}: {text}" for name, text in EVENT.items())]
        for name in own:
            default = self.default(name)
            lines.append(
                f"{name}: {self.options[name].text} It is {self.options[name].expected}; {default!r} by default."
            )
        others = [name for name in self.options if name not in own]
        if others:
            lines.append(f"{', '.join(others)}: They belong to other scalar maps.")
        scoring, sampling = self.cost
        sections = {
            "Args": lines,
            "Cost": [f"scoring {scoring}, sampling {sampling}; log-det {self.log_det}."],
            "Raises": [
                "TypeError: The flow does not have an option, or a value is of another kind.",
                "ValueError: An option is out of its bounds, or options exclude each other.",
            ],
            "Source": [f"{self.source}."],
        }
        return sectioned(self.summary, self.notes, sections)


def sectioned(summary: str, notes: str, sections: Mapping[str, Sequence[str]]) -> str:
    """A docstring of a summary, further paragraphs, and sections with an entry for each row."""
    head = "\n\n".join(part for part in (summary, notes) if part)
    return head + "".join(f"\n\n{title}:\n" + "\n".join(map(wrapped, rows)) for title, rows in sections.items())


def wrapped(row: str) -> str:
    """An entry of a docstring's section, indented and on lines of the usual length."""
    return textwrap.fill(row, 116, initial_indent=" " * 4, subsequent_indent=" " * 8)


ENTRIES: dict[str, Entry] = {}


def entry(
    builder: str,
    options: Any,
    *,
    source: str,
    cost: tuple[str, str] | None = None,
    log_det: str = "exact",
    space: Space = "line",
    fast: str = "score",
    **defaults: Any,
) -> Callable[[Function], Function]:
    """Enter a function in the zoo: its signature and docstring follow from the declaration.

    Args:
        builder: Name of the builder, as in `Entry`.
        options: Groups of options of the flow, as a `TypedDict`.
        source: Authors, year and place of the publication.
        cost: Costs of a log-density and of a sample; None takes those of the builder.
        log_det: Exactness of the log-determinant.
        space: `"line"`, or `"circle"` for angles in radians.
        fast: The direction in closed form, `"score"` or `"sample"`.
        **defaults: Defaults of this flow where they differ from those of the options and of the builder.
    """

    def enter(function: Function) -> Function:
        name = function.__name__
        declared = options_of(options)
        chosen = DEFAULTS.get(builder, {}) | defaults
        own = {
            key: dataclasses.replace(option, default=chosen.get(key, option.default))
            for key, option in declared.items()
        }
        for key, words in (("linear", LINEAR_ON[space]), ("scalar_map", maps_on(space))):
            if key in own:
                own[key] = dataclasses.replace(own[key], words=words)
        summary, _, notes = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
        costs = COSTS.get(builder, ("parallel", "parallel")) if cost is None else cost
        made = Entry(name, builder, own, summary, notes, source, costs, log_det, space, fast)
        ENTRIES[name] = made
        function.__signature__ = made.signature()  # pyright: ignore[reportFunctionMemberAccess]
        function.__doc__ = made.doc()
        return function

    return enter


def plain(text: str) -> str:
    """A text on one line, as a cell of a table has it."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def make(name: str, key: Any, options: Mapping[str, Any]) -> Flow:
    """The flow of that entry, with these options."""
    from pushforward.flows.build import build

    return build(ENTRIES[name], key, options)
