"""Flows whose weights are of half precision: draws and densities are finite, and of the weights' type."""

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
EVERY_RUN = {("realnvp", "float16"), ("nsf", "float16"), ("sos", "bfloat16"), ("cnf", "bfloat16")}


@eqx.filter_jit
def tour(flow: pf.Flow) -> tuple[Array, Array]:
    x = flow.sample(KEY, (64,))
    return x, flow.log_prob(x)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=[] if (name, dtype) in EVERY_RUN else pytest.mark.thorough)
        for name in ZOO
        for dtype in ("bfloat16", "float16")
    ],
)
def test_draws_and_densities_are_finite(name: str, dtype: str) -> None:
    options: dict[str, Any] = {"method": "tsit5", "tolerance": 1e-3} if name in VELOCITY else {}
    flow = randomise(small(name, KEY, dim=2, **options), KEY, 0.2)
    x, log_prob = tour(cast(flow, jnp.dtype(dtype)))
    assert x.dtype == log_prob.dtype == jnp.dtype(dtype)
    assert np.isfinite(np.asarray(x, np.float32)).all()
    assert np.isfinite(np.asarray(log_prob, np.float32)).all()
