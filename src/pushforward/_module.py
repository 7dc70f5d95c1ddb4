"""Modules whose methods JAX takes as functions, for `jax.jit`, `jax.checkpoint` and `jax.grad`."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax


class Method:
    """A method of a module, which is a pytree like the module, and equal only to the same method of the same module.

    Equinox's own bound method is hashed by its arrays, which have no hash, so that `jax.jit(flow.log_prob)` fails, and
    compared by their values, which is not possible while they are traced. A module never changes, so that its identity
    can be compared instead: the method keeps the module alive as long as a compiled function refers to it.
    """

    __slots__ = ("__dict__", "__func__", "__self__", "__weakref__")

    def __init__(self, function: Callable, owner: Any):
        self.__func__, self.__self__ = function, owner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self.__self__, *args, **kwargs)

    def __hash__(self) -> int:
        return hash((self.__func__, id(self.__self__)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and self.__func__ is other.__func__ and self.__self__ is other.__self__

    def __repr__(self) -> str:
        return f"<{self.__func__.__qualname__} of {type(self.__self__).__name__}>"

    @property
    def __wrapped__(self) -> Callable:
        return types.MethodType(self.__func__, self.__self__)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        if name in functools.WRAPPER_ASSIGNMENTS:
            return getattr(self.__func__, name)
        raise AttributeError(f"a method has no attribute {name!r}")


jax.tree_util.register_pytree_with_keys(
    Method,
    lambda method: (((jax.tree_util.GetAttrKey("__self__"), method.__self__),), method.__func__),
    lambda function, children: Method(function, *children),
    lambda method: ((method.__self__,), method.__func__),
)


class Module(eqx.Module):
    """An `equinox.Module` whose methods JAX takes as functions: `jax.jit(flow.log_prob)`, `jax.checkpoint(...)`."""

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            out = object.__getattribute__(self, name)
            if type(out) is types.MethodType and out.__self__ is self and not name.startswith("__"):
                return Method(out.__func__, self)
            return out
