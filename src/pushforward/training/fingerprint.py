"""The fingerprint of a fit: a checkpoint belongs to the fit that has the same fingerprint, and to no other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pushforward._types import PRNGKeyArray, is_array
from pushforward.training.plan import Plan, settings
from pushforward.training.rows import Table

# The parts of a fingerprint, in the words of an error.
PARTS = {
    "data": "the data (rows, conditions, weights, held-out rows or preprocessing)",
    "flow": "the flow (its structure, or the numbers it starts from)",
    "options": "the options",
    "key": "the key",
    "versions": "the versions",
}
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # the repr of an object without one of its own differs between processes


def fingerprint(
    parts: Mapping[str, Any],
    tables: tuple[Table, Table | None],
    plan: Plan,
    key: PRNGKeyArray,
    vector: np.ndarray,
    x64: bool,
) -> dict[str, Any]:
    """Everything that the numbers of a fit depend on, in hashes, and in words where these are short.

    Args:
        parts: By name: the `flow` as it was passed to `fit`, the `objective`, the `optimizer`, the `schedule` and the
            bijection of `preprocess`, or None; the `rows` of a stream in words, which are "" for rows in memory.
        tables: The prepared training rows, of a stream the first ones, and the held-out rows or None.
        plan: The numbers that steer the fit.
        key: The key of the fit.
        vector: The numbers that are trained.
        x64: Whether JAX computes in float64 where the types leave it the choice.

    Returns:
        The `PARTS` by name: a hash or a key as a string, or a table of strings.
    """
    rows = [array for table in tables for array in _columns(table)]
    words = {name: repr(value) for name, value in settings(plan).items()}
    flow, objective, preprocess = parts["flow"], parts["objective"], parts["preprocess"]
    return {
        "data": _digest(parts["rows"] + _outline(preprocess), [*rows, *_arrays(preprocess)]),
        "flow": _digest(_outline(flow), _arrays(flow)),
        "options": {
            **words,
            "objective": f"{type(objective).__name__} {_digest(_outline(objective), _arrays(objective))}",
            "optimizer": _optimizer(parts["optimizer"], vector),
            "schedule": "None" if parts["schedule"] is None else _program(parts["schedule"], np.int32(0)),
            "x64": repr(x64),
        },
        "key": _digest(str(jax.random.key_impl(key)), [np.asarray(jax.random.key_data(key))]),
        "versions": {name: version(name) for name in ("pushforward", "jax")},
    }


def _optimizer(optimizer: Any, vector: np.ndarray) -> str:
    """`Adam`, whose numbers are the plan's, or the hash of another optimiser's program."""
    if not isinstance(optimizer, optax.GradientTransformation):
        return type(optimizer).__name__

    def update(vector: Any) -> Any:
        return optax.with_extra_args_support(optimizer).update(
            vector, optimizer.init(vector), vector, value=vector.sum(), grad=vector, value_fn=lambda v: v.sum()
        )

    return _program(update, vector)


def _program(function: Any, *arguments: Any) -> str:
    """The hash of what a function computes, the same in every process; its own text names places in memory."""
    program = jax.make_jaxpr(function)(*arguments)
    return _digest(ADDRESS.sub("", str(program)), _arrays(program.consts))


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """The parts that differ, in words: for options and versions which, and their values there and here."""
    found = []
    for part, words in PARTS.items():
        then, now = theirs.get(part), ours[part]
        if then == now:
            continue
        if isinstance(now, Mapping):
            then = then if isinstance(then, Mapping) else {}
            names = [name for name in now if then.get(name) != now[name]]
            values = [f"{name} {str(then.get(name))[:40]}, now {str(now[name])[:40]}" for name in names[:5]]
            words += f" ({'; '.join(values) or 'others'})"
        found.append(words)
    return found


def _columns(table: Table | None) -> list[np.ndarray | None]:
    return [] if table is None else [table.x, table.condition, table.weights, table.log_det]


def _outline(tree: Any) -> str:
    """Classes, shapes, dtypes and static fields, the same in every process."""
    return ADDRESS.sub("", eqx.tree_pformat(tree))


def _arrays(tree: Any) -> list[np.ndarray]:
    arrays = []
    for leaf in jax.tree.leaves(tree):
        if is_array(leaf):
            key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            arrays.append(np.asarray(jax.random.key_data(leaf) if key else leaf))
    return arrays


def _digest(outline: str, arrays: Iterable[np.ndarray | None]) -> str:
    sha = hashlib.sha256(outline.encode("utf-8"))
    for array in arrays:
        # Kind and shape go before the bytes, so that no two lists of arrays run together to the same ones.
        sha.update(b"|none" if array is None else f"|{array.dtype.str}{array.shape}|".encode())
        if array is not None:
            sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()
