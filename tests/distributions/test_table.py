"""`TableDistribution`: masses times densities, rounded and absent values, conditions; exact where that can be known."""

# Pyright takes a frozen distribution of scipy for a discrete one.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.spaces import Place
from pushforward.distributions.table import TableDistribution
from pushforward.distributions.table_features import Cells
from pushforward.tables.encoding import Layout
from pushforward.tables.modelling.assemble import Measured, Recipe, assemble
from pushforward.tables.modelling.places import Margin
from pushforward.tables.schema import Column
from pushforward.testing.trial import randomise

KEY = jax.random.key(21)
MARGINS = (Margin("size", "line"), Margin("share", "interval", rounded=True), Margin("rain", "above"))
FLOW = {"n_layers": 1, "width": 8, "depth": 1, "bins": 4}
RECIPE = Recipe(
    "nsf", FLOW, mass_width=8, mass_depth=1, embed=4, margins=MARGINS, margin_width=8, margin_depth=1, margin_bins=4
)
LAYOUT = Layout(
    (
        Column(name="colour", kind="category", type="string", levels=("red", "blue"), rare=("teal",), rare_counts=(2,)),
        Column(name="size", kind="real", missing=True),
        Column(name="share", kind="bounded", low=0.0, high=10.0, step=0.5),
        Column(name="rain", kind="positive", low=0.0, atoms=(0.0,)),
        Column(name="weight", kind="real", step=0.001),
    )
)
GIVEN = Layout(
    (Column(name="season", kind="category", type="string", levels=("wet", "dry")), Column(name="height", kind="real"))
)
UNITS = ColumnUnits([Unit("real", 70.0, 5.0)])
PLACES = (
    Place("line", 100.0, 3.0),
    Place("interval", 0.0, 10.5, step=0.5, rounded=True),
    Place("above", 0.0, 2.0),
)
GIVEN_UNITS = ColumnUnits([Unit("real", 1e6, 10.0)])
MEASURED = Measured(UNITS, PLACES, given_units=GIVEN_UNITS)
# States: colour (3), size there or missing, rain there or 0. Values: size, share, rain, weight.
ROWS = np.array(
    [
        [0, 0, 0, 101.0, 4.5, 1.25, 71.0],
        [1, 1, 0, 0.0, 10.0, 0.01, 70.5],
        [2, 0, 1, 93.0, 0.0, 0.0, 61.0],
        [0, 1, 1, 0.0, 9.5, 0.0, 70.0],
    ]
)
CONDITIONS = np.array([[0, 1e6 + 5.0], [1, 1e6 - 20.0], [2, 1e6], [0, 1e6 + 5.0]])


@pytest.fixture(scope="module")
def mixed() -> TableDistribution:
    made = assemble(LAYOUT, GIVEN, RECIPE, KEY, MEASURED)
    return randomise(made, KEY, 0.5)


@eqx.filter_jit
def parts(table: TableDistribution, rows: Any, condition: Any, keys: Any) -> Any:
    return table.parts(rows.T, None if condition is None else condition.T, keys)


@eqx.filter_jit
def draws(table: TableDistribution, rows: Any, keys: Any) -> Any:
    """The log-density of each row under each key, `(n_keys, n)`."""
    return jax.lax.map(lambda key: table.parts(rows.T, None, jnp.broadcast_to(key, (len(rows),))).density, keys)


# --- states and values -------------------------------------------------------------------------------------------


def test_states_alone() -> None:
    masses = AutoregressiveCategorical(KEY, (2, 3), width=4)
    table = TableDistribution(masses, None, None)
    every = np.array(list(itertools.product(range(2), range(3))), float)
    np.testing.assert_allclose(table.log_prob(every), masses.log_prob(every), atol=1e-14)
    assert table.as_flow() is None
    assert table.sample(KEY, 5).shape == (5, 2)
    assert not table.needs_key
    with pytest.raises(ValueError, match="a flow of numbers"):
        table.standard(jnp.zeros((2, 1)), None, None)


def test_states_times_a_density_integrate_to_one() -> None:
    masses = randomise(AutoregressiveCategorical(KEY, (2, 3), width=4), KEY, 1.0)
    flow = randomise(
        pf.flows.nsf(KEY, dim=1, condition_dim=5, n_layers=1, width=8, bins=4, linear="reverse", autoregressive=False),
        KEY,
        0.5,
    )
    table = TableDistribution(
        masses, flow, ColumnUnits([Unit("interval", -1.0, 3.0)]), steps=[0], bounds=[[-1, 2]], counted=[False],
        state_of_value=[-1],
    )  # fmt: skip
    assert not table.needs_key
    # By the quantiles of a normal, where the density is smooth.
    z = np.linspace(-8, 8, 1001)
    value = 3 * stats.norm.cdf(z) - 1
    every = np.array([[*s, v] for s in itertools.product(range(2), range(3)) for v in value])
    density = np.exp(np.asarray(table.log_prob(every))).reshape(6, -1)
    total = np.trapezoid(density * 3 * stats.norm.pdf(z), z, axis=1)
    np.testing.assert_allclose(total.sum(), 1.0, atol=1e-4)
    np.testing.assert_allclose(total, np.exp(masses.log_prob(every[::1001, :2])), rtol=1e-3)
    assert np.ptp(density[:, 500] / total) > 0.01, "the density depends on the states"
    outside = table.log_prob(np.array([[0, 0, -1.001], [0, 0, 2.001], [0, 3, 0.5]]))
    np.testing.assert_array_equal(outside, -np.inf)
    assert np.isnan(table.log_prob(np.array([0, 0, np.nan])))


@pytest.mark.parametrize("embed", [None, 2])
def test_values_alone_are_a_flow(embed: int | None) -> None:
    columns = Layout((Column(name="a", kind="real"), Column(name="b", kind="real", tail_index=4.0)))
    units = ColumnUnits([Unit(loc=1e6, scale=10.0), Unit(loc=1.0, scale=0.1, tail=4.0)])
    recipe = Recipe("maf", {"n_layers": 1, "width": 8, "depth": 1}, embed=embed)
    table = assemble(columns, GIVEN, recipe, KEY, Measured(units, given_units=GIVEN_UNITS))
    table = randomise(table, KEY, 0.3)
    assert (table.embed is None) == (embed is None)
    flow = table.as_flow()
    assert flow is not None
    x = np.array([[1e6 + 3.0, 1.1], [1e6 - 30.0, -4.0]])
    np.testing.assert_allclose(flow.log_prob(x, CONDITIONS[:2]), table.log_prob(x, CONDITIONS[:2]), rtol=1e-12)
    low = eqx.tree_at(lambda t: t.bounds.value, table, np.array([[0.0, 1e30], [-1e30, 1e30]]))
    assert low.as_flow() is None, "a flow has no bounds"


# --- rounded values ----------------------------------------------------------------------------------------------


def counted(step: float) -> tuple[TableDistribution, TableDistribution]:
    """A table of one count, and the same without rounding."""
    flow = pf.Flow(pf.StandardNormal((1,)), pf.Affine([0.3], [0.7]))
    options: dict[str, Any] = {"bounds": [[0, np.inf]], "state_of_value": [-1]}
    units = ColumnUnits([Unit("log", 0.0, 1.5)])
    rounded = TableDistribution(None, flow, units, steps=[step], counted=[True], dequantize=True, **options)
    return rounded, TableDistribution(None, flow, units, steps=[0], counted=[False], **options)


def test_a_rounded_value_has_the_mass_of_its_step() -> None:
    step = 2.0
    rounded, smooth = counted(step)
    law = stats.lognorm(s=0.7, scale=1.5 * np.exp(0.3))  # what the smooth table is
    at = np.array([[0.5], [3.0]])
    np.testing.assert_allclose(smooth.log_prob(at), law.logpdf(at[:, 0]), rtol=1e-12)
    k = step * np.arange(64.0)
    mass = law.cdf(k + step) - law.cdf(k)
    density = np.exp(np.asarray(draws(rounded, k[:, None], jax.random.split(KEY, 4000))))
    mean, error = density.mean(axis=0), density.std(axis=0) / np.sqrt(4000)
    np.testing.assert_array_less(np.abs(mean - mass), 5 * error + 1e-12)
    total_error = float(np.sqrt((error**2).sum()))
    assert abs(mean.sum() - 1) < 5 * total_error + 1e-6
    # The broken twin forgets the step: the density at the multiples is no mass.
    at_multiples = np.exp(np.asarray(smooth.log_prob(np.maximum(k, 1e-9)[:, None])))
    assert abs(at_multiples.sum() - 1) > 50 * total_error
    assert np.log(density).mean(axis=0)[1] < np.log(mass[1]) - 1e-3, "on average the logarithm is a lower bound"


def test_the_last_step_before_a_bound_is_inside_also_in_single_precision() -> None:
    """In float32, 0.9 + 0.1 * 0.9999999 may round to beyond 1."""
    with jax.enable_x64(False):
        flow = pf.Flow(pf.StandardNormal((1,)), pf.Affine([0.0], [1.0]))
    units = ColumnUnits([Unit("interval", 0.0, 10.1)])
    table = TableDistribution(
        None, flow, units, steps=[0.1], bounds=[[0, 10.1]], counted=[False], state_of_value=[-1], dequantize=True
    ).standardised()  # fmt: skip
    keys = jax.random.split(KEY, 2**16)
    with jax.enable_x64(False):
        rows = jnp.full((1, 2**16), 10.0 / 10.1, jnp.float32)
        density = np.asarray(eqx.filter_jit(lambda t, x, k: t.parts(x, None, k).density)(table, rows, keys))
    assert density.dtype == np.float32
    assert np.isfinite(density).all()


# --- absent values -----------------------------------------------------------------------------------------------


def test_what_an_absent_cell_holds_has_no_effect(mixed) -> None:
    keys = jax.random.split(KEY, 4)
    expected = parts(mixed, ROWS, CONDITIONS, keys)
    assert np.isfinite(np.asarray(expected.mass) + np.asarray(expected.density)).all()
    for junk in (np.nan, -1e30, 7.0):
        rows = ROWS.copy()
        rows[1, 3] = rows[3, 3] = rows[2, 5] = rows[3, 5] = junk
        got = parts(mixed, rows, CONDITIONS, keys)
        np.testing.assert_array_equal(got.mass, expected.mass)
        np.testing.assert_array_equal(got.density, expected.density)
    rows = ROWS.copy()
    rows[0, 3] = np.nan  # one that is there
    got = parts(mixed, rows, CONDITIONS, keys)
    assert np.isnan(got.density[0])
    np.testing.assert_array_equal(got.density[1:], expected.density[1:])


# --- the whole ---------------------------------------------------------------------------------------------------


def test_rows_are_their_own(mixed) -> None:
    keys = jax.random.split(KEY, 4)
    expected = parts(mixed, ROWS, CONDITIONS, keys)
    order = np.array([2, 0, 3, 1])
    got = parts(mixed, ROWS[order], CONDITIONS[order], keys[order])
    np.testing.assert_allclose(got.density, expected.density[order], rtol=1e-12)
    np.testing.assert_allclose(got.mass, expected.mass[order], rtol=1e-12)
    other = parts(mixed, ROWS, CONDITIONS[[1, 2, 0, 1]], keys)
    assert np.abs(np.asarray(other.mass - expected.mass)).min() > 0, "the condition reaches the states"
    assert np.abs(np.asarray(other.density - expected.density)).min() > 0, "and the values"
    log_prob = mixed.log_prob(ROWS, CONDITIONS, key=KEY)
    assert log_prob.shape == (4,)
    with pytest.raises(ValueError, match="key"):
        mixed.log_prob(ROWS, CONDITIONS)


def test_outside_the_bounds(mixed) -> None:
    rows = np.repeat(ROWS[:1], 4, axis=0)
    rows[:, 4] = [-0.5, 10.5, 5.0, 5.0]
    rows[2, 5] = -0.01
    rows[3, 0] = 3  # a state that there is not
    got = parts(mixed, rows, CONDITIONS, jax.random.split(KEY, 4))
    np.testing.assert_array_equal(got.density[:3], -np.inf)
    assert got.mass[3] == -np.inf


def test_samples_lie_on_steps_and_within_bounds(mixed) -> None:
    x, log_prob = mixed.sample_and_log_prob(KEY, 300, CONDITIONS[0])
    x = np.asarray(x)
    assert np.isfinite(log_prob).all()
    assert set(x[:, 0]) == {0, 1, 2}
    share = x[:, 4]
    np.testing.assert_allclose(share / 0.5, np.rint(share / 0.5), atol=1e-9)
    assert share.min() >= 0
    assert share.max() <= 10.0
    assert (x[:, 5] >= 0).all()
    assert (x[x[:, 1] == 1, 3] == 0).all()
    assert (x[x[:, 2] == 1, 5] == 0).all()
    # The product of matrices of another shape may round differently.
    np.testing.assert_allclose(mixed.sample(KEY, 7, CONDITIONS[0]), x[:7], rtol=1e-12)
    np.testing.assert_allclose(x[:, 6] / 0.001, np.rint(x[:, 6] / 0.001), atol=1e-6)


def test_standard_units_change_no_probability(mixed) -> None:
    keys = jax.random.split(KEY, 4)
    assert isinstance(mixed.given, Cells)
    standard = mixed.standardised()
    got = parts(standard, mixed.standardise(ROWS), mixed.given.standardise(CONDITIONS), keys)
    expected = parts(mixed, ROWS, CONDITIONS, keys)
    np.testing.assert_allclose(got.density, expected.density, rtol=1e-9)
    np.testing.assert_allclose(got.mass, expected.mass, rtol=1e-9)
    assert eqx.tree_equal(standard.in_units_of(mixed), mixed)


def test_the_mass_of_a_whole_number_is_the_same_in_standard_units() -> None:
    """It was off by the logarithm of the scale, so that the log of a fit and its verdict were 13 nats apart."""
    table, _ = counted(2.0)
    rows, keys = np.array([[2.0], [6.0], [40.0]]), jax.random.split(KEY, 3)
    expected = parts(table, rows, None, keys).density
    got = parts(table.standardised(), table.standardise(rows), None, keys).density
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_parts_that_do_not_fit() -> None:
    units = ColumnUnits([Unit()])
    with pytest.raises(ValueError, match="values throughout"):
        TableDistribution(None, None, units, state_of_value=[-1])
    flow = pf.flows.nsf(
        KEY, dim=1, condition_dim=2, n_layers=1, width=4, bins=4, linear="reverse", autoregressive=False
    )
    masses = AutoregressiveCategorical(KEY, (2, 3), width=4)
    with pytest.raises(ValueError, match="key"):
        TableDistribution(
            masses, flow, units, steps=[0], bounds=[[0, 1]], counted=[False], state_of_value=[-1], embed=2
        )
    with pytest.raises(ValueError, match="always there"):
        TableDistribution(masses, flow, units, steps=[0], bounds=[[0, 1]], counted=[False], state_of_value=[0])
    margins = ConditionalMargins(KEY, [Place("line")], bins=4, width=4)
    with pytest.raises(ValueError, match="places of margins"):
        TableDistribution(None, None, None, margins=margins, state_of_value=[-1])
