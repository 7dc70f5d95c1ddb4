"""Columns of an array that never varied in a fit: no density has them, and a row that differs there is strange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.io.errors import UntrustedModelError

NAMES = ("constant_places", "constant_values")


@dataclass(frozen=True)
class VaryingColumns:
    """Which columns of an array varied in a fit. Of tables with names, `FlowDensity` itself sets such columns aside.

    Args:
        places: Places of the columns that never varied.
        values: The one value of each.
    """

    places: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    @staticmethod
    def of(X: Any) -> VaryingColumns:
        """The columns of the rows of a fit.

        Args:
            X: Array of real numbers `(n, d)`, or any other table, of which all columns are kept.
        """
        if not isinstance(X, np.ndarray) or X.dtype.kind not in "fiu":
            return VaryingColumns()
        still = (X[0] == X).all(axis=0)
        if still.all():  # the density says what is wrong
            return VaryingColumns()
        return VaryingColumns(tuple(np.flatnonzero(still).tolist()), tuple(X[0, still].astype(float).tolist()))

    def take(self, X: Any) -> Any:
        """The columns that varied; any other table as it is."""
        return np.delete(X, self.places, axis=1) if self.places else X

    def with_strange(self, X: Any, scores: np.ndarray) -> np.ndarray:
        """The scores `(n,)`, plus infinity in rows that differ where all rows of the fit agreed."""
        if not self.places:
            return scores
        return np.where((X[:, self.places] != np.array(self.values)).any(axis=1), np.inf, scores)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays that a folder holds; none where all columns vary."""
        if not self.places:
            return {}
        return {NAMES[0]: np.array(self.places, np.int64), NAMES[1]: np.array(self.values, np.float64)}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> VaryingColumns:
        """What `to_arrays` gave.

        Raises:
            UntrustedModelError: The arrays are others.
        """
        if not arrays:
            return VaryingColumns()
        if set(arrays) != set(NAMES) or any(array.ndim != 1 for array in arrays.values()):
            raise UntrustedModelError(f"a score: expected the arrays {', '.join(NAMES)}, got {', '.join(arrays)[:80]}.")
        places, values = (arrays[name] for name in NAMES)
        increasing = places.dtype.kind == "i" and len(places) == len(values) and (np.diff(places, prepend=-1) > 0).all()
        if not increasing:
            raise UntrustedModelError("a score: the places of constant columns are not increasing integers.")
        return VaryingColumns(tuple(places.tolist()), tuple(values.astype(float).tolist()))
