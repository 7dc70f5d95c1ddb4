"""Some columns of a model, the others integrated out: `marginal`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int, check_number, message
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import in_chunks
from pushforward.distributions import AbstractDistribution
from pushforward.inference.conditioning import Conditional
from pushforward.inference.flow_sources import along_order, by_surrogate, check_model, plain_rows
from pushforward.inference.known import Boxes, ConditioningError
from pushforward.inference.weighted import SIZES, Source, equal, seed_of
from pushforward.metrics import effective_sample_size, pareto_k
from pushforward.metrics.weights import MOST_K, heavy_tailed
from pushforward.numerics.mean_error import mean_and_error

# Weighted rows for each density, unless the user says; draws of the model for distribution functions without an order.
N_WEIGHTED, N_DRAWN = 1024, 2**16
SEED = 0
# Weighted rows where all weights are equal.
FEW = 32
# Halvings of the interval in which a quantile lies.
HALVINGS = 50


class MarginalScores(NamedTuple):
    """Log-densities of a marginal, each `(n,)`.

    Attributes:
        log_prob: Log-density of each row, in nats.
        error: Standard error; 0 where it is exact.
        ess: Effective number of the weights that it is the mean of.
        pareto_k: Their tail index; minus infinity where it is exact.
    """

    log_prob: np.ndarray
    error: np.ndarray
    ess: np.ndarray
    pareto_k: np.ndarray


@functools.singledispatch
def marginal(model: Any, columns: Sequence[Any]) -> Any:
    r"""The distribution of some columns of a model, $p(x_C) = \int p(x_C, x_{\text{rest}})\,dx_{\text{rest}}$.

    The density is exact where the columns come first in the order of an autoregressive flow, or have no other ancestors
    along a graph. Otherwise it is the mean of importance weights: $p(x_C \mid x_{<C})$ along the order, or the flow's
    density over that of a mixture that proposes the other columns. Draws are exact always.

    Args:
        model: An unconditional distribution over vectors, a `Conditional` of one, or a fitted `FlowDensity`.
        columns: Places of the columns, or the names of those of a `FlowDensity`.

    Returns:
        A `Marginal`, or the like for a table.

    Raises:
        ConditioningError: A column is not in the model, or the model has no marginals.
        TypeError: The model is something else.

    Example:
        >>> import jax, pushforward as pf
        >>> normal = pf.MultivariateNormal([0.0, 1.0], [[1.0, 0.9], [0.9, 4.0]])
        >>> first = pf.marginal(normal, [0])
        >>> first.quantile([0.5, 0.975]).round(3).tolist()
        [0.0, 1.96]
    """
    fix = "Pass a distribution of pushforward, such as a flow, or a fitted FlowDensity."
    raise TypeError(message("marginal", "a model", type(model).__name__, fix))


@marginal.register(AbstractDistribution)
def _(model: AbstractDistribution, columns: Sequence[Any]) -> Marginal:
    check_model("marginal", model)
    dim = model.event_shape[0]
    nothing = Boxes(np.full((1, dim), -np.inf), np.full((1, dim), np.inf))
    return Marginal(model, places_of(columns, dim), nothing)


@marginal.register(Conditional)
def _(model: Conditional, columns: Sequence[Any]) -> Marginal:
    places = places_of(columns, model.model.event_shape[0])
    if len(model.boxes.low) > 1 or model.boxes.known[0, list(places)].any():
        fix = "Condition on one value or range for each column, and take the marginal of others."
        expected = "columns of which nothing is known, and one case"
        raise ConditioningError("unsupported", message("marginal", expected, "others", fix))
    return Marginal(model.model, places, model.boxes)


def places_of(columns: Any, dim: int) -> tuple[int, ...]:
    """Places of columns, each once.

    Raises:
        ConditioningError: They are no such places.
    """
    places = [columns] if hasattr(columns, "__index__") else list(columns)
    whole = all(hasattr(i, "__index__") and not isinstance(i, bool) and -dim <= i.__index__() < dim for i in places)
    found = tuple(i.__index__() % dim for i in places) if whole else ()
    if not found or len(set(found)) < len(found):
        fix = "Name each column once."
        raise ConditioningError("column", message("marginal", f"places from 0 to {dim - 1}", repr(columns), fix))
    return found


@dataclass(frozen=True)
class Marginal:
    """Some columns of a distribution; `marginal` builds it.

    Args:
        model: The distribution.
        columns: Places of the columns.
        known: What is known of the others.
    """

    model: AbstractDistribution
    columns: tuple[int, ...]
    known: Boxes

    def sample(self, key: PRNGKeyArray, n: int = 1) -> Array:
        """Draws `(n, len(columns))`.

        Args:
            key: JAX key.
            n: Number of draws.
        """
        name = "Marginal.sample"
        n = check_int(name, "n", n, 1)
        if self.known.known.any():
            rows = Conditional(self.model, self.known, "auto").draw(key, n).rows
        else:
            rows = plain_rows(self.model, seed_of(as_key(name, key)), n)
        return jnp.asarray(rows[:, list(self.columns)])

    def score(self, x: Any, *, key: PRNGKeyArray | None = None, n: int = N_WEIGHTED) -> MarginalScores:
        """The log-densities of rows, and how well they are known.

        Args:
            x: Rows `(m, len(columns))`, or `(m,)` for one column.
            key: JAX key of the weighted rows; None takes the same ones each time.
            n: Number of weighted rows for each density.
        """
        rows = np.asarray(x, np.float64).reshape(-1, len(self.columns))
        low = np.repeat(self.known.low, len(rows), axis=0)
        high = np.repeat(self.known.high, len(rows), axis=0)
        low[:, list(self.columns)] = high[:, list(self.columns)] = rows
        return self._scored(Boxes(low, high), key, check_int("Marginal.score", "n", n, FEW))

    def log_prob(self, x: Any, *, key: PRNGKeyArray | None = None, n: int = N_WEIGHTED) -> np.ndarray:
        """The log-densities of rows, `(m,)` nats.

        Args:
            x: Rows `(m, len(columns))`, or `(m,)` for one column.
            key: JAX key of the weighted rows; None takes the same ones each time.
            n: Number of weighted rows for each density.

        Raises:
            ConditioningError: The weights of a row have too heavy a tail.
        """
        found = self.score(x, key=key, n=n)
        bad = heavy_tailed(found.pareto_k, found.ess, n)
        if bad.any():
            raise ConditioningError(
                "unreliable",
                f"marginal: expected weights with Pareto k below {MOST_K}, got {np.max(found.pareto_k):.2f} in "
                f"{int(bad.sum())} of {len(bad)} rows. Take more weighted rows (n=), or use score, which says how well "
                "each is known.",
            )
        return found.log_prob

    def pdf(self, grid: Any, *, key: PRNGKeyArray | None = None, n: int = N_WEIGHTED) -> np.ndarray:
        """The densities on a grid, `(m,)`; arguments as in `log_prob`."""
        return np.exp(self.log_prob(grid, key=key, n=n))

    def cdf(self, x: Any) -> np.ndarray:
        """The distribution function of one column, in the shape of `x`.

        It is exact where the column comes first in the model's order, a mean of conditional distribution functions
        where it comes later, and the empirical one of 65,536 draws for a model without an order.

        Args:
            x: Numbers.

        Raises:
            ConditioningError: There are several columns.
        """
        return self._distribution("cdf")(np.asarray(x, np.float64))

    def quantile(self, p: Any) -> np.ndarray:
        """The numbers below which one column lies with these probabilities, in the shape of `p`.

        Args:
            p: Probabilities in (0, 1).

        Raises:
            ConditioningError: There are several columns.
            ValueError: A probability is out of bounds.
        """
        shares = np.asarray(p, np.float64)
        if not ((shares > 0) & (shares < 1)).all():
            raise ValueError(message("Marginal.quantile", "probabilities in (0, 1)", f"{p!r:.60}", "Give shares."))
        function, flat = self._distribution("quantile"), shares.ravel()
        seen = np.sort(np.asarray(self.sample(jax.random.key(SEED), 4096))[:, 0].astype(np.float64))
        low, high = np.full(len(flat), seen[0]), np.full(len(flat), seen[-1])
        for _ in range(60):
            wide = high - low
            short, long = function(low) > flat, function(high) < flat
            if not (short | long).any():
                break
            low, high = np.where(short, low - wide, low), np.where(long, high + wide, high)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            below = function(middle) < flat
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (0.5 * (low + high)).reshape(shares.shape)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The central interval of one column that holds this probability.

        Args:
            level: Probability in (0, 1).
        """
        level = check_number("Marginal.interval", "level", level, 0.0, 1.0, open_low=True)
        low, high = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def _distribution(self, method: str) -> Callable[[np.ndarray], np.ndarray]:
        if len(self.columns) > 1:
            fix = "Take the marginal of one column."
            expected = "one column"
            raise ConditioningError(
                "column", message(f"Marginal.{method}", expected, f"{len(self.columns)} columns", fix)
            )
        if along_order(self.model, self._boxes(np.zeros(1))) is None:
            draws = np.sort(np.asarray(self.sample(jax.random.key(SEED), N_DRAWN))[:, 0])
            return lambda x: np.searchsorted(draws, x, side="right") / len(draws)

        def function(x: np.ndarray) -> np.ndarray:
            found = self._scored(self._boxes(np.clip(x.ravel(), -1e300, 1e300)), None, N_WEIGHTED).log_prob
            return np.clip(np.exp(found), 0.0, 1.0).reshape(x.shape)

        return function

    def _boxes(self, ends: np.ndarray) -> Boxes:
        low = np.repeat(self.known.low, len(ends), axis=0)
        high = np.repeat(self.known.high, len(ends), axis=0)
        high[:, self.columns[0]] = ends
        return Boxes(low, high)

    def _scored(self, boxes: Boxes, key: PRNGKeyArray | None, n: int) -> MarginalScores:
        name = "Marginal.score"
        seed = seed_of(jax.random.key(SEED) if key is None else as_key(name, key))
        found = _evidences(self.model, boxes, seed, n)
        if not self.known.known.any():
            return found
        alone = _evidences(self.model, self.known, seed, max(n, 4 * N_WEIGHTED))
        return found._replace(
            log_prob=found.log_prob - alone.log_prob,
            error=np.hypot(found.error, alone.error),
            ess=np.minimum(found.ess, alone.ess),
            pareto_k=np.maximum(found.pareto_k, alone.pareto_k),
        )


def _evidences(model: AbstractDistribution, boxes: Boxes, seed: np.ndarray, n: int) -> MarginalScores:
    """The log-density of each box."""
    along = along_order(model, boxes)
    source: Source = by_surrogate(model, boxes) if along is None else along.source
    # The same noise for all rows, so that a distribution function rises.
    log_weights = _same_noise(source, boxes, seed, FEW if along is not None and along.leads else n)
    top = np.max(log_weights, axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    weights = np.exp(log_weights - top)
    means, errors = mean_and_error(weights.T)
    means, errors = np.asarray(means), np.asarray(errors)
    some = means > 0
    with np.errstate(divide="ignore"):
        log_prob = np.log(means) + top[:, 0]
    flat = np.array([some[i] and equal(log_weights[i][None]) for i in range(len(some))])
    return MarginalScores(
        log_prob,
        np.where(some & ~flat, errors / np.where(some, means, 1.0), 0.0),
        np.array([effective_sample_size(own) if ok else 0.0 for own, ok in zip(log_weights, some, strict=True)]),
        np.array([pareto_k(own) if ok else -math.inf for own, ok in zip(log_weights, some & ~flat, strict=True)]),
    )


def _same_noise(source: Source, boxes: Boxes, seed: np.ndarray, n: int) -> np.ndarray:
    """Log-weights `(m, n)` of boxes, from the same keys in each of them."""
    m = len(boxes.low)
    box, draw = np.divmod(np.arange(m * n), n)
    zero, number = np.zeros(m * n, np.uint32), draw.astype(np.uint32)
    run = functools.partial(source, seed)
    return in_chunks(run, SIZES, zero, number, boxes.low[box], boxes.high[box])[1].reshape(m, n)
