"""Tells how far the score of each row can be trusted: `row_status`."""

from __future__ import annotations

from typing import Any, Literal

import jax
import numpy as np
from scipy import stats

from pushforward._checks import message
from pushforward.checking.context import Context, flat, read_condition, read_rows
from pushforward.checking.latent import normal_scores
from pushforward.checking.programs import Programs
from pushforward.checking.spline_walk import Probe, Walked
from pushforward.distributions import UniformBox
from pushforward.distributions.base import AbstractDistribution

STATUSES = ("ok", "tail", "extrapolated", "unconverged")  # from best to worst
CENTRAL = 0.999  # share of the base's mass that is not tail
MARGIN = 0.1  # share of a column's range, to each side, that does not count as extrapolation
LARGEST_RESIDUAL = 1e-3  # share of the model's spread in that coordinate
BASE_DRAWS = 20_000  # number of draws from which the region is found if the base's distribution function is not known
SEED = 0  # seed of the draws that measure the model's spread: the status of a row must not depend on chance


def row_status(
    model: AbstractDistribution,
    x: Any,
    condition: Any = None,
    *,
    reference: Any = None,
    log_prob: Any = None,
    round_trip: Literal["all", "tail"] = "all",
    walked: Walked | None = None,
) -> np.ndarray:
    """Say for each row in a word how far its score can be trusted; the worst word that applies wins.

    - `ok`: nothing is unusual.
    - `tail`: the latent lies outside the region that holds 99.9 % of the base, or a coordinate outside a spline.
    - `extrapolated`: the row lies outside the range of `reference`, widened by a tenth, in some column, or has density
      zero.
    - `unconverged`: the log-density is NaN or infinite, or the row does not come back from its latent to within
      a thousandth of the model's spread: the score is not to be used.

    Args:
        model: A flow, or another distribution, of which only the log-density and `reference` count.
        x: Rows `(n, *event_shape)`, which may hold NaN and infinity.
        condition: Conditions `(n, *cond_shape)` for a conditional model.
        reference: Training rows `(m, *event_shape)`; None leaves out the test of ranges.
        log_prob: The log-densities `(n,)` of the rows, if they are known: computing them is half the work.
        round_trip: Rows that are sent back and forth: `"tail"` leaves out those that are not in a `tail` of a map in
            closed form, whose round trip `check` tests where the model has its mass.
        walked: Latents `(n, *in_shape)` of the rows and whether each missed a spline `(n,)`, if they are known.

    Returns:
        Words `(n,)`.

    Raises:
        TypeError: The model is not a distribution.
        ValueError: A shape does not fit, a condition is missing, or the log-density is random.

    Example:
        >>> import pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((1,)), pf.Affine(loc=1.0, scale=2.0, shape=(1,)))
        >>> pf.row_status(flow, [[1.0], [50.0]]).tolist()
        ['ok', 'tail']
    """
    name = "row_status"
    if not isinstance(model, AbstractDistribution):
        raise TypeError(message(name, "a distribution", type(model).__name__, "Pass the trained model."))
    if model.needs_key:
        fix = "Score the row several times instead, and look at the spread."
        raise ValueError(message(name, "an exact log-density", "a model whose log-density is random", fix))
    rows = read_rows(name, "x", x, model.event_shape, finite=False)
    conditions = read_condition(name, condition, model.cond_shape, len(rows))
    context = Context(model, None, conditions, jax.random.key(SEED))
    code = np.zeros(len(rows), int)

    def mark(which: Any, status: str) -> None:
        np.maximum(code, np.where(which, STATUSES.index(status), 0), out=code)

    latents, missed = None, None
    finite = np.isfinite(flat(rows)).all(axis=1)
    if walked is not None:
        latents, missed = np.asarray(walked.latents), np.asarray(walked.missed)[:, None]
    elif context.bijection is not None and context.splines:
        # Rows that are not finite have a status of their own; here a finite number replaces them.
        tame = np.where(finite.reshape((-1,) + (1,) * (rows.ndim - 1)), rows, 0.0)
        latents, missed = context.wide.walk(tame, conditions, Probe.nowhere(len(rows)))
    if log_prob is None or (latents is None and context.bijection is not None):
        scores = context.wide.score(rows, conditions)
        log_prob, latents = scores.log_prob, scores.latents if context.bijection is not None else None
    log_prob = np.asarray(log_prob, np.float64)
    if latents is not None:
        mark(outside_base(context.wide, flat(latents), conditions), "tail")
        if missed is not None:
            mark(finite & missed.any(axis=1), "tail")
        every = round_trip == "all" or "iterative" in (context.traits.forward, context.traits.inverse)
        sent = np.flatnonzero(finite & ((code > 0) | every))
        if context.two_way and len(sent):
            own = None if conditions is None else conditions[sent]
            back = context.wide.decode(latents[sent], own)[0]
            with np.errstate(invalid="ignore"):
                residual = np.abs(flat(back) - flat(rows[sent])) / context.spread
            lost = np.zeros(len(rows), bool)
            lost[sent] = ~(residual <= LARGEST_RESIDUAL).all(axis=1)
            mark(lost, "unconverged")
    if reference is not None:
        known = flat(read_rows(name, "reference", reference, model.event_shape))
        low, high = known.min(axis=0), known.max(axis=0)
        margin = MARGIN * (high - low)
        mark(((flat(rows) < low - margin) | (flat(rows) > high + margin)).any(axis=1), "extrapolated")
    mark(log_prob == -np.inf, "extrapolated")
    mark(np.isnan(log_prob) | (log_prob == np.inf), "unconverged")
    return np.array(STATUSES)[code]


def outside_base(programs: Programs, latents: np.ndarray, conditions: np.ndarray | None) -> np.ndarray:
    """Which latents `(n, D)` lie outside the region that holds `CENTRAL` of the base's mass.

    The region is a ball of normal scores if the distribution function of the base is known; otherwise it holds all
    latents of a high enough density.
    """
    base = getattr(programs.model, "base")  # noqa: B009 - flows alone come here
    if isinstance(base, UniformBox):
        return np.zeros(len(latents), bool)  # a box has no tails, and beyond it the density is zero
    with np.errstate(invalid="ignore"):
        scores = normal_scores(base, latents)
        if scores is not None:
            return (scores**2).sum(axis=1) > stats.chi2.ppf(CENTRAL, latents.shape[1])
    of_base = Programs(base, wide=True)
    own = conditions if base.cond_shape is not None else None
    found = of_base.log_prob(latents.reshape((len(latents), *base.event_shape)), own)
    key = jax.random.fold_in(jax.random.key(SEED), 50)
    repeated = None if own is None else own[np.arange(BASE_DRAWS) % len(own)]
    draws = of_base.samples(key, BASE_DRAWS, repeated)
    return found < np.quantile(of_base.log_prob(draws, repeated), 1 - CENTRAL)
