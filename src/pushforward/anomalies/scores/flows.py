"""The flows that scores are made of: fitted to the rows as their features take them, alone or as members of a few."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone

from pushforward.anomalies.features import RowFeatures
from pushforward.anomalies.smoothing import SmoothedLikelihood
from pushforward.distributions.ensemble import Ensemble
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.seeds import seed_words
from pushforward.training.members import folds

# The flows of the default ensemble. They are small, for what limits a score is overfitting.
N_FLOWS, NOISE, BINS, BATCH, STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 3, 0.3, 4, 512, 1000, 6, 400


def smoothed_density(n_rows: int, noise: float = NOISE) -> FlowDensity:
    """The settings of a few small flows, each trained with noise on two thirds of the rows.

    Args:
        n_rows: Number of rows of the fit, which decides how often each is seen.
        noise: As for `SmoothedLikelihood`.
    """
    return FlowDensity(
        "nsf",
        n_layers=2,
        width=32,
        bins=BINS,
        verify=False,
        n_members=N_FLOWS,
        validation_fraction=1 / N_FLOWS,
        objective=SmoothedLikelihood(noise),
        batch_size=BATCH,
        max_epochs=min(max(FEWEST_EPOCHS, round(STEPS * BATCH / n_rows)), MOST_EPOCHS),
    )


def fitted_density(
    density: FlowDensity | None, features: RowFeatures, X: Any, weights: np.ndarray | None, random_state: int
) -> FlowDensity:
    """A flow fitted to the rows of a score.

    Args:
        density: Estimator whose settings are taken, and which stays as it is; None is `FlowDensity(verify=False)`.
        features: Features of the rows.
        X: The rows.
        weights: Weights of the rows, or None.
        random_state: Seed of the fit.
    """
    own: Any = FlowDensity(verify=False) if density is None else clone(density)
    if own.schema is None:
        own.set_params(**features.settings_of_density())
    return own.set_params(random_state=random_state).fit(features.rows_for_density(X), sample_weight=weights)


def latents_of(density: FlowDensity, X: Any) -> np.ndarray:
    """The latents of the values of rows `(n, k)` float64, each standard normal over the rows of the fit.

    Args:
        density: Fitted density without conditions; of an ensemble its first member.
        X: Rows as the density takes them.
    """
    return density.model_.latents(density.table_of(X))


def members_of(density: FlowDensity, n_rows: int, random_state: int) -> list[tuple[FlowDensity, np.ndarray]]:
    """The members of a fitted ensemble, each as a density, with the places of the rows that it has not seen.

    Args:
        density: Fitted with `n_members` above 1, to rows without weights of 0.
        n_rows: Number of these rows.
        random_state: Seed of the fit.
    """
    model = density.model_
    if not isinstance(model.distribution, Ensemble):
        return [(density, density.held_out_)]
    key_words = seed_words(random_state, (2, 2))[1].tolist()
    n_members: int = model.distribution.size - 1  # the last one is wide
    held_out = folds(n_rows, n_members, density.validation_fraction, key_words)
    found = []
    for member, places in zip(model.distribution.each, held_out, strict=False):
        alone = copy.copy(density).set_params(n_members=1)
        own = replace(model, distribution=member, recipe=replace(model.recipe, members=1))
        alone._keep(own, density.result_)
        found.append((alone, places))
    return found
