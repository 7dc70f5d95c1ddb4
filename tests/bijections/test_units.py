"""`ColumnUnits` against closed forms: what the laws cannot know."""

# Pyright takes a frozen distribution of scipy for a discrete one.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from pushforward.bijections.elementwise import ColumnUnits, Unit

EVERY = [
    Unit("real", 5.0, 2.0),
    Unit("real", 1.0, 2.0, tail=3.0),
    Unit("real", 0.0, 1.0, tail=0.5),
    Unit("log", -1.0, 2.0, None, 0.3, 0.7),
    Unit("softplus", 0.0, 2.0, None, 0.3, 0.7),
    Unit("softplus", 0.0, 2.0, 2.5, 0.3, 0.7),
    Unit("interval", -1.0, 3.0, None, 0.2, 1.3),
]


def density(unit: Unit, y: np.ndarray) -> np.ndarray:
    """Of a standard normal in these units."""
    x, log_slope = ColumnUnits([unit]).each_inverse(jnp.asarray(y)[None])
    return np.asarray(stats.norm.pdf(x[0]) * np.exp(log_slope[0]))


def test_closed_forms() -> None:
    y = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999])
    # exp(c + d z) is log-normal.
    shifted = stats.lognorm(s=0.7, scale=2.0 * np.exp(0.3), loc=-1.0)
    np.testing.assert_allclose(density(Unit("log", -1.0, 2.0, None, 0.3, 0.7), y - 1), shifted.pdf(y - 1), rtol=1e-12)
    # Phi(z) is uniform.
    np.testing.assert_allclose(density(Unit("interval", -1.0, 3.0), 3 * y - 1), 1 / 3, rtol=1e-12)
    # With an index of 2, erfc(|z| / sqrt 2) = 1 / (1 + |y| / 2)^2: the density is that of the two-sided Lomax law.
    t = np.array([-1e6, -3.0, -0.1, 0.0, 0.1, 3.0, 1e6])
    np.testing.assert_allclose(density(Unit(tail=2.0), t), 0.5 * stats.lomax(2.0, scale=2.0).pdf(np.abs(t)), rtol=1e-9)


def test_tails_have_their_index() -> None:
    """Of the normal's far quantiles: log P(Y > y) falls by the index for every factor e in y."""
    for index in (0.8, 3.0, 12.0):
        x = jnp.array([[3.0, 5.0, 7.0]])
        y = np.asarray(ColumnUnits([Unit(tail=index)]).each_forward(x)[0][0])
        slopes = np.diff(stats.norm.logsf(np.asarray(x[0]))) / np.diff(np.log(index + y))
        np.testing.assert_allclose(slopes, -index, rtol=1e-9)
        z = np.asarray(ColumnUnits([Unit()]).each_forward(x)[0][0])  # the broken twin: no tail
        assert abs((np.diff(stats.norm.logsf(np.asarray(x[0]))) / np.diff(np.log(index + z)))[-1] + index) > 1


def test_slopes_where_the_sign_changes() -> None:
    """At 0 the absolute value has no derivative, but the map with heavy tails has one."""
    units, zero = ColumnUnits([Unit(tail=3.0)]), jnp.zeros((1, 1))
    for run in (units.each_forward, units.each_inverse):
        slope = jax.jvp(lambda v, run=run: run(v)[0], (zero,), (jnp.ones((1, 1)),))[1]
        np.testing.assert_allclose(np.log(slope), run(zero)[1], atol=1e-12)


def test_near_the_upper_bound_the_digits_of_the_dtype_count() -> None:
    y = 1 - np.array([1e-9, 1e-12, 1e-15])
    x = np.asarray(ColumnUnits([Unit("interval")]).each_inverse(jnp.asarray(y)[None])[0][0])
    np.testing.assert_allclose(x, stats.norm.ppf(y), rtol=1e-9)


def test_standardised_rows_give_the_same() -> None:
    units = ColumnUnits([Unit("real", 1e9 + 0.123456789, 1 / 3), *EVERY[1:]])
    rows = np.array([1e9, 3.0, -2.0, 4.0, 1.0, 6.0, 0.7]) + np.linspace(0, 0.5, 4)[:, None]
    expected = units.each_inverse(jnp.asarray(rows.T))
    with jax.enable_x64(False):  # the default: what is measured stays in double precision
        assert ColumnUnits(EVERY).loc.value.dtype == np.float64
        standard = units.standardise(rows)
    assert standard.dtype == np.float64
    got = units.standardised().each_inverse(jnp.asarray(standard.T))
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-12, atol=1e-14)
    with jax.enable_x64(False):  # in float32, 1e9 is lost unless it is taken out first
        single = units.standardised().each_inverse(jnp.asarray(standard.T))[0]
        lost = units.each_inverse(jnp.asarray(rows.T))[0]
    np.testing.assert_allclose(single, expected[0], rtol=1e-5, atol=1e-6)
    assert np.abs(np.asarray(lost) - np.asarray(expected[0]))[0].max() > 0.1


@pytest.mark.parametrize(
    "unit",
    [Unit(scale=0.0), Unit(spread=-1.0), Unit(scale=np.inf), Unit(loc=np.nan), Unit(tail=0.0), Unit("half")],  # type: ignore[arg-type]
)
def test_wrong_units(unit: Unit) -> None:
    with pytest.raises(ValueError, match="ColumnUnits"):
        ColumnUnits([unit])
