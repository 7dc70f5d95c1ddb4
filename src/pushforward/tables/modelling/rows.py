"""Scoring and drawing rows in float64, in chunks of few sizes, so that little recompiles and no row sees another."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._programs import once, program
from pushforward._vectorize import in_chunks, rows_last
from pushforward.checking.spline_walk import Walked, score_walking
from pushforward.distributions import AbstractDistribution, Flow
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.table import TableDistribution
from pushforward.numerics.mean_error import mean_and_error

# Rows per call: the smallest size that holds all rows, or else calls of the last. A single row then costs little, and
# many rows fill the processor's caches but no more. A row's numbers depend on the size by rounding alone.
SIZES = (1, 64, 512, 4096)
# Numbers of a call, its rows times its columns, beyond which the rows of a call are fewer.
MOST_NUMBERS = 2**19
# Draws have one size: a longer sample then begins with the shorter one to the last bit.
DRAWN = 512
# A draw's number is a word of 32 bits.
MOST_DRAWS = 2**32
# Draws that a lower bound is averaged over. The same for every row, and in every run.
N_DRAWS = 16
DRAWS_SEED = 0
# Rounded values of the flow are taken at the middles of their steps where that changes a row's score by less, in nats.
MIDDLE_ERROR = 0.02


def sizes_of(x: np.ndarray) -> tuple[int, ...]:
    """The numbers of rows of a call for rows `(n, dim)`."""
    return tuple(size for size in SIZES if size == SIZES[0] or size * x.shape[1] <= MOST_NUMBERS)


class Scores(NamedTuple):
    """Log-probabilities of rows in nats, each `(n,)`.

    Attributes:
        log_prob: the sum of the two parts.
        mass: log-probability of the states.
        density: log-density of the values given the states.
        error: Error of `density`: the standard error where it is averaged over draws; where rounded values are taken
            at the middle of their steps, the root mean square of what that changes, measured on rows of the fit.
    """

    log_prob: np.ndarray
    mass: np.ndarray
    density: np.ndarray
    error: np.ndarray


def score_rows(
    model: TableDistribution | Ensemble, x: np.ndarray, condition: np.ndarray | None, n_draws: int = N_DRAWS
) -> Scores:
    r"""The log-probabilities of rows, computed in float64 whatever the model was trained in.

    Where the density is a lower bound, it is $\log \frac1K \sum_k p(v, u_k)/q(u_k)$ over $K$ draws, which comes closer
    to the log-probability as $K$ grows. The draws are the same for every row, so that a row's score is its own.

    Args:
        model: in the data's units.
        x: `(n, dim)`.
        condition: `(n, k)` or None.
        n_draws: $K$.

    Source: Burda, Grosse, Salakhutdinov, 2016, eq. 8, arXiv 1509.00519.
    """
    missed = float(np.max(one_of(model).middle_error.value))
    if missed > MIDDLE_ERROR:
        model = once(with_draws, model)
    n_draws = n_draws if model.needs_key else 0
    score = program(_score, model, n_draws=n_draws)
    mass, density, error = in_chunks(score, sizes_of(x), np.asarray(x, np.float64), condition)
    return Scores(mass + density, mass, density, error if n_draws else np.full(len(mass), missed))


def _score(model: TableDistribution | Ensemble, x: Any, condition: Any, *, n_draws: int) -> tuple[Any, Any, Any]:
    rows, conditions = x.T, None if condition is None else condition.T
    if not n_draws:
        mass, density = model.parts(rows, conditions, None)
        return mass, density, jnp.zeros_like(mass)

    def draw(i: Any) -> tuple[Any, Any]:
        key = jax.random.fold_in(jax.random.key(DRAWS_SEED), i)
        parts = model.parts(rows, conditions, jnp.broadcast_to(key, x.shape[:1]))
        return parts.mass, parts.density

    masses, densities = jax.lax.map(draw, jnp.arange(n_draws))
    density = jax.nn.logsumexp(densities, axis=0) - np.log(n_draws)
    finite = jnp.isfinite(density)
    # The standard error of the mean of p over the draws, relative to it: that of its logarithm.
    ratio = jnp.exp(densities - jnp.where(finite, density, 0.0))
    _, error = mean_and_error(ratio)
    return masses[0], density, jnp.where(finite & (n_draws > 1), error, 0.0)


class Standard(NamedTuple):
    """What the flow of a table's values sees, in float64.

    Attributes:
        values: Standard numbers `(n, n_flow)`.
        condition: Conditions of the flow `(n, k)`, or None.
    """

    values: np.ndarray
    condition: np.ndarray | None


class Seen(NamedTuple):
    """What the flow of a table's values sees of rows, and where it carries them.

    Attributes:
        standard: Its values in standard units, with their conditions.
        walked: Latents `(n, n_flow)`, and whether each row missed a spline `(n,)`.
    """

    standard: Standard
    walked: Walked


def score_and_see(
    model: TableDistribution | Ensemble, x: np.ndarray, condition: np.ndarray | None
) -> tuple[Scores, Seen | None]:
    """The log-probabilities of rows, and from the same pass what else their status takes; arguments as in `score_rows`.

    The second is None for an ensemble, where the log-probability is averaged over draws, and without a flow.
    """
    missed = float(np.max(one_of(model).middle_error.value))
    alone = isinstance(model, TableDistribution) and isinstance(model.values, Flow)
    if not alone or model.needs_key or missed > MIDDLE_ERROR:
        return score_rows(model, x, condition), None
    mass, density, seen = in_chunks(program(_score_seeing, model), sizes_of(x), np.asarray(x, np.float64), condition)
    return Scores(mass + density, mass, density, np.full(len(mass), missed)), seen


def _score_seeing(model: TableDistribution, x: Any, condition: Any) -> tuple[Any, Any, Seen]:
    caught: list[Standard] = []

    def step(flow: Any, rows: Any, own: Any, keys: Any, forward: bool) -> tuple[Any, Any, Walked]:
        caught.append(Standard(rows.T, None if own is None else own.T))
        return score_walking(flow, rows, own, keys, forward)

    parts, (walked,) = model.parts_with(step, x.T, None if condition is None else condition.T, None)
    return parts.mass, parts.density, Seen(caught[0], Walked(walked.latents.T, walked.missed))


def standard_rows(model: TableDistribution, x: np.ndarray, condition: np.ndarray | None) -> Standard:
    """The values of the flow in standard units, at the middles of their steps, with their conditions.

    Args:
        model: The distribution, in the data's units.
        x: Rows `(n, dim)`.
        condition: Conditions `(n, k)` or None.
    """
    return in_chunks(program(_standard, model), sizes_of(x), np.asarray(x, np.float64), condition)


def _standard(model: TableDistribution, x: Any, condition: Any) -> Standard:
    seen = model.standard(x.T, None if condition is None else condition.T, None)
    own = None if seen.condition is None else seen.condition.T
    return Standard(seen.values.T, own)  # pyright: ignore[reportArgumentType] - arrays of JAX, still


def latent_rows(model: TableDistribution, x: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """The latents of all values `(n, n_values)` in float64; what is rounded or absent is drawn, anew for each row."""
    uniform = np.random.default_rng(DRAWS_SEED).uniform(size=(len(x), len(model.own.state_of_value)))
    return in_chunks(program(_latents, model), sizes_of(x), np.asarray(x, np.float64), condition, uniform)


def _latents(model: TableDistribution, x: Any, condition: Any, uniform: Any) -> Any:
    return model.latents(x.T, None if condition is None else condition.T, uniform.T).T


def one_of(model: TableDistribution | Ensemble) -> TableDistribution:
    """The distribution itself, or that of an ensemble, whose arrays have a first axis."""
    return model.stacked if isinstance(model, Ensemble) else model


def with_draws(model: TableDistribution | Ensemble) -> TableDistribution | Ensemble:
    """The same with rounded values of the flow drawn from their steps, for which a key is needed."""
    drawn = one_of(model).drawn_within_steps()
    return model.with_members((drawn,)) if isinstance(model, Ensemble) else drawn


def middle_error(model: TableDistribution, x: np.ndarray, condition: np.ndarray | None) -> float:
    """The root mean square of what taking rounded values of the flow at their middles changes, in nats per row.

    The same rows are scored with `N_DRAWS` draws within each step, whose mean is the mass of the step.

    Args:
        model: The distribution, in the data's units.
        x: Rows `(n, dim)`.
        condition: Conditions `(n, k)` or None.
    """
    drawn = with_draws(model)
    if not drawn.needs_key or not len(x):
        return 0.0
    change = score_rows(drawn, x, condition).density - score_rows(model.taken_at_middles(), x, condition).density
    change = change[np.isfinite(change)]
    return float(np.sqrt(np.mean(change**2))) if len(change) else 0.0


def sample_rows(
    model: AbstractDistribution, seed: np.ndarray, n: int, condition: np.ndarray | None, part: range | None = None
) -> np.ndarray:
    """Draw rows in float64: `n` `(n, d)`, or `n` for each condition `(m * n, d)`, those of the first condition first.

    Draw `j` for condition `i` depends on the seed, `i` and `j` alone.

    Args:
        model: in the data's units.
        seed: two words.
        n: draws, for each condition if there are any.
        condition: `(m, k)` or None.
        part: which of these rows to draw, one after the other; None draws all.
    """
    rows = range(n if condition is None else n * len(condition)) if part is None else part
    which, draw = (numbers.astype(np.uint32) for numbers in np.divmod(np.arange(rows.start, rows.stop), n))
    return sample_numbered(model, seed, which, draw, None if condition is None else condition[which])


def sample_numbered(
    model: AbstractDistribution, seed: np.ndarray, which: np.ndarray, draw: np.ndarray, condition: np.ndarray | None
) -> np.ndarray:
    """Draw rows in float64 by their numbers `(k, d)`: a row depends on the seed, its two numbers and its condition.

    Args:
        model: in the data's units.
        seed: two words.
        which: first numbers `(k,)`, words of 32 bits: of the conditions.
        draw: second numbers `(k,)`, words of 32 bits: of the draws.
        condition: `(k, c)` or None.
    """
    drawn = program(_draw, model)
    return in_chunks(lambda which, draw, own: drawn(seed, which, draw, own), DRAWN, which, draw, condition)


def _draw(model: AbstractDistribution, seed: Any, which: Any, draw: Any, condition: Any) -> Any:
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    keys = jax.vmap(lambda i, j: jax.random.fold_in(jax.random.fold_in(key, i), j))(which, draw)
    return rows_last(model.sample_rows, (which.shape, () if condition is None else which.shape), keys, condition)
