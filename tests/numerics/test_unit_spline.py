"""Splines of the unit interval as distribution functions: masses, densities, quantiles, ends and circles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics.unit_spline import find, log_mass, n_params, pieces_of, quantile, raw_of, value_at

BINS, N = 6, 40


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def splines(circular: bool = False):
    raw = np.random.default_rng(0).normal(scale=1.5, size=(n_params(BINS), N))
    return pieces_of(jnp.asarray(raw), BINS, circular)


def test_parameters_of_zero_give_the_identity():
    pieces = pieces_of(jnp.zeros((n_params(BINS), 5)), BINS, False)
    u = jnp.linspace(0, 1, 5)
    np.testing.assert_allclose(value_at(find(pieces, u)), u, atol=1e-12)
    np.testing.assert_allclose(log_mass(pieces, u, u, jnp.zeros(5)), 0, atol=1e-12)


def test_density_is_the_slope_and_ends_are_reached():
    pieces, u = splines(), jnp.linspace(0, 1, N)
    slope = jax.jvp(lambda v: value_at(find(pieces, v)), (u,), (jnp.ones(N),))[1]
    np.testing.assert_allclose(log_mass(pieces, u, u, jnp.zeros(N)), jnp.log(slope), atol=1e-10)
    for end in (0.0, 1.0):
        np.testing.assert_allclose(value_at(find(pieces, jnp.full(N, end))), end, atol=1e-12)


@pytest.mark.parametrize("length", [1e-3, 0.02, 0.7])
def test_mass_of_an_interval_is_the_difference(length):
    pieces = splines()
    low = jnp.linspace(0, 1 - length, N)
    high = low + length
    difference = value_at(find(pieces, high)) - value_at(find(pieces, low))
    mass = log_mass(pieces, low, high, jnp.log(jnp.full(N, length)))
    np.testing.assert_allclose(mass, jnp.log(difference), atol=1e-8)
    # The density at the middle, which stands for the mass in other libraries, is another number.
    middle = 0.5 * (low + high)
    twin = log_mass(pieces, middle, middle, jnp.log(jnp.full(N, length)))
    assert np.abs(np.asarray(twin - mass)).max() > 1e-6


def test_mass_of_a_short_interval_keeps_its_digits_in_float32():
    raw = np.random.default_rng(0).normal(size=(n_params(BINS), N))
    low = np.linspace(0, 0.999, N)
    size = np.full(N, 3e-6)
    truth = log_mass(pieces_of(jnp.asarray(raw), BINS, False), jnp.asarray(low), jnp.asarray(low + size), jnp.log(size))
    parts = [jnp.asarray(part, jnp.float32) for part in (raw, low, low + size, np.log(size))]
    mass = log_mass(pieces_of(parts[0], BINS, False), *parts[1:])
    plain = jnp.log(
        value_at(find(pieces_of(parts[0], BINS, False), parts[2]))
        - value_at(find(pieces_of(parts[0], BINS, False), parts[1]))
    )
    # A number within rounding of a knot may fall into the bin beside it, whose slope at the knot is the same.
    assert np.median(np.abs(np.asarray(mass - truth))) < 1e-5
    assert np.median(np.abs(np.asarray(plain - truth))) > 1e-3


def test_quantiles_are_the_inverse():
    pieces, p = splines(), jnp.linspace(0, 1, N)
    np.testing.assert_allclose(value_at(find(pieces, quantile(pieces, p))), p, atol=1e-10)


def test_density_is_continuous_across_the_seam_of_a_circle_alone():
    for circular in (True, False):
        pieces = splines(circular)
        start, end = (log_mass(pieces, jnp.full(N, at), jnp.full(N, at), jnp.zeros(N)) for at in (0.0, 1.0))
        assert bool(np.abs(np.asarray(start - end)).max() < 1e-10) is circular


def test_parameters_from_bins_come_back():
    rng = np.random.default_rng(1)
    widths, heights = (rng.dirichlet(np.ones(BINS), 3).T for _ in range(2))
    slopes = rng.uniform(0.2, 3, (BINS + 1, 3))
    pieces = pieces_of(jnp.asarray(raw_of(widths, heights, slopes)), BINS, False)
    np.testing.assert_allclose(pieces.slopes, slopes, rtol=1e-6)
    np.testing.assert_allclose(pieces.widths, np.maximum(widths, 1e-3), atol=0.01)
    np.testing.assert_allclose(pieces.heights, np.maximum(heights, 1e-3), atol=0.01)
