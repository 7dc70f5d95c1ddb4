"""Distributions whose means, variances, entropies and distribution functions are known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx

from pushforward._checks import message
from pushforward._meshes import explicit_axes, in_rows
from pushforward._types import Array
from pushforward._vectorize import common_batch, rows_last, split_batch
from pushforward.distributions.base import AbstractDistribution, split_condition


class AbstractClosedForm(AbstractDistribution):
    r"""A distribution that knows more than its density: its moments, and the distribution function of each coordinate.

    Final subclasses implement five more methods on rows, which stand on the **last** axis. Where one of the five has no
    closed form, it raises `NotImplementedError` with what to do instead. A distribution that has none of them, such as
    a flow, is no subclass and has no such methods.
    """

    @abstractmethod
    def mean_rows(self, condition: Array | None) -> Array:
        """The means `(*event_shape, n)`, one per condition `(*cond_shape, n)`; `n` is 1 if unconditional."""

    @abstractmethod
    def variance_rows(self, condition: Array | None) -> Array:
        """The variances of the coordinates, `(*event_shape, n)`; `n` is 1 if unconditional."""

    @abstractmethod
    def entropy_rows(self, condition: Array | None) -> Array:
        """The entropies in nats, `(n,)`; `n` is 1 if unconditional."""

    @abstractmethod
    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        """The distribution function of each coordinate at rows `(*event_shape, n)`, of the same shape."""

    @abstractmethod
    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        """The numbers `(*event_shape, n)` at which `cdf_rows` is `p`."""

    def mean(self, condition: Any = None) -> Array:
        """The mean; NaN for a coordinate that has none.

        Args:
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, *event_shape)`
        """
        return self._known("mean", condition)

    def variance(self, condition: Any = None) -> Array:
        """The variance of each coordinate: infinite where it diverges, NaN where there is no mean.

        Args:
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, *event_shape)`
        """
        return self._known("variance", condition)

    def entropy(self, condition: Any = None) -> Array:
        r"""$-\int p(x) \log p(x)\,dx$ in nats.

        Args:
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch,)`
        """
        return self._known("entropy", condition)

    def cdf(self, x: Any, condition: Any = None) -> Array:
        r"""$P(X_i \le x_i)$ for each coordinate on its own.

        Where the coordinates are independent, the product over them is the probability of all together.

        Args:
            x: Events `(*batch, *event_shape)`.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, *event_shape)`
        """
        return self._known("cdf", condition, x=x)

    def quantile(self, p: Any, condition: Any = None) -> Array:
        """The numbers below which each coordinate lies with these probabilities: the inverse of `cdf`.

        Args:
            p: Probabilities `(*batch, *event_shape)`; outside [0, 1] the quantile is NaN.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, *event_shape)`
        """
        return self._known("quantile", condition, p=p)

    def _known(self, method: str, condition: Any, **events: Any) -> Array:
        name = f"{type(self).__name__}.{method}"
        condition, cond_batch = split_condition(name, condition, self.cond_shape)
        rows, batches = [], []
        for what, values in events.items():
            array, batch = split_batch(name, what, values, self.event_shape)
            common_batch(name, batch, cond_batch)
            rows, batches = [array], [batch]
        return _on_rows(getattr(self, f"{method}_rows"), (*batches, cond_batch), *rows, condition)


def closed_forms(name: str, parts: Sequence[AbstractDistribution]) -> list[AbstractClosedForm]:
    """These parts, if each of them has closed forms.

    Raises:
        NotImplementedError: One of the parts has no closed forms.
    """
    known = [part for part in parts if isinstance(part, AbstractClosedForm)]
    if len(known) < len(parts):
        lacking = next(part for part in parts if not isinstance(part, AbstractClosedForm))
        fix = "Estimate it from samples: model.sample(key, 10_000)."
        raise NotImplementedError(message(name, "parts with closed forms", type(lacking).__name__, fix))
    return known


@eqx.filter_jit
def _on_rows(method: Any, batches: tuple, *arguments: Array | None) -> Array:
    def run(method: Any, *arguments: Array | None) -> Array:
        return rows_last(method, batches, *arguments)

    return in_rows(run, batches, method, *arguments) if explicit_axes() else run(method, *arguments)
