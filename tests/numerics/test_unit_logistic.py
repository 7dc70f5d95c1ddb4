"""Logistic distributions of the unit interval: masses, values and quantiles, at scales from sharp to flat."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from pushforward.numerics.unit_logistic import LEAST_SCALE, Cut, cut_of, cut_quantile, cut_value, log_cut_mass

CASES = [(0.5, 4.0), (0.3, 0.1), (0.999, 0.01), (1.4, 0.05), (-2.0, 0.2)]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_values_are_those_of_the_formula(loc, scale):
    u = np.linspace(0, 1, 101)
    low, high = special.expit(-loc / scale), special.expit((1 - loc) / scale)
    expected = (special.expit((u - loc) / scale) - low) / (high - low)
    found = np.asarray(cut_value(Cut(jnp.asarray(loc), jnp.asarray(scale)), jnp.asarray(u)))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found[0], found[-1]) == (0, pytest.approx(1, abs=1e-12))


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_the_density_is_the_derivative_and_masses_add_up(loc, scale):
    cut = Cut(jnp.asarray(loc), jnp.asarray(scale))
    u = jnp.linspace(0, 1, 41)
    zero = jnp.zeros_like(u)
    slope = jax.vmap(jax.grad(lambda v: cut_value(cut, v)))(u[1:-1])
    np.testing.assert_allclose(np.exp(log_cut_mass(cut, u, u, zero))[1:-1], slope, rtol=1e-9, atol=1e-300)
    masses = np.exp(log_cut_mass(cut, u[:-1], u[1:], jnp.log(jnp.diff(u))))
    np.testing.assert_allclose(masses.sum(), 1, atol=1e-12)
    assert abs((masses * 1.001).sum() - 1) > 1e-4


@pytest.mark.parametrize(("loc", "scale"), CASES)
def test_quantiles_undo_values(loc, scale):
    cut = Cut(jnp.asarray(loc), jnp.asarray(scale))
    p = jnp.linspace(0, 1, 33)
    np.testing.assert_allclose(cut_value(cut, cut_quantile(cut, p)), p, atol=1e-9)


def test_parameters_of_zero_and_circles_are_nearly_flat_and_extremes_stay_finite():
    flat = cut_of(jnp.zeros((2, 3)), False)
    assert np.abs(np.asarray(log_cut_mass(flat, jnp.zeros(3), jnp.zeros(3), jnp.zeros(3)))).max() < 0.01
    circle = cut_of(jnp.full((2, 3), -9.0), True)
    ends = [np.asarray(log_cut_mass(circle, jnp.full(3, u), jnp.full(3, u), jnp.zeros(3))) for u in (0.0, 1.0)]
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-12)
    with jax.enable_x64(False):
        sharp = cut_of(jnp.asarray([[3.0], [-50.0]], jnp.float32), False)
        assert float(sharp.scale[0]) == pytest.approx(LEAST_SCALE)
        u = jnp.linspace(0, 1, 9, dtype=jnp.float32)
        found = jax.vmap(jax.value_and_grad(lambda v: log_cut_mass(sharp, v, v, jnp.zeros_like(v))[0]))(u)
        assert all(np.isfinite(part).all() for part in found)
