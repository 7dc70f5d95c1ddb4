"""Batch normalisation without modes: the statistics are part of the model, and new ones come out of a function."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape, Traits
from pushforward._vectorize import split_batch
from pushforward.bijections.base import AbstractBatchedBijection, AbstractBijection, along
from pushforward.bijections.visit import Visited, visit_layers

# Added to each variance, as in the papers: a coordinate that is constant in a batch is not divided by zero.
VARIANCE_FLOOR = 1e-5


class BatchNorm(AbstractBatchedBijection):
    r"""$y = e^{\gamma} (x - m) / \sqrt{v + \epsilon} + \beta$ with trained $\gamma, \beta$ and **fixed** $m, v$.

    The statistics `m` and `v` are arrays that no optimiser touches: as a bijection this is an affine map like any
    other, and no row depends on another. `batch_log_prob` scores a batch with the statistics of the batch itself, as in
    training, and gives the flow with its statistics moved on; `update_batch_norm` only moves them. Nothing has a mode.

    `forward` normalises, so that in a flow, which scores by `inverse`, it stands as `Invert(BatchNorm(dim))`.

    Args:
        dim: length of the vector.

    Cost: elementwise; log-det $\sum_i \gamma_i - \frac12 \log(v_i + \epsilon)$, exact.

    Source: Ioffe and Szegedy, 2015, arXiv 1502.03167; in flows Dinh et al., 2017, appendix E, arXiv 1605.08803, and
    Papamakarios et al., 2017, appendix B, arXiv 1705.07057.
    """

    log_scale: Array
    bias: Array
    mean: Fixed
    variance: Fixed
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, dim: int):
        dim = check_int("BatchNorm", "dim", dim, 1)
        self.log_scale, self.bias = jnp.zeros(dim), jnp.zeros(dim)
        self.mean, self.variance = Fixed(jnp.zeros(dim)), Fixed(jnp.ones(dim))
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = None, Traits()

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.normalise(x, jnp.asarray(self.mean.value), jnp.asarray(self.variance.value))

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        log_scale = self._log_scale(jnp.asarray(self.variance.value))
        x = (y - along(self.bias)) * along(jnp.exp(-log_scale)) + along(jnp.asarray(self.mean.value))
        return x, jnp.broadcast_to(-jnp.sum(log_scale), y.shape[-1:])

    def normalise(self, x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Values and log-determinants of `forward` with any statistics.

        Args:
            x: `(dim, n)`.
            mean: `(dim,)`.
            variance: `(dim,)`.
        """
        log_scale = self._log_scale(variance)
        y = (x - along(mean)) * along(jnp.exp(log_scale)) + along(self.bias)
        return y, jnp.broadcast_to(jnp.sum(log_scale), x.shape[-1:])

    def _log_scale(self, variance: Array) -> Array:
        return self.log_scale - 0.5 * jnp.log(variance + VARIANCE_FLOOR)


def batch_log_prob(flow: Any, batch: Any, condition: Any = None, *, momentum: float = 0.1) -> tuple[Array, Any]:
    r"""Log-densities of a batch normalised by its own statistics, and the flow with its statistics moved on.

    What training maximises; gradients pass through the statistics of the batch. It is not a density: each row's value
    depends on the others. The new flow's statistics are $(1 - \mu) \cdot$ old $ + \mu \cdot$ batch; score with it.

    Args:
        flow: a `Flow`.
        batch: `(n, *event_shape)`, two rows or more.
        condition: `(n, *cond_shape)` for a conditional flow.
        momentum: $\mu$, from 0 (keep) to 1 (take those of the batch).

    Returns:
        Log-densities `(n,)` in nats, and the flow. In a loss, split trainable leaves off and take the new flow as an
        auxiliary output, `jax.value_and_grad(loss, has_aux=True)`; then put the new parameters into the new flow.

    Raises:
        ValueError: fewer than two rows, a momentum outside [0, 1], or a `BatchNorm` that would de-normalise.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.bijections import BatchNorm, batch_log_prob
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.Invert(BatchNorm(2)))
        >>> rows = 5.0 + 3.0 * jax.random.normal(jax.random.key(0), (512, 2))
        >>> scores, flow = batch_log_prob(flow, rows, momentum=1.0)
        >>> bool(jnp.allclose(flow.log_prob(rows), scores, atol=1e-4))
        True
    """
    name = "batch_log_prob"
    rows, lead = split_batch(name, "batch", batch, flow.event_shape)
    if len(lead) != 1 or lead[0] < 2:
        raise ValueError(message(name, "a batch of two rows or more", f"shape {rows.shape}", "Pass a minibatch."))
    if not 0 <= momentum <= 1:
        raise ValueError(message(name, "momentum from 0 to 1", repr(momentum), "The usual value is 0.1."))

    if flow.bijection.traits.needs_key:
        fix = "Give its layers an exact log-determinant."
        raise ValueError(message(name, "a flow whose log-density is not random", "one that needs a key", fix))

    def visit(layer: AbstractBijection, x: Array, condition: Array | None, forward: bool) -> Visited | None:
        if not isinstance(layer, BatchNorm):
            return None
        if not forward:
            fix = "In a flow, which scores by inverse, write Invert(BatchNorm(dim))."
            raise ValueError(message(name, "BatchNorm to normalise from data to latent", "the other direction", fix))
        mean, variance = jnp.mean(x, axis=-1), jnp.var(x, axis=-1)
        y, log_det = layer.normalise(x, mean, variance)
        new = tuple(_moved(old.value, now, momentum) for old, now in ((layer.mean, mean), (layer.variance, variance)))
        return eqx.tree_at(lambda b: (b.mean.value, b.variance.value), layer, new), y, log_det

    conditions = None if condition is None else jnp.moveaxis(jnp.asarray(condition), 0, -1)
    bijection, latent, log_det = visit_layers(flow.bijection, jnp.moveaxis(rows, 0, -1), conditions, False, visit)
    own = condition if flow.base.cond_shape is not None else None
    log_prob = flow.base.log_prob(jnp.moveaxis(latent, -1, 0), own) + log_det
    return log_prob, eqx.tree_at(lambda f: f.bijection, flow, bijection)


def update_batch_norm(flow: Any, batch: Any, condition: Any = None, *, momentum: float = 0.1) -> Any:
    """The flow with the statistics of each `BatchNorm` moved towards those of a batch, layer by layer from the data.

    With `momentum=1.0` this is the data-dependent start: before `pf.fit`, which keeps the statistics as they are.

    Args:
        flow: a `Flow`.
        batch: `(n, *event_shape)`, two rows or more.
        condition: `(n, *cond_shape)` for a conditional flow.
        momentum: share of the batch in the new statistics, from 0 to 1.

    Raises:
        ValueError: as `batch_log_prob`.
    """
    return batch_log_prob(flow, batch, condition, momentum=momentum)[1]


def _moved(old: Array, now: Array, momentum: float) -> Array:
    now = jax.lax.stop_gradient(now).astype(old.dtype)
    return (1 - momentum) * old + momentum * now
