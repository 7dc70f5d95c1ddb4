"""The look of the gallery's pictures, how a page shows one, and how it takes the time of what it compares.

A page that runs as a script, `python gallery/NAME.py`, writes its pictures to `build/gallery_pictures`; the build of
the site embeds them.
"""

from __future__ import annotations

import base64
import io
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt

# Okabe and Ito's palette, made for all common kinds of colour vision.
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#6E6E6E"
# Colours of a quantity from none to much, and of one with a sign; both are read the same without red or green.
MUCH, SIGNED = "cividis", "PuOr"
DOTS_PER_INCH = 130
mpl.rcParams.update(
    {
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.linewidth": 0.7,
        "axes.edgecolor": "#404040",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, PINK, YELLOW, SKY]),  # type: ignore[attr-defined]
        "image.cmap": MUCH,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "figure.facecolor": "white",
    }
)
_shown: Counter[str] = Counter()


def new(columns: int = 1, rows: int = 1, *, width: float = 9.0, height: float = 3.2, **options: Any) -> Any:
    """A figure and its axes.

    Args:
        columns: Number of panels beside one another.
        rows: Number of panels above one another.
        width: Width of the figure in inches.
        height: Height of the figure in inches.
        **options: Options of `matplotlib.pyplot.subplots`, such as `sharex=True`.
    """
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def show(figure: Any, text: str) -> None:
    """Show a picture, and close it.

    Args:
        figure: Figure of matplotlib.
        text: What is to be seen on it, for readers who cannot see it: a sentence or two.
    """
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=DOTS_PER_INCH)
    plt.close(figure)
    if "ipykernel" in sys.modules:
        from IPython.display import publish_display_data

        publish_display_data({"image/png": base64.b64encode(written.getvalue()).decode(), "text/plain": text})
        return
    page = Path(sys.argv[0]).stem
    _shown[page] += 1
    target = Path(__file__).resolve().parent.parent / "build" / "gallery_pictures" / f"{page}-{_shown[page]}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(written.getvalue())
    print(f"Picture: {target}")


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """The least processor time of fifteen calls in seconds, after one that compiles.

    Args:
        function: Function that JAX runs.
        *arguments: Its arguments.
    """
    import jax

    taken = []
    for _ in range(16):
        begun = time.process_time()
        jax.block_until_ready(function(*arguments))
        taken.append(time.process_time() - begun)
    return min(taken[1:])
