"""New rows from a fitted `FlowDensity`, as the kind of table that it was fitted on."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

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


def draw(density: FlowDensity, n_samples: Any, given: Any, random_state: Any, clip: Any) -> Any:
    """Draw rows; see `FlowDensity.sample`.

    Args:
        density: Fitted estimator.
        n_samples: Number of rows, for each row of `given` if there are conditions.
        given: Conditions, or None.
        random_state: As for `seed_words`.
        clip: `"observed"` or None.

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
    rows = model.draw(n, seed, condition)
    if clip is not None:
        rows = clipped(model.layout, rows)
    elif len(rows) >= LEAST_ROWS:
        wild = wild_rows(model.layout, rows, model.schema.rows)
        if wild.share > wild.limit:
            text = f"{wild.sentence} Fit the model anew, or hold them to the range of the data with clip='observed'."
            warnings.warn(text, TableWarning, stacklevel=3)
    drawn = model.decode(rows, seed)
    if asked is not None and model.given_layout is not None:
        drawn |= as_asked(model.given_layout, asked, n)
    names = [name for name in model.names_out() if name in drawn]
    table = pa.table({name: drawn[name] for name in names})
    kind = wanted_kind(getattr(density, "_output", None), density._kind)
    held = {c.name: c.container for c in density.schema_.columns if c.container is not None}
    return to_frame(table, kind, held if kind == density._kind else None)
