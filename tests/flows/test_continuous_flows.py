"""The zoo's flows of velocity fields: what each is made for, exact noise models, a fit with two solvers."""

# Wrong arguments on purpose.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Chain, Continuous
from pushforward.distributions import evaluation_form, with_solver
from pushforward.dynamics import Adaptive, FixedSteps
from pushforward.objectives import (
    DenoisingScoreMatching,
    FlowMatching,
    LevelTimes,
    MaximumLikelihood,
    natural_objective,
)
from pushforward.paths import AbstractPath

KEY = jax.random.key(11)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cnf", MaximumLikelihood),
        ("ffjord", MaximumLikelihood),
        ("flow_matching", FlowMatching),
        ("rectified_flow", FlowMatching),
        ("score_sde", DenoisingScoreMatching),
        ("ncsn", DenoisingScoreMatching),
        ("maf", MaximumLikelihood),
    ],
)
def test_each_is_trained_by_what_it_is_made_for(name: str, kind: type) -> None:
    objective = natural_objective(pf.flows.ZOO[name](KEY, dim=2, width=4))
    assert type(objective) is kind
    if isinstance(objective, DenoisingScoreMatching):
        assert isinstance(objective.times, LevelTimes) == (name == "ncsn")


def test_options() -> None:
    layers = pf.flows.cnf(KEY, dim=2, n_layers=3, width=4, method="rk4", n_steps=5, gradient="direct").bijection
    assert isinstance(layers, Chain)
    for layer in layers.bijections:
        assert isinstance(layer, Continuous)
        assert eqx.tree_equal(layer.solver, FixedSteps("rk4", 5, "direct"))
    assert pf.flows.ffjord(KEY, dim=2, width=4).needs_key
    assert not pf.flows.ffjord(KEY, dim=2, width=4, divergence="exact").needs_key
    assert not evaluation_form(pf.flows.ffjord(KEY, dim=2, width=4)).needs_key
    assert pf.flows.score_sde(KEY, dim=2, condition_dim=3, width=4, sde="ve").cond_shape == (3,)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: pf.flows.cnf(KEY, dim=2, divergence="hutch++"),
            "cnf: expected divergence to be one of exact, hutchinson",
        ),
        (lambda: pf.flows.cnf(KEY, dim=2, n_layers=0), "cnf: expected n_layers"),
        (lambda: pf.flows.cnf(KEY, dim=2, method="euler"), "cnf: expected n_steps with method"),
        (lambda: pf.flows.cnf(KEY, dim=2, mixing="add"), "mixing to be one of"),
        (
            lambda: pf.flows.cnf(KEY, dim=2, residual=True, frequency=3.0),
            "cnf: frequency has no effect with residual=True",
        ),
        (lambda: pf.flows.ffjord(KEY, dim=0), "ffjord: expected dim"),
        (lambda: pf.flows.flow_matching(KEY, dim=2, path="curved"), "flow_matching: expected path to be one of"),
        (lambda: pf.flows.rectified_flow(KEY, dim=2, condition_dim=0), "rectified_flow: expected condition_dim"),
        (lambda: pf.flows.score_sde(KEY, dim=2, sde="edm"), "score_sde: expected sde to be one of vp, subvp, ve"),
        (lambda: pf.flows.score_sde(KEY, dim=2, predicts="epsilon"), "predicts to be one of"),
        (lambda: pf.flows.ncsn(KEY, dim=2, n_levels=1), "ncsn: expected n_levels"),
    ],
)
def test_errors(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


class Known(eqx.Module):
    """The noise that a network should predict for data from N(mean, variance), in closed form."""

    path: AbstractPath
    mean: float = eqx.field(static=True)
    variance: float = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, path: AbstractPath, mean: float, variance: float):
        self.path, self.mean, self.variance, self.dim, self.cond_shape = path, mean, variance, 1, None

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)
        x = x * jnp.sqrt(c.alpha**2 + c.sigma**2)  # the field scales what a network sees
        return c.sigma * (x - c.alpha * self.mean) / (c.alpha**2 * self.variance + c.sigma**2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ncsn", {"sigma_max": 100.0, "sigma_min": 1e-3}),
        pytest.param("score_sde", {"sde": "vp"}, marks=pytest.mark.thorough),
        pytest.param("score_sde", {"sde": "subvp"}, marks=pytest.mark.thorough),
        pytest.param("score_sde", {"sde": "ve", "sigma_max": 100.0, "sigma_min": 1e-3}, marks=pytest.mark.thorough),
    ],
)
def test_a_flow_whose_network_knows_the_answer_has_its_density(name: str, options: dict[str, Any]) -> None:
    """So the latent has the path's noise; the broken twin is the same layer over a standard normal."""
    variance, mean = 0.25, 0.0  # at the noise a little of another mean would still be there
    flow = pf.flows.ZOO[name](KEY, dim=1, width=4, tolerance=1e-8, whiten=False, **options)
    layers = jax.tree.leaves(flow.bijection, is_leaf=lambda node: isinstance(node, Continuous))
    (layer,) = (leaf for leaf in layers if isinstance(leaf, Continuous))
    field: Any = layer.field
    known = eqx.tree_at(lambda flow: net_of(flow), flow, Known(field.path, mean, variance))
    x = np.array([[-0.7], [0.1], [0.9]])
    true = -0.5 * ((x[:, 0] - mean) ** 2 / variance + np.log(2 * np.pi * variance))
    np.testing.assert_allclose(known.log_prob(x), true, atol=1e-3)
    if "sigma_max" in options:
        bare = pf.Flow(flow.base, known.bijection.bijections[1])  # type: ignore[attr-defined]
        assert np.abs(bare.log_prob(x) - true).min() > 1


def net_of(flow: pf.Flow) -> Any:
    layer: Any = flow.bijection.bijections[-1] if isinstance(flow.bijection, Chain) else flow.bijection
    return layer.field.net


@pytest.fixture(scope="module")
def bumps() -> np.ndarray:
    rng = np.random.default_rng(0)
    side = rng.choice([-1.5, 1.5], (1000, 1))
    return np.concatenate([side, -side], axis=1) + 0.3 * rng.standard_normal((1000, 2))


COARSE = FixedSteps("euler", 2)


@pytest.fixture(scope="module")
def start() -> pf.Flow:
    """Flow matching with a coarse solver, and a better one for scoring."""
    layer: Any = pf.flows.flow_matching(KEY, dim=2, width=16, depth=1, whiten=False).bijection
    return pf.Flow(pf.StandardNormal((2,)), Continuous(layer.field, solver=COARSE, scoring=Adaptive()))


@pytest.fixture(scope="module")
def trained(start: pf.Flow, bumps: np.ndarray) -> pf.training.FitResult:
    return pf.fit(
        start,
        bumps,
        key=KEY,
        max_epochs=60,
        progress=False,
        optimizer=pf.training.Adam(1e-2),
        options=pf.training.Steps(batch_size=100),
    )


def test_a_fit_scores_with_the_solver_for_scoring(start: pf.Flow, trained: pf.training.FitResult) -> None:
    before, after = (leaf_of(flow) for flow in (start, trained.flow))
    assert eqx.tree_equal(before.solver, COARSE)
    assert eqx.tree_equal(after.solver, Adaptive())
    assert after.scoring is None
    assert eqx.tree_equal(leaf_of(evaluation_form(start)).solver, Adaptive())
    assert eqx.tree_equal(leaf_of(with_solver(start, FixedSteps())).scoring, Adaptive())


def leaf_of(flow: pf.Flow) -> Continuous:
    leaves = jax.tree.leaves(flow.bijection, is_leaf=lambda node: isinstance(node, Continuous))
    return next(leaf for leaf in leaves if isinstance(leaf, Continuous))


def test_a_fit_finds_two_bumps_and_scores_each_row_by_itself(bumps: np.ndarray, trained: pf.training.FitResult) -> None:
    together = np.asarray(trained.flow.log_prob(bumps))
    assert together.shape == (1000,)
    for i in (0, 500, 999):
        np.testing.assert_allclose(trained.flow.log_prob(bumps[i : i + 1]), together[i : i + 1], atol=1e-5)
    gaussian = -0.5 * (2 * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(np.cov(bumps.T))[1])
    held_out = trained.verdict.held_out_nats
    assert held_out is not None
    assert held_out > gaussian + 0.2
    # The verdict's figure is one of the solver for scoring: with two steps of Euler it would be another.
    coarse = np.asarray(with_solver(trained.flow, COARSE).log_prob(bumps))
    assert np.abs(coarse - together).mean() > 0.05
