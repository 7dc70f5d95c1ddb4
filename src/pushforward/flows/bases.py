"""Base distributions by name, as configurations name them; `options.BASES_ON` says which flow has which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pushforward.distributions import (
    AbstractDistribution,
    DiagonalNormal,
    MultivariateNormal,
    StandardNormal,
    StudentT,
    UniformBox,
)

BASES: dict[str, Callable[[int], AbstractDistribution]] = {
    "normal": lambda dim: StandardNormal((dim,)),
    "student_t": lambda dim: StudentT(5.0, (dim,)),
    "diagonal_normal": lambda dim: DiagonalNormal(np.zeros(dim), np.ones(dim)),
    "multivariate_normal": lambda dim: MultivariateNormal(np.zeros(dim), scale_tril=np.eye(dim)),
    "torus": lambda dim: UniformBox(np.full(dim, -np.pi), np.full(dim, np.pi)),
}
