"""The report on a model of images: images beside samples, bits per dimension, the least and the most likely images."""

from __future__ import annotations

import base64
import math
import time
from typing import Any

import numpy as np

from pushforward.images import ImageDensity, Images
from pushforward.images.scoring import Bits, bits_of
from pushforward.images.writing import grid, png_of
from pushforward.report.canvas import figure, legend
from pushforward.report.charts import histogram
from pushforward.report.html import Html, csv_of, download, number, table_of, tag
from pushforward.report.page import Report, Section, sentences
from pushforward.report.run_section import file_of, quoted, run_section
from pushforward.report.table_quality import curve_section
from pushforward.tables.errors import DataError

# Images in a picture, and in a row of it; samples that are scored; bins of the histogram.
SHOWN, ACROSS, SCORED, BINS = 32, 8, 128, 30
# Pixels that a picture is wide: small images are enlarged by whole factors.
WIDTH = 420
# Levels that are told apart in the histogram of pixels.
MOST_LEVELS = 32


def image_report(model: ImageDensity, data: Any, *, seed: int, name: str | None) -> Report:
    """Report on a model of images.

    Args:
        model: Fitted model.
        data: Images to hold it against, of any kind that it takes; None reports on the fit alone.
        seed: Seed of all draws.
        name: Name of the model, such as its folder.

    Raises:
        DataError: The images cannot be read, or are not of the model.
    """
    start = time.monotonic()
    images = None if data is None else model.read(data, "make_report")
    labels = None if images is None or model.classes_ is None else images.labels
    scores = None if images is None else model.score_samples(images, labels, random_state=seed)
    bits = model.held_out_bits_ if scores is None else bits_of(model.model_, scores, 1)
    drawn = model.sample(max(SHOWN, SCORED), random_state=seed)
    result, recipe = model.result_.verdict, model.recipe_
    where = "images held out from the fit" if images is None else f"{len(images):,} images"
    verdict = (
        "The model was not held against images." if bits is None else f"On {where} the model takes {_words(bits)}.",
        _kind(bits),
        result.text,
    )
    plain = result.judgement in ("converged", "ran all epochs", "stopped by budget")
    sections = [
        Section("images", "Images and samples", _pictures(model, images, drawn)),
        None if images is None or scores is None else _bits(model, images, scores, drawn, labels, seed),
        None if images is None else _pixels(images, drawn, recipe.n_levels),
        curve_section(model.result_, "nats per image"),
        run_section(_about(model, images, name), _commands(images, name, seed), time.monotonic() - start, seed),
    ]
    return Report(
        title=f"{name or recipe.flow}: images of {' x '.join(map(str, recipe.shape))} pixels",
        standing="good" if plain and bits is not None and np.isfinite(bits.mean) and not model.notes_ else "mind",
        verdict=verdict,
        key_figures=[
            ("Bits per dimension", number(None if bits is None else bits.mean),
             "" if bits is None else f"± {number(bits.standard_error, 2)}, {bits.kind}"),
            ("Levels without a model", number(math.log2(recipe.n_levels)), "bits per dimension of even levels"),
            ("Pixels", f"{math.prod(recipe.shape):,}", f"with {recipe.n_levels} levels"),
            ("Classes", "none" if model.classes_ is None else str(len(model.classes_)), ""),
        ],
        sections=tuple(each for each in sections if each is not None),
        facts={"model": name, "kind": "images", "verdict": list(verdict), "seed": seed,
               "bits_per_dim": None if bits is None else bits.mean,
               "standard_error": None if bits is None else bits.standard_error,
               "bits_kind": None if bits is None else bits.kind, "images": 0 if images is None else len(images)},
    )  # fmt: skip


def _words(bits: Bits) -> str:
    most = "at most " if bits.kind == "bound" else ""
    return f"{most}{number(bits.mean)} ± {number(bits.standard_error, 2)} bits per dimension"


def _kind(bits: Bits | None) -> str:
    if bits is None or bits.kind == "exact":
        return "Its figures are exact."
    return "The figure is a bound by dequantization: the true one is not higher."


def picture(levels: np.ndarray, n_levels: int, words: str) -> Html:
    """Images `(n, C, H, W)` side by side in one picture, which lies in the page; of other channels the first.

    Args:
        levels: Levels of the images.
        n_levels: Number of levels.
        words: What the picture shows.
    """
    some = levels if levels.shape[1] in (1, 3) else levels[:, :1]
    sheet = grid(some, n_levels, columns=min(ACROSS, len(some)))
    times = max(1, WIDTH // sheet.shape[2])
    data = base64.b64encode(png_of(sheet)).decode("ascii")
    return tag("img", src=f"data:image/png;base64,{data}", alt=words, class_="pixels",
               width=times * sheet.shape[2], height=times * sheet.shape[1])  # fmt: skip


def _pictures(model: ImageDensity, images: Images | None, drawn: np.ndarray) -> tuple[Any, ...]:
    n_levels, made = model.recipe_.n_levels, []
    if images is not None:
        made.append(figure(picture(images.levels[:SHOWN], n_levels, "The first of the images."), "Images"))
    made.append(figure(picture(drawn[:SHOWN], n_levels, "Samples of the model."), "Samples"))
    return (*model.describe().split("\n")[:1], tag("div", made, class_="pictures"), sentences(model.notes_))


def _bits(
    model: ImageDensity, images: Images, scores: np.ndarray, drawn: np.ndarray, labels: Any, seed: int
) -> Section:
    """Bits per dimension of images beside those of samples, by class, and the images at both ends."""
    dim = math.prod(model.recipe_.shape) * math.log(2)
    # The scores of samples are summed over the classes, as nobody says of which class they are.
    own, other = -scores / dim, -model.score_samples(drawn[:SCORED], random_state=seed) / dim
    both = np.concatenate([own, other])
    both = both[np.isfinite(both)]
    if not len(both):
        raise DataError("unreadable", "The model gives no image a finite score. Fit it anew.")
    edges = np.linspace(float(both.min()), float(both.max()) + 1e-9, BINS + 1)
    heights = {kind: np.histogram(values, bins=edges, density=True)[0]
               for kind, values in (("data-fill", own), ("model-line", other))}  # fmt: skip
    drawing = histogram(edges, heights, "bits per dimension", "Histogram of bits per dimension of images and samples.")
    order = np.argsort(own, kind="stable")
    ends = [(order[::-1][:ACROSS], "The least likely images"), (order[:ACROSS], "The most likely images")]
    pictures = [
        figure(picture(images.levels[rows], model.recipe_.n_levels, f"{title}."), title,
               f"{number(own[rows[0]], 3)} bits per dimension and {'less' if k == 0 else 'more'}")
        for k, (rows, title) in enumerate(ends)
    ]  # fmt: skip
    numbers = {"from": edges[:-1], "to": edges[1:], "images": heights["data-fill"], "samples": heights["model-line"]}
    blocks: list[Any] = [
        "Images to the right of the samples are less likely than what the model draws; a model that fits gives both "
        "the same bits.",
        legend(("of-data", f"images ({len(own):,})"), ("of-model", f"samples ({len(other):,})")),
        figure(drawing),
        tag("p", download("bits.csv", csv_of(numbers), "Numbers of this figure as CSV"), class_="numbers"),
        tag("div", pictures, class_="pictures"),
    ]
    if labels is not None:
        rows = []
        for label in np.unique(labels):
            part = own[labels == label]
            rows.append([str(label), len(part), float(part.mean()), float(part.std() / math.sqrt(len(part)))])
        blocks.append(table_of(["class", "images", "bits per dimension", "standard error"], rows, caption="By class"))
    return Section("bits", "Bits per dimension", tuple(blocks))


def _pixels(images: Images, drawn: np.ndarray, n_levels: int) -> Section:
    """How often pixels have each level, in images and samples."""
    edges = np.linspace(0, n_levels, min(n_levels, MOST_LEVELS) + 1)
    heights = {kind: np.histogram(levels, bins=edges)[0] / levels.size
               for kind, levels in (("data-fill", images.levels), ("model-line", drawn))}  # fmt: skip
    drawing = histogram(edges, heights, "level of a pixel", "Shares of the levels of pixels in images and samples.")
    numbers = {"from": edges[:-1], "to": edges[1:], "images": heights["data-fill"], "samples": heights["model-line"]}
    link = download("levels.csv", csv_of(numbers), "Numbers of this figure as CSV")
    entries = legend(("of-data", f"images ({len(images):,})"), ("of-model", f"samples ({len(drawn):,})"))
    blocks = ("Shares of all pixels.", entries, figure(drawing), tag("p", link, class_="numbers"))
    return Section("levels", "Levels of pixels", blocks)


def _about(model: ImageDensity, images: Images | None, name: str | None) -> dict[str, Any]:
    recipe, result = model.recipe_, model.result_.verdict
    return {"model": name, "flow": recipe.flow, "dequantization": recipe.dequantization,
            "steps of the fit": f"{result.steps:,} in {result.seconds:.1f} s",
            "data": None if images is None else file_of(images.source)}  # fmt: skip


def _commands(images: Images | None, name: str | None, seed: int) -> list[str]:
    source = None if images is None else file_of(images.source)
    return [quoted("pushforward", "report", name or "MODEL", source, "--seed", seed, "--out", "report.html")]
