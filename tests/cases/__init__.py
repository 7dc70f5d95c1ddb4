"""One named constructor for every exported bijection, and for every model of the zoo: the laws are run on all."""

from cases import (
    continuous,
    core,
    functions,
    graph,
    integrals,
    linear,
    low_rank,
    residual,
    sigmoidal,
    splines,
    supports,
    zoo,
)
from cases.case import Case
from cases.core import autoregressive, coupling
from cases.zoo import ZOO, small

# Each family of bijections has a module with its cases; a name may be used once.
FAMILIES = (core, graph, supports, functions, sigmoidal, integrals, splines, linear, low_rank, residual, continuous)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family.CASES.items()}
assert len(CASES) == sum(len(family.CASES) for family in FAMILIES)
# Variants of a case that share its formulas, and cases whose programs take long to compile, which tests of their own
# hold to closed forms in every run: their laws run with `pytest --thorough`.
VARIANTS = {
    "Affine of a matrix",
    "Affine of a number",
    "ColumnUnits of intervals",
    "LULinear of a number",
    "Permutation",
    "Coupling, affine, all transformed",
    "Coupling, spline, a number, conditional",
    "Autoregressive, additive",
    "Autoregressive, affine, narrow",
    "Autoregressive, affine, residual",
    "Vmap, shared",
    "GraphAutoregressive, chain",
    "GraphAutoregressive, pair, spline",
    "GraphAutoregressive, collider, residual",
    "GraphAutoregressive, empty, conditional",
    "IntoBox of intervals",
    "IntoBox of half lines",
    "IntoBox of lower half lines",
    "Coupling, Bernstein",
    "Autoregressive, integral, conditional",
    "Autoregressive, sum of squares",
    "BlockAutoregressive of a number, conditional",
    "Autoregressive, circular spline",
    "Coupling, Moebius",
    "TriangularLinear, upper",
    "Householder, few reflections",
    "Planar of a number, conditional",
    "Planar, leaky, conditional",
    "Radial",
    "Sylvester, Cayley, full rank",
    "Sylvester, leaky, conditional",
    "Autoregressive, spline, a number, conditional",
    "BlockAutoregressive",
    "Elementwise, Moebius",
    "Elementwise, dense sigmoidal",
    "Elementwise, linear spline",
    "Elementwise, linear-rational spline",
    "Elementwise, logistic mixture",
    "Elementwise, normal mixture",
    "Elementwise, quadratic spline",
    "Elementwise, sigmoidal",
    "Elementwise, sum of squares",
    "MatrixExponential",
    "Residual, roulette",
    "Sylvester",
    "Elementwise, repeated",
    "Residual, Anderson, conditional",
    "Residual, convolutions",
    "Residual, truncated",
    "Residual, truncated, probes",
    "Residual, roulette, geometric, plain, conditional",
    "Elementwise, integral",
    "Elementwise, cubic spline",
    "Elementwise, Bernstein",
    "StudentTCDF",
    "Elementwise, perturbation",
    "LowRankLinear",
    "Elementwise, circular spline",
    "SinhArcsinh",
    "Coupling, affine, alternating",
    "ColumnUnits of half lines",
    "Radial, conditional",
    "Autoregressive, spline",
    "Concatenate",
    "Invert",
    "ColumnUnits",
    "EmbedCondition",
    "GraphAutoregressive, diamond, conditional",
    "Partial",
    "Planar",
    "Residual",
    "Vmap",
    "WithCondition",
    "Continuous",
    "Continuous, probes",
    "Continuous, by products, conditional",
    "Continuous, of data",
    "Continuous, of a potential, conditional",
    "Continuous, residual network",
    "Continuous, probability flow",
}
# Of the zoo, an autoregressive flow before and after training; the others with `--thorough`.
ZOO_EVERY_RUN = {"nsf, autoregressive"}
ZOO_CASES: dict[str, Case] = zoo.CASES
assert set(CASES) >= VARIANTS
assert set(ZOO_CASES) >= ZOO_EVERY_RUN

__all__ = ["CASES", "VARIANTS", "ZOO", "ZOO_CASES", "ZOO_EVERY_RUN", "Case", "autoregressive", "coupling", "small"]
