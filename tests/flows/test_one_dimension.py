"""Flows of one coordinate: draws, densities and gradients are finite, and densities integrate to 1."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from cases import ZOO, small
from cases.zoo import VELOCITY
from pushforward._types import Array
from pushforward.testing import randomise
from pushforward.testing.trial import cast

KEY = jax.random.key(2)
EVERY_RUN = {("realnvp", "float32"), ("maf", "float32"), ("sylvester", "float64"), ("planar", "float32")}


@eqx.filter_jit
def tour(flow: pf.Flow, grid: Array) -> tuple[Array, Array, Any]:
    """Draws, the density on a grid, and the gradients of both."""

    def loss(flow: pf.Flow) -> tuple[Array, tuple[Array, Array]]:
        x, log_prob = flow.sample(KEY, (16,)), flow.log_prob(grid)
        return jnp.sum(jnp.sin(x)) + jnp.mean(log_prob), (x, log_prob)

    slopes, (x, log_prob) = eqx.filter_grad(loss, has_aux=True)(flow)
    return x, log_prob, slopes


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=[] if (name, dtype) in EVERY_RUN else pytest.mark.thorough)
        for name in ZOO
        for dtype in ("float32", "float64")
    ],
)
def test_one_coordinate(name: str, dtype: str) -> None:
    options: dict[str, Any] = {"method": "tsit5", "tolerance": 1e-4} if name in VELOCITY else {}
    flow = cast(randomise(small(name, KEY, dim=1, **options), KEY, 0.2), jnp.dtype(dtype))
    end = np.pi if name == "ncsf" else 12.0
    grid = np.linspace(-end, end, 401)
    x, log_prob, slopes = tour(flow, jnp.asarray(grid[:, None], dtype))
    assert x.shape == (16, 1)
    assert x.dtype == log_prob.dtype == jnp.dtype(dtype)
    for array in (x, log_prob, *jax.tree.leaves(slopes)):
        assert np.isfinite(np.asarray(array)).all()
    if name in ("score_sde", "ncsn"):
        return  # untrained, their noise spreads far beyond the grid
    mass = np.trapezoid(np.exp(np.asarray(log_prob, float)), grid)
    np.testing.assert_allclose(mass, 1, atol=5e-3)
