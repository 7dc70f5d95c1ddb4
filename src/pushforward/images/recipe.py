"""What an image model is made of, as data from which it is built again: name, options, sizes, noise, map of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import message
from pushforward._parts import parts, rewritten
from pushforward._types import Array, PRNGKeyArray, trainable
from pushforward.bijections import GaussianStart
from pushforward.bijections.gaussian_start import gaussian_of
from pushforward.distributions import AbstractDistribution, Dequantized, Flow, evaluation_form
from pushforward.images.noise_net import learned_noise
from pushforward.images.pixel_map import PIXEL_MAPS, SEEN, pixel_map, usual_map
from pushforward.images.reading.levels import Images
from pushforward.images.zoo import IMAGE_ENTRIES, IMAGE_ZOO, ImageEntry
from pushforward.training import in_data_units

DEQUANTIZATIONS = ("uniform", "variational")
# Images up to this many pixels, or sets with fewer images than this, get the small preset of a model.
SMALL_PIXELS, FEW_IMAGES = 16 * 16, 5000


@dataclass(frozen=True)
class Recipe:
    """What an image model is made of.

    Args:
        flow: Name of the entry in `pushforward.images.IMAGE_ZOO`.
        shape: Shape `(C, H, W)` of an image.
        n_levels: Number of levels of a pixel.
        n_classes: Number of classes, or None.
        options: Options of the entry that differ from its defaults.
        dequantization: `"uniform"` or `"variational"`; None for a discrete model.
        pixel_map: `"histogram"`, `"logit"` or `"affine"`; None for a discrete model.
    """

    flow: str
    shape: tuple[int, int, int]
    n_levels: int
    n_classes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    dequantization: str | None = "uniform"
    pixel_map: str | None = "logit"

    @property
    def entry(self) -> ImageEntry:
        """The declaration of the model."""
        return IMAGE_ENTRIES[self.flow]

    def build(self, key: PRNGKeyArray, levels: np.ndarray) -> AbstractDistribution:
        """The untrained model over levels.

        Args:
            key: JAX key for the initial weights.
            levels: Levels `(n, C, H, W)` from which the map of the pixels is set.
        """
        flow_key, noise_key = jax.random.split(key)
        arguments = {"shape": self.shape, "n_classes": self.n_classes, **self.options}
        if self.entry.kind == "discrete":
            return IMAGE_ZOO[self.flow](flow_key, **{"n_levels": self.n_levels, **arguments})
        units = pixel_map(self.pixel_map or "logit", levels, self.n_levels)
        flow = in_data_units(IMAGE_ZOO[self.flow](flow_key, **arguments), units)
        noise = learned_noise(noise_key, self.shape) if self.dequantization == "variational" else None
        return Dequantized(flow, noise, self.n_levels)

    def template(self) -> AbstractDistribution:
        """The shapes of the model's arrays, to be filled from a file."""
        empty = np.zeros((1, *self.shape), np.uint8)
        # What a fit returns, and what a folder holds, is the form that is scored.
        return eqx.filter_eval_shape(lambda key: evaluation_form(self.build(key, empty)), jax.random.key(0))


def recipe_of(
    flow: str,
    options: Mapping[str, Any] | None,
    *,
    images: Images,
    n_classes: int | None,
    dequantization: str | None,
    pixel_map: str | None,
) -> Recipe:
    """The recipe for images, every choice checked and the defaults of the model and of such images filled in.

    Raises:
        ValueError: The model, the noise or the map of pixels is unknown, or has no place here.
        TypeError: The model does not have an option.
    """
    name, shape, n, n_levels = "ImageDensity", images.shape, len(images), images.n_levels
    if flow not in IMAGE_ENTRIES:
        raise ValueError(
            message(name, f"flow one of {', '.join(IMAGE_ENTRIES)}", repr(flow), "See pf.images.describe().")
        )
    entry = IMAGE_ENTRIES[flow]
    if n_classes is not None and not entry.conditional:
        raise ValueError(message(name, f"no labels for {flow}, which takes no classes", "labels", "Leave them out."))
    given = dict(options or {})
    small = shape[1] * shape[2] <= SMALL_PIXELS or n < FEW_IMAGES
    chosen = {**(entry.small if small else {}), **given}
    entry.arguments(chosen)  # names and bounds
    for what, value, known in (
        ("dequantization", dequantization, DEQUANTIZATIONS),
        ("pixel_map", pixel_map, PIXEL_MAPS),
    ):
        if value is not None and (value not in known or entry.kind == "discrete"):
            expected = f"{what} one of {', '.join(known)}" if entry.kind != "discrete" else f"no {what} for {flow}"
            fix = "A discrete model has the levels themselves." if entry.kind == "discrete" else "Choose one of them."
            raise ValueError(message(name, expected, repr(value), fix))
    if entry.kind == "discrete":
        return Recipe(flow, shape, n_levels, n_classes, chosen, None, None)
    noise = dequantization or entry.training.get("dequantization", "uniform")
    onto = pixel_map or entry.training.get("pixel_map")
    if onto is None:
        onto = usual_map(images.levels[np.linspace(0, n - 1, min(n, SEEN)).astype(int)], n_levels)
    return Recipe(flow, shape, n_levels, n_classes, chosen, noise, onto)


def is_trained(model: Any) -> bool:
    """Whether a model has numbers to train."""
    return bool(jax.tree.leaves(trainable(model)[0]))


def set_in_closed_form(model: Any, images: Images, condition: np.ndarray | None, rows: np.ndarray) -> Any:
    """The model with the Gaussian in it set from images; itself if there is none.

    Args:
        model: The model over levels.
        images: The images.
        condition: Conditions `(m, n_classes)` of those that are seen, or None.
        rows: Numbers `(m,)` of the images that are seen.
    """
    if not any(isinstance(part, GaussianStart) for part in parts(model)):
        return model
    levels = images.levels[rows]
    noise = np.random.default_rng(0).random(levels.shape, np.float32)
    real = _before_units(model.flow, levels + noise)
    flat = real.reshape(len(real), -1).T
    given: Any = None if condition is None else np.asarray(condition, np.float32).T
    return rewritten(model, lambda part: gaussian_of(part, flat, given) if isinstance(part, GaussianStart) else part)


def _before_units(flow: Flow, real: np.ndarray) -> Array:
    """Real images in the units of the model, before the map of pixels, which is the last member of the chain."""
    units: Any = flow.bijection
    return jax.vmap(units.members[-1].inverse)(np.asarray(real, np.float32))
