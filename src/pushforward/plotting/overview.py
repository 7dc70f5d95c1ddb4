"""All figures of a fit on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pushforward.plotting.style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_overview(pages: Sequence[tuple[Callable[[Any], Any], float, float]], *, title: str = "") -> Figure:
    """Put drawings side by side: the first, which is the largest, on the left, the others above one another.

    Args:
        pages: Drawings: each is a function of the sub-figure, with its width and height in inches.
        title: Title above all drawings.

    Returns:
        The figure.
    """
    import matplotlib.pyplot as plt

    (first, width, height), rest = pages[0], pages[1:]
    with styled():
        side = max((page[1] for page in rest), default=0.0)
        below = sum(page[2] for page in rest)
        total = max(height, below)
        figure = plt.figure(figsize=(width * total / height + side, total), layout="constrained")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        if not rest:
            first(figure)
            return figure
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[width * total / height, side])[0]
        first(left)
        parts = right.subfigures(len(rest), 1, squeeze=False, height_ratios=[page[2] for page in rest])
        for part, page in zip(parts[:, 0], rest, strict=True):
            page[0](part)
    return figure
