"""The laws that every bijection obeys, public, so that you can hold your own bijections to them.

Example:
    >>> import jax, pushforward as pf
    >>> from pushforward.testing import check_bijection
    >>> check_bijection(pf.Affine(loc=1.0, scale=2.0, shape=(2,)), jax.random.key(0))
"""

from pushforward.testing.check import CORE, LAWS, check_bijection
from pushforward.testing.law_walk import law_walk
from pushforward.testing.laws import (
    law_condition,
    law_exactness,
    law_log_det,
    law_log_dets_cancel,
    law_round_trip,
    law_shapes,
    law_value_only,
)
from pushforward.testing.laws_of_use import (
    compilations,
    law_algebra,
    law_compiles_once,
    law_gradients,
    law_integrates,
    law_rows,
    law_save_load,
    law_traits,
)
from pushforward.testing.statistics import check_mean, check_samples
from pushforward.testing.transforms import law_transforms
from pushforward.testing.trial import LawError, Tolerance, Trial, cast, randomise

__all__ = [
    "CORE",
    "LAWS",
    "LawError",
    "Tolerance",
    "Trial",
    "cast",
    "check_bijection",
    "check_mean",
    "check_samples",
    "compilations",
    "law_algebra",
    "law_compiles_once",
    "law_condition",
    "law_exactness",
    "law_gradients",
    "law_integrates",
    "law_log_det",
    "law_log_dets_cancel",
    "law_round_trip",
    "law_rows",
    "law_save_load",
    "law_shapes",
    "law_traits",
    "law_transforms",
    "law_value_only",
    "law_walk",
    "randomise",
]
