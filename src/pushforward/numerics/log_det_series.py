r"""Log-determinants of $x + g(x)$ for a contraction $g$: exact, by a truncated series, or by Russian roulette."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._meshes import aligned, scan, while_loop
from pushforward._types import Array, Exactness, PRNGKeyArray, PyTree
from pushforward.numerics.trace_estimators import AbstractTrace, Hutchinson, draw_rows, each, quadratic

# Probability below which tables of the number of terms end: rarer numbers are never drawn.
RAREST = 1e-18
# Up to this size elimination is written out over rows on the last axis; beyond it LAPACK's kernel per row is faster.
MAX_UNROLLED = 16

Function = Callable[[Array, PyTree], Array]
Gradient = Literal["neumann", "plain"]


class AbstractLogDet(eqx.Module):
    r"""A way to compute $\log\det(I + J)$ with $J = \partial g/\partial x$, in the same pass as $g(x)$.

    Attributes:
        exactness: `"exact"`, `"unbiased"` or `"biased"`.
        needs_key: Whether the log-determinant is random.
        loops: Whether the number of terms is known only at run time.
    """

    exactness: eqx.AbstractVar[Exactness]
    needs_key: eqx.AbstractVar[bool]
    loops: eqx.AbstractVar[bool]

    @abstractmethod
    def __call__(
        self, function: Function, x: Array, arguments: PyTree, keys: PRNGKeyArray | None
    ) -> tuple[Array, Array]:
        """The values `(*event, n)` of $g$ and the log-determinants `(n,)`.

        Args:
            function: Function `(x, arguments) -> g(x)`, applied row by row; everything that is differentiated is in
                `arguments`.
            x: Array of shape `(*event, n)`.
            arguments: Arguments of `function` that are differentiated.
            keys: JAX keys, one per row, `(n,)`; None if and only if no key is needed.
        """

    @abstractmethod
    def error_bound(self, lipschitz: float, dim: int) -> float:
        """A bound on the error of the value, in nats; infinite for a random estimate.

        Args:
            lipschitz: Bound on the Lipschitz constant of $g$.
            dim: Number of elements of an event.
        """


def truncation_bound(n_terms: int, lipschitz: float, dim: int) -> float:
    r"""Bound on the series after $n$ terms, $\sum_{k > n} D L^k / k \le D L^{n+1} / ((n+1)(1-L))$, in nats.

    Source: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, theorem 4, arXiv 1811.00995.
    """
    return dim * lipschitz ** (n_terms + 1) / ((n_terms + 1) * (1 - lipschitz))


class ExactLogDet(AbstractLogDet):
    r"""The exact $\log\det(I + J)$ from the whole Jacobian.

    The pivots of elimination without exchanges are positive for every contraction, because the symmetric part of
    $I + J$ is positive definite. A map that does not contract, whose determinant may be negative, gives NaN.

    Cost: $D$ forward derivatives and $O(D^3)$ per row.
    """

    exactness: Exactness = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)
    loops: bool = eqx.field(static=True)

    def __init__(self):
        self.exactness, self.needs_key, self.loops = "exact", False, False

    def __call__(
        self, function: Function, x: Array, arguments: PyTree, keys: PRNGKeyArray | None
    ) -> tuple[Array, Array]:
        size, n = math.prod(x.shape[:-1]), x.shape[-1]
        value, push = jax.linearize(lambda x: function(x, arguments), x)
        basis = jnp.eye(size, dtype=x.dtype).reshape(size, *x.shape[:-1], 1)
        _, vectors = aligned(x, jnp.broadcast_to(basis, (size, *x.shape)))
        columns = each(push, vectors)
        jacobian = columns.reshape(size, size, n)  # the input axis is first: the transpose has the same determinant
        return value, log_det_of(jacobian + jnp.eye(size, dtype=x.dtype)[..., None])

    def error_bound(self, lipschitz: float, dim: int) -> float:
        return 0.0


def log_det_of(matrix: Array) -> Array:
    """The logarithms `(n,)` of the determinants of `(D, D, n)`, NaN where elimination meets a pivot not above 0."""
    size = len(matrix)
    if size > MAX_UNROLLED:
        sign, log_det = jnp.linalg.slogdet(jnp.moveaxis(matrix, -1, 0))
        return jnp.where(sign > 0, log_det, jnp.nan)
    total = jnp.zeros(matrix.shape[-1:], matrix.dtype)
    for _ in range(size):
        total = total + jnp.log(matrix[0, 0])
        factor = matrix[1:, :1] / matrix[0, 0]
        matrix = matrix[1:, 1:] - factor * matrix[:1, 1:]
    return total


class Truncated(AbstractLogDet):
    r"""The biased estimator of i-ResNets, $\sum_{k=1}^{n} \frac{(-1)^{k+1}}{k} \operatorname{tr} J^k$.

    Args:
        n_terms: Number of terms $n$.
        trace: Estimator of the traces of the powers, which all use the same probes.
        gradient: How gradients are computed. `"neumann"` pulls $\sum_{k<n} (-1)^k J^k$ back in one product, with memory
            that does not grow with $n$: with an exact trace this is the gradient of the value, with probes an unbiased
            estimate of it. `"plain"` differentiates the series, and keeps every term in memory.

    Cost: $n$ products per vector of the trace.

    Raises:
        ValueError: there are no terms, or the gradient is unknown.

    Source: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, eq. 4 and algorithm 2, arXiv 1811.00995.
    """

    trace: AbstractTrace
    n_terms: int = eqx.field(static=True)
    gradient: Gradient = eqx.field(static=True)
    exactness: Exactness = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)
    loops: bool = eqx.field(static=True)

    def __init__(self, n_terms: int = 10, trace: AbstractTrace | None = None, gradient: Gradient = "neumann"):
        self.n_terms, self.gradient = check_int("Truncated", "n_terms", n_terms, 1), _gradient("Truncated", gradient)
        self.trace = Hutchinson() if trace is None else trace
        self.exactness, self.needs_key, self.loops = "biased", self.trace.needs_key, False

    def __call__(
        self, function: Function, x: Array, arguments: PyTree, keys: PRNGKeyArray | None
    ) -> tuple[Array, Array]:
        _, probes = aligned(x, draw_rows(self.trace, keys, x.shape[-1], x.shape[:-1], x.dtype))
        rows = jnp.zeros(x.shape[-1:], x.dtype)

        def run(pull: Callable[[Array], Array], vectors: Array) -> tuple[Array, Array]:
            def term(carry: tuple, k: Array) -> tuple[tuple, None]:
                power, total, neumann = carry
                neumann = neumann - jnp.where(k % 2 == 0, power, -power)
                power = each(pull, power)
                sign = jnp.where(k % 2 == 0, -1, 1).astype(x.dtype)
                return (power, total + sign / k.astype(x.dtype) * quadratic(vectors, power, rows=True), neumann), None

            start = (vectors, rows, jnp.zeros_like(vectors))
            (_, total, neumann), _ = scan(term, start, jnp.arange(1, self.n_terms + 1))
            return total, neumann

        return _estimate(function, x, arguments, self.trace, probes, run, self.gradient)

    def error_bound(self, lipschitz: float, dim: int) -> float:
        return math.inf if self.needs_key else truncation_bound(self.n_terms, lipschitz, dim)


class AbstractCount(eqx.Module):
    """A distribution of the number of terms after the exact ones."""

    @abstractmethod
    def survival(self) -> np.ndarray:
        r"""$P(N \ge j)$ for $j = 1, 2, \ldots$, as far as the probabilities exceed `RAREST`."""


class Poisson(AbstractCount):
    r"""The Poisson distribution of the number of terms, $P(N = j) = e^{-\lambda} \lambda^j / j!$.

    Args:
        rate: Mean number of terms $\lambda > 0$.

    Raises:
        ValueError: the rate is not positive and finite.
    """

    rate: float = eqx.field(static=True)

    def __init__(self, rate: float = 2.0):
        if not 0 < rate < math.inf:
            raise ValueError(message("Poisson", "a rate > 0", repr(rate), "2 terms on average are a common choice."))
        self.rate = float(rate)

    def survival(self) -> np.ndarray:
        n = int(self.rate + 12 * self.rate**0.5 + 60)  # beyond it nothing adds to the tails
        log_mass = [j * math.log(self.rate) - self.rate - math.lgamma(j + 1) for j in range(n)]
        tails = np.cumsum(np.exp(log_mass)[::-1])[::-1][1:]
        return tails[tails > RAREST]


class Geometric(AbstractCount):
    r"""The geometric distribution of a number of terms of 1 or more, $P(N \ge j) = (1 - p)^{j-1}$.

    Args:
        p: Probability of ending after each term, in (0, 1).

    Raises:
        ValueError: `p` is not in (0, 1).
    """

    p: float = eqx.field(static=True)

    def __init__(self, p: float = 0.5):
        if not 0 < p < 1:
            raise ValueError(message("Geometric", "p in (0, 1)", repr(p), "0.5 gives 2 terms on average."))
        self.p = float(p)

    def survival(self) -> np.ndarray:
        return (1 - self.p) ** np.arange(math.ceil(math.log(RAREST) / math.log(1 - self.p)))


class RussianRoulette(AbstractLogDet):
    r"""The unbiased estimator $\sum_{k=1}^{m+N} \frac{(-1)^{k+1}}{k} \frac{\operatorname{tr} J^k}{P(N \ge k - m)}$.

    The first $m$ terms are always included; each later term is weighted by the reciprocal of its probability. $N$ and
    the probes are drawn from each row's own key, so that a row's estimate does not depend on its neighbours.

    Args:
        distribution: Distribution of $N$, `Poisson(rate)` or `Geometric(p)`.
        n_exact: Number $m$ of terms that are always included, 0 or more.
        trace: Estimator of the traces of the powers, which all use the same probes.
        gradient: How gradients are computed. `"neumann"` is the estimator $\sum_k (-1)^k v^T J^k (\partial J) v /
            P(N \ge k - m)$ with the $N$ of the value: one product is differentiated, with the memory of one. `"plain"`
            differentiates every possible term, and keeps all of them in memory.

    Cost: $m + \max_i N_i$ products per vector of the trace, over the rows $i$ of a batch.

    Raises:
        ValueError: `n_exact` is negative, or the gradient unknown.

    Source: Chen, Behrmann, Duvenaud, Jacobsen, 2019, eq. 6 and theorem 2 (gradient), arXiv 1906.02735.
    """

    distribution: AbstractCount
    trace: AbstractTrace
    n_exact: int = eqx.field(static=True)
    gradient: Gradient = eqx.field(static=True)
    exactness: Exactness = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)
    loops: bool = eqx.field(static=True)

    def __init__(
        self,
        distribution: AbstractCount | None = None,
        n_exact: int = 2,
        trace: AbstractTrace | None = None,
        gradient: Gradient = "neumann",
    ):
        self.distribution = Poisson() if distribution is None else distribution
        self.trace = Hutchinson() if trace is None else trace
        self.n_exact = check_int("RussianRoulette", "n_exact", n_exact, 0)
        self.gradient = _gradient("RussianRoulette", gradient)
        self.exactness, self.needs_key, self.loops = "unbiased", True, self.gradient == "neumann"

    def __call__(
        self, function: Function, x: Array, arguments: PyTree, keys: PRNGKeyArray | None
    ) -> tuple[Array, Array]:
        if keys is None:
            raise ValueError(message("RussianRoulette", "a key per row", "none", "The number of terms is random."))
        split = jax.vmap(jax.random.split, out_axes=1)(keys)
        _, probes = aligned(x, draw_rows(self.trace, split[0], x.shape[-1], x.shape[:-1], x.dtype))
        survival = self.distribution.survival()
        count = draw_count(survival, split[1])
        # The weight of term k for k = 0, 1, ...; terms up to `n_exact` have 1.
        weights = jnp.asarray(np.concatenate([np.ones(self.n_exact + 1), 1 / survival]), x.dtype)

        def term(pull: Callable[[Array], Array], vectors: Array, k: Array, carry: tuple) -> tuple:
            power, total, neumann = carry
            power = each(pull, power)
            weight = jnp.where(k <= self.n_exact + count, weights[k], 0)
            sign = jnp.where(k % 2 == 0, -1, 1).astype(x.dtype)
            total = total + sign / k.astype(x.dtype) * weight * quadratic(vectors, power, rows=True)
            return power, total, neumann - sign * weight * power

        def start(vectors: Array) -> tuple:
            return vectors, jnp.zeros(x.shape[-1:], x.dtype), vectors

        def looped(pull: Callable[[Array], Array], vectors: Array) -> tuple[Array, Array]:
            last = self.n_exact + jnp.max(count)

            def step(carry: tuple) -> tuple:
                return carry[0] + 1, term(pull, vectors, carry[0], carry[1])

            _, (_, total, neumann) = while_loop(lambda carry: carry[0] <= last, step, (jnp.asarray(1), start(vectors)))
            return total, neumann

        def unrolled(pull: Callable[[Array], Array], vectors: Array) -> tuple[Array, Array]:
            (_, total, neumann), _ = scan(
                lambda carry, k: (term(pull, vectors, k, carry), None), start(vectors), jnp.arange(1, len(weights))
            )
            return total, neumann

        run = looped if self.loops else unrolled
        return _estimate(function, x, arguments, self.trace, probes, run, self.gradient)

    def error_bound(self, lipschitz: float, dim: int) -> float:
        return math.inf


def draw_count(survival: np.ndarray, keys: PRNGKeyArray) -> Array:
    r"""Draw one number of terms per key, by inversion: the number of $j$ with $u < P(N \ge j)$.

    Args:
        survival: Probabilities $P(N \ge j)$ for $j = 1, 2, \ldots$.
        keys: JAX keys, one per row, `(n,)`.
    """
    # Uniform numbers take two random words: one word has no numbers between 0 and 2 ** -23, and would draw the longest
    # series far too often.
    words = jax.vmap(lambda key: jax.random.bits(key, (2,), jnp.uint32), out_axes=-1)(keys).astype(
        jnp.result_type(float)
    )
    uniform = words[0] * 2.0**-32 + (words[1] + 0.5) * 2.0**-64
    return jnp.sum(uniform < survival[:, None], axis=0)


def _estimate(
    function: Function,
    x: Array,
    arguments: PyTree,
    trace: AbstractTrace,
    probes: Array,
    run: Callable[[Callable[[Array], Array], Array], tuple[Array, Array]],
    gradient: Gradient,
) -> tuple[Array, Array]:
    """The value of the function and the series, with the chosen gradient.

    `run` gives the sum of the series and, row by row, the vectors $w_p$ of the Neumann series.
    """
    constant = jax.lax.stop_gradient
    if gradient == "plain":
        value, vjp = jax.vjp(lambda x: function(x, arguments), x)
        return value, run(lambda v: vjp(v)[0], trace.vectors(lambda v: vjp(v)[0], probes, rows=True))[0]
    # The series runs on constants, so that none of it is kept for the gradient.
    frozen = jax.tree.map(constant, arguments)
    _, vjp = jax.vjp(lambda x: function(x, frozen), constant(x))
    vectors = trace.vectors(lambda v: vjp(v)[0], probes, rows=True)
    total, weights = run(lambda v: vjp(v)[0], vectors)
    if len(vectors) == 1:
        value, products = jax.jvp(lambda x: function(x, arguments), (x,), (vectors[0],))
        products = products[None]
    else:
        value, push = jax.linearize(lambda x: function(x, arguments), x)
        products = each(push, vectors)
    # The gradient of w^T (dJ) v is that of the log-determinant, row by row, although its value is not.
    surrogate = quadratic(weights, products, rows=True)
    return value, total + (surrogate - constant(surrogate))


def _gradient(name: str, gradient: Any) -> Gradient:
    if gradient not in ("neumann", "plain"):
        raise ValueError(message(name, "gradient 'neumann' or 'plain'", repr(gradient), "Choose one of them."))
    return gradient
