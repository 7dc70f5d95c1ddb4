"""Models of images as a page shows them: samples, an image along latent directions, the way from noise to images."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from pushforward.explore.controls import Control
from pushforward.explore.figures import Plane, facts
from pushforward.explore.panel import Frames, Panel, script, written
from pushforward.explore.subject import Latents, Moved, Row
from pushforward.images import ImageDensity
from pushforward.images.latents import flow_within
from pushforward.images.writing import grid, png_of
from pushforward.plotting.plane import times_of
from pushforward.report.html import Html, joined, number, tag
from pushforward.report.image_report import picture

CLASS = "class"
# Images shown, images whose latents give the directions, directions, times of the way.
SHOWN, LOOKED_AT, DIRECTIONS, TIMES, ACROSS = 24, 128, 8, 13, 8
WIDTH = 420


class ImageSubject:
    """A density of images.

    Args:
        density: Fitted density.
        name: Name of its folder.
        data: Images to look at, of any kind that it takes; None takes samples.
        seed: Seed of all draws.

    Raises:
        DataError: The images are not of the model.
    """

    def __init__(self, density: ImageDensity, name: str, data: Any = None, *, seed: int = 0):
        self.images, self.name, self.seed = density, name, seed
        self._data = None if data is None else density.read(data, "explore").levels[:LOOKED_AT]
        self.controls: Sequence[Control] = ()
        self.start: Row = {}
        if density.classes_ is not None:
            classes = density.classes_.tolist()
            self.controls = [Control(CLASS, options=tuple(map(str, classes)), levels=tuple(classes), always=True)]
            self.start = {CLASS: classes[0]}
        self.targets: Sequence[str] = ()
        shape = " x ".join(map(str, density.recipe_.shape))
        self.title = f"{name}: images of {shape} pixels"
        self.sentence = "Bits per dimension of the model: lower is likelier. " + density.describe().split("\n")[0]
        self.views: Sequence[str] = ("samples", "latents", "way") if self._has_latents else ("samples",)

    @cached_property
    def _has_latents(self) -> bool:
        try:
            flow_within(self.images.model_, "explore")
        except TypeError:
            return False
        return True

    def _labels(self, row: Row, n: int) -> Any:
        return None if self.images.classes_ is None else np.repeat(np.asarray([row[CLASS]]), n)

    def _bits(self, levels: np.ndarray, row: Row) -> float:
        scores = self.images.score_samples(levels, self._labels(row, len(levels)), random_state=self.seed)
        return float(-np.mean(scores) / (math.prod(self.images.recipe_.shape) * math.log(2)))

    def _load(self) -> list[str]:
        return [f"density = pf.images.ImageDensity.load({self.name!r})"]

    def density(self, targets: tuple[str, ...], row: Row, held: frozenset[str]) -> Panel:
        raise NotImplementedError("The density of single pixels has no view.")

    def score(self, row: Row) -> Panel:
        if self._data is None:
            return Panel(tag("p", "Pass DATA to see images beside the samples.", class_="soft"))
        some = self._data[:SHOWN]
        bits = self._bits(some, row)
        head = tag("div", facts({"bits per dimension": (number(bits), f"mean of {len(some)} images")}), id="row-score",
                   data_value=f"{bits:.9g}")  # fmt: skip
        return Panel(joined([head, picture(some, self.images.recipe_.n_levels, "Images of DATA.")]))

    def draws(self, row: Row, held: frozenset[str]) -> Panel:
        labels = self._labels(row, SHOWN)
        drawn = self.images.sample(SHOWN, labels, random_state=self.seed)
        bits = self._bits(drawn, row)
        head = tag("div", facts({"bits per dimension": (number(bits), f"mean of {SHOWN} samples")}), id="sample-score",
                   data_value=f"{bits:.9g}")  # fmt: skip
        label = "" if labels is None else f", {written(row[CLASS])}"
        code = script(*self._load(), f"samples = density.sample({SHOWN}{label}, random_state={self.seed})",
                      "print(samples.shape)")  # fmt: skip
        return Panel(joined([head, picture(drawn, self.images.recipe_.n_levels, "Samples of the model.")]), code)

    def plane(self, names: tuple[str, str]) -> Plane:
        raise NotImplementedError("Images have no columns.")

    def brushed(self, names: tuple[str, str], box: tuple[float, float, float, float]) -> Panel:
        raise NotImplementedError("Images have no columns.")

    def _base(self, row: Row) -> tuple[np.ndarray, np.ndarray]:
        """Latents of an image `(d,)`, and the directions `(k, d)` in which latents vary most."""
        some = self._data
        if some is None:
            some = self.images.sample(LOOKED_AT, self._labels(row, LOOKED_AT), random_state=self.seed)
        z = np.asarray(self.images.encode(some, self._labels(row, len(some))), np.float64).reshape(len(some), -1)
        _, size, directions = np.linalg.svd(z - z.mean(0), full_matrices=False)
        k = min(DIRECTIONS, len(size))
        return z[0], directions[:k] * size[:k, None] / math.sqrt(max(len(z) - 1, 1))

    def latents(self, row: Row) -> Latents:
        k = len(self._base(row)[1])
        return Latents(tuple(f"direction {i + 1}" for i in range(k)), (0.0,) * k)

    def moved(self, row: Row, latents: Sequence[float]) -> Moved:
        z, directions = self._base(row)
        both = np.stack([z, z + np.asarray(latents) @ directions]).reshape(2, *self.images.recipe_.shape)
        decoded = self.images.decode(both.astype(np.float32), self._labels(row, 2))
        bits = [self._bits(decoded[i : i + 1], row) for i in range(2)]
        entries = {"bits per dimension": (number(bits[1]), f"of the image {number(bits[0])}")}
        head = tag("div", facts(entries), id="moved", data_value=f"{bits[1]:.9g}")
        words = (
            "Directions in which the latents of images vary most, in standard deviations. Left the image, right moved."
        )
        code = script(
            *self._load(), "z = density.encode(images)  # images of your own", "print(density.decode(z).shape)"
        )
        code = code.replace("images)", f"density.sample(2, random_state={self.seed}))")
        body = joined([head, picture(decoded, self.images.recipe_.n_levels, "The image, and the moved one."),
                       tag("p", words)])  # fmt: skip
        return Moved(dict(row), Panel(body, code))

    def way(self, row: Row) -> Frames:
        from pushforward.distributions import Evolution

        model: Any = self.images.model_
        flow = flow_within(model, "explore")
        labels = self._labels(row, 1)
        condition = None if labels is None else self.images._condition(labels, 1, "explore")
        evolution = Evolution(flow, None if condition is None else condition[0])
        times = times_of(evolution, TIMES)
        z = evolution.base.sample(jax.random.key(self.seed), SHOWN)
        # Layers may change the shape of an image on the way; what has not its shape yet is not shown.
        marks, titles = [], []
        for t in times:
            state = np.asarray(evolution.states(z, [float(t)]))[0]
            if state.shape[1:] == tuple(self.images.recipe_.shape):
                marks.append(_address(np.asarray(model.as_levels(state)), self.images.recipe_.n_levels))
                titles.append(f"time {t:.3g}" if evolution.continuous else f"layer {t:g}")
        titles[-1] = "images"
        code = script(*self._load(), f"print(density.sample({SHOWN}, random_state={self.seed}).shape)")
        shown = tag("img", src=marks[-1], alt="Draws of the base on their way to images.", class_="pixels moving",
                    width=WIDTH)  # fmt: skip
        return Frames(Panel(Html(shown), code), tuple(marks), tuple(titles))


def _address(levels: np.ndarray, n_levels: int) -> str:
    some = levels if levels.shape[1] in (1, 3) else levels[:, :1]
    some = np.clip(np.nan_to_num(some), 0, n_levels - 1).astype(np.uint8 if n_levels <= 256 else np.uint16)
    data = base64.b64encode(png_of(grid(some, n_levels, columns=ACROSS))).decode("ascii")
    return f"data:image/png;base64,{data}"
