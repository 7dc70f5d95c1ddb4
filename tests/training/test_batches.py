"""Batches: every row once per epoch, equal sizes, a fresh order each epoch, and shapes that are shared."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushforward._vectorize import pad_rows
from pushforward.training.batches import batch_places, bucket, epoch_order, n_batches, streams

SEED = np.array([1, 2], np.uint32)


@jax.jit
def deal(order, n, steps):
    """Every batch of an epoch of at most 300, of at most 350 rows."""
    positions = jax.numpy.arange(300, dtype=np.int32)
    places, counts = jax.vmap(lambda position: batch_places(position, n, steps, 350))(positions)
    return order[places], counts


@given(n=st.integers(1, 300), batch_size=st.integers(1, 350))
def test_every_row_once_per_epoch_in_balanced_batches(n, batch_size):
    order = np.random.default_rng(0).permutation(n)
    steps = n_batches(n, batch_size)
    seen, sizes = [], []
    padded = np.concatenate([order, np.arange(n, 300)]).astype(np.int32)
    every_rows, every_counts = map(np.asarray, deal(padded, np.int32(n), np.int32(steps)))
    for rows, counts in zip(every_rows[:steps], every_counts[:steps], strict=True):
        seen += rows[counts].tolist()
        sizes.append(int(counts.sum()))
    assert seen == order.tolist()
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_order_is_a_permutation_with_the_filling_last():
    order = np.asarray(epoch_order(SEED, np.int32(3), np.int32(50), 64))
    assert sorted(order[:50]) == list(range(50))
    assert sorted(order[50:]) == list(range(50, 64))


def test_order_depends_on_seed_and_epoch_alone():
    first = np.asarray(epoch_order(SEED, np.int32(0), np.int32(100), 128))[:100]
    again = np.asarray(epoch_order(SEED, np.int32(0), np.int32(100), 128))[:100]
    next_epoch = np.asarray(epoch_order(SEED, np.int32(1), np.int32(100), 128))[:100]
    other_seed = np.asarray(epoch_order(SEED + 1, np.int32(0), np.int32(100), 128))[:100]
    np.testing.assert_array_equal(first, again)
    assert (first != next_epoch).mean() > 0.9
    assert (first != other_seed).mean() > 0.9


def test_positions_are_uniform():
    """Where row 0 lands over many epochs; a constant or lazy order would fail by far."""
    places = [
        int(np.flatnonzero(np.asarray(epoch_order(SEED, np.int32(e), np.int32(8), 8)) == 0)[0]) for e in range(400)
    ]
    counts = np.bincount(places, minlength=8)
    assert np.sum((counts - 50) ** 2 / 50) < 26.0  # chi-squared with 7 degrees of freedom, p = 5e-4


@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 128, 129, 1000, 4097, 100_000])
def test_bucket_is_enough_and_not_much_more(n):
    assert bucket(n) >= n
    assert n <= 128 or bucket(n) <= 1.25 * n
    assert len({bucket(m) for m in range(1, n + 1)}) <= 8 * n.bit_length()


def test_padding_repeats_real_rows():
    np.testing.assert_array_equal(pad_rows(np.array([[1.0], [2.0]]), 4), [[1.0], [2.0], [1.0], [1.0]])


def test_streams_differ():
    seeds = {tuple(seed.tolist()) for key in (0, 1) for seed in streams(jax.random.key(key))}
    assert len(seeds) == 6
