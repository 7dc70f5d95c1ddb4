"""What fits together, as lists of what is allowed: bases, mixing layers and scalar maps of line and circle."""

from __future__ import annotations

import math

import numpy as np

from pushforward._checks import is_traced, message
from pushforward.bijections import (
    Autoregressive,
    CircularSplineMap,
    Coupling,
    Elementwise,
    MoebiusMap,
    Permutation,
    RepeatedMap,
    Reverse,
)
from pushforward.bijections.base import AbstractBijection, AbstractComposite
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions import DiagonalNormal, Flow, Mixture, StandardNormal, StudentT, UniformBox
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.options import Space

# Scalar maps of the circle; all others are of the line.
CIRCULAR = (CircularSplineMap, MoebiusMap)
# Bijections of the torus: those that reorder angles, those with a map of the circle, and what is made of such.
REORDERING = (Permutation, Reverse)
MAPPED = (Autoregressive, Coupling, Elementwise)
# Bases whose coordinates are independent of each other.
INDEPENDENT = (DiagonalNormal, StandardNormal, StudentT, UniformBox)
# A base may end at pi as either floating type rounds it.
SLACK = 1e-5


def space_of_map(scalar_map: AbstractScalarMap) -> Space:
    """The space that a scalar map is of."""
    while isinstance(scalar_map, RepeatedMap):
        scalar_map = scalar_map.scalar_map
    return "circle" if isinstance(scalar_map, CIRCULAR) else "line"


def keeps_torus(bijection: AbstractBijection) -> bool:
    """Whether a bijection is one of those that map angles to angles."""
    if isinstance(bijection, REORDERING):
        return True
    if isinstance(bijection, AbstractComposite):
        return all(map(keeps_torus, bijection.members))
    return isinstance(bijection, MAPPED) and space_of_map(bijection.scalar_map) == "circle"


def within_torus(base: AbstractDistribution) -> bool:
    """Whether a distribution is one of those without mass beyond one turn."""
    if isinstance(base, Mixture):
        return all(within_torus(part) for part in base.components)
    if isinstance(base, Flow):
        return within_torus(base.base) and keeps_torus(base.bijection)
    if not isinstance(base, UniformBox):
        return False
    corners = (base.low.value, base.high.value)  # while they are traced, the caller answers for them
    return is_traced(corners) or bool(np.max(np.abs(corners)) <= math.pi + SLACK)


def check_base(
    name: str, base: AbstractDistribution | None, dim: int, space: Space, *, independent: bool
) -> AbstractDistribution:
    """The base of a flow; None is a normal of the line, or uniform on the torus.

    Raises:
        ValueError: The base is over other events, has mass beyond the torus, or coordinates that depend on each other
            where they must not.
    """
    if base is None:
        turn = np.full(dim, math.pi)
        return StandardNormal((dim,)) if space == "line" else UniformBox(-turn, turn)
    if not isinstance(base, AbstractDistribution) or base.event_shape != (dim,):
        got = str(base.event_shape) if isinstance(base, AbstractDistribution) else type(base).__name__
        raise ValueError(
            message(name, f"a base distribution over events of shape ({dim},)", got, "Build the base with that shape.")
        )
    if space == "circle" and not within_torus(base):
        allowed = "a base on [-pi, pi]: a UniformBox there, a Mixture of such, or a Flow of angles over one"
        raise ValueError(message(name, allowed, type(base).__name__, "Mass beyond one turn would be lost."))
    if independent and not isinstance(base, INDEPENDENT):
        allowed = f"a base with independent coordinates: {', '.join(kind.__name__ for kind in INDEPENDENT)}"
        fix = "The graph would not hold for the data otherwise."
        raise ValueError(message(name, f"{allowed}, together with an adjacency", type(base).__name__, fix))
    return base


def check_mixing(name: str, bijection: AbstractBijection, space: Space) -> AbstractBijection:
    """A mixing layer that a user built, if it is one of those that the space allows.

    Raises:
        ValueError: The space does not allow the layer.
    """
    if space == "circle" and not keeps_torus(bijection):
        kinds = ", ".join(kind.__name__ for kind in REORDERING)
        allowed = f"linear to be reverse, permutation or None, or to give {kinds}, or layers of circular scalar maps"
        fix = "Any other map, such as a matrix, does not map angles to angles."
        raise ValueError(message(name, allowed, type(bijection).__name__, fix))
    return bijection
