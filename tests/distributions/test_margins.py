"""Numbers of any space with distribution functions in closed form: they add up, meet their ends, and come back."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.spaces import Place, Spaces

PLACES = {
    "line": Place("line", 1.0, 2.0),
    "heavy line": Place("line", 0.0, 1.0, tail=1.5),
    "above": Place("above", 3.0, 2.0),
    "heavy above, rising": Place("above", 0.0, 1.0, tail=1.0, low_power=0.5),
    "above, vanishing": Place("above", 0.0, 1.0, low_power=2.0),
    "above, light": Place("above", 0.0, 1.0, bend=0.7),
    "below": Place("below", 2.0, 1.0),
    "interval": Place("interval", 1.0, 3.0),
    "interval with powers": Place("interval", 0.0, 1.0, low_power=0.5, high_power=2.0),
    "circle": Place("circle", -180.0, 360.0),
    "counts": Place("above", 0.0, 3.0, step=1.0, rounded=True, counted=True),
    "rounded": Place("interval", 0.0, 11.0, step=1.0, rounded=True),
    "whole turns": Place("circle", 0.0, 24.0, step=1.0, rounded=True),
}
NAMES, SPACES = list(PLACES), Spaces(list(PLACES.values()))
ROUNDED = [name for name, place in PLACES.items() if place.rounded]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def margins():
    with jax.enable_x64(True):
        made = ConditionalMargins(jax.random.key(0), list(PLACES.values()), bins=6, width=16)
        noise = np.random.default_rng(0).normal(size=made.net.out_weight.shape)
        made = eqx.tree_at(lambda m: m.net.out_weight, made, made.net.out_weight + 3.0 * noise)
        floor = made.floor + np.random.default_rng(1).normal(size=made.floor.shape)
        return eqx.tree_at(lambda m: m.floor, made, floor)


@pytest.fixture(scope="module")
def draws(margins):
    with jax.enable_x64(True):
        return margins.sample(jax.random.key(1), 4000)


@eqx.filter_jit
def one_column(margins, row, i, values):
    rows = jnp.broadcast_to(row[:, None], (len(row), len(values))).at[i].set(values)
    return margins.each_log_prob(rows, None)[i]


@pytest.mark.parametrize("name", NAMES)
def test_each_conditional_adds_up_to_one(margins, draws, name):
    i, place = NAMES.index(name), PLACES[name]
    if place.rounded:
        high = 400 if place.space == "above" else int(place.scale)
        mass = np.exp(np.asarray(one_column(margins, draws[0], i, jnp.arange(400.0))))[:high]
        np.testing.assert_allclose(mass.sum(), 1, atol=1e-9)
        return
    # As fine as the narrowest of these densities asks for.
    u = jnp.asarray((np.arange(200001) + 0.5) / 200001)
    values = SPACES.back_one(i, u)
    found = Spaces([place]).locate(values[None])
    np.testing.assert_allclose(found.u[0], u, atol=1e-12)
    density = np.exp(np.asarray(one_column(margins, draws[0], i, values)))
    total = (density * place.scale / np.exp(np.asarray(found.log_slope[0]))).mean()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert abs((density * place.scale / np.exp(np.asarray(found.log_slope[0])) * 1.01).mean() - 1) > 1e-6


@pytest.mark.parametrize(("name", "end"), [("above", 3.0), ("below", 2.0), ("interval", 1.0), ("interval", 4.0)])
def test_density_at_an_end_is_that_beside_it_and_none_beyond(margins, draws, name, end):
    i, inwards = NAMES.index(name), 1.0 if (name, end) in (("above", 3.0), ("interval", 1.0)) else -1.0
    values = end + inwards * jnp.array([0.0, 1e-12, 1e-7, -1e-7])
    at, near, nearby, beyond = np.asarray(one_column(margins, draws[0], i, values))
    assert max(abs(at - near), 1e-5 * abs(at - nearby)) < 1e-9
    assert beyond == -np.inf


def test_circle_has_no_seam(margins, draws):
    i = NAMES.index("circle")
    ends = one_column(margins, draws[0], i, jnp.array([-180.0, 180.0 - 1e-9]))
    assert abs(float(ends[0] - ends[1])) < 1e-6


def test_latents_of_draws_are_uniform(margins, draws):
    uniform = jnp.asarray(np.random.default_rng(2).uniform(size=draws.T.shape))
    latents = np.asarray(margins.latents(draws.T, None, None, uniform))
    assert min(stats.kstest(row, "norm").pvalue for row in latents) > 1e-4
    # Taken at the low ends of their steps, as if they were points, rounded numbers are not normal.
    twin = np.asarray(margins.latents(draws.T, None, None, jnp.zeros_like(uniform)))
    assert max(stats.kstest(twin[NAMES.index(name)], "norm").pvalue for name in ROUNDED) < 1e-4


def test_numbers_that_are_not_there_have_no_effect(margins, draws):
    x = draws[:5].T
    there = np.ones(x.shape, bool)
    there[3] = False
    one = margins.each_log_prob(x, None, jnp.asarray(there))
    other = margins.each_log_prob(x.at[3].set(jnp.nan), None, jnp.asarray(there))
    np.testing.assert_array_equal(one, other)
    assert np.all(np.asarray(one[3]) == 0)
    full = margins.each_log_prob(x, None)
    assert np.abs(np.asarray(full - one))[4:].max() > 0


def test_gradients_are_finite_at_ends_and_far_out(margins):
    x = jnp.stack([jnp.full(len(NAMES), v) for v in (0.0, 1.0, 1e30, -1e30)], axis=1).clip(
        *(jnp.clip(end, -1e30, 1e30) for end in SPACES.support(jnp.float64))
    )

    def loss(m, rows):
        return jnp.sum(m.each_log_prob(rows, None))

    arrays = eqx.filter_grad(loss)(margins, x)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(eqx.filter(arrays.net, eqx.is_array)))


def test_samples_lie_on_steps_within_ends(draws):
    for name in ROUNDED:
        values = np.asarray(draws[:, NAMES.index(name)])
        np.testing.assert_array_equal(values, np.rint(values))
    low, high = (np.asarray(end)[:, 0] for end in SPACES.support(jnp.float64))
    assert np.all((np.asarray(draws) >= low) & (np.asarray(draws) <= high))
