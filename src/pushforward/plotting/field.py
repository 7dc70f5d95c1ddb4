"""The velocity field of a flow in the plane, over the density that it carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.plane import (
    draw_density,
    drawn_states,
    evolution_of,
    label,
    name_of,
    names_for,
    spans,
    times_of,
)
from pushforward.plotting.style import new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Arrows along each axis, panels, and times at which the axes are to fit.
ARROWS, PANELS, LOOKS = 17, 5, 9
# The speed that most arrows stay below is drawn as long as this many cells of their grid.
LONGEST, MOST = 1.6, 0.95


def plot_field(
    flow: Any,
    *,
    condition: Any = None,
    names: Sequence[str] | None = None,
    times: Sequence[float] | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the velocity of a flow in the plane as arrows at several times, over the exact density at these times.

    Where fixed maps follow the field, arrows and axes are in the units that they lead to. Lengths are speeds, alike in
    all panels; arrows are pale where the density is below a thousandth of its largest value, for there the field
    carries nothing.

    Args:
        flow: Flow with one `Continuous` over two coordinates.
        condition: One condition, for a conditional flow.
        names: Names of the columns.
        times: Times of the panels; None takes five from the first to the last.
        figure: Figure to draw in; None makes one.
        random_state: Seed of the draws that show where the states are.

    Returns:
        The figure and its axes `(n_panels,)`.

    Raises:
        ValueError: The events are not of two coordinates, or a shape does not fit.
        TypeError: The flow has no velocity field.
    """
    evolution, dim = evolution_of("plot_field", flow, condition)
    if not evolution.continuous:
        raise TypeError(
            message(
                "plot_field",
                "a flow of a velocity field (with one Continuous)",
                "one of layers",
                "Draw it with plot_layers or plot_trajectories.",
            )
        )
    if dim != 2:
        fix = "Draw columns of it with plot_trajectories."
        raise ValueError(message("plot_field", "a flow in the plane", f"one of {dim} columns", fix))
    labels = names_for("plot_field", names, dim)
    panels = times_of(evolution, PANELS) if times is None else np.asarray(times, np.float64)
    ranges = spans(drawn_states(evolution, times_of(evolution, LOOKS), random_state))
    # Arrows stand in the middles of cells: one at the edge would leave the axes.
    x, y = (low + (np.arange(ARROWS) + 0.5) * (high - low) / ARROWS for low, high in ranges)
    points = np.stack([part.ravel() for part in np.meshgrid(x, y)], axis=1)
    sizes = np.array([high - low for low, high in ranges])
    # Lengths are shares of the axes, so that columns of different units have arrows of one scale.
    arrows = [np.asarray(evolution.velocity(float(t), points)) / sizes for t in panels]
    speed = np.concatenate([np.linalg.norm(of, axis=1) for of in arrows])
    usual = float(np.quantile(speed[np.isfinite(speed)], MOST)) or 1.0
    with styled():
        figure = new_figure(figure, 0.5 + 2.0 * len(panels), 2.75)
        axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
        for axis, t, of in zip(axes, panels, arrows, strict=True):
            mesh = draw_density(axis, evolution, float(t), ranges)
            density = np.exp(np.asarray(evolution.log_prob(float(t), points)))
            shown = np.where(density > 1e-3 * mesh.get_array().max(), 1.0, 0.25)
            length = of * (LONGEST / ARROWS / usual)
            axis.quiver(
                *points.T, *(length * sizes).T, alpha=shown, color="#303030", angles="xy", scale_units="xy", scale=1,
                width=0.006, pivot="mid",
            )  # fmt: skip
            axis.set_title(name_of(evolution, float(t)), loc="left")
            axis.set_box_aspect(1)
            label(axis.xaxis, labels[0], ranges[0])
        label(axes[0].yaxis, labels[1], ranges[1])
    return figure, axes
