"""The scalar maps by name: which options each has, and whether it maps the line or the circle.

Every coupling and autoregressive flow takes each map of its space, by `scalar_map="cubic_spline"` or as an object.
Nothing here needs JAX but `scalar_map_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.bijections import AbstractScalarMap

MapName = Literal[
    "additive",
    "affine",
    "bernstein",
    "circular_spline",
    "cubic_spline",
    "dense_sigmoidal",
    "gaussian_mixture",
    "integral",
    "linear_rational_spline",
    "linear_spline",
    "logistic_mixture",
    "moebius",
    "perturbation",
    "quadratic_spline",
    "rational_quadratic",
    "sigmoidal",
    "sum_of_squares",
]


@dataclass(frozen=True)
class ScalarMap:
    """One scalar map.

    Args:
        kind: Name of its class in `pushforward.bijections`.
        options: Options of the zoo that the map has; they are the arguments of the class.
        defaults: Defaults that differ from those of the options.
        space: `"line"` or `"circle"`.
    """

    kind: str
    options: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    space: Literal["line", "circle"] = "line"


SPLINE = ("bins", "bound")
MIXTURE = ("components", "max_log_scale")

MAPS: dict[str, ScalarMap] = {
    "additive": ScalarMap("AdditiveMap"),
    "affine": ScalarMap("AffineMap", ("max_log_scale",)),
    "bernstein": ScalarMap("BernsteinMap", ("degree", "bound"), {"degree": 16}),
    "circular_spline": ScalarMap("CircularSplineMap", ("bins",), space="circle"),
    "cubic_spline": ScalarMap("CubicSplineMap", SPLINE),
    "dense_sigmoidal": ScalarMap("DenseSigmoidalMap", ("components", "compositions", "max_log_scale")),
    "gaussian_mixture": ScalarMap("GaussianMixtureMap", MIXTURE),
    "integral": ScalarMap("IntegralMap", ("embedding", "integrand_width", "integrand_depth", "nodes", "bound")),
    "linear_rational_spline": ScalarMap("LinearRationalSplineMap", SPLINE),
    "linear_spline": ScalarMap("LinearSplineMap", SPLINE),
    "logistic_mixture": ScalarMap("LogisticMixtureMap", MIXTURE),
    "moebius": ScalarMap("MoebiusMap", ("components",), space="circle"),
    "perturbation": ScalarMap("PerturbationMap", ("max_log_scale",)),
    "quadratic_spline": ScalarMap("QuadraticSplineMap", SPLINE),
    "rational_quadratic": ScalarMap("RationalQuadraticMap", SPLINE),
    "sigmoidal": ScalarMap("SigmoidalMap", ("components", "compositions", "conic", "max_log_scale")),
    "sum_of_squares": ScalarMap("SumOfSquaresMap", ("degree", "components", "bound"), {"components": 3}),
}


def maps_on(space: str) -> tuple[str, ...]:
    """The names of the maps of the line, or of the circle."""
    return tuple(name for name, entry in MAPS.items() if entry.space == space)


def scalar_map_of(name: str, options: Mapping[str, Any]) -> Callable[[PRNGKeyArray], AbstractScalarMap]:
    """The map of that name, as a function of a key, for maps may have weights of their own.

    Args:
        name: Name of the map in `MAPS`.
        options: Values of at least the options that the map has.
    """
    import pushforward.bijections as bijections
    from pushforward.numerics.quadrature import ClenshawCurtis

    entry = MAPS[name]
    own = {option: options[option] for option in entry.options}
    kind: Any = getattr(bijections, entry.kind)
    if name == "integral":
        rule, sizes = ClenshawCurtis(own["nodes"]), (own["embedding"], own["integrand_width"], own["integrand_depth"])
        return lambda key: kind(key, *sizes, rule=rule, bound=own["bound"])
    if name == "sigmoidal":
        own |= {"n_sigmoids": own.pop("components"), "depth": own.pop("compositions")}
    if name == "dense_sigmoidal":
        own["widths"] = (own.pop("components"),) * own.pop("compositions")
    made = kind(**own)
    return lambda key: made
