"""Maximum likelihood: the forward Kullback-Leibler divergence from the data to the flow."""

from __future__ import annotations

from typing import ClassVar

from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.objectives.base import AbstractObjective, Rows


class MaximumLikelihood(AbstractObjective):
    r"""The mean negative log-density $-\sum_i w_i \log p(x_i \mid c_i) / \sum_i w_i$, in nats per row.

    Its minimum over all densities is the entropy of the data; the excess is $\mathrm{KL}(p_\text{data} \| p)$. A
    weight of 2 is the same as the row twice.

    Source:
        Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, 2021, eq. 13, arXiv 1912.02762.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2)
        >>> loss = pf.MaximumLikelihood()(flow, jax.numpy.zeros((4, 2)), None, None, None)
        >>> loss.shape
        ()
    """

    in_nats: ClassVar[bool] = True
    # What measurement over tables chose (docs/explanation/flow_defaults.md).
    learning_rate: ClassVar[float] = 8e-3
    weight_decay: ClassVar[float] = 0.3
    names: ClassVar = {"likelihood": lambda field: MaximumLikelihood()}

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The negative log-density of each row, `(n,)`."""
        return -flow.log_prob(x, condition, key=key if flow.needs_key else None)
