"""Any objective on images: levels get noise, and training sees mirror images and dropped classes."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, check_number, message
from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys
from pushforward.distributions import AbstractDistribution, Dequantized, VariationalDequantizer
from pushforward.objectives.base import AbstractObjective, Rows


class ImageObjective(AbstractObjective):
    r"""An objective $\ell$ over real images, on levels with noise: the mean of $\ell(x + u)$, $u \sim q(u \mid x)$.

    For maximum likelihood it is minus the bound of `distributions.Dequantized`. In training, and not where held-out
    rows are scored, each image is mirrored with probability one half if `flips` is set, and its class is dropped (the
    condition becomes 0) with probability `class_dropout`, anew in each step. With flips the model that is trained is
    that of the images together with their mirror images: the held-out score is its score of the images as they are.

    Args:
        inner: Objective over real images, such as `MaximumLikelihood()` or `FlowMatching()`.
        flips: Whether training mirrors images left to right.
        class_dropout: Probability with which training drops the class of an image, for guidance without a classifier.

    Raises:
        ValueError: A probability lies outside [0, 1], or another loss than a likelihood is given learned noise.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((1, 2, 2)), pf.Affine(loc=2.0, scale=1.0, shape=(1, 2, 2)))
        >>> pixels = pf.distributions.Dequantized(flow, n_levels=4)
        >>> objective = pf.objectives.ImageObjective(pf.MaximumLikelihood(), flips=True)
        >>> objective(pixels, jax.numpy.ones((3, 1, 2, 2)), key=jax.random.key(0)).shape
        ()
    """

    inner: AbstractObjective
    flips: bool = eqx.field(static=True)
    class_dropout: float = eqx.field(static=True)
    training: bool = eqx.field(static=True)
    in_nats: bool = eqx.field(static=True)
    # Facts of the class elsewhere; here they are those of the objective within.
    is_regression: bool = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    learning_rate: float = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    weight_decay: float = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    score_words: str = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, inner: AbstractObjective, *, flips: bool = False, class_dropout: float = 0.0):
        self.inner, self.flips, self.training = inner, bool(flips), False
        check_number("ImageObjective", "class_dropout", class_dropout, low=0.0, high=1.0)
        self.class_dropout = float(class_dropout)
        self.in_nats, self.is_regression = inner.in_nats, inner.is_regression
        self.learning_rate, self.weight_decay = inner.learning_rate, inner.weight_decay
        self.score_words = inner.score_words

    def at_step(self, step: Array) -> ImageObjective:
        return replaced(self, inner=self.inner.at_step(step), training=True)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The loss of each image, `(n,)`; images are levels `(n, *event_shape)` for a `Dequantized` model."""
        key = as_key("ImageObjective", key)
        mirror, drop, noise, own = jax.random.split(key, 4)
        images = jnp.asarray(x)
        n = len(images)
        if self.training and self.flips:
            chosen = jax.random.bernoulli(mirror, 0.5, (n,) + (1,) * (images.ndim - 1))
            images = jnp.where(chosen, images[..., ::-1], images)
        if self.training and self.class_dropout and condition is not None:
            kept = jax.random.bernoulli(drop, 1 - self.class_dropout, (n, 1))
            condition = jnp.where(kept, condition, 0)
        if self.inner.in_nats or not isinstance(flow, Dequantized):
            return self.inner.per_row(flow, images, condition, own)
        if isinstance(flow.dequantizer, VariationalDequantizer):
            fix = "Take uniform noise: only a likelihood trains the law of the noise."
            raise ValueError(
                message("ImageObjective", f"uniform noise for {type(self.inner).__name__}", "another", fix)
            )
        rows: Any = jnp.moveaxis(images, 0, -1)
        real, _ = flow.dequantized_rows(batch_keys(noise, n), rows)
        return self.inner.per_row(flow.flow, jnp.moveaxis(real, -1, 0), condition, own)
