"""Ensembles: the mixture of members of one architecture, run as one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.distributions import Ensemble, evaluation_form
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.table import TableDistribution

WEIGHTS = np.array([0.5, 0.3, 0.2])


def flow(seed: int) -> pf.Flow:
    built = pf.flows.realnvp(jax.random.key(seed), dim=2, n_layers=1, width=4)
    return pf.Flow(built.base, pf.Chain([built.bijection, pf.Affine(loc=4.0 * seed, scale=1.0 + seed, shape=(2,))]))


def table(seed: int) -> TableDistribution:
    keys = jax.random.split(jax.random.key(seed), 2)
    masses = AutoregressiveCategorical(keys[0], (3,), frequencies=np.roll([0.6, 0.3, 0.1], seed), width=4, depth=1)
    values = pf.flows.realnvp(keys[1], dim=1, n_layers=1, width=4, condition_dim=3)
    units = ColumnUnits([Unit("real", float(seed), 1.0 + seed)])
    return TableDistribution(
        masses, values, units, steps=[0.0], counted=[False], bounds=[(-np.inf, np.inf)], state_of_value=[-1]
    )


def test_the_density_is_the_weighted_mean_of_the_members():
    members = [flow(seed) for seed in range(3)]
    both, x = Ensemble(members, WEIGHTS), jax.random.normal(jax.random.key(9), (20, 2))
    right = np.log(sum(w * np.exp(m.log_prob(x)) for w, m in zip(WEIGHTS, members, strict=True)))
    np.testing.assert_allclose(both.log_prob(x), right, rtol=1e-5)
    equal = Ensemble(members).log_prob(x)
    assert np.abs(equal - right).max() > 0.1  # a broken twin: weights that are not used


def test_members_come_back_one_by_one():
    members = [flow(seed) for seed in range(3)]
    x = jax.random.normal(jax.random.key(9), (5, 2))
    for member, again in zip(members, Ensemble(members).each, strict=True):
        np.testing.assert_array_equal(member.log_prob(x), again.log_prob(x))


def test_samples_come_from_the_members_by_their_weights_and_each_from_its_own_key():
    far = [pf.Flow(pf.StandardNormal((1,)), pf.Affine(loc=100.0 * k, scale=1.0, shape=(1,))) for k in range(3)]
    both = Ensemble(far, WEIGHTS)
    draws = np.asarray(both.sample(jax.random.key(0), 4000))[:, 0]
    share = np.bincount(np.round(draws / 100).astype(int), minlength=3) / len(draws)
    assert np.abs(share - WEIGHTS).max() < 4 * np.sqrt(0.25 / len(draws))
    np.testing.assert_array_equal(draws[:7], np.asarray(both.sample(jax.random.key(0), 7))[:, 0])
    x, log_prob = both.sample_and_log_prob(jax.random.key(1), 5)
    np.testing.assert_allclose(log_prob, both.log_prob(x), rtol=1e-6)


def test_parts_of_a_table_are_those_of_the_mixture():
    members = [table(seed) for seed in range(3)]
    both = Ensemble(members, WEIGHTS)
    x = jnp.asarray([[0.0, 1.0, 2.0, 2.0], [0.3, -1.0, 2.0, 40.0]])
    each = [member.parts(x, None, None) for member in members]
    mass = np.log(sum(w * np.exp(p.mass) for w, p in zip(WEIGHTS, each, strict=True)))
    whole = np.log(sum(w * np.exp(p.mass + p.density) for w, p in zip(WEIGHTS, each, strict=True)))
    parts = both.parts(x, None, None)
    np.testing.assert_allclose(parts.mass, mass, rtol=1e-5)
    np.testing.assert_allclose(parts.mass + parts.density, whole, rtol=1e-5)
    # A product of mixtures is another density.
    density = np.log(sum(w * np.exp(p.density) for w, p in zip(WEIGHTS, each, strict=True)))
    assert np.abs(parts.density - density).max() > 0.01


def test_an_ensemble_is_a_whole_that_is_rewritten_like_any_other():
    both = Ensemble([flow(seed) for seed in range(2)])
    assert evaluation_form(both) is both
    assert [type(part).__name__ for part in both.members] == ["Flow"]


def test_members_of_other_shapes_and_wrong_weights_are_refused():
    other = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=2, width=4)
    with pytest.raises(ValueError, match="differ in their numbers alone"):
        Ensemble([flow(0), other])
    with pytest.raises(ValueError, match="finite weights > 0"):
        Ensemble([flow(0), flow(1)], [1.0, 0.0])
    with pytest.raises(ValueError, match="one member or more"):
        Ensemble([])
