"""What a user asks a model of images: the model itself, images as levels, classes as one-hot vectors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.distributions import AbstractDistribution
from pushforward.images.reading.levels import Images, Layout, channels_first, images_of, labels_of
from pushforward.images.reading.sources import is_archive, read_arrays, read_images
from pushforward.tables.errors import DataError


def model_of(density: Any) -> AbstractDistribution:
    """The distribution over levels of a fitted `ImageDensity`, or the distribution itself.

    Raises:
        TypeError: It is neither.
    """
    model = getattr(density, "model_", density)
    if not isinstance(model, AbstractDistribution):
        fix = "Pass a fitted ImageDensity, or a distribution over levels."
        raise TypeError(message("images", "a model of images", type(density).__name__, fix))
    return model


def levels_of(model: Any, images: Any, *, means: bool = False) -> np.ndarray:
    """Images of any source that `read_images` takes as levels `(n, C, H, W)` of the model.

    Args:
        model: The distribution over levels.
        images: The images.
        means: Whether they are means over blocks of pixels, which may be fractions of levels.

    Raises:
        DataError: They are no images, or have levels that the model has not.
    """
    return images_asked(model, images, means=means).levels


def images_asked(model: Any, images: Any, *, means: bool = False) -> Images:
    """Images of any source that `read_images` takes, held to the levels of the model; arguments as for `levels_of`.

    Raises:
        DataError: They are no images, or have levels that the model has not.
    """
    top, labels, source = model.n_levels - 1, None, "images"
    if isinstance(images, str | os.PathLike) and is_archive(images):
        path, _, member = os.fspath(images).partition("::")
        source = os.fspath(images)
        images, labels = read_arrays(Path(path), member)
    if isinstance(images, str | os.PathLike | Images):
        found = read_images(images)
        if found.levels[:].max() > top:
            fix = "Convert them to the bit depth of the images of the fit."
            got = f"one of {found.levels[:].max()}"
            raise DataError("format", message(found.source, f"levels from 0 to {top}", got, fix))
        return found
    values = np.asarray(images)
    layout: Layout | None = "channels_first" if values.ndim == 4 and values.shape[1] == model.event_shape[0] else None
    if not means or values.dtype.kind != "f":
        return images_of(values, labels, n_levels=model.n_levels, layout=layout, source=source)
    values = channels_first(values, layout, source)
    if not (np.all(values >= 0) and np.all(values <= top)):
        got = f"numbers from {values.min():.6g} to {values.max():.6g}"
        fix = "Means over blocks are in levels, as the images of the fit are."
        raise DataError("format", message(source, f"means from 0 to {top}", got, fix))
    return Images(values, model.n_levels, labels_of(labels, len(values), source), source)


def condition_of(density: Any, labels: Any, n: int) -> np.ndarray | None:
    """The conditions `(n, n_classes)` of images, one-hot vectors of their classes; None for a model without classes.

    Args:
        density: A fitted `ImageDensity`, or a distribution whose classes are 0, 1, ...
        labels: Classes `(n,)`, or one for all; None for a model without classes.
        n: Number of images.

    Raises:
        ValueError: The model has classes and none is given, it has none and some are, or a class is unknown.
    """
    shape = model_of(density).cond_shape
    if shape is None:
        if labels is not None:
            fix = "Leave them out, or fit the model with labels."
            raise ValueError(message("images", "no labels for a model without classes", "some", fix))
        return None
    known = getattr(density, "classes_", None)
    classes = np.arange(shape[0]) if known is None else np.asarray(known)
    own = np.asarray(labels)
    own = np.broadcast_to(own, (n,)) if own.ndim == 0 else own
    fits = labels is not None and own.shape == (n,)
    known_ones = np.isin(own, classes) if fits else np.zeros(1, bool)
    if not known_ones.all():
        got = f"{own[~known_ones][0]}" if fits else "none" if labels is None else f"labels of shape {own.shape}"
        fix = f"The classes are {', '.join(map(str, classes[:20]))}."
        raise ValueError(message("images", f"{n} labels among the model's classes", got, fix))
    return np.eye(len(classes))[np.argmax(own[:, None] == classes, axis=1)]
