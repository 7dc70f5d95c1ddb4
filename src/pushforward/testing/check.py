"""All laws in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pushforward._types import PRNGKeyArray
from pushforward.bijections.base import AbstractBijection
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
    law_algebra,
    law_compiles_once,
    law_gradients,
    law_integrates,
    law_rows,
    law_save_load,
    law_traits,
)
from pushforward.testing.transforms import law_transforms
from pushforward.testing.trial import Trial

# In the order of design.md section 2.
LAWS: tuple[Callable[[Trial], None], ...] = (
    law_shapes,
    law_round_trip,
    law_log_det,
    law_log_dets_cancel,
    law_value_only,
    law_condition,
    law_exactness,
    law_rows,
    law_gradients,
    law_compiles_once,
    law_save_load,
    law_traits,
    law_algebra,
    law_integrates,
    law_transforms,
)
# Those that share two compiled programs: a test-suite can afford them for everything in every run, on `Trial.core`.
CORE: tuple[Callable[[Trial], None], ...] = (
    law_shapes,
    law_round_trip,
    law_log_det,
    law_log_dets_cancel,
    law_condition,
    law_rows,
    law_gradients,
    law_transforms,
)


def check_bijection(
    bijection: AbstractBijection,
    key: PRNGKeyArray,
    *,
    laws: Sequence[Callable[[Trial], None]] = LAWS,
    **options: Any,
) -> None:
    """Hold a bijection to the laws: shapes, round trip, log-det, condition, keys, rows, gradients, saving, algebra.

    Args:
        bijection: The bijection under test.
        key: JAX key, from which all noise and all inputs follow.
        laws: The laws to check; all by default.
        **options: Arguments of `Trial`: special points, dtype, reach, and so on.

    Raises:
        LawError: A law is broken; the message names law, bijection, input, figure and tolerance.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.testing import check_bijection
        >>> check_bijection(pf.Reverse(3), jax.random.key(0))
    """
    trial = Trial(bijection, key, **options)
    for law in laws:
        law(trial)
