"""What must not change, or must change by a known amount, when the same data come in another form."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.training import fit, in_data_units

KEY = jax.random.key(0)


def rows(n: int = 400, dim: int = 2) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(n, dim))
    x[:, 1] += x[:, 0] ** 2
    return x


def small(dim: int = 2) -> pf.Flow:
    with jax.enable_x64(False):
        return pf.flows.realnvp(jax.random.key(1), dim=dim, n_layers=2, width=16, linear="reverse")


def trained(x: np.ndarray, **arguments) -> pf.training.FitResult:
    return fit(
        small(x.shape[1]),
        x,
        key=KEY,
        progress=False,
        options=pf.training.Preprocess(pf.Standardize.fit(x)),
        **arguments,
    )


@pytest.mark.parametrize(("a", "b"), [([4.0, 0.125], [0.0, 0.0]), ([1e3, 0.37], [1e4, -5.0])])
def test_units_shift_the_log_density_by_the_log_of_the_scale(a, b):
    """For powers of two the standardised rows are equal bit for bit, and so is the whole fit."""
    x, a, b = rows(), np.array(a), np.array(b)
    one, two = trained(x, max_epochs=60), trained(a * x + b, max_epochs=60)
    shift = -np.sum(np.log(np.abs(a)))
    difference = np.asarray(two.flow.log_prob(a * x + b)) - np.asarray(one.flow.log_prob(x))
    exact = not b.any()
    np.testing.assert_allclose(difference, shift, atol=1e-10 if exact else 2e-2)
    moved = two.history["held_out_nats"] - one.history["held_out_nats"]
    np.testing.assert_allclose(moved, shift, atol=1e-9 if exact else 2e-2)
    # The broken twin: without the Jacobian of the units, the difference would be none.
    assert abs(shift) > 0.5


def test_reported_nats_are_in_the_units_of_the_data():
    x = 50 * rows() + 1000
    held_out = x[:100]
    result = fit(
        small(),
        x[100:],
        key=KEY,
        validation=held_out,
        max_epochs=30,
        progress=False,
        options=pf.training.Preprocess(pf.Standardize.fit(x)),
    )
    assert result.verdict.held_out_nats == pytest.approx(float(np.mean(result.flow.log_prob(held_out))), abs=1e-3)
    last = result.history["train_nats"][-1]
    assert last == pytest.approx(float(np.mean(result.flow.log_prob(x[100:]))), abs=0.3)


def test_a_preprocess_that_is_not_linear_counts_row_by_row():
    class Exp(pf.AbstractBijection):
        in_shape: tuple[int, ...] = (2,)
        out_shape: tuple[int, ...] = (2,)
        cond_shape: tuple[int, ...] | None = None
        traits: pf.Traits = pf.Traits()

        def forward_and_log_det(self, x, condition=None, *, key=None):
            return jax.numpy.exp(x), jax.numpy.sum(x)

        def inverse_and_log_det(self, y, condition=None, *, key=None):
            x = jax.numpy.log(y)
            return x, -jax.numpy.sum(x)

    x = np.exp(rows())
    result = fit(
        small(),
        x[100:],
        key=KEY,
        validation=x[:100],
        max_epochs=30,
        progress=False,
        options=pf.training.Preprocess(Exp()),
    )
    nats = np.asarray(result.flow.log_prob(x[:100]))
    assert result.verdict.held_out_nats == pytest.approx(nats.mean(), abs=1e-3)
    assert result.verdict.standard_error == pytest.approx(nats.std() / 10, rel=1e-3)
    with pytest.raises(ValueError, match="outside the range of Exp"):
        fit(small(), -x, key=KEY, progress=False, options=pf.training.Preprocess(Exp()))


def test_whole_batch_fit_with_weights_is_the_fit_with_copies():
    """One batch per epoch: the two fits take the same steps, to rounding, whatever the order of the rows."""
    x, weights = rows(60), np.tile([1.0, 2.0, 3.0], 20)
    arguments = {"validation": None, "max_epochs": 60, "progress": False, "key": KEY}
    arguments |= {"options": pf.training.Steps(batch_size=1000)}
    # In float64, under the tests' setting.
    flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=16, linear="reverse")
    one = fit(flow, x, weights=weights, **arguments).flow
    two = fit(flow, np.repeat(x, weights.astype(int), axis=0), **arguments).flow
    np.testing.assert_allclose(one.log_prob(x), two.log_prob(x), atol=1e-6)
    three = fit(flow, x, **arguments).flow
    assert np.abs(np.asarray(one.log_prob(x)) - np.asarray(three.log_prob(x))).max() > 1e-3


def test_scale_of_the_weights_does_not_matter():
    x, weights = rows(100), np.random.default_rng(1).uniform(0.5, 2, 100)
    arguments = {"key": KEY, "max_epochs": 20, "progress": False}
    one = fit(small(), x, weights=weights, **arguments)
    two = fit(small(), x, weights=1024 * weights, **arguments)
    np.testing.assert_array_equal(one.flow.log_prob(x), two.flow.log_prob(x))


def test_conditions_in_the_units_of_the_data():
    flow = pf.flows.maf(jax.random.key(0), dim=2, condition_dim=1, n_layers=1, width=8, linear="reverse")
    units, condition_units = pf.Standardize([1.0, 2.0], [3.0, 4.0]), pf.Standardize([10.0], [0.5])
    moved = in_data_units(flow, units, condition_units)
    x, c = rows(5), np.linspace(9, 11, 5)[:, None]
    expected = flow.log_prob((x - [1.0, 2.0]) / [3.0, 4.0], (c - 10) / 0.5) - np.log(12.0)
    np.testing.assert_allclose(moved.log_prob(x, c), expected, rtol=1e-12)
    assert len(jax.tree.leaves(pf.trainable(moved)[0])) == len(jax.tree.leaves(pf.trainable(flow)[0]))
