"""Checks of the values with spaces of their own: that their masses add up, and that their latents are normal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._precision import widened
from pushforward.checking import CheckLine
from pushforward.numerics.unit_spline import find, value_at
from pushforward.tables.modelling.table_model import TableModel

# Rows whose distribution functions are summed, points of the grid, and by how much the sum may miss 1 in float64.
SUMMED_ROWS, GRID, SUM_TOLERANCE = 16, 2048, 1e-3
# Densities that are added up at once: of many columns fewer rows are looked at.
SUMMED = 1000
# Rows whose latents are looked at.
LATENT_ROWS = 2000


def check_margins(model: TableModel, rows: np.ndarray, condition: np.ndarray | None) -> list[CheckLine]:
    """Check that the density of each margin is the derivative of its distribution function, and adds up to 1.

    Args:
        model: The fitted model.
        rows: Encoded rows, at least one.
        condition: Their conditions `(n, k)`, or None.
    """
    distribution: Any = widened(model.distribution)
    some = max(1, min(SUMMED_ROWS, SUMMED // max(len(model.recipe.margins), 1)))
    own = None if condition is None else condition[:some]
    with jax.enable_x64(True):
        x = jnp.asarray(rows[:some].T, jnp.float64)
        given = None if own is None else jnp.asarray(own.T, jnp.float64)
        pieces = distribution.margin_pieces(x, given)
        grid = jnp.broadcast_to(jnp.linspace(0, 1, GRID + 1)[:, None, None], (GRID + 1, *pieces.widths.shape[1:]))
        values = np.asarray(jax.vmap(lambda u: value_at(find(pieces, u)))(grid))
        slopes = np.asarray(jax.vmap(lambda u: _slope(pieces, u))(0.5 * (grid[1:] + grid[:-1])))
    total = slopes.mean(axis=0)
    worst = float(np.abs(total - 1).max()) if np.isfinite(total).all() else np.nan
    falls = bool((np.diff(values, axis=0) < 0).any()) or not np.allclose([values[0], values[-1]], [[[0.0]], [[1.0]]])
    bad = falls or not worst <= SUM_TOLERANCE
    names = [margin.name for margin in model.recipe.margins]
    text = f"The densities of {len(names)} columns with ends, steps, gaps or circles add up to 1 within {worst:.1e}."
    if bad:
        text += " They are no densities: every log-probability is wrong by as much."
    return [CheckLine("densities of margins", worst, SUM_TOLERANCE, "fail" if bad else "pass", text)]


def _slope(pieces: Any, u: Any) -> Any:
    return jax.jvp(lambda v: value_at(find(pieces, v)), (u,), (jnp.ones_like(u),))[1]
