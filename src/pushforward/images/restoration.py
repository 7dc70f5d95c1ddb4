"""Restoration: what an image was before a part of it was lost, coarsened or covered by noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import check_int, check_number, message
from pushforward.distributions import AbstractDistribution, Dequantized, Flow, evaluation_form
from pushforward.distributions.pixels import AnyOrderPixels, AutoregressivePixels, AveragedOrders
from pushforward.images.asked import condition_of, levels_of, model_of
from pushforward.inverse_problems import HMC, Downsample, Mask, PiGDM, solve
from pushforward.inverse_problems.field_prior import field_prior_of
from pushforward.inverse_problems.operators import AbstractOperator

NAME = "restore"
# The methods for images: as many numbers as pixels, and a few draws of each. More of each is more exact.
CHAINS = HMC(n_islands=8, n_particles=32, n_moves=3, n_rounds=12, n_leapfrogs=6)
GUIDE = PiGDM(n_steps=60)
# Draws of a field's prior, made once, from which guides take its mean and covariance.
PRIOR_DRAWS = 512
# A level stands for an interval of length 1: a pixel that is known to its level has this deviation.
ROUNDING = math.sqrt(1 / 12)


@dataclass(frozen=True, eq=False)
class Restored:
    """Restored images.

    Attributes:
        draws: Levels `(n, n_draws, C, H, W)`: for each image, images that the model finds plausible given what is left.
        mean: Their mean `(n, C, H, W)`, in levels: the estimate of the smallest squared error.
        method: Name of the method.
        verdicts: For each image, what its draws are worth, in words.
        trustworthy: For each image, whether its draws may be taken at face value.
    """

    draws: np.ndarray
    mean: np.ndarray
    method: str
    verdicts: tuple[str, ...]
    trustworthy: np.ndarray


def restore(
    density: Any,
    images: Any,
    labels: Any = None,
    *,
    mask: Any = None,
    factor: int | None = None,
    noise_sd: float = 0.0,
    n_draws: int = 16,
    method: Any = "auto",
    random_state: int = 0,
) -> Restored:
    """Draws of images behind observations of them: inpainting, super-resolution or denoising.

    Args:
        density: A fitted `ImageDensity`, or a distribution over levels: a `Dequantized` flow, or one of
            `distributions.pixels`.
        images: Observations, of any source that `read_images` takes: with `mask` images whose unknown pixels may have
            any level, with `factor` images of means over blocks.
        labels: Their classes, for a model with classes.
        mask: Booleans `(H, W)` or `(C, H, W)`, True where a pixel is known; or the known part by name: `"left-half"`,
            `"right-half"`, `"top-half"`, `"bottom-half"` or `"frame"`.
        factor: Side of a block.
        noise_sd: Standard deviation of the noise, in levels.
        n_draws: Number of draws of each image, 2 or more.
        method: `"auto"`, or a method of `inverse_problems` for flows, such as `HMC(n_rounds=40)`.
        random_state: Seed.

    Cost: for flows some ten thousand evaluations with gradient an image; for models of levels one sample a draw.

    Raises:
        ValueError: Not one of `mask`, `factor` and `noise_sd` poses a problem, shapes do not fit, or the model has no
            answer to it.
    """
    model: Any = model_of(density)
    levels = levels_of(model, images, means=factor is not None)
    condition = condition_of(density, labels, len(levels))
    key = jax.random.key(random_state)
    asked = {"mask": mask, "factor": factor, "noise_sd": noise_sd, "n_draws": n_draws, "method": method}
    return restored(model, levels, condition, **asked, key=key)


def restored(
    model: AbstractDistribution,
    levels: Any,
    condition: Any = None,
    *,
    mask: Any = None,
    factor: int | None = None,
    noise_sd: float = 0.0,
    n_draws: int = 16,
    method: Any = "auto",
    key: Any,
) -> Restored:
    r"""Draws of images behind observations of them, with a distribution over levels as the prior.

    With `mask` the pixels where it is True are known (inpainting), with `factor` the means over blocks of pixels
    (super-resolution), and otherwise all pixels with noise (denoising). A flow is asked through
    `inverse_problems.solve`: HMC over its latents, or pseudo-inverse guidance where it is a field on a path, in levels,
    with noise of the deviation $\sqrt{1/12 + \text{noise\_sd}^2}$, for a level stands for an interval. Models
    of levels complete what is missing by draws: autoregressive ones exactly, if what is known comes first in their
    order; a model of any order in an order that begins with what is known; and averaged orders in one of theirs.

    Args:
        model: Distribution over levels: a `Dequantized` flow, or one of `distributions.pixels`.
        levels: Observations: images of levels `(n, C, H, W)`, with any levels where they are not known; or means over
            blocks, `(n, C, H / factor, W / factor)`.
        condition: Conditions `(n, *cond_shape)`, or None.
        mask: Booleans `(H, W)` or `(C, H, W)`, True where a pixel is known.
        factor: Side of a block.
        noise_sd: Standard deviation of the noise, in levels.
        n_draws: Number of draws of each image, 2 or more.
        method: `"auto"`, or a method of `inverse_problems` for flows.
        key: JAX key.

    Raises:
        ValueError: Not one problem is given, shapes do not fit, or the model cannot answer it.
    """
    levels, n_draws = np.asarray(levels, float), check_int(NAME, "n_draws", n_draws, 2)
    noise_sd = check_number(NAME, "noise_sd", noise_sd, low=0.0)
    if (mask is not None and factor is not None) or (mask is None and factor is None and noise_sd == 0):
        fix = "Give mask= (inpainting), factor= (super-resolution), or noise_sd= alone (denoising)."
        got = "both mask and factor" if mask is not None else "nothing"
        raise ValueError(message(NAME, "one of mask, factor and noise_sd", got, fix))
    shape = model.event_shape
    known = None if mask is None else mask_of(mask, shape)
    if isinstance(model, Dequantized):
        operator = (
            Downsample(factor, shape) if factor is not None else Mask(np.ones(shape, bool) if known is None else known)
        )
        seen = operator.out_shape if factor is not None else shape
        _check_observed(levels, seen)
        return _of_flow(model, levels, condition, operator, noise_sd, n_draws, method, key)
    if not isinstance(model, AutoregressivePixels | AnyOrderPixels | AveragedOrders):
        fix = "Pass the model_ of a fitted ImageDensity."
        raise ValueError(message(NAME, "a dequantized flow or a model of levels", type(model).__name__, fix))
    if known is None or noise_sd > 0:
        fix = "Fit a flow, such as flow='realnvp', for super-resolution and denoising."
        raise ValueError(message(NAME, "a mask without noise for a model of levels", "another problem", fix))
    _check_observed(levels, shape)
    return _of_levels(model, levels, condition, known, n_draws, key)


def _of_levels(
    model: AutoregressivePixels | AnyOrderPixels | AveragedOrders,
    levels: np.ndarray,
    condition: Any,
    known: np.ndarray,
    n_draws: int,
    key: Any,
) -> Restored:
    """Completions by draws of the pixels that are missing, in an order in which what is known comes first."""
    exact, verdict = True, "exact: the known pixels come first in the model's order, and the draws are independent."
    if isinstance(model, AnyOrderPixels):
        verdict = "exact draws in one order that begins with the known pixels, of a model trained in all orders."
    if isinstance(model, AveragedOrders):
        model, exact = model.beginning_with(known)
        if not exact:
            verdict = (
                "do not trust: none of the model's orders begins with the known pixels, so that its weights were used "
                "in an order without training. Take any_order, or a flow."
            )
    given = None if condition is None else np.repeat(np.asarray(condition), n_draws, axis=0)
    rows = np.repeat(np.where(known, levels, 0), n_draws, axis=0)
    draws = np.asarray(model.complete(key, rows, known, given)).reshape(len(levels), n_draws, *model.event_shape)
    n = len(levels)
    return Restored(draws, draws.mean(axis=1), "complete", (verdict,) * n, np.full(n, exact))


def _of_flow(
    model: Dequantized,
    levels: np.ndarray,
    condition: Any,
    operator: AbstractOperator,
    noise_sd: float,
    n_draws: int,
    method: Any,
    key: Any,
) -> Restored:
    """The answers of `inverse_problems.solve`, image by image."""
    flow: Any = evaluation_form(model.flow)
    found, draws, prior_draws = [], [], None
    for n, image in enumerate(levels):
        prior: Any = flow if condition is None else flow.given(np.asarray(condition)[n])
        of_field = isinstance(prior, Flow) and field_prior_of(prior) is not None
        if of_field and (prior_draws is None or condition is not None):
            prior_draws = np.asarray(prior.sample(jax.random.fold_in(key, len(levels)), PRIOR_DRAWS))
        chosen = (GUIDE if of_field else CHAINS) if method == "auto" else method
        own = jax.random.fold_in(key, n)
        noise = math.hypot(ROUNDING, noise_sd)
        y = (operator.apply(image) if isinstance(operator, Mask) else image) + 0.5
        answer = solve(prior, y, operator, noise, method=chosen, key=own, n_draws=n_draws, prior_draws=prior_draws)
        found.append(answer)
        draws.append(_levels(answer.draws, model.n_levels))
    together = np.stack(draws) if draws else np.zeros((0, n_draws, *model.event_shape))
    if isinstance(operator, Mask) and noise_sd == 0:
        known = np.zeros(operator.in_shape, bool)
        known.ravel()[list(operator.places)] = True
        together = np.where(known, levels[:, None], together)  # to their level they are known
    return Restored(
        together,
        together.mean(axis=1),
        found[0].method if found else "none",
        tuple(answer.verdict for answer in found),
        np.array([answer.trustworthy for answer in found], bool),
    )


def _levels(events: np.ndarray, n_levels: int) -> np.ndarray:
    return np.clip(np.floor(events), 0, n_levels - 1)


def mask_of(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The mask of an image `(C, H, W)`, True where a pixel is known.

    Args:
        mask: Booleans `(H, W)` or `(C, H, W)`, or the name of the part that is known, such as `"left-half"`.
        shape: Shape of an image.

    Raises:
        ValueError: The name is unknown, the shape does not fit, or all or nothing is known.
    """
    if isinstance(mask, str):
        if mask not in PARTS:
            fix = "Or give an image of the size of the others that is white where pixels are known."
            raise ValueError(message(NAME, f"mask one of {', '.join(PARTS)}", repr(mask), fix))
        rows, columns = np.indices(shape[1:])
        mask = PARTS[mask](rows / shape[1], columns / shape[2])
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.shape not in (shape, shape[1:]):
        fix = "True stands for a known pixel."
        got = f"{mask.dtype} of shape {mask.shape}"
        raise ValueError(message(NAME, f"a mask of booleans {shape[1:]} or {shape}", got, fix))
    whole = np.broadcast_to(mask, shape)
    if whole.all() or not whole.any():
        fix = "A mask without unknown pixels leaves nothing to restore; one without known ones is a sample."
        raise ValueError(message(NAME, "a mask of known and unknown pixels", "all alike", fix))
    return whole


# The part of an image that is known, by name: functions of the relative row and column of each pixel.
PARTS: dict[str, Any] = {
    "left-half": lambda row, column: column < 0.5,
    "right-half": lambda row, column: column >= 0.5,
    "top-half": lambda row, column: row < 0.5,
    "bottom-half": lambda row, column: row >= 0.5,
    "frame": lambda row, column: (abs(row - 0.5) > 0.25) | (abs(column - 0.5) > 0.25),
}


def _check_observed(levels: np.ndarray, shape: tuple[int, ...]) -> None:
    if levels.ndim != 4 or levels.shape[1:] != shape:
        fix = "Stack the observations on a first axis; with factor= they are images of block means."
        raise ValueError(
            message(NAME, f"observations of shape (n, {', '.join(map(str, shape))})", f"{levels.shape}", fix)
        )
