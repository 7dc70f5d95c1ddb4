"""The arrays of a state dict from a file or a mapping, as a tree of names that says what was not used."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._files import read_regular
from pushforward._types import Array
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import MAX_BYTES
from pushforward.io.weights import arrays_from_bytes

SAVE = (
    "In the other library: safetensors.torch.save_file({name: a.clone() for name, a in flow.state_dict().items()}, "
    "'flow.safetensors'), or "
    "numpy.savez('flow.npz', **{name: a.numpy() for name, a in flow.state_dict().items()})."
)


class Node:
    """A part of a state dict: arrays and further parts by name, of which every array is taken once.

    Args:
        path: The name of the part, such as `transform.transforms.0.`.
        arrays: The arrays of the whole state dict by their full names.
        left: The names that nothing has taken yet, shared by all parts of a state dict.
    """

    def __init__(self, path: str, arrays: Mapping[str, np.ndarray], left: set[str]):
        self.path, self.arrays, self.left = path, arrays, left
        self.names = {name[len(path) :].partition(".")[0] for name in arrays if name.startswith(path)}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Node:
        return Node(f"{self.path}{name}.", self.arrays, self.left)

    def numbered(self) -> Iterator[tuple[int, Node]]:
        """The numbered parts in their order."""
        for n in sorted(int(name) for name in self.names if name.isdigit()):
            yield n, self[str(n)]

    def take(self, name: str, ndim: int) -> Array:
        """An array with a known number of axes.

        Raises:
            ValueError: There is no such array, or it has another number of axes.
        """
        full = self.path + name
        if full not in self.arrays or self.arrays[full].ndim != ndim:
            got = f"shape {self.arrays[full].shape}" if full in self.arrays else "none"
            raise ValueError(message(full, f"an array with {ndim} axes", got, "The names are those of a state dict."))
        self.left.discard(full)
        return jnp.asarray(self.arrays[full])


def read_state_dict(source: str | os.PathLike | Mapping[str, Any]) -> Node:
    """A state dict as the root of a tree of names.

    Args:
        source: A file `.safetensors` or `.npz`, or a mapping from names to arrays, such as a state dict itself.

    Raises:
        UntrustedModelError: The file is damaged, holds Python objects, or is larger than it may be.
        ValueError: The file is of another kind, or an array is no array of finite numbers.
    """
    if isinstance(source, Mapping):
        arrays = {str(name): np.asarray(value) for name, value in source.items()}
    else:
        path = Path(source)
        data = read_regular(path, MAX_BYTES["model.safetensors"])
        if path.suffix == ".npz":
            arrays = _npz(data, str(path))
        elif path.suffix == ".safetensors":
            arrays = arrays_from_bytes(data, str(path))
        else:
            raise ValueError(message("state dict", "a .safetensors or .npz file", f"'{path.name}'", SAVE))
    for name, value in arrays.items():
        if value.dtype.kind not in "fiub" or (value.dtype.kind == "f" and not np.isfinite(value).all()):
            raise ValueError(message(name[:80], "finite numbers", f"dtype {value.dtype}", SAVE))
    return Node("", arrays, set(arrays))


def _npz(data: bytes, label: str) -> dict[str, np.ndarray]:
    cap = MAX_BYTES["model.safetensors"]
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > cap:
                raise UntrustedModelError(f"{label}: its arrays promise more than {cap} bytes.")
            return {info.filename.removesuffix(".npy"): _npy(archive, info, label) for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise UntrustedModelError(f"{label}: not an archive of NumPy arrays, or damaged: {str(error)[:200]}") from error


def _npy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, label: str) -> np.ndarray:
    """One array, whose header must promise what the archive holds, before memory is set aside for it."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)  # pyright: ignore[reportArgumentType]
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)  # pyright: ignore[reportArgumentType]
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > info.file_size:
            raise UntrustedModelError(f"{label}: {info.filename[:80]} is no array of numbers that the file holds.")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)  # pyright: ignore[reportArgumentType]


def check_all_used(name: str, root: Node) -> None:
    """Raise if arrays were left over: a part of the model would be missing.

    Raises:
        ValueError: Arrays were left over.
    """
    if root.left:
        listed = ", ".join(sorted(root.left)[:4])
        expected = "a state dict of parts that are known here"
        fix = "Such a part cannot be mapped: build the flow with pf.flows and train it anew, or leave the part out."
        raise ValueError(message(name, expected, f"{len(root.left)} more arrays, such as {listed}", fix))
