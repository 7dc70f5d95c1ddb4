"""Truncated proposals: the prior where a posterior has its mass, for a further round of simulations."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward._checks import check_int, check_number, message
from pushforward.inference.priors import AbstractPrior

# Draws of the posterior from which the edge of the region is taken, and of the prior in one go.
DRAWS, BLOCK = 10_000, 8192
# Below this share of accepted draws of the prior, draws of the posterior are resampled instead.
LEAST_ACCEPTED = 0.01
CANDIDATES = 20  # draws of the posterior for each one that is resampled


class TruncatedProposal:
    r"""$\tilde p(\theta) \propto p(\theta)$ where $q(\theta \mid x_o)$ exceeds a threshold, and 0 elsewhere.

    The threshold is the one above which the posterior has the asked mass. Draws are draws of the prior that lie in
    the region. Where less than a hundredth of them does, draws of the posterior in the region are resampled with the
    weights $p / q$ instead.

    Args:
        posterior: A fitted `NPE`.
        x: The observation.
        mass: Mass of the region.

    Source: Deistler, Gonçalves, Macke, 2022, "Truncated proposals", arXiv 2210.04815.
    """

    def __init__(self, posterior: Any, x: np.ndarray, mass: float):
        check_number("next_proposal", "mass", mass, low=0.0, high=1.0, open_low=True)
        if x.shape != posterior.x_shape_:
            fix = "A proposal is for one observation."
            raise ValueError(message("next_proposal", f"x of shape {posterior.x_shape_}", f"shape {x.shape}", fix))
        self.posterior, self.x = posterior, x
        draws = posterior.sample(DRAWS, x=x)
        self.threshold = float(np.quantile(posterior.log_prob(draws, x=x), 1 - mass))

    @property
    def prior(self) -> AbstractPrior:
        """The prior that is restricted."""
        return self.posterior.prior_

    def inside(self, theta: np.ndarray) -> np.ndarray:
        """Which rows `(n,)` lie in the region."""
        return self.posterior.log_prob(theta, x=self.x) >= self.threshold

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw parameters to simulate with.

        Args:
            n: Number of draws.
            seed: Seed of the draws.

        Returns:
            Parameters `(n, dim)`.

        Raises:
            TypeError: The number is no integer.
            ValueError: The number is not positive.
        """
        check_int("TruncatedProposal.sample", "n", n, 1)
        rng = np.random.default_rng(seed)
        kept: list[np.ndarray] = []
        drawn = accepted = 0
        while accepted < n:
            block = self.prior.sample(BLOCK, rng)
            block = block[self.inside(block)]
            kept.append(block)
            drawn, accepted = drawn + BLOCK, accepted + len(block)
            if accepted < LEAST_ACCEPTED * drawn:
                return self._resampled(n, rng)
        return np.concatenate(kept)[:n]

    def _resampled(self, n: int, rng: np.random.Generator) -> np.ndarray:
        import jax

        key = jax.random.key(int(rng.integers(2**31)))
        draws = self.posterior.sample(CANDIDATES * n, x=self.x, key=key)
        log_q = self.posterior.log_prob(draws, x=self.x)
        draws, log_q = draws[log_q >= self.threshold], log_q[log_q >= self.threshold]
        # The draws with the largest keys log(u) / w are a weighted sample without replacement.
        with np.errstate(over="ignore"):
            weight = self.prior.log_prob(draws) - log_q
        order = np.argsort(-(weight + rng.gumbel(size=len(draws))))
        return draws[order[:n]]


def rounds(
    posterior: Any, simulate: Any, x: np.ndarray, *, n_rounds: int, n_simulations: int, mass: float = 0.9999
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate and fit in rounds: first from the prior, then from where the posterior has its mass.

    Earlier pairs within the region are kept, so that all pairs of a round are draws of the prior in the region.

    Args:
        posterior: An `NPE`, which is fitted in place.
        simulate: Function from parameters `(n, dim)` to simulations `(n, *x_shape)`.
        x: The observation.
        n_rounds: Number of rounds.
        n_simulations: Number of simulations in each round.
        mass: Mass of the region.

    Returns:
        The pairs that the last fit took.
    """
    check_int("NPE.rounds", "n_rounds", n_rounds, 1)
    check_int("NPE.rounds", "n_simulations", n_simulations, 1)
    prior = posterior.prior_
    theta = prior.sample(n_simulations, np.random.default_rng([posterior.random_state, 0]))
    seen = np.asarray(simulate(theta), np.float64)
    posterior.fit(theta, seen)
    for number in range(1, n_rounds):
        proposal = TruncatedProposal(posterior, np.asarray(x, np.float64), mass)
        own = proposal.sample(n_simulations, seed=posterior.random_state + number)
        new = np.asarray(simulate(own), np.float64)
        inside = proposal.inside(theta)
        theta, seen = np.concatenate([theta[inside], own]), np.concatenate([seen[inside], new])
        posterior.fit(theta, seen)
    return theta, seen
