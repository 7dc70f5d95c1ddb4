"""A target seen from the latent space of a flow, where a good flow makes it a standard normal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._module import Module
from pushforward._types import Array
from pushforward._vectorize import rows_last, split_batch
from pushforward.bijections.base import AbstractBijection, run_batch
from pushforward.distributions import AbstractDistribution, Flow


def check_proposal(name: str, flow: Any) -> None:
    """Raise unless `flow` is an unconditional model whose log-density is the same at each call.

    Raises:
        TypeError: It is no distribution.
        ValueError: It is conditional, or its log-density is random.
    """
    if not isinstance(flow, AbstractDistribution):
        fix = "Build one with pushforward.flows, or take that of a fit: pf.fit(...).flow."
        raise TypeError(message(name, "a flow", type(flow).__name__, fix))
    if flow.cond_shape is not None:
        fix = "Fix the condition: flow.given(condition)."
        raise ValueError(message(name, "an unconditional flow", f"one with conditions {flow.cond_shape}", fix))
    if flow.needs_key:
        fix = "Take the flow that pf.fit returns, whose log-density is deterministic."
        raise ValueError(message(name, "a log-density that is not random", "one that needs a key", fix))


def check_map(name: str, flow: Any) -> Flow:
    """The flow, if it is a base and a bijection, so that it has a latent space.

    Raises:
        TypeError: It is another distribution.
        ValueError: It is conditional, or its log-density is random.
    """
    check_proposal(name, flow)
    if not isinstance(flow, Flow):
        fix = "Only a base and a bijection, pf.Flow(base, bijection), have a latent space."
        raise TypeError(message(name, "a Flow", type(flow).__name__, fix))
    return flow


class PulledBack(Module):
    """A log-density in the latent space of a flow; `pull_back` makes it.

    Attributes:
        target: The log-density of one event of the data space.
        bijection: The map from the latent space to the data space.
    """

    target: Callable[..., Array]
    bijection: AbstractBijection

    def __call__(self, z: Any) -> Array:
        """The log-density of one latent event, in nats.

        Args:
            z: Latent event of shape `bijection.in_shape`.
        """
        x, log_det = self.bijection.forward_and_log_det(z)
        return self.target(x) + log_det

    def rows(self, z: Any) -> Array:
        """The log-densities `(n,)` of latent events.

        Args:
            z: Latent events `(n, *in_shape)`.
        """
        return jax.vmap(self)(jnp.asarray(z))


def pull_back(target: Callable[..., Array], flow: Flow) -> PulledBack:
    r"""The target's log-density in the latent space of a flow, $\log \tilde p(f(z)) + \log |\det J_f(z)|$.

    Where the flow $f$ is a good fit, this is close to the log-density of its base plus $\log Z$, which every sampler
    explores easily (NeuTra). Draws $z$ of it are mapped to draws of the target by `flow.decode`.

    Args:
        target: The log-density $\log \tilde p$ of one event in nats, such as a `Target`, as a JAX function.
        flow: A base and a bijection.

    Raises:
        TypeError: The target is no function, or the flow has no latent space.
        ValueError: The flow is conditional, or its log-density is random.

    Source: Hoffman, Sountsov, Dillon, Langmore, Tran, Vasudevan, 2019, arXiv 1903.03704.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(loc=1.0, scale=3.0, shape=(2,)))
        >>> latent = pf.inference.pull_back(flow.log_prob, flow)
        >>> z = jax.numpy.array([0.5, -1.0])
        >>> bool(jax.numpy.allclose(latent(z), flow.base.log_prob(z)))
        True
    """
    flow = check_map("pull_back", flow)
    if not callable(target):
        raise TypeError(message("pull_back", "a function of one event", type(target).__name__, "Pass a pf.Target."))
    return PulledBack(target, flow.bijection)


class LatentGradient(NamedTuple):
    r"""An event and the gradient of a log-density there, seen from the latent space.

    Attributes:
        latent: The latent event $z = f^{-1}(x)$.
        log_det: The log-determinant of the flow's map, $\log |\det J_f(z)|$, in nats: what a log-density in the
            data space gains in the latent space.
        gradient: The gradient of the log-density in the latent space, the log-determinant's own part included.
    """

    latent: Array
    log_det: Array
    gradient: Array


@eqx.filter_jit
def inverse_and_gradient(flow: Flow, x: Any, gradient: Any) -> LatentGradient:
    r"""Carry events and gradients of a log-density there into the latent space of a flow, all at once.

    With $x = f(z)$ the three are $z$, $\log |\det J_f(z)|$ and
    $J_f(z)^\top \nabla \log \tilde p(x) + \nabla_z \log |\det J_f(z)|$, which is the gradient of
    `pull_back(target, flow)`. The target itself is not called, so that draws and gradients that a sampler has computed
    outside JAX can be used again under another flow.

    Cost: one pass in each direction of the flow, and the backward pass of one.

    Args:
        flow: A base and a bijection.
        x: Events `(*batch, *event_shape)`.
        gradient: Gradients $\nabla \log \tilde p(x)$ `(*batch, *event_shape)` of the log-density at the events.

    Raises:
        TypeError: The flow has no latent space.
        ValueError: A shape does not fit, the flow is conditional, or its log-density is random.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(loc=1.0, scale=3.0, shape=(2,)))
        >>> x = jax.numpy.array([4.0, 1.0])
        >>> found = pf.inference.inverse_and_gradient(flow, x, -x)
        >>> found.latent.tolist(), found.gradient.tolist()
        ([1.0, 0.0], [-12.0, -3.0])
    """
    flow = check_map("inverse_and_gradient", flow)
    x, batch = split_batch("inverse_and_gradient", "x", x, flow.event_shape)
    gradient, own = split_batch("inverse_and_gradient", "gradient", gradient, flow.event_shape)
    if own != batch:
        fix = "Pass one gradient for each event."
        raise ValueError(message("inverse_and_gradient", f"gradients of shape {x.shape}", f"{gradient.shape}", fix))

    def carry(x: Array, gradient: Array) -> tuple[Array, Array, Array]:
        z, _ = run_batch(flow.bijection, x, None, None, False)
        (_, log_det), pull = jax.vjp(lambda z: run_batch(flow.bijection, z, None, None, True), z)
        return z, log_det, pull((gradient.astype(x.dtype), jnp.ones_like(log_det)))[0]

    return LatentGradient(*rows_last(carry, (batch, batch), x, gradient))
