"""The sections on how good and how exact a density is: simple densities, checks, learning curve, latents."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.checking import CheckReport
from pushforward.plotting.curve import CUT_BELOW
from pushforward.plotting.fitted import complete, reference_latents
from pushforward.plotting.qq import BAND, quantiles_of
from pushforward.report.canvas import figure, legend
from pushforward.report.charts import curves, intervals, quantile_chart
from pushforward.report.html import csv_of, download, number, table_of, tag
from pushforward.report.page import Section, sentences
from pushforward.report.table_view import View
from pushforward.training import FitResult

WORDS = {"pass": "passed", "note": "note", "fail": "FAILED", "skipped": "skipped"}
MARKS = {"pass": "good", "note": "mind", "fail": "bad", "skipped": ""}
# Latents and draws from the base that are drawn.
MOST_LATENTS = 5000
# Coordinates of the latents that are drawn.
MOST_LINES = 24


def evaluation_section(view: View) -> Section | None:
    """The likelihood and every sentence of `evaluate`."""
    found = view.evaluation
    if found is None:
        return None
    return Section("evaluation", "All of it in words", (sentences(found.sentences), sentences(found.notes)))


def simple_section(view: View) -> Section | None:
    """Simple densities beside the model, with error bars."""
    found, density = view.evaluation, view.density
    gains = density.gains_ if found is None else found.gains
    baselines = density.baselines_ if found is None else found.baselines
    if not gains:
        return None
    where = "rows held out from the fit" if found is None else f"{found.compared:,} rows, cross-fitted"
    nats = {baseline.name: baseline for baseline in baselines}
    words = "Gain of the model over " + "; ".join(
        f"{gain.name}: {number(gain.gain, 3)} ± {number(gain.standard_error, 2)} nats" for gain in gains
    )
    drawing = intervals([(f"over {g.name}", g.gain, g.standard_error) for g in gains],
                        "gain of the model, nats per row", words + ".", "no better")  # fmt: skip
    rows = [[g.name, nats[g.name].nats, nats[g.name].standard_error, g.gain, g.standard_error] for g in gains]
    header = ["simple density", "its nats per row", "standard error", "gain of the model", "standard error of the gain"]
    numbers = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    return Section(
        "simple-densities",
        "Beside simple densities",
        (
            f"Points are mean differences per row, on {where}; lines are intervals of 95 % from paired differences. "
            "If the flow does not beat them, use the simpler one.",
            figure(drawing, wide=True),
            sentences([gain.sentence for gain in gains]),
            table_of(header, rows, caption="Log-densities of the same rows"),
            tag(
                "p",
                download("simple-densities.csv", csv_of(numbers), "Numbers of this figure as CSV"),
                class_="numbers",
            ),
        ),
    )


def checks_section(report: CheckReport | None) -> Section:
    """Each check with its figure, its limit and its sentence."""
    if report is None:
        return Section("checks", "Checks", ("The model was not checked. `pushforward check` does so.",))
    rows, marks = [], []
    for line in report.lines:
        mark = tag("span", WORDS[line.verdict], class_="mark")
        rows.append([line.name, mark, line.figure, line.threshold, line.sentence])
        marks.append(MARKS[line.verdict])
    counts = ", ".join(f"{sum(line.verdict == key for line in report.lines)} {word}" for key, word in WORDS.items())
    table = table_of(["check", "verdict", "figure", "limit", "in words"], rows, caption=f"{counts}.", classes=marks)
    return Section("checks", "Checks", ("Whether the density is that of the model, and whether the model fits.", table))


def curve_section(result: FitResult, unit: str = "nats per row") -> Section | None:
    """The learning curve, with the weights that were kept."""
    history, verdict = result.history, result.verdict
    epoch = np.asarray(history.get("epoch", ()), np.float64)
    if not len(epoch):
        return None
    train = np.asarray(history["train_nats"], np.float64)
    held = np.asarray(history.get("held_out_nats", np.full(len(epoch), np.nan)), np.float64)
    mark = None
    if "step" in history and np.isfinite(held).any():
        place = int(np.argmin(np.abs(np.asarray(history["step"], np.float64) - verdict.best_step)))
        mark = (float(epoch[place]), float(held[place])) if np.isfinite(held[place]) else None
    finite = np.concatenate([train, held])
    finite = finite[np.isfinite(finite)]
    # The first evaluations lie far below the rest and would flatten it.
    low = (
        min(float(np.quantile(finite, CUT_BELOW)), *([] if mark is None else [mark[1]]), np.inf)
        if len(finite)
        else None
    )
    lines = {"data-line": (epoch, train)} | ({"model-line": (epoch, held)} if np.isfinite(held).any() else {})
    words = f"Learning curve over {number(epoch[-1])} epochs, of training and held-out rows. {verdict.text}"
    drawing = curves(lines, ("epoch", unit), words, mark=mark, low=low)
    entries = [("of-data", "training rows")] + (
        [("of-model", "held-out rows; the ring is what was kept")] if mark else []
    )
    numbers = {name: history[name] for name in history}
    link = download("learning-curve.csv", csv_of(numbers), "Numbers of this figure as CSV")
    blocks = (verdict.text, legend(*entries), figure(drawing, wide=True), tag("p", link, class_="numbers"))
    return Section("learning-curve", "Learning curve", blocks)


def latents_section(view: View) -> Section | None:
    """The quantiles of the latents of the rows against those of the base."""
    density = view.density
    if view.few is None or not density.model_.layout.valued:
        return None
    rows = complete(density, view.few)
    latents = np.asarray(density.model_.latents(rows), np.float64)
    latents = latents[np.isfinite(latents).all(axis=1)]
    if len(latents) < 2:
        return None
    reference = reference_latents(density.model_, MOST_LATENTS, view.seed)
    return Section("latents", "Latents", latent_blocks(latents, reference))


def latent_blocks(latents: np.ndarray, reference: np.ndarray | None) -> tuple[Any, ...]:
    """The figures of latents.

    Args:
        latents: Latents `(n, d)`.
        reference: Draws from the base; None is the standard normal.
    """
    each, radius = quantiles_of(latents, reference)
    base = "base" if reference is not None else "standard normal"
    drawings, numbers = [], {"expected": each.expected}
    for found, title in ((each, "Each coordinate"), (radius, "Distance from the origin")):
        words = f"{title}: quantiles of the latents against those of the {base}, with the band of a right model."
        lines = list(found.found[: MOST_LINES if found is each else 1])
        drawings.append(figure(quantile_chart(found.expected, found.band, lines, words, ("expected", "found")), title))
    numbers |= {f"z{i}": line for i, line in enumerate(each.found[:MOST_LINES])}
    numbers |= {"expected radius": radius.expected, "radius": radius.found[0]}
    inside = _inside(each)
    words = (
        f"Where the model is right, the latents of the rows follow the {base}. {inside:.0%} of the quantiles lie in "
        f"the band in which a right model stays with a probability of {BAND:.0%} at each place."
    )
    entries = legend(("of-data", f"latents ({len(latents):,} rows)"), ("of-band", f"{BAND:.0%} band"))
    link = download("latents.csv", csv_of(numbers), "Numbers of these figures as CSV")
    return words, entries, tag("div", drawings, class_="grid"), tag("p", link, class_="numbers")


def _inside(found: Any) -> float:
    low, high = found.band
    return float(np.mean((found.found >= low) & (found.found <= high)))
