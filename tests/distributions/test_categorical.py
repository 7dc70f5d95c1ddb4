"""`AutoregressiveCategorical`: masses that sum to one, and samples that follow them."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.distributions.categorical import AutoregressiveCategorical

SIZES = (2, 3, 4)
EVERY = np.array(list(itertools.product(*map(range, SIZES))), float)
KEY = jax.random.key(3)
CONDITION = np.array([0.7, -1.2])


def make(seed: int = 0, scale: float = 1.0, **options: object) -> AutoregressiveCategorical:
    """With noise on every weight, so that no two masses are alike."""
    masses = AutoregressiveCategorical(KEY, SIZES, width=8, depth=2, **options)  # type: ignore[arg-type]
    leaves, structure = jax.tree.flatten(masses)
    rng = np.random.default_rng(seed)
    drawn = [jnp.asarray(np.asarray(leaf) + scale * rng.standard_normal(leaf.shape)) for leaf in leaves]
    return jax.tree.unflatten(structure, drawn)


@eqx.filter_jit
def factors(masses: AutoregressiveCategorical) -> jax.Array:
    """The log-mass of each variable given those before it, for every vector of states."""
    return masses.each_log_prob(jnp.asarray(EVERY.T), None)


@pytest.fixture(scope="module")
def masses() -> AutoregressiveCategorical:
    return make()


@pytest.fixture(scope="module")
def conditional() -> AutoregressiveCategorical:
    return make(cond_size=2)


def test_masses_sum_to_one(masses, conditional):
    assert np.exp(masses.log_prob(EVERY)).sum() == pytest.approx(1.0, abs=1e-12)
    log_prob = conditional.log_prob(EVERY, CONDITION)
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-12)
    assert np.abs(log_prob - conditional.log_prob(EVERY, -CONDITION)).max() > 0.1, "the condition matters"
    with pytest.raises(ValueError, match="condition"):
        conditional.log_prob(EVERY)


def test_factors_see_earlier_states_alone(masses):
    """The sum over the later variables is the product of the earlier factors."""
    each = np.asarray(factors(masses))
    joint = np.exp(each.sum(axis=0)).reshape(SIZES)
    np.testing.assert_allclose(np.log(joint.sum(axis=(1, 2))), each[0].reshape(SIZES)[:, 0, 0], atol=1e-12)
    pairs = each[:2].sum(axis=0).reshape(SIZES)[:, :, 0]
    np.testing.assert_allclose(np.log(joint.sum(axis=2)), pairs, atol=1e-12)
    assert np.ptp(each[2].reshape(SIZES)[:, 0, 0]) > 1e-3, "the first variable influences the last"
    assert np.ptp(each[2].reshape(SIZES)[0, :, 0]) > 1e-3


def test_what_is_no_state_and_what_is_no_number(masses):
    wrong = np.array([[2, 0, 0], [0, -1, 0], [0, 0, 0.5], [0, 0, np.inf]])
    np.testing.assert_array_equal(masses.log_prob(wrong), -np.inf)
    assert np.isnan(masses.log_prob(np.array([[0, np.nan, 0], [7, np.nan, 0]]))).all()


def test_nothing_that_can_happen_has_no_mass():
    """Logits of a thousand leave every state at least its share of the uniform distribution."""
    certain = make(scale=1000.0, smoothing=1e-3)
    each = np.asarray(factors(certain))
    floor = np.log(1e-3 / np.array(SIZES))[:, None]
    assert (each >= floor - 1e-9).all()
    assert np.exp(each.sum(axis=0)).sum() == pytest.approx(1.0, abs=1e-12)
    bare = make(scale=1000.0, smoothing=0.0)
    assert np.asarray(factors(bare)).min() < floor.min() - 10


def test_the_start_is_the_frequencies():
    shares = np.array([0.9, 0.1, 0.2, 0.3, 0.5, 0.1, 0.2, 0.3, 0.4])
    fresh = AutoregressiveCategorical(KEY, SIZES, width=8, frequencies=shares, smoothing=0.0)
    each = np.asarray(factors(fresh))
    expected = np.log(np.concatenate([shares[:2], shares[2:5], shares[5:]]))
    starts = np.array([0, 2, 5])[:, None]
    np.testing.assert_allclose(each, expected[starts + EVERY.T.astype(int)], atol=1.0)


def counts_of(states: np.ndarray) -> np.ndarray:
    return np.bincount(np.ravel_multi_index(tuple(states.astype(int).T), SIZES), minlength=24)


def test_samples_follow_the_masses(masses):
    n = 20_000
    counts = counts_of(np.asarray(masses.sample(jax.random.key(1), n)))
    expected = n * np.exp(np.asarray(masses.log_prob(EVERY)))
    rare = expected < 5

    def p_value(observed: np.ndarray) -> float:
        grouped = [np.append(c[~rare], c[rare].sum()) for c in (observed, expected)]
        return float(stats.chisquare(grouped[0], grouped[1] * grouped[0].sum() / grouped[1].sum()).pvalue)

    assert p_value(counts) > 1e-3
    # The broken twin: samples of another model.
    assert p_value(counts_of(np.asarray(make(seed=9).sample(jax.random.key(1), n)))) < 1e-6


def test_longer_samples_begin_with_the_shorter(conditional):
    long = conditional.sample(jax.random.key(2), 7, CONDITION)
    np.testing.assert_array_equal(conditional.sample(jax.random.key(2), 3, CONDITION), long[:3])
    x, log_prob = conditional.sample_and_log_prob(jax.random.key(2), 7, CONDITION)
    np.testing.assert_array_equal(x, long)
    np.testing.assert_allclose(log_prob, conditional.log_prob(long, CONDITION), atol=1e-12)


def test_states_that_samples_may_not_have():
    drawable = np.array([1, 1, 1, 0, 1, 0, 1, 0, 1], bool)
    kept = make(drawable=drawable)
    states = np.asarray(kept.sample(KEY, 500)).astype(int)
    assert set(states[:, 1]) == {0, 2}
    assert set(states[:, 2]) <= {1, 3}
    assert np.exp(kept.log_prob(EVERY)).sum() == pytest.approx(1.0, abs=1e-12), "they keep their mass"
    with pytest.raises(ValueError, match="flags"):
        make(drawable=[True])


@pytest.mark.parametrize("smoothing", [1e-6, 0.0])
def test_gradients_are_finite_and_reach_every_leaf(smoothing: float):
    """Also where a state has next to no mass, and next to a row that is impossible."""
    masses = make(scale=30.0, cond_size=2, smoothing=smoothing)
    rows = np.concatenate([EVERY, [[9.0, 0.0, 0.0]]])

    @eqx.filter_jit
    def gradient(masses):
        params, rest = pf.trainable(masses)

        def loss(p):
            log_prob = pf.combine(p, rest).log_prob(rows, CONDITION)
            return jnp.sum(jnp.where(jnp.isfinite(log_prob), log_prob, 0.0))

        return jax.grad(loss)(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(masses)):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.any(np.asarray(leaf) != 0), jax.tree_util.keystr(path)


def test_wrong_options():
    with pytest.raises(ValueError, match="smoothing"):
        make(smoothing=1.0)
    with pytest.raises(ValueError, match="size"):
        AutoregressiveCategorical(KEY, (3, 1))
