"""PixelRNN: causal features of images by LSTMs over rows, or over diagonals in both directions."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import check_sizes, size_of
from pushforward.nets.pixel_trunk import (
    AbstractTrunk,
    Stem,
    column,
    constants,
    correlate,
    from_condition,
    mix,
    padded,
    stacked,
    with_column,
)

# The bias of the forget gate at the start: a new LSTM remembers.
FORGET_BIAS = 1.0


def cell(gates: Array, memory: Array) -> tuple[Array, Array]:
    """The output and the memory of an LSTM from its gates, `(4 d, *shape)`, and its memory `(d, *shape)`."""
    enter, forget, leave, content = jnp.split(gates, 4)
    memory = jax.nn.sigmoid(forget + FORGET_BIAS) * memory + jax.nn.sigmoid(enter) * jnp.tanh(content)
    return jax.nn.sigmoid(leave) * jnp.tanh(memory), memory


class RowCaches(NamedTuple):
    """What the evaluation of `RowLSTM` by rows and pixels keeps."""

    stem: tuple[Array, Array]
    first: Array  # (n_features, W, n): what the rows above give to the stem
    gates: Array  # (n_layers, 4 d, W, n): what the row above gives to the gates
    memory_above: Array  # (n_layers, d, W, n)
    hidden: Array  # (n_layers, d, W, n) of this row, as far as it is known
    memory: Array  # the same
    left: Array  # (n_layers, n_features, n): inputs of the layers at the pixel to the left
    conditions: Array | None


class RowLSTM(AbstractTrunk):
    r"""Causal features by residual layers of LSTMs that run from row to row, all pixels of a row at once.

    The gates of pixel $(r, c)$ see the layer's input at $(r, c - 1)$ and $(r, c)$, and the hidden states of the row
    above at $c - 1$, $c$ and $c + 1$; the memory comes from $(r - 1, c)$. So a layer sees a triangle above the pixel.

    Args:
        key: JAX key for the initial weights.
        n_inputs: Number of input channels.
        width: Number of features, and of units of each LSTM.
        depth: Number of layers.
        reach: Number of rows and of pixels that the first layer sees.
        cond_shape: Shape of the condition, None if unconditional.

    Shapes:
        `(n_inputs, H, W, n) -> (width, H, W, n)`

    Cost: `H` steps for each layer; all steps by rows and pixels cost the same arithmetic in `H W` small products.

    Source: van den Oord, Kalchbrenner, Kavukcuoglu, 2016, section 3.1, arXiv 1601.06759.
    """

    stem: Stem
    layers: dict[str, Array]
    cond_weight: Array | None
    n_inputs: int = eqx.field(static=True)
    n_features: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        n_inputs: int,
        *,
        width: int = 32,
        depth: int = 3,
        reach: int = 3,
        cond_shape: Shape | None = None,
    ):
        sizes = check_sizes("RowLSTM", n_inputs=n_inputs, width=width, depth=depth, reach=reach)
        self.n_inputs, f, depth, reach = sizes
        self.n_features, self.cond_shape = f, cond_shape
        shapes: dict[str, tuple[Shape, float]] = {
            "input": ((depth, 4 * f, f, 1, 2), 1.0),
            "state": ((depth, 4 * f, f, 1, 3), 1.0),
            "out": ((depth, f, f), 1.0),
            "bias": ((depth, 4 * f), 0.0),
            "condition": ((depth, 4 * f, size_of(cond_shape)), 1.0),
        }
        first, rest = jax.random.split(key)
        made = stacked(rest, shapes)
        condition = made.pop("condition")
        self.stem, self.layers = Stem(first, self.n_inputs, f, reach), made
        self.cond_weight = None if cond_shape is None else condition

    def __call__(self, x: Array, condition: Array | None) -> Array:
        above, left = self.stem(x)
        biases = constants(self.layers["bias"], from_condition("RowLSTM", self.cond_weight, condition, self.cond_shape))

        def layer(u: Array, given: tuple) -> tuple[Array, None]:
            weights, bias = given
            gates = correlate(weights["input"], padded(u, left=1)) + bias[:, None, None]

            def row(carry: tuple[Array, Array], own: Array) -> tuple[tuple[Array, Array], Array]:
                hidden, memory = carry
                from_above = correlate(weights["state"], padded(hidden[:, None], left=1, right=1))[:, 0]
                hidden, memory = cell(own + from_above, memory)
                return (hidden, memory), hidden

            blank = jnp.zeros_like(u[:, 0])
            _, hidden = scan(row, (blank, blank), jnp.moveaxis(gates, 1, 0))
            return u + mix(weights["out"], jnp.moveaxis(hidden, 0, 1)), None

        return jax.nn.elu(scan(layer, above + left, (self.layers, biases))[0])

    def init(self, width: int, n: int, condition: Array | None) -> RowCaches:
        (depth, _), f, dtype = self.layers["bias"].shape, self.n_features, self.layers["bias"].dtype

        def zeros(*shape: int) -> Array:
            return jnp.zeros((*shape, n), dtype)

        return RowCaches(
            stem=self.stem.init(width, n),
            first=zeros(f, width),
            gates=zeros(depth, 4 * f, width),
            memory_above=zeros(depth, f, width),
            hidden=zeros(depth, f, width),
            memory=zeros(depth, f, width),
            left=zeros(depth, f),
            conditions=from_condition("RowLSTM", self.cond_weight, condition, self.cond_shape),
        )

    def row(self, caches: RowCaches, r: Array, above: Array) -> RowCaches:
        first, stem = self.stem.row(caches.stem, above)

        def layer(carry: None, given: tuple) -> tuple[None, Array]:
            weights, hidden = given
            return None, correlate(weights["state"], padded(hidden[:, None], left=1, right=1))[:, 0]

        _, gates = scan(layer, None, (self.layers, caches.hidden))
        kept = {"stem": stem, "first": first, "gates": gates, "memory_above": caches.memory}
        return caches._replace(**kept, left=jnp.zeros_like(caches.left))

    def pixel(self, caches: RowCaches, c: Array, left: Array) -> tuple[Array, Any]:
        own, stem = self.stem.pixel(caches.stem, left)

        def layer(u: Array, given: tuple) -> tuple[Array, tuple[Array, Array, Array]]:
            weights, bias, gates, memory, before = given
            kernel = weights["input"][:, :, 0]
            gates = gates + kernel[..., 0] @ before + kernel[..., 1] @ u + bias
            hidden, memory = cell(gates, memory)
            return u + weights["out"] @ hidden, (u, hidden, memory)

        biases = constants(self.layers["bias"], caches.conditions)
        given = (self.layers, biases, column(caches.gates, c), column(caches.memory_above, c), caches.left)
        u, (inputs, hidden, memory) = scan(layer, column(caches.first, c) + own, given)
        kept = {"hidden": with_column(caches.hidden, c, hidden), "memory": with_column(caches.memory, c, memory)}
        return jax.nn.elu(u), caches._replace(stem=stem, left=inputs, **kept)


class DiagonalCaches(NamedTuple):
    """What the evaluation of `DiagonalBiLSTM` by rows and pixels keeps."""

    stem: tuple[Array, Array]
    first: Array  # (n_features, W, n): what the rows above give to the stem
    inputs: Array  # (n_layers, n_features, W, n): inputs of the layers in this row, as far as they are known
    hidden: Array  # (n_layers, d, W, n): from the left; left of the place in this row, right of it in the row above
    from_right: Array  # (n_layers, d, W, n): from the right, of the row above
    left: tuple[Array, Array]  # (n_layers, d, n): hidden state and memory from the left, at the pixel to the left
    conditions: Array | None


class DiagonalBiLSTM(AbstractTrunk):
    r"""Causal features by residual layers of two LSTMs along the diagonals, one from the left and one from the right.

    The one from the left sees at $(r, c)$ its own states at $(r, c - 1)$ and $(r - 1, c)$; the one from the right sees
    those at $(r, c + 1)$ and $(r - 1, c)$, and is used one row below, where all its inputs are known. There it may see
    the image at its own place too, which the published network lacks: without it, the pixels at the right end of the
    row above enter by the first layer alone. So each layer sees every pixel before its own.

    Args:
        key: JAX key for the initial weights.
        n_inputs: Number of input channels.
        width: Number of features, and of units of each LSTM.
        depth: Number of layers.
        reach: Number of rows and of pixels that the first layer sees.
        cond_shape: Shape of the condition, None if unconditional.

    Shapes:
        `(n_inputs, H, W, n) -> (width, H, W, n)`

    Cost: `H + W - 1` steps for each layer; all steps by rows and pixels cost the same arithmetic in `2 H W` small
        products.

    Source: van den Oord, Kalchbrenner, Kavukcuoglu, 2016, section 3.2, arXiv 1601.06759.
    """

    stem: Stem
    layers: dict[str, Array]  # with an axis of the two directions after that of the layers
    image: Array  # (n_layers, 4 d, n_inputs): what the LSTM from the right sees of the image at its own place
    cond_weight: Array | None
    n_inputs: int = eqx.field(static=True)
    n_features: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        n_inputs: int,
        *,
        width: int = 32,
        depth: int = 3,
        reach: int = 3,
        cond_shape: Shape | None = None,
    ):
        sizes = check_sizes("DiagonalBiLSTM", n_inputs=n_inputs, width=width, depth=depth, reach=reach)
        self.n_inputs, f, depth, reach = sizes
        self.n_features, self.cond_shape = f, cond_shape
        # The axis of directions stands first in what is drawn, so that the fan-in is that of one LSTM.
        shapes: dict[str, tuple[Shape, float]] = {
            "input": ((2 * depth, 4 * f, f), 1.0),
            "side": ((2 * depth, 4 * f, f), 1.0),
            "above": ((2 * depth, 4 * f, f), 1.0),
            "out": ((2 * depth, f, f), 1.0),
            "bias": ((2 * depth, 4 * f), 0.0),
        }
        first, rest, last = jax.random.split(key, 3)
        self.layers = {name: w.reshape(depth, 2, *w.shape[1:]) for name, w in stacked(rest, shapes).items()}
        self.stem = Stem(first, self.n_inputs, f, reach)
        more = {
            "condition": ((depth, 8 * f, size_of(cond_shape)), 1.0),
            "image": ((depth, 4 * f, self.n_inputs), 1.0),
        }
        made = stacked(last, more)
        self.image, self.cond_weight = made["image"], None if cond_shape is None else made["condition"]

    def _biases(self, conditions: Array | None) -> Array:
        """The constant terms `(n_layers, 2, 4 d, n)` or `(n_layers, 2, 4 d, 1)`."""
        bias = self.layers["bias"]
        both = constants(bias.reshape(bias.shape[0], -1), conditions)
        return both.reshape(*bias.shape, -1)

    def __call__(self, x: Array, condition: Array | None) -> Array:
        above, left = self.stem(x)
        biases = self._biases(from_condition("DiagonalBiLSTM", self.cond_weight, condition, self.cond_shape))

        def layer(u: Array, given: tuple) -> tuple[Array, None]:
            weights, bias, image = given
            side = {name: w[0] for name, w in weights.items()}
            other = {name: w[1] for name, w in weights.items()}
            from_left = _along_diagonals(side, mix(side["input"], u) + bias[0][:, None, None])
            turned = mix(other["input"], u) + mix(image, x) + bias[1][:, None, None]
            from_right = _along_diagonals(other, turned[:, :, ::-1])[:, :, ::-1]
            below = padded(from_right, top=1)[:, :-1]
            return u + mix(side["out"], from_left) + mix(other["out"], below), None

        return jax.nn.elu(scan(layer, above + left, (self.layers, biases, self.image))[0])

    def init(self, width: int, n: int, condition: Array | None) -> DiagonalCaches:
        depth, f, dtype = self.layers["bias"].shape[0], self.n_features, self.layers["bias"].dtype

        def zeros(*shape: int) -> Array:
            return jnp.zeros((*shape, n), dtype)

        return DiagonalCaches(
            stem=self.stem.init(width, n),
            first=zeros(f, width),
            inputs=zeros(depth, f, width),
            hidden=zeros(depth, f, width),
            from_right=zeros(depth, f, width),
            left=(zeros(depth, f), zeros(depth, f)),
            conditions=from_condition("DiagonalBiLSTM", self.cond_weight, condition, self.cond_shape),
        )

    def row(self, caches: DiagonalCaches, r: Array, above: Array) -> DiagonalCaches:
        first, stem = self.stem.row(caches.stem, above)
        biases = self._biases(caches.conditions)[:, 1]

        def layer(carry: None, given: tuple) -> tuple[None, Array]:
            weights, bias, image, inputs, before = given
            gates = mix(weights["input"], inputs) + mix(weights["above"], before) + bias[:, None]
            gates = gates + mix(image, above.astype(gates.dtype))

            def pixel(carry: tuple[Array, Array], own: Array) -> tuple[tuple[Array, Array], Array]:
                hidden, memory = cell(own + weights["side"] @ carry[0], carry[1])
                return (hidden, memory), hidden

            blank = jnp.zeros_like(inputs[:, 0])
            _, hidden = scan(pixel, (blank, blank), jnp.moveaxis(gates, 1, 0), reverse=True)
            return None, jnp.moveaxis(hidden, 0, 1)

        from_right = {name: w[:, 1] for name, w in self.layers.items()}
        _, below = scan(layer, None, (from_right, biases, self.image, caches.inputs, caches.from_right))
        # There is no row above the first one.
        below, blank = jnp.where(r > 0, below, 0), jnp.zeros_like(caches.left[0])
        return caches._replace(stem=stem, first=first, from_right=below, left=(blank, blank))

    def pixel(self, caches: DiagonalCaches, c: Array, left: Array) -> tuple[Array, Any]:
        own, stem = self.stem.pixel(caches.stem, left)
        biases = self._biases(caches.conditions)[:, 0]

        def layer(u: Array, given: tuple) -> tuple[Array, tuple[Array, Array, Array]]:
            weights, bias, hidden_left, memory, hidden_above, below = given
            gates = weights["input"][0] @ u + bias
            gates = gates + weights["side"][0] @ hidden_left + weights["above"][0] @ hidden_above
            hidden, memory = cell(gates, memory)
            return u + weights["out"][0] @ hidden + weights["out"][1] @ below, (u, hidden, memory)

        given = (self.layers, biases, *caches.left, column(caches.hidden, c), column(caches.from_right, c))
        u, (inputs, hidden, memory) = scan(layer, column(caches.first, c) + own, given)
        kept = {"inputs": with_column(caches.inputs, c, inputs), "hidden": with_column(caches.hidden, c, hidden)}
        return jax.nn.elu(u), caches._replace(stem=stem, left=(hidden, memory), **kept)


def _along_diagonals(weights: dict[str, Array], gates: Array) -> Array:
    """The hidden states `(d, H, W, n)` of an LSTM from the left and above, with the inputs' terms in its gates.

    Row `r` is shifted to the right by `r`, so that the pixels of a diagonal are a column, computed at once from the
    column before it.
    """
    _, height, width, n = gates.shape
    place = np.arange(width + height - 1)[:, None] - np.arange(height)  # (n_columns, H): the pixel of each row
    inside = jnp.asarray((place >= 0) & (place < width))
    columns = gates[:, np.arange(height), np.clip(place, 0, width - 1)]  # (4 d, n_columns, H, n)

    def step(carry: tuple[Array, Array], own: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (hidden, memory), (gate, within) = carry, own
        above = jnp.pad(hidden, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        hidden, memory = cell(gate + mix(weights["side"], hidden) + mix(weights["above"], above), memory)
        within = within[None, :, None]
        hidden, memory = jnp.where(within, hidden, 0), jnp.where(within, memory, 0)
        return (hidden, memory), hidden

    blank = jnp.zeros((gates.shape[0] // 4, height, n), gates.dtype)
    _, hidden = scan(step, (blank, blank), (jnp.moveaxis(columns, 1, 0), inside))
    back = np.arange(width) + np.arange(height)[:, None]  # (H, W): the column of each pixel
    return jnp.moveaxis(hidden[back, :, np.arange(height)[:, None]], 2, 0)
