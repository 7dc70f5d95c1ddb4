"""`NPE`: the posterior of a simulator's parameters, learned from simulations for every observation at once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._programs import program
from pushforward._types import PRNGKeyArray, Shape
from pushforward._vectorize import batch_keys, in_chunks
from pushforward.distributions.ensemble import Ensemble
from pushforward.flows import ENTRIES
from pushforward.inference.coordinates import ObservationUnits, ParameterCoordinates
from pushforward.inference.flow_of_posterior import CHEAP, Blueprint, check_flow, on_cube, template_of
from pushforward.inference.members import Schedule, built, train
from pushforward.inference.mode import highest
from pushforward.inference.proposals import TruncatedProposal, rounds
from pushforward.inference.simulation_model import AbstractSimulationModel, checked_shape
from pushforward.inference.simulations import FailureModel, observations_of, parameters_of

# Members of an ensemble of flows that are cheap to train.
MEMBERS = 5
# Rows of one compiled call.
CHUNKS = (512, 4096)


class NPE(AbstractSimulationModel):
    r"""Neural posterior estimation: $q(\theta \mid x)$, trained on pairs of parameters and simulations.

    A conditional flow is fitted to $\theta$ given $x$; its log-density is exact, and no sample or mass leaves the
    support of the prior. Parameters with bounds live on a cube in which the prior is uniform, so that a posterior on
    the edge of the prior is learned there as well as elsewhere. By default five members, which hold out different
    pairs, are trained in one program; the posterior is their mixture.

    Args:
        prior: The prior of the parameters: bounds by name such as `{"a": (0, 1), "b": (-3, 3)}`, a mapping or list of
            frozen distributions of scipy.stats or of numpyro, one joint distribution, or one of this library.
        flow: Name of a flow of the zoo. `"nsf"` is a spline flow on the cube of bounded parameters; any other flow sees
            them on the whole line. `"flow_matching"` and `"score_sde"` are trained by regression, and their densities
            take the solution of a differential equation.
        embedding: Equinox module from one observation, of any shape, to a vector, which is trained along; None where an
            observation is a vector of numbers.
        flow_options: Options of the flow that differ from its defaults, such as `{"width": 64}`.
        n_members: Number of members of the ensemble; None takes five, and one for flows that are slow to train.
        failed: What happens to simulations with NaN or infinity: `"drop"` leaves them out with a warning that counts
            them, `"model"` also learns where they happen (`failure_probability`), and `"error"` refuses them.
        max_epochs: Number of passes over the simulations at most; None chooses by their number.
        max_seconds: Wall-clock budget of the fit; None sets none.
        progress: How to show progress: True, False or `"auto"`.
        random_state: Seed of initial weights, of the training and of draws.

    Raises:
        ValueError: An option is out of bounds, or the prior has none.
        TypeError: The prior is no prior.

    Source:
        Papamakarios, Murray, 2016, arXiv 1605.06376; Greenberg, Nonnenmacher, Macke, 2019, arXiv 1905.07488 (flows);
        Wildberger et al., 2023, arXiv 2305.17161 (flow matching); Sharrock et al., 2024, arXiv 2210.04872 (scores).

    Example:
        >>> import numpy as np, pushforward as pf
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.uniform(0, 1, (200, 1))
        >>> x = theta + 0.1 * rng.normal(size=(200, 1))
        >>> small = {"n_layers": 1, "width": 8, "bins": 4}
        >>> npe = pf.NPE({"a": (0, 1)}, flow_options=small, n_members=1, max_epochs=2).fit(theta, x)
        >>> draws = npe.sample(50, x=[0.95])
        >>> draws.shape, bool((draws <= 1).all())
        ((50, 1), True)
    """

    ARGUMENTS = ("flow", "flow_options", "n_members", "failed", "max_epochs", "max_seconds", "random_state")
    OBJECTS = ("embedding",)

    coordinates_: ParameterCoordinates
    units_: ObservationUnits
    failures_: FailureModel | None
    n_simulations_: int
    x_shape_: Shape
    x_names_: tuple[str, ...] | None

    def __init__(
        self,
        prior: Any,
        flow: str = "nsf",
        embedding: Any = None,
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
        self.flow, self.embedding, self.flow_options = check_flow("NPE", flow), embedding, flow_options
        self.n_members, self.max_epochs, self.max_seconds = n_members, max_epochs, max_seconds
        self.progress: bool | Literal["auto"] = progress
        if n_members not in (None, 1) and ENTRIES[flow].builder == "regression":
            fix = "Flows that are trained by regression have one."
            raise ValueError(message("NPE", f"n_members None or 1 with flow {flow!r}", repr(n_members), fix))

    def fit(self, theta: Any, x: Any) -> NPE:
        """Learn the posterior from pairs of parameters and simulations.

        Args:
            theta: Parameters `(n, dim)`, drawn from the prior, or from a truncated one (`next_proposal`).
            x: Simulations `(n, *x_shape)`, one for each row of `theta`.

        Raises:
            ValueError: Shapes do not fit, parameters lie outside the prior, or too few simulations are finite.
        """
        found = self._pairs(theta, x, vectors=False)
        self.n_simulations_, self.x_shape_ = len(found.theta), found.x_shape
        columns = getattr(x, "columns", None)
        self.x_names_ = None if columns is None else tuple(str(name) for name in columns)
        self.units_ = units_of(found.x, self.embedding is not None)
        blueprint = self._blueprint()
        w = self.coordinates_.to(found.theta)[0]
        seen = self._seen(found.x)
        lost = self.coordinates_.to(found.failed_theta)[0]
        self.failures_ = FailureModel.of(w, lost) if self.failed == "model" and found.n_failed else None
        start_key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(self.random_state), 0x6E7065))
        members = blueprint.started(built(blueprint.member, start_key, self._count()), w, seen)
        how = Schedule(blueprint.learning_rate, self.max_epochs, self.max_seconds, self.progress)
        self.distribution_, self.result_ = train(members, w, seen, fit_key, how)
        return self

    def sample(self, n: int, *, x: Any, key: PRNGKeyArray | None = None) -> np.ndarray:
        """Draw parameters from the posterior given one observation, or given each of many.

        Args:
            n: Number of draws for each observation.
            x: One observation of shape `x_shape`, or many `(n_obs, *x_shape)`, which are drawn for in one program.
            key: JAX key; None takes the one of `random_state`.

        Returns:
            Draws `(n, dim)`, or `(n_obs, n, dim)`, all within the support of the prior.

        Raises:
            ValueError: The observation has another shape, or is not finite.
        """
        self._check_fitted()
        check_int("NPE.sample", "n", n, 1)
        seen, many = observations_of("NPE.sample", x, self.x_shape_)
        seen = self._seen(seen).astype(jnp.result_type(float))
        key = jax.random.fold_in(jax.random.key(self.random_state), 0x64726177) if key is None else key
        keys = batch_keys(as_key("NPE.sample", key), n * len(seen))
        place = np.repeat(np.arange(len(seen)), n)
        w = in_chunks(lambda own, rows: _draw(self.distribution_, own, rows), CHUNKS, keys, seen[place])
        theta = self.coordinates_.back(w).reshape(len(seen), n, -1)
        return theta if many else theta[0]

    def log_prob(self, theta: Any, *, x: Any) -> np.ndarray:
        r"""$\log q(\theta \mid x)$ in nats, exact; `-inf` outside the support of the prior.

        Args:
            theta: Parameters `(*batch, dim)` for one observation. For many observations, `(n_obs, *batch, dim)`.
            x: One observation of shape `x_shape`, or many `(n_obs, *x_shape)`.

        Returns:
            Log-densities `(*batch,)` or `(n_obs, *batch)`.

        Raises:
            ValueError: Shapes do not fit.
        """
        self._check_fitted()
        seen, many = observations_of("NPE.log_prob", x, self.x_shape_)
        rows = np.asarray(theta, np.float64)
        if rows.ndim < 1 + many or rows.shape[-1] != self.prior_.dim or (many and len(rows) != len(seen)):
            expected = f"theta of shape ({'n_obs, ' if many else ''}*batch, {self.prior_.dim})"
            fix = "With many observations, theta has a first axis of as many."
            raise ValueError(message("NPE.log_prob", expected, f"shape {rows.shape}", fix))
        batch = rows.shape[:-1]
        each = int(np.prod(batch[1:])) if many else int(np.prod(batch))
        flat, place = rows.reshape(-1, self.prior_.dim), np.repeat(np.arange(len(seen)), each)
        out = np.full(len(flat), -np.inf)
        inside = self.prior_.inside(flat)
        out[np.isnan(flat).any(axis=1)] = np.nan
        if inside.any():
            w, log_det = self.coordinates_.to(flat[inside])
            own = self._seen(seen)[place[inside]]
            out[inside] = in_chunks(program(_score, self.distribution_), CHUNKS, w, own) + log_det
        return out.reshape(batch)

    def map(self, *, x: Any) -> np.ndarray:
        """The parameters at which the posterior's density is highest: the best of 1000 draws, improved by L-BFGS-B.

        Args:
            x: One observation of shape `x_shape`, or many `(n_obs, *x_shape)`.

        Returns:
            Parameters `(dim,)`, or `(n_obs, dim)`.
        """
        self._check_fitted()
        seen, many = observations_of("NPE.map", x, self.x_shape_)
        best = np.stack([highest(self, one) for one in seen])
        return best if many else best[0]

    def next_proposal(self, x: Any, *, mass: float = 0.9999) -> TruncatedProposal:
        """The prior, restricted to the region that holds nearly all mass of the posterior given an observation.

        Pairs that are simulated from it can be added to the earlier ones and fitted as they are: within the region the
        posterior is the same.

        Args:
            x: One observation of shape `x_shape`.
            mass: Mass of the region of highest posterior density.

        Raises:
            ValueError: The mass is not between 0 and 1, or there are many observations.
        """
        self._check_fitted()
        return TruncatedProposal(self, np.asarray(x, np.float64), mass)

    def rounds(
        self, *, simulate: Callable[[np.ndarray], Any], x: Any, n_rounds: int = 3, n_simulations: int = 1000
    ) -> NPE:
        """Simulate and fit in rounds for one observation: first from the prior, then from truncated proposals.

        Args:
            simulate: Function from parameters `(n, dim)` to simulations `(n, *x_shape)`.
            x: The observation.
            n_rounds: Number of rounds.
            n_simulations: Number of simulations in each round.

        Raises:
            ValueError: Simulations do not fit; see `fit`.
        """
        observation = np.asarray(x, np.float64)
        rounds(self, simulate, observation, n_rounds=n_rounds, n_simulations=n_simulations)
        return self

    def failure_probability(self, theta: Any) -> np.ndarray:
        """The probability that a simulation fails, `(n,)`; 0 where none did.

        Args:
            theta: Parameters `(n, dim)`.

        Raises:
            ValueError: The model was fitted with `failed="drop"`, and simulations failed.
        """
        self._check_fitted()
        rows = parameters_of("NPE.failure_probability", theta, self.prior_)
        if self.failures_ is None and self.n_failed_:
            fix = "Fit with failed='model'."
            raise ValueError(message("NPE.failure_probability", "a model of failures", "none", fix))
        if self.failures_ is None:
            return np.zeros(len(rows))
        return self.failures_.probability(self.coordinates_.to(rows)[0])

    @classmethod
    def load(cls, folder: str | os.PathLike, *, prior: Any = None, embedding: Any = None) -> NPE:
        """Read a posterior from a folder, without running code from it.

        Args:
            folder: Folder that `save` wrote.
            prior: The prior, for one that a folder cannot hold: a distribution of numpyro or of this library, or a
                joint one of SciPy.
            embedding: A module of the structure of the one that was trained; its weights are replaced.

        Raises:
            UntrustedModelError: The folder is damaged, or holds another model.
            ValueError: A prior or an embedding is missing.
        """
        from pushforward.inference.saved import load

        return load(cls, folder, prior, embedding=embedding)

    def _facts(self) -> dict[str, Any]:
        return {
            "x_shape": list(self.x_shape_),
            "x_names": None if self.x_names_ is None else list(self.x_names_),
            "units": self.units_.to_json(),
            "members": self.distribution_.size,
            "n_simulations": self.n_simulations_,
            "failures": None if self.failures_ is None else self.failures_.coefficients.tolist(),
        }

    def _restore(self, facts: Mapping[str, Any]) -> Any:
        self.x_shape_ = checked_shape(facts["x_shape"])
        self.x_names_ = None if facts["x_names"] is None else tuple(str(name) for name in facts["x_names"])
        self.units_ = ObservationUnits.from_json(facts["units"], math.prod(self.x_shape_))
        self.n_simulations_ = int(facts["n_simulations"])
        self.failures_ = FailureModel.from_json(facts["failures"], self.prior_.dim)
        return template_of(self._blueprint(), facts["members"])

    def _count(self) -> int:
        cheap = ENTRIES[self.flow].builder in CHEAP
        return (MEMBERS if cheap else 1) if self.n_members is None else self.n_members

    def _blueprint(self) -> Blueprint:
        """What members are built from; the coordinates of the parameters follow from the flow."""
        self.coordinates_ = ParameterCoordinates(self.prior_, on_cube(self.flow))
        shape = self.x_shape_ if self.embedding is not None else (int(np.prod(self.x_shape_)),)
        cube, options = self.coordinates_.on_cube, self.flow_options or {}
        return Blueprint(self.flow, self.prior_.dim, shape, cube=cube, options=options, embedding=self.embedding)

    def _seen(self, x: np.ndarray) -> np.ndarray:
        """Observations in the units that the network sees, flat where there is no embedding."""
        flat = self.units_.to(x.reshape(len(x), -1))
        return flat if self.embedding is None else flat.reshape(x.shape)


def units_of(x: np.ndarray, shared: bool) -> ObservationUnits:
    """The units of observations `(n, *x_shape)`.

    Args:
        x: Observations.
        shared: Whether the numbers of an observation share units, as those of an image, a series or a set do: then
            only those of the last of two or more axes differ.
    """
    flat = x.reshape(len(x), -1)
    if not shared:
        return ObservationUnits.of(flat)
    last = x.shape[-1] if x.ndim == 3 else 1
    own = ObservationUnits.of(x.reshape(-1, last))
    loc, scale, spread, heavy = (
        np.tile(part, flat.shape[1] // last) for part in (own.loc, own.scale, own.spread, own.heavy)
    )
    return ObservationUnits(loc, scale, spread, heavy)


@eqx.filter_jit
def _draw(distribution: Ensemble, keys: PRNGKeyArray, condition: Any) -> Any:
    return jnp.moveaxis(distribution.sample_rows(keys, jnp.moveaxis(condition, 0, -1)), -1, 0)


def _score(distribution: Ensemble, w: Any, condition: Any) -> Any:
    return distribution.log_prob_rows(w.T, jnp.moveaxis(condition, 0, -1), None)
