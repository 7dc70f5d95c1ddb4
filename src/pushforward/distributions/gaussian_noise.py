"""Normal noise on images, under which a density is that of noisy images."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_number
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions.dequantized import AbstractDequantizer


class GaussianNoise(AbstractDequantizer):
    r"""Normal noise on the middle of each level, $u = \frac12 + \sigma\,\varepsilon$, as TarFlow is trained with.

    The noise leaves the cell of its level. So `log_prob` of `Dequantized(flow, GaussianNoise(sd))` is the log-density
    of the **noisy** image, at a random noise: neither a probability of levels nor a bound on one, and no bits per
    dimension follow from it. Draws of the flow are noisy images, and `images.denoise` with the same deviation takes
    their noise off.

    Args:
        sd: Standard deviation $\sigma$ in levels: 6.4 of 256 is TarFlow's 0.05 on pixels in $[-1, 1]$.

    Raises:
        ValueError: The deviation is not positive.

    Source: Zhai et al., 2024, arXiv 2412.06329.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((1, 2, 2)), pf.Affine(loc=8.0, scale=4.0, shape=(1, 2, 2)))
        >>> noisy = pf.distributions.Dequantized(flow, pf.distributions.GaussianNoise(1.0), n_levels=16)
        >>> noisy.log_prob(jax.numpy.ones((3, 1, 2, 2)), key=jax.random.key(0)).shape
        (3,)
    """

    sd: float = eqx.field(static=True)

    def __init__(self, sd: float):
        self.sd = check_number("GaussianNoise", "sd", sd, low=0.0, open_low=True)

    def draw_rows(self, keys: PRNGKeyArray, levels: Array, n_levels: int) -> tuple[Array, Array]:
        shape, dtype = levels.shape[:-1], levels.dtype
        noise = jax.vmap(lambda key: jax.random.normal(key, shape, dtype), out_axes=-1)(keys)
        return 0.5 + self.sd * noise, jnp.zeros(levels.shape[-1:], dtype)
