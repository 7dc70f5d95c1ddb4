"""New rows from a fitted `FlowDensity`: as the kind of table that it was fitted on, or piece by piece."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pushforward.tables.encoding import as_asked, encode
from pushforward.tables.errors import TableWarning
from pushforward.tables.estimators.frames import given_cells, to_frame, wanted_kind
from pushforward.tables.estimators.samples import clipped, wild_rows
from pushforward.tables.estimators.seeds import seed_words

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity

# Samples below which a share of wild ones says nothing.
LEAST_ROWS = 20

# Rows of a piece of a sample that is too large to be held as a whole.
PIECE_ROWS = 65_536


def draw(density: FlowDensity, n_samples: Any, given: Any, random_state: Any, clip: Any) -> Any:
    """Draw rows; see `FlowDensity.sample`, which has the arguments and the errors."""
    (table,) = draw_pieces(density, n_samples, given, random_state, clip, None)
    kind = wanted_kind(getattr(density, "_output", None), density._kind)
    held = {c.name: c.container for c in density.schema_.columns if c.container is not None}
    return to_frame(table, kind, held if kind == density._kind else None)


def draw_pieces(
    density: FlowDensity, n_samples: Any, given: Any, random_state: Any, clip: Any, rows: int | None = PIECE_ROWS
) -> Iterator[pa.Table]:
    """Draw rows piece by piece, so that a sample of any size takes the memory of one piece.

    Args:
        density: Fitted estimator.
        n_samples: Number of rows, for each row of `given` if there are conditions.
        given: Conditions, or None.
        random_state: As for `seed_words`.
        clip: `"observed"` or None.
        rows: Rows of each piece but the last; None makes one piece.

    Raises:
        ValueError: `given` is missing, superfluous, or of another shape, or `clip` is another word.
    """
    model = density.model_
    if clip not in (None, "observed"):
        raise ValueError(f"FlowDensity.sample: expected clip None or 'observed', got {clip!r}.")
    if isinstance(n_samples, bool) or not hasattr(n_samples, "__index__") or n_samples.__index__() < 1:
        raise ValueError(f"FlowDensity.sample: expected n_samples an integer >= 1, got {n_samples!r}.")
    n, seed = n_samples.__index__(), seed_words(random_state, 2)
    if (given is not None) != bool(density.given_):
        expected = (
            f"given, rows of {list(density.given_)}" if density.given_ else "no given (the model is unconditional)"
        )
        raise ValueError(f"FlowDensity.sample: expected {expected}, got {'one' if given is not None else 'none'}.")
    condition = asked = None
    if given is not None and model.given_layout is not None:
        asked = given_cells(given, density.given_, model.schema.reading)
        condition = encode(model.given_layout, asked, unseen=density.unseen).rows
    total = n * (1 if condition is None else len(condition))
    names, warned = model.names_out(), False
    for start in range(0, total, rows or total):
        part = range(start, min(start + (rows or total), total))
        encoded = model.draw(n, seed, condition, part)
        if clip is not None:
            encoded = clipped(model.layout, encoded)
        elif len(encoded) >= LEAST_ROWS and not warned:
            wild = wild_rows(model.layout, encoded, model.schema.rows)
            if wild.share > wild.limit:
                text = (
                    f"{wild.sentence} Fit the model anew, or hold them to the range of the data with clip='observed'."
                )
                warnings.warn(text, TableWarning, stacklevel=4)
                warned = True
        # What decoding leaves to chance, such as the level of a rare one, is left to another chance in each piece.
        drawn = model.decode(encoded, seed + np.uint32(start))
        if asked is not None and model.given_layout is not None:
            drawn |= as_asked(model.given_layout, asked.take(np.arange(part.start, part.stop) // n), 1)
        yield pa.table({name: drawn[name] for name in names if name in drawn})
