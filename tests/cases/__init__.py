"""One named constructor for every exported bijection, and for every model of the zoo: the laws are run on all."""

from cases import (
    continuous,
    core,
    functions,
    graph,
    images,
    integrals,
    linear,
    low_rank,
    residual,
    sigmoidal,
    splines,
    supports,
    tokens,
    zoo,
)
from cases.case import Case
from cases.core import autoregressive, coupling
from cases.zoo import ZOO, small

# Each family of bijections has a module with its cases; a name may be used once.
FAMILIES = (
    core,
    graph,
    supports,
    functions,
    sigmoidal,
    integrals,
    splines,
    linear,
    low_rank,
    residual,
    continuous,
    images,
    tokens,
)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family.CASES.items()}
assert len(CASES) == sum(len(family.CASES) for family in FAMILIES)
ZOO_CASES: dict[str, Case] = zoo.CASES

__all__ = ["CASES", "ZOO", "ZOO_CASES", "Case", "autoregressive", "coupling", "small"]
