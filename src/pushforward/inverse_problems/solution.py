"""The answer to an inverse problem: draws, their means and errors, how well they explain y, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray
from pushforward.inference.result import draws_to_arviz
from pushforward.inverse_problems.bias import Bias
from pushforward.inverse_problems.islands import error_of_mean
from pushforward.inverse_problems.problem import Problem

# Draws at which the residuals are computed, and the share of replications that counts as inconsistent.
CHECKED_DRAWS, IMPROBABLE = 1000, 0.002


class Consistency(NamedTuple):
    r"""How well draws explain the observation: $\chi^2 = (y - A x)^T \Sigma^{-1} (y - A x)$ (Pearson's for counts).

    Attributes:
        chi_square: Its mean over the draws; without noise the mean squared residual.
        expected: Its mean for observations drawn anew at the same draws: about their number; 0 without noise.
        spread: Its standard deviation for these.
        p_value: Share of them whose value is at least as large (a posterior predictive p-value); NaN without noise.
        largest: Largest residual of any draw, in the observation's units.
    """

    chi_square: float
    expected: float
    spread: float
    p_value: float
    largest: float

    @property
    def sentence(self) -> str:
        """The residuals in words."""
        if self.expected == 0:
            return f"The draws miss y by {self.largest:.2g} at most, where there is no noise."
        told = (
            f"chi-square of the residuals {self.chi_square:.1f}; the noise predicts {self.expected:.1f} +- "
            f"{self.spread:.1f}"
        )
        if self.p_value < IMPROBABLE:
            return (
                f"{told}: the draws do not explain y. The noise is larger than said, the operator is another, or the "
                "prior has no such event."
            )
        if self.p_value > 1 - IMPROBABLE:
            return f"{told}: the draws explain y better than its noise allows. The noise is smaller than said."
        return f"{told}: the draws explain y as well as they should."

    @property
    def holds(self) -> bool:
        """Whether the residuals are such as the noise predicts."""
        return self.expected == 0 or IMPROBABLE <= self.p_value <= 1 - IMPROBABLE


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer of `solve`.

    Attributes:
        problem: The problem.
        method: Name of the method that gave the draws.
        reason: Why this method was taken.
        draws: Draws of the posterior `(n, *event_shape)`, all of one weight.
        groups: Number of each draw's group `(n,)`: draws of one group depend on one another.
        map: The event at the highest mode of the latents' posterior, where the method finds it; else None.
        consistency: How well the draws explain the observation.
        diagnostics: The method's own figures by name.
        particle_ess: Effective share of particles at each step `(n_steps,)`, where there are particles; else None.
        bias: How far an approximate method is off, where that could be measured; else None.
        log_evidence: Log-density of the observation under prior and noise, in nats; NaN where it is not known.
        log_evidence_error: Its standard error, 0 where it is exact.
        trustworthy: Whether means and errors may be taken at face value.
        verdict: Sentences that say so, and if not, why and what to do.
        n_evaluations: Evaluations of the prior's network: of the flow with its gradient, or of the field.
        seconds: Time taken, with compilation.
    """

    problem: Problem
    method: str
    reason: str
    draws: np.ndarray
    groups: np.ndarray
    map: np.ndarray | None
    consistency: Consistency
    diagnostics: dict[str, float]
    particle_ess: np.ndarray | None
    bias: Bias | None
    log_evidence: float
    log_evidence_error: float
    trustworthy: bool
    verdict: str
    n_evaluations: int
    seconds: float

    @property
    def mean(self) -> np.ndarray:
        """Mean of the draws, `event_shape`."""
        return self.draws.mean(axis=0)

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations of the draws, `event_shape`."""
        return self.draws.std(axis=0)

    def standard_error(self, values: Any = None) -> np.ndarray:
        """The standard error of the mean of any values of the draws, which counts how draws depend on one another.

        Args:
            values: One value or array for each draw, `(n, ...)`; None takes the draws themselves.

        Raises:
            ValueError: There is not one value for each draw.
        """
        values = self.draws if values is None else np.asarray(values, float)
        if len(values) != len(self.draws):
            raise ValueError(
                f"Solution.standard_error: expected {len(self.draws)} values, one for each draw, got {len(values)}. "
                "Compute them from solution.draws."
            )
        return error_of_mean(values, self.groups)

    @property
    def effective_draws(self) -> float:
        """What the draws are worth in independent ones, for the mean of the number that is worst."""
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = self.draws.var(axis=0) / self.standard_error() ** 2
        worth = worth[np.isfinite(worth)]
        return float(min(worth.min(), len(self.draws))) if worth.size else float(len(self.draws))

    def summary(self) -> str:
        """The method and its reason, the figures, the residuals and the verdict, a line each."""
        shape = "x".join(map(str, self.draws.shape[1:])) or "1"
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in self.diagnostics.items())
        lines = [
            f"{len(self.draws):,} draws of an event of {shape} by {self.method}: {self.reason}",
            f"sd {self.sd.min():.3g} to {self.sd.max():.3g}, the draws worth {self.effective_draws:,.0f} independent "
            "ones or more",
            *([figures] if figures else []),
        ]
        if np.isfinite(self.log_evidence):
            lines.append(f"log-density of y: {self.log_evidence:.3f} +- {self.log_evidence_error:.3f} nats")
        lines += [
            self.consistency.sentence,
            f"{self.n_evaluations:,} evaluations of the prior, {self.seconds:.1f} s",
            f"verdict: {self.verdict}",
        ]
        return "\n".join(lines)

    def to_arviz(self) -> Any:
        """The draws as ArviZ has them, as one variable `x`: `InferenceData` with 0.x, an `xarray.DataTree` with 1.x.

        Raises:
            ImportError: ArviZ is not installed; it comes with the extra `inference`.
        """
        attributes = {"method": self.method, "verdict": self.verdict, "log_evidence": self.log_evidence}
        return draws_to_arviz("Solution.to_arviz", {"x": self.draws[None]}, attributes)


def consistency_of(problem: Problem, draws: np.ndarray, key: PRNGKeyArray) -> Consistency:
    """The residuals of draws `(n, *event_shape)`, beside those of observations drawn anew.

    Args:
        problem: The problem, in float64.
        draws: Draws of the posterior.
        key: JAX key.
    """
    rows = jnp.asarray(draws[:CHECKED_DRAWS], float)
    own, anew, largest = (np.asarray(value, np.float64) for value in _residuals(problem, rows, key))
    if problem.noiseless:
        return Consistency(float(own.mean()), 0.0, 0.0, float("nan"), float(largest.max()))
    p_value = float(np.mean(anew >= own))
    return Consistency(float(own.mean()), float(anew.mean()), float(anew.std()), p_value, float(largest.max()))


@eqx.filter_jit
def _residuals(problem: Problem, rows: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    y, noise = problem.observed, problem.noise

    def one(x: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        mean = problem.operator.apply(x)
        own = y.astype(mean.dtype)
        return (
            noise.chi_square(own, mean),
            noise.chi_square(noise.draw(key, mean), mean),
            jnp.max(jnp.abs(own - mean)),
        )

    return jax.vmap(one)(rows, jax.random.split(key, len(rows)))
