"""The neural circular spline flow, for angles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import CircularSplineMap
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow, UniformBox
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.autoregressive import autoregressive_flow
from pushforward.flows.coupling import Split, coupling_flow
from pushforward.flows.layers import MAX_DIM

# What mixes angles must map the torus onto itself: no matrix of real numbers does.
Mixing = Literal["reverse", "permutation"] | Callable[[PRNGKeyArray, int], AbstractBijection] | None


def ncsf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    autoregressive: bool = False,
    bins: int = 8,
    base: AbstractDistribution | None = None,
    linear: Mixing = "reverse",
    split: Split | None = None,
    residual: bool = False,
    activation: str = "relu",
) -> Flow:
    r"""Neural circular spline flow: angles, each through a rational-quadratic spline of the circle and a rotation.

    Data are **angles in radians**. Angles that differ by $2\pi$ are the same event, with the same density; samples lie
    in $[-\pi, \pi)$, over which the density integrates to 1. Networks see the cosine and the sine of each angle, so
    that the density is continuous on the torus, with no seam at $\pm\pi$. Fit it to the angles as they are: do not
    standardise them.

    Args:
        key: for the initial weights.
        dim: number of angles.
        condition_dim: length of the condition (numbers, not angles), None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the conditioner.
        depth: hidden layers of the conditioner (residual blocks if `residual`).
        autoregressive: masked autoregressive layers instead of couplings: better densities, sequential sampling.
        bins: bins per spline.
        base: distribution of the latent angles, on $[-\pi, \pi]^D$ (mass elsewhere is lost); None is the uniform one.
        linear: mixing layer after each spline layer: `"reverse"`, `"permutation"`, or `(key, dim) -> bijection` of the
            torus; None only if autoregressive or `dim` is 1.
        split: for couplings: `"half"` (the default), `"alternating"` or a mask of booleans.
        residual: a residual network as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Cost:
        scoring parallel, sampling parallel (sequential if autoregressive); log-det exact.

    Raises:
        ValueError: a size is out of bounds, a name unknown, or `split` given to an autoregressive flow.

    Source:
        Rezende, Papamakarios, Racanière, Albergo, Kanwar, Shanahan, Cranmer, 2020, arXiv 2002.02428.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.ncsf(jax.random.key(0), dim=2, n_layers=2, width=8)
        >>> angles = flow.sample(jax.random.key(1), 100)
        >>> bool(abs(angles).max() <= jax.numpy.pi), flow.log_prob(angles).shape
        (True, (100,))
    """
    if linear == "lu":
        fix = "A matrix does not map angles to angles."
        raise ValueError(message("ncsf", "linear 'reverse' or 'permutation'", "'lu'", fix))
    if autoregressive and split is not None:
        raise ValueError(message("ncsf", "no split if autoregressive=True", repr(split), "Leave split out."))
    dim = check_int("ncsf", "dim", dim, 1, MAX_DIM)
    options = {
        "dim": dim,
        "condition_dim": condition_dim,
        "n_layers": n_layers,
        "width": width,
        "depth": depth,
        "base": UniformBox(np.full(dim, -math.pi), np.full(dim, math.pi)) if base is None else base,
        "linear": linear,
        "residual": residual,
        "activation": activation,
        "actnorm": False,
        "features": "circular",
    }
    scalar_map = CircularSplineMap(bins=bins)
    if autoregressive:
        return autoregressive_flow("ncsf", scalar_map, key, fast="score", **options)
    return coupling_flow("ncsf", scalar_map, key, split="half" if split is None else split, **options)
