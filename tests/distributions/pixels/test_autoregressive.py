"""Images of levels: masses that sum to one, causality, samples, completions and float32."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from distributions.pixels.models import NAMES, averaged, make
from marks import thorough
from pushforward.distributions.pixels import AutoregressivePixels, CategoricalLevels, LogisticLevels

SMALL = (1, 2, 2)
EVERY = np.array(list(itertools.product(range(4), repeat=4)), float).reshape(-1, *SMALL)
WIDE = (2, 3, 3)


@pytest.fixture(scope="module", params=NAMES)
def small(request):
    """The model on images of 2 x 2 pixels with 4 levels, and the log-masses of all 256 of them."""
    model = make(request.param, SMALL, 4)
    return model, np.asarray(model.log_prob(EVERY))


def test_masses_sum_to_one(small):
    _, log_prob = small
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-12)
    assert np.ptp(log_prob) > 1, "the masses differ"


def test_masses_of_averaged_orders_sum_to_one():
    model = averaged(SMALL, 4)
    scored = pf.distributions.evaluation_form(model)
    assert model.needs_key
    assert not scored.needs_key
    each = np.stack([model.in_order(k).log_prob(EVERY) for k in range(3)])
    assert np.allclose(np.exp(each).sum(axis=1), 1.0, atol=1e-12)
    log_prob = np.asarray(scored.log_prob(EVERY))
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-12)
    assert np.allclose(np.exp(log_prob), np.exp(each).mean(axis=0), atol=1e-14)
    # A log-mass in training is that in one of the orders, for all rows of a call.
    bound = np.asarray(model.log_prob(EVERY, key=jax.random.key(5)))
    assert min(np.abs(bound - row).max() for row in each) < 1e-12
    assert np.all(each.mean(axis=0) <= log_prob + 1e-12)


def leaks(model: AutoregressivePixels, shift: int = 0) -> np.ndarray:
    """How far each step's parameters depend on each step: `(steps, steps)`.

    With `shift=1` the parameters of a step are those of the next one, as with a mask that is off by one.
    """
    net = model.net
    rng = np.random.default_rng(0)
    at = rng.uniform(-1, 1, (net.n_steps, 1))
    condition = None if net.cond_shape is None else jnp.asarray([[0.0], [1.0]])

    @eqx.filter_jit
    def jacobian(net, at):
        return jax.jacrev(lambda x: jnp.tensordot(weights, net(x, condition)[..., 0], 1))(at)

    weights = jnp.asarray(rng.standard_normal(net.n_params))
    return np.roll(np.abs(np.asarray(jacobian(net, at)))[..., 0], -shift, axis=0)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_sees_itself_or_a_later_one(name):
    model = make(name, WIDE, 3, n_classes=2)
    seen = leaks(model)
    assert np.abs(np.triu(seen)).max() == 0
    assert np.abs(np.triu(np.roll(seen, -1, axis=0))).max() > 1e-3, "the twin, a mask that is off by one, leaks"
    below = seen[np.tril_indices(len(seen), -1)]
    # The row LSTM's triangle leaves out what lies far to the side in the rows above, and two channels see alike.
    assert (below > 1e-9).mean() > (0.8 if name == "row_lstm" else 0.999)


@pytest.mark.parametrize("name", NAMES)
def test_steps_one_after_the_other_give_the_masses_of_one_pass(name):
    model = make(name, WIDE, 3, n_classes=2)
    condition = np.eye(2)[[0, 1, 1]]
    x, log_prob = model.sample_and_log_prob(jax.random.key(0), (), condition)
    assert np.abs(log_prob - model.log_prob(x, condition)).max() < 1e-12
    assert np.array_equal(x, np.round(x))
    assert x.min() >= 0
    assert x.max() <= 2
    each = model.log_prob_map(x, condition)
    assert each.shape == x.shape
    assert np.allclose(each.sum(axis=(1, 2, 3)), log_prob)
    flipped = model.log_prob(x, 1 - condition)
    assert np.abs(flipped - log_prob).max() > 1e-2, "the class matters"


@pytest.mark.parametrize("name", [NAMES[0], *thorough(*NAMES[1:])])
def test_samples_have_the_masses(name):
    model = make(name, SMALL, 4)
    x = np.asarray(model.sample(jax.random.key(1), 20_000)).reshape(-1, 4)
    counts = np.bincount((x @ [64, 16, 4, 1]).astype(int), minlength=256)
    expected = np.exp(model.log_prob(EVERY)) * len(x)

    def p_value(expected: np.ndarray) -> float:
        # Rare images are counted together with the rarest of the others.
        cell = np.where(expected > 5, np.arange(256), np.argmin(np.where(expected > 5, expected, np.inf)))
        seen, due = (np.bincount(cell, weights, 256) for weights in (counts, expected))
        return stats.chisquare(seen[due > 0], due[due > 0] * seen.sum() / due.sum()).pvalue

    assert p_value(expected) > 1e-3
    twin = expected.reshape(4, 4, 4, 4).transpose(1, 0, 2, 3).ravel()
    assert p_value(twin) < 1e-6, "the twin: two pixels exchanged"


@pytest.mark.parametrize("name", ["pixelcnn", *thorough("made", "row_lstm")])
def test_a_completion_is_drawn_from_the_conditional(name):
    model = make(name, SMALL, 4)
    first = np.asarray(model.order)[:2]
    known = np.isin(np.arange(4), first).reshape(SMALL)
    x = np.full(SMALL, 3.0)
    x.ravel()[first] = [2, 1]
    out = np.asarray(model.complete(jax.random.key(2), np.broadcast_to(x, (20_000, *SMALL)), known)).reshape(-1, 4)
    assert np.all(out[:, first] == [2, 1])
    flat = EVERY.reshape(-1, 4)
    match = np.all(flat[:, first] == [2, 1], axis=1)
    mass = np.exp(model.log_prob(EVERY))[match]
    code = [64, 16, 4, 1]
    counts = np.bincount((out @ code).astype(int), minlength=256)[(flat[match] @ code).astype(int)]
    assert counts.sum() == len(out)
    assert stats.chisquare(counts, mass / mass.sum() * counts.sum()).pvalue > 1e-3
    assert stats.chisquare(counts, np.roll(mass, 1) / mass.sum() * counts.sum()).pvalue < 1e-6
    with pytest.raises(ValueError, match="first in the model's order"):
        model.complete(jax.random.key(2), x, ~known)
    with pytest.raises(ValueError, match="levels"):
        model.complete(jax.random.key(2), x + 0.5, known)


def test_what_is_no_level_has_no_mass():
    model = make("made", SMALL, 4)
    x = np.zeros((5, *SMALL))
    x[1, 0, 0, 0], x[2, 0, 1, 1], x[3, 0, 0, 1], x[4, 0, 1, 0] = 0.5, 4, -1, np.nan
    log_prob = np.asarray(model.log_prob(x))
    assert np.isfinite(log_prob[0])
    assert np.all(log_prob[1:4] == -np.inf)
    assert np.isnan(log_prob[4])


def test_orders_and_networks_that_do_not_fit_are_refused():
    model = make("made", SMALL, 4)
    with pytest.raises(ValueError, match="permutation"):
        AutoregressivePixels(model.net, model.law, SMALL, [0, 1, 2, 2])
    with pytest.raises(ValueError, match="4 steps and 1 parameters"):
        AutoregressivePixels(model.net, CategoricalLevels(2), SMALL, np.arange(4))


@pytest.mark.parametrize("n_levels", [2, 5, 256])
def test_logistic_masses_sum_to_one(n_levels):
    law = LogisticLevels(n_levels, 4)
    params = 30 * np.random.default_rng(0).standard_normal((law.n_params, 50))
    params[:, :10] *= 1e3
    log_masses = np.asarray(law.log_masses(jnp.asarray(params)))
    assert np.allclose(np.exp(log_masses).sum(axis=0), 1.0, atol=1e-12)
    x = np.arange(50) % n_levels
    assert np.allclose(law.log_mass(jnp.asarray(params), jnp.asarray(x, float)), log_masses[x, np.arange(50)])
    # An outer cell holds the whole tail: without it, the twin, the masses fall short of 1.
    inner = np.exp(log_masses[1:-1]).sum(axis=0)
    assert inner.min() < 0.9


@pytest.mark.float32
@pytest.mark.parametrize("law", [LogisticLevels(256, 3), CategoricalLevels(256), CategoricalLevels(2)])
def test_masses_are_finite_in_float32_at_extreme_parameters(law):
    rng = np.random.default_rng(0)
    params = jnp.asarray(10.0 ** rng.uniform(-3, 6, (law.n_params, 64)) * rng.choice([-1, 1], (law.n_params, 64)))
    assert params.dtype == jnp.float32
    x = jnp.asarray(rng.integers(0, law.n_levels, 64), jnp.float32)
    value, gradient = jax.value_and_grad(lambda p: law.log_mass(p, x).sum())(params)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.allclose(jnp.exp(law.log_masses(params)).sum(axis=0), 1.0, atol=1e-5)
