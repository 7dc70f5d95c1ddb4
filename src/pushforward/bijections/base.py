"""The contract: a bijection is an immutable map between events of fixed shape, with its log-determinant."""

from abc import abstractmethod

import equinox as eqx
import jax

from pushforward._checks import check_condition, check_event, check_key
from pushforward._module import Module
from pushforward._types import Array, PRNGKeyArray, Shape, Traits


class AbstractBijection(Module):
    r"""An invertible, almost everywhere differentiable map $f: x \mapsto y$ of one event, never of a batch.

    Value and log-determinant are one computation, in both directions. `condition` and `key` are in every signature,
    also where they are ignored. A bijection knows `x` and `y` alone; the flow fixes `data = forward(latent)` once.

    To write one, subclass this, declare the four attributes, implement the two pairs for **one event** and hold the
    class to `pushforward.testing.check_bijection`. Where speed matters, subclass `AbstractBatchedBijection` instead.

    Attributes:
        in_shape: event shape of `x`.
        out_shape: event shape of `y`, with the same number of elements.
        cond_shape: shape of the condition, None if unconditional.
        traits: static facts: cost of each direction, exactness of the log-determinant.
    """

    in_shape: eqx.AbstractVar[Shape]
    out_shape: eqx.AbstractVar[Shape]
    cond_shape: eqx.AbstractVar[Shape | None]
    traits: eqx.AbstractVar[Traits]

    @abstractmethod
    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        r"""$y = f(x)$ and $\log|\det \partial y/\partial x|$ in nats, a scalar.

        Args:
            x: one event of shape `in_shape`.
            condition: an array of shape `cond_shape`, ignored if that is None.
            key: needed iff `traits.needs_key`.

        Raises:
            ValueError: a shape does not fit, or a needed condition or key is missing.
            NotImplementedError: `traits.forward` is `"absent"`.
        """

    @abstractmethod
    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        r"""$x = f^{-1}(y)$ and $\log|\det \partial x/\partial y|$ in nats, a scalar.

        Args:
            y: one event of shape `out_shape`.
            condition: an array of shape `cond_shape`, ignored if that is None.
            key: needed iff `traits.needs_key`.

        Raises:
            ValueError: a shape does not fit, or a needed condition or key is missing.
            NotImplementedError: `traits.inverse` is `"absent"`.
        """

    def forward(self, x: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The value of `forward_and_log_det` alone; unused log-determinant work is removed by the compiler."""
        return self.forward_and_log_det(x, condition, key=key)[0]

    def inverse(self, y: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The value of `inverse_and_log_det` alone; unused log-determinant work is removed by the compiler."""
        return self.inverse_and_log_det(y, condition, key=key)[0]


class AbstractBatchedBijection(AbstractBijection):
    """A bijection written for a batch on the **last** axis; the methods for one event follow from that.

    Under `jax.vmap` most of JAX's batching rules (reshape, concatenate, broadcast, scan) move the batch to the front,
    and a spline layer then spends as long transposing its parameters as computing: 45 ms against 25 ms for a training
    step at D = 43. So the library's own bijections see `(*event, n)`, and mapping over events happens by hand.

    Final subclasses implement `forward_rows` and `inverse_rows`; arguments arrive checked.
    """

    @abstractmethod
    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        """Values `(*out_shape, n)` and log-determinants `(n,)`.

        Args:
            x: `(*in_shape, n)`.
            condition: `(*cond_shape, n)`; None if and only if the bijection is unconditional.
            keys: `(n,)`; None if and only if no key is needed.
        """

    @abstractmethod
    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        """Values `(*in_shape, n)` and log-determinants `(n,)`; arguments as in `forward_rows`."""

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        check_event(type(self).__name__, x, self.in_shape)
        return self._one(x, condition, key, True)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None
    ) -> tuple[Array, Array]:
        check_event(type(self).__name__, y, self.out_shape, "y")
        return self._one(y, condition, key, False)

    def _one(
        self, value: Array, condition: Array | None, key: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        name = type(self).__name__
        check_condition(name, condition, self.cond_shape)
        check_key(name, key, self.traits.needs_key)
        keys = None if key is None else key[None]
        out, log_det = run_batch(
            self, value[..., None], None if condition is None else condition[..., None], keys, forward
        )
        return out[..., 0], log_det[0]


class AbstractTwoWayBijection(AbstractBatchedBijection):
    """A batched bijection whose two directions are the same lines of code, as in compositions and couplings.

    Final subclasses implement `run_rows`.
    """

    @abstractmethod
    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        """Values and log-determinants of one direction; arguments as in `forward_rows`, then which direction."""

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.run_rows(x, condition, keys, True)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return self.run_rows(y, condition, keys, False)


def run_batch(
    bijection: AbstractBijection, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array]:
    """One direction of any bijection on a batch on the last axis, mapped with `jax.vmap` where it is not written so.

    Args:
        bijection: any.
        value: `(*event, n)`.
        condition: `(*cond, n)` or None; dropped if the bijection is unconditional.
        keys: `(n,)` or None; dropped if none is needed.
        forward: the direction.
    """
    condition = None if bijection.cond_shape is None else condition
    keys = keys if bijection.traits.needs_key else None
    if isinstance(bijection, AbstractBatchedBijection):
        return (
            bijection.forward_rows(value, condition, keys)
            if forward
            else bijection.inverse_rows(value, condition, keys)
        )
    run = bijection.forward_and_log_det if forward else bijection.inverse_and_log_det
    axes = (-1, None if condition is None else -1, None if keys is None else 0)
    return jax.vmap(lambda v, c, k: run(v, c, key=k), in_axes=axes, out_axes=-1)(value, condition, keys)


def fold_keys(keys: PRNGKeyArray | None, n: int | Array) -> PRNGKeyArray | None:
    """The keys `(n,)` of member number `n` of a composition."""
    return None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, n)


def along(parameter: Array) -> Array:
    """A parameter of an event's shape, with a last axis that broadcasts over the batch."""
    return parameter[..., None]
