"""Score matching, exact and sliced: closed forms, unbiasedness, and energies without a constant under `fit`."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.dynamics import FixedSteps, NetworkField, langevin
from pushforward.nets import MLP, TimeMLP
from pushforward.numerics.trace_estimators import Hutchinson
from pushforward.objectives import MaximumLikelihood, ScoreMatching, SlicedScoreMatching, UnnormalisedDensity
from pushforward.objectives import is_normalised as normalised
from pushforward.testing import randomise

KEY = jax.random.key(5)


class Quadratic(eqx.Module):
    r"""$-\frac12 x^T P x + h^T x$, less c x_0^4 / 4."""

    precision: Array
    linear: Array
    cubic: float = eqx.field(static=True, default=0.0)

    def __call__(self, x: Array) -> Array:
        symmetric = 0.5 * (self.precision + self.precision.T)
        return -0.5 * x @ symmetric @ x + self.linear @ x - self.cubic * x[0] ** 4 / 4


def grid(mean: np.ndarray, covariance: np.ndarray, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Rows and weights whose weighted mean is an expectation under N(mean, covariance), exact for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    points = np.stack(np.meshgrid(*[nodes] * len(mean), indexing="ij"), axis=-1).reshape(-1, len(mean))
    product = np.stack(np.meshgrid(*[weights] * len(mean), indexing="ij"), axis=-1).reshape(-1, len(mean)).prod(axis=1)
    return mean + points @ np.linalg.cholesky(covariance).T, product


MEAN, COVARIANCE = np.array([0.5, -1.0]), np.array([[1.5, 0.4], [0.4, 0.6]])


class HalfTrace(pf.objectives.AbstractObjective):
    """The broken twin: the trace is halved with the square."""

    in_nats: bool = eqx.field(static=True, default=False)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None) -> Array:
        score = jax.vmap(jax.grad(flow.log_prob))(x)
        whole = ScoreMatching().per_row(flow, x)
        return 0.5 * (whole + 0.5 * jnp.sum(score**2, axis=1))


@pytest.mark.parametrize(("objective", "right"), [(ScoreMatching(), True), (HalfTrace(), False)])
def test_it_is_half_the_fisher_divergence_but_for_a_number_of_the_data(objective: Any, right: bool) -> None:
    """For normal data and normal models, by quadrature: the difference is -E|s_data|^2 / 2 whatever the model."""
    x, weights = grid(MEAN, COVARIANCE)
    true = -np.linalg.solve(COVARIANCE, (x - MEAN).T).T
    own = -0.5 * np.trace(np.linalg.inv(COVARIANCE))
    rng, found = np.random.default_rng(0), []
    for _ in range(4):
        root = rng.standard_normal((2, 2))
        precision, linear = root @ root.T + 0.1 * np.eye(2), rng.standard_normal(2)
        model = UnnormalisedDensity(Quadratic(jnp.asarray(precision), jnp.asarray(linear)), (2,))
        fisher = np.average(np.sum((linear - x @ precision - true) ** 2, axis=1), weights=weights)
        found.append(float(objective(model, x, None, weights)) - 0.5 * fisher)
    assert np.allclose(found, own, atol=1e-9) is right


@pytest.mark.thorough
def test_the_exact_trace_is_that_of_the_hessian() -> None:
    """Of a flow, of an energy with a condition, and of events of two axes."""
    x = jax.random.normal(KEY, (4, 3))
    condition = jax.random.normal(jax.random.key(1), (4, 1))
    net = MLP(KEY, 3, (), width=5, cond_shape=(1,), activation="softplus")
    square = UnnormalisedDensity(lambda x: -jnp.sum(jnp.cosh(x) * x[::-1]), (3, 1))
    flow = pf.flows.maf(KEY, dim=3, n_layers=2, width=6, linear="reverse")
    net, flow = jax.tree.map(lambda leaf: leaf + 0.3 if eqx.is_inexact_array(leaf) else leaf, (net, flow))
    for model, rows, given in (
        (flow, x, None),
        (UnnormalisedDensity(net, (3,), (1,)), x, condition),
        (square, x[..., None], None),
    ):
        chunk = 1 if model is square else 2 if model is flow else 64

        def by_row(x: Array, c: Any, model: Any = model) -> Array:
            size = x.size
            score = jax.grad(model.log_prob)(x, c).reshape(size)
            return 0.5 * score @ score + jnp.trace(jax.hessian(model.log_prob)(x, c).reshape(size, size))

        expected = jax.vmap(by_row, in_axes=(0, None if given is None else 0))(rows, given)
        got = ScoreMatching(chunk).per_row(model, rows, given)
        np.testing.assert_allclose(got, expected, rtol=1e-9)
        assert np.ptp(got) > 1e-3


class Broken(pf.objectives.AbstractObjective):
    """Twins of the sliced loss: projections summed and not averaged, or the projected square without its half."""

    what: str = eqx.field(static=True, default="summed")
    in_nats: bool = eqx.field(static=True, default=False)

    def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None) -> Array:
        score, hessian = jax.vmap(jax.grad(flow.log_prob))(x), jax.vmap(jax.hessian(flow.log_prob))(x)
        v = jax.random.rademacher(key, (3, *x.shape), x.dtype)
        curved = jnp.einsum("pni,nij,pnj->pn", v, hessian, v)
        if self.what == "summed":
            return 0.5 * jnp.sum(score**2, axis=1) + jnp.sum(curved, axis=0)
        return jnp.mean(jnp.einsum("pni,ni->pn", v, score) ** 2 + curved, axis=0)


QUARTIC = UnnormalisedDensity(
    Quadratic(jnp.array([[1.0, 0.7, 0.2], [0.7, 2.0, -0.4], [0.2, -0.4, 0.5]]), jnp.array([0.3, -1.0, 0.5]), 0.5), (3,)
)


def many(objective: Any, n: int = 4000) -> np.ndarray:
    x = jax.random.normal(jax.random.key(2), (2, 3))
    return np.asarray(jax.jit(jax.vmap(lambda key: objective.per_row(QUARTIC, x, None, key)))(jax.random.split(KEY, n)))


@pytest.mark.parametrize(
    ("objective", "right"),
    [
        (SlicedScoreMatching(), True),
        (SlicedScoreMatching(3, noise="gaussian"), True),
        (SlicedScoreMatching(1, variance_reduced=False), True),
        (SlicedScoreMatching(3, variance_reduced=False, noise="gaussian"), True),
        (Broken(what="summed"), False),
        (Broken(what="whole square"), False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else getattr(value, "what", None),
)
def test_sliced_is_unbiased(objective: Any, right: bool) -> None:
    """Within four standard errors of the exact loss in each row, over 4000 keys."""
    exact = np.asarray(ScoreMatching().per_row(QUARTIC, jax.random.normal(jax.random.key(2), (2, 3))))
    drawn = many(objective)
    error = drawn.std(axis=0) / math.sqrt(len(drawn))
    assert error.min() > 0
    assert bool(np.all(np.abs(drawn.mean(axis=0) - exact) < 4 * error)) is right


def test_variance_of_projections() -> None:
    """That of Hutchinson's estimate by hand; signs beat normal noise; three have a third of the variance of one."""
    noises: tuple[tuple[int, Any], ...] = ((1, "rademacher"), (3, "rademacher"), (1, "gaussian"))
    variances = {(n, noise): many(SlicedScoreMatching(n, True, noise)).var(axis=0) for n, noise in noises}
    one = variances[1, "rademacher"]
    # 2 (|H|_F^2 - sum H_ii^2) = 4 (0.7^2 + 0.2^2 + 0.4^2)
    np.testing.assert_allclose(one, 2.76, rtol=0.1)
    np.testing.assert_allclose(variances[3, "rademacher"], one / 3, rtol=0.15)
    assert np.all(one < variances[1, "gaussian"])


@pytest.mark.parametrize("dim", [1, 6])
def test_variance_reduction(dim: int) -> None:
    """At a standard normal and with normal projections: 2 D against D + D^2 / 2, which in one dimension is less."""
    x = jax.random.normal(jax.random.key(2), (40_000, dim))

    def variance(reduced: bool) -> tuple[float, float]:
        objective = SlicedScoreMatching(1, reduced, "gaussian")
        one, other = (
            np.asarray(objective.per_row(pf.StandardNormal((dim,)), x, None, jax.random.key(i))) for i in (0, 1)
        )
        half = 0.5 * (one - other) ** 2  # of each row: its variance over projections
        return float(half.mean()), float(half.std() / math.sqrt(len(half)))

    expected = {True: 2 * dim, False: dim + dim**2 / 2}
    for reduced, right in expected.items():
        value, error = variance(reduced)
        assert abs(value - right) < 4 * error
        assert abs(value - expected[not reduced]) > 4 * error


def test_a_normalised_flow_has_its_minimum_at_the_data() -> None:
    """The gradient of the loss of N(m, s^2) vanishes at the data's m and s, by quadrature, and not beside them."""
    x, weights = grid(MEAN, np.diag(np.diag(COVARIANCE)))

    def slope(model: Any) -> float:
        params, rest = pf.trainable(model)
        found = jax.grad(lambda params: ScoreMatching()(pf.combine(params, rest), x, None, weights))(params)
        return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(found))

    scale = np.sqrt(np.diag(COVARIANCE))
    assert slope(pf.DiagonalNormal(MEAN, scale)) < 1e-10
    assert slope(pf.DiagonalNormal(MEAN, 1.1 * scale)) > 0.1


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(ScoreMatching(), id="exact"),
        pytest.param(SlicedScoreMatching(), id="sliced", marks=pytest.mark.thorough),
    ],
)
def test_fit_trains_an_energy_and_claims_no_density(objective: Any) -> None:
    """The couplings of a normal distribution, whose estimate by score matching is the inverse of the covariance."""
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(MEAN, COVARIANCE, 3000)
    model = UnnormalisedDensity(Quadratic(jnp.eye(2), jnp.zeros(2)), (2,))
    result = pf.fit(
        model, x, key=KEY, objective=objective, max_epochs=40, progress=False, optimizer=pf.training.Adam(0.03)
    )  # type: ignore[arg-type]
    assert result.verdict.held_out_nats is None
    assert "log-density" not in result.verdict.text
    trained: Any = result.flow
    precision = np.asarray(trained.log_density.precision)
    expected = np.linalg.inv(COVARIANCE)
    # Entries of an inverse sample covariance have a standard error near sqrt((P_ii P_jj + P_ij^2) / n): 0.06 at most.
    np.testing.assert_allclose(0.5 * (precision + precision.T), expected, atol=4 * 0.06)
    assert not np.allclose(np.eye(2), expected, atol=4 * 0.06)
    ends = langevin(jax.grad(trained.log_prob), KEY, jnp.asarray(x[:500]), step=0.05, n_steps=20)
    assert bool(jnp.all(jnp.isfinite(ends)))


@pytest.mark.thorough
def test_fit_brings_an_energy_to_the_units_of_the_data() -> None:
    """As the base of a flow it takes a `preprocess`; the score is then that of the data's units."""
    x = np.random.default_rng(0).normal(50.0, 20.0, (2000, 1))
    units = pf.Standardize.fit(x)
    model = UnnormalisedDensity(Quadratic(jnp.array([[3.0]]), jnp.zeros(1)), (1,))
    for flow in (model, pf.Flow(model, pf.Affine(shape=(1,)))):
        result = pf.fit(
            flow,
            x,
            key=KEY,
            objective=ScoreMatching(),
            max_epochs=30,
            progress=False,
            optimizer=pf.training.Adam(0.03),
            options=pf.training.Preprocess(units),
        )
        assert result.verdict.held_out_nats is None
        score = jax.grad(result.flow.log_prob)(jnp.array([70.0]))
        np.testing.assert_allclose(score, -20 / 400, rtol=0.15)


def test_what_has_no_constant_is_told_from_what_has() -> None:
    energy = UnnormalisedDensity(lambda x: -jnp.sum(x**4), (2,))
    inside = pf.Flow(energy, pf.Affine(shape=(2,)))
    assert normalised(pf.StandardNormal((2,)))
    assert not normalised(energy)
    assert not normalised(inside)
    model = UnnormalisedDensity(Quadratic(jnp.eye(2), jnp.zeros(2)), (2,))
    with pytest.raises(ValueError, match="ScoreMatching"):
        pf.fit(model, np.zeros((20, 2)), key=KEY, objective=MaximumLikelihood(), progress=False)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="langevin"):
        energy.sample(KEY, 3)
    with pytest.raises(NotImplementedError, match="langevin"):
        energy.sample_and_log_prob(KEY, 3)


def test_refusals() -> None:
    x = jnp.zeros((2, 2))
    field = NetworkField(TimeMLP(KEY, 2, width=4))
    noisy = Continuous(field, Hutchinson(), FixedSteps("rk4", 4))
    with pytest.raises(ValueError, match="not random"):
        ScoreMatching()(pf.Flow(pf.StandardNormal((2,)), noisy), x)
    with pytest.raises(TypeError, match="JAX key"):
        SlicedScoreMatching()(pf.StandardNormal((2,)), x)
    with pytest.raises(ValueError, match="noise"):
        SlicedScoreMatching(noise="cauchy")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a number"):
        UnnormalisedDensity(lambda x: x, (2,)).log_prob(x)
    with pytest.raises(TypeError, match="a function"):
        UnnormalisedDensity(3, (2,))  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.parametrize("gradient", ["adjoint", "checkpointed"])
def test_velocity_fields_are_matched_with_any_gradient_of_the_solve(gradient: Any) -> None:
    """The loss and its gradients are those of a solve whose steps are all stored."""
    x = jnp.linspace(-1, 1, 6).reshape(3, 2)
    field = randomise(NetworkField(TimeMLP(KEY, 2, width=4)), KEY, 0.3)

    @eqx.filter_jit
    def run(gradient: Any) -> Any:
        def loss(field: Any) -> Any:
            layer = Continuous(field, solver=FixedSteps("rk4", 32, gradient=gradient))
            return jnp.mean(ScoreMatching()(pf.Flow(pf.StandardNormal((2,)), layer), x))

        return eqx.filter_value_and_grad(loss)(field)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), run(gradient), run("direct"))
