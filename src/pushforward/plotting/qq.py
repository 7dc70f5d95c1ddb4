"""Latent quantiles: where the model is right, the data's latents follow the base distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.style import BLUE, CYCLE, GREY, ORANGE, matrix, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Enough points to draw a smooth line; the tails are always among them.
MOST_QUANTILES = 400
# Beyond as many dimensions as there are colours, a legend names nobody.
MOST_NAMED = len(CYCLE)
# Pointwise probability that a right model stays within the band.
BAND = 0.99


def plot_qq(
    latents: Any,
    *,
    reference: Any = None,
    figure: Figure | SubFigure | None = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the quantiles of the latents against those of the base, per dimension and of the radius.

    Args:
        latents: Result `(n, d)` of `flow.encode` on the data.
        reference: Draws from the base `(m, d)`; None means that the base is the standard normal, whose quantiles are
            known (for the radius, those of the chi distribution).
        figure: Figure to draw in; None makes one.

    Returns:
        The figure, and its two axes: each dimension, and the radius.

    Raises:
        ValueError: Shapes differ, or values are not finite.
    """
    z = matrix("plot_qq: latents", latents)
    draws = None if reference is None else matrix("plot_qq: reference", reference)
    each, radius = quantiles_of(z, draws)
    dim = z.shape[1]
    with styled():
        figure = new_figure(figure, 7.4, 3.7)
        left, right = (figure.add_subplot(1, 2, i + 1) for i in range(2))
        _frame(left, each.expected, each.band)
        named = dim <= MOST_NAMED
        for i in range(dim):
            left.plot(
                each.expected,
                each.found[i],
                color=CYCLE[i] if named else BLUE,
                alpha=0.9 if named else float(np.clip(6 / dim, 0.15, 0.6)),
                linewidth=1.2,
                label=f"z{i}" if named else None,
            )
        base = "standard normal" if draws is None else "base"
        left.set_xlabel(f"quantile of the {base}")
        left.set_ylabel("quantile of the latents")
        left.set_title("Each latent dimension" if named else f"Each of the {dim} latent dimensions", loc="left")
        _frame(right, radius.expected, radius.band)
        right.plot(radius.expected, radius.found[0], color=ORANGE, linewidth=1.4, label="latent radius")
        law = f"χ quantile, {dim} degree{'s' if dim > 1 else ''} of freedom" if draws is None else "radius of the base"
        right.set_xlabel(law)
        right.set_ylabel("radius of the latents")
        right.set_title("Distance from the origin", loc="left")
        for axis in (left, right):
            axis.legend(loc="upper left", handlelength=1.6, labelspacing=0.3)
    return figure, np.array([left, right], dtype=object)


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of latents beside those of the base.

    Attributes:
        expected: Quantiles `(m,)` of the base.
        band: Both edges of the band of a right model, `(m,)` each.
        found: Quantiles `(d, m)` of the latents.
    """

    expected: np.ndarray
    band: tuple[np.ndarray, np.ndarray]
    found: np.ndarray


def quantiles_of(z: np.ndarray, draws: np.ndarray | None) -> tuple[Quantiles, Quantiles]:
    """The quantiles of each latent dimension, and those of the radius.

    Args:
        z: Latents `(n, d)`.
        draws: Draws from the base `(k, d)`; None is the standard normal.

    Raises:
        ValueError: The dimensions differ.
    """
    from scipy import stats

    n, dim = z.shape
    if draws is not None and draws.shape[1] != dim:
        raise ValueError(
            message(
                "plot_qq", f"reference draws of {dim} dimensions", f"{draws.shape[1]}", "Draw from the flow's base."
            )
        )
    ranks = _ranks(n)
    beta = stats.beta(ranks + 1, n - ranks)  # the distribution of the rank-th of n uniform numbers
    low, high = (np.clip(beta.ppf(q), 1e-12, 1 - 1e-12) for q in ((1 - BAND) / 2, (1 + BAND) / 2))

    def expected(level: np.ndarray) -> np.ndarray:
        return stats.norm.ppf(level) if draws is None else np.quantile(draws, level)

    def expected_radius(level: np.ndarray) -> np.ndarray:
        return stats.chi.ppf(level, dim) if draws is None else np.quantile(np.linalg.norm(draws, axis=1), level)

    def against(law: Any, values: np.ndarray) -> Quantiles:
        return Quantiles(law((ranks + 0.5) / n), (law(low), law(high)), np.sort(values, axis=0)[ranks].T)

    return against(expected, z), against(expected_radius, np.linalg.norm(z, axis=1)[:, None])


def _ranks(n: int) -> np.ndarray:
    """The ranks to draw: all of them if they are few, else evenly spread ones and every rank of both tails."""
    if n <= MOST_QUANTILES:
        return np.arange(n)
    tail = np.arange(20)
    middle = np.linspace(0, n - 1, MOST_QUANTILES).round().astype(int)
    return np.unique(np.concatenate([tail, middle, n - 1 - tail]))


def _frame(axis: Any, expected: np.ndarray, band: tuple[np.ndarray, np.ndarray]) -> None:
    """The line where both quantiles agree, and the band of what chance explains."""
    axis.fill_between(
        expected, band[0], band[1], color="#DADADA", linewidth=0, label=f"{BAND:.0%} band of a right model"
    )
    ends = [expected[0], expected[-1]]
    axis.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
