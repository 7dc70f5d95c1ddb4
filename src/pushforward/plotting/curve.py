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


def plot_curve(
    history: Mapping[str, Any],
    *,
    verdict: Mapping[str, Any] | None = None,
    figure: Figure | SubFigure | None = None,
) -> tuple[Figure | SubFigure, Any]:
    """Draw mean nats per row against the epoch, of training and of held-out rows, and mark the weights kept.

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
        best = _mark_best(axis, history, verdict, epoch)
        finite = np.concatenate(shown)[np.isfinite(np.concatenate(shown))]
        if len(finite):
            low, high = float(np.quantile(finite, CUT_BELOW)), float(finite.max())
            if best is not None:
                low, high = min(low, best), max(high, best)
            span = (high - low) or max(abs(high), 1.0) * 0.1
            axis.set_ylim(low - 0.06 * span, high + 0.1 * span)
        axis.set_xlabel("epoch")
        axis.set_ylabel("mean log-density (nats per row)")
        axis.set_title("Learning curve", loc="left")
        axis.grid(axis="y", color="#E4E4E4", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.legend(loc="best")
    return figure, axis


def _mark_best(
    axis: Any, history: Mapping[str, Any], verdict: Mapping[str, Any] | None, epoch: np.ndarray
) -> float | None:
    if verdict is None or verdict.get("held_out_nats") is None or "step" not in history:
        return None
    best, error = float(verdict["held_out_nats"]), verdict.get("standard_error")
    where = epoch[int(np.argmin(np.abs(np.asarray(history["step"], dtype=np.float64) - verdict["best_step"])))]
    spread = "" if error is None else f" ± {error:.2g}"
    axis.axvline(where, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axis.plot(
        [where], [best], linestyle="none", marker="o", markersize=5, markerfacecolor="white", markeredgecolor=ORANGE,
        markeredgewidth=1.4, label=f"kept: {best:.4g}{spread} nats".replace("-", "−"), zorder=5,
    )  # fmt: skip
    return best
