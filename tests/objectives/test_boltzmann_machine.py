"""The example of Boltzmann machines: its losses have their minimum at the truth, without the constant."""

from __future__ import annotations

import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import pushforward as pf
from documents import ROOT


@pytest.fixture(scope="module")
def example() -> Any:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import boltzmann_machine  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    return boltzmann_machine


def half_flip(model: Any, x: Any) -> Any:
    """The broken twin of ratio matching: a flip that changes the field once and not twice."""
    drop = x * (x @ model.matrix() + model.biases)
    return jnp.sum(jax.nn.sigmoid(-drop) ** 2, axis=1)


def test_the_likelihood_sums_to_one(example: Any) -> None:
    model = example.machine(5)
    assert float(jnp.sum(jnp.exp(-example.likelihood(model, example.states(5))))) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("loss", "right"), [("likelihood", True), ("ratio_matching", True), (half_flip, False)])
def test_the_truth_is_stationary(example: Any, loss: Any, right: bool) -> None:
    """With every state weighted by its probability the gradient at the truth is zero."""
    loss = getattr(example, loss) if isinstance(loss, str) else loss
    model, x = example.machine(5), example.states(5)
    weights = jnp.exp(-example.likelihood(model, x))
    gradient = ravel_pytree(jax.grad(lambda model: jnp.sum(weights * loss(model, x)))(model))[0]
    assert (float(jnp.max(jnp.abs(gradient))) < 1e-12) is right


@pytest.mark.thorough
@pytest.mark.parametrize(("twin", "right"), [(None, True), (half_flip, False)], ids=["ratio matching", "twin"])
def test_ratio_matching_recovers_couplings(example: Any, twin: Any, right: bool) -> None:
    """Each within four standard errors, those of the estimator's own sandwich: H^-1 Cov(gradient) H^-1 / n."""
    loss = twin or example.ratio_matching
    true = example.machine(4)
    x = example.sample(true, 5000)
    found = example.train(loss, example.machine(4, scale=0), x, 400, 0.05)
    vector, build = ravel_pytree(found)

    def mean(vector: Any) -> Any:
        return jnp.mean(loss(build(vector), x))

    assert float(jnp.max(jnp.abs(jax.grad(mean)(vector)))) < 1e-6  # trained to its end
    rows = jax.jacfwd(lambda vector: loss(build(vector), x))(vector)
    inverse = jnp.linalg.inv(jax.hessian(mean)(vector))
    errors = np.sqrt(np.diag(inverse @ jnp.cov(rows.T) @ inverse) / len(x))
    assert errors.max() < 0.06
    assert bool(np.all(np.abs(vector - ravel_pytree(true)[0]) < 4 * errors)) is right


def test_score_matching_of_real_units_needs_no_constant(example: Any) -> None:
    """By quadrature its gradient at the truth is zero, though not beside it; a constant changes nothing at all."""
    model = example.Quartic(example.machine(2, scale=0.8), jnp.array([1.0, 0.5]))
    points, _ = example.grid(2, 48, 5.0)
    weights = jax.nn.softmax(jax.vmap(model)(points))
    objective = pf.objectives.ScoreMatching()

    def loss(model: Any, constant: float = 0.0) -> Any:
        energy = pf.objectives.UnnormalisedDensity(lambda x: model(x) + constant, (2,))
        return objective(energy, points, None, weights)

    slope = eqx.filter_jit(lambda model: jnp.max(jnp.abs(ravel_pytree(jax.grad(loss)(model))[0])))
    assert float(slope(model)) < 1e-9
    beside = eqx.tree_at(lambda m: m.powers, model, 1.1 * model.powers)
    assert float(slope(beside)) > 1e-2
    assert float(loss(model)) == float(loss(model, 100.0))


def test_what_the_constant_costs(example: Any) -> None:
    """Two units more: four times the states for the likelihood, and less than twice the work for ratio matching."""
    assert example.cost(example.likelihood, 12) > 4 * example.cost(example.likelihood, 10)
    assert example.cost(example.ratio_matching, 12) < 2 * example.cost(example.ratio_matching, 10)


@pytest.mark.thorough
def test_it_runs(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    example.main()
    table = capsys.readouterr().out
    nats = {line[:24].strip(): float(line[24:].split()[0]) for line in table.splitlines() if "+-" in line}
    assert nats["score matching"] == pytest.approx(nats["likelihood on the grid"], abs=5e-3)
    assert nats["ratio matching"] == pytest.approx(nats["exact likelihood"], abs=5e-3)
    assert nats["not trained"] < nats["score matching"] - 0.2
