"""The contract: a bijection is an immutable map between events of fixed shape, with its log-determinant."""

import equinox as eqx

from pushforward._types import Array, PRNGKeyArray, Shape, Traits


class AbstractBijection(eqx.Module):
    r"""An invertible, almost everywhere differentiable map $f: x \mapsto y$ of one event, never of a batch.

    Value and log-determinant are one computation, in both directions. `condition` and `key` are in every signature,
    also where they are ignored. A bijection knows `x` and `y` alone; the flow fixes `data = forward(latent)` once.

    Subclasses are final: they implement the two pairs, declare the four attributes, and override the value-only
    methods merely to skip work, never to change the value. `pushforward.testing.laws` holds them to it.

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
        raise NotImplementedError(f"{type(self).__name__}.forward_and_log_det is absent (traits.forward says so).")

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
        raise NotImplementedError(f"{type(self).__name__}.inverse_and_log_det is absent (traits.inverse says so).")

    def forward(self, x: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The value of `forward_and_log_det` alone; unused log-determinant work is removed by the compiler."""
        return self.forward_and_log_det(x, condition, key=key)[0]

    def inverse(self, y: Array, condition: Array | None = None, *, key: PRNGKeyArray | None = None) -> Array:
        """The value of `inverse_and_log_det` alone; unused log-determinant work is removed by the compiler."""
        return self.inverse_and_log_det(y, condition, key=key)[0]
