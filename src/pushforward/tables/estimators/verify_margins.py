"""Checks of the values with spaces of their own: of their distribution functions, and that latents are normal."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._precision import widened
from pushforward.checking import CheckLine
from pushforward.tables.modelling.table_model import TableModel

# Rows whose distribution functions are looked at, points of the grid, and by what share of 1 + p a density p may miss
# the derivative of its distribution function in float64.
SOME_ROWS, GRID, TOLERANCE = 16, 2048, 1e-6
# Densities that are looked at for each point of the grid: of many columns fewer rows are looked at.
AT_ONCE = 1000
# Rows whose latents are looked at.
LATENT_ROWS = 2000


def check_margins(model: TableModel, rows: np.ndarray, condition: np.ndarray | None) -> list[CheckLine]:
    """Check that each margin's density is the derivative of a function from 0 to 1, so that it adds up to 1.

    Args:
        model: The fitted model.
        rows: Encoded rows, at least one.
        condition: Their conditions `(n, k)`, or None.
    """
    distribution: Any = widened(model.distribution)
    some = max(1, min(SOME_ROWS, AT_ONCE // max(len(model.recipe.margins), 1)))
    own = None if condition is None else condition[:some]
    with jax.enable_x64(True):
        x = jnp.asarray(rows[:some].T, jnp.float64)
        given = None if own is None else jnp.asarray(own.T, jnp.float64)
        ends, slopes, density = (np.asarray(part) for part in _figures(distribution, x, given))
    apart = np.abs(slopes - density) / (1 + density)
    worst = float(max(apart.max(), np.abs(ends - np.array([0, 1])[:, None, None]).max()))
    worst = worst if np.isfinite(slopes).all() and (density >= 0).all() else np.nan
    bad = not worst <= TOLERANCE
    n = len(model.recipe.margins)
    text = (
        f"The densities of {n} columns with ends, steps, gaps or circles are the derivatives of functions that rise "
        f"from 0 to 1, within {worst:.1e}."
    )
    if bad:
        text += " They are no densities: every log-probability is wrong by as much."
    return [CheckLine("densities of margins", worst, TOLERANCE, "fail" if bad else "pass", text)]


@eqx.filter_jit
def _figures(distribution: Any, x: jax.Array, given: jax.Array | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The distribution functions at both ends, and their slopes and the densities at the middles of a grid.

    It is one program: done one operation after another, the same takes 330 compilations.
    """
    laws = distribution.margin_laws(x, given)
    grid = jnp.broadcast_to(jnp.linspace(0, 1, GRID + 1)[:, None, None], (GRID + 1, *laws.pieces.widths.shape[1:]))
    inner = 0.5 * (grid[1:] + grid[:-1])
    ends = jax.vmap(laws.value)(grid[jnp.array([0, GRID])])
    slopes = jax.vmap(lambda u: jax.jvp(laws.value, (u,), (jnp.ones_like(u),))[1])(inner)
    return ends, slopes, jnp.exp(jax.vmap(lambda u: laws.log_mass(u, u, jnp.zeros_like(u)))(inner))
