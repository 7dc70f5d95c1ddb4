"""The training of posteriors and likelihoods of simulators: an ensemble whose members hold out different rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.distributions.ensemble import Ensemble
from pushforward.objectives import natural_objective
from pushforward.training import FitResult, fit
from pushforward.training.members import EachMember, SharedRows, folds, shares_of
from pushforward.training.options import Adam, Steps, Stopping

# Share of the pairs that each member holds out.
HELD_OUT = 0.1
# What held-out simulations of four simulators chose for the members: the decay, and the length of the schedule.
WEIGHT_DECAY, STEPS = 1e-3, 4500
BATCH, LEAST_EPOCHS, MOST_EPOCHS = 256, 20, 1000


@dataclass(frozen=True)
class Schedule:
    """How long members are trained.

    Args:
        learning_rate: Learning rate at the top of the schedule, of flows that are trained by likelihood.
        max_epochs: Number of passes over the pairs; None chooses by their number.
        max_seconds: Wall-clock budget; None sets none.
        progress: As in `pf.fit`.
    """

    learning_rate: float
    max_epochs: int | None = None
    max_seconds: float | None = None
    progress: bool | Literal["auto"] = False


def train(
    members: Sequence[AbstractDistribution], rows: np.ndarray, condition: np.ndarray, key: PRNGKeyArray, how: Schedule
) -> tuple[Ensemble, FitResult]:
    """Train members in one program, each without a tenth of the pairs that stops it.

    Args:
        members: Untrained conditional flows of one architecture.
        rows: Events `(n, dim)`.
        condition: Conditions `(n, *cond_shape)`.
        key: JAX key.
        how: How long.

    Returns:
        The members as one mixture, and the result of the fit.
    """
    objective = natural_objective(members[0])
    options = [Stopping(how.max_seconds), Steps(BATCH)]
    fixed: dict[str, Any] = {"key": key, "progress": how.progress, "options": options}
    condition = condition.astype(np.float32)
    if objective.is_regression:
        result = fit(members[0], rows, condition=condition, validation=HELD_OUT, max_epochs=how.max_epochs, **fixed)
        return Ensemble([result.flow]), result
    n, count = len(rows), len(members)
    by_number = int(np.clip(round(STEPS * BATCH / ((1 - HELD_OUT) * n)), LEAST_EPOCHS, MOST_EPOCHS))
    fixed["max_epochs"] = by_number if how.max_epochs is None else how.max_epochs
    fixed["optimizer"] = Adam(how.learning_rate, weight_decay=WEIGHT_DECAY)
    if count == 1:
        result = fit(members[0], rows, condition=condition, validation=HELD_OUT, **fixed)
        return Ensemble([result.flow]), result
    held_out = folds(n, count, HELD_OUT, np.asarray(jax.random.key_data(key)).ravel().tolist())
    places = np.concatenate(held_out)
    alone = np.eye(count)[np.repeat(np.arange(count), len(held_out[0]))]
    shared = np.concatenate([rows, shares_of(held_out, n)], axis=1)
    judged = (np.concatenate([rows[places], alone], axis=1), condition[places])
    result = fit(
        SharedRows(Ensemble(members)),
        shared,
        condition=condition,
        validation=judged,
        objective=EachMember(objective),
        **fixed,
    )
    trained: Any = result.flow
    return trained.ensemble, result


def built(make: Callable[[PRNGKeyArray], Any], key: PRNGKeyArray, n_members: int) -> list[Any]:
    """Members with initial weights of their own."""
    return [make(own) for own in jax.random.split(key, n_members)]
