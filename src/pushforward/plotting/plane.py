"""What the pictures of a flow's way share: where its states are, its density on a grid, axes that fit all times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward.distributions import Evolution, Flow
from pushforward.plotting.style import ORANGE, in_units, limits, short_ticks, shortened, units

# Points of a grid along each axis of a plane, and along a line.
GRID, LINE_GRID = 100, 400
# Draws of the base that are followed.
DRAWS = 1000


def evolution_of(what: str, flow: Any, condition: Any) -> tuple[Evolution, int]:
    """The evolution of a flow over vectors, and their length.

    Raises:
        ValueError: The events are no vectors, or the condition does not fit.
        TypeError: The argument is no flow.
    """
    if not isinstance(flow, Flow):
        fix = "For a fitted table take flow_, or draw the model folder with `pushforward plot`."
        raise TypeError(message(what, "a Flow", type(flow).__name__, fix))
    if len(flow.event_shape) != 1:
        raise ValueError(message(what, "a flow over vectors", f"events of shape {flow.event_shape}", "Flatten them."))
    return Evolution(flow, condition), flow.event_shape[0]


def times_of(evolution: Evolution, most: int) -> np.ndarray:
    """Times from the first to the last, at most so many; of layers whole numbers."""
    if evolution.continuous:
        return np.linspace(evolution.start, evolution.end, most)
    return np.unique(np.linspace(0, evolution.end, most).round())


def name_of(evolution: Evolution, t: float) -> str:
    """The title of a time."""
    if evolution.continuous:
        return f"$t$ = {t:.3g}"
    return "latent" if t == 0 else f"after layer {t:g}"


def drawn_states(evolution: Evolution, times: Any, random_state: int) -> np.ndarray:
    """The states of draws of the base at each time, `(n_times, DRAWS, d)`."""
    return np.asarray(evolution.states(evolution.base.sample(jax.random.key(random_state), DRAWS), times))


def spans(states: np.ndarray) -> list[tuple[float, float]]:
    """The limits, for each coordinate, of an axis that shows states `(n_times, n, d)` at all times.

    Raises:
        ValueError: There is a time at which no state is finite.
    """
    found = []
    for i in range(states.shape[-1]):
        finite = [of[np.isfinite(of)] for of in np.asarray(states[..., i], np.float64)]
        if not all(len(of) for of in finite):
            fix = "pf.check(flow) says what is wrong with it."
            raise ValueError(message("plot", "finite states", "none: the flow fails on draws of its base", fix))
        at_each = [limits(of) for of in finite]
        found.append((min(low for low, _ in at_each), max(high for _, high in at_each)))
    return found


def density_in(
    evolution: Evolution, t: float, axes: Sequence[np.ndarray], order: tuple[int, ...] = (0, 1)
) -> np.ndarray:
    """The density at time `t` on a grid: `(n,)` of one axis, `(n_y, n_x)` of two, as images have it.

    Args:
        evolution: Evolution of vectors of one or two coordinates.
        t: Time.
        axes: Grid of each axis.
        order: Coordinate that each axis shows.
    """
    points = np.stack([part.ravel() for part in np.meshgrid(*axes)], axis=1)
    density = np.exp(np.asarray(evolution.log_prob(t, points[:, np.argsort(order[: len(axes)])]), np.float64))
    return density.reshape([len(axis) for axis in reversed(axes)])


def draw_density(
    axis: Any,
    evolution: Evolution,
    t: float,
    ranges: Sequence[tuple[float, float]],
    order: tuple[int, ...] = (0, 1),
) -> Any:
    """Draw the density of a plane at time `t` in shades from 0 to its largest value, which is written; the mesh."""
    x, y = (np.linspace(*own, GRID) for own in ranges)
    mesh = axis.pcolormesh(x, y, density_in(evolution, t, (x, y), order), cmap=shades(), vmin=0, shading="nearest")
    mesh.set_rasterized(True)
    axis.set(xlim=ranges[0], ylim=ranges[1])
    largest = np.nanmax(mesh.get_array())
    axis.set_title(f"max {largest:.2g}", loc="right", color=ORANGE, fontsize=8)
    return mesh


def shades() -> Any:
    """A colour map from white to dark in the model's colour."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("model", ["#FFFFFF", "#F7CFAE", ORANGE, "#5A2600"])


def label(part: Any, name: str, span: tuple[float, float], most: int = 4) -> None:
    """Name an axis (its x or y), with short numbers."""
    offset, power = units(*span)
    short_ticks(part, offset, power, most)
    part.set_label_text(in_units(shortened(name), offset, power))


def names_for(what: str, names: Sequence[str] | None, dim: int) -> list[str]:
    """The names of the columns, `x0`, `x1`, ... for None.

    Raises:
        ValueError: There are more or fewer names than columns.
    """
    if names is not None and len(names) != dim:
        raise ValueError(message(what, f"{dim} names, one per column", str(len(names)), "Name every column."))
    return [f"x{i}" for i in range(dim)] if names is None else [str(name) for name in names]


def columns_for(what: str, columns: Sequence[int] | None, dim: int) -> tuple[int, ...]:
    """The positions of the columns to draw, one or two.

    Raises:
        ValueError: There are more or fewer than that, or one is repeated or does not exist.
    """
    chosen = tuple(range(min(dim, 2))) if columns is None else tuple(int(i) for i in columns)
    if len(chosen) not in (1, 2) or len(set(chosen)) < len(chosen) or not all(0 <= i < dim for i in chosen):
        raise ValueError(message(what, f"one or two columns of 0 to {dim - 1}", str(list(chosen)), "Choose others."))
    return chosen
