"""The features of a table's cells that networks see: one-hot states, standard numbers, angles by cosine and sine."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, Shape
from pushforward.bijections.elementwise import ColumnUnits


class Cells(eqx.Module):
    """The features of states and values that a network sees: one-hot states, standard numbers, points on circles.

    Args:
        units: Units of the values, with `Unit("real", low, period)` for an angle; None if there are no values, or their
            features are not asked for.
        sizes: Number of states of each variable.
        state_of_value: For each value the variable whose state 0 says that it is there; -1 where it always is.
        circular: For each value, whether it is an angle, which enters by its cosine and sine.
    """

    units: ColumnUnits | None
    sizes: tuple[int, ...] = eqx.field(static=True)
    state_of_value: tuple[int, ...] = eqx.field(static=True)
    circular: tuple[bool, ...] = eqx.field(static=True, default=())

    @property
    def shape(self) -> Shape:
        """The shape of the cells."""
        return (len(self.sizes) + len(self.state_of_value),)

    @property
    def n_features(self) -> int:
        """The number of features."""
        return sum(self.sizes) + len(self.state_of_value) + sum(self.circular)

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Cells `(n, dim)` with their values in standard units, in float64."""
        n_states = len(self.sizes)
        if self.units is None:
            return rows
        return np.concatenate([rows[:, :n_states], self.units.standardise(rows[:, n_states:])], axis=1)

    def __call__(self, cells: Array) -> Array:
        """The features `(n_features, n)` of cells `(dim, n)`, or those of one row of cells."""
        if cells.ndim == 1:
            return self(cells[:, None])[:, 0]
        n_states = len(self.sizes)
        parts = [one_hot(cells[:n_states], self.sizes)] if self.sizes else []
        if self.units is not None:
            values = self.units.each_inverse(cells[n_states:])[0]
            there = present(cells[:n_states], self.state_of_value)
            angles = np.array(self.circular, bool)
            if angles.any():
                turn = 2 * np.pi * values[angles]
                values = values.at[np.flatnonzero(angles)].set(jnp.cos(turn))
                there = jnp.broadcast_to(there, values.shape)
                values = jnp.concatenate([values, jnp.sin(turn)])
                there = jnp.concatenate([there, there[angles]])
            parts.append(jnp.where(there, values, 0).astype(cells.dtype))
        return jnp.concatenate(parts)


class Embedded(eqx.Module):
    """The features of cells, embedded in a shorter vector."""

    cells: Cells
    embed: Array

    def __call__(self, cells: Array) -> Array:
        """The vector of cells `(dim, n)` or `(dim,)`."""
        return embedded(self.embed, self.cells(cells))


def embedded(embed: Array, features: Array) -> Array:
    """The product of the embedding and the features, in the embedding's type."""
    return embed @ features.astype(embed.dtype)


def one_hot(states: Array, sizes: Sequence[int]) -> Array:
    """`(sum(sizes), n)` of 0 and 1 from states `(len(sizes), n)`; a state that does not exist gives zeros."""
    variable = np.repeat(np.arange(len(sizes)), sizes)
    level = np.concatenate([np.arange(size) for size in sizes])
    return (states[variable] == level[:, None]).astype(states.dtype)


def present(states: Array, state_of_value: Sequence[int]) -> Array:
    """Which values are there, `(n_values, n)` or broadcastable to it."""
    places = np.array(state_of_value)
    if not (places >= 0).any():
        return jnp.ones((len(places), 1), bool)
    there = states[np.maximum(places, 0)] == 0
    return jnp.where(jnp.asarray(places)[:, None] < 0, True, there)
