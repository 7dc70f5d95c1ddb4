"""The inverse of a scalar map as a scalar map."""

import equinox as eqx

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap


class InvertedMap(AbstractScalarMap):
    r"""$y = m^{-1}(x; \theta)$, another way to parametrise a map: of `AffineMap()` it is $y = (x - t)\,e^{-s}$.

    So a layer from data to latent has the mean $t$ and the log-deviation $s$ of a normal distribution as parameters.

    Args:
        scalar_map: The map that is inverted.

    Source: Zhai et al., 2024, arXiv 2412.06329.
    """

    scalar_map: AbstractScalarMap
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, scalar_map: AbstractScalarMap):
        self.scalar_map, self.n_params = scalar_map, scalar_map.n_params
        self.traits = scalar_map.traits.swapped()

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return self.scalar_map.inverse_and_log_det(x, params)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return self.scalar_map.forward_and_log_det(y, params)
