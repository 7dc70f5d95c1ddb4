"""Attention, the causal transformer and the vision transformer: what depends on what, and caches."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward._parts import replaced
from pushforward.nets import Attention, CausalTransformer, VisionTransformer
from pushforward.nets import attention as attention_module
from pushforward.testing import randomise

KEY = jax.random.key(3)
T, D, N = 5, 2, 3


def reach(function, x: jax.Array) -> np.ndarray:
    """Whether output token `i` depends on input token `j` of the first row, tokens first."""
    jacobian = jax.jit(jax.jacobian(lambda x: function(x)[..., 0]))(x)[..., 0]
    return np.asarray(jnp.abs(jacobian).max(axis=(0, 2, 4)) > 0)  # (params, T, D, T, D)


@pytest.fixture(scope="module")
def net() -> CausalTransformer:
    made = CausalTransformer(KEY, T, D, 2, width=8, depth=2, n_heads=2, cond_shape=(3,), start_token=True)
    return randomise(made, KEY)


@pytest.fixture(scope="module")
def events() -> tuple[jax.Array, jax.Array]:
    return jax.random.normal(KEY, (T, D, N)), jnp.eye(3)[:, :N]


def test_a_token_sees_those_before_it_alone(net: CausalTransformer, events: tuple) -> None:
    x, c = events
    np.testing.assert_array_equal(reach(lambda x: net(x, c), x), np.tril(np.ones((T, T), bool), -1))


def test_a_mask_that_is_off_by_one_is_found(
    net: CausalTransformer, events: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, c = events
    exact = attention_module.causal_mask
    monkeypatch.setattr(attention_module, "causal_mask", lambda start, k, n: exact(start + 1, k, n))
    found = reach(lambda x: net(x, c), x)
    assert found[np.arange(T), np.arange(T)][:-1].all()  # each token leaks into its own parameters


def test_steps_and_blocks_give_what_the_pass_gives(net: CausalTransformer, events: tuple) -> None:
    x, c = events

    @jax.jit
    def run() -> tuple[jax.Array, jax.Array, jax.Array]:
        state, found = net.init((N,), c), []
        previous = jnp.full((D, N), jnp.nan)  # what stands before the first token is ignored
        for i in range(T):
            params, state = net.step(state, jnp.asarray(i), previous)
            previous = x[i]
            found.append(params)
        blocks, state = [], net.init_block((N,), c)
        before = jnp.concatenate([x[:1], x[:-1]])
        for start, k in ((0, 2), (2, 3)):
            # A block that ran with other inputs is run again.
            _, state = net.step_block(state, jnp.asarray(start), 7 + before[start : start + k])
            params, state = net.step_block(state, jnp.asarray(start), before[start : start + k])
            blocks.append(params)
        return net(x, c), jnp.stack(found, 1), jnp.concatenate(blocks, 1)

    whole, steps, blocks = run()
    np.testing.assert_allclose(steps, whole, atol=1e-12)
    np.testing.assert_allclose(blocks, whole, atol=1e-12)


def test_without_a_start_token_the_first_token_has_no_parameters(net: CausalTransformer, events: tuple) -> None:
    x, c = events
    params = replaced(net, start_token=False)(x, c)
    assert not np.any(params[:, 0])
    np.testing.assert_array_equal(params[:, 1:], net(x, c)[:, 1:])


def test_attention_of_one_head_is_the_formula() -> None:
    attention = Attention(KEY, 4, 1, temperature=2.0)
    x = jax.random.normal(KEY, (4, 3))
    q, k, v = (attention.weight[:, :-1] @ x + attention.weight[:, -1:]).reshape(3, 4, 3)
    weights = jax.nn.softmax(q.T @ k / (2.0 * 2.0), axis=-1)
    expected = attention.out_weight[:, :-1] @ (v @ weights.T) + attention.out_weight[:, -1:]
    np.testing.assert_allclose(attention(x[..., None])[..., 0], expected, atol=1e-12)


def test_a_vision_transformer_sees_all_places() -> None:
    made = randomise(VisionTransformer(KEY, (2, 2, 2), (3, 2, 2), width=8, depth=1, n_heads=2, cond_shape=(3,)), KEY)
    x, c = jax.random.normal(KEY, (2, 2, 2, 2)), jnp.eye(3)[:, :2]
    jacobian = jax.jit(jax.jacobian(lambda x: made(x, c)[..., 0]))(x)
    assert np.all(jacobian[..., 0] != 0)
    assert not np.any(jacobian[..., 1])  # rows do not mix


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Attention(KEY, 6, 4), "multiple of the number of heads"),
        (lambda: Attention(KEY, 4, 2, temperature=0.0), "temperature above 0"),
        (lambda: VisionTransformer(KEY, (2, 2, 2), (2, 3, 3)), "the same places"),
        (lambda: CausalTransformer(KEY, 0, 2, 2), "n_tokens"),
    ],
)
def test_wrong_arguments_are_named(make, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()
