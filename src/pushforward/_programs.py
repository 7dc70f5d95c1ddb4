"""Compiled programs of a model in float64, which are called often: the model is widened, split and moved only once."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax

from pushforward._precision import widened


def program(function: Callable, model: Any, **static: Any) -> Callable:
    """The compiled `function(model, *arrays, **static)` as a function of the arrays alone, in float64.

    Models of one structure share their compiled programs. What is kept of a model is dropped with the model.

    Args:
        function: A function at the top of a module.
        model: Any tree, such as a distribution; it is not changed as long as it lives.
        static: Further arguments, which are hashable and part of the program.
    """
    parts = once(_split, model)
    compiled = _compiled(function, tuple(sorted(static.items())))

    def run(*arrays: Any) -> Any:
        with jax.enable_x64(True):
            return compiled(parts.structure, parts.arrays, arrays)

    return run


class _Structure:
    """All of a model but its arrays: equal if it leads to the same program."""

    def __init__(self, treedef: Any, places: tuple[int, ...], others: tuple[Any, ...]):
        self.parts = (treedef, places, others)
        self.hash = hash(self.parts)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, _Structure) and self.hash == other.hash and self.parts == other.parts
        )

    def built(self, arrays: tuple[Any, ...]) -> Any:
        """The model with these arrays."""
        treedef, places, others = self.parts
        leaves: list[Any] = [None] * (len(arrays) + len(others))
        rest = iter(others)
        of_arrays = dict(zip(places, arrays, strict=True))
        return jax.tree.unflatten(treedef, [of_arrays[i] if i in of_arrays else next(rest) for i in range(len(leaves))])


class _Parts(NamedTuple):
    """A model as a compiled program takes it."""

    structure: _Structure
    arrays: tuple[Any, ...]


# By the function and the identity of its argument, with a reference that says whether it is still the same one.
_kept: dict[tuple[Callable, int], tuple[weakref.ref, Any]] = {}


def once(function: Callable[[Any], Any], model: Any) -> Any:
    """`function(model)`, computed once as long as the model lives; the result must not hold the model itself."""
    name = (function, id(model))
    kept = _kept.get(name)
    if kept is not None and kept[0]() is model:
        return kept[1]
    result = function(model)
    # The dictionary is bound, for names of the module are gone when the interpreter ends.
    _kept[name] = (weakref.ref(model, lambda _, kept=_kept: kept.pop(name, None)), result)
    return result


def _split(model: Any) -> _Parts:
    with jax.enable_x64(True):
        leaves, treedef = jax.tree.flatten(widened(model))
        places = tuple(i for i, leaf in enumerate(leaves) if eqx.is_array(leaf))
        others = tuple(leaf for leaf in leaves if not eqx.is_array(leaf))
        return _Parts(_Structure(treedef, places, others), tuple(jax.device_put([leaves[i] for i in places])))


@functools.lru_cache(maxsize=64)
def _compiled(function: Callable, static: tuple[tuple[str, Any], ...]) -> Callable:
    @functools.partial(jax.jit, static_argnums=0)
    def compiled(structure: _Structure, arrays: tuple[Any, ...], inputs: tuple[Any, ...]) -> Any:
        return function(structure.built(arrays), *inputs, **dict(static))

    return compiled
