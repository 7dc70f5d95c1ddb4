"""The flow: a base distribution pushed forward through a bijection."""

from __future__ import annotations

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._meshes import explicit_axes, in_rows
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import batch_keys, common_batch, rows_last, split_batch
from pushforward.bijections.base import AbstractBijection, fold_keys, run_batch
from pushforward.bijections.combinators import shared_condition
from pushforward.bijections.lifting import WithCondition
from pushforward.distributions.base import AbstractDistribution, split_condition
from pushforward.distributions.compound import AbstractCompound, Step, own


class Flow(AbstractCompound, AbstractDistribution):
    r"""$x = f(z),\; z \sim p_Z$, so that $\log p(x) = \log p_Z(f^{-1}(x)) + \log|\det \partial f^{-1}/\partial x|$.

    The direction is fixed here and nowhere else: **data = bijection.forward(latent)**. Scoring costs one `inverse`,
    sampling one `forward`; `bijection.traits` says what they cost.

    Args:
        base: The distribution of the latent `z`, over events of `bijection.in_shape`.
        bijection: The map from latent to data.

    Raises:
        ValueError: The shapes of base and bijection differ, or their conditions do.

    Source:
        Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, 2021, eq. 1-2, arXiv 1912.02762.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(loc=1.0, scale=2.0, shape=(2,)))
        >>> flow.log_prob(jax.numpy.ones((3, 2))).shape
        (3,)
    """

    base: AbstractDistribution
    bijection: AbstractBijection
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, base: AbstractDistribution, bijection: AbstractBijection):
        if base.event_shape != bijection.in_shape:
            fix = f"Build the base with shape {bijection.in_shape}."
            expected = f"a base over events of shape {bijection.in_shape} ({type(bijection).__name__}.in_shape)"
            raise ValueError(message("Flow", expected, f"{type(base).__name__} over {base.event_shape}", fix))
        self.base = base
        self.bijection = bijection
        self.event_shape = bijection.out_shape
        self.cond_shape = shared_condition("Flow", [base.cond_shape, bijection.cond_shape])
        self.needs_key = bijection.traits.needs_key or base.needs_key

    def with_members(self, members: tuple[Any, ...]) -> Flow:
        return Flow(*members)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        # An infinite coordinate has density zero under every base here, but inf - inf inside a network would be NaN.
        # A maximum over the event is NaN where any coordinate is.
        outside = jnp.isinf(jnp.max(jnp.abs(x), axis=tuple(range(x.ndim - 1)), initial=0))
        start = jnp.where(outside, 0, x)
        z, log_det, of_bijection = step(self.bijection, start, condition, fold_keys(keys, 1), False)
        _, log_prob, of_base = step(self.base, z, condition, fold_keys(keys, 0), False)
        return jnp.where(outside, -jnp.inf, log_prob + log_det), (of_base, of_bijection)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        z = self.base.sample_rows(keys, own(self.base, condition))
        return run_batch(self.bijection, z, condition, fold_keys(keys, 1), True)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        z, log_prob = self.base.sample_and_log_prob_rows(keys, own(self.base, condition))
        x, log_det = run_batch(self.bijection, z, condition, fold_keys(keys, 1), True)
        return x, log_prob - log_det

    def encode(self, x: Any, condition: Any = None) -> Array:
        """The latent `z = inverse(x)` of data.

        Args:
            x: Events `(*batch, *event_shape)`.
            condition: Conditions `(*batch, *cond_shape)`.
        """
        return _map_rows(self, x, condition, False)

    def decode(self, z: Any, condition: Any = None) -> Array:
        """The data `x = forward(z)` of latents.

        Args:
            z: Latent events `(*batch, *base.event_shape)`.
            condition: Conditions `(*batch, *cond_shape)`.
        """
        return _map_rows(self, z, condition, True)

    def given(self, condition: Any) -> Flow:
        """The flow at one condition, embedded once: an unconditional flow to sample and score many times.

        Args:
            condition: One condition of shape `cond_shape`.

        Raises:
            ValueError: The flow is unconditional, or the shape does not fit.
        """
        condition, batch = split_condition("Flow.given", condition, self.cond_shape)
        if condition is None:
            raise ValueError(message("Flow.given", "a conditional flow", "an unconditional one", "Use it as it is."))
        if batch:
            fix = "Fix one condition; to score many pairs, call log_prob(x, condition)."
            raise ValueError(message("Flow.given", f"one condition {self.cond_shape}", f"a batch {batch}", fix))
        return Flow(BaseGiven.fix(self.base, condition), WithCondition.fix(self.bijection, condition))


class BaseGiven(AbstractCompound, AbstractDistribution):
    """A conditional base at one fixed condition; made by `Flow.given`."""

    base: AbstractDistribution
    condition: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, base: AbstractDistribution, condition: Array):
        self.base, self.condition = base, condition
        self.event_shape, self.cond_shape, self.needs_key = base.event_shape, None, base.needs_key

    @staticmethod
    def fix(base: AbstractDistribution, condition: Array) -> AbstractDistribution:
        """`base` itself if it is unconditional."""
        if base.cond_shape is None:
            return base
        return BaseGiven(base, condition)

    def _fixed(self, n: int) -> Array:
        return jnp.broadcast_to(self.condition[..., None], (*self.condition.shape, n))

    def with_members(self, members: tuple[Any, ...]) -> BaseGiven:
        return BaseGiven(members[0], self.condition)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        _, log_prob, extra = step(self.base, x, self._fixed(x.shape[-1]), keys, False)
        return log_prob, (extra,)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.base.sample_rows(keys, self._fixed(keys.shape[0]))

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        return self.base.sample_and_log_prob_rows(keys, self._fixed(keys.shape[0]))


@eqx.filter_jit
def _map_rows(flow: Flow, events: Any, condition: Any, forward: bool) -> Array:
    if explicit_axes():
        batches = [jnp.shape(events)[: jnp.ndim(events) - len(flow.event_shape)]]
        if condition is not None:
            batches.append(jnp.shape(condition)[: jnp.ndim(condition) - len(flow.cond_shape or ())])
        return in_rows(functools.partial(_mapped, forward=forward), tuple(batches), flow, events, condition)
    return _mapped(flow, events, condition, forward)


def _mapped(flow: Flow, events: Any, condition: Any, forward: bool) -> Array:
    name, what = ("Flow.decode", "z") if forward else ("Flow.encode", "x")
    events, batch = split_batch(name, what, events, flow.bijection.in_shape if forward else flow.event_shape)
    condition, cond_batch = split_condition(name, condition, flow.cond_shape)
    both = common_batch(name, batch, cond_batch)
    keys = batch_keys(jax.random.key(0), math.prod(both)) if flow.bijection.traits.needs_key else None

    def run(rows: Array, conditions: Array | None) -> Array:
        # The value does not depend on the key: only the log-determinant, which is dropped, would.
        return run_batch(flow.bijection, rows, conditions, keys, forward)[0]

    return rows_last(run, (batch, cond_batch), events, condition)
