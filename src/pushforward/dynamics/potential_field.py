"""The velocity field of a potential, which is free of rotation and has a cheap exact divergence."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax

from pushforward._checks import message
from pushforward._types import Array, Shape
from pushforward.dynamics.fields import AbstractField
from pushforward.nets.potential_net import PotentialNet


class PotentialField(AbstractField):
    r"""The velocity $v(t, x; c) = -\nabla_x \Phi(t, x; c)$ with divergence $-\Delta_x \Phi$, both in closed form.

    The flow of least kinetic energy between two densities has this form, so that nothing is lost for a flow that is
    trained for short and straight paths. The potential is `field.net.value`; where
    $-\partial_t \Phi + \frac12 |\nabla_x \Phi|^2 = 0$ holds, paths are straight.

    Args:
        net: The potential.

    Cost: the gradient and Laplacian of `PotentialNet`.

    Raises:
        TypeError: `net` is not a `PotentialNet`.

    Source: Onken, Wu Fung, Li, Ruthotto, 2021, sections 2 and 3, arXiv 2006.00104.

    Example:
        >>> import jax, pushforward as pf
        >>> field = pf.dynamics.PotentialField(pf.nets.PotentialNet(jax.random.key(0), 2, width=8))
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(field))
        >>> flow.log_prob(jax.numpy.zeros((3, 2))).shape
        (3,)
    """

    net: PotentialNet
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, net: PotentialNet):
        if not isinstance(net, PotentialNet):
            fix = "Build a PotentialNet, or use NetworkField for another network."
            raise TypeError(message("PotentialField", "a PotentialNet", type(net).__name__, fix))
        self.net, self.shape, self.cond_shape = net, (net.dim,), net.cond_shape
        self.start, self.end = 0.0, 1.0

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return -self.net.gradient(t, x, condition)

    def closed_form(self) -> Any:
        return self.net.lengths()

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> tuple[Array, Array]:
        gradient, laplacian = self.net.gradient_and_laplacian(t, x, condition, closed)
        return jax.tree.map(lambda a: -a, (gradient, laplacian))
