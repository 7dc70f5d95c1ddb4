"""The reverse Kullback-Leibler divergence: a flow is trained on a density that is known up to its constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax

from pushforward._checks import as_key, check_int, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.reparametrised import draws_and_log_prob


class ReverseKL(AbstractObjective):
    r"""The loss $\mathbb{E}_{x \sim q}[\log q(x) - \log \tilde p(x)] = \mathrm{KL}(q \| p) - \log Z$, without data.

    Here $q$ is the flow and $\tilde p = Z p$ a target that is known up to its constant $Z$. Minus the loss is a lower
    bound of $\log Z$. This divergence seeks modes: a flow that misses a mode of the target is not penalised for it.

    The gradient goes along the path of the samples alone, without the term of the score of $q$ whose mean is zero: at
    the optimum it is zero for every draw. It takes the inverse of each layer at the samples, so flows that are dear to
    score train faster with the plain reparametrised gradient.

    Args:
        log_density: The function $\log \tilde p$: a `pf.Target`, or a JAX function of one event (and of its condition
            if the flow has one) to a number; or of rows `(n, *event_shape)` to `(n,)` with `batched`.
        n_samples: Number of draws per step for an unconditional flow; a conditional flow draws one for each row of
            conditions.
        batched: Whether `log_density` takes rows.
        path_gradient: Whether to use the path gradient; False takes the plain reparametrised gradient.

    Raises:
        TypeError: The log-density is no function.
        ValueError: The log-density does not give a number for an event, or `n_samples` is no positive number.

    Source: Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, 2021, eq. 17, arXiv 1912.02762; the path
        gradient: Roeder, Wu, Duvenaud, 2017, arXiv 1703.09194.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=2, width=8)
        >>> objective = pf.objectives.ReverseKL(lambda x: -0.5 * jax.numpy.sum((x - 1.0) ** 2), n_samples=64)
        >>> result = pf.fit(flow, key=jax.random.key(1), objective=objective, max_epochs=2, progress=False)
        >>> result.verdict.steps
        100
    """

    log_density: Callable[..., Array]
    n_samples: int = eqx.field(static=True)
    batched: bool = eqx.field(static=True)
    path_gradient: bool = eqx.field(static=True)
    in_nats: ClassVar[bool] = True
    needs_rows: ClassVar[bool] = False
    score_words: ClassVar[str] = "Lower bound of log Z"

    def __init__(
        self,
        log_density: Callable[..., Array],
        n_samples: int = 256,
        *,
        batched: bool = False,
        path_gradient: bool = True,
    ):
        if not callable(log_density):
            fix = "Pass a JAX function of one event to a number."
            raise TypeError(message("ReverseKL", "a function log_density", type(log_density).__name__, fix))
        self.log_density, self.n_samples = log_density, check_int("ReverseKL", "n_samples", n_samples, 1)
        self.batched, self.path_gradient = bool(batched), bool(path_gradient)

    def per_row(
        self,
        flow: AbstractDistribution,
        x: Rows | None = None,
        condition: Rows | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        r"""$\log q - \log \tilde p$ of as many draws as there are rows, `(n,)`.

        Args:
            flow: The model.
            x: Rows, of which only the number counts: as many draws are made. None takes `n_samples`.
            condition: Rows `(n, *cond_shape)`, or None.
            key: JAX key of the draws.
        """
        n = self.n_samples if x is None else len(x)
        shape = n if condition is None else ()
        draws, log_q = draws_and_log_prob(
            flow, as_key("ReverseKL", key), shape, condition, path_gradient=self.path_gradient
        )
        given: tuple[Any, ...] = (draws,) if condition is None else (draws, condition)
        log_p = self.log_density(*given) if self.batched else jax.vmap(self.log_density)(*given)
        if log_p.shape != log_q.shape:
            fix = "Return one number per event; batched=True is for functions of rows."
            raise ValueError(message("ReverseKL", f"log-densities of shape {log_q.shape}", f"{log_p.shape}", fix))
        return log_q - log_p
