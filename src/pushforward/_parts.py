"""The parts of models: each shows the parts it is made of, and can be rebuilt from other parts."""

from __future__ import annotations

import dataclasses
import operator
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax

from pushforward._module import Module
from pushforward._types import is_array

Tree = TypeVar("Tree")


class Part(Module):
    """The base class of the parts of a model, which are bijections and distributions."""


class AbstractWhole(Part):
    """A part that is made of other parts, which it shows, and from which it can be rebuilt.

    Each part is in a field or in a tuple in a field, so that none is hidden.
    """

    @property
    def members(self) -> tuple[Any, ...]:
        """The parts in the fields, in the order of the fields."""
        found = [_held(getattr(self, field.name)) for field in dataclasses.fields(self)]
        return tuple(member for held in found for member in held)

    @abstractmethod
    def with_members(self, members: tuple[Any, ...]) -> Any:
        """The same whole made of other members, with the facts that follow from them.

        Args:
            members: New parts, as many as in the property `members`, in the same order.
        """


def _held(value: Any) -> tuple[Any, ...]:
    return tuple(part for part in (value if isinstance(value, tuple | list) else (value,)) if isinstance(part, Part))


def replaced(module: Tree, **fields: Any) -> Tree:
    """A copy of a module with other values in some of its fields, for one whose constructor draws weights."""
    # Equinox rebuilds a module from its leaves in the same way.
    copy = object.__new__(type(module))
    for field in dataclasses.fields(module):  # pyright: ignore[reportArgumentType] - modules are dataclasses
        object.__setattr__(copy, field.name, fields.get(field.name, getattr(module, field.name)))
    return copy


def unstacked(module: Tree, n: int) -> list[Tree]:
    """The modules that one module with stacked arrays stands for."""
    arrays, static = eqx.partition(module, is_array)
    return [eqx.combine(jax.tree.map(operator.itemgetter(i), arrays), static) for i in range(n)]


def rewritten(model: Tree, change: Callable[[Any], Any]) -> Tree:
    """The model with every part in it changed, the innermost first; an unchanged part is the same object.

    Args:
        model: A part, or any tree of parts.
        change: Function from a part to another part, or to the same one.
    """

    def one(node: Any) -> Any:
        if isinstance(node, AbstractWhole):
            new = tuple(one(member) for member in node.members)
            if any(now is not old for now, old in zip(new, node.members, strict=True)):
                node = node.with_members(new)
        return change(node) if isinstance(node, Part) else node

    return jax.tree.map(one, model, is_leaf=lambda node: isinstance(node, Part))


def parts(model: Any) -> list[Any]:
    """All parts of a model, each whole before its parts; the layers of a scan are one part with stacked arrays."""
    found: list[Any] = []

    def one(node: Any) -> None:
        if isinstance(node, Part):
            found.append(node)
        for member in node.members if isinstance(node, AbstractWhole) else ():
            one(member)

    for node in jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, Part)):
        one(node)
    return found
