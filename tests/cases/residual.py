"""Contractive residual layers: every log-determinant, solver and kind of net."""

from __future__ import annotations

from typing import Any

from cases.case import COND, Case, full
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Residual
from pushforward.nets import LipschitzConvNet, LipschitzMLP
from pushforward.numerics.fixed_point import Anderson
from pushforward.numerics.log_det_series import Geometric, Poisson, RussianRoulette, Truncated
from pushforward.numerics.trace_estimators import ExactTrace, Hutchinson, HutchPlusPlus


def residual(key: PRNGKeyArray, dim: int, *args: Any, lipschitz: float = 0.9, **kwargs: Any) -> Residual:
    return Residual(LipschitzMLP(key, dim, width=8, depth=1, lipschitz=lipschitz, **kwargs), *args)


def image(key: PRNGKeyArray) -> Residual:
    return Residual(LipschitzConvNet(key, (2, 2, 3), width=3, kernels=(3, 1, 3), lipschitz=0.9))


# 26 terms of a contraction by 0.5 leave less than 1e-8 nats out.
CASES: dict[str, Case] = {
    "Residual": Case(lambda key: residual(key, 3), reach=full(3)),
    "Residual, Anderson, conditional": Case(lambda key: residual(key, 2, None, Anderson(3), cond_shape=COND)),
    "Residual, convolutions": Case(image),
    "Residual, truncated": Case(lambda key: residual(key, 2, Truncated(26, ExactTrace()), lipschitz=0.5)),
    # In one dimension signs are exact probes: a random log-determinant that the laws of exact ones can judge.
    "Residual, truncated, probes": Case(lambda key: residual(key, 1, Truncated(26, Hutchinson()), lipschitz=0.5)),
    "Residual, roulette": Case(lambda key: residual(key, 3, RussianRoulette(Poisson(2.0), 2))),
    "Residual, roulette, geometric, plain, conditional": Case(
        lambda key: residual(
            key, 2, RussianRoulette(Geometric(0.4), 3, HutchPlusPlus(), gradient="plain"), cond_shape=COND
        )
    ),
}
