"""Unusual rows as a figure: their scores, the histogram of p-values, and the most unusual ones by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.style import BLUE, GREY, ORANGE, limits, new_figure, shortened, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

BINS, P_BINS = 60, 20


def plot_anomalies(
    scores: Any,
    p_values: Any,
    *,
    threshold: float | None = None,
    worst: Sequence[tuple[str, float, float]] = (),
    figure: Figure | SubFigure | None = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the scores of rows, their p-values, and the most unusual rows.

    P-values of clean rows are flat: what stands above the dashed line at small ones is unusual, and a slope over all of
    them says that the rows are others than those of the calibration.

    Args:
        scores: Scores `(n,)`; higher is more unusual; infinity is a row that cannot be, drawn at the end of the axis.
        p_values: P-values `(n,)`.
        threshold: P-value up to which rows are flagged; None flags none.
        worst: Name, score and p-value of the most unusual rows, the most unusual first.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and the axes of the three panels.

    Raises:
        ValueError: There are no rows, or not as many p-values as scores.

    Example:
        >>> import numpy as np
        >>> from pushforward.plotting import plot_anomalies
        >>> figure, axes = plot_anomalies(np.arange(10.0), np.linspace(1, 0.1, 10), threshold=0.1)
        >>> len(axes)
        3
    """
    own, p = np.asarray(scores, np.float64), np.asarray(p_values, np.float64)
    if own.ndim != 1 or own.shape != p.shape or not len(own):
        got = f"shapes {own.shape} and {p.shape}"
        raise ValueError(message("plot_anomalies", "a score and a p-value for each row", got, "Pass arrays (n,)."))
    flagged = np.zeros(len(p), bool) if threshold is None else p <= threshold * (1 + 1e-12)
    finite = own[np.isfinite(own)]
    ends = limits(finite) if len(finite) else (0.0, 1.0)
    with styled():
        figure = new_figure(figure, 10.5, 3.2)
        axes = [figure.add_subplot(1, 3, i + 1) for i in range(3)]
        _scores(axes[0], own, flagged, ends)
        _p_values(axes[1], p, threshold)
        _worst(axes[2], worst, max(ends[1], float(finite.max(initial=ends[0]))))
    return figure, np.array(axes, dtype=object)


def _scores(axis: Any, scores: np.ndarray, flagged: np.ndarray, ends: tuple[float, float]) -> None:
    low, high = ends
    # Scores beyond the axis are drawn at its end, so that none is lost.
    shown = np.clip(scores, low, high)
    edges = np.linspace(low, high, BINS + 1)
    axis.hist(shown[~flagged], bins=edges, color=BLUE, label=f"{(~flagged).sum():,} rows")
    axis.hist(shown[flagged], bins=edges, color=ORANGE, label=f"{flagged.sum():,} flagged")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_xlabel("score, higher is more unusual")
    axis.set_ylabel("rows")
    axis.legend(loc="upper right")
    axis.set_title("Scores", loc="left")


def _p_values(axis: Any, p: np.ndarray, threshold: float | None) -> None:
    axis.hist(p, bins=np.linspace(0, 1, P_BINS + 1), weights=np.full(len(p), P_BINS / len(p)), color=BLUE)
    axis.axhline(1, color=GREY, linestyle=(0, (4, 3)), linewidth=0.9, label="if all rows were clean")
    if threshold is not None:
        axis.axvline(threshold, color=ORANGE, linewidth=1.2, label=f"p = {threshold:.2g}")
    axis.set_xlim(0, 1)
    axis.set_xlabel("p-value")
    axis.set_ylabel("density")
    axis.legend(loc="upper right")
    axis.set_title("P-values", loc="left")


def _worst(axis: Any, worst: Sequence[tuple[str, float, float]], most: float) -> None:
    axis.set_title("Most unusual", loc="left")
    if not worst:
        axis.set_axis_off()
        return
    places = np.arange(len(worst))
    scores = np.array([score for _, score, _ in worst])
    beyond = ~np.isfinite(scores)
    values = np.where(beyond, most, scores)
    low, high = values.min(), values.max()
    margin = 0.15 * ((high - low) or max(abs(high), 1.0))
    axis.hlines(places, low - margin, values, color=ORANGE, linewidth=1.2)
    axis.plot(values[~beyond], places[~beyond], "o", color=ORANGE, markersize=4)
    axis.plot(values[beyond], places[beyond], ">", color=ORANGE, markersize=6)
    axis.set_yticks(places, [f"{shortened(name)}, p = {p:.2g}" for name, _, p in worst])
    axis.set_xlim(low - margin, high + margin)
    axis.invert_yaxis()
    axis.set_xlabel("score; triangles: rows that cannot be" if beyond.any() else "score")
