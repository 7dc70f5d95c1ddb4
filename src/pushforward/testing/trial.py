"""A bijection on trial: its parameter draws, its inputs, and the few compiled evaluations that all laws share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pushforward._precision import in_type
from pushforward._types import Array, PRNGKeyArray, Shape, Traits, combine, trainable
from pushforward._vectorize import batch_keys
from pushforward.bijections.base import AbstractBijection
from pushforward.testing.compiled import derivatives, journeys
from pushforward.testing.inputs import (
    N_FEW,
    Domain,
    extreme_events,
    few_events,
    generator,
    inside,
    into_domain,
    ordinary_events,
)

Tree = TypeVar("Tree")


class LawError(AssertionError):
    """A bijection broke a law; the message names law, bijection, direction, draw, input, figure and tolerance."""


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may be off, relative to its scale and conditioning.

    Args:
        round_trip: Tolerance of the residuals $f(g(y)) - y$ and $g(f(x)) - x$.
        log_det: Tolerance of a log-determinant, in nats.
        eps: The distance of 1 to the next float.
    """

    round_trip: float
    log_det: float
    eps: float

    @staticmethod
    def of(traits: Traits, dtype: Any) -> Tolerance:
        """The tolerance that `traits` and the floating type entitle a bijection to."""
        single = np.dtype(dtype) == np.float32
        iterative = "iterative" in (traits.forward, traits.inverse)
        round_trip = (1e-3 if iterative else 1e-4) if single else (1e-6 if iterative else 1e-10)
        log_det = (1e-3 if iterative else 1e-4) if single else (1e-6 if iterative else 1e-8)
        return Tolerance(round_trip, log_det, float(np.finfo(dtype).eps))


def randomise(module: Tree, key: PRNGKeyArray, scale: float = 0.3) -> Tree:
    """The module with normal noise added to every trainable leaf: initialisations are too tame to find much.

    Key and module may be traced, as under `jax.jit` and `eqx.filter_vmap`; the numbers are the same.

    Args:
        module: Any Equinox module.
        key: JAX key.
        scale: Standard deviation of the noise.
    """
    params, rest = trainable(module)
    leaves, structure = jax.tree.flatten(params)
    noise = _normals(key, sum(leaf.size for leaf in leaves))
    out, start = [], 0
    for leaf in leaves:
        own = noise[start : start + leaf.size].reshape(leaf.shape)
        out.append(jnp.asarray(leaf + scale * own.astype(leaf.dtype)))
        start += leaf.size
    return combine(jax.tree.unflatten(structure, out), rest)


def _normals(key: PRNGKeyArray, n: int) -> Any:
    """Standard normal numbers, by NumPy: JAX would compile a generator for each number of them."""
    if not isinstance(key, Tracer):
        return generator(key).standard_normal(n)
    dtype = jnp.result_type(float)

    def draw(data: Any) -> np.ndarray:
        return generator(data).standard_normal(n).astype(dtype)

    shape = jax.ShapeDtypeStruct((n,), dtype)
    return jax.pure_callback(draw, shape, jax.random.key_data(key), vmap_method="sequential")


def _noisy(params: Any, key: PRNGKeyArray, scale: float, n: int) -> Any:
    """The parameters and `n` noisy copies, stacked."""
    rng = generator(key)

    def stack(leaf: Any) -> np.ndarray:
        values = np.asarray(leaf)
        return np.concatenate(
            [values[None], values + scale * rng.standard_normal((n, *values.shape))], dtype=values.dtype
        )

    return jax.tree.map(stack, params)


def cast(module: Tree, dtype: Any) -> Tree:
    """The module with every floating array in `dtype`."""
    # By NumPy, where nothing is compiled; JAX's arrays stay JAX's.
    return jax.tree.map(
        lambda old, new: jnp.asarray(new) if isinstance(old, jax.Array) and new is not old else new,
        module,
        in_type(module, dtype),
    )


@dataclass(frozen=True)
class Trial:
    """One bijection, and what the laws need to try it.

    The laws share a handful of compiled evaluations, each over all parameter draws and inputs at once. Draw 0 is the
    bijection as it is, the others have noise on every trainable leaf.

    Args:
        bijection: The bijection under test.
        key: JAX key, from which all draws and inputs follow.
        name: Name of the bijection, for messages.
        dtype: `jnp.float64` (which needs `jax_enable_x64`) or `jnp.float32`; arrays of the bijection are cast to it.
        special_x: Values where `forward` changes its formula (knots, bounds); tried with their neighbouring floats.
        special_y: The same for `inverse`.
        domain_x: Open interval of the numbers that `forward` is tried with; None for all, an end may be infinite.
        domain_y: The same for `inverse`; the density of `law_integrates` lives there.
        reach: Whether each output depends on each input, booleans `(out_size, in_size)`; None leaves it unchecked.
        condition_reach: Whether the condition reaches each output, booleans `(out_size,)`; None means every one.
        unreached: Paths of the trainable leaves that no gradient can reach, by design and for a reason.
        n_draws: Number of noisy parameter draws.
        scale: Standard deviation of that noise.
        rebuild: Constructor `key -> bijection`; the law of save and load builds its template with another key.
        accuracy: Accuracy of a solver with fixed steps within the bijection, below which no law asks for more.
        few: Whether to try only a handful of inputs without extremes, as the core laws do in every run of a test-suite.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.testing import Trial, law_round_trip
        >>> law_round_trip(Trial(pf.Affine(loc=1.0, scale=2.0, shape=(2,)), jax.random.key(0)))
    """

    bijection: AbstractBijection
    key: PRNGKeyArray
    name: str = ""
    dtype: Any = field(default_factory=lambda: jnp.result_type(float))
    special_x: Sequence[float] = ()
    special_y: Sequence[float] = ()
    domain_x: Domain = None
    domain_y: Domain = None
    reach: np.ndarray | None = None
    condition_reach: np.ndarray | None = None
    unreached: Sequence[str] = ()
    n_draws: int = 3
    scale: float = 0.3
    rebuild: Callable[[PRNGKeyArray], AbstractBijection] | None = None
    accuracy: float = 0.0
    few: bool = False

    @property
    def title(self) -> str:
        return f"{self.name or type(self.bijection).__name__} ({np.dtype(self.dtype).name})"

    @property
    def traits(self) -> Traits:
        return self.bijection.traits

    @cached_property
    def tolerance(self) -> Tolerance:
        own = Tolerance.of(self.traits, self.dtype)
        return replace(own, round_trip=max(own.round_trip, self.accuracy), log_det=max(own.log_det, self.accuracy))

    @cached_property
    def core(self) -> Trial:
        """The same with few inputs, and one noisy draw of the parameters."""
        return self if self.few else replace(self, few=True, n_draws=1)

    @property
    def step(self) -> float:
        """Distance of an input of the core laws to its neighbours, large beside the error of an iteration."""
        return 1e-4 if "iterative" in (self.traits.forward, self.traits.inverse) else 1e-5

    @cached_property
    def directions(self) -> tuple[str, ...]:
        """The directions, "forward" and "inverse", that are not absent."""
        return tuple(d for d in ("forward", "inverse") if getattr(self.traits, d) != "absent")

    @cached_property
    def draws(self) -> tuple[Any, Any]:
        """All draws, stacked along a new first axis of the trainable leaves; and the rest, which is one for all."""
        params, rest = trainable(cast(self.bijection, self.dtype))
        return _noisy(params, jax.random.fold_in(self.key, 100), self.scale, self.n_draws), rest

    def draw(self, index: int) -> AbstractBijection:
        """The bijection at one parameter draw: 0 as it is, then with noise."""
        params, rest = self.draws
        return combine(jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), params), rest)

    @cached_property
    def rebuilt(self) -> AbstractBijection | None:
        """The bijection constructed with another key, if there is a constructor."""
        return None if self.rebuild is None else cast(self.rebuild(jax.random.fold_in(self.key, 107)), self.dtype)

    def events(self, direction: str) -> np.ndarray:
        """Inputs in that direction, `(n, *event)`."""
        return self._inputs[direction][0]

    def labels(self, direction: str) -> list[str]:
        """What each input is."""
        return self._inputs[direction][1]

    def extremes(self, direction: str) -> tuple[np.ndarray, list[str]]:
        """The ordinary inputs, and those that only the law of gradients tries; and their labels."""
        if self.few:
            return self._inputs[direction]
        shape, special, domain = self._side(direction)
        key = jax.random.fold_in(self.key, 105 + len(direction))
        more, labels = extreme_events(key, shape, self.dtype, special, domain)
        return np.concatenate([self.events(direction), more]), self.labels(direction) + labels

    @cached_property
    def _inputs(self) -> dict[str, tuple[np.ndarray, list[str]]]:
        out = {}
        for n, direction in enumerate(("forward", "inverse")):
            shape, special, domain = self._side(direction)
            key = jax.random.fold_in(self.key, 101 + n)
            given = (key, shape, self.dtype, special, domain)
            out[direction] = few_events(*given, self.step) if self.few else ordinary_events(*given)
        return out

    def _side(self, direction: str) -> tuple[Shape, Sequence[float], Domain]:
        if direction == "forward":
            return self.bijection.in_shape, self.special_x, self.domain_x
        return self.bijection.out_shape, self.special_y, self.domain_y

    def origin(self, direction: str) -> float:
        """A number that may enter in that direction: 0, or one in the middle of the domain."""
        domain = self._side(direction)[2]
        return 0.0 if inside(0.0, domain, self.dtype) else float(into_domain(np.zeros(()), domain))

    def conditions(self, n: int) -> Array | None:
        """A standard normal condition for each of `n` rows."""
        if self.bijection.cond_shape is None:
            return None
        rng = generator(jax.random.fold_in(self.key, 103))
        rows = rng.standard_normal((n, *self.bijection.cond_shape))
        for start in (0, len(self.events("forward"))) if self.few else ():
            for draw in range(start, min(start + 3 * N_FEW, n), 3):
                rows[draw + 1 : draw + 3] = rows[draw]  # neighbours share the condition
        return jnp.asarray(rows, self.dtype)

    def keys(self, n: int) -> PRNGKeyArray | None:
        """A key for each of `n` rows if the log-determinant is random."""
        return batch_keys(jax.random.fold_in(self.key, 104), n) if self.traits.needs_key else None

    @cached_property
    def journeys(self) -> dict[str, dict[str, np.ndarray]]:
        """Per direction the image, the way back, and the image of that, with log-determinants; by `(draw, input)`."""
        params, rest = self.draws
        x, y = jnp.asarray(self.events("forward")), jnp.asarray(self.events("inverse"))
        n = len(x) + len(y)
        return _to_numpy(journeys(params, rest, x, y, self.conditions(n), self.keys(n)))

    def derivatives(self, direction: str) -> dict[str, np.ndarray]:
        """Jacobians and gradients in that direction, and values one event at a time; computed once."""
        return self._derivatives[0][direction]

    @property
    def no_forward_mode(self) -> Exception | None:
        """Why forward-mode differentiation failed, if it did; it is tried where there are `few` inputs."""
        return self._derivatives[1]

    @cached_property
    def _derivatives(self) -> tuple[dict[str, dict[str, np.ndarray]], Exception | None]:
        params, rest = self.draws
        inputs = {}
        for direction in self.directions:
            events = jnp.asarray(self.extremes(direction)[0])
            inputs[direction] = (events, *self.own_rows(direction, len(events)))
        if not self.few:
            return _to_numpy(derivatives(params, rest, inputs, self.key, False, True)), None
        try:
            return _to_numpy(derivatives(params, rest, inputs, self.key, True, False)), None
        except Exception as error:  # whatever JAX raises: `law_transforms` reports it, and others need the rest
            return _to_numpy(derivatives(params, rest, inputs, self.key, False, False)), error

    def own_rows(self, direction: str, n: int) -> tuple[Array | None, PRNGKeyArray | None]:
        """Conditions and keys of `n` rows in one direction; the first are those of the journeys."""
        start = 0 if direction == "forward" else len(self.events("forward"))
        conditions, keys = self.conditions(len(self.events("forward")) + len(self.events("inverse"))), None
        if conditions is not None:
            conditions = conditions[start + jnp.arange(n) % len(self.events(direction))]
        if self.traits.needs_key:
            keys = batch_keys(jax.random.fold_in(self.key, 104), n, start)
        return conditions, keys

    def demand(self, law: str, direction: str, error: Any, tolerance: Any, figure: str) -> None:
        """Raise unless `error <= tolerance` at every draw, input and element; NaN is no excuse.

        Args:
            law: Name of the law.
            direction: The direction, "forward" or "inverse".
            error: Errors `(draw, input, ...)`.
            tolerance: Tolerances that broadcast against the errors.
            figure: The quantity that has the error, for the message.

        Raises:
            LawError: A figure exceeds its tolerance; the message names the worst.
        """
        error, tolerance = np.broadcast_arrays(np.asarray(error, float), np.asarray(tolerance, float))
        bad = ~(error <= tolerance)
        if not bad.any():
            return
        with np.errstate(all="ignore"):
            ratio = np.where(bad, np.nan_to_num(error / np.maximum(tolerance, 1e-300), nan=np.inf), -1.0)
        index = np.unravel_index(int(np.argmax(ratio)), error.shape)
        draw, row, *element = (int(i) for i in index)
        where = (
            f"draw {draw} ({'as it is' if draw == 0 else 'randomised'}), input {row} ({self.labels(direction)[row]})"
        )
        where += f", element {element}" if element else ""
        raise LawError(
            f"{law}: {self.title}, {direction}, {where}: {figure} is {error[index]:.6g}, "
            f"tolerance {tolerance[index]:.3g}; {int(bad.any(axis=tuple(range(2, bad.ndim))).sum())} of "
            f"{error.shape[0] * error.shape[1]} inputs fail."
        )


def _to_numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)
