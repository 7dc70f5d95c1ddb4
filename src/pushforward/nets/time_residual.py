"""A residual network of time and state."""

from __future__ import annotations

import equinox as eqx

from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import activation_of, check_sizes, hidden_layer, output_layer, uniforms
from pushforward.nets.time_mlp import Mixing, Timed
from pushforward.numerics.product import dense


class TimeResidualMLP(eqx.Module):
    r"""A residual net of time and state, $h_{l+1} = h_l + B_l\,\sigma(g_l(t) \odot (A_l h_l + a_l) + s_l(t)) + b_l$.

    $h_0$ and the output are linear. Time enters every block through shifts $s_l$ and gates $g_l$ as in `TimeMLP`, and
    the output through a shift. Blocks are skipped by a sum, so that a velocity may be deep. The trace of its Jacobian
    has no closed form.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        dim: length of `x` and of the output.
        width: Length of $h$, and number of units per block.
        depth: number of blocks, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        mixing: how time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: Number of frequencies in the time embedding.
        activation: Name of a smooth activation: `"tanh"`, `"softplus"`, `"silu"`, `"gelu"`, `"elu"`.

    Cost: $O(\text{width}^2)$ per block, twice that of a layer of `TimeMLP`.

    Shapes:
        time `()` or `(n,)`, `x` of `(dim, n)`, condition `(*cond_shape, n)`; the result is `(dim, n)`.

    Raises:
        ValueError: a size is out of bounds, a name unknown, or the condition missing.

    Source: He, Zhang, Ren, Sun, 2016, arXiv 1603.05027 (blocks); Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud,
        2019, section 4, arXiv 1810.01367 (gates); Perez, Strub, de Vries, Dumoulin, Courville, 2018, arXiv 1709.07871
        (FiLM).

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.TimeResidualMLP(jax.random.key(0), 2, width=8, depth=3)
        >>> net(jax.numpy.array(0.5), jax.numpy.ones((2, 3))).shape
        (2, 3)
    """

    first: Array
    inner: tuple[Array, ...]
    outer: tuple[Array, ...]
    last: Array
    shifts: tuple[Array, ...]
    gates: tuple[Array, ...]
    dim: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    timed: Timed = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        mixing: Mixing = "concat",
        n_frequencies: int = 3,
        activation: str = "silu",
    ):
        width, depth = check_sizes("TimeResidualMLP", width=width, depth=depth)
        self.timed = Timed("TimeResidualMLP", dim, cond_shape, mixing, n_frequencies, activation)
        self.dim, self.cond_shape = dim, cond_shape
        size, n_in = self.timed.n_time, self.timed.n_in
        square, timed = [(width, width + 1)] * depth, [(width, size)] * depth
        ends = [(width, n_in + 1), (dim, width + 1), (dim, size)]
        first, last, shift, *draws = uniforms(key, [*ends, *square, *square, *timed, *timed])
        inner, outer, shifts, gates = (draws[i * depth : (i + 1) * depth] for i in range(4))
        self.first, self.last = hidden_layer(first, n_in), output_layer(last)
        self.inner, self.outer = (tuple(hidden_layer(w, width) for w in layers) for layers in (inner, outer))
        self.shifts, self.gates = self.timed.weights([*shifts, shift], gates)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        activation = activation_of(self.timed.activation)
        embedded, h = self.timed.inputs(t, x, condition)
        h = dense(self.first, h)
        for block, (inner, outer) in enumerate(zip(self.inner, self.outer, strict=True)):
            pre, gate = dense(inner, h), self.timed.gate(self.gates, block, embedded)
            pre = pre if gate is None else gate * pre
            h = h + dense(outer, activation(pre + self.shifts[block] @ embedded))
        return dense(self.last, h) + self.shifts[-1] @ embedded
