"""`NLE`: the likelihood of a simulator, learned from simulations, and the posterior by `infer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, message
from pushforward._programs import program
from pushforward._types import PRNGKeyArray, Shape
from pushforward._vectorize import in_chunks
from pushforward.distributions.ensemble import Ensemble
from pushforward.flows import ENTRIES
from pushforward.inference.coordinates import ObservationUnits, ParameterCoordinates
from pushforward.inference.flow_of_posterior import CHEAP, Blueprint, check_flow, template_of
from pushforward.inference.members import Schedule, built, train
from pushforward.inference.priors import IndependentPrior
from pushforward.inference.simulation_model import AbstractSimulationModel, checked_shape
from pushforward.inference.simulations import FailureModel, observations_of

MEMBERS = 3
CHUNKS = (512, 4096)


class NLE(AbstractSimulationModel):
    r"""Neural likelihood estimation: $q(x \mid \theta)$, trained on simulations; draws of the posterior by `infer`.

    Where a simulator's output is simpler than the posterior, fewer simulations are enough, and any number of
    independent observations of the same parameters can be taken together. Each observation takes a run of `infer`,
    where `NPE` takes milliseconds. Parameters are sampled as normal scores of their prior, so that none leaves it.

    Args:
        prior: The prior of independent parameters, as in `NPE`.
        flow: Name of a flow of the zoo that is trained by likelihood.
        flow_options: Options of the flow that differ from its defaults.
        n_members: Number of members of the ensemble; None takes three.
        failed: What happens to simulations with NaN or infinity: `"drop"` and `"error"` as in `NPE`; with `"model"`
            the likelihood has the factor of the probability that a simulation does not fail.
        max_epochs: Number of passes over the simulations at most; None chooses by their number.
        max_seconds: Wall-clock budget of the fit; None sets none.
        progress: How to show progress: True, False or `"auto"`.
        random_state: Seed of initial weights, of the training and of draws.

    Raises:
        ValueError: An option is out of bounds, or the parameters of the prior depend on each other.
        TypeError: The prior is no prior.

    Source: Papamakarios, Sterratt, Murray, 2019, arXiv 1805.07226.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.uniform(0, 1, (200, 1))
        >>> x = theta + 0.1 * rng.normal(size=(200, 1))
        >>> small = {"n_layers": 1, "width": 8}
        >>> nle = pf.NLE({"a": (0, 1)}, flow_options=small, n_members=1, max_epochs=2).fit(theta, x)
        >>> nle.log_likelihood([[0.5]], theta=[[0.4]]).shape
        (1,)
    """

    ARGUMENTS = ("flow", "flow_options", "n_members", "failed", "max_epochs", "max_seconds", "random_state")

    coordinates_: ParameterCoordinates
    units_: ObservationUnits
    failures_: FailureModel | None
    x_shape_: Shape

    def __init__(
        self,
        prior: Any,
        flow: str = "nsf",
        *,
        flow_options: dict[str, Any] | None = None,
        n_members: int | None = None,
        failed: Literal["drop", "model", "error"] = "drop",
        max_epochs: int | None = None,
        max_seconds: float | None = None,
        progress: bool | Literal["auto"] = False,
        random_state: int = 0,
    ):
        self._start(prior, failed, random_state, n_members)
        self.flow, self.flow_options, self.n_members = check_flow("NLE", flow), flow_options, n_members
        self.max_epochs, self.max_seconds = max_epochs, max_seconds
        self.progress: bool | Literal["auto"] = progress
        if ENTRIES[flow].builder not in CHEAP:
            fix = "Its density is needed at every step of the sampler: take nsf or maf."
            raise ValueError(message("NLE", "a flow that is trained by likelihood", repr(flow), fix))
        if not isinstance(self.prior_, IndependentPrior):
            fix = "Pass bounds or one-dimensional distributions, or take NPE."
            raise ValueError(message("NLE", "a prior of independent parameters", type(prior).__name__, fix))

    def fit(self, theta: Any, x: Any) -> NLE:
        """Learn the likelihood from pairs of parameters and simulations.

        Args:
            theta: Parameters `(n, dim)` from anywhere in the support of the prior.
            x: Simulations `(n, m)`, one row for each row of `theta`.

        Raises:
            ValueError: Shapes do not fit, parameters lie outside the prior, or too few simulations are finite.
        """
        found = self._pairs(theta, x, vectors=True)
        self.x_shape_ = found.x_shape
        self.units_ = ObservationUnits.of(found.x)
        blueprint = self._blueprint()
        z, lost = self.coordinates_.to(found.theta)[0], self.coordinates_.to(found.failed_theta)[0]
        self.failures_ = FailureModel.of(z, lost) if self.failed == "model" and found.n_failed else None
        start_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(self.random_state), 0x6E6C65))
        n_members = MEMBERS if self.n_members is None else self.n_members
        seen = self.units_.to(found.x)
        members = blueprint.started(built(blueprint.member, start_key, n_members), seen, z)
        how = Schedule(blueprint.learning_rate, self.max_epochs, self.max_seconds, self.progress)
        self.distribution_, self.result_ = train(members, seen, z, fit_key, how)
        return self

    def log_likelihood(self, x: Any, *, theta: Any) -> np.ndarray:
        r"""$\log q(x \mid \theta)$ in nats, `(n,)`, of rows of `x` `(n, m)` and of `theta` `(n, dim)`."""
        self._check_fitted()
        rows, seen = np.asarray(theta, np.float64), np.asarray(x, np.float64)
        if rows.ndim != 2 or seen.shape != (len(rows), *self.x_shape_) or rows.shape[1] != self.prior_.dim:
            expected = f"theta (n, {self.prior_.dim}) and x (n, {self.x_shape_[0]})"
            raise ValueError(message("NLE.log_likelihood", expected, f"{rows.shape} and {seen.shape}", "Pass pairs."))
        inside = self.prior_.inside(rows)
        held = np.clip(rows, self.prior_.low, self.prior_.high)
        z = self.coordinates_.to(held)[0]
        found = in_chunks(program(_score, self.distribution_), CHUNKS, self.units_.to(seen), z)
        found = found + self.units_.log_slope(seen).sum(axis=1)
        if self.failures_ is not None:
            found = found + np.log1p(-self.failures_.probability(z))
        return np.where(inside, found, -np.inf)

    def log_prob(self, theta: Any, *, x: Any) -> np.ndarray:
        r"""$\log p(\theta) + \log q(x \mid \theta)$: the log-posterior up to a constant that depends on `x`.

        Args:
            theta: Parameters `(*batch, dim)` for one observation, or `(n_obs, *batch, dim)` for many.
            x: One observation `(m,)`, or many `(n_obs, m)`.

        Returns:
            Numbers `(*batch,)`, or `(n_obs, *batch)`.
        """
        self._check_fitted()
        seen, _ = observations_of("NLE.log_prob", x, self.x_shape_)
        rows = np.asarray(theta, np.float64)
        flat = rows.reshape(-1, self.prior_.dim)
        own = np.repeat(seen, len(flat) // len(seen), axis=0)
        return (self.prior_.log_prob(flat) + self.log_likelihood(own, theta=flat)).reshape(rows.shape[:-1])

    def target(self, x: Any) -> Any:
        """The posterior of the prior's normal scores as a `Target`, for `infer` and every other sampler.

        Args:
            x: One observation `(m,)`, or many `(n_obs, m)` of the same parameters.
        """
        from pushforward.inference.target import Target

        self._check_fitted()
        seen, _ = observations_of("NLE.target", x, self.x_shape_)
        rows, model, dim = self.units_.to(seen), self.distribution_, self.prior_.dim
        coefficients = None if self.failures_ is None else self.failures_.coefficients

        def log_density(z: Any) -> Any:
            condition = jnp.broadcast_to(z[:, None], (dim, len(rows)))
            nats = jnp.sum(model.log_prob_rows(jnp.asarray(rows, z.dtype).T, condition, None))
            if coefficients is not None:
                features = FailureModel.features(z[None], jnp)[0]
                nats = nats + len(rows) * jax.nn.log_sigmoid(-features @ jnp.asarray(coefficients, z.dtype))
            return nats - 0.5 * jnp.sum(z**2)

        return Target(log_density, dim)

    def sample(
        self, n: int, *, x: Any, key: PRNGKeyArray | None = None, together: bool = False, budget: Any = None
    ) -> np.ndarray:
        """Draw parameters from the posterior by `infer`.

        Args:
            n: Number of draws for each observation, at least 100.
            x: One observation `(m,)`, or many `(n_obs, m)`.
            key: JAX key; None takes the one of `random_state`.
            together: Whether many observations are independent ones of the same parameters, for one posterior.
            budget: Effort of `infer` for each posterior: evaluations, seconds, or None for what it needs.

        Returns:
            Draws `(n, dim)`, or `(n_obs, n, dim)`, all within the support of the prior.
        """
        from pushforward.inference.run import infer

        self._check_fitted()
        seen, many = observations_of("NLE.sample", x, self.x_shape_)
        own = jax.random.fold_in(jax.random.key(self.random_state), 0x64726177) if key is None else key
        keys = jax.random.split(as_key("NLE.sample", own), len(seen))
        parts = [seen] if together else [one[None] for one in seen]
        found = []
        for each, part in zip(keys, parts, strict=False):
            answer = infer(self.target(part), key=each, n_draws=n, budget=budget, progress=False)
            found.append(self.coordinates_.back(np.asarray(answer.u, np.float64)))
        return np.stack(found) if many and not together else found[0]

    def _blueprint(self) -> Blueprint:
        """What members are built from; the coordinates of the parameters are normal scores."""
        self.coordinates_ = ParameterCoordinates(self.prior_, cube=False, scores=True)
        options = self.flow_options or {}
        return Blueprint(self.flow, self.x_shape_[0], (self.prior_.dim,), cube=False, options=options)

    def _facts(self) -> dict[str, Any]:
        return {
            "x_shape": list(self.x_shape_),
            "units": self.units_.to_json(),
            "members": self.distribution_.size,
            "failures": None if self.failures_ is None else self.failures_.coefficients.tolist(),
        }

    def _restore(self, facts: Mapping[str, Any]) -> Any:
        self.x_shape_ = checked_shape(facts["x_shape"])
        self.units_ = ObservationUnits.from_json(facts["units"], self.x_shape_[0])
        self.failures_ = FailureModel.from_json(facts["failures"], self.prior_.dim)
        return template_of(self._blueprint(), facts["members"])


def _score(distribution: Ensemble, x: Any, condition: Any) -> Any:
    return distribution.log_prob_rows(x.T, condition.T, None)
