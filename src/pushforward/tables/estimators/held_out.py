"""The scores of rows that a model was not trained on: what is usual for new rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pushforward.tables.encoding import Encoded
from pushforward.tables.modelling.preparation import Prepared
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.modelling.train import Trained

# Scores that a model keeps at most: at a level of 1 % their own noise is 0.14 % then.
MOST_SCORES = 5_000


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows of a fit, with the models that have not seen them. They are scored when it is asked for.

    Args:
        models: The model of each fold.
        rows: The encoded rows of each fold.
        conditions: Their conditions `(n, k)`, or None.
    """

    models: tuple[TableModel, ...]
    rows: tuple[Encoded, ...]
    conditions: tuple[np.ndarray | None, ...]

    @staticmethod
    def of(trained: Trained, prepared: Prepared) -> HeldOut:
        """The held-out rows of a fit, and of many some.

        Args:
            trained: What the fit gave.
            prepared: The table of the fit.
        """
        rng, share = np.random.default_rng(0), MOST_SCORES // len(trained.folds)
        places = [out if len(out) <= share else np.sort(rng.choice(out, share, replace=False)) for out in trained.folds]
        condition = prepared.condition
        return HeldOut(
            trained.of_folds or (trained.model,),
            tuple(prepared.encoded.take(out) for out in places),
            tuple(None if condition is None else condition[out] for out in places),
        )

    def scores(self) -> np.ndarray:
        """The log-probability of each row under the model that has not seen it, `(n,)`; none without held-out rows."""
        found = [
            model.score_encoded(rows, condition).log_prob
            for model, rows, condition in zip(self.models, self.rows, self.conditions, strict=True)
            if len(rows.rows)
        ]
        return np.concatenate([np.zeros(0), *found])
