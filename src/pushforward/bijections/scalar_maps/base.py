"""The contract of monotone maps of one number, the parameters from outside."""

from abc import abstractmethod

import equinox as eqx

from pushforward._module import Module
from pushforward._types import Array, Traits


class AbstractScalarMap(Module):
    r"""A strictly increasing map of one number $y = f(x; \theta)$, applied elementwise.

    `x` has any shape `S`; `params` are unconstrained, of shape `(n_params, *S)`; the log-determinant returned is
    $\log f'(x)$ per element, of shape `S`. Parameters of zero give the identity.

    Attributes:
        n_params: number of unconstrained parameters per element.
        traits: cost of each direction and exactness of the log-determinant, as of a bijection; never needs a key.
    """

    n_params: eqx.AbstractVar[int]
    traits: eqx.AbstractVar[Traits]

    @abstractmethod
    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        r"""$f(x; \theta)$ and $\log f'(x; \theta)$."""

    @abstractmethod
    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        r"""$f^{-1}(y; \theta)$ and the log of its derivative."""
