"""Pictures of an inference: its parameters, the way up the ladder, and what the importance weights are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.plotting.pair import plot_pair
from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def plot_corner(
    inference: Any, *, names: Sequence[str] | None = None, figure: Figure | SubFigure | None = None
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw every pair of parameters, in the user's units.

    Args:
        inference: Answer of `pf.infer`.
        names: Names of at most 10 parameters, such as `"theta[0]"`; None takes those of the strongest dependence.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and its axes; those above the diagonal are None.

    Raises:
        ValueError: A name is unknown.
    """
    columns = inference.columns()
    rows = np.stack(list(columns.values()), axis=1)
    return plot_pair(samples=rows, names=list(columns), columns=names, figure=figure)


def plot_ladder(inference: Any, *, figure: Figure | SubFigure | None = None) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw how an inference went: temperature, effective particles, acceptance and log Z, stage by stage.

    Args:
        inference: Answer of `pf.infer`.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and its three axes.
    """
    records = inference.ladder
    at = np.arange(1, len(records) + 1)

    def column(name: str) -> np.ndarray:
        return np.array([record[name] for record in records], float)

    with styled():
        figure = new_figure(figure, 7.0, 5.0)
        axes = figure.subplots(3, 1, sharex=True)
        if len(at):
            axes[0].semilogy(at, column("temperature"), "o-", color=BLUE, markersize=3)
            axes[1].plot(at, column("ess_fraction"), "o-", color=BLUE, markersize=3, label="effective share")
            axes[1].plot(at, column("acceptance"), color=ORANGE, label="acceptance of HMC")
            axes[1].plot(at, column("jump_acceptance"), color=GREY, label="acceptance of the flow")
            axes[1].legend(loc="lower right", ncols=3)
            axes[2].plot(at, column("log_z"), "o-", color=BLUE, markersize=3)
        axes[0].set_ylabel("temperature")
        axes[1].set_ylim(0, 1.05)
        axes[2].set_ylabel("log Z in nats")
        axes[2].set_xlabel("stage")
    return figure, axes


def plot_weights(inference: Any, *, figure: Figure | SubFigure | None = None) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the importance weights: their histogram, and the share of the mass that the largest hold.

    Args:
        inference: Answer of `pf.infer`.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and its two axes.
    """
    logs = np.asarray(inference.log_weights)
    finite = logs[np.isfinite(logs)]
    with styled():
        figure = new_figure(figure, 7.0, 3.0)
        axes = figure.subplots(1, 2)
        if len(finite):
            weights = np.sort(np.exp(finite - finite.max()))[::-1]
            axes[0].hist(finite - np.log(np.mean(weights)) - finite.max(), bins=40, color=BLUE, alpha=0.6)
            axes[1].plot(np.arange(1, len(weights) + 1), np.cumsum(weights) / weights.sum(), color=BLUE)
            axes[1].plot([1, len(weights)], [0, 1], color=GREY, linewidth=0.8)
        axes[0].set_xlabel("log-weight less log Z, in nats")
        axes[0].set_ylabel("draws")
        axes[0].set_title(f"effective share {inference.ess_fraction:.1%}, Pareto k {inference.pareto_k:.2f}")
        axes[1].set_xlabel("draws, the heaviest first")
        axes[1].set_ylabel("share of the mass")
        axes[1].set_ylim(0, 1.02)
    return figure, axes
