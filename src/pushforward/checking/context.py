"""The common evidence of all checks: the model in two precisions, rows, and what is computed from them on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray, Traits
from pushforward._vectorize import batch_keys
from pushforward.bijections import CircularSplineMap, ColumnUnits, MoebiusMap
from pushforward.bijections.base import AbstractBijection
from pushforward.checking.programs import Derivatives, Programs, ScoredRows, bijection_of
from pushforward.checking.spline_walk import Probe, has_splines
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.replacements import with_solver

MAX_ROWS = 5000  # rows of data that are scored; more would make mild misfits, which every model has, look grave
MAX_NUMBERS = 2_000_000  # numbers in the rows of data that are scored
POINTS = 256  # rows of data, and as many samples, that make the round trip
JACOBIAN_ROWS = 64
JACOBIAN_NUMBERS = 4096  # elements of the events whose Jacobians are taken: the cost of one is that of D passes
MAX_JACOBIAN_DIM = 1024  # beyond, a single Jacobian takes minutes
QUANTILES = (0.15866, 0.84134)  # one standard deviation to each side, for a normal


@dataclass(frozen=True)
class Trip:
    """Rows that went through the bijection and back, in one precision.

    The log-dets of the two directions are `there` and `back`.
    """

    start: np.ndarray
    image: np.ndarray
    end: np.ndarray
    there: np.ndarray
    back: np.ndarray


@dataclass(frozen=True)
class Context:
    """A model that is checked, with its rows; `Context.of` makes it.

    Args:
        model: Model as the user passed it.
        data: Rows `(n, *event_shape)` in float64, a random choice of at most `MAX_ROWS` of the given rows, or None.
        condition: Conditions `(n, *cond_shape)` in float64 of the data or, without data, of the samples; or None.
        key: JAX key from which all draws follow.
    """

    model: AbstractDistribution
    data: np.ndarray | None
    condition: np.ndarray | None
    key: PRNGKeyArray

    @staticmethod
    def of(model: AbstractDistribution, data: Any, condition: Any, key: PRNGKeyArray, name: str = "check") -> Context:
        """Make the context of a check from the arguments of the user, which are checked.

        Raises:
            TypeError: The model is not a distribution.
            ValueError: Shapes do not fit, rows are missing or not finite, or a condition is missing or superfluous.
        """
        if not isinstance(model, AbstractDistribution):
            fix = "Pass the trained model, for example the `flow` of what pf.fit returned."
            raise TypeError(message(name, "a distribution", type(model).__name__, fix))
        rows = None if data is None else read_rows(name, "data", data, model.event_shape)
        conditions = read_condition(name, condition, model.cond_shape, None if rows is None else len(rows))
        given = rows if rows is not None else conditions
        if given is not None:
            cap = max(POINTS, min(MAX_ROWS, MAX_NUMBERS // max(1, given[0].size)))
            if len(given) > cap:
                chosen = np.sort(_generator(key).permutation(len(given))[:cap])
                rows = None if rows is None else rows[chosen]
                conditions = None if conditions is None else conditions[chosen]
        return Context(model, rows, conditions, key)

    @cached_property
    def dim(self) -> int:
        """The number of elements of an event."""
        return int(np.prod(self.model.event_shape, dtype=int))

    @property
    def bijection(self) -> AbstractBijection | None:
        """The map from latent to data, None if the model is not a flow."""
        return bijection_of(self.model)

    @property
    def traits(self) -> Traits:
        """The traits of the bijection; those of the identity if there is none."""
        return Traits() if self.bijection is None else self.bijection.traits

    @property
    def two_way(self) -> bool:
        """Whether there is a bijection that can be computed in both directions."""
        return self.bijection is not None and "absent" not in (self.traits.forward, self.traits.inverse)

    @cached_property
    def strict(self) -> AbstractDistribution:
        """The model with its differential equations solved to ten digits; the model itself if it has none."""
        return with_solver(self.model, lambda solver: solver.strict())

    @cached_property
    def wide(self) -> Programs:
        """The programs of the `strict` model in float64, so that errors of solvers do not hide errors of the model."""
        return Programs.of(self.strict, True)

    @cached_property
    def loose(self) -> Programs:
        """The programs in float64 with the model's own solvers, for thousands of rows that do not need ten digits."""
        return self.wide if self.strict is self.model else Programs.of(self.model, True)

    @cached_property
    def narrow(self) -> Programs:
        """The programs of the model in float32."""
        return Programs.of(self.model, False)

    @cached_property
    def turn(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Both ends `(D,)` of one turn for a model of angles, whose density repeats with each turn; None for others."""
        kinds = (CircularSplineMap, MoebiusMap, ColumnUnits)
        nodes = jax.tree.leaves(self.bijection, is_leaf=lambda node: isinstance(node, kinds))
        if not any(isinstance(node, (CircularSplineMap, MoebiusMap)) for node in nodes):
            return None
        units = next((node for node in nodes if isinstance(node, ColumnUnits)), None)
        loc = 0.0 if units is None else np.asarray(units.loc.value)
        scale = 1.0 if units is None else np.asarray(units.scale.value)
        return np.broadcast_to(loc - np.pi * scale, (self.dim,)), np.broadcast_to(loc + np.pi * scale, (self.dim,))

    def within(self, rows: np.ndarray, log_prob: np.ndarray) -> np.ndarray:
        """The log-densities of rows `(n, D)`; for angles they are minus infinity outside one turn."""
        if self.turn is None:
            return log_prob
        low, high = self.turn
        return np.where(((rows >= low) & (rows < high)).all(axis=1), log_prob, -np.inf)

    @cached_property
    def splines(self) -> bool:
        """Whether the bijection has spline layers that a walk can find, and can be run from the data."""
        return has_splines(self.bijection) and self.traits.inverse != "absent"

    def generator(self, number: int) -> np.random.Generator:
        """NumPy's generator number `number`, which follows from the key."""
        return _generator(jax.random.fold_in(self.key, number))

    def row_keys(self, n: int) -> PRNGKeyArray | None:
        """Keys `(n,)` for random log-dets, None if log-dets are exact."""
        return batch_keys(self.key, n) if self.model.needs_key else None

    def conditions(self, n: int) -> np.ndarray | None:
        """The first `n` conditions, which are repeated from the beginning if there are fewer."""
        return None if self.condition is None else self.condition[np.arange(n) % len(self.condition)]

    def draw(self, number: int, n: int, conditions: np.ndarray | None = None) -> np.ndarray:
        """Draw `n` samples in float64, given as many conditions or `conditions(n)`; each number gives other draws."""
        own = self.conditions(n) if conditions is None else conditions
        return self.wide.samples(jax.random.fold_in(self.key, number), n, own)

    @cached_property
    def can_sample(self) -> bool:
        """Whether the model can draw."""
        return self.traits.forward != "absent"

    @cached_property
    def all_samples(self) -> np.ndarray:
        """`POINTS` samples, of which some may not be finite."""
        return self.draw(1, POINTS)

    @cached_property
    def points(self) -> np.ndarray:
        """Finite rows in data space on which the map is tried: first `n_data` rows of data, then samples."""
        parts = [] if self.data is None else [self.data[:POINTS]]
        if self.can_sample:
            parts.append(self.all_samples[self._finite_samples])
        return np.concatenate(parts)

    @cached_property
    def point_conditions(self) -> np.ndarray | None:
        """The conditions of `points`."""
        if self.condition is None:
            return None
        parts = [] if self.data is None else [self.condition[:POINTS]]
        if self.can_sample:
            parts.append(self.condition[np.arange(POINTS) % len(self.condition)][self._finite_samples])
        return np.concatenate(parts)

    @cached_property
    def n_data(self) -> int:
        """Number of `points` that are data."""
        return 0 if self.data is None else min(POINTS, len(self.data))

    @cached_property
    def _finite_samples(self) -> np.ndarray:
        finite = np.asarray(np.isfinite(flat(self.all_samples)).all(axis=1))
        # Some rows must be left to look at, and the checks say what is wrong with them.
        return finite if finite.any() or self.data is not None else ~finite

    @cached_property
    def n_bad_samples(self) -> int:
        """Number of samples that are not finite."""
        return int((~np.isfinite(flat(self.all_samples)).all(axis=1)).sum()) if self.can_sample else 0

    @cached_property
    def scores(self) -> ScoredRows:
        """The scores of `points` in float64."""
        return self.wide.score(self.points, self.point_conditions, self.row_keys(len(self.points)))

    @cached_property
    def data_scores(self) -> ScoredRows:
        """The scores of all rows of data in float64."""
        if self.data is None:
            raise ValueError("Context.data_scores: there are no data.")
        return self.wide.score(self.data, self.condition, self.row_keys(len(self.data)))

    @cached_property
    def spread(self) -> np.ndarray:
        """The standard deviation `(D,)` of each coordinate of the data (of `points`), robust against outliers."""
        return robust_spread(flat(self.points if self.data is None else self.data))

    @cached_property
    def base_spread(self) -> tuple[np.ndarray, np.ndarray]:
        """Robust centre and standard deviation `(D,)` of each coordinate of the base, from draws."""
        draws = flat(self.base_draws)
        return np.median(draws, axis=0), robust_spread(draws)

    @cached_property
    def base_draws(self) -> np.ndarray:
        """`POINTS` draws of the base, given `conditions(POINTS)`."""
        return self.wide.latents(jax.random.fold_in(self.key, 2), POINTS, self.conditions(POINTS))

    def trip(self, programs: Programs, rows: np.ndarray, condition: np.ndarray | None, from_data: bool) -> Trip:
        """Send rows through the map and back, starting from data or from latents."""
        keys = self.row_keys(len(rows))
        if from_data:
            known = programs.wide and rows is self.points
            score = self.scores if known else programs.score(rows, condition, keys)
            end, back = programs.decode(score.latents, condition, keys)
            return Trip(rows, score.latents, end, score.log_det, back)
        image, there = programs.decode(rows, condition, keys)
        score = programs.score(image, condition, keys)
        return Trip(rows, image, score.latents, there, score.log_det)

    @cached_property
    def data_trip(self) -> Trip:
        """The round trip of `points` in float64."""
        return self.trip(self.wide, self.points, self.point_conditions, True)

    @cached_property
    def derived_forward(self) -> bool:
        """Whether the map from latent to data is differentiated, because it is cheaper than the other direction."""
        order = ("parallel", "sequential", "iterative", "absent")
        return order.index(self.traits.forward) < order.index(self.traits.inverse)

    @cached_property
    def jacobian_rows(self) -> int:
        """Number of Jacobians that are taken at once; 0 if the events are too long for one."""
        if self.dim > MAX_JACOBIAN_DIM:
            return 0
        return max(1, min(JACOBIAN_ROWS, JACOBIAN_NUMBERS // self.dim))

    @cached_property
    def derived_index(self) -> np.ndarray:
        """Numbers of the `points` that are differentiated, with data and samples by turns."""
        n, first = len(self.points), self.n_data
        order = np.argsort(np.concatenate([2 * np.arange(first), 2 * np.arange(n - first) + 1]), kind="stable")
        return order[: self.jacobian_rows]

    @cached_property
    def derived(self) -> Derivatives:
        """Jacobians and log-det gradients at `derived_index`, in the direction `derived_forward`."""
        return self.derivatives(self.points, self.scores.latents, self.point_conditions, self.derived_index)

    def derivatives(self, x: np.ndarray, z: np.ndarray, condition: np.ndarray | None, index: np.ndarray) -> Derivatives:
        """Jacobians and log-det gradients at some rows, given in data and in latent space."""
        rows = (z if self.derived_forward else x)[index]
        own = None if condition is None else condition[index]
        return self.wide.derivatives(rows, own, self.derived_forward, self.jacobian_rows)

    def missed_splines(self, rows: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
        """Whether a coordinate is outside the spline, for each row and spline layer `(n, L)`, from the data inwards."""
        return self.wide.walk(rows, condition, Probe.nowhere(len(rows)))[1]


def robust_spread(rows: np.ndarray) -> np.ndarray:
    """Half the distance between the 16 % and 84 % quantiles of each column, or the standard deviation if that is 0."""
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(rows, QUANTILES, axis=0)
        spread = (high - low) / 2
        spread = np.where(spread > 0, spread, rows.std(axis=0))
    return np.where(spread > 0, spread, 1.0)


def flat(rows: np.ndarray) -> np.ndarray:
    """Reshape rows `(n, *event)` to `(n, D)`."""
    return rows.reshape(len(rows), -1)


def read_rows(name: str, what: str, rows: Any, event_shape: tuple[int, ...], finite: bool = True) -> np.ndarray:
    """Convert rows to float64.

    Raises:
        ValueError: There are no rows, or they are not numbers, not finite, or of another shape.
    """
    array = np.asarray(rows)
    expected = f"{what} of shape (n, {', '.join(map(str, event_shape))})"
    if array.dtype.kind not in "fiub":
        raise ValueError(message(name, expected, f"numbers of kind {array.dtype}", "Convert the columns to floats."))
    if array.ndim != 1 + len(event_shape) or array.shape[1:] != tuple(event_shape) or not len(array):
        raise ValueError(
            message(name, expected, f"shape {array.shape}", "Pass one row per event, and one row or more.")
        )
    array = array.astype(np.float64)
    if finite and not np.isfinite(array).all():
        bad = int((~np.isfinite(flat(array)).all(axis=1)).sum())
        raise ValueError(message(name, f"finite {what}", f"{bad} rows with NaN or infinity", "Leave these rows out."))
    return array


def read_condition(name: str, condition: Any, cond_shape: tuple[int, ...] | None, n: int | None) -> np.ndarray | None:
    """Convert conditions to float64 rows, as many as there are rows of data.

    Raises:
        ValueError: Conditions are missing or superfluous, or their shape or number does not fit.
    """
    if cond_shape is None:
        if condition is not None:
            raise ValueError(message(name, "no condition (the model is unconditional)", "one", "Leave it out."))
        return None
    if condition is None:
        fix = "Pass condition=..., one row for each row of data; without data, rows typical for your use."
        raise ValueError(message(name, f"conditions of shape (n, *{cond_shape})", "none", fix))
    rows = read_rows(name, "condition", condition, cond_shape)
    if n is not None and len(rows) != n:
        fix = "Pass one condition for each row of data."
        raise ValueError(message(name, f"{n} conditions, as many as rows of data", f"{len(rows)}", fix))
    return rows


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
