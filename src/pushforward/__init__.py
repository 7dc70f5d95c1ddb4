"""Normalizing flows: one contract for exact densities and samples.

The names below are imported on first use, so that `import pushforward` and `pushforward --help` cost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward import (
        anomalies,
        bijections,
        checking,
        data,
        distributions,
        dynamics,
        export,
        flows,
        images,
        inference,
        inverse_problems,
        io,
        metrics,
        nets,
        numerics,
        objectives,
        paths,
        plotting,
        report,
        scale,
        tables,
        testing,
        training,
    )
    from pushforward._checks import ConvergenceError
    from pushforward._compile_cache import use_cache
    from pushforward._types import Fixed, Traits, combine, trainable
    from pushforward.anomalies.detector import FlowOutlierDetector
    from pushforward.bijections import (
        AbstractBatchedBijection,
        AbstractBijection,
        AbstractComposite,
        AbstractScalarMap,
        ActNorm,
        AdditiveMap,
        Affine,
        AffineMap,
        Autoregressive,
        Chain,
        Coupling,
        EmbedCondition,
        Invert,
        LULinear,
        Partial,
        Permutation,
        RationalQuadraticMap,
        Reverse,
        Scan,
        Standardize,
        Unit,
        Vmap,
        initialise,
    )
    from pushforward.checking import CheckLine, CheckReport, check, row_status, summary
    from pushforward.distributions import (
        AbstractDistribution,
        ConditionalNormal,
        DiagonalNormal,
        Flow,
        Joint,
        Mixture,
        MultivariateNormal,
        StandardNormal,
        StudentT,
        UniformBox,
    )
    from pushforward.inference import (
        NLE,
        NPE,
        ConditioningError,
        Inference,
        JointPosterior,
        Target,
        calibrate,
        condition_on,
        infer,
        marginal,
    )
    from pushforward.io.errors import UntrustedModelError
    from pushforward.nets import MADE, MLP, AbstractConditioner
    from pushforward.objectives import AbstractObjective, MaximumLikelihood
    from pushforward.tables.errors import DataError, TableWarning
    from pushforward.tables.estimators.density import FlowDensity
    from pushforward.tables.likeness.comparison import Comparison
    from pushforward.tables.likeness.two_tables import compare
    from pushforward.training import FitError, FitResult, Verdict, fit

__version__ = "0.2.0"

_MODULES = (
    "anomalies",
    "bijections",
    "checking",
    "data",
    "distributions",
    "dynamics",
    "export",
    "explore",
    "flows",
    "images",
    "inference",
    "inverse_problems",
    "io",
    "metrics",
    "nets",
    "numerics",
    "objectives",
    "paths",
    "plotting",
    "report",
    "scale",
    "tables",
    "testing",
    "training",
)
_NAMES = {
    "_checks": ("ConvergenceError",),
    "_compile_cache": ("use_cache",),
    "_types": ("Fixed", "Traits", "combine", "trainable"),
    "anomalies.detector": ("FlowOutlierDetector",),
    "bijections": (
        "AbstractBatchedBijection",
        "AbstractBijection",
        "AbstractComposite",
        "AbstractScalarMap",
        "ActNorm",
        "AdditiveMap",
        "Affine",
        "AffineMap",
        "Autoregressive",
        "Chain",
        "Coupling",
        "EmbedCondition",
        "Invert",
        "LULinear",
        "Partial",
        "Permutation",
        "RationalQuadraticMap",
        "Reverse",
        "Scan",
        "Standardize",
        "Unit",
        "Vmap",
        "initialise",
    ),
    "distributions": (
        "AbstractDistribution",
        "ConditionalNormal",
        "DiagonalNormal",
        "Flow",
        "Joint",
        "Mixture",
        "MultivariateNormal",
        "StandardNormal",
        "StudentT",
        "UniformBox",
    ),
    "checking": ("CheckLine", "CheckReport", "check", "row_status", "summary"),
    "tables.errors": ("DataError", "TableWarning"),
    "tables.estimators.density": ("FlowDensity",),
    "tables.likeness.comparison": ("Comparison",),
    "tables.likeness.two_tables": ("compare",),
    "inference": (
        "NLE",
        "NPE",
        "ConditioningError",
        "Inference",
        "JointPosterior",
        "Target",
        "calibrate",
        "condition_on",
        "infer",
        "marginal",
    ),
    "io.errors": ("UntrustedModelError",),
    "nets": ("MADE", "MLP", "AbstractConditioner"),
    "objectives": ("AbstractObjective", "MaximumLikelihood"),
    "training": ("FitError", "FitResult", "Verdict", "fit"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_MODULES, *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"pushforward.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
