"""Continuous flows of images: their densities by autodiff, round trips in float32, classes that may be left out."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import Continuous
from pushforward.bijections.base import AbstractComposite
from pushforward.distributions import evaluation_form, stages, with_solver
from pushforward.dynamics import Adaptive, NullableCondition, guided
from pushforward.numerics.trace_estimators import ExactTrace
from pushforward.objectives import natural_objective
from pushforward.testing import randomise

KEY, SHAPE = jax.random.key(0), (2, 4, 4)
SMALL: dict[str, dict[str, Any]] = {
    "ffjord": {"width": 3, "depth": 1, "n_scales": 2},
    "flow_matching": {"width": 2, "n_heads": 0, "n_scales": 2},
    "score_sde": {"width": 2, "n_heads": 0, "n_scales": 1, "beta_max": 4.0},
}


def small(name: str, **options: Any) -> Any:
    flow = getattr(pf.images, name)(KEY, shape=SHAPE, **SMALL[name], **options)
    return randomise(flow, jax.random.key(1), 0.3)


def _exact(flow: pf.Flow, solver: Adaptive) -> pf.Flow:
    """The flow with exact traces, solved by that solver."""

    def changed(bijection: Any) -> Any:
        if isinstance(bijection, Continuous):
            return Continuous(bijection.field, ExactTrace(), solver)
        if isinstance(bijection, AbstractComposite):
            return bijection.with_members(tuple(map(changed, bijection.members)))
        return bijection

    return pf.Flow(flow.base, changed(flow.bijection))


def _log_dets(flow: pf.Flow, x: Any) -> tuple[Any, Any]:
    """The log-determinants of one image by the flow and by autodiff, in one program."""

    jacobian, log_det = jax.jacfwd(flow.bijection.inverse_and_log_det, has_aux=True)(x)
    return log_det, jnp.linalg.slogdet(jacobian.reshape(x.size, x.size))[1]


@pytest.mark.parametrize(
    "name", ["ffjord", *(pytest.param(n, marks=pytest.mark.thorough) for n in ("flow_matching", "score_sde"))]
)
def test_the_log_determinant_is_that_of_autodiff(name: str) -> None:
    flow = _exact(small(name), Adaptive("tsit5", rtol=1e-9, atol=1e-9, max_steps=500, gradient="direct"))
    x = jax.random.normal(KEY, (2, *SHAPE))
    log_det, expected = jax.jit(jax.vmap(lambda x: _log_dets(flow, x)))(x)
    assert np.abs(log_det).min() > 0.01
    np.testing.assert_allclose(log_det, expected, atol=1e-7)


@pytest.mark.float32
@pytest.mark.thorough
@pytest.mark.parametrize("name", SMALL)
def test_round_trips_in_float32(name: str) -> None:
    """Latents from images and back, at a tolerance below that of the zoo."""
    flow = with_solver(small(name), Adaptive("dopri5", rtol=1e-6, atol=1e-6))
    x = jax.random.normal(KEY, (4, *SHAPE))
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-4)


def test_classes_are_left_out_where_their_vector_is_zero() -> None:
    """The loss of a batch, its gradients, and the guided network at weight -1, which knows no class."""
    flow = small("flow_matching", n_classes=3, whiten=False)
    field: Any = flow.bijection.field
    assert isinstance(field.net, NullableCondition)
    objective, x, classes = natural_objective(flow), jax.random.normal(KEY, (4, *SHAPE)), jnp.eye(4, 3)
    assert type(objective).__name__ == "FlowMatching"
    unguided: Any = guided(flow, -1.0).bijection

    @eqx.filter_jit
    def run(field: Any) -> tuple[Any, ...]:
        def loss(field: Any) -> Any:
            changed = eqx.tree_at(lambda f: f.bijection.field, flow, field)
            return jnp.mean(objective.per_row(changed, x, classes, KEY))

        rows = jnp.moveaxis(x, 0, -1)
        at = jnp.asarray(0.3)
        one, none = field(at, rows, classes.T), field(at, rows, 0 * classes.T)
        return eqx.filter_value_and_grad(loss)(field), one, none, unguided.field(at, rows, classes.T)

    (value, gradients), one, none, of_guided = run(field)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    np.testing.assert_allclose(of_guided, none, rtol=1e-12)
    np.testing.assert_allclose(one[..., 3], none[..., 3], rtol=1e-12)  # the last row has no class
    assert (np.abs(one - none)[..., :3].max(axis=(0, 1, 2)) > 1e-6).all()


def test_evaluation_is_deterministic_and_scales_must_fit() -> None:
    flow = small("ffjord")
    assert flow.needs_key
    assert type(natural_objective(flow)).__name__ == "MaximumLikelihood"
    # A coarser scale is one stage: its own change the shape of the channels that they are given.
    assert [type(stage).__name__ for stage in stages(flow.bijection)] == ["Squeeze", "Partial", "Invert", "Continuous"]
    assert not evaluation_form(flow).needs_key
    with pytest.raises(ValueError, match="multiples of 2"):
        pf.images.ffjord(KEY, shape=(1, 5, 4), width=1)
    with pytest.raises(ValueError, match="width"):
        pf.images.flow_matching(KEY, shape=SHAPE, width=0)
