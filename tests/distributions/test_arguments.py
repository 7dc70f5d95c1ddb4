"""Any kind of number into `log_prob`, `encode`, `sample`; and shapes that do not fit are named."""

# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf

KEY = jax.random.key(0)
FLOW = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=1, width=4, linear="reverse")
GIVEN = pf.flows.realnvp(jax.random.key(1), dim=2, condition_dim=3, n_layers=1, width=4, linear="reverse")


@pytest.mark.parametrize("kind", [list, np.array, tuple, lambda rows: np.array(rows, np.int8), jnp.array], ids=range(5))
def test_integers_and_lists_are_taken(kind: Callable[[Any], Any]) -> None:
    rows = [[1, 2], [0, -3], [5, 0]]
    exact = np.array(rows, float)
    for method in (FLOW.log_prob, FLOW.encode, FLOW.decode):
        np.testing.assert_allclose(method(kind(rows)), method(exact), rtol=1e-12)
    np.testing.assert_allclose(GIVEN.log_prob(kind(rows), [1, 0, 2]), GIVEN.log_prob(exact, np.array([1.0, 0, 2])))


@pytest.mark.parametrize("shape", [[3], (3,), 3, np.int64(3), (np.int32(3),), np.array([3]), jnp.array(3)])
def test_any_kind_of_sample_shape(shape: Any) -> None:
    np.testing.assert_array_equal(FLOW.sample(KEY, shape), FLOW.sample(KEY, (3,)))


def test_no_draw_and_one_draw() -> None:
    assert FLOW.sample(KEY, []).shape == FLOW.sample(KEY).shape == (2,)
    assert FLOW.sample(KEY, 0).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda: FLOW.sample(KEY, 2.5), TypeError, "sample_shape an integer or a tuple of integers, got float 2.5"),
        (lambda: FLOW.sample(KEY, "3"), TypeError, "Write sample_shape="),
        (lambda: FLOW.sample(KEY, -1), ValueError, "sample_shape >= 0"),
        (lambda: jax.jit(FLOW.sample)(KEY, 3), TypeError, "static_argnums=1"),
        *(
            (lambda name=name: getattr(GIVEN, name)(np.zeros((4, 2)), np.zeros((7, 3))), ValueError, text)
            for name in ("log_prob", "encode", "decode")
            for text in (rf"Flow.{name}: .*\(4,\) being those of x.*\(7,\) for the condition", r"x\[:, None\]")
        ),
    ],
)
def test_what_does_not_fit_is_named(call: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        call()


def test_all_pairs_as_the_message_says() -> None:
    x, condition = np.arange(8.0).reshape(4, 2), np.arange(21.0).reshape(7, 3)
    scores = GIVEN.log_prob(x[:, None], condition)
    assert scores.shape == (4, 7)
    np.testing.assert_allclose(scores[1, 2], GIVEN.log_prob(x[1], condition[2]), rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_draws_have_the_type_of_the_weights(dtype: Any) -> None:
    models = (FLOW, pf.StudentT([5.0, 6.0]), pf.UniformBox([0.0, 1.0], 2.0), pf.MultivariateNormal(0.0, np.eye(2)))
    for model in models:
        cast = jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, model)
        x, log_prob = cast.sample_and_log_prob(KEY, 3)
        assert x.dtype == cast.sample(KEY, 3).dtype == dtype
        assert np.all(np.isfinite(np.asarray(x, float)))
        # Rounded once, at the end: a bfloat16 has eight bits.
        np.testing.assert_allclose(np.asarray(log_prob, float), model.sample_and_log_prob(KEY, 3)[1], atol=0.3)
        scored = cast.log_prob(x)
        assert scored.dtype == dtype
        assert cast.log_prob(x.astype(jnp.float64)).dtype == jnp.float64
        np.testing.assert_allclose(np.asarray(scored, float), model.log_prob(np.asarray(x, float)), atol=0.3)
    assert pf.StandardNormal((2,)).sample(KEY).dtype == jnp.result_type(float)
