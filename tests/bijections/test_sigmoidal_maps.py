"""Maps made of sigmoids and mixtures against their formulas, in their tails, and at the edge of what is monotone."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import (
    DenseSigmoidalMap,
    GaussianMixtureMap,
    LogisticMixtureMap,
    PerturbationMap,
    SigmoidalMap,
)
from pushforward.bijections.scalar_maps import inversion
from pushforward.numerics.sigmoid_mixture import MIN_SLOPE, logit_of_mixture

MAPS: dict[str, pf.AbstractScalarMap] = {
    "perturbation": PerturbationMap(),
    "sigmoidal": SigmoidalMap(3, depth=2),
    "conic": SigmoidalMap(3, conic=True),
    "dense": DenseSigmoidalMap((3, 2)),
    "logistic": LogisticMixtureMap(3),
    "normal": GaussianMixtureMap(3),
}
X = np.concatenate([np.linspace(-6, 6, 49), [-30.0, 30.0]])


@eqx.filter_jit
def forward(scalar_map: pf.AbstractScalarMap, x: Any, params: Any) -> tuple[Array, Array]:
    return scalar_map.forward_and_log_det(jnp.asarray(x), jnp.asarray(params))


def parameters(scalar_map: pf.AbstractScalarMap, seed: int, n: int = len(X), spread: float = 1.0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal((scalar_map.n_params, n))


def clamped(raw: np.ndarray) -> np.ndarray:
    return raw / (1 + np.abs(raw) / 5)


def floored(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (1 - MIN_SLOPE) * y + MIN_SLOPE * x


def logit_sum(c: np.ndarray, weight: np.ndarray) -> np.ndarray:
    upper = np.asarray(special.logsumexp(stats.logistic.logcdf(c), b=weight, axis=0))
    return upper - np.asarray(special.logsumexp(stats.logistic.logsf(c), b=weight, axis=0))


def deep(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    for own in params.reshape(2, 3, 3, -1):
        x = floored(x, logit_sum(np.exp(clamped(own[0])) * x + own[1], special.softmax(own[2], axis=0)))
    return x


def conic(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    log_rate, shift, upper, lower = params.reshape(4, 3, -1)
    c = np.exp(clamped(log_rate)) * x + shift
    y = np.log((np.exp(upper) * special.expit(c)).sum(0)) - np.log((np.exp(lower) * special.expit(-c)).sum(0))
    return floored(x, y)


def dense(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    first = np.exp(clamped(params[:3])) * x + params[3:6]
    h = np.stack([logit_sum(first, weight) for weight in special.softmax(params[6:15].reshape(3, 3, -1), axis=1)])
    mix = special.softmax(params[15:21].reshape(2, 3, -1), axis=1)
    second = np.exp(clamped(params[21:23])) * (mix * h).sum(1) + params[23:25]
    return floored(x, logit_sum(second, special.softmax(params[25:], axis=0)))


def logistic(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    c = (x - params[:3]) / np.exp(clamped(params[3:6]))
    y = floored(x, logit_sum(c, special.softmax(params[6:9], axis=0)))
    return np.exp(np.tanh(params[9])) * y + params[10]


def normal(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Only where the probability is a float: in the tails see below."""
    c = (x - params[:3]) / np.exp(clamped(params[3:6]))
    weight = special.softmax(params[6:], axis=0)
    below, above = (weight * stats.norm.cdf(c)).sum(0), (weight * stats.norm.sf(c)).sum(0)
    return floored(x, np.where(below < above, stats.norm.ppf(below), stats.norm.isf(above)))


def perturbation(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    a, d = np.exp(clamped(params[0])), np.exp(clamped(params[3]))
    share = (1 - MIN_SLOPE) * params[2] / (1 + np.abs(params[2]))
    return a * x + params[1] + share * a / d * 8 * np.sqrt(3) / 9 / (1 + (d * x + params[4]) ** 2)


FORMULAS = {
    "perturbation": perturbation,
    "sigmoidal": deep,
    "conic": conic,
    "dense": dense,
    "logistic": logistic,
    "normal": normal,
}


@pytest.mark.parametrize("name", MAPS)
def test_formula(name: str) -> None:
    params = parameters(MAPS[name], 1)
    y = np.asarray(forward(MAPS[name], X, params)[0])
    expected = FORMULAS[name](X, params)
    known = np.isfinite(expected)
    assert known.sum() >= len(X) - 2
    np.testing.assert_allclose(y[known], expected[known], rtol=1e-11, atol=1e-11)
    assert not np.allclose(FORMULAS[name](X, params + 0.1), y, rtol=1e-3)


@pytest.mark.parametrize("name", MAPS)
def test_parameters_of_zero_give_the_identity(name: str) -> None:
    x = np.concatenate([X[5:], [0.0, 1e3, -1e3, 1e30, -1e30]])
    y, log_slope = forward(MAPS[name], x, np.zeros((MAPS[name].n_params, len(x))))
    np.testing.assert_allclose(y, x, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(log_slope, 0, atol=1e-12)


# The conic map has the arithmetic of the other sigmoidal one, and is not composed.
@pytest.mark.float32
@pytest.mark.parametrize("name", [name for name in MAPS if name != "sigmoidal"])
def test_wild_parameters_far_inputs_and_back(name: str) -> None:
    """In float32, from -1e30 to 1e30: finite, never flatter than the floor, and back to within rounding."""
    scalar_map = MAPS[name]
    inputs = np.repeat(np.array([0.0, 1.0, -3.0, 50.0, -1e3, 1e6, -1e30, 1e30], np.float32), 64)
    params = parameters(scalar_map, 2, len(inputs), 3.0).astype(np.float32)

    @jax.jit
    def tour(x: Array, params: Array) -> tuple[Array, ...]:
        y, log_slope = scalar_map.forward_and_log_det(x, params)
        back, back_log_slope = scalar_map.inverse_and_log_det(y, params)
        return y, log_slope, back, back_log_slope, scalar_map.forward_and_log_det(back, params)[0]

    arrays = [np.asarray(a, np.float64) for a in tour(inputs, params)]
    assert all(np.all(np.isfinite(a)) for a in arrays)
    y, log_slope, _, back_log_slope, again = arrays
    # Rounding x moves y by the slope times that, which between two sigmoids may be the steeper of the two.
    steep = np.exp(np.maximum(log_slope, -back_log_slope))
    eps = np.finfo(np.float32).eps
    assert np.mean(np.abs(again - y) > 100 * eps * (1 + np.abs(y) + steep * np.abs(inputs))) <= 0.01
    assert np.max(np.abs(again - y) / (1 + np.abs(y))) < 1e-2
    floors = {"perturbation": np.exp(clamped(params[0])) * MIN_SLOPE, "logistic": np.exp(-1) * MIN_SLOPE}
    floor = floors.get(name, MIN_SLOPE)
    assert np.all(log_slope >= np.log(floor) - 1e-4)
    assert all(np.all(np.isnan(a)) for a in tour(np.full_like(inputs, np.nan), params))


def test_tails_of_normal_mixtures_do_not_saturate() -> None:
    """Against logarithms of probabilities down to e^-45000, where no float is; beyond, against the widest component."""
    params = np.array([-1.0, 2.0, 0.5, *np.log([0.5, 1.0, 2.0]), 0.0, 1.0, -3.0])
    params[3:6] /= 1 - np.abs(params[3:6]) / 5  # the inverse of the soft clamp
    weight = special.softmax(params[6:])
    x = np.array([-300.0, -40.0, -8.0, 8.0, 40.0, 300.0, -1e30, 1e30])
    y, log_slope = forward(GaussianMixtureMap(3), x, params[:, None] + 0 * x)
    plain = (np.asarray(y) - MIN_SLOPE * x) / (1 - MIN_SLOPE)
    c = (x - params[:3, None]) / np.array([0.5, 1.0, 2.0])[:, None]
    side = -np.sign(x)  # to the lower tail on either side
    expected = special.logsumexp(stats.norm.logcdf(side * c)[:, :6], b=weight[:, None], axis=0)
    np.testing.assert_allclose(stats.norm.logcdf(-np.abs(plain[:6])), np.asarray(expected), rtol=1e-12)
    np.testing.assert_allclose(plain[6:], x[6:] / 2, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(log_slope)[6:], np.log((1 - MIN_SLOPE) / 2 + MIN_SLOPE), rtol=1e-12)
    with np.errstate(all="ignore"):  # the broken twin: by probabilities
        assert np.isinf(stats.norm.ppf((weight[:, None] * stats.norm.cdf(c)).sum(0))).sum() >= 3


def test_plateaus_have_a_floor() -> None:
    """Between components a million apart the mixture is flat in every float; the broken twin has no floor."""
    params = jnp.array([-1e6, 1e6, 0.0, 0.0, 0.0, 0.0])[:, None]
    scalar_map = GaussianMixtureMap(2)
    y, log_slope = forward(scalar_map, [3.0], params)
    np.testing.assert_allclose(log_slope, np.log(MIN_SLOPE), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(scalar_map.inverse_and_log_det)(y, params)[0], 3.0, rtol=1e-9)

    def without_floor(x: Array) -> Array:
        return logit_of_mixture(x - jnp.array([-1e6, 1e6]), jnp.zeros(2), jnp.zeros(2), jnp.zeros(2))[0]

    assert jax.grad(without_floor)(3.0) == 0.0


@pytest.mark.parametrize("share", [1e12, -1e12])
def test_the_perturbation_is_monotone_at_the_edge_of_its_constraint(share: float) -> None:
    x = np.linspace(-4, 4, 200_001)
    params = np.array([0.7, -1.0, share, 1.2, 0.3])
    a, d = np.exp(clamped(params[0])), np.exp(clamped(params[3]))
    y, log_slope = (np.asarray(v) for v in forward(PerturbationMap(), x, params[:, None] + 0 * x))
    assert np.all(np.diff(y) > 0)
    # The flattest point, at (d x + e)^2 = 1/3, has the slope that the floor says.
    np.testing.assert_allclose(np.exp(log_slope.min()), a * MIN_SLOPE, rtol=1e-3)
    flattest = np.sign(share) / np.sqrt(3)
    np.testing.assert_allclose(d * x[np.argmin(log_slope)] + params[4], flattest, atol=1e-3)
    # The broken twin: the same bump one per cent beyond the constraint a > 9 / (8 sqrt 3) |c| d.
    beyond = a * x + np.sign(share) * 1.01 * a / d * 8 * np.sqrt(3) / 9 / (1 + (d * x + params[4]) ** 2)
    assert np.any(np.diff(beyond) < 0)


def test_components_start_apart() -> None:
    scalar_map = GaussianMixtureMap(8)
    x = np.linspace(-5, 5, 101)
    params = np.asarray(scalar_map.spread())[:, None] + 0 * x
    assert np.all(np.diff(params[:8, 0]) > 0.1)
    y, log_slope = forward(scalar_map, x, params)
    np.testing.assert_allclose(y, x, rtol=0.15, atol=0.02)
    assert np.max(np.abs(log_slope)) < 0.25


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PerturbationMap(max_log_scale=0.0), "PerturbationMap: expected max_log_scale > 0"),
        (lambda: SigmoidalMap(0), "SigmoidalMap: expected n_sigmoids an integer >= 1"),
        (lambda: SigmoidalMap(2, depth=0), "SigmoidalMap: expected depth"),
        (lambda: DenseSigmoidalMap(()), "DenseSigmoidalMap: expected 1 to 16 widths"),
        (lambda: DenseSigmoidalMap((2, 0)), "DenseSigmoidalMap: expected widths"),
        (lambda: LogisticMixtureMap(0), "LogisticMixtureMap: expected components"),
        (lambda: GaussianMixtureMap(2, max_log_scale=float("inf")), "GaussianMixtureMap: expected max_log_scale > 0"),
    ],
)
def test_errors(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_blocks_of_rows_change_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond one block are searched block after block; 11 rows leave the last block of 4 filled up."""
    monkeypatch.setattr(inversion, "ROWS", {})
    scalar_map = SigmoidalMap(2)
    params, y = jnp.asarray(parameters(scalar_map, 3, 22)).reshape(-1, 2, 11), jnp.linspace(-3, 3, 22).reshape(2, 11)

    def total(y: Array, params: Array) -> tuple[Array, tuple]:
        x, log_det = inversion.inverse_of_rows(scalar_map, y, params)
        return jnp.sum(jnp.sin(x) + log_det**2), (x, log_det)

    found = {}
    for size in (4, 100):
        monkeypatch.setattr(inversion, "ROWS_ELSEWHERE", size)
        (_, values), slopes = jax.jit(jax.value_and_grad(lambda *a: total(*a), (0, 1), has_aux=True))(y, params)
        found[size] = (values, slopes)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13), found[4], found[100])
