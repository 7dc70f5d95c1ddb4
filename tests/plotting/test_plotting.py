"""The figures: what they show, that nothing overlaps, and that the user's matplotlib is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from pushforward.plotting import plot_curve, plot_overview, plot_pair, plot_qq
from pushforward.plotting.style import in_units, limits, shortened, units

RNG = np.random.default_rng(0)
HISTORY = {
    "epoch": np.arange(1, 31),
    "step": 10 * np.arange(1, 31),
    "train_nats": -3 - 5 * np.exp(-np.arange(30) / 4),
    "held_out_nats": -3.1 - 5 * np.exp(-np.arange(30) / 4),
}
VERDICT = {"best_step": 250, "held_out_nats": float(HISTORY["held_out_nats"][24]), "standard_error": 0.02}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def texts_overlap(figure: Any) -> list[tuple[str, str]]:
    """Pairs of visible texts (tick labels of one axis aside, which their locator spaces) whose boxes intersect."""
    figure.canvas.draw()
    boxes = []
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text.axes is not None:
            box = text.get_window_extent().shrunk(0.98, 0.98)
            if box.width and _shown(text):
                boxes.append((text.get_text(), box))
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, two in boxes[i + 1 :] if one.overlaps(two)]


def _shown(text: Any) -> bool:
    axes = text.axes
    ticks = [label for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]
    return text not in ticks and axes.get_visible()


@pytest.mark.parametrize("dim", [1, 2, 4, 10])
def test_pair_plots_are_readable(dim: int, tmp_path: Path) -> None:
    data = RNG.standard_t(3, size=(300, dim)) * 10.0 ** RNG.integers(-8, 8, dim)
    names = [f"a rather long name of column {i}" for i in range(dim)]
    figure, axes = plot_pair(data, samples=data[:200] * 1.1, names=names)
    assert axes.shape == (dim, dim)
    assert all((axes[i, j] is not None) == (j <= i) for i in range(dim) for j in range(dim))
    assert isinstance(figure, Figure)
    assert texts_overlap(figure) == []
    for i in range(dim):
        assert axes[i, i].get_xlim() == pytest.approx(limits(data[:, i]))
    figure.savefig(tmp_path / "pair.png")
    assert (tmp_path / "pair.png").read_bytes().startswith(b"\x89PNG")


def test_pair_plot_says_what_it_leaves_out() -> None:
    data = RNG.standard_normal((500, 12))
    data[:, 11] = data[:, 3] ** 2  # no correlation, all the same strong
    samples = data.copy()
    samples[:7, 3] = 1e6
    figure, axes = plot_pair(data, samples=samples)
    assert axes.shape == (10, 10)
    assert {"x3", "x11"} <= {axis.get_xlabel() for axis in axes[9]}, "the first ten columns were drawn instead"
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == [
        "data (500 rows)",
        "samples (500 rows)",
        "10 of 12 columns: those of the strongest dependence",
        "beyond the axes: 7 of the samples",
    ]


def test_pair_plot_mixes_both_and_is_seeded() -> None:
    data = RNG.standard_normal((3000, 2))
    points = []
    for _ in range(2):
        _, axes = plot_pair(data, samples=data + 1, random_state=3)
        drawn = axes[1, 0].collections[0]
        colors = drawn.get_facecolors()
        assert len(colors) == 4000
        changes = np.any(np.diff(colors[:, :3], axis=0) != 0, axis=1).mean()
        assert 0.4 < changes < 0.6, "one colour is drawn over the other"
        points.append(np.asarray(drawn.get_offsets()))
    np.testing.assert_array_equal(points[0], points[1])


def test_marginals_are_densities_of_all_rows() -> None:
    data = RNG.standard_normal((2000, 2))
    samples = np.where(np.arange(2000)[:, None] < 1000, data, 1e3)  # half of the samples are far off the axes
    _, axes = plot_pair(data, samples=samples)
    of_data, of_samples = (patch.get_data() for patch in axes[0, 0].patches)
    assert np.sum(of_data.values * np.diff(of_data.edges)) == pytest.approx(1, abs=0.02)
    assert np.sum(of_samples.values * np.diff(of_samples.edges)) == pytest.approx(0.5, abs=0.02)


def test_limits_cut_only_far_tails() -> None:
    even = np.linspace(0, 1, 1000)
    low, high = limits(even)
    assert low < 0 < 1 < high
    assert limits(np.append(even, 1e9))[1] < 3
    low, high = limits(np.full(5, 2.0))
    assert low < 2 < high


def test_numbers_on_axes_are_short() -> None:
    assert units(-3, 4) == (0.0, 0)
    assert units(-3e5, 1e5) == (0.0, 5)
    assert units(1e-7, 4e-7) == (0.0, -7)
    offset, power = units(1.5e9 - 200, 1.5e9 + 300)
    assert abs(offset - 1.5e9) < 500
    assert power == 0
    assert in_units("t", 1.5e9, 0) == "t\n(− 1,500,000,000)"
    assert in_units("t", 0.0, 5) == "t\n(in $10^{5}$)"
    assert in_units("t", 0.0, 0) == "t"
    assert shortened("x" * 50, 11) == "xxxxx…xxxxx"
    assert shortened("cost in $") == r"cost in \$"


def test_curve() -> None:
    figure, axis = plot_curve(HISTORY, verdict=VERDICT)
    assert "nats per row, units of the data" in axis.get_ylabel()
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["training rows", "held-out rows", "kept: −3.112 ± 0.02"]
    low, high = axis.get_ylim()
    assert low > -8
    assert high > -3
    kept = next(line for line in axis.get_lines() if line.get_label().startswith("kept"))
    assert list(kept.get_xdata()) == [25]
    assert list(kept.get_ydata()) == [HISTORY["held_out_nats"][24]]
    assert texts_overlap(figure) == []


def test_the_mark_of_a_curve_lies_on_it() -> None:
    """It lay where the finished model scored, 13 nats off the curve, and no word said why."""
    figure, axis = plot_curve(HISTORY, verdict={**VERDICT, "held_out_nats": 10.0})
    kept = next(line for line in axis.get_lines() if line.get_label().startswith("kept"))
    assert list(kept.get_ydata()) == [HISTORY["held_out_nats"][24]]
    assert kept.get_label() == "kept: −3.112 while training,\n10 ± 0.02 when finished"
    assert axis.get_ylim()[1] < 0, "the axis reached up to a score that no curve has"
    assert texts_overlap(figure) == []


def test_curve_without_held_out_rows_or_with_one_epoch() -> None:
    bare = {name: HISTORY[name][:1] for name in ("epoch", "step", "train_nats")}
    _, axis = plot_curve({**bare, "held_out_nats": np.array([np.nan])}, verdict={**VERDICT, "held_out_nats": None})
    assert [line.get_label() for line in axis.get_lines()] == ["training rows"]
    with pytest.raises(ValueError, match="empty"):
        plot_curve({"epoch": [], "train_nats": []})


def _outside_the_band(axis: Any) -> float:
    """Share of each line's points that lie outside the band, the largest over the lines."""
    band = axis.collections[0].get_paths()[0].vertices
    half = len(band) // 2
    below, above = band[1:half], band[half + 1 : -1][::-1]
    shares = []
    for line in axis.get_lines():
        if line.get_linestyle() == "-":
            x, y = line.get_data()
            low, high = np.interp(x, below[:, 0], below[:, 1]), np.interp(x, above[:, 0], above[:, 1])
            shares.append(np.mean((y < low - 1e-9) | (y > high + 1e-9)))
    return max(shares)


@pytest.mark.parametrize("dim", [1, 3, 20])
def test_qq_accepts_a_right_model_and_not_a_wrong_one(dim: int) -> None:
    z = np.random.default_rng(1).standard_normal((1000, dim))
    figure, axes = plot_qq(z)
    assert len(axes) == 2
    assert _outside_the_band(axes[0]) < 0.2
    assert _outside_the_band(axes[1]) < 0.1
    assert texts_overlap(figure) == []
    _, axes = plot_qq(z + 0.2)  # the broken twin
    assert _outside_the_band(axes[0]) > 0.5


def test_qq_against_draws_of_another_base() -> None:
    rng = np.random.default_rng(2)
    base, z = rng.standard_t(4, size=(20000, 2)), rng.standard_t(4, size=(1000, 2))
    _, axes = plot_qq(z, reference=base)
    assert "base" in axes[0].get_xlabel()
    assert _outside_the_band(axes[1]) < 0.1
    _, axes = plot_qq(z)
    assert _outside_the_band(axes[1]) > 0.3


def test_overview(tmp_path: Path) -> None:
    data = RNG.standard_normal((200, 2))
    pages = [
        (lambda part: plot_pair(data, samples=data, figure=part), 5.0, 5.0),
        (lambda part: plot_curve(HISTORY, verdict=VERDICT, figure=part), 5.5, 3.0),
        (lambda part: plot_qq(data, figure=part), 5.5, 3.0),
    ]
    figure = plot_overview(pages, title="a title")
    assert texts_overlap(figure) == []
    figure.savefig(tmp_path / "overview.pdf")
    assert len(plot_overview(pages[:1]).axes) == 3
    assert len(plot_overview(pages[:2]).axes) == 4


def test_wrong_input_is_named() -> None:
    x = np.zeros((3, 2))
    for call, words in (
        (lambda: plot_pair(), "got neither"),
        (lambda: plot_pair(x, samples=np.zeros((3, 3))), "the same columns"),
        (lambda: plot_pair(x, names=["a"]), "2 names"),
        (lambda: plot_pair(np.zeros(3)), r"\(n, d\)"),
        (lambda: plot_qq(np.full((3, 2), np.nan)), "finite"),
        (lambda: plot_qq(x, reference=np.zeros((3, 3))), "2 dimensions"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_settings_are_restored() -> None:
    before = dict(mpl.rcParams)
    plot_pair(RNG.standard_normal((50, 2)))
    plot_curve(HISTORY)
    plot_qq(RNG.standard_normal((50, 2)))
    assert dict(mpl.rcParams) == before
