"""Rotations as products of reflections."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractTwoWayBijection
from pushforward.numerics.product import matrix_product


class Reflections(AbstractTwoWayBijection):
    r"""$y = H_D \cdots H_2 H_1\,x$ with trained reflections $H_i = I - 2 v_i v_i^\top / |v_i|^2$.

    Args:
        key: for the directions $v_i$, uniform on the sphere.
        dim: length of the vector.
    """

    directions: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int):
        self.directions = jax.random.normal(key, (dim, dim))
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = None, Traits()

    def _run(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        def reflect(matrix: Array, v: Array) -> tuple[Array, None]:
            return matrix - (2 / jnp.sum(v * v)) * v[:, None] * (v @ matrix), None

        matrix, _ = jax.lax.scan(reflect, jnp.eye(len(self.directions), dtype=self.directions.dtype), self.directions)
        return matrix_product(matrix if forward else matrix.T, value), jnp.zeros(value.shape[-1:], value.dtype)
