"""The form in which a model is scored: random log-determinants replaced, and every fact that follows from them."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from pushforward._parts import rewritten
from pushforward.bijections import Continuous
from pushforward.bijections.continuous import evaluation_layer
from pushforward.bijections.residual import evaluation_log_det, residual_layers
from pushforward.distributions.pixels.orders import AveragedOrders
from pushforward.distributions.replacements import with_log_det
from pushforward.distributions.table import TableDistribution

Tree = TypeVar("Tree")


def evaluation_form(model: Tree) -> Tree:
    """The model as it is to be scored and saved: deterministic, with the weights it has.

    A random log-determinant becomes `ExactLogDet` up to 64 dimensions. Beyond, it is a series of 40 terms with 16
    fixed probes; `log_det_error` bounds what the series leaves out. A random divergence becomes exact up to 64
    dimensions or where there is a closed form, beyond it one of 16 fixed probes; a continuous layer takes its solver
    for scoring. Rounded values of a table's flow are taken at the middle of their steps. Orders of pixels are averaged.
    A model without any of these comes back as it is.

    Args:
        model: A bijection or distribution.
    """

    def scored(part: Any) -> Any:
        if isinstance(part, TableDistribution):
            return part.taken_at_middles()
        if isinstance(part, AveragedOrders):
            return part.averaged()
        return evaluation_layer(part) if isinstance(part, Continuous) else part

    return rewritten(with_log_det(model, evaluation_log_det), scored)


def log_det_error(model: Any) -> float:
    r"""The largest error of the log-determinants of a model in nats: the sum of the bounds of its layers.

    0 if all are exact, infinite if one depends on chance. For series with fixed probes it bounds what the series
    leaves out; the error of the probes comes on top, about $\sqrt{2/m}\,\|\log(I+J)\|_F$ for $m$ of them.

    Args:
        model: A bijection or distribution.
    """
    total = 0.0
    for layer in residual_layers(model):
        total += layer.net.count() * layer.log_det.error_bound(layer.net.lipschitz, math.prod(layer.in_shape))
    return total
