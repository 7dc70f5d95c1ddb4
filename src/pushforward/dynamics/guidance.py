"""Classifier-free guidance: one network with and without its condition, and extrapolations between the two."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, Shape
from pushforward.nets.base import event_shape_of
from pushforward.nets.time_mlp import TimeMLP

Tree = TypeVar("Tree")


class MaskedCondition(NamedTuple):
    """Conditions of rows, some of which are left out, as the argument of a `NullableCondition`.

    Attributes:
        value: Conditions of all rows, `(*cond_shape, n)`.
        keep: Array of shape `(n,)`, which rows have theirs.
    """

    value: Array
    keep: Array


class NullableCondition(eqx.Module):
    r"""A network that can be called without its condition: $f(t, x, [m c, m])$ with $m = 1$, or 0 for "none".

    Without a condition the network sees zeros. `FlowMatching(drop_condition=0.1)` trains it with and without
    conditions, and `guided` extrapolates.

    Args:
        net: A network of time, event and a condition of one more entry than that of the data: `(k + 1,)`.
        told: Whether that entry $m$ is there. Without it the network's condition is that of the data, and zeros mean
            "none": this suits classes as one-hot vectors, which are never zeros themselves.

    Raises:
        ValueError: the network's condition is not a vector of 2 entries or more, 1 without the entry.

    Source: Ho, Salimans, 2022, algorithm 1, arXiv 2207.12598.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> from pushforward.dynamics import NullableCondition
        >>> net = NullableCondition(pf.nets.TimeMLP(jax.random.key(0), 2, width=8, cond_shape=(4,)))
        >>> net.cond_shape
        (3,)
        >>> net(jnp.array(0.5), jnp.ones((2, 5)), None).shape
        (2, 5)
    """

    net: Any
    told: bool = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape = eqx.field(static=True)

    def __init__(self, net: Any, told: bool = True):
        if net.cond_shape is None or len(net.cond_shape) != 1 or net.cond_shape[0] < 1 + told:
            fix = "Build it with cond_shape=(k + 1,) for conditions of k numbers: one entry tells whether there is one."
            expected = f"a network with a condition of shape {'(k + 1,)' if told else '(k,)'}, k >= 1"
            raise ValueError(message("NullableCondition", expected, f"{net.cond_shape}", fix))
        self.net, self.told, self.shape = net, told, event_shape_of(net)
        self.cond_shape = (net.cond_shape[0] - told,)

    def _joined(self, x: Array, condition: Array | MaskedCondition | None) -> Array:
        rows = x.shape[len(self.shape) :]
        if condition is None:
            return jnp.zeros((*self.net.cond_shape, *rows), x.dtype)
        masked = condition if isinstance(condition, MaskedCondition) else MaskedCondition(condition, jnp.ones((), bool))
        value = jnp.asarray(masked.value).reshape(math.prod(self.cond_shape), *rows).astype(x.dtype)
        keep = jnp.broadcast_to(masked.keep, rows)[None]
        kept = jnp.where(keep, value, 0)
        return jnp.concatenate([kept, keep.astype(x.dtype)]) if self.told else kept

    def __call__(self, t: Array, x: Array, condition: Array | MaskedCondition | None = None) -> Array:
        return self.net(t, x, self._joined(x, condition))

    @property
    def has_trace(self) -> bool:
        """Whether `value_and_trace` is there."""
        return isinstance(self.net, TimeMLP) and self.net.has_trace

    def coupling(self) -> Array:
        """The matrix of the trace, which does not depend on the condition."""
        return self.net.coupling()

    def value_and_trace(
        self, t: Array, x: Array, condition: Array | MaskedCondition | None, coupling: Array
    ) -> tuple[Array, Array]:
        """The output, and the trace of its Jacobian by `x`, `(n,)`; arguments as in the call, and `coupling()`."""
        return self.net.value_and_trace(t, x, self._joined(x, condition), coupling)


class GuidedNet(eqx.Module):
    r"""The guided network $(1 + w)\,f(t, x, c) - w\,f(t, x, \varnothing)$.

    It may predict velocity, noise, data or score, because the conversions between them are affine.

    Args:
        net: A network that can be called without its condition.
        weight: Weight $w$; 0 is the conditional network, -1 the unconditional one.

    Cost: two evaluations, or one if $w$ is 0 or -1.

    Raises:
        TypeError: the network is not a `NullableCondition`.
        ValueError: the weight is not finite.

    Source: Ho, Salimans, 2022, eq. 6, arXiv 2207.12598.
    """

    net: NullableCondition
    weight: float = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape = eqx.field(static=True)

    def __init__(self, net: NullableCondition, weight: float):
        if not isinstance(net, NullableCondition):
            fix = "Train a NullableCondition(net) by FlowMatching(drop_condition=0.1)."
            raise TypeError(message("GuidedNet", "a NullableCondition", type(net).__name__, fix))
        if not math.isfinite(weight):
            raise ValueError(message("GuidedNet", "a finite weight", repr(weight), "0 is the conditional model."))
        self.net, self.weight = net, float(weight)
        self.shape, self.cond_shape = net.shape, net.cond_shape

    def _mixed(self, given: Any, none: Any) -> Any:
        if self.weight in (0.0, -1.0):  # a term of weight 0 is not computed
            return given() if self.weight == 0.0 else none()
        return jax.tree.map(lambda a, b: a + self.weight * (a - b), given(), none())

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return self._mixed(lambda: self.net(t, x, condition), lambda: self.net(t, x, None))

    @property
    def has_trace(self) -> bool:
        """Whether `value_and_trace` is there."""
        return self.net.has_trace

    def coupling(self) -> Array:
        """The matrix of the trace."""
        return self.net.coupling()

    def value_and_trace(self, t: Array, x: Array, condition: Array | None, coupling: Array) -> tuple[Array, Array]:
        """The output, and the trace of its Jacobian by `x`, `(n,)`; arguments as in the call, and `coupling()`."""
        return self._mixed(
            lambda: self.net.value_and_trace(t, x, condition, coupling),
            lambda: self.net.value_and_trace(t, x, None, coupling),
        )


def guided(model: Tree, weight: float) -> Tree:
    r"""The same model with guided networks, $(1 + w) f(c) - w f(\varnothing)$.

    With $w > 0$ samples move away from those without the condition. The density of a guided flow is that of its own
    samples. It is not $p(x \mid c)^{1+w} p(x)^{-w}$ up to a constant, because the guided score at a time is not the
    score of that density with noise.

    Args:
        model: A field, bijection or flow whose networks are `NullableCondition`, already guided or not.
        weight: Weight $w$; 0 is the conditional model, -1 the unconditional one, which ignores the condition.

    Raises:
        TypeError: the model contains no such network.
        ValueError: the weight is not finite.

    Source: Ho, Salimans, 2022, arXiv 2207.12598; for flow matching Zheng et al., 2023, arXiv 2311.13443.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.dynamics import NetworkField, NullableCondition, guided
        >>> net = NullableCondition(pf.nets.TimeMLP(jax.random.key(0), 2, width=8, cond_shape=(2,)))
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(NetworkField(net)))
        >>> guided(flow, 2.0).sample(jax.random.key(1), 3, condition=jax.numpy.ones(1)).shape
        (3, 2)
    """
    found = []

    def is_net(node: Any) -> bool:
        return isinstance(node, NullableCondition | GuidedNet)

    def change(node: Any) -> Any:
        if not is_net(node):
            return node
        found.append(node)
        return GuidedNet(node.net if isinstance(node, GuidedNet) else node, weight)

    changed = jax.tree.map(change, model, is_leaf=is_net)
    if not found:
        fix = "Build its field over NullableCondition(net), and train by FlowMatching(drop_condition=0.1)."
        raise TypeError(message("guided", "a model with a NullableCondition", type(model).__name__, fix))
    return changed
