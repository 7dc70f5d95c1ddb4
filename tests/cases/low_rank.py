"""Low-rank residual layers: planar, radial, Sylvester; free and amortised."""

from __future__ import annotations

import pushforward as pf
from cases.case import COND, Case, full
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Cayley, Planar, Radial, Sylvester


def net(key: PRNGKeyArray, n_params: int) -> pf.MLP:
    return pf.MLP(key, COND[0], (n_params,), width=8, depth=1, activation="softplus")


CASES: dict[str, Case] = {
    "Planar": Case(lambda key: Planar(key, 2), reach=full(2)),
    "Planar of a number, conditional": Case(lambda key: Planar(key, 1, cond_shape=COND, net=net(key, 3))),
    "Planar, leaky, conditional": Case(
        lambda key: Planar(key, 3, ridge="leaky_relu", cond_shape=COND, net=net(key, 7)), reach=full(3)
    ),
    "Radial": Case(lambda key: Radial(key, 2), reach=full(2)),
    "Radial, conditional": Case(lambda key: Radial(key, 3, cond_shape=COND, net=net(key, 5)), reach=full(3)),
    "Sylvester": Case(lambda key: Sylvester(key, 4, 2), reach=full(4)),
    "Sylvester, Cayley, full rank": Case(lambda key: Sylvester(key, 2, 2, basis=Cayley(key, 2)), reach=full(2)),
    "Sylvester, leaky, conditional": Case(
        lambda key: Sylvester(
            key, 3, 2, n_reflections=2, ridge="leaky_relu", cond_shape=COND, net=net(key, 2 * 4 + 2 * 3)
        ),
        reach=full(3),
    ),
}
