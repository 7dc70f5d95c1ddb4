"""What an option of the zoo is: its default, its bounds and its sentence, with the type that a group declares."""

from __future__ import annotations

import dataclasses
import numbers
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of flows.

    Args:
        default: Value where none is given; an entry of the zoo may have another.
        text: Description in whole sentences.
        ge: The smallest value; `gt` excludes it.
        gt: Bound that every value exceeds.
        le: The largest value; `lt` excludes it.
        lt: Bound that no value reaches.
        lists: `"mask"` for a list of booleans, `"rows"` for lists of them, None for neither.
        name: Name of the option, from the group that declares it.
        kind: Type of a value: `int`, `float`, `bool` or `str`; None for lists alone.
        words: Names that are allowed as values.
        optional: Whether None is a value.
        objects: Whether Python may pass objects that no file can name.
    """

    default: Any
    text: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    lists: Literal["mask", "rows"] | None = None
    name: str = ""
    kind: type | None = None
    words: tuple[str, ...] = ()
    optional: bool = False
    objects: bool = False

    def named(self, name: str, hint: Any) -> Option:
        """The option with its name and the facts that its type declares."""
        members = list(_members(hint))
        words = tuple(word for member in members if get_origin(member) is Literal for word in get_args(member))
        kind = next((kind for kind in (bool, int, float) if kind in members), str if words else None)
        optional, objects = type(None) in members, Any in members or any(get_origin(m) is Callable for m in members)
        return dataclasses.replace(self, name=name, kind=kind, words=words, optional=optional, objects=objects)

    @property
    def bounds(self) -> dict[str, Any]:
        """The bounds that are set, by the names that pydantic gives them."""
        pairs = {key: getattr(self, key) for key in ("ge", "gt", "le", "lt")}
        return {key: value for key, value in pairs.items() if value is not None}

    @property
    def expected(self) -> str:
        """The values that the option takes, in words for messages and docstrings."""
        if self.words:
            parts = ["one of " + ", ".join(self.words)]
        elif self.kind is bool:
            parts = ["True or False"]
        elif self.kind is None:
            parts = []
        else:
            signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
            limits = " and ".join(f"{signs[key]} {value:,.12g}" for key, value in self.bounds.items())
            parts = [("an integer " if self.kind is int else "a number ") + limits]
        parts += [{"mask": "a list of booleans", "rows": "rows of booleans"}[self.lists]] if self.lists else []
        parts += ["an object"] if self.objects and self.words and not self.lists else []
        return " or ".join([*parts, *(["None"] if self.optional else [])])

    def check(self, flow: str, value: Any) -> None:
        """Raise if the option does not take a value.

        Raises:
            TypeError: The value is of another kind.
            ValueError: The value is an unknown name, or out of bounds.
        """
        if (value is None and self.optional) or (self.objects and not isinstance(value, str | numbers.Number)):
            return
        if self.lists and not isinstance(value, str):
            return  # shapes of lists are checked where the number of coordinates is known
        kinds: Any = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}.get(self.kind or str, str)
        if self.kind is bool and type(value).__name__ in ("bool_", "bool"):
            return
        if not isinstance(value, kinds) or (self.kind in (int, float) and isinstance(value, bool)):
            raise TypeError(self.wrong(flow, value))
        if self.words and value not in self.words:
            raise ValueError(self.wrong(flow, value))
        if self.kind in (int, float):
            number = float(value)  # pyright: ignore[reportArgumentType] - its kind was checked
            inside = (
                (self.ge is None or number >= self.ge)
                and (self.gt is None or number > self.gt)
                and (self.le is None or number <= self.le)
                and (self.lt is None or number < self.lt)
            )
            if not inside:
                raise ValueError(self.wrong(flow, value))

    def wrong(self, flow: str, value: Any) -> str:
        """What is wrong with a value, in one sentence."""
        return f"{flow}: expected {self.name} to be {self.expected}, got {value!r}."


def _members(hint: Any) -> list[Any]:
    """The members of a union, or the type itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return [member for part in get_args(hint) for member in _members(part)]
    return [hint]


def options_of(group: Any) -> dict[str, Option]:
    """The options that a group declares, its own and those of the groups it is made of, by name."""
    found = {}
    for name, hint in get_type_hints(group, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, option = get_args(hint)
            found[name] = option.named(name, kind)
    return found
