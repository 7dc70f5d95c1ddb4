r"""The Brownian bridge between a row of noise and a row of data: the path of Schrodinger bridges."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array


class BridgePath(eqx.Module):
    r"""The path $x_t = t\,x_1 + (1-t)\,x_0 + \sigma\sqrt{t(1-t)}\,z$ with $z \sim N(0, I)$, a bridge of $\sigma\,dw$.

    Unlike the Gaussian paths it takes noise $x_0$ of any distribution, and any pairing of it with the data. With pairs
    from the entropic plan, `Sinkhorn(2 * sigma**2)`, it is the Schrodinger bridge: the process nearest to $\sigma\,dw$
    among all processes with these ends.

    Args:
        sigma: Noise level $\sigma$, in units of the data.

    Raises:
        ValueError: `sigma` is not positive.

    Source: Tong, Malkin, Fatras et al., 2024, arXiv 2307.03672; Albergo, Boffi, Vanden-Eijnden, 2023, arXiv 2303.08797.
    """

    sigma: float = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, sigma: float):
        if not 0 < sigma < float("inf"):
            fix = "For 0 use FlowMatching() on a LinearPath."
            raise ValueError(message("BridgePath", "a finite sigma > 0", repr(sigma), fix))
        self.sigma, self.start, self.end = float(sigma), 0.0, 1.0

    def spread(self, t: Array) -> Array:
        r"""The standard deviation $\sigma\sqrt{t(1-t)}$ between the two ends."""
        return self.sigma * jnp.sqrt(t * (1 - t))

    def between(self, t: Array, noise: Array, data: Array, z: Array) -> Array:
        """$x_t$ of the pair; times broadcast over the last axis."""
        return t * data + (1 - t) * noise + self.spread(t) * z

    def diffusion_squared(self, t: Array) -> Array:
        r"""The squared diffusion, which is $\sigma^2$ at every time."""
        return jnp.full_like(t, self.sigma**2)
