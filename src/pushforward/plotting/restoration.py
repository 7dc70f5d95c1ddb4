"""Pictures of a solved inverse problem: signals with bands and draws, images with mean and spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Draws that are shown, and the quantiles of the bands.
SHOWN, BANDS = 6, ((0.05, 0.95), (0.25, 0.75))


def plot_restoration(
    solution: Any, *, truth: Any = None, figure: Figure | SubFigure | None = None
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the events that an observation leaves possible, beside what each draw makes of the observation.

    A signal (or a vector) has bands of 50 and 90 % of the draws, their mean and a few draws; below stand the
    observation and what the draws give of it. An image has its mean, its standard deviation and a few draws, with the
    observation where that is an image too; of several channels the mean is shown, of three the colours.

    Args:
        solution: Answer of `inverse_problems.solve`.
        truth: The event behind the observation, where it is known.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and its axes.

    Raises:
        ValueError: Events are neither signals nor images, or `truth` is no event.
    """
    shape = solution.draws.shape[1:]
    if not 1 <= len(shape) <= 3:
        fix = "Draw slices of solution.draws."
        raise ValueError(message("plot_restoration", "events of one to three axes", f"shape {shape}", fix))
    if truth is not None and np.shape(truth) != shape:
        fix = "Pass the one event behind the observation."
        raise ValueError(message("plot_restoration", f"truth of shape {shape}", f"{np.shape(truth)}", fix))
    with styled():
        draw = _signal if len(shape) == 1 else _image
        return draw(solution, truth, figure)


def _signal(solution: Any, truth: Any, figure: Any) -> tuple[Any, np.ndarray]:
    figure = new_figure(figure, 7.0, 5.4)
    axes = figure.subplots(2, 1, height_ratios=(3, 2))
    draws, at = solution.draws, np.arange(solution.draws.shape[1])
    upper, lower = axes
    for n, (low, high) in enumerate(BANDS):
        band = np.quantile(draws, (low, high), axis=0)
        label = f"{high - low:.0%} of the draws"
        upper.fill_between(at, *band, color=BLUE, alpha=0.15 + 0.15 * n, linewidth=0, label=label)
    upper.plot(at, draws[:SHOWN].T, color=BLUE, linewidth=0.5, alpha=0.7)
    upper.plot(at, solution.mean, color=BLUE, linewidth=1.6, label="mean")
    if truth is not None:
        upper.plot(at, np.asarray(truth), color=ORANGE, linewidth=1.2, label="truth")
    upper.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    upper.set_title(f"{solution.method}: events", loc="left")
    upper.set_xlabel("place")
    given = np.array([np.asarray(solution.problem.operator(x)).ravel() for x in draws[:100]])
    y = np.asarray(solution.problem.y.value).ravel()
    places = np.arange(len(y))
    band = np.quantile(given, BANDS[0], axis=0)
    lower.fill_between(places, *band, color=BLUE, alpha=0.25, linewidth=0, label="90% of the draws")
    lower.plot(places, y, "o", color=GREY, markersize=3, label="observed")
    lower.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    lower.set_title("what they give of the observation", loc="left")
    lower.set_xlabel("number of the observation")
    return figure, axes


def _image(solution: Any, truth: Any, figure: Any) -> tuple[Any, np.ndarray]:
    panels: list[tuple[str, np.ndarray]] = [] if truth is None else [("truth", np.asarray(truth))]
    y = np.asarray(solution.problem.y.value)
    if y.ndim == solution.draws.ndim - 1:
        panels.append(("observed", y))
    panels += [("mean", solution.mean), ("standard deviation", solution.sd)]
    panels += [(f"draw {n + 1}", x) for n, x in enumerate(solution.draws[: SHOWN // 2])]
    low, high = (float(value) for value in np.quantile(solution.draws, (0.01, 0.99)))
    figure = new_figure(figure, 1.9 * len(panels), 2.2)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for axis, (name, image) in zip(axes, panels, strict=True):
        spread = name == "standard deviation"
        shown = _plane(image)
        if shown.ndim == 3:
            shown = np.clip(shown / shown.max() if spread else (shown - low) / max(high - low, 1e-12), 0, 1)
        ends = {} if spread else {"vmin": low, "vmax": high}
        axis.imshow(shown, cmap="magma" if spread else "gray", **ends)
        axis.set_title(name)
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def _plane(image: np.ndarray) -> np.ndarray:
    """An image `(height, width)`, or with three colours last."""
    if image.ndim == 2:
        return image
    return np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image.mean(axis=0)
