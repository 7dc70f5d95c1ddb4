"""A bijection on trial: its parameter draws, its inputs, and the few compiled evaluations that all laws share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, Traits, combine, trainable
from pushforward._vectorize import batch_keys
from pushforward.bijections.base import AbstractBijection
from pushforward.testing.inputs import ordinary_events

Tree = TypeVar("Tree")


class LawError(AssertionError):
    """A bijection broke a law; the message names law, bijection, direction, draw, input, figure and tolerance."""


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may be off, relative to its scale and conditioning.

    Args:
        round_trip: of the residual $f(g(y)) - y$ and of $g(f(x)) - x$.
        log_det: of a log-determinant, in nats.
        eps: the distance of 1 to the next float.
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

    Args:
        module: any Equinox module.
        key: a JAX key.
        scale: standard deviation of the noise.
    """
    params, rest = trainable(module)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, max(len(leaves), 1))
    noisy = [leaf + scale * jax.random.normal(k, leaf.shape, leaf.dtype) for leaf, k in zip(leaves, keys, strict=False)]
    return combine(jax.tree.unflatten(structure, noisy), rest)


def cast(module: Tree, dtype: Any) -> Tree:
    """The module with every floating array in `dtype`."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, module)


@dataclass(frozen=True)
class Trial:
    """One bijection, and what the laws need to try it.

    The laws share a handful of compiled evaluations, each over all parameter draws and inputs at once. Draw 0 is the
    bijection as it is, the others have noise on every trainable leaf.

    Args:
        bijection: the accused.
        key: a JAX key; all draws and inputs follow from it.
        name: for the messages.
        dtype: `jnp.float64` (which needs `jax_enable_x64`) or `jnp.float32`; arrays of the bijection are cast to it.
        special_x: values where `forward` changes its formula (knots, bounds); tried with their neighbouring floats.
        special_y: the same for `inverse`.
        reach: which outputs depend on which inputs, booleans `(out_size, in_size)`; None leaves it unchecked.
        condition_reach: which outputs the condition reaches, booleans `(out_size,)`; None means every one.
        n_draws: how many noisy parameter draws.
        scale: standard deviation of that noise.
        rebuild: the constructor, `key -> bijection`; the law of save and load builds its template with another key.

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
    reach: np.ndarray | None = None
    condition_reach: np.ndarray | None = None
    n_draws: int = 3
    scale: float = 0.3
    rebuild: Callable[[PRNGKeyArray], AbstractBijection] | None = None

    @property
    def title(self) -> str:
        return f"{self.name or type(self.bijection).__name__} ({np.dtype(self.dtype).name})"

    @property
    def traits(self) -> Traits:
        return self.bijection.traits

    @cached_property
    def tolerance(self) -> Tolerance:
        return Tolerance.of(self.traits, self.dtype)

    @cached_property
    def directions(self) -> tuple[str, ...]:
        """Those of "forward" and "inverse" that are not absent."""
        return tuple(d for d in ("forward", "inverse") if getattr(self.traits, d) != "absent")

    def draw(self, index: int) -> AbstractBijection:
        """The bijection at one parameter draw: 0 as it is, then with noise."""
        bijection = cast(self.bijection, self.dtype)
        if index == 0:
            return bijection
        return randomise(bijection, jax.random.fold_in(self.key, index), self.scale)

    @cached_property
    def draws(self) -> tuple[Any, Any]:
        """All draws, stacked along a new first axis of the trainable leaves; and the rest, which is one for all."""
        split = [trainable(self.draw(i)) for i in range(self.n_draws + 1)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[s[0] for s in split]), split[0][1]

    @cached_property
    def x(self) -> tuple[np.ndarray, list[str]]:
        """Inputs of `forward`, and their labels."""
        key = jax.random.fold_in(self.key, 101)
        return ordinary_events(key, self.bijection.in_shape, self.dtype, self.special_x)

    @cached_property
    def y(self) -> tuple[np.ndarray, list[str]]:
        """Inputs of `inverse`, and their labels."""
        key = jax.random.fold_in(self.key, 102)
        return ordinary_events(key, self.bijection.out_shape, self.dtype, self.special_y)

    def conditions(self, n: int) -> Array | None:
        """A standard normal condition for each of `n` rows."""
        if self.bijection.cond_shape is None:
            return None
        return jax.random.normal(jax.random.fold_in(self.key, 103), (n, *self.bijection.cond_shape), self.dtype)

    def keys(self, n: int) -> PRNGKeyArray | None:
        """A key for each of `n` rows if the log-determinant is random."""
        return batch_keys(jax.random.fold_in(self.key, 104), n) if self.traits.needs_key else None

    @cached_property
    def _evaluations(self) -> dict[str, dict[str, np.ndarray]]:
        return {}

    def evaluation(self, direction: str) -> dict[str, np.ndarray]:
        """What `evaluate_side` gives in that direction, arrays `(draw, input, ...)`; computed once."""
        if direction not in self._evaluations:
            params, rest = self.draws
            events, _ = self.x if direction == "forward" else self.y
            n = len(events)
            result = _evaluate(params, rest, direction, jnp.asarray(events), self.conditions(n), self.keys(n), self.key)
            self._evaluations[direction] = {name: np.asarray(array) for name, array in result.items()}
        return self._evaluations[direction]

    def labels(self, direction: str) -> list[str]:
        return (self.x if direction == "forward" else self.y)[1]

    def demand(self, law: str, direction: str, error: Any, tolerance: Any, figure: str) -> None:
        """Raise unless `error <= tolerance` at every draw, input and element; NaN is no excuse.

        Args:
            law: its name.
            direction: "forward" or "inverse".
            error: array `(draw, input, ...)`.
            tolerance: array that broadcasts against it.
            figure: what the error is the error of.

        Raises:
            LawError: with the worst offender.
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


def pair(bijection: AbstractBijection, direction: str) -> Callable[..., tuple[Array, Array]]:
    """The method that gives value and log-determinant in that direction."""
    return bijection.forward_and_log_det if direction == "forward" else bijection.inverse_and_log_det


def value(bijection: AbstractBijection, direction: str) -> Callable[..., Array]:
    """The method that gives the value alone in that direction."""
    return bijection.forward if direction == "forward" else bijection.inverse


def opposite(direction: str) -> str:
    """The other direction."""
    return "inverse" if direction == "forward" else "forward"


def evaluate_side(
    bijection: AbstractBijection,
    direction: str,
    x: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    other_key: PRNGKeyArray,
) -> dict[str, Array]:
    """Everything the laws of value ask about one event in one direction: image, log-det, Jacobians, the way back."""
    there = pair(bijection, direction)

    def flat(x: Array, condition: Array | None) -> Array:
        return there(x, condition, key=key)[0].reshape(-1)

    # Not from the Jacobian's own pass: that rounds in another order, and the laws compare values exactly.
    image, log_det = there(x, condition, key=key)
    out = {"image": image, "log_det": log_det, "value": value(bijection, direction)(x, condition, key=key)}
    # Reverse mode: hand-written derivatives (`jax.custom_vjp`) offer no other.
    jacobians = jax.jacrev(flat, argnums=0 if condition is None else (0, 1))(x, condition)
    if condition is None:
        out["jacobian"] = jacobians.reshape(image.size, x.size)
        out["junk_image"], out["junk_log_det"] = there(x, jnp.ones((3,), x.dtype), key=key)
    else:
        out["jacobian"] = jacobians[0].reshape(image.size, x.size)
        out["condition_jacobian"] = jacobians[1].reshape(image.size, condition.size)
    if not bijection.traits.needs_key:
        out["keyed_image"], out["keyed_log_det"] = there(x, condition, key=other_key)
    if getattr(bijection.traits, opposite(direction)) != "absent":
        out["back"], out["back_log_det"] = pair(bijection, opposite(direction))(image, condition, key=key)
        out["again"] = there(out["back"], condition, key=key)[0]
    return out


@eqx.filter_jit
def _evaluate(
    params: Any,
    rest: Any,
    direction: str,
    events: Array,
    conditions: Array | None,
    keys: PRNGKeyArray | None,
    other_key: PRNGKeyArray,
) -> dict[str, Array]:
    return over_draws(
        lambda bijection: jax.vmap(
            lambda x, c, k: evaluate_side(bijection, direction, x, c, k, other_key),
        )(events, conditions, keys),
        params,
        rest,
    )


def over_draws(function: Callable[[AbstractBijection], Any], params: Any, rest: Any) -> Any:
    """`function` of each of the stacked parameter draws; of the one bijection there is if nothing is trainable."""
    if not jax.tree.leaves(params):
        return jax.tree.map(lambda leaf: leaf[None], function(combine(params, rest)))
    return jax.vmap(lambda p: function(combine(p, rest)))(params)
