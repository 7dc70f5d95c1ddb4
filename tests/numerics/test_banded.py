"""The product with a banded matrix is that of the matrix written out, and so are its derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward._types import Array
from pushforward.numerics.banded import banded_product

RNG = np.random.default_rng(5)


def written_out(weight: Array, x: Array) -> Array:
    rows = []
    for i in range(weight.shape[1]):
        before = [x[i - 1 - b] if i - 1 - b >= 0 else jnp.zeros_like(x[0]) for b in range(weight.shape[2])]
        rows.append(weight[:, i] @ jnp.stack(before))
    return jnp.stack(rows, axis=1)


@pytest.mark.parametrize(("dim", "window"), [(1, 1), (5, 1), (16, 2), (33, 3), (65, 32), (70, 40), (3, 7)])
def test_it_is_the_matrix_written_out(dim: int, window: int) -> None:
    weight, x = jnp.asarray(RNG.standard_normal((2, dim, window))), jnp.asarray(RNG.standard_normal((dim, 3)))
    np.testing.assert_allclose(banded_product(weight, x), written_out(weight, x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("argument", [0, 1])
def test_derivatives(argument: int) -> None:
    weight, x = jnp.asarray(RNG.standard_normal((2, 34, 4))), jnp.asarray(RNG.standard_normal((34, 2)))
    got = jax.jit(jax.grad(lambda w, x: jnp.sum(jnp.sin(banded_product(w, x))), argument))(weight, x)
    expected = jax.grad(lambda w, x: jnp.sum(jnp.sin(written_out(w, x))), argument)(weight, x)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
