"""How alike a real and a synthetic table are: the error of each column, and of each pair of columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, shortened, styled
from pushforward.tables.likeness.comparison import SHAPE_MARK, TREND_MARK, Comparison, Likeness

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from pushforward.metrics import Similarity

# Columns that are drawn; of more, those with the largest errors.
MOST_COLUMNS = 30
# An error counts as beyond chance from so many standard deviations.
BEYOND = 3.0
LETTERS = 110


def plot_likeness(
    found: Comparison | Likeness, *, figure: Figure | SubFigure | None = None
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the error of each column (Shape) and of each pair (Trend), and say what was found.

    Bars are errors of columns by SDMetrics' definition, orange where they are beyond chance by three standard
    deviations and beyond the mark of 1 %. The matrix has the errors of pairs, with a dot where they are beyond chance
    and beyond 2 %.

    Args:
        found: Result of `compare`, or the likeness of an `Evaluation`.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and the axes of both panels.
    """
    likeness = found.likeness if isinstance(found, Comparison) else found
    names = list(likeness.shape.errors)
    if len(names) > MOST_COLUMNS:
        chosen = set(likeness.shape.worst[:MOST_COLUMNS])
        names = [name for name in names if name in chosen]
    side = 1.2 + 0.24 * len(names)
    with styled():
        figure = new_figure(figure, max(8.0, 2.6 * side), max(3.6, side + 0.8))
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
        _columns(left, likeness.shape, names)
        _pairs(figure, right, likeness.trend, names)
        verdict = found.verdict if isinstance(found, Comparison) else ""
        if verdict:
            figure.suptitle("\n".join(textwrap.wrap(verdict, LETTERS)), fontsize=9, x=0.01, ha="left")
    return figure, np.array([left, right], dtype=object)


def _columns(axis: Any, shape: Similarity, names: list[str]) -> None:
    errors = np.array([shape.errors[name] for name in names])
    certain = np.array([shape.beyond.get(name, 0.0) > BEYOND for name in names])
    colors = np.where(certain & (errors > SHAPE_MARK), ORANGE, BLUE)
    places = np.arange(len(names))
    axis.barh(places, 100 * np.nan_to_num(errors), color=colors, height=0.7)
    axis.axvline(100 * shape.error, color="black", linewidth=0.9, label=f"mean {shape.error:.2%}")
    axis.axvline(
        100 * shape.chance, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), label=f"chance {shape.chance:.2%}"
    )
    axis.set_yticks(places, [shortened(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("error of the column, %")
    axis.set_title("Shape", loc="left")
    axis.legend(loc="lower right", handlelength=1.4)


def _pairs(figure: Any, axis: Any, trend: Similarity, names: list[str]) -> None:
    place = {name: i for i, name in enumerate(names)}
    errors, dots = np.full((len(names), len(names)), np.nan), []
    for pair, error in trend.errors.items():
        if pair[0] in place and pair[1] in place:
            i, j = sorted((place[pair[0]], place[pair[1]]))
            errors[j, i] = 100 * error
            if trend.beyond.get(pair, 0.0) > BEYOND and error > TREND_MARK:
                dots.append((i, j))
    if np.isnan(errors).all():
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no pair of columns", ha="center", va="center", transform=axis.transAxes)
        return
    most = max(float(np.nanmax(errors)), 100 * TREND_MARK)
    shown = axis.imshow(errors, cmap="Blues", vmin=0, vmax=most, aspect="equal")
    if dots:
        x, y = zip(*dots, strict=True)
        axis.plot(x, y, linestyle="", marker=".", color=ORANGE, markersize=5, label="beyond chance")
        axis.legend(loc="upper right")
    ticks = [shortened(name) for name in names]
    axis.set_xticks(range(len(names)), ticks, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), ticks)
    axis.set_title(f"Trend: mean {trend.error:.2%}, chance {trend.chance:.2%}", loc="left")
    figure.colorbar(shown, ax=axis, label="error of the pair, %", shrink=0.8)
