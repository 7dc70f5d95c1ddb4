"""Flows of velocity fields: networks with the trace in closed form, by products, by probes; a probability flow."""

from __future__ import annotations

from typing import Any

from cases.case import COND, Case, full
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Continuous
from pushforward.dynamics import Adaptive, NetworkField, PotentialField, PredictionField
from pushforward.nets import PotentialNet, TimeMLP, TimeResidualMLP
from pushforward.numerics.trace_estimators import Hutchinson
from pushforward.paths import LinearPath, VariancePreservingPath

# Laws compare with autodiff to 1e-6: the solve must be better than that, also of an event of 1e30 and of its gradient.
TIGHT = Adaptive("tsit5", rtol=1e-11, atol=1e-9, max_steps=10_000)


def net(key: PRNGKeyArray, dim: int, **options: Any) -> TimeMLP:
    return TimeMLP(key, dim, **{"width": 6, "n_frequencies": 1, "depth": 1, **options})


def probability_flow(key: PRNGKeyArray) -> Continuous:
    return Continuous(PredictionField(net(key, 2), VariancePreservingPath(0.1, 4.0), "noise"), solver=TIGHT)


CASES: dict[str, Case] = {
    "Continuous": Case(lambda key: Continuous(NetworkField(net(key, 2, depth=2)), solver=TIGHT), reach=full(2)),
    "Continuous, by products, conditional": Case(
        lambda key: Continuous(NetworkField(net(key, 2, depth=3, cond_shape=COND)), solver=TIGHT)
    ),
    # In one dimension signs are exact probes: a random log-determinant that the laws of exact ones can judge.
    "Continuous, probes": Case(
        lambda key: Continuous(NetworkField(net(key, 1, mixing="concatsquash")), Hutchinson(), TIGHT)
    ),
    "Continuous, of a potential, conditional": Case(
        lambda key: Continuous(PotentialField(PotentialNet(key, 2, width=5, depth=2, cond_shape=COND)), solver=TIGHT)
    ),
    "Continuous, residual network": Case(
        lambda key: Continuous(NetworkField(TimeResidualMLP(key, 2, width=4, depth=1, n_frequencies=1)), solver=TIGHT)
    ),
    "Continuous, probability flow": Case(probability_flow),
    "Continuous, of data": Case(
        lambda key: Continuous(PredictionField(net(key, 2), LinearPath(0.1), "velocity"), solver=TIGHT)
    ),
}
