"""The price of paths: integrals in closed form for a linear field, unbiased norms, fewer evaluations after training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.dynamics import FixedSteps, NetworkField
from pushforward.numerics.trace_estimators import AbstractTrace, ExactTrace, Hutchinson
from pushforward.objectives import RegularizedLikelihood
from pushforward.testing import randomise

KEY = jax.random.key(8)
MATRIX = np.array([[0.3, -1.0], [0.5, -0.4]])


class Linear:
    """The network of v = A x."""

    dim, cond_shape = 2, None

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return jnp.asarray(MATRIX) @ x


@pytest.mark.parametrize(
    "trace",
    [pytest.param(ExactTrace(), id="exact", marks=pytest.mark.thorough), pytest.param(Hutchinson(3), id="hutchinson")],
)
def test_the_integrals_of_a_linear_field(trace: AbstractTrace) -> None:
    n, start = 4000, np.array([1.0, -2.0])
    layer = Continuous(NetworkField(Linear()), trace, FixedSteps("rk4", 8))
    rows = jnp.broadcast_to(jnp.asarray(start)[:, None], (2, n))
    end = layer.forward(jnp.asarray(start), key=KEY)
    for value, forward in ((rows, True), (jnp.broadcast_to(end[:, None], (2, n)), False)):
        report, kinetic, norms = jax.jit(layer.energies, static_argnums=3)(
            value, None, jax.random.split(KEY, n), forward
        )
        expected = quad(lambda t: np.sum((MATRIX @ expm(t * MATRIX) @ start) ** 2), 0, 1)[0]
        np.testing.assert_allclose(kinetic, expected, rtol=1e-4)
        frobenius, norms = np.sum(MATRIX**2), np.asarray(norms)
        error = norms.std() / n**0.5
        assert abs(norms.mean() - frobenius) < 4 * error
        assert abs(3 * norms.mean() - frobenius) > 4 * error  # the broken twin: summed over probes, not averaged
        sign = 1 if forward else -1
        log_det = np.asarray(report.log_det)
        assert abs(sign * log_det.mean() - np.trace(MATRIX)) < 4 * log_det.std() / n**0.5 + 1e-6


@pytest.mark.thorough
def test_without_prices_it_is_the_likelihood_and_gradients_agree() -> None:
    x = np.random.default_rng(0).standard_normal((5, 2))
    found = {}
    for gradient in ("adjoint", "checkpointed"):
        flow = pf.flows.cnf(KEY, dim=2, width=8, tolerance=1e-8, gradient=gradient)
        params, rest = pf.trainable(randomise(flow, KEY, 0.3))

        def loss(params: Any, objective: RegularizedLikelihood, rest: Any = rest) -> Array:
            return objective(pf.combine(params, rest), x, key=KEY)

        free = jax.jit(loss)(params, RegularizedLikelihood(0.0, 0.0))
        np.testing.assert_allclose(free, -np.mean(pf.combine(params, rest).log_prob(x)), rtol=1e-6)
        value, slopes = jax.jit(jax.value_and_grad(loss))(params, RegularizedLikelihood(0.3, 0.2))
        assert value > free
        found[gradient] = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(slopes)])
    scale = np.abs(found["checkpointed"]).max()
    np.testing.assert_allclose(found["adjoint"], found["checkpointed"], atol=1e-4 * scale)


@pytest.mark.thorough
def test_a_fit_with_prices_has_shorter_and_smoother_paths() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((600, 2)) * 0.3 + side for side in (-2, 2)])
    work, counts, nats = [], [], []
    for objective in (None, RegularizedLikelihood(0.05, 0.05)):
        flow = pf.flows.ffjord(KEY, dim=2, width=16)
        result = pf.fit(flow, x, key=KEY, objective=objective, max_epochs=40, progress=False)
        layer: Any = result.flow.bijection
        _, kinetic, norms = layer.energies(jnp.asarray(x.T), None, jax.random.split(KEY, len(x)), False)
        work.append(float(jnp.mean(kinetic + norms)))
        counts.append(result.flow.log_prob(x, with_error=True).n_evaluations.mean())
        nats.append(result.verdict.held_out_nats)
    assert work[1] < 0.8 * work[0], work
    assert counts[1] <= counts[0]
    assert nats[1] > nats[0] - 0.15


def test_errors() -> None:
    with pytest.raises(ValueError, match="kinetic >= 0"):
        RegularizedLikelihood(-1.0)
    with pytest.raises(TypeError, match="one Continuous"):
        RegularizedLikelihood()(pf.flows.maf(KEY, dim=2, linear="reverse"), jnp.zeros((3, 2)), key=KEY)
