"""Denoising score matching: its minimum in closed form, one loss for all predictions, weights and times."""

from __future__ import annotations

import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Chain, Continuous, Standardize
from pushforward.dynamics import NetworkField, PredictionField
from pushforward.nets import TimeMLP
from pushforward.objectives import (
    DenoisingScoreMatching,
    FlowMatching,
    ImportanceTimes,
    LevelTimes,
    LikelihoodWeighting,
    LogitNormalTimes,
    UniformTimes,
)
from pushforward.objectives.drawn_times import stratified
from pushforward.paths import (
    LinearPath,
    SubVariancePreservingPath,
    TrigonometricPath,
    VarianceExplodingPath,
    VariancePreservingPath,
    convert,
)

KEY = jax.random.key(3)
VP, VE = VariancePreservingPath(0.1, 8.0), VarianceExplodingPath(0.05, 5.0)
# Weights, means and standard deviations of the data.
NORMAL = (np.array([1.0]), np.array([0.7]), np.array([0.5]))
MIXTURE = (np.array([0.3, 0.7]), np.array([-1.5, 1.0]), np.array([0.3, 0.6]))


def draw(data: tuple, n: int) -> Array:
    weights, means, deviations = data
    rng = np.random.default_rng(0)
    which = rng.choice(len(weights), n, p=weights)
    return jnp.asarray(rng.normal(means[which], deviations[which])[:, None])


class Known(eqx.Module):
    r"""$-\sigma \nabla \log p_t$ of a mixture of normals with noise, plus $c \cdot (1, x, x^2)$; as what is wanted.

    The broken twin `noised=False` takes the score of the data as they are, only scaled.
    """

    offsets: Array
    data: tuple = eqx.field(static=True)
    path: Any = eqx.field(static=True)
    wants: Any = eqx.field(static=True, default="noise")
    noised: bool = eqx.field(static=True, default=True)
    dim: int = eqx.field(static=True, default=1)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)
        x = x * jnp.sqrt(c.alpha**2 + c.sigma**2)  # as it was before the field scaled it
        weights, means, deviations = self.data

        def log_density(x: Array, alpha: Array, sigma: Array) -> Array:
            variance = (alpha * deviations) ** 2 + (sigma**2 if self.noised else 0)
            return jax.nn.logsumexp(-0.5 * (x - alpha * means) ** 2 / variance - 0.5 * jnp.log(variance), b=weights)

        alpha, sigma = jnp.broadcast_to(c.alpha, x[0].shape), jnp.broadcast_to(c.sigma, x[0].shape)
        noise = -sigma * jax.vmap(jax.grad(log_density))(x[0], alpha, sigma)[None]
        noise = noise + self.offsets[0] + self.offsets[1] * x + self.offsets[2] * x**2
        return convert(self.path, t, x, noise, "noise", self.wants)


def flow_of(net: Any, path: Any, predicts: Any = "noise") -> pf.Flow:
    return pf.Flow(pf.StandardNormal((net.dim,)), Continuous(PredictionField(net, path, predicts)))


@pytest.mark.parametrize(
    ("data", "path", "times"),
    [
        (NORMAL, VE, LevelTimes.of_noise(VE, [0.4])),
        (MIXTURE, VE, LevelTimes.of_noise(VE, [0.4])),
        (MIXTURE, VE, LevelTimes(5)),
        (MIXTURE, VP, UniformTimes()),
    ],
    ids=["normal, one level", "mixture, one level", "levels", "all times"],
)
def test_the_minimum_is_the_score_of_the_data_with_noise(data: tuple, path: Any, times: Any) -> None:
    """The slope of the loss in the directions 1, x, x^2 is 0 within four standard errors; not so for the twin."""
    n = 20_000
    x, objective = draw(data, n), DenoisingScoreMatching(times=times)

    def slopes(noised: bool) -> np.ndarray:
        def rows(offsets: Array) -> Array:
            flow = flow_of(Known(offsets, _Hashable(data), path, "noise", noised), path)
            return objective.per_row(flow, x, None, KEY)

        each = np.asarray(jax.jacfwd(rows)(jnp.zeros(3)))
        return np.abs(each.mean(axis=0)) / (each.std(axis=0) / math.sqrt(n))

    assert np.all(slopes(True) < 4)
    assert np.any(slopes(False) > 8)


class _Hashable(tuple):
    """A static field of arrays, told apart by identity."""

    __slots__ = ()

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize(
    "path",
    [
        VP,
        LinearPath(),
        pytest.param(VE, marks=pytest.mark.thorough),
        pytest.param(TrigonometricPath(), marks=pytest.mark.thorough),
    ],
    ids=lambda path: type(path).__name__,
)
def test_every_prediction_has_the_same_loss(path: Any) -> None:
    """Row by row; the errors in the predictions' own terms (flow matching) are not the same."""
    x, data, offsets = draw(MIXTURE, 50), _Hashable(MIXTURE), jnp.array([0.2, -0.3, 0.1])
    for weighting in (None, LikelihoodWeighting()):
        objective = DenoisingScoreMatching(weighting, LogitNormalTimes())
        kinds: tuple[Any, ...] = ("noise", "score", "data", "velocity")
        nets = {kind: flow_of(Known(offsets, data, path, kind), path, kind) for kind in kinds}
        noise, *others = (np.asarray(objective.per_row(flow, x, None, KEY)) for flow in nets.values())
        for other in others:
            np.testing.assert_allclose(other, noise, rtol=1e-9)
    own = [np.asarray(FlowMatching().per_row(nets[kind], x, None, KEY)) for kind in ("noise", "data", "velocity")]
    assert not np.allclose(own[0], own[1], rtol=0.1)
    assert not np.allclose(own[0], own[2], rtol=0.1)


@pytest.mark.parametrize(
    "path",
    [VP, pytest.param(SubVariancePreservingPath(), marks=pytest.mark.thorough), VE],
    ids=lambda path: type(path).__name__,
)
def test_importance_has_the_mean_of_the_likelihoods_weights_and_less_variance(path: Any) -> None:
    """The same to within four standard errors, but for the known factor; the twin counts the weights twice."""
    n = 50_000
    net = TimeMLP(KEY, 2, width=8)
    flow = flow_of(jax.tree.map(lambda leaf: leaf + 0.05 if eqx.is_inexact_array(leaf) else leaf, net), path)
    x = jnp.asarray(np.random.default_rng(0).normal(0.5, 0.7, (n, 2)))
    times = ImportanceTimes(path)

    def rows(objective: Any) -> np.ndarray:
        return np.asarray(objective.per_row(flow, x, None, KEY))

    weighted = rows(DenoisingScoreMatching(LikelihoodWeighting()))
    drawn = times.mean_weight * rows(DenoisingScoreMatching(times=times))
    error = math.sqrt((weighted.var() + drawn.var()) / n)
    assert abs(weighted.mean() - drawn.mean()) < 4 * error
    if path is VE:  # whose weights are all the same: then there is nothing to gain
        np.testing.assert_allclose(drawn, weighted, rtol=1e-5)
        return
    assert drawn.var() < 0.5 * weighted.var()
    twice = rows(DenoisingScoreMatching(LikelihoodWeighting(), times))
    assert abs(weighted.mean() - twice.mean()) > 4 * math.sqrt((weighted.var() + twice.var()) / n)


def test_importance_inverts_the_cumulative_of_the_vp_diffusion() -> None:
    r"""In closed form: with $B(s) = \int \beta$, the integral of $\beta/\sigma^2$ is $\log(e^{B(s)} - 1)$."""
    low, high = 0.1, 20.0
    path = VariancePreservingPath(low, high)
    uniform = np.linspace(0, 1, 301)
    ends = [np.log(np.expm1(0.5 * s**2 * (high - low) + s * low)) for s in (1.0, 1 - path.end)]
    wanted = np.log1p(np.exp(ends[0] + uniform * (ends[1] - ends[0])))  # B at these times
    s = (-low + np.sqrt(low**2 + 2 * (high - low) * wanted)) / (high - low)
    t = path.end * np.asarray(ImportanceTimes(path)(jnp.asarray(uniform)))
    np.testing.assert_allclose(1 - t, s, rtol=1e-4)
    assert not np.allclose(1 - path.end * uniform, s, rtol=0.1)  # the twin: uniform times


@pytest.mark.parametrize(
    "path", [SubVariancePreservingPath(), LinearPath(), TrigonometricPath()], ids=lambda path: type(path).__name__
)
def test_importance_inverts_the_integral_of_its_density(path: Any) -> None:
    """By quadrature, for any path; where data or noise vanish at an end, a thousandth part is left out."""
    times = ImportanceTimes(path)
    uniform = np.array([0.0, 0.05, 0.3, 0.6, 0.9, 0.99, 1.0])
    t = path.start + (path.end - path.start) * np.asarray(times(jnp.asarray(uniform)))

    density = jax.jit(lambda t: path.diffusion_squared(t) / path.sigma(t) ** 2)
    parts = [
        quad(lambda t: float(density(t)), *ends, epsabs=1e-9, epsrel=1e-8, limit=200)[0]
        for ends in itertools.pairwise(t)
    ]
    np.testing.assert_allclose(np.cumsum(parts) / np.sum(parts), uniform[1:], atol=1e-5)
    assert times.mean_weight == pytest.approx(np.sum(parts) / (path.end - path.start), rel=1e-6)
    cut = 1 - path.end if path.end < 1 else 1e-3
    np.testing.assert_allclose([t[0], 1 - t[-1]], [0.0 if path.end < 1 else 1e-3, cut], atol=1e-9)


def test_levels() -> None:
    """Geometric on a VE path, each as often as the others in a batch."""
    t = np.asarray(LevelTimes(10)(stratified(KEY, 40, jnp.float64)))
    sigmas, counts = np.unique(np.asarray(VE.sigma(jnp.asarray(t))), return_counts=True)
    np.testing.assert_allclose(sigmas, np.geomspace(0.05, 5.0, 10))
    assert counts.tolist() == [4] * 10
    assert LevelTimes(1).levels == (1.0,)
    given = np.geomspace(0.1, 0.9, 4)
    levels = jnp.asarray(LevelTimes.of_noise(VP, given).levels)
    np.testing.assert_allclose(VP.sigma(VP.end * levels), given, rtol=1e-9)
    # Numbers that were rounded to float32 are still the ends of the path.
    assert LevelTimes.of_noise(VE, np.array([5.0, 0.05], np.float32)).levels == pytest.approx((0.0, 1.0), abs=1e-6)


@pytest.mark.parametrize("n", [1, 3])
def test_stratified_numbers_are_uniform_together(n: int) -> None:
    """Their mean square is a third over many keys; the twin, with gaps between the strata, fails."""
    keys = jax.random.split(KEY, 20_000)

    def check(numbers: Array) -> bool:
        each = np.mean(np.asarray(numbers) ** 2, axis=1)
        return bool(abs(each.mean() - 1 / 3) < 4 * each.std() / math.sqrt(len(each)))

    assert check(jax.vmap(lambda key: stratified(key, n, jnp.float64))(keys))
    start = jax.vmap(lambda key: jax.random.uniform(key))(keys)[:, None]
    assert not check((jnp.arange(n) + 0.5 * (1 + start)) / (n + 1))


def test_units_after_the_field_and_conditions_count() -> None:
    """A fixed bijection adds its log-determinant; a conditional field is given its condition."""
    x = np.random.default_rng(0).normal(5.0, 3.0, (6, 2))
    condition = np.linspace(-1, 1, 6)[:, None]
    net = TimeMLP(KEY, 2, width=8, cond_shape=(1,))
    net = jax.tree.map(lambda leaf: leaf + 0.1 if eqx.is_inexact_array(leaf) else leaf, net)
    units = Standardize.fit(x)
    plain = flow_of(net, VP)
    inside = pf.Flow(plain.base, Chain([plain.bijection, units]))
    objective = DenoisingScoreMatching()
    rows = jax.vmap(units.inverse_and_log_det)(jnp.asarray(x))
    expected = objective.per_row(plain, rows[0], condition, KEY) - rows[1]
    np.testing.assert_allclose(objective.per_row(inside, x, condition, KEY), expected, rtol=1e-9)
    assert np.abs(rows[1]).min() > 1
    other = objective.per_row(plain, rows[0], -condition, KEY)
    assert not np.allclose(other, objective.per_row(plain, rows[0], condition, KEY))


@pytest.mark.thorough
def test_fit_ends_with_a_density() -> None:
    """A diffusion trained at times by importance has the log-density of its normal data, by its own equation."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 2)) @ [[2.0, 0.0], [1.5, 0.5]] + [10.0, -1.0]
    path = VariancePreservingPath()
    flow = flow_of(TimeMLP(KEY, 2, width=32, n_frequencies=1), path)
    result = pf.fit(
        flow,
        x,
        key=KEY,
        objective=DenoisingScoreMatching(times=ImportanceTimes(path)),
        max_epochs=60,
        progress=False,
        options=pf.training.Preprocess(pf.Standardize.fit(x)),
    )
    truth = -1 - np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(np.cov(x.T))[1]
    assert result.verdict.held_out_nats == pytest.approx(truth, abs=0.2)


def test_refusals() -> None:
    x, objective = jnp.zeros((4, 2)), DenoisingScoreMatching()
    net = TimeMLP(KEY, 2, width=4)
    with pytest.raises(TypeError, match="one Continuous"):
        objective(pf.flows.realnvp(KEY, dim=2, linear="reverse"), x, None, None, KEY)
    with pytest.raises(TypeError, match="PredictionField"):
        objective(pf.Flow(pf.StandardNormal((2,)), Continuous(NetworkField(net))), x, None, None, KEY)
    with pytest.raises(TypeError, match="JAX key"):
        objective(flow_of(net, VP), x)
    with pytest.raises(ValueError, match="times for"):
        DenoisingScoreMatching(times=ImportanceTimes(VE))(flow_of(net, VP), x, None, None, KEY)
    with pytest.raises(ValueError, match="within"):
        LevelTimes([0.5, 1.5])
    with pytest.raises(ValueError, match="sigmas within"):
        LevelTimes.of_noise(VE, [6.0])
    with pytest.raises(ValueError, match="levels"):
        LevelTimes(0)
