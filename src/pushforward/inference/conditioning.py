"""A model given some of its numbers, after training: `condition_on`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.inference.flow_sources import along_order, by_chains, by_surrogate, check_model
from pushforward.inference.known import Boxes, ConditioningError, boxes_of
from pushforward.inference.weighted import (
    PILOT,
    ConditionalDraws,
    Evidence,
    Report,
    Source,
    draw_exactly,
    enough,
    equal,
    evidence_of,
    impossible,
    more_rows,
    refuse,
    reliable,
    resampled,
    seed_of,
    weighted_rows,
)

Way = Literal["auto", "exact", "importance", "mcmc"]
WAYS = ("auto", "exact", "importance", "mcmc")


@functools.singledispatch
def condition_on(model: Any, given: Mapping[Any, Any], *, method: Way = "auto") -> Any:
    r"""A trained model given some of its columns: $p(x_{\text{free}} \mid x_{\text{known}} \in A)$, without training.

    Draws are exact where all that is known comes first in the order of an autoregressive flow, or has no unknown
    ancestors along a graph: the known numbers then fix their latents, and the other latents are drawn from the base;
    one range may follow. Where it does not come first, rows along that order are weighted by $p(x_i \mid x_{<i})$. A
    flow without an order is helped by a mixture of normals that is fitted to its own draws: what is unknown is drawn
    from the mixture, and weighted by the flow's density. Weighted rows are resampled if their effective number and
    Pareto $\hat k$ allow it. Otherwise chains of blackjax go on from them, by elliptical slices and proposals of the
    mixture, in the coordinates of the flow before its last maps of single columns. Draws that would not be worth
    trusting are refused with a `ConditioningError`, which says why.

    Args:
        model: An unconditional distribution over vectors: a flow, a normal, a mixture, ...; or a fitted `FlowDensity`.
        given: What is known. By place of the number, or by name of the column of a `FlowDensity`: a value; a range as a
            tuple `(low, high)`, with None for an end that is not there; or a set of values.
        method: `"auto"`, or one of `"exact"`, `"importance"` and `"mcmc"` alone.

    Returns:
        A `Conditional`, or the like for a table.

    Raises:
        ConditioningError: A column or a value is not in the model, or the model cannot be conditioned.
        TypeError: The model is something else.

    Source: Vehtari, Simpson, Gelman, Yao, Gabry, 2024, arXiv 1507.02646 (Pareto k); Cannella, Soltani, Tarokh, 2021,
        "Projected latent Markov chain Monte Carlo", arXiv 2007.06140 (conditional draws of a trained flow).

    Example:
        >>> import jax, pushforward as pf
        >>> normal = pf.MultivariateNormal([0.0, 0.0], [[1.0, 0.9], [0.9, 1.0]])
        >>> given = pf.condition_on(normal, {0: 1.0})
        >>> draws = given.draw(jax.random.key(0), 4000)
        >>> draws.report.exact, bool(abs(draws.rows[:, 1].mean() - 0.9) < 0.05)
        (True, True)
    """
    fix = "Pass a distribution of pushforward, such as a flow, or a fitted FlowDensity."
    raise TypeError(message("condition_on", "a model", type(model).__name__, fix))


@condition_on.register(AbstractDistribution)
def _(model: AbstractDistribution, given: Mapping[Any, Any], *, method: Way = "auto") -> Conditional:
    check_way("condition_on", method)
    check_model("condition_on", model)
    return Conditional(model, boxes_of("condition_on", given, model.event_shape[0]), method)


def check_way(name: str, method: Any) -> None:
    """Raise if there is no such method.

    Raises:
        ValueError: There is none.
    """
    if method not in WAYS:
        fix = "The usual is 'auto'."
        raise ValueError(message(name, f"method one of {', '.join(WAYS)}", repr(method), fix))


@dataclass(frozen=True)
class Conditional:
    """A distribution over vectors of which some numbers are known; `condition_on` builds it.

    Args:
        model: The distribution.
        boxes: What is known.
        method: How to draw.
    """

    model: AbstractDistribution
    boxes: Boxes
    method: Way

    def sample(self, key: PRNGKeyArray, n: int = 1) -> Array:
        """Whole rows `(n, dim)`, what is known among them; as `draw`, without the report.

        Args:
            key: JAX key. The same key gives the same rows.
            n: Number of rows.

        Raises:
            ConditioningError: The draws would not be worth trusting.
        """
        return jnp.asarray(self.draw(key, n).rows)

    def draw(self, key: PRNGKeyArray, n: int = 1) -> ConditionalDraws:
        """Whole rows and what they are worth.

        Args:
            key: JAX key. The same key gives the same rows.
            n: Number of rows.

        Raises:
            ConditioningError: The draws would not be worth trusting, or what is known has no probability.
            ImportError: Chains are needed, and blackjax is not installed.
        """
        name = "condition_on"
        n, seed = check_int(name, "n", n, 1), seed_of(as_key(name, key))
        along = along_order(self.model, self.boxes)
        sources: list[Source] = [] if along is None else [along.source]
        if along is None or not along.leads:
            sources.append(by_surrogate(self.model, self.boxes))
        reports: list[Report] = []
        if self.method != "mcmc":
            found = draw_by_weights(name, sources, self.boxes, seed, n, self.method)
            if isinstance(found, ConditionalDraws):
                return found
            reports = found
        if self.method in ("auto", "mcmc"):
            draws = self._by_chains(seed, n)
            if draws is not None and reliable(draws.report):
                return draws
            reports += [] if draws is None else [draws.report]
        raise refuse(name, reports)

    def _by_chains(self, seed: np.ndarray, n: int) -> ConditionalDraws | None:
        if self.boxes.points.all() or len(self.boxes.low) > 1:
            return None
        return by_chains(self.model, self.boxes, seed, n)

    def log_evidence(self, key: PRNGKeyArray, n: int = PILOT) -> Evidence:
        """The log-density of what is known, in nats, with its standard error: 0 where it is exact.

        It is that of the known numbers, times the probability of the ranges, summed over the cases of sets.

        Args:
            key: JAX key.
            n: Number of weighted rows for each case.
        """
        seed, n = seed_of(as_key("Conditional.log_evidence", key)), check_int("log_evidence", "n", n, 32)
        along = along_order(self.model, self.boxes)
        source = by_surrogate(self.model, self.boxes) if along is None else along.source
        weights = weighted_rows(source, self.boxes, seed, n).log_weights
        found = evidence_of(weights)
        return found._replace(error=0.0) if np.isfinite(found.value) and equal(weights) else found


def draw_by_weights(
    name: str, sources: list[Source], boxes: Boxes, seed: np.ndarray, n: int, method: Way
) -> ConditionalDraws | list[Report]:
    """Draws of the first source that is exact or reliable, or the reports of what was not.

    Args:
        name: Name of the caller, for messages.
        sources: Where rows may come from, the best first.
        boxes: What is known.
        seed: Two words.
        n: Number of draws.
        method: Whether exact draws are asked for, or any.

    Raises:
        ConditioningError: What is known has no probability, or exact draws were asked for and there are none.
    """
    reports: list[Report] = []
    possible = False
    for source in sources:
        pilot = weighted_rows(source, boxes, seed, PILOT)
        top = np.max(pilot.log_weights)
        if top == -math.inf:
            continue
        possible = True
        if equal(pilot.log_weights) and method != "importance":
            return draw_exactly(source, boxes, seed, n, pilot.log_weights)
        if method == "exact":
            continue
        draws = resampled(more_rows(source, boxes, seed, enough(pilot.log_weights, n), pilot), seed, n)
        if reliable(draws.report):
            return draws
        reports.append(draws.report)
    if not possible:
        raise impossible(name)
    if method == "exact":
        fix = "Use method='auto', or a model in whose order the known columns come first."
        expected = "a model in which all that is known comes first"
        raise ConditioningError("not-exact", message(name, expected, "one in which it does not", fix))
    return reports
