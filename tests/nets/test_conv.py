"""Convolutional conditioners."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.nets import Conv2d, ConvNet
from pushforward.numerics.bounded import tamed
from pushforward.testing import randomise

KEY = jax.random.key(8)


@pytest.mark.parametrize(("blocks", "cond_shape"), [("plain", (2,)), ("residual", (2, 3, 3)), ("gated", None)])
def test_every_input_reaches_every_output(blocks: Any, cond_shape: Any) -> None:
    net = randomise(
        ConvNet(
            KEY,
            (2, 3, 3),
            (2, 3),
            width=4,
            cond_shape=cond_shape,
            activation="silu",
            blocks=blocks,
            n_heads=2 if blocks == "gated" else 0,
        ),
        KEY,
    )
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 3, 3, 2)))
    given = () if cond_shape is None else (jnp.asarray(rng.standard_normal((*cond_shape, 2))),)
    assert net(x, *given).shape == (2, 3, 3, 3, 2)
    jacobians = jax.jit(lambda *a: jax.jacrev(lambda *b: net(*b)[..., 0], argnums=tuple(range(len(a))))(*a))(x, *given)
    for jacobian in jacobians:
        assert np.all(np.asarray(jacobian)[..., 0] != 0)
        assert np.all(np.asarray(jacobian)[..., 1] == 0)  # another row has no effect


def test_a_new_network_is_close_to_zero_but_not_flat() -> None:
    net, x = ConvNet(KEY, (2, 4, 4), (2, 2), width=16), jnp.ones((2, 4, 4, 1))
    assert 0 < np.abs(net(x)).max() < 0.1
    gradient = eqx.filter_jit(eqx.filter_grad(lambda n: jnp.sum(n(x))))(net)
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.float32
def test_the_last_digits_of_a_large_input_do_not_matter() -> None:
    """Inputs of 300 deviations, as of a pixel that is lit for the first time, are not seen digit by digit."""
    net, x = randomise(ConvNet(KEY, (2, 4, 4), (2, 2), width=8), KEY, 0.3), jnp.full((2, 4, 4, 1), 300.0)
    shift = 3e-4  # ten times the rounding of 300 in float32
    moved, twin = np.abs(net(x + shift) - net(x)).max(), np.abs(net(x / 100 + shift) - net(x / 100)).max()
    assert moved < 0.05 * twin
    edges = jnp.array([-1e30, -4.0, 0.0, 4.0, 1e30])
    slopes = jax.vmap(jax.grad(lambda x: tamed(x, 4.0)))(edges)
    np.testing.assert_allclose(slopes, [4e-30, 1, 1, 1, 4e-30], rtol=1e-5)
    np.testing.assert_allclose(tamed(jnp.array([-8.0, 3.0, 8.0]), 4.0), [-6.7725887, 3, 6.7725887], rtol=1e-6)


def test_a_masked_kernel_looks_at_nothing_beyond_its_mask() -> None:
    causal = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    layer = randomise(Conv2d(KEY, 1, 1, mask=causal), KEY)
    jacobian = np.asarray(jax.jacobian(layer)(jnp.ones((1, 3, 3)))).reshape(9, 9)
    assert np.array_equal(jacobian, np.tril(jacobian, -1))
    assert np.count_nonzero(jacobian) == 20


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Conv2d(KEY, 1, 1, 2), "odd sides"),
        (lambda: Conv2d(KEY, 1, 1, mask=np.ones((2, 2))), "a mask for kernels"),
        (lambda: ConvNet(KEY, (2, 4), (1, 1)), "channels, height, width"),
        (lambda: ConvNet(KEY, (2, 4, 4), (1, 1), blocks="odd"), "residual"),  # type: ignore[arg-type]
        (lambda: ConvNet(KEY, (2, 4, 4), (1, 1), cond_shape=(1, 8, 8)), "a condition"),
        (lambda: ConvNet(KEY, (2, 4, 4), (1, 1), n_heads=2), "gated blocks alone"),
        (lambda: ConvNet(KEY, (2, 4, 4), (1, 1), cond_shape=(3,))(jnp.ones((2, 4, 4, 1))), "a condition of shape"),
    ],
)
def test_mistakes(make: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        make()
