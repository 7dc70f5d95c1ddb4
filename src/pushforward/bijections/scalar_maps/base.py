"""The contract of monotone maps of one number, which receive their parameters as an argument."""

from abc import abstractmethod

import equinox as eqx

from pushforward._module import Module
from pushforward._types import Array, Traits


class AbstractScalarMap(Module):
    r"""A strictly increasing map of one number $y = f(x; \theta)$, applied elementwise.

    `x` has any shape `S`; `params` are unconstrained, of shape `(n_params, *S)`; the log-determinant returned is
    $\log f'(x)$ per element, of shape `S`. Parameters of zero give the identity.

    Attributes:
        n_params: Number of unconstrained parameters per element.
        traits: Cost of each direction and exactness of the log-determinant; a scalar map never needs a key.
    """

    n_params: eqx.AbstractVar[int]
    traits: eqx.AbstractVar[Traits]

    @abstractmethod
    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        r"""The values $f(x; \theta)$ and the log-slopes $\log f'(x; \theta)$."""

    @abstractmethod
    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        r"""The values $f^{-1}(y; \theta)$ of the inverse and the logs of its derivatives."""
