"""The arrays of any Equinox module in a safetensors file, named by their place in the tree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._files import parse_json, read_regular
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import MAX_BYTES, write_file

Tree = TypeVar("Tree")

# Types that a weights file may hold, by their names in safetensors.
DTYPES: dict[str, type] = {
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "BOOL": np.bool_,
}

# Largest header in bytes: the limit of safetensors itself.
MAX_HEADER = 100_000_000


def save_weights(module: Any, path: str | os.PathLike) -> None:
    """Write every array of a module, JAX or NumPy, trained or `Fixed`, to a safetensors file, atomically.

    Args:
        module: An Equinox module, or any tree of arrays.
        path: File to write; an existing file is replaced.

    Raises:
        TypeError: An array has a dtype that safetensors cannot hold, such as a JAX key.
        ValueError: An array is not finite.

    Example:
        >>> import jax, pushforward as pf, tempfile
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=2, width=4)
        >>> path = tempfile.mkdtemp() + "/flow.safetensors"
        >>> pf.io.save_weights(flow, path)
        >>> again = pf.io.load_weights(pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=4), path)
    """
    data = weights_to_bytes(module)
    write_file(Path(path), lambda file: file.write(data), force=True)


def load_weights(template: Tree, path: str | os.PathLike) -> Tree:
    """Replace the arrays of a template by those of a file.

    Args:
        template: Module of the same structure, as its constructor gives it, or its shapes alone
            (`equinox.filter_eval_shape`).
        path: File that `save_weights` wrote.

    Raises:
        UntrustedModelError: The file is damaged, lacks an array or has one too many, or an array is not finite or has
            another shape or dtype than the template's.
    """
    source = Path(path)
    return weights_from_bytes(template, read_regular(source, MAX_BYTES["model.safetensors"]), str(source))


def weights_to_bytes(module: Any) -> bytes:
    """The contents of the file that `save_weights` writes."""
    from safetensors.numpy import save

    arrays = {}
    for name, leaf in named_arrays(module).items():
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or np.dtype(leaf.dtype).type not in DTYPES.values():
            raise TypeError(f"save_weights: {name} has dtype {leaf.dtype}, which a weights file cannot hold.")
        value = np.array(leaf, order="C")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"save_weights: {name} holds NaN or infinity. Such a model is not saved.")
        arrays[name] = value
    return save(arrays)


def weights_from_bytes(template: Tree, data: bytes, label: str) -> Tree:
    """Replace the arrays of a template by those in the contents of a weights file."""
    return fill(template, parse_weights(data, label), label)


def parse_weights(data: bytes, label: str) -> dict[str, Any]:
    """The arrays of a file as shapes, dtypes and bytes, by name; safetensors proves that they fit the file's length.

    Raises:
        UntrustedModelError: The file is no safetensors file.
    """
    import safetensors

    try:
        return dict(safetensors.deserialize(data))
    except safetensors.SafetensorError as error:
        raise UntrustedModelError(f"{label}: not a safetensors file, or damaged: {str(error)[:200]}.") from error


def arrays_from_bytes(data: bytes, label: str) -> dict[str, np.ndarray]:
    """The arrays of a file as they are, by name; for a model of known shapes take `weights_from_bytes`.

    Args:
        data: The contents of a safetensors file.
        label: The name of the file, for messages.

    Raises:
        UntrustedModelError: The file is damaged, or an array is of an unknown dtype or not finite.
    """
    found = {}
    for name, entry in parse_weights(data, label).items():
        dtype = DTYPES.get(entry["dtype"])
        if dtype is None:
            raise UntrustedModelError(f"{label}: {name[:80]}: dtype {str(entry['dtype'])[:16]} is not read.")
        value = np.frombuffer(entry["data"], dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)
        if np.dtype(dtype).kind == "f" and not np.isfinite(value).all():
            raise UntrustedModelError(f"{label}: {name[:80]} holds NaN or infinity. Fit the model anew.")
        found[name] = value.reshape(tuple(entry["shape"]))
    return found


def read_shapes(path: Path) -> dict[str, Any]:
    """Shapes and dtypes of the arrays of a safetensors file, from its header alone.

    Raises:
        UntrustedModelError: The file is no safetensors file.
    """
    head = read_regular(path, MAX_BYTES["model.safetensors"], most=8)
    size = int.from_bytes(head, "little")
    if len(head) < 8 or size > MAX_HEADER:
        raise UntrustedModelError(f"{path}: not a safetensors file, or damaged.")
    header = parse_json(read_regular(path, MAX_BYTES["model.safetensors"], most=8 + size)[8:], path)
    if not isinstance(header, dict):
        raise UntrustedModelError(f"{path}: not a safetensors file, or damaged.")
    entries = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise UntrustedModelError(f"{path}: its header does not say how large {name[:80]!r} is.")
        entries[name] = {"shape": shape, "dtype": str(entry.get("dtype"))[:16]}
    return entries


def fill(template: Tree, entries: dict[str, Any], label: str) -> Tree:
    """Replace the arrays of a template by those of a parsed file.

    Raises:
        UntrustedModelError: See `load_weights`.
    """
    wanted = named_arrays(template)
    lacking, foreign = wanted.keys() - entries.keys(), entries.keys() - wanted.keys()
    for verb, names in (("the file lacks", lacking), ("the model has no use for", foreign)):
        if names:
            listed = ", ".join(repr(name[:80]) for name in sorted(names)[:3])
            raise UntrustedModelError(f"{label}: {verb} {listed} ({len(names)} arrays): weights of another model.")
    values = iter([_array(label, name, leaf, entries[name]) for name, leaf in wanted.items()])
    leaves, structure = jax.tree.flatten(template)
    return jax.tree.unflatten(structure, [next(values) if _is_array(leaf) else leaf for leaf in leaves])


def _array(label: str, name: str, leaf: Any, entry: dict[str, Any]) -> Any:
    """One array of the file, in the type and the container of its leaf in the template."""
    dtype, shape = DTYPES.get(entry["dtype"]), tuple(entry["shape"])
    if dtype is None or shape != tuple(leaf.shape):
        expected = f"expected shape {tuple(leaf.shape)} {leaf.dtype}, got {shape} {entry['dtype']}"
        raise UntrustedModelError(f"{label}: {name}: {expected}. The weights belong to another model.")
    floats = np.dtype(leaf.dtype).kind == "f" and np.dtype(dtype).kind == "f"
    # A model trained in double precision may be loaded where single is the default; what is kept in NumPy (the
    # standardisation) stays as it is.
    if np.dtype(dtype) != leaf.dtype and (not floats or isinstance(leaf, np.ndarray | np.generic)):
        raise UntrustedModelError(f"{label}: {name}: expected dtype {leaf.dtype}, got {np.dtype(dtype)}.")
    value = np.frombuffer(entry["data"], dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)
    if floats and not np.isfinite(value).all():
        raise UntrustedModelError(f"{label}: {name} holds NaN or infinity. Fit the model anew.")
    if isinstance(leaf, np.ndarray | np.generic):
        return value if isinstance(leaf, np.ndarray) else value[()]
    return jnp.asarray(value)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def named_arrays(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their place in it, such as `bijection.layer.weights.0`."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    named = {}
    for path, leaf in paths:
        if _is_array(leaf):
            named[jax.tree_util.keystr(path, simple=True, separator=".")] = leaf
    if len(named) < sum(_is_array(leaf) for _, leaf in paths):
        raise ValueError("save_weights: two arrays of the module have the same path. Rename a field.")
    return named
