"""Images and their latents: encoding, decoding, interpolation, directions of attributes, and draws at a temperature."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, check_number, message
from pushforward._vectorize import batch_keys, in_chunks
from pushforward.distributions import Dequantized, Flow
from pushforward.images.scoring import chunk_of


def flow_within(model: Any, name: str) -> Flow:
    """The flow over real images in a model over levels.

    Raises:
        TypeError: The model is of discrete pixels, and has no latents.
    """
    if not isinstance(model, Dequantized) or not isinstance(model.flow, Flow):
        fix = "Take a continuous model such as realnvp or glow; pf.images.describe() lists them."
        raise TypeError(message(name, "a flow, which has latents", "a model of discrete pixels", fix))
    return model.flow


def encode(model: Any, levels: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """The latents `(n, C, H, W)` of images, each level taken at its middle.

    Args:
        model: Distribution over levels that is made of a flow.
        levels: Levels `(n, C, H, W)`.
        condition: Conditions `(n, n_classes)`, or None.
    """
    flow = flow_within(model, "encode")
    run = eqx.filter_jit(lambda flow, rows, given: flow.encode(jnp.asarray(rows, jnp.result_type(float)) + 0.5, given))
    return in_chunks(lambda rows, given: run(flow, rows, given), chunk_of(levels.shape[1:]), levels, condition)


def decode(model: Any, latents: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """The levels `(n, C, H, W)` of latents, as floating numbers.

    Args:
        model: Distribution over levels that is made of a flow.
        latents: Latents `(n, C, H, W)`.
        condition: Conditions `(n, n_classes)`, or None.
    """
    flow_within(model, "decode")
    run = eqx.filter_jit(lambda model, rows, given: model.as_levels(model.flow.decode(rows, given)))
    return in_chunks(lambda rows, given: run(model, rows, given), chunk_of(latents.shape[1:]), latents, condition)


def draw(model: Any, n: int, condition: np.ndarray | None, key: Any, temperature: float) -> np.ndarray:
    """Levels `(n, C, H, W)` of new images; image `i` depends on the key and on `i` alone.

    Args:
        model: Distribution over levels.
        n: Number of images.
        condition: Conditions `(n, n_classes)`, or None.
        key: JAX key.
        temperature: Factor of the latents: below 1 images are more typical and less varied.

    Raises:
        TypeError: A temperature is given for a model without latents.
    """
    check_number("sample", "temperature", temperature, low=0.0)
    keys = batch_keys(key, n)
    size = chunk_of(model.event_shape)
    if temperature == 1.0:
        run = eqx.filter_jit(_sampled)
        return in_chunks(lambda own, given: run(model, own, given), size, keys, condition)
    flow_within(model, "sample, temperature")
    run = eqx.filter_jit(_tempered)
    factor = jnp.asarray(temperature)
    return in_chunks(lambda own, given: run(model, own, given, factor), size, keys, condition)


def _sampled(model: Any, keys: Any, given: Any) -> Any:
    return jnp.moveaxis(model.sample_rows(keys, _last(given)), -1, 0)


def _tempered(model: Any, keys: Any, given: Any, factor: Any) -> Any:
    base = model.flow.base
    latents = factor * base.sample_rows(keys, _last(given) if base.cond_shape is not None else None)
    return model.as_levels(model.flow.decode(jnp.moveaxis(latents, -1, 0), given))


def _last(condition: Any) -> Any:
    return None if condition is None else jnp.moveaxis(jnp.asarray(condition), 0, -1)


def between(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    r"""Latents along the great circle from one to another, `(n, ...)`, whose length changes evenly.

    $z_t = \frac{\sin((1 - t)\,\omega)}{\sin\omega} z_0 + \frac{\sin(t\,\omega)}{\sin\omega} z_1$, with the angle
    $\omega$ between the two. A straight line would pass through latents that are shorter than any typical one.

    Args:
        first: The latent at the start.
        second: The latent at the end.
        n: Number of latents, both ends among them.

    Source: Shoemake, 1985, "Animating rotation with quaternion curves", SIGGRAPH.
    """
    t = np.linspace(0.0, 1.0, check_int("interpolate", "n", n, 2)).reshape(-1, *(1 for _ in first.shape))
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    cosine = float(np.sum(first * second) / max(lengths[0] * lengths[1], np.finfo(float).tiny))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if np.sin(angle) < 1e-4:  # parallel latents have no circle; opposite ones have all of them
        return (1 - t) * first + t * second
    return (np.sin((1 - t) * angle) * first + np.sin(t * angle) * second) / np.sin(angle)
