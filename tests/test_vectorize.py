"""The batching code: any leading dimensions, keys by row number, and no row that sees another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward._vectorize import batch_keys, in_chunks, rows_last, split_batch


def test_rows_arrive_on_the_last_axis_and_come_back_in_place() -> None:
    x = jnp.arange(24.0).reshape(2, 3, 4)
    seen = []

    def function(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen.append(rows.shape)
        return rows[::-1], rows.sum(0)

    flipped, total = rows_last(function, ((2, 3),), x)
    assert seen == [(4, 6)]
    np.testing.assert_array_equal(flipped, x[..., ::-1])
    np.testing.assert_array_equal(total, x.sum(-1))


def test_batch_dimensions_broadcast() -> None:
    x, condition = jnp.arange(6.0).reshape(3, 1, 2), jnp.arange(4.0).reshape(4, 1)
    out = rows_last(lambda x, c: x.sum(0) * c[0], ((3, 1), (4,)), x, condition)
    np.testing.assert_array_equal(out, x.sum(-1) * condition[:, 0])
    none = rows_last(lambda x, c: x + (0 if c is None else c), ((3,), ()), jnp.ones((3, 2)), None)
    assert none.shape == (3, 2)


def test_one_event_and_no_event() -> None:
    assert rows_last(lambda x: x.sum(0), ((),), jnp.ones(5)).shape == ()
    assert rows_last(lambda x: x.sum(0), ((0, 2),), jnp.ones((0, 2, 5))).shape == (0, 2)


def test_keys_go_along_with_their_rows() -> None:
    keys = batch_keys(jax.random.key(0), 6).reshape(2, 3)
    draws = rows_last(lambda k: jax.vmap(lambda one: jax.random.normal(one, (4,)), out_axes=-1)(k), ((2, 3),), keys)
    assert draws.shape == (2, 3, 4)
    np.testing.assert_array_equal(draws[1, 2], jax.random.normal(keys[1, 2], (4,)))


def test_a_row_has_the_same_key_however_the_rows_are_chunked() -> None:
    key = jax.random.key(1)
    all_at_once = jax.random.key_data(batch_keys(key, 10))
    in_chunks = [jax.random.key_data(batch_keys(key, n, start)) for start, n in ((0, 4), (4, 1), (5, 5))]
    np.testing.assert_array_equal(all_at_once, np.concatenate(in_chunks))
    assert len(np.unique(all_at_once, axis=0)) == 10


def test_split_batch() -> None:
    x, batch = split_batch("f", "x", np.zeros((4, 5, 2, 3)), (2, 3))
    assert batch == (4, 5)
    assert x.shape == (4, 5, 2, 3)
    assert split_batch("f", "x", np.zeros((2, 3), int), (2, 3))[0].dtype == jnp.float64
    assert split_batch("f", "x", 1.0, ())[1] == ()
    for shape in ((3,), (3, 2), (2,), ()):
        with pytest.raises(ValueError, match="f: expected x of shape"):
            split_batch("f", "x", np.zeros(shape), (2, 3))


@pytest.mark.parametrize(("n", "size"), [(0, 1), (1, 1), (2, 4), (4, 4), (5, 16), (16, 16), (17, 16), (100, 16)])
def test_all_rows_make_one_small_chunk_or_many_of_the_largest_size(n: int, size: int) -> None:
    rows, seen = np.arange(float(n)), []

    def function(x: np.ndarray) -> jax.Array:
        seen.append(len(x))
        return jnp.asarray(x) * 2

    np.testing.assert_array_equal(in_chunks(function, (1, 4, 16), rows), 2 * rows)
    assert seen == [size] * max(1, -(-n // size))


def test_chunks_on_threads_keep_precision_and_errors() -> None:
    rows = np.arange(64.0) + 1e-12
    for wide in (True, False):
        with jax.enable_x64(wide):
            doubled = in_chunks(lambda x: jnp.asarray(x) * 2, 4, rows)
            assert doubled.dtype == (np.float64 if wide else np.float32)
    np.testing.assert_allclose(doubled, 2 * rows)

    def fails(x: np.ndarray) -> np.ndarray:
        if 50 in x.round():
            raise ValueError("the fifty-first row")
        return x

    with pytest.raises(ValueError, match="fifty-first"):
        in_chunks(fails, 4, rows)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8])
def test_chunks_of_one_size_give_what_all_rows_give(n: int) -> None:
    rows, seen = np.arange(2.0 * n).reshape(n, 2), []
    keys = jax.random.split(jax.random.key(0), n) if n else None

    def function(x: jax.Array, condition: None, keys: jax.Array | None) -> tuple[jax.Array, None]:
        seen.append(len(x))
        return jnp.asarray(x).sum(1) + (0 if keys is None else jax.vmap(jax.random.uniform)(keys)), condition

    total, none = in_chunks(function, 4, rows, None, keys)
    assert none is None
    assert seen == [4] * max(1, -(-n // 4))
    assert isinstance(total, np.ndarray)
    np.testing.assert_array_equal(total, function(jnp.asarray(rows), None, keys)[0])
