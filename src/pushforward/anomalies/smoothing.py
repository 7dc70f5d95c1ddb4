"""Maximum likelihood of rows with fresh noise: a density that few rows cannot make too sharp."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.distributions.table import UNBOUNDED, TableDistribution
from pushforward.objectives import AbstractObjective, MaximumLikelihood
from pushforward.objectives.base import Rows


class SmoothedLikelihood(AbstractObjective):
    r"""$-\mathbb{E}_\epsilon \log p(x + \sigma \epsilon)$ with normal noise $\epsilon$, drawn anew in each step.

    Its minimum is the density of the rows convolved with the noise. A flow that is trained so cannot put mass on single
    rows, and tells rows that it was trained on less from others: what limits a score of unusual rows is overfitting.
    Noise is added to numbers that fill a line. Levels, angles and numbers between bounds get none.

    Args:
        noise: Standard deviation $\sigma$ of the noise in standard deviations of the columns, positive.

    Raises:
        ValueError: The noise is not positive.

    Source: Vincent, 2011, eq. 4, doi 10.1162/NECO_a_00142, for the density; Bishop, 1995, Training with noise is
    equivalent to Tikhonov regularization, doi 10.1162/neco.1995.7.1.108.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import SmoothedLikelihood
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> density = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=60, verify=False, random_state=0)
        >>> density = density.set_params(objective=SmoothedLikelihood(1.0))
        >>> bool((density.fit(x).sample(1000, random_state=0).std(axis=0) > 1.1).all())
        True
    """

    noise: float = eqx.field(static=True)
    in_nats: ClassVar[bool] = False
    learning_rate: ClassVar[float] = MaximumLikelihood.learning_rate
    weight_decay: ClassVar[float] = MaximumLikelihood.weight_decay
    score_words: ClassVar[str] = "Held-out log-density of rows with noise"

    def __init__(self, noise: float = 0.3):
        if not noise > 0:
            fix = "The default is 0.3; for none use MaximumLikelihood."
            raise ValueError(message("SmoothedLikelihood", "noise > 0", repr(noise), fix))
        self.noise = float(noise)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The negative log-density of each row with noise, `(n,)`; without a key, of the row itself."""
        rows, own = jnp.asarray(x), key
        if key is not None:
            noise_key, own = jax.random.split(key)
            rows = rows + (self.noise * _on_a_line(flow)).astype(rows.dtype) * jax.random.normal(
                noise_key, rows.shape, rows.dtype
            )
        return -flow.log_prob(rows, condition, key=own if flow.needs_key else None)


def _on_a_line(flow: Any) -> Array:
    """1 for the numbers of an event that fill a line, 0 for others, `(dim,)`."""
    if not isinstance(flow, TableDistribution):
        return jnp.ones(flow.event_shape)
    free = (jnp.abs(jnp.asarray(flow.bounds.value)) >= UNBOUNDED).all(axis=1)
    places = len(flow.own.sizes) + np.array(flow.flow_places, int)
    return jnp.zeros(flow.event_shape).at[places].set(free.astype(jnp.float32))
