"""The learning curve: mean log-density of training and held-out rows as training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# The first evaluations lie far below the rest and would flatten it: this share of the points may fall off the axis.
CUT_BELOW = 0.15
# A score of the finished model that differs by more than this share from the curve is told beside it.
SAME = 0.005


def plot_curve(
    history: Mapping[str, Any],
    *,
    verdict: Mapping[str, Any] | None = None,
    figure: Figure | SubFigure | None = None,
) -> tuple[Figure | SubFigure, Any]:
    """Draw mean nats per row against the epoch, of training and of held-out rows, and mark the weights kept.

    The mark lies on the curve. A finished model may score otherwise than the same weights while training: its masses
    are set to the frequencies of the rows, and a lower bound is averaged over many draws instead of one. Where the two
    differ, the legend tells both.

    Args:
        history: `FitResult.history`: at least `epoch` and `train_nats`; `held_out_nats` may be NaN.
        verdict: Object with `best_step`, `held_out_nats`, `standard_error`, as in `FitResult.verdict`; None marks
            nothing.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure and its axes.

    Raises:
        ValueError: The history is empty.
    """
    epoch, train = (np.asarray(history[name], dtype=np.float64) for name in ("epoch", "train_nats"))
    held = np.asarray(history.get("held_out_nats", np.full(len(epoch), np.nan)), dtype=np.float64)
    if len(epoch) == 0:
        raise ValueError("plot_curve: the history is empty: nothing was evaluated. Train for an epoch at least.")
    with styled():
        figure = new_figure(figure, 5.2, 3.4)
        axis = figure.add_subplot()
        marker = "o" if len(epoch) < 3 else None
        axis.plot(epoch, train, color=BLUE, label="training rows", marker=marker, markersize=4)
        shown = [train]
        if np.isfinite(held).any():
            axis.plot(epoch, held, color=ORANGE, label="held-out rows", marker=marker, markersize=4)
            shown.append(held)
        best = _mark_best(axis, history, verdict, epoch, held)
        finite = np.concatenate(shown)[np.isfinite(np.concatenate(shown))]
        if len(finite):
            low, high = float(np.quantile(finite, CUT_BELOW)), float(finite.max())
            if best is not None:
                low, high = min(low, best), max(high, best)
            span = (high - low) or max(abs(high), 1.0) * 0.1
            axis.set_ylim(low - 0.06 * span, high + 0.1 * span)
        axis.set_xlabel("epoch")
        axis.set_ylabel("mean log-density\n(nats per row, units of the data)")
        axis.set_title("Learning curve", loc="left")
        axis.grid(axis="y", color="#E4E4E4", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.legend(loc="best")
    return figure, axis


def _mark_best(
    axis: Any, history: Mapping[str, Any], verdict: Mapping[str, Any] | None, epoch: np.ndarray, held: np.ndarray
) -> float | None:
    """Mark the weights kept where they lie on the curve of held-out rows; the height of the mark."""
    if verdict is None or verdict.get("held_out_nats") is None or "step" not in history:
        return None
    place = int(np.argmin(np.abs(np.asarray(history["step"], dtype=np.float64) - verdict["best_step"])))
    if not np.isfinite(held[place]):
        return None
    best, score, error = float(held[place]), float(verdict["held_out_nats"]), verdict.get("standard_error")
    spread = "" if error is None else f" ± {error:.2g}"
    words = f"kept: {score:.4g}{spread}"
    if abs(score - best) > SAME * max(abs(score), 1.0):
        words = f"kept: {best:.4g} while training,\n{score:.4g}{spread} when finished"
    axis.axvline(epoch[place], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axis.plot(
        [epoch[place]], [best], linestyle="none", marker="o", markersize=5, markerfacecolor="white",
        markeredgecolor=ORANGE, markeredgewidth=1.4, label=words.replace("-", "−"), zorder=5,
    )  # fmt: skip
    return best
