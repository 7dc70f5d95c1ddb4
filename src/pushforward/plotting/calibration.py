"""The tests of a posterior as a figure: levels against the band of uniform ones, and statistics at an observation."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.metrics.ranks import GRID, LEVEL, ecdf_band
from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from pushforward.inference.calibration import Calibration, CalibrationTest

# Panels in a row, and letters in a line of a sentence under a panel.
COLUMNS, LETTERS = 3, 46


def plot_calibration(
    calibration: Calibration, *, figure: Figure | SubFigure | None = None
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw each test of a posterior, with its sentence.

    Tests of levels show the empirical distribution function less the diagonal, with the band in which 99 in 100 right
    posteriors stay; tests at an observation show the statistic beside its values under the null hypothesis.

    Args:
        calibration: Result of `calibrate`.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and the axes of the tests.
    """
    tests = calibration.tests
    columns = min(COLUMNS, len(tests))
    rows = math.ceil(len(tests) / columns)
    with styled():
        figure = new_figure(figure, 3.4 * columns, 3.1 * rows)
        axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(tests))]
        for axis, test in zip(axes, tests, strict=True):
            draw = _levels if test.observed is None else _statistic
            draw(axis, test)
            axis.set_title(test.name, loc="left", color="black" if test.passed else ORANGE)
            words = "\n".join(textwrap.wrap(test.sentence, LETTERS))
            axis.set_xlabel(f"{axis.get_xlabel()}\n{words}", fontsize=7)
    return figure, np.array(axes, dtype=object)


def _levels(axis: Any, test: CalibrationTest) -> None:
    grid = np.arange(1, GRID) / GRID
    low, high = ecdf_band(len(test.levels), grid)
    function = np.searchsorted(np.sort(test.levels), grid, side="right") / len(test.levels)
    axis.fill_between(grid, low - grid, high - grid, color="#DADADA", linewidth=0, label=f"{1 - LEVEL:.0%} band")
    axis.axhline(0, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.plot(grid, function - grid, color=BLUE if test.passed else ORANGE, linewidth=1.4)
    axis.set_xlabel("level")
    axis.set_ylabel("share of levels below, less the level")


def _statistic(axis: Any, test: CalibrationTest) -> None:
    axis.hist(test.levels, bins=30, color="#DADADA", label="if all is right")
    axis.axvline(test.observed, color=BLUE if test.passed else ORANGE, linewidth=1.6, label="the observation")
    axis.set_xlabel("statistic")
    axis.legend(loc="upper right", handlelength=1.4)
