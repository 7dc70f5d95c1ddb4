"""Tables of hundreds of columns: a smaller flow by rule, which starts at the Gaussian of the columns' normal scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from pushforward._parts import parts, rewritten
from pushforward.bijections import Affine, Elementwise
from pushforward.bijections.gaussian_start import GaussianStart, gaussian_of
from pushforward.distributions.table import TableDistribution
from pushforward.flows import ENTRIES
from pushforward.numerics.rational_quadratic_spline import MIN_BIN, MIN_SLOPE, SLOPE_ONE
from pushforward.tables.encoding import Layout
from pushforward.tables.modelling.assemble import COLUMN_BOUND, Recipe, split_values
from pushforward.tables.modelling.measure import with_margins

# Values of the flow from which on a table is wide. A default flow of 300 columns takes 100 ms per step, of 1000
# columns 1.5 s: what it learns in a minute is less than a covariance matrix knows.
WIDE = 200
# What a wide table's flow has where the user says nothing: samples are parallel, and no layer has a matrix of all
# columns by all columns.
WIDE_OPTIONS: Mapping[str, Any] = {
    "n_layers": 4,
    "width": 128,
    "depth": 1,
    "autoregressive": False,
    "linear": "permutation",
}
# Bins of each column's spline. The inner knots are spread evenly over these normal scores, and one more at each end
# stands for the outermost row.
BINS, INNER = 16, 2.5
# The outermost row of a column lies here on its scale, so that the interval of its spline reaches half as far again.
FARTHEST = 4.0
# Rows of a standard normal that are mixed into each column, so that the splines of few rows stay near the identity.
PRIOR_ROWS = 16
# Rows that the start is taken from.
START_ROWS = 20_000


def completed(recipe: Recipe, layout: Layout, rows: np.ndarray, ordered: bool = False) -> Recipe:
    """The recipe with all that the rows of a table decide: its margins, and the sizes of a wide table's flow.

    Args:
        recipe: What the model is built of.
        layout: Layout of the modelled columns.
        rows: Encoded rows `(n, layout.dim)`.
        ordered: Whether the order of the columns is to hold; a flow that starts at a Gaussian would not keep it.
    """
    recipe = with_margins(recipe, layout, rows, ordered)
    n_flow, entry = len(split_values(layout, recipe.margins)[0]), ENTRIES[recipe.flow]
    if ordered or n_flow < WIDE or entry.space == "circle" or recipe.arguments.get("adjacency") is not None:
        return recipe
    own = {name: value for name, value in WIDE_OPTIONS.items() if name in entry.options and name not in recipe.chosen}
    if own.get("linear") is not None and entry.builder not in ("arranged", "coupling"):
        own.pop("linear")
    return replace(recipe, arguments={**recipe.arguments, **own}, column_bins=BINS)


def sentence(recipe: Recipe, n_flow: int) -> str:
    """What is said of the rule that made a recipe wide."""
    sizes = [
        f"{recipe.arguments[name]} {words}"
        for name, words in (("n_layers", "layers"), ("width", "units"))
        if name in recipe.arguments
    ]
    sizes = f" with {' of '.join(sizes)}" if sizes else ""
    return (
        f"The flow has {n_flow:,} numbers, {WIDE} or more: it is {recipe.flow}{sizes} over the Gaussian of the "
        "columns' normal scores, at which it starts. Options that are given stay as they are."
    )


def started(model: TableDistribution, rows: np.ndarray, condition: np.ndarray | None) -> TableDistribution:
    """An untrained wide model at its start: each column's spline at its quantiles, then the shrunken Gaussian.

    Args:
        model: For standard units.
        rows: Training rows `(n, dim)` in standard units.
        condition: Conditions `(n, k)` in standard units, or None.
    """
    spline = next((part for part in parts(model) if _is_column_spline(part)), None)
    gaussian = next((part for part in parts(model) if isinstance(part, GaussianStart)), None)
    scale = next((part for part in parts(model) if isinstance(part, Affine)), None)
    if spline is None or gaussian is None or scale is None or len(rows) < 2:
        return model
    order = np.random.default_rng(0).permutation(len(rows))[:START_ROWS]
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), len(order))
        given = None if condition is None else jnp.asarray(condition[order].T, jnp.float64)
        seen = model.standard(jnp.asarray(rows[order].T, jnp.float64), given, keys)
        values = np.asarray(seen.values, np.float64)
        params, sizes = column_splines(values)
        columns = eqx.tree_at(lambda s: s.params, spline, jnp.asarray(params, jnp.float32))
        scaled = eqx.tree_at(lambda a: a.log_scale, scale, jnp.asarray(np.log(sizes), jnp.float32))
        scores = columns.run_rows(jnp.asarray(values / sizes[:, None]), None, None, False)[0]
        given = None if seen.condition is None else jnp.asarray(seen.condition, jnp.float64)
        whole = gaussian_of(gaussian, scores, given)
        whole = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32) if eqx.is_array(leaf) else leaf, whole)

    def one(part: Any) -> Any:
        new = {id(gaussian): whole, id(spline): columns, id(scale): scaled}
        return new.get(id(part), part)

    return rewritten(model, one)


def column_splines(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splines that take a normal score to the column's value at that quantile, over the scale of the column.

    Args:
        values: Numbers of the columns `(d, n)` in standard units.

    Returns:
        Parameters `(n_params, d)` and scales `(d,)`.
    """
    n, bound = values.shape[1], COLUMN_BOUND
    edge = float(np.clip(-ndtri(0.5 / max(n, 2)), INNER + 0.25, bound - 0.5))
    x = np.concatenate([[-edge], np.linspace(-INNER, INNER, BINS - 3), [edge]])
    y = (n * np.quantile(values, ndtr(x), axis=1) + PRIOR_ROWS * x[:, None]) / (n + PRIOR_ROWS)
    scale = np.maximum(np.abs(y).max(axis=0) / FARTHEST, 1e-3)
    ends = np.full((1, values.shape[0]), bound)
    x_sizes = np.broadcast_to(np.diff(np.concatenate([[-bound], x, [bound]]))[:, None], (BINS, values.shape[0]))
    y_sizes = np.diff(np.concatenate([-ends, y / scale, ends]), axis=0)
    y_sizes = np.maximum(y_sizes, 1.1 * MIN_BIN * 2 * bound)
    y_sizes = y_sizes * (2 * bound / y_sizes.sum(axis=0))
    secant = y_sizes / x_sizes
    inner = 2 * secant[1:] * secant[:-1] / (secant[1:] + secant[:-1])
    # The slope at the upper end comes before that at the lower. Beyond both ends the map goes on as a straight line.
    last, first = (np.maximum(secant[end], secant[next_to]) for end, next_to in ((-1, -2), (0, 1)))
    raw = [np.log(np.maximum(sizes / (2 * bound), 1.01 * MIN_BIN) - MIN_BIN) for sizes in (x_sizes, y_sizes)]
    free = np.clip(np.concatenate([inner, last[None], first[None]]) - MIN_SLOPE, 1e-3, None)
    raw_slopes = np.where(free > 30, free, np.log(np.expm1(np.minimum(free, 30)))) - SLOPE_ONE
    return np.concatenate([*raw, raw_slopes]), scale


def _is_column_spline(part: Any) -> bool:
    return isinstance(part, Elementwise) and part.params.shape[0] == 3 * BINS + 1
