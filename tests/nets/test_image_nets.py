"""Networks of time and image: shapes, rows, starts, reach, and that one image is a row of a batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.nets import TimeConv, UNet
from pushforward.nets.unet import scales_of
from pushforward.testing import randomise

KEY = jax.random.key(2)
SHAPE, N = (2, 4, 4), 3
X, T, CONDITION = np.random.default_rng(0).standard_normal((*SHAPE, N)), np.linspace(0, 1, N), np.eye(N)
NETS = {
    "TimeConv": lambda: TimeConv(KEY, SHAPE, width=3, depth=3, cond_shape=(N,)),
    "UNet": lambda: UNet(KEY, SHAPE, width=4, n_scales=2, cond_shape=(N,)),
}


@pytest.mark.parametrize("name", NETS)
def test_rows_stand_on_the_last_axis(name: str) -> None:
    net = randomise(NETS[name](), KEY, 0.5)

    def run(t: Any, x: Any, condition: Any) -> Any:
        together = net(t, x, condition)
        one = jax.vmap(net, in_axes=-1, out_axes=-1)(t, x, condition)
        shared = net(t[0], x, condition)
        slope = jax.jacfwd(lambda x: net(t[0], x, condition[:, 0]))(x[..., 0])
        return together, one, shared, slope

    run = jax.jit(run)
    together, one, shared, slope = run(T, X, CONDITION)
    assert together.shape == (*SHAPE, N)
    np.testing.assert_allclose(together, one, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(shared[..., 0], together[..., 0], rtol=1e-9, atol=1e-12)
    assert (np.abs(slope) > 1e-12).all()  # every pixel reaches every other
    # Time, event and condition each have an effect.
    for other in (run(T + 0.3, X, CONDITION), run(T, X + 0.3, CONDITION), run(T, X, np.roll(CONDITION, 1, axis=1))):
        assert (np.abs(other[0] - together) > 1e-6).all()


@pytest.mark.parametrize("name", NETS)
def test_the_output_starts_near_zero_and_every_weight_learns(name: str) -> None:
    net, x = NETS[name](), jnp.asarray(X)
    loss = jax.jit(jax.value_and_grad(lambda net: jnp.mean((net(jnp.asarray(T), x, jnp.asarray(CONDITION)) - 1) ** 2)))
    value, gradients = loss(net)
    assert 0.8 < value < 1.2
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


def test_scales_and_refusals() -> None:
    assert [scales_of((1, side, side), None) for side in (4, 6, 8, 28, 32)] == [1, 1, 2, 3, 3]
    with pytest.raises(ValueError, match="sides that 2 \\*\\* 2 divides"):
        UNet(KEY, (1, 6, 6), n_scales=3)
    with pytest.raises(ValueError, match="a shape \\(C, H, W\\)"):
        TimeConv(KEY, (4, 4))
    with pytest.raises(ValueError, match="mixing to be one of"):
        TimeConv(KEY, SHAPE, mixing="sum")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="condition"):
        UNet(KEY, SHAPE, width=4, cond_shape=(N,))(jnp.asarray(0.5), jnp.zeros(SHAPE))
