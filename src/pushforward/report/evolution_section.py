"""The section on the way of a flow from noise to data."""

from __future__ import annotations

import jax
import numpy as np

from pushforward._precision import widened
from pushforward.distributions import Evolution, Flow
from pushforward.plotting.plane import name_of, times_of
from pushforward.plotting.style import limits
from pushforward.report.canvas import Canvas, dots, figure, linear
from pushforward.report.html import Html, csv_of, download, tag
from pushforward.report.page import Section
from pushforward.report.table_view import View

# Times, draws, and the side of a panel.
TIMES, POINTS, SIDE = 5, 400, 170.0


def evolution_section(view: View) -> Section | None:
    """Draws of the base on their way, in the first two columns; None where the model is more than one flow."""
    flow = view.density.flow_
    if not isinstance(flow, Flow) or flow.cond_shape is not None or flow.event_shape[0] < 2:
        return None
    names = [column.name for column in view.density.model_.layout.columns][:2]
    with jax.enable_x64(True):
        evolution = Evolution(widened(flow))
        times = times_of(evolution, TIMES)
        z = evolution.base.sample(jax.random.key(view.seed), POINTS)
        states = np.asarray(evolution.states(z, times), np.float64)[..., :2]
    made, numbers = [], {}
    for place, (t, rows) in enumerate(zip(times, states, strict=True)):
        title = "noise" if place == 0 else "data" if place == len(times) - 1 else name_of(evolution, t).replace("$", "")
        rows = rows[np.isfinite(rows).all(axis=1)]
        numbers |= {f"{title}: {name}": rows[:, i] for i, name in enumerate(names)}
        made.append(figure(_panel(rows, f"Draws of the base, {title}: {names[0]} and {names[1]}."), title))
    way = "along a field of velocities" if evolution.continuous else "layer by layer"
    words = f"{POINTS} draws of the base become samples {way}, in the columns {names[0]} and {names[1]}."
    link = download("noise-to-data.csv", csv_of(numbers), "Numbers of these figures as CSV")
    return Section(
        "noise-to-data",
        "From noise to data",
        (words, tag("div", made, class_="grid"), tag("p", link, class_="numbers")),
    )


def _panel(rows: np.ndarray, words: str) -> Html:
    canvas = Canvas(SIDE + 40, SIDE + 24, words)
    scales = [linear(*limits(part), most=3) for part in rows.T]
    x, y = 40 + scales[0].place(rows[:, 0]) * SIDE, (1 - scales[1].place(rows[:, 1])) * SIDE
    inside = (x >= 40) & (x <= 40 + SIDE) & (y >= 0) & (y <= SIDE)
    canvas.draw(dots(x[inside], y[inside]), "model-dot")
    canvas.axis_left(scales[1], 40, 0, SIDE)
    canvas.axis_below(scales[0], 40, 40 + SIDE, SIDE)
    return canvas.done()
