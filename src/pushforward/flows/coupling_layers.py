"""The builder of couplings."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Coupling, Invert, alternating_split, half_split
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.flows.build_plan import Plan
from pushforward.flows.stack import stack
from pushforward.nets import MLP, WithFeatures
from pushforward.nets.base import features_of

SPLITS = {"half": half_split, "alternating": alternating_split}


def split_mask(plan: Plan) -> np.ndarray:
    """The mask of transformed coordinates; every coordinate is transformed in one layer or another.

    Raises:
        ValueError: A mask has another length, or what mixes the coordinates leaves some untouched for ever.
    """
    split, dim = plan.options.split, plan.dim
    split = "half" if split is None else split
    mask = SPLITS[split](dim) if isinstance(split, str) else np.asarray(split)
    if mask.shape != (dim,) or mask.dtype != bool or not mask.any():
        got = f"shape {mask.shape}, dtype {mask.dtype}" + ("" if mask.any() else ", none True")
        fix = "True marks a transformed coordinate."
        raise ValueError(message(plan.name, f"split to be a mask of {dim} booleans, some of them True", got, fix))
    linear = plan.options.linear
    if mask.all() or callable(linear):
        return mask
    names = [name for name in plan.entry.options["linear"].words if name != "reverse"]
    if linear is None:
        fix = "Without one the same coordinates would pass unchanged through every layer. "
        fix += f"Use one of {', '.join(names)}."
        raise ValueError(message(plan.name, "a linear layer between couplings", "linear=None", fix))
    if linear == "reverse" and not np.all(mask | mask[::-1]):
        never = np.flatnonzero(~(mask | mask[::-1])).tolist()
        expected = "a split that transforms every coordinate in one layer or the next"
        got = f"one that with linear='reverse' never does {never}"
        fix = f"Use linear as one of {', '.join(names)}, or another split."
        raise ValueError(message(plan.name, expected, got, fix))
    return mask


def coupling(plan: Plan) -> Flow:
    """Couplings, whose scalar map is inverted if only its forward direction has a closed form: scoring is trained."""
    mask, map_of = split_mask(plan), plan.scalar_map()
    o, n_mapped = plan.options, int(mask.sum())
    n_passing = features_of(plan.features).count * (plan.dim - n_mapped)
    blocks = "gated" if "residual" not in plan.entry.options else "residual" if o.residual else "plain"

    def make(key: PRNGKeyArray) -> AbstractBijection:
        scalar_map = map_of(key)
        out_shape = (scalar_map.n_params, n_mapped)
        sizes: Any = {"width": o.width, "depth": o.depth, "cond_shape": plan.cond_shape, "activation": o.activation}
        net: Any = MLP(key, n_passing, out_shape, blocks=blocks, **sizes)
        if plan.features != "identity":
            net = WithFeatures(net, plan.features, out_shape)
        layer = Coupling(mask, net, scalar_map, cond_shape=plan.cond_shape)
        return layer if scalar_map.traits.inverse == "parallel" else Invert(layer)

    return stack(plan, make, mask=mask)
