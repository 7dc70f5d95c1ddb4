"""Squeezes: images with fewer pixels and more channels, in which neighbouring pixels become channels."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, check_shape, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection


class Squeeze(AbstractBatchedBijection):
    r"""$(C, H, W) \to (C f^2, H/f, W/f)$: each block of $f \times f$ pixels becomes channels; the log-determinant is 0.

    The channels of one input channel stand together, in the order in which its block is read.

    Args:
        shape: Shape of an event, `(channels, height, width)`.
        factor: Side $f$ of a block.

    Raises:
        ValueError: The shape is not that of an image, or a side is no multiple of the factor.

    Source: Dinh et al., 2017, section 3.6, arXiv 1605.08803.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> squeeze = pf.bijections.Squeeze((1, 2, 4))
        >>> squeeze.forward(jnp.arange(8.0).reshape(1, 2, 4))[:, 0].tolist()
        [[0.0, 2.0], [1.0, 3.0], [4.0, 6.0], [5.0, 7.0]]
    """

    factor: int = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape, factor: int = 2):
        self.factor = check_int("Squeeze", "factor", factor, 1)
        channels, height, width = self.in_shape = check_image("Squeeze", shape)
        if height % factor or width % factor:
            fix = "Pad or crop the images, or squeeze less often: 28 x 28 can be halved twice."
            expected = f"height and width that are multiples of {factor}"
            raise ValueError(message("Squeeze", expected, f"{self.in_shape}", fix))
        self.out_shape = (channels * factor**2, height // factor, width // factor)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        channels, height, width = self.in_shape
        f = self.factor
        blocks = x.reshape(channels, height // f, f, width // f, f, -1).transpose(0, 2, 4, 1, 3, 5)
        return blocks.reshape(*self.out_shape, -1), jnp.zeros(x.shape[-1:], x.dtype)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        channels, height, width = self.in_shape
        f = self.factor
        blocks = y.reshape(channels, f, f, height // f, width // f, -1).transpose(0, 3, 1, 4, 2, 5)
        return blocks.reshape(*self.in_shape, -1), jnp.zeros(y.shape[-1:], y.dtype)


class CheckerboardSqueeze(AbstractBatchedBijection):
    r"""$(C, H, W) \to (2C, H, W/2)$: the pixels of one colour of a checkerboard come first; the log-determinant is 0.

    The first half of the channels has the pixels whose row and column add up to an even number, the second half the
    others. A coupling of the halves is the checkerboard coupling of RealNVP, at half of the work: its network sees the
    pixels that pass, and no zeros in the place of the others.

    Args:
        shape: Shape of an event, `(channels, height, width)`.

    Raises:
        ValueError: The shape is not that of an image, or its width is odd.

    Source: Dinh et al., 2017, section 3.4, arXiv 1605.08803; in this form Ho et al., 2019, arXiv 1902.00275.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> colours = pf.bijections.CheckerboardSqueeze((1, 2, 4))
        >>> colours.forward(jnp.arange(8.0).reshape(1, 2, 4)).tolist()
        [[[0.0, 2.0], [5.0, 7.0]], [[1.0, 3.0], [4.0, 6.0]]]
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape):
        channels, height, width = self.in_shape = check_image("CheckerboardSqueeze", shape)
        if width % 2:
            fix = "Pad or crop the images."
            raise ValueError(message("CheckerboardSqueeze", "an even width", f"{self.in_shape}", fix))
        self.out_shape = (2 * channels, height, width // 2)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        channels, height, width = self.in_shape
        pairs = jnp.moveaxis(self._ordered(x.reshape(channels, height, width // 2, 2, -1)), 3, 0)
        return pairs.reshape(*self.out_shape, -1), jnp.zeros(x.shape[-1:], x.dtype)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        channels, height, width = self.in_shape
        pairs = jnp.moveaxis(y.reshape(2, channels, height, width // 2, -1), 0, 3)
        return self._ordered(pairs).reshape(*self.in_shape, -1), jnp.zeros(y.shape[-1:], y.dtype)

    def _ordered(self, pairs: Array) -> Array:
        """Pairs of neighbours `(channels, height, width / 2, 2, n)` with those of the odd rows in the other order."""
        odd = (jnp.arange(self.in_shape[1]) % 2 == 1)[:, None, None, None]
        return jnp.where(odd, pairs[:, :, :, ::-1], pairs)


def check_image(name: str, shape: Shape) -> Shape:
    """The shape of an image as three integers.

    Raises:
        ValueError: The shape has another number of axes, or a size below 1.
    """
    checked = check_shape(name, shape)
    if len(checked) != 3 or min(checked) < 1:
        fix = "Channels come first."
        raise ValueError(message(name, "a shape (channels, height, width)", f"{checked}", fix))
    return checked
