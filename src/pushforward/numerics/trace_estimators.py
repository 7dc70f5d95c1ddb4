"""Traces of a linear map that is given by its products with vectors: exact, or estimated by random probes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape

Noise = Literal["rademacher", "gaussian"]
NOISES = ("rademacher", "gaussian")
Product = Callable[[Array], Array]


class AbstractTrace(eqx.Module):
    r"""A way to compute a trace, $\operatorname{tr} A \approx \sum_p v_p^T A v_p$ with vectors made from random probes.

    The probes are drawn once (per solve, per series), so that the estimate is a smooth function of $A$. A trace takes
    the product $v \mapsto A^T v$ of a pull-back, or $v \mapsto A v$, which has the same trace.

    Attributes:
        needs_key: Whether the probes are random, so that `draw` needs a key.
    """

    needs_key: eqx.AbstractVar[bool]

    @abstractmethod
    def draw(self, key: PRNGKeyArray | None, shape: Shape, dtype: jnp.dtype | type) -> Array:
        """The probes of one event, `(n_probes, *shape)`.

        Args:
            key: JAX key, which may be None if `needs_key` is False.
            shape: Shape of an event.
            dtype: Floating type of the probes.
        """

    @abstractmethod
    def vectors(self, vjp: Product, probes: Array, *, rows: bool = False) -> Array:
        r"""The vectors $v_p$, `(n_vectors, *shape)`, which count as constants for differentiation.

        Args:
            vjp: A linear map of an array of the event's shape.
            probes: The probes from `draw`.
            rows: Whether events have a last axis of `n` rows, each with its own map and probes.
        """

    def __call__(self, vjp: Product, probes: Array, *, rows: bool = False) -> Array:
        """The trace, a scalar, or `(n,)` for rows. The arguments are those of `vectors`."""
        vectors = self.vectors(vjp, probes, rows=rows)
        return quadratic(vectors, each(vjp, vectors), rows=rows)


def each(product: Product, vectors: Array) -> Array:
    """The products with each vector, without `vmap` if there is only one."""
    return product(vectors[0])[None] if len(vectors) == 1 else jax.vmap(product)(vectors)


def quadratic(vectors: Array, products: Array, *, rows: bool = False) -> Array:
    r"""The sum $\sum_p v_p^T (A v_p)$, a scalar, or `(n,)` for rows on the last axis."""
    return jnp.sum(vectors * products, axis=tuple(range(vectors.ndim - 1)) if rows else None)


def draw_rows(trace: AbstractTrace, keys: PRNGKeyArray | None, n: int, shape: Shape, dtype: jnp.dtype | type) -> Array:
    """Draw the probes of `n` rows on a last axis, `(n_probes, *shape, n)`, each from its own key."""
    if not trace.needs_key or keys is None:
        probes = trace.draw(None, shape, dtype)
        return jnp.broadcast_to(probes[..., None], (*probes.shape, n))
    return jax.vmap(lambda key: trace.draw(key, shape, dtype), out_axes=-1)(keys)


class ExactTrace(AbstractTrace):
    """The exact trace, from one product per dimension.

    Args:
        chunk: Number of products at once for the divergence of a velocity field, which sets the memory: that of as
            many copies of the network.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.numerics.trace_estimators import ExactTrace
        >>> trace, matrix = ExactTrace(), jnp.array([[1.0, 5.0], [0.0, 2.0]])
        >>> float(trace(lambda v: matrix.T @ v, trace.draw(None, (2,), jnp.float32)))
        3.0
    """

    chunk: int = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, chunk: int = 64):
        self.chunk, self.needs_key = check_int("ExactTrace", "chunk", chunk, 1), False

    def draw(self, key: PRNGKeyArray | None, shape: Shape, dtype: jnp.dtype | type) -> Array:
        size = math.prod(shape)
        return jnp.eye(size, dtype=dtype).reshape(size, *shape)

    def vectors(self, vjp: Product, probes: Array, *, rows: bool = False) -> Array:
        return probes


class Hutchinson(AbstractTrace):
    r"""The unbiased Hutchinson estimator, $\frac1m \sum_p \epsilon_p^T A \epsilon_p$ with random probes $\epsilon_p$.

    Rademacher noise (signs) has the smaller variance, $2 (\|A\|_F^2 - \sum_i A_{ii}^2)/m$ for a symmetric $A$, against
    $2 \|A\|_F^2/m$ for normal noise; in one dimension it is exact.

    Args:
        n_probes: Number of probes $m$.
        noise: Distribution of the probes, `"rademacher"` or `"gaussian"`.
        seed: None draws probes from the key. A number fixes the probes, which are then the same for every row: no key
            is needed and the estimate is deterministic, with an error that does not average out.

    Cost: one product per probe.

    Raises:
        ValueError: there are no probes, or the noise is unknown.

    Source: Hutchinson, 1990, eq. 3; Grathwohl et al., 2019, eq. 7, arXiv 1810.01367 (for flows).
    """

    n_probes: int = eqx.field(static=True)
    noise: Noise = eqx.field(static=True)
    seed: int | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, n_probes: int = 1, noise: Noise = "rademacher", seed: int | None = None):
        self.n_probes, self.noise = check_int("Hutchinson", "n_probes", n_probes, 1), _noise("Hutchinson", noise)
        self.seed, self.needs_key = seed, seed is None

    def draw(self, key: PRNGKeyArray | None, shape: Shape, dtype: jnp.dtype | type) -> Array:
        return _draw("Hutchinson", key, self.seed, self.noise, (self.n_probes, *shape), dtype)

    def vectors(self, vjp: Product, probes: Array, *, rows: bool = False) -> Array:
        return probes * self.n_probes**-0.5


class HutchPlusPlus(AbstractTrace):
    r"""The Hutch++ estimator, $\operatorname{tr} Q^T A Q + \frac1m \sum_p g_p^T P A P g_p$ with $P = I - Q Q^T$.

    $Q$ spans the range $A S$ of a sketch $S$, on which the trace is exact; only the rest is estimated. The estimate is
    unbiased, and its error falls like the reciprocal of the number of products, not of its root. The range is that of
    `vjp`.

    Args:
        n_sketch: Number of columns of $S$; as many as there are dimensions make the trace exact.
        n_probes: Number of probes $m$.
        noise: Distribution of $S$ and $g$, `"rademacher"` or `"gaussian"`.
        seed: None draws $S$ and $g$ from the key; a number fixes them, as for `Hutchinson`.

    Cost: two products per column of the sketch, one per probe, and a QR decomposition.

    Raises:
        ValueError: there are no columns or probes, or the noise is unknown.

    Source: Meyer, Musco, Musco, Woodruff, 2021, algorithm 1, arXiv 2010.09649.
    """

    n_sketch: int = eqx.field(static=True)
    n_probes: int = eqx.field(static=True)
    noise: Noise = eqx.field(static=True)
    seed: int | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, n_sketch: int = 1, n_probes: int = 1, noise: Noise = "rademacher", seed: int | None = None):
        self.n_sketch = check_int("HutchPlusPlus", "n_sketch", n_sketch, 1)
        self.n_probes = check_int("HutchPlusPlus", "n_probes", n_probes, 1)
        self.noise, self.seed, self.needs_key = _noise("HutchPlusPlus", noise), seed, seed is None

    def draw(self, key: PRNGKeyArray | None, shape: Shape, dtype: jnp.dtype | type) -> Array:
        n = min(self.n_sketch, math.prod(shape)) + self.n_probes
        return _draw("HutchPlusPlus", key, self.seed, self.noise, (n, *shape), dtype)

    def vectors(self, vjp: Product, probes: Array, *, rows: bool = False) -> Array:
        sketch, rest = probes[: -self.n_probes], probes[-self.n_probes :]
        # Q depends on the sketch and not on the probes: it is a constant for the estimate, which stays unbiased.
        found = jax.lax.stop_gradient(each(vjp, sketch))
        event = found.shape[1:-1] if rows else found.shape[1:]
        columns = found.reshape(len(sketch), math.prod(event), -1)  # (sketch, dimension, row)
        orthogonal = jnp.linalg.qr(jnp.transpose(columns, (2, 1, 0)))[0]
        basis = jnp.transpose(orthogonal, (2, 1, 0))
        others = rest.reshape(self.n_probes, *columns.shape[1:])
        inside = jnp.einsum("kdn,pdn->kpn", basis, others)
        others = (others - jnp.einsum("kdn,kpn->pdn", basis, inside)) * self.n_probes**-0.5
        return jnp.concatenate([basis, others]).reshape(-1, *found.shape[1:])


def _noise(name: str, noise: Noise) -> Noise:
    if noise not in NOISES:
        raise ValueError(message(name, f"noise to be one of {', '.join(NOISES)}", repr(noise), "Choose one of them."))
    return noise


def _draw(
    name: str, key: PRNGKeyArray | None, seed: int | None, noise: Noise, shape: Shape, dtype: jnp.dtype | type
) -> Array:
    if seed is not None:
        key = jax.random.key(seed)
    if key is None:
        raise ValueError(message(name, "a key", "none", "Its probes are random: pass key=jax.random.key(0)."))
    if noise == "gaussian":
        return jax.random.normal(key, shape, dtype)
    # Signs take one bit each; `jax.random.rademacher`, which compares uniform numbers, is a three times longer program.
    bits = jax.random.bits(key, shape, jnp.uint32)
    return jnp.where(bits >> 31 == 0, 1, -1).astype(dtype)
