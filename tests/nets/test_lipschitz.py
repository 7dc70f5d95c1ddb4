"""Lipschitz networks: the bound holds for any weights, against pairs of points, singular values and dense operators."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from marks import thorough
from pushforward.nets import (
    LipschitzConv,
    LipschitzConvNet,
    LipschitzMLP,
    converge_spectral,
    lip_swish,
    update_spectral,
)
from pushforward.numerics.spectral import conv_bound, exact_conv_bound, spectral_bound
from pushforward.testing import randomise

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def ratio(net: Any, n: int = 400) -> float:
    """The largest |g(x) - g(x')| / |x - x'| over pairs, far apart and close by."""
    x = RNG.standard_normal((*net.shape, n)) * np.exp(RNG.standard_normal(n))
    step = RNG.standard_normal(x.shape) * 10.0 ** RNG.uniform(-4, 1, n)
    run = eqx.filter_jit(net.at(None))
    change = np.asarray(run(jnp.asarray(x + step)) - run(jnp.asarray(x)))
    return float(np.max(np.linalg.norm(change.reshape(-1, n), axis=0) / np.linalg.norm(step.reshape(-1, n), axis=0)))


@pytest.mark.parametrize("scale", [*thorough(0.0, 0.3), 30.0])
def test_the_bound_holds_for_any_weights(scale: float) -> None:
    for net in (
        LipschitzMLP(KEY, 3, width=16, depth=2, lipschitz=0.9),
        LipschitzConvNet(KEY, (2, 4, 3), width=4, lipschitz=0.9),
    ):
        noisy = randomise(net, KEY, scale)
        certified = noisy.certified()
        assert ratio(noisy) <= certified <= 0.9
        assert scale < 1 or certified > 0.85  # not by shrinking it all


def test_a_broken_bound_is_found() -> None:
    """The broken twin: weights that are used as they are."""
    net = randomise(LipschitzMLP(KEY, 3, width=16, depth=2, lipschitz=0.9), KEY, 1.0)
    plain = net.at(None)
    assert ratio(net) < 0.9

    class Twin:
        shape = (3,)

        def at(self, condition: Any) -> Any:
            return eqx.tree_at(lambda dense: dense.weights, plain, net.weights)

    assert ratio(Twin()) > 1


def test_lip_swish_has_slope_one_at_most() -> None:
    x = jnp.linspace(-100, 100, 20_001)
    for beta in (-3.0, 0.5413, 4.0):
        slope = jax.vmap(jax.grad(lambda x, b=beta: lip_swish(x, jnp.asarray(b))))(x)
        assert 0.99 < float(jnp.max(jnp.abs(slope))) <= 1


def test_spectral_bound() -> None:
    matrices = RNG.standard_normal((20, 6, 4))
    exact = np.linalg.norm(matrices, 2, axis=(1, 2))
    bound = np.asarray(spectral_bound(jnp.asarray(matrices)))
    assert np.all((bound >= exact * (1 - 1e-12)) & (bound <= exact * 4 ** (1 / 256)))
    equal = np.asarray(spectral_bound(jnp.eye(64)))
    np.testing.assert_allclose(equal, 64 ** (1 / 256), rtol=1e-12)
    for scale in (1e-200, 1e200):
        np.testing.assert_allclose(spectral_bound(scale * jnp.asarray(matrices)), scale * bound, rtol=1e-9)
    assert float(spectral_bound(jnp.zeros((3, 2)))) == 0
    direction, h = jnp.asarray(RNG.standard_normal((6, 4))), 1e-6
    one = jnp.asarray(matrices[0])
    slope = (spectral_bound(one + h * direction) - spectral_bound(one - h * direction)) / (2 * h)
    np.testing.assert_allclose(jnp.sum(jax.grad(spectral_bound)(one) * direction), slope, rtol=1e-6)
    assert np.all(np.isfinite(jax.grad(spectral_bound)(jnp.zeros((3, 2)))))


@pytest.mark.parametrize(("kernel", "size"), [(3, (4, 5)), *thorough((1, (2, 3)), (5, (3, 3)))])
def test_norm_of_a_convolution_against_its_dense_matrix(kernel: int, size: tuple[int, int]) -> None:
    layer = randomise(LipschitzConv(KEY, 2, 3, size, kernel=kernel, norm="power"), KEY, 0.5)
    shape = (2, *size)
    matrix = jax.jacobian(layer.operator)(jnp.zeros(shape)).reshape(-1, int(np.prod(shape)))
    exact = np.linalg.norm(matrix, 2)
    bound = exact_conv_bound(np.asarray(layer.weight), size)
    np.testing.assert_allclose(conv_bound(layer.weight, size), bound, rtol=1e-2)
    assert exact <= bound <= float(conv_bound(layer.weight, size)) * (1 + 1e-12)
    assert bound <= (1.5 if kernel <= min(size) else 3) * exact
    converged = converge_spectral(layer, 1e-10)
    np.testing.assert_allclose(converged.sigma(), 1.02 * exact, rtol=1e-4)
    # Power iteration comes from below, also on the way; and the reshaped kernel is another, wrong matrix.
    assert float(update_spectral(layer, 1).sigma()) <= 1.02 * exact * (1 + 1e-12)
    if kernel > 1:
        assert abs(np.linalg.norm(np.asarray(layer.weight).reshape(3, -1), 2) - exact) > 0.01 * exact


def test_state_in_state_out() -> None:
    net = LipschitzConvNet(KEY, (1, 4, 4), width=3, kernels=(3, 3), norm="power")
    flow = pf.Flow(pf.StandardNormal((1, 4, 4)), pf.bijections.Residual(net))
    before = jax.tree.map(np.asarray, jax.tree.leaves(flow))
    updated = update_spectral(flow)
    for one, two in zip(before, jax.tree.leaves(flow), strict=True):
        np.testing.assert_array_equal(one, two)  # the flow that went in is as it was
    trained, fixed = pf.trainable(updated)
    for one, two in zip(jax.tree.leaves(trained), jax.tree.leaves(pf.trainable(flow)[0]), strict=True):
        np.testing.assert_array_equal(one, two)  # no weight has changed
    assert not np.array_equal(jax.tree.leaves(fixed)[-1], jax.tree.leaves(pf.trainable(flow)[1])[-1])
    stacked = pf.Scan.of(
        lambda key: pf.bijections.Residual(LipschitzConvNet(key, (1, 2, 2), norm="power")), KEY, n_layers=2
    )
    assert converge_spectral(stacked).layer.net.layers[0].vector.value.shape == (2, 1, 2, 2)  # pyright: ignore
    dense = LipschitzMLP(KEY, 2)
    assert converge_spectral(dense) is not None


def test_errors() -> None:
    with pytest.raises(ValueError, match="lipschitz in"):
        LipschitzMLP(KEY, 2, lipschitz=1.0)
    with pytest.raises(ValueError, match="an odd kernel"):
        LipschitzConv(KEY, 1, 1, (3, 3), kernel=2)
    with pytest.raises(ValueError, match="norm 'bound' or 'power'"):
        LipschitzConv(KEY, 1, 1, (3, 3), norm="exact")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="a shape"):
        LipschitzConvNet(KEY, (3, 3))
    with pytest.raises(ValueError, match="expected a condition"):
        LipschitzMLP(KEY, 2, cond_shape=(1,)).at(None)
