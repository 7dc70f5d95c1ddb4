"""Convolutions by shifts and by XLA agree, in value and in every derivative."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics import convolution
from pushforward.numerics.convolution import convolve

RNG = np.random.default_rng(5)


def test_convolve_pads_with_zeros() -> None:
    kernel, x = RNG.standard_normal((1, 1, 3, 3)), RNG.standard_normal((1, 4, 4, 1))
    padded = np.pad(x[0, :, :, 0], 1)
    expected = [[np.sum(padded[i : i + 3, j : j + 3] * kernel[0, 0]) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(convolve(jnp.asarray(kernel), jnp.asarray(x))[0, :, :, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (2, 3, 3, 1), (2, 3, 1, 5)])
def test_shifts_against_xla(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, x = jnp.asarray(RNG.standard_normal(shape)), jnp.asarray(RNG.standard_normal((shape[1], 3, 4, 2)))

    def everything(kernel: Any, x: Any) -> Any:
        def loss(kernel: Any, x: Any) -> Any:
            return jnp.sum(jnp.tanh(convolve(kernel, x)))

        push = jax.jvp(lambda k: convolve(k, x), (kernel,), (kernel**2,))[1]
        second = jax.grad(lambda k: jnp.sum(jax.grad(loss)(k, x) ** 2))(kernel)
        return convolve(kernel, x), jax.grad(loss, argnums=(0, 1))(kernel, x), push, second

    by_shifts = jax.jit(everything)(kernel, x)
    monkeypatch.setattr(jax, "default_backend", lambda: "another")
    monkeypatch.setattr(convolution, "NARROW", 0)
    by_xla = jax.jit(lambda *given: everything(*given))(kernel, x)
    for one, two in zip(jax.tree.leaves(by_shifts), jax.tree.leaves(by_xla), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)
