"""`JointPosterior`: one model of parameters and simulations, which answers every conditional question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, message
from pushforward._programs import program
from pushforward._types import PRNGKeyArray
from pushforward._vectorize import batch_keys, in_chunks
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.inference.coordinates import ObservationUnits, ParameterCoordinates
from pushforward.inference.joint_network import AnyConditional, MaskedLikelihood
from pushforward.inference.simulation_model import AbstractSimulationModel, checked_shape
from pushforward.training import fit
from pushforward.training.options import Stopping

CHUNKS = (256, 2048)
# Passes over the simulations: a step scores a few numbers of a row, given few of the possible conditions.
EPOCHS = 200
# Epochs without a rise of the held-out score, which is noisy: each row is asked about with a mask of its own.
PATIENCE = 60


class JointPosterior(AbstractSimulationModel):
    r"""One model of $(\theta, x)$ that gives the density and draws of any of its numbers, given any others.

    A network learns the one-dimensional density of each number given random sets of others; the chain rule makes of
    these the posterior, the likelihood, the posterior given a part of $x$ (NaN stands for what is missing), a part of
    $\theta$ given the rest, or missing parts of $x$. Densities are exact and normalised, and parameters stay within
    the support of the prior.

    Args:
        prior: The prior of the parameters, as in `NPE`.
        x_names: Names of the numbers of a simulation; None takes those of a table, or `x_0`, `x_1`, ...
        width: Number of units per hidden layer of the network.
        depth: Number of its residual blocks.
        bins: Bins of the spline of each number.
        failed: What happens to simulations with NaN or infinity: `"drop"` or `"error"`.
        max_epochs: Number of passes over the simulations at most.
        max_seconds: Wall-clock budget of the fit; None sets none.
        progress: How to show progress: True, False or `"auto"`.
        random_state: Seed of initial weights, of the training and of draws.

    Raises:
        ValueError: An option is out of bounds.
        TypeError: The prior is no prior.

    Source: Gloeckler, Deistler, Weilbach, Wood, Macke, 2024, arXiv 2404.09636 (one model of all conditionals).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.uniform(0, 1, (200, 1))
        >>> x = theta + 0.1 * rng.normal(size=(200, 2))
        >>> joint = pf.JointPosterior({"a": (0, 1)}, width=8, depth=1, bins=4, max_epochs=1).fit(theta, x)
        >>> joint.sample(10, x=[0.4, np.nan]).shape, joint.sample_given(5, {"a": 0.4})["x_1"].shape
        ((10, 1), (5,))
    """

    ARGUMENTS = ("x_names", "width", "depth", "bins", "failed", "max_epochs", "max_seconds", "random_state")

    coordinates_: ParameterCoordinates
    units_: ObservationUnits
    names_: tuple[str, ...]

    def __init__(
        self,
        prior: Any,
        *,
        x_names: Sequence[str] | None = None,
        width: int = 192,
        depth: int = 2,
        bins: int = 10,
        failed: Literal["drop", "error"] = "drop",
        max_epochs: int | None = None,
        max_seconds: float | None = None,
        progress: bool | Literal["auto"] = False,
        random_state: int = 0,
    ):
        self._start(prior, failed, random_state)
        self.x_names = None if x_names is None else tuple(x_names)
        self.width, self.depth, self.bins = width, depth, bins
        self.max_epochs, self.max_seconds = max_epochs, max_seconds
        self.progress: bool | Literal["auto"] = progress
        if failed == "model":
            fix = "NPE learns where simulations fail."
            raise ValueError(message("JointPosterior", "failed 'drop' or 'error'", repr(failed), fix))

    def fit(self, theta: Any, x: Any) -> JointPosterior:
        """Learn all conditionals from pairs of parameters and simulations.

        Args:
            theta: Parameters `(n, dim)` drawn from the prior.
            x: Simulations `(n, m)`, one row for each row of `theta`.

        Raises:
            ValueError: Shapes do not fit, parameters lie outside the prior, or too few simulations are finite.
        """
        found = self._pairs(theta, x, vectors=True)
        columns = getattr(x, "columns", None) if self.x_names is None else self.x_names
        own = [f"x_{i}" for i in range(found.x_shape[0])] if columns is None else [str(name) for name in columns]
        self.names_ = (*self.prior_.names, *own)
        if len(own) != found.x_shape[0] or len(set(self.names_)) < len(self.names_):
            expected = f"{found.x_shape[0]} names of x that differ from each other and from those of the parameters"
            raise ValueError(message("JointPosterior.fit", expected, repr(own), "Pass x_names=."))
        self.units_ = ObservationUnits.of(found.x)
        start_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(self.random_state), 0x6A6E74))
        start = self._untrained(start_key, found.x_shape[0])
        rows = np.concatenate([self.coordinates_.to(found.theta)[0], self.units_.to(found.x)], axis=1)
        self.result_ = fit(
            start,
            rows,
            key=fit_key,
            objective=MaskedLikelihood(self.prior_.dim),
            max_epochs=EPOCHS if self.max_epochs is None else self.max_epochs,
            progress=self.progress,
            options=[Stopping(self.max_seconds, PATIENCE)],
        )
        trained: Any = self.result_.flow
        self.distribution_ = trained
        return self

    def sample(self, n: int, *, x: Any, key: PRNGKeyArray | None = None) -> np.ndarray:
        """Draw parameters from the posterior given one observation, or given each of many; NaN in `x` is missing.

        Args:
            n: Number of draws for each observation.
            x: One observation `(m,)`, or many `(n_obs, m)`.
            key: JAX key; None takes the one of `random_state`.

        Returns:
            Draws `(n, dim)`, or `(n_obs, n, dim)`.
        """
        seen, many = self._observations("JointPosterior.sample", x)
        dim = self.prior_.dim
        values = np.concatenate([np.full((len(seen), dim), np.nan), seen], axis=1)
        rows = self._complete(np.repeat(values, n, axis=0), np.arange(dim), self._key(key, "sample"))
        theta = rows[:, :dim].reshape(len(seen), n, dim)
        return theta if many else theta[0]

    def log_prob(self, theta: Any, *, x: Any) -> np.ndarray:
        r"""$\log q(\theta \mid x)$ in nats; `-inf` outside the support of the prior. NaN in `x` is missing.

        Args:
            theta: Parameters `(*batch, dim)` for one observation, or `(n_obs, *batch, dim)` for many.
            x: One observation `(m,)`, or many `(n_obs, m)`.

        Returns:
            Log-densities `(*batch,)`, or `(n_obs, *batch)`.
        """
        seen, many = self._observations("JointPosterior.log_prob", x)
        rows, dim = np.asarray(theta, np.float64), self.prior_.dim
        if rows.ndim < 1 + many or rows.shape[-1] != dim or (many and len(rows) != len(seen)):
            expected = f"theta of shape ({'n_obs, ' if many else ''}*batch, {dim})"
            fix = "With many observations, theta has a first axis of as many."
            raise ValueError(message("JointPosterior.log_prob", expected, f"shape {rows.shape}", fix))
        batch = rows.shape[:-1]
        flat = rows.reshape(-1, dim)
        both = np.concatenate([flat, np.repeat(seen, len(flat) // len(seen), axis=0)], axis=1)
        known = np.concatenate([np.zeros(flat.shape, bool), ~np.isnan(both[:, dim:])], axis=1)
        return self._score(both, known, np.arange(dim)).reshape(batch)

    def log_likelihood(self, x: Any, *, theta: Any) -> np.ndarray:
        r"""$\log q(x \mid \theta)$ in nats, `(n,)`, of rows of `x` `(n, m)` and `theta` `(n, dim)`."""
        self._check_fitted()
        both = np.concatenate([np.asarray(theta, np.float64), np.asarray(x, np.float64)], axis=1)
        dim = self.prior_.dim
        known = np.broadcast_to(np.arange(both.shape[1]) < dim, both.shape)
        return self._score(both, known, np.arange(dim, both.shape[1]))

    def sample_given(
        self, n: int, given: Mapping[str, float], *, key: PRNGKeyArray | None = None
    ) -> dict[str, np.ndarray]:
        """Draw all numbers that are not given.

        Args:
            n: Number of draws.
            given: Values by name, of parameters, of numbers of `x`, or of both; none draws from the joint model.
            key: JAX key; None takes the one of `random_state`.

        Returns:
            Draws `(n,)` by name.

        Raises:
            ValueError: A name is unknown.
        """
        row = self._row("JointPosterior.sample_given", given)
        free = np.flatnonzero(np.isnan(row))
        rows = self._complete(np.repeat(row[None], n, axis=0), free, self._key(key, "sample_given"))
        return {self.names_[i]: rows[:, i] for i in free}

    def log_prob_given(self, values: Mapping[str, Any], given: Mapping[str, float]) -> np.ndarray:
        """The log-density of some numbers given others; those in neither are integrated out.

        Args:
            values: Arrays `(n,)` by name.
            given: Values by name.

        Returns:
            Log-densities `(n,)` in nats.

        Raises:
            ValueError: A name is unknown, or in both.
        """
        row = self._row("JointPosterior.log_prob_given", given)
        self._row("JointPosterior.log_prob_given", dict.fromkeys(values, 0.0))
        twice = set(values) & set(given)
        if twice or not values:
            got = f"{', '.join(sorted(twice))} in both" if twice else "no values"
            fix = "A number is asked for or given."
            raise ValueError(message("JointPosterior.log_prob_given", "values that are not given", got, fix))
        columns = {name: np.atleast_1d(np.asarray(column, np.float64)) for name, column in values.items()}
        n = max(len(column) for column in columns.values())
        rows = np.repeat(row[None], n, axis=0)
        known = ~np.isnan(rows)
        free = np.array(sorted(self.names_.index(name) for name in columns))
        for name, column in columns.items():
            rows[:, self.names_.index(name)] = column
        return self._score(rows, known, free)

    def _row(self, name: str, given: Mapping[str, float]) -> np.ndarray:
        self._check_fitted()
        unknown = [key for key in given if key not in self.names_]
        if unknown:
            raise ValueError(message(name, f"names among {', '.join(self.names_)}", repr(unknown[0]), "Check it."))
        row = np.full(len(self.names_), np.nan)
        for key, value in given.items():
            row[self.names_.index(key)] = float(value)
        return row

    def _observations(self, name: str, x: Any) -> tuple[np.ndarray, bool]:
        self._check_fitted()
        seen = np.asarray(x, np.float64)
        many, m = seen.ndim == 2, len(self.names_) - self.prior_.dim
        if seen.ndim not in (1, 2) or seen.shape[-1] != m or np.isinf(seen).any():
            fix = "NaN stands for a number that is missing."
            raise ValueError(message(name, f"x of shape ({m},) or (n_obs, {m})", f"shape {seen.shape}", fix))
        return (seen if many else seen[None]), many

    def _key(self, key: Any, name: str) -> PRNGKeyArray:
        own = jax.random.fold_in(jax.random.key(self.random_state), 0x64726177) if key is None else key
        return as_key(f"JointPosterior.{name}", own)

    def _untrained(self, key: PRNGKeyArray, m: int) -> AnyConditional:
        """The network for `m` numbers of a simulation; the coordinates of the parameters follow from the prior."""
        self.coordinates_ = ParameterCoordinates(self.prior_)
        bounded = (self.coordinates_.on_cube,) * self.prior_.dim + (False,) * m
        return AnyConditional(key, bounded, bins=self.bins, width=self.width, depth=self.depth)

    def _facts(self) -> dict[str, Any]:
        return {"x_names": list(self.names_[self.prior_.dim :]), "units": self.units_.to_json()}

    def _restore(self, facts: Mapping[str, Any]) -> Any:
        shape = checked_shape((len(facts["x_names"]),))
        self.names_ = (*self.prior_.names, *(str(name) for name in facts["x_names"]))
        self.units_ = ObservationUnits.from_json(facts["units"], shape[0])
        return evaluation_form(eqx.filter_eval_shape(lambda key: self._untrained(key, shape[0]), jax.random.key(0)))

    def _inner(self, rows: np.ndarray, known: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows in the units of the network, and the log-determinants of the free numbers' maps `(n,)`."""
        dim, inside = self.prior_.dim, self.prior_
        used = known.copy()
        used[:, free] = True
        middle = self.coordinates_.back(np.zeros((1, dim)))
        theta = np.where(used[:, :dim], rows[:, :dim], middle)
        theta = np.clip(theta, inside.low, inside.high)
        w, _ = self.coordinates_.to(theta)
        x = np.where(used[:, dim:], rows[:, dim:], self.units_.loc)
        slopes = np.concatenate([self.coordinates_.log_slopes(theta), self.units_.log_slope(x)], axis=1)
        return np.concatenate([w, self.units_.to(x)], axis=1), slopes[:, free].sum(axis=1)

    def _score(self, rows: np.ndarray, known: np.ndarray, free: np.ndarray) -> np.ndarray:
        dim = self.prior_.dim
        values, log_det = self._inner(rows, known, free)
        score = program(_score, self.distribution_, free=tuple(free.tolist()))
        out = in_chunks(score, CHUNKS, values, np.ascontiguousarray(known)) + log_det
        own = free[free < dim]
        outside = ((rows[:, own] < self.prior_.low[own]) | (rows[:, own] > self.prior_.high[own])).any(axis=1)
        return np.where(np.isnan(rows[:, free]).any(axis=1), np.nan, np.where(outside, -np.inf, out))

    def _complete(self, rows: np.ndarray, free: np.ndarray, key: PRNGKeyArray) -> np.ndarray:
        dim = self.prior_.dim
        known = ~np.isnan(rows)
        values = self._inner(rows, known, np.zeros(0, int))[0].astype(np.float32)
        keys, places = batch_keys(key, len(rows)), jnp.asarray(free)
        drawn = in_chunks(
            lambda own, v, k: _complete(self.distribution_, own, v, k, places), CHUNKS, keys, values, known
        )
        theta, x = self.coordinates_.back(drawn[:, :dim]), self.units_.back(drawn[:, dim:])
        found = np.concatenate([theta, x], axis=1)
        return np.where(known, rows, found)


def _score(model: AnyConditional, values: Any, known: Any, *, free: tuple[int, ...]) -> Any:
    return model.score(values.T, known.T, jnp.array(free))


@eqx.filter_jit
def _complete(model: AnyConditional, keys: PRNGKeyArray, values: Any, known: Any, free: Any) -> Any:
    return model.complete(keys, jnp.asarray(values).T, jnp.asarray(known).T, free).T
