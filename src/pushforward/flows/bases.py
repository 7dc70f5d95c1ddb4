"""Base distributions by name, as configurations name them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pushforward.distributions import AbstractDistribution, DiagonalNormal, StandardNormal, StudentT, UniformBox

BASES: dict[str, Callable[[int], AbstractDistribution]] = {
    "normal": lambda dim: StandardNormal((dim,)),
    "student_t": lambda dim: StudentT(5.0, (dim,)),
    "diagonal_normal": lambda dim: DiagonalNormal(np.zeros(dim), np.ones(dim)),
    "torus": lambda dim: UniformBox(np.full(dim, -np.pi), np.full(dim, np.pi)),
}

# Flows over angles in radians. They have a base over the torus, which no other flow can have, and no other base.
ANGULAR = frozenset({"ncsf"})
