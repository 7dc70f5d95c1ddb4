"""A fit on several devices: where its rows, its weights and its programs live.

The rows of a batch are dealt to the devices of one axis of a mesh, and XLA adds up what they give: there is one
program, that of a fit on one device with a few hints. Batches have as many rows as on one device, and every draw is
made by the place of a row in its batch, so that the numbers differ by the rounding of sums alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pushforward._checks import check_int, message
from pushforward._types import Array, PyTree
from pushforward.training.hosts import Council
from pushforward.training.state import FitState, Weights

_ARRAYS: tuple[Any, ...] = (jax.Array, np.ndarray, np.generic)
FIX = 'Pass "all", a number of devices, a jax.sharding.Mesh, or training.Devices(...).'


@dataclass(frozen=True)
class Devices:
    """The devices that a fit is shared out among, and how.

    Args:
        which: `"all"` takes all devices, those of all hosts among them; a number takes as many, the first ones; a
            `jax.sharding.Mesh` says which, whether its axes are automatic or explicit.
        axis: Name of the mesh's axis that the rows of a batch are dealt to. A mesh with one axis needs no name.
        shard_weights: Whether each device keeps a part of the weights, of their average and of the optimiser's state,
            and gathers the weights for each step. It is for models too large for one device; for others it costs time.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: There are fewer devices, or the mesh has several axes and none of that name.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=1, width=8)
        >>> x = jax.random.normal(jax.random.key(0), (100, 2))
        >>> devices = pf.training.Devices("all", shard_weights=True)
        >>> pf.fit(flow, x, key=jax.random.key(2), max_epochs=2, progress=False, devices=devices).verdict.epochs
        2
    """

    which: Any = "all"  # "all", a number or a mesh
    axis: str = "data"
    shard_weights: bool = False

    def __post_init__(self):
        if not isinstance(self.axis, str):
            raise TypeError(message("Devices", "axis a name", type(self.axis).__name__, "Pass a word."))
        if not isinstance(self.shard_weights, bool):
            got = type(self.shard_weights).__name__
            raise TypeError(message("Devices", "shard_weights True or False", got, "Pass one of them."))
        self.placement()

    def local(self) -> list[Any]:
        """The devices that belong to this host."""
        return [own for own in self.placement().mesh.devices.flat if own.process_index == jax.process_index()]

    def placement(self) -> Placement:
        """The place that these devices are; see the class for the errors."""
        if isinstance(self.which, Mesh):
            names = self.which.axis_names
            axis = names[0] if len(names) == 1 else self.axis
            if axis not in names:
                fix = "Name the axis of the rows: training.Devices(mesh, axis=...)."
                raise ValueError(message("Devices", f"a mesh with an axis {axis!r}", f"the axes {names}", fix))
            # The axes of a copy are automatic, whatever they are in the user's own programs.
            return Placement(Mesh(self.which.devices, names), axis, self.shard_weights)
        there = jax.devices()
        n = len(there)
        if isinstance(self.which, bool) or not (self.which == "all" or isinstance(self.which, int | np.integer)):
            raise TypeError(message("Devices", "devices", repr(self.which)[:60], FIX))
        if self.which != "all":
            n = check_int("Devices", "which", self.which, 1)
        if n > len(there):
            fix = "Take fewer. A CPU counts as n devices with XLA_FLAGS=--xla_force_host_platform_device_count=n."
            raise ValueError(message("Devices", f"at most {len(there)} devices, which JAX sees", f"{n}", fix))
        if len({device.process_index for device in there[:n]}) < jax.process_count():
            fix = 'Take "all" on several hosts.'
            raise ValueError(message("Devices", "devices of every host", f"the first {n}", fix))
        return Placement(Mesh(np.array(there[:n]), (self.axis,)), self.axis, self.shard_weights)


def devices_of(devices: Any) -> Devices:
    """The devices that the user names: `"all"`, a number, a mesh or `Devices`.

    Args:
        devices: Argument of `fit`.

    Raises:
        TypeError: It is none of these.
        ValueError: There are fewer devices, or the mesh has several axes and no `"data"` among them.
    """
    return devices if isinstance(devices, Devices) else Devices(devices)


@dataclass(frozen=True)
class Placement:
    """A mesh with the axis of the rows, as the programs of a fit take it.

    Args:
        mesh: Mesh whose axes are automatic.
        axis: Axis that rows are dealt to.
        shard_weights: Whether the weights are dealt to it too.
    """

    mesh: Mesh
    axis: str
    shard_weights: bool = False

    def council(self) -> Council | None:
        """What the hosts of these devices agree by; None for one host."""
        return Council() if self.mesh.is_multi_process else None

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the programs of a fit are traced and run, whatever mesh the user has set."""
        return jax.set_mesh(self.mesh)

    @property
    def n(self) -> int:
        """Number of parts that the rows are dealt to."""
        return self.mesh.shape[self.axis]

    @property
    def everywhere(self) -> NamedSharding:
        """The sharding of what every device has."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def dealt(self) -> NamedSharding:
        """The sharding of arrays whose first axis is dealt to the devices."""
        return NamedSharding(self.mesh, PartitionSpec(self.axis))

    def rows(self, array: Array) -> Array:
        """An array of a program, `(n, ...)`, with its rows dealt to the devices."""
        n = array.shape[0]
        filled = jnp.concatenate([array, jnp.repeat(array[-1:], -n % self.n, axis=0)]) if n % self.n else array
        return jax.lax.with_sharding_constraint(filled, self.dealt)[:n]

    def whole(self, vector: Array, size: int) -> Array:
        """The first `size` numbers of a vector of weights, on every device."""
        return jax.lax.with_sharding_constraint(vector, self.everywhere)[:size]

    def vector(self, vector: Array) -> Array:
        """A vector of weights where it lives between two steps."""
        return jax.lax.with_sharding_constraint(vector, self.dealt if self.shard_weights else self.everywhere)

    def known(self, tree: PyTree) -> PyTree:
        """Arrays of a program that every host wants to read."""
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, self.everywhere), tree)

    def carried(self, state: FitState) -> FitState:
        """A state at the end of a program, each of its arrays where it lives."""
        size = state.best.shape[0]

        def keep(leaf: Array) -> Array:
            return jax.lax.with_sharding_constraint(leaf, self.everywhere)

        return _by_kind(state, lambda leaf: self.vector(leaf) if leaf.shape == (size,) else keep(leaf), keep)

    def put(self, tree: PyTree) -> PyTree:
        """The arrays of a tree on every device; on several hosts, each puts its own copy there."""
        return jax.tree.map(lambda leaf: self._put(leaf, self.everywhere), tree)

    def put_vector(self, vector: Any) -> Any:
        """A vector of weights where it lives; sharded ones are filled up with zeros to equal parts."""
        if not self.shard_weights:
            return self._put(vector, self.everywhere)
        return self._put(np.pad(np.asarray(vector), (0, -len(vector) % self.n)), self.dealt)

    def put_state(self, state: FitState) -> FitState:
        """A state of the host where it lives."""
        size = state.best.shape[0]

        def put(leaf: Any) -> Any:
            return self.put_vector(leaf) if np.shape(leaf) == (size,) else self._put(leaf, self.everywhere)

        return _by_kind(state, put, lambda leaf: self._put(leaf, self.everywhere))

    def on_host(self, state: FitState, size: int) -> FitState:
        """A state as the host has it, whatever the number of devices; all hosts must call this.

        Args:
            state: State of the devices.
            size: Number of weights.
        """
        if not self.mesh.is_multi_process or not self.shard_weights:
            state = jax.device_get(state)
        else:
            state = jax.device_get(_everywhere(self.everywhere)(state))
        filled = state.best.shape[0]
        return _by_kind(state, lambda leaf: leaf[:size] if np.shape(leaf) == (filled,) else leaf, lambda leaf: leaf)

    def _put(self, leaf: Any, sharding: NamedSharding) -> Any:
        if not isinstance(leaf, _ARRAYS):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = self._put(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if not self.mesh.is_multi_process:
            return jax.device_put(leaf, sharding)
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@functools.lru_cache(maxsize=16)
def _everywhere(sharding: NamedSharding) -> Callable[[Any], Any]:
    return jax.jit(lambda tree: tree, out_shardings=sharding)


def _by_kind(state: FitState, weights: Callable[[Any], Any], others: Callable[[Any], Any]) -> FitState:
    """A state with a function of each of its arrays: one for what the weights are made of, and one for the rest."""

    def of(some: Weights) -> Weights:
        return jax.tree.map(weights, some)

    rest = {name: jax.tree.map(others, getattr(state, name)) for name in ("order", "tally", "counters", "scores")}
    return dataclasses.replace(state, now=of(state.now), good=of(state.good), best=weights(state.best), **rest)
