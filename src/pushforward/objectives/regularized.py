"""Maximum likelihood with a price on the work of a velocity field: short, straight paths that are cheap to solve."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx

from pushforward._checks import as_key, message
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys
from pushforward.distributions import AbstractDistribution
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.field_view import view
from pushforward.objectives.likelihood import MaximumLikelihood


class RegularizedLikelihood(AbstractObjective):
    r"""$-\log p(x) + \lambda_K \int |v|^2 dt + \lambda_J \int |\epsilon^T \partial_x v|^2 dt$: FFJORD as in RNODE.

    The kinetic energy makes paths short and their speed even, and the norm of the Jacobian (its unbiased estimate, by
    the product that Hutchinson's trace takes anyway) makes them smooth: the solver needs fewer evaluations. The
    integrals are part of the same solve and do not influence its steps.

    Args:
        kinetic: Weight $\lambda_K$ of the kinetic energy, not negative.
        jacobian: Weight $\lambda_J$ of the Jacobian's norm, not negative.

    Raises:
        ValueError: A price is negative.
        TypeError: The flow is not a `Continuous` one, with nothing else to train.

    Source: Finlay, Jacobsen, Nurbekyan, Oberman, 2020, eq. 9-10, arXiv 2002.02798.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.ffjord(jax.random.key(0), dim=2, width=8)
        >>> loss = pf.objectives.RegularizedLikelihood()(flow, jax.numpy.zeros((4, 2)), key=jax.random.key(1))
        >>> loss.shape
        ()
    """

    kinetic: float = eqx.field(static=True)
    jacobian: float = eqx.field(static=True)
    in_nats: ClassVar[bool] = False
    learning_rate: ClassVar[float] = MaximumLikelihood.learning_rate
    weight_decay: ClassVar[float] = MaximumLikelihood.weight_decay
    trains: ClassVar = "field"
    names: ClassVar = {"regularized": lambda field: RegularizedLikelihood()}

    def __init__(self, kinetic: float = 0.01, jacobian: float = 0.01):
        for what, value in (("kinetic", kinetic), ("jacobian", jacobian)):
            if not value >= 0:
                raise ValueError(message("RegularizedLikelihood", f"{what} >= 0", repr(value), "0.01 is usual."))
        self.kinetic, self.jacobian = float(kinetic), float(jacobian)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The negative log-density of each row and what its path costs, `(n,)`."""
        seen = view("RegularizedLikelihood", flow, x, condition, as_key("RegularizedLikelihood", key))
        keys = batch_keys(seen.key, seen.x.shape[-1])
        found, kinetic, jacobian = seen.layer.energies(seen.x, seen.condition, keys, False)
        log_prob = seen.noise.log_prob_rows(found.value, seen.condition, None) + found.log_det + seen.log_prob
        return -log_prob + self.kinetic * kinetic + self.jacobian * jacobian
