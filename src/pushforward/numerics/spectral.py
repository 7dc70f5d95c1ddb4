"""Spectral norms of matrices and of whole convolutions: smooth upper bounds, power iteration, and exact norms.

Power iteration gives a lower bound, which cannot guarantee that a map contracts. The upper bounds here cost some
products of small matrices, need no state, hold for any weights, and are smooth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._meshes import scan, while_loop
from pushforward._types import Array, Shape

# Squarings of the Gram matrix: its power 2 ** 7 exceeds the norm of 64 x 64 weights by 1.6 % at most, if all their
# singular values are equal, and by far less if few are near the largest.
N_SQUARINGS = 7


def spectral_bound(matrix: Array, n_squarings: int = N_SQUARINGS) -> Array:
    r"""An upper bound of the largest singular value: the Schatten norm $(\sum_i \sigma_i^{2q})^{1/2q}$, $q = 2^s$.

    $\sigma_1 \le (\operatorname{tr} (W^T W)^{q})^{1/2q} \le n^{1/2q} \sigma_1$, where $n$ is the shorter side: an upper
    bound whatever the weights, where power iteration from vectors that are not converged gives a lower one. It is
    smooth where singular values meet, and 0 for zeros.

    Args:
        matrix: Array of shape `(..., m, n)`, real or complex.
        n_squarings: Number of squarings $s$.

    Cost: $2 s + 2$ products of square matrices of the shorter side, the gradient among them; derivatives of first
    order only.

    Source: Horn, Johnson, 2013, section 7.4.7 (Schatten norms).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.numerics.spectral import spectral_bound
        >>> round(float(spectral_bound(jnp.diag(jnp.array([3.0, 1.0])))), 4)
        3.0
    """
    fixed = jax.lax.stop_gradient(matrix)
    largest = jnp.max(jnp.abs(fixed), axis=(-2, -1), keepdims=True)
    # The squares of weights of 1e-30 must not vanish, and zeros must not give 0 / 0.
    scale = jnp.where(largest > 0, largest, 1)
    fixed = fixed / scale
    wide = matrix.shape[-2] <= matrix.shape[-1]
    fixed = fixed if wide else jnp.swapaxes(fixed, -1, -2)
    gram = fixed @ jnp.conj(jnp.swapaxes(fixed, -1, -2))

    def trace_of(power: Array) -> Array:
        trace = jnp.trace(power, axis1=-2, axis2=-1).real
        return jnp.where(trace > 0, trace, 1)[..., None, None]

    def square(carry: tuple, share: Array) -> tuple:
        # power = G^(2^s) / its trace, product = G^(2^s - 1) up to a factor that the end divides by.
        power, product, log_norm = carry
        product = product @ power
        product = product / trace_of(product)
        power = power @ power
        trace = trace_of(power)
        return (power / trace, product, log_norm + share * jnp.log(trace)), None

    first = trace_of(gram)
    unit = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    shares = 0.5 * 0.5 ** jnp.arange(1, n_squarings + 1, dtype=first.dtype)
    start = (gram / first, unit, 0.5 * jnp.log(first))
    (_, product, log_norm), _ = scan(square, start, shares)
    # The gradient of a Schatten norm is G^(q-1) W / |.|^(2q-1), and <gradient, W> is the norm: so no division by q.
    direction = product @ fixed
    direction = direction if wide else jnp.swapaxes(direction, -1, -2)
    sigma = jnp.where(largest > 0, scale * jnp.exp(log_norm), 0)
    along = jnp.sum((jnp.conj(direction) * (matrix / scale)).real, axis=(-2, -1), keepdims=True)
    constant = jax.lax.stop_gradient(along)
    # This number has the value 1 and the gradient of log sigma.
    ratio = along / jnp.where(constant > 0, constant, 1)
    return (sigma * (1 + ratio - jax.lax.stop_gradient(ratio)))[..., 0, 0]


def conv_bound(kernel: Array, size: Shape, n_squarings: int = N_SQUARINGS) -> Array:
    r"""An upper bound of the norm of a whole convolution with zero padding, an operator on `(channels, h, w)` vectors.

    A convolution with zero padding is a circular convolution on a torus so large that nothing wraps around,
    $(h + k - 1, w + k - 1)$, between an embedding and a restriction, neither of which lengthens a vector. The circular
    convolution is block-diagonal in Fourier space, with one matrix of channels for each frequency,
    $\hat K(f) = \sum_a K_a e^{-2\pi i f \cdot a}$; the largest `spectral_bound` of these matrices bounds both.

    Args:
        kernel: Array of shape `(c_out, c_in, k_h, k_w)`.
        size: Height and width `(h, w)`.
        n_squarings: Number of squarings in `spectral_bound`.

    Cost: $2 s + 2$ products of channel matrices for each of about $h w / 2$ frequencies.

    Source: Sedghi, Gupta, Long, 2019, theorem 6, arXiv 1805.10408.
    """
    if kernel.shape[-2:] == (1, 1):
        return spectral_bound(kernel[:, :, 0, 0], n_squarings)  # the same matrix at every frequency
    return jnp.max(spectral_bound(_transfer(kernel, size), n_squarings))


def _transfer(kernel: Array, size: Shape) -> Array:
    """The channel matrices `(frequency, c_out, c_in)` of the circular convolution; conjugates are left out."""
    (height, width), (k_h, k_w) = size, kernel.shape[-2:]
    rows, columns = height + k_h - 1, width + k_w - 1
    dtype = jnp.result_type(kernel.dtype, jnp.complex64)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(rows), np.arange(k_h)) / rows)
    more = np.exp(-2j * np.pi * np.outer(np.arange(columns // 2 + 1), np.arange(k_w)) / columns)
    part = jnp.einsum("oiab,fa->foib", kernel.astype(dtype), jnp.asarray(waves, dtype))
    part = jnp.einsum("foib,gb->fgoi", part, jnp.asarray(more, dtype))
    return part.reshape(-1, *kernel.shape[:2])


def exact_norm(matrix: np.ndarray) -> float:
    """The largest singular value of a matrix, in float64."""
    return float(np.linalg.norm(np.asarray(matrix, np.float64), 2))


def exact_conv_bound(kernel: np.ndarray, size: Shape) -> float:
    """The bound `conv_bound` from exact singular values, on the host in float64: the least bound of its kind."""
    kernel = np.asarray(kernel, np.float64)
    padded = np.zeros((*kernel.shape[:2], size[0] + kernel.shape[2] - 1, size[1] + kernel.shape[3] - 1))
    padded[:, :, : kernel.shape[2], : kernel.shape[3]] = kernel
    return float(np.linalg.svd(np.fft.rfft2(padded).transpose(2, 3, 0, 1), compute_uv=False).max())


class NormEstimate(NamedTuple):
    """The result of power iteration.

    Attributes:
        sigma: The lower bound |A v| of the norm for the unit vector v; 0 if A v is 0.
        vector: The right singular vector, of unit length.
        change: Relative change of `sigma` in the last iteration.
        steps: Number of iterations.
    """

    sigma: Array
    vector: Array
    change: Array
    steps: Array


def power_step(function: Callable[[Array], Array], vector: Array) -> tuple[Array, Array]:
    r"""One iteration $v \leftarrow A^T A v / |A^T A v|$, and $|A v|$ before it.

    Args:
        function: Linear function $v \mapsto A v$, whose pull-back is its transpose.
        vector: Vector of unit length.
    """
    image, pull = jax.vjp(function, vector)
    back = pull(image)[0]
    length = jnp.sqrt(jnp.sum(back**2))
    return jnp.sqrt(jnp.sum(image**2)), jnp.where(length > 0, back / jnp.where(length > 0, length, 1), vector)


def power_iteration(
    function: Callable[[Array], Array], vector: Array, *, tolerance: float = 1e-6, max_steps: int = 2000
) -> NormEstimate:
    r"""Estimate the norm of a linear operator from below, $\sigma = |A v| \le \|A\|$, by power iteration.

    The iteration may in principle converge to a singular value other than the largest, which no residual rules out. So
    this is an estimate; `spectral_bound` and `conv_bound` are bounds.

    Args:
        function: Linear function $v \mapsto A v$.
        vector: Vector from which to start, not 0.
        tolerance: Relative change of the estimate that ends the iteration.
        max_steps: Most iterations.

    Cost: one product with A and one with its transpose per iteration.

    Source: Gouk, Frank, Pfahringer, Cree, 2021, algorithm 2, arXiv 1804.04368.
    """

    def go_on(state: NormEstimate) -> Array:
        return (state.change > tolerance) & (state.steps < max_steps)

    def step(state: NormEstimate) -> NormEstimate:
        sigma, after = power_step(function, state.vector)
        change = jnp.abs(sigma - state.sigma) / jnp.maximum(sigma, jnp.finfo(sigma.dtype).tiny)
        return NormEstimate(sigma, after, change, state.steps + 1)

    unit = vector / jnp.sqrt(jnp.sum(vector**2))
    start = NormEstimate(jnp.zeros((), unit.dtype), unit, jnp.full((), jnp.inf, unit.dtype), jnp.asarray(0))
    return while_loop(go_on, step, start)
