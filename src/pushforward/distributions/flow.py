"""The flow: a base distribution pushed forward through a bijection."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import split_batch, vectorize
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.lifting import WithCondition
from pushforward.distributions.base import AbstractDistribution, _split_condition


class Flow(AbstractDistribution):
    r"""$x = f(z),\; z \sim p_Z$, so that $\log p(x) = \log p_Z(f^{-1}(x)) + \log|\det \partial f^{-1}/\partial x|$.

    The direction is fixed here and nowhere else: **data = bijection.forward(latent)**. Scoring costs one `inverse`,
    sampling one `forward`; `bijection.traits` says what they cost.

    Args:
        base: the distribution of the latent `z`, over events of `bijection.in_shape`.
        bijection: the map from latent to data.

    Raises:
        ValueError: the shapes of base and bijection differ, or their conditions do.

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
        shapes = {s for s in (base.cond_shape, bijection.cond_shape) if s is not None}
        if len(shapes) > 1:
            fix = "Base and bijection see the same condition; embed it for one of them with EmbedCondition."
            raise ValueError(message("Flow", "one shape of condition", f"{sorted(shapes)}", fix))
        self.base = base
        self.bijection = bijection
        self.event_shape = bijection.out_shape
        self.cond_shape = shapes.pop() if shapes else None
        self.needs_key = bijection.traits.needs_key or base.needs_key

    def _log_prob(self, x: Array, condition: Array | None, key: PRNGKeyArray | None) -> Array:
        # An infinite coordinate has density zero under every base here, but inf - inf inside a network would be NaN.
        base_key, probe_key = (None, None) if key is None else jax.random.split(key)
        infinite = jnp.isinf(x)
        z, log_det = self.bijection.inverse_and_log_det(jnp.where(infinite, 0, x), condition, key=probe_key)
        log_prob = self.base._log_prob(z, condition, base_key) + log_det
        return jnp.where(jnp.any(infinite) & ~jnp.any(jnp.isnan(x)), -jnp.inf, log_prob)

    def _sample(self, key: PRNGKeyArray, condition: Array | None) -> Array:
        draw_key, probe_key = (key, None) if not self.needs_key else jax.random.split(key)
        return self.bijection.forward(self.base._sample(draw_key, condition), condition, key=probe_key)

    def _sample_and_log_prob(self, key: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        draw_key, probe_key = (key, None) if not self.needs_key else jax.random.split(key)
        z, log_prob = self.base._sample_and_log_prob(draw_key, condition)
        x, log_det = self.bijection.forward_and_log_det(z, condition, key=probe_key)
        return x, log_prob - log_det

    def encode(self, x: Any, condition: Any = None) -> Array:
        """The latent `z = inverse(x)` of data.

        Args:
            x: events `(*batch, *event_shape)`.
            condition: `(*batch, *cond_shape)`.
        """
        return _map_rows(self, x, condition, False)

    def decode(self, z: Any, condition: Any = None) -> Array:
        """The data `x = forward(z)` of latents.

        Args:
            z: latent events `(*batch, *base.event_shape)`.
            condition: `(*batch, *cond_shape)`.
        """
        return _map_rows(self, z, condition, True)

    def given(self, condition: Any) -> Flow:
        """The flow at one condition, embedded once: an unconditional flow to sample and score many times.

        Args:
            condition: one condition of shape `cond_shape`.

        Raises:
            ValueError: the flow is unconditional, or the shape does not fit.
        """
        condition, batch = _split_condition("Flow.given", condition, self.cond_shape)
        if condition is None:
            raise ValueError("Flow.given: the flow is unconditional; use it as it is.")
        if batch:
            fix = "Fix one condition; to score many pairs, call log_prob(x, condition)."
            raise ValueError(message("Flow.given", f"one condition {self.cond_shape}", f"a batch {batch}", fix))
        return Flow(BaseGiven.fix(self.base, condition), WithCondition.fix(self.bijection, condition))


class BaseGiven(AbstractDistribution):
    """A conditional base at one fixed condition; made by `Flow.given`."""

    base: AbstractDistribution
    condition: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    @staticmethod
    def fix(base: AbstractDistribution, condition: Array) -> AbstractDistribution:
        """`base` itself if it is unconditional."""
        if base.cond_shape is None:
            return base
        return BaseGiven(base, condition, base.event_shape, None, base.needs_key)

    def _log_prob(self, x: Array, condition: Array | None, key: PRNGKeyArray | None) -> Array:
        return self.base._log_prob(x, self.condition, key)

    def _sample(self, key: PRNGKeyArray, condition: Array | None) -> Array:
        return self.base._sample(key, self.condition)

    def _sample_and_log_prob(self, key: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        return self.base._sample_and_log_prob(key, self.condition)


@eqx.filter_jit
def _map_rows(flow: Flow, events: Any, condition: Any, forward: bool) -> Array:
    name, what = ("Flow.decode", "z") if forward else ("Flow.encode", "x")
    events, batch = split_batch(name, what, events, flow.bijection.in_shape if forward else flow.event_shape)
    condition, cond_batch = _split_condition(name, condition, flow.cond_shape)
    function = flow.bijection.forward if forward else flow.bijection.inverse
    return vectorize(function, (batch, cond_batch), events, condition)
