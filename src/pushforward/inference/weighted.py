"""From weighted rows to rows of equal weight, with what they are worth, or a refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward._vectorize import in_chunks
from pushforward.inference.known import Boxes, ConditioningError
from pushforward.metrics import effective_sample_size, pareto_k
from pushforward.metrics.weights import MOST_K, heavy_tailed
from pushforward.numerics.mean_error import mean_and_error

Method = Literal["exact", "importance", "mcmc"]
# Weighted rows that show what a source is worth, for each case; and rows at most, for all cases together.
PILOT, MOST_ROWS = 2048, 2**18
# Rows per call of a compiled program.
SIZES = (64, 512, PILOT, 4096)
# Weights that differ by less, in nats, are equal: what is left is rounding.
EQUAL = 1e-6
# Draws are refused where they are worth fewer than this, or where the chains' R-hat is more.
LEAST_ESS, MOST_R_HAT = 100.0, 1.05
# As many weighted rows are drawn as make the effective number this many times the number of draws.
SURPLUS = 2.0


class Report(NamedTuple):
    """What draws of a conditional distribution are worth.

    Attributes:
        method: `"exact"`, `"importance"` (sampling-importance-resampling) or `"mcmc"`.
        ess: Effective number of independent draws.
        pareto_k: Tail index of the importance weights: below 0.5 all is well, above 0.7 they are not to be trusted
            unless they are nearly equal; NaN where there are none.
        n_weighted: Number of weighted rows, or of steps of all chains.
        r_hat: R-hat of the chains; NaN without any.
        log_evidence: Log-density of what is known, in nats: of numbers their density, of ranges and levels their
            probability; NaN where it was not estimated.
        error: Its standard error.
    """

    method: Method
    ess: float
    pareto_k: float
    n_weighted: int
    r_hat: float
    log_evidence: float
    error: float

    @property
    def exact(self) -> bool:
        """Whether the draws are independent draws of the model's own conditional distribution."""
        return self.method == "exact"

    @property
    def sentence(self) -> str:
        """The report in words."""
        if self.method == "exact":
            return "The draws are exact: what is known comes first in the model's order."
        if self.method == "importance":
            return (
                f"The draws were resampled from {self.n_weighted:,} weighted rows worth {self.ess:,.0f} independent "
                f"ones (Pareto k {self.pareto_k:.2f})."
            )
        return (
            f"The draws come from {self.n_weighted:,} steps of MCMC worth {self.ess:,.0f} independent draws "
            f"(R-hat {self.r_hat:.3f})."
        )


class ConditionalDraws(NamedTuple):
    """Draws of a conditional distribution.

    Attributes:
        rows: Whole rows `(n, dim)`, what is known among them.
        report: What they are worth.
    """

    rows: np.ndarray
    report: Report


class Weighted(NamedTuple):
    """Weighted rows of each case.

    Attributes:
        rows: `(m, n, dim)`.
        log_weights: `(m, n)`; the mean of a case's weights is the density of what is known there.
    """

    rows: np.ndarray
    log_weights: np.ndarray


# From key data, the numbers of case and draw, and the boxes of as many rows, to rows `(n, dim)` and log-weights `(n,)`.
Source = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], Any]


def row_keys(seed: Any, which: Any, draw: Any) -> PRNGKeyArray:
    """The keys of draws, each by its case and its number."""
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    return jax.vmap(lambda i, j: jax.random.fold_in(jax.random.fold_in(key, i), j))(which, draw)


def seed_of(key: PRNGKeyArray) -> np.ndarray:
    """Two words of a key."""
    return np.asarray(jax.random.key_data(key)).ravel()[-2:].astype(np.uint32)


def weighted_rows(
    source: Source, boxes: Boxes, seed: np.ndarray, n: int, *, numbers: np.ndarray | None = None, first: int = 0
) -> Weighted:
    """So many weighted rows of each case; a longer sample begins with the shorter one.

    Args:
        source: Where they come from.
        boxes: What is known.
        seed: Two words.
        n: Rows of each case.
        numbers: Numbers of the cases `(m,)`, on which alone their draws depend; None counts them from 0.
        first: Number of the first draw of each case.
    """
    m = len(boxes.low)
    which, draw = (part.astype(np.uint32) for part in np.divmod(np.arange(m * n), n))
    rows, log_weights = _run(source, boxes, seed, which, draw + np.uint32(first), numbers)
    return Weighted(rows.reshape(m, n, -1), log_weights.reshape(m, n))


def more_rows(source: Source, boxes: Boxes, seed: np.ndarray, n: int, pilot: Weighted) -> Weighted:
    """The same as `weighted_rows`, of which the first rows are there already."""
    here = pilot.log_weights.shape[1]
    if n <= here:
        return pilot
    rest = weighted_rows(source, boxes, seed, n - here, first=here)
    return Weighted(*(np.concatenate(parts, axis=1) for parts in zip(pilot, rest, strict=True)))


def _run(
    source: Source,
    boxes: Boxes,
    seed: np.ndarray,
    which: np.ndarray,
    draw: np.ndarray,
    numbers: np.ndarray | None = None,
) -> Any:
    case = which if numbers is None else numbers[which].astype(np.uint32)
    return in_chunks(lambda *part: source(seed, *part), SIZES, case, draw, boxes.low[which], boxes.high[which])


class Evidence(NamedTuple):
    """The density of what is known, estimated.

    Attributes:
        value: Its logarithm, in nats.
        error: Standard error.
    """

    value: float
    error: float


def evidence_of(log_weights: np.ndarray) -> Evidence:
    """The logarithm of the mean weight over all cases, which add up."""
    top = float(np.max(log_weights))
    if top == -math.inf:
        return Evidence(-math.inf, 0.0)
    weights = np.exp(log_weights - top)
    means, errors = mean_and_error(weights.T)
    total = float(np.sum(means))
    return Evidence(top + math.log(total), float(np.sqrt(np.sum(np.square(errors)))) / total)


def equal(log_weights: np.ndarray) -> bool:
    """Whether the weights of each case are all the same, so that its rows are draws of the conditional distribution."""
    return bool(np.isfinite(log_weights).all() and np.max(np.ptp(log_weights, axis=1)) <= EQUAL)


def draw_exactly(source: Source, boxes: Boxes, seed: np.ndarray, n: int, log_weights: np.ndarray) -> ConditionalDraws:
    """Draws from a source whose weights are equal within each case: a case by its weight, then a row of it."""
    evidence = evidence_of(log_weights)
    shares = np.exp(log_weights[:, 0] - np.max(log_weights[:, 0]))
    rng = np.random.default_rng([*seed.tolist(), 1])
    which = rng.choice(len(shares), size=n, p=shares / shares.sum()).astype(np.uint32)
    rows, _ = _run(source, boxes, seed, which, np.arange(n, dtype=np.uint32))
    return ConditionalDraws(rows, Report("exact", float(n), math.nan, n, math.nan, evidence.value, 0.0))


def enough(log_weights: np.ndarray, n: int) -> int:
    """How many weighted rows of each case make `n` draws, as far as these tell."""
    share = effective_sample_size(log_weights.ravel()) / log_weights.size
    wanted = max(SURPLUS * n, 4 * LEAST_ESS) / max(share, 1e-9)
    most = max(MOST_ROWS, int(SURPLUS * n)) // len(log_weights)
    return int(min(max(wanted / len(log_weights), PILOT), max(most, PILOT)))


def resampled(weighted: Weighted, seed: np.ndarray, n: int) -> ConditionalDraws:
    """Draws by their weights, by even steps of their sum, in a random order."""
    log_weights = weighted.log_weights.ravel()
    evidence = evidence_of(weighted.log_weights)
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng([*seed.tolist(), 2])
    steps = (np.arange(n) + rng.uniform()) / n
    places = np.minimum(np.searchsorted(np.cumsum(weights) / weights.sum(), steps), len(weights) - 1)
    rows = weighted.rows.reshape(len(weights), -1)[rng.permutation(places)]
    report = Report(
        "importance",
        effective_sample_size(log_weights),
        pareto_k(log_weights),
        len(log_weights),
        math.nan,
        evidence.value,
        evidence.error,
    )
    return ConditionalDraws(rows, report)


def reliable(report: Report) -> bool:
    """Whether draws are to be handed out."""
    if report.method == "exact":
        return True
    if report.method == "importance":
        heavy = math.isnan(report.pareto_k) or heavy_tailed(report.pareto_k, report.ess, report.n_weighted)
        return report.ess >= LEAST_ESS and not heavy
    return report.ess >= LEAST_ESS and report.r_hat <= MOST_R_HAT


def refuse(name: str, reports: list[Report]) -> ConditioningError:
    """The error for draws that would not be worth trusting."""
    found = " ".join(report.sentence for report in reports)
    return ConditioningError(
        "unreliable",
        f"{name}: expected draws worth {LEAST_ESS:.0f} independent ones or more, with Pareto k below {MOST_K} or R-hat "
        f"below {MOST_R_HAT}, got fewer. {found} Condition on fewer columns or on wider ranges, or fit a model in "
        "whose order the known columns come first (FlowDensity(order=[...])).",
    )


def impossible(name: str) -> ConditioningError:
    """The error for what the model gives no probability."""
    return ConditioningError(
        "impossible",
        f"{name}: expected conditions that the model holds possible, got some without any probability in "
        f"{PILOT:,} rows. Look at the ranges of the columns, or condition on wider ranges.",
    )
