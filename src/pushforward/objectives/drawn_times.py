"""Laws by which the times of a batch are drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.paths import AbstractPath
from pushforward.paths.base import SMALLEST
from pushforward.paths.schedules import CUT


def stratified(key: PRNGKeyArray, n: int, dtype: jnp.dtype | type) -> Array:
    """Numbers strictly inside (0, 1), equally spaced from one random start: each stretch of time has its rows.

    Any of them in random order is uniform, so that means over a batch are unbiased whatever its size.
    """
    start = jax.random.uniform(key, (), dtype)
    inside = jnp.finfo(dtype).eps  # strictly inside: quantile functions are infinite at 0 and 1
    return jnp.clip((jnp.arange(n) + start) / n, inside, 1 - inside).astype(dtype)


class AbstractTimes(eqx.Module):
    """A law of the times of a batch, which are made from uniform numbers."""

    @abstractmethod
    def __call__(self, uniform: Array) -> Array:
        """The times in (0, 1) that belong to uniform numbers in (0, 1), by the quantile function."""


class UniformTimes(AbstractTimes):
    """Every time alike."""

    def __call__(self, uniform: Array) -> Array:
        return uniform


class LogitNormalTimes(AbstractTimes):
    r"""$t = \operatorname{sigmoid}(m + s\,\epsilon)$: more of the times in between, where the velocity is hard.

    Args:
        loc: The mean $m$ of the logit.
        scale: The standard deviation $s$ of the logit.

    Source: Esser et al., 2024, section 3.1, arXiv 2403.03206.
    """

    loc: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(self, loc: float = 0.0, scale: float = 1.0):
        if not scale > 0:
            raise ValueError(message("LogitNormalTimes", "scale > 0", repr(scale), "1 is usual."))
        self.loc, self.scale = float(loc), float(scale)

    def __call__(self, uniform: Array) -> Array:
        return jax.nn.sigmoid(self.loc + self.scale * jax.scipy.special.ndtri(uniform))


class LevelTimes(AbstractTimes):
    r"""A fixed number of times, each as often as the others: one noise level, or those of a noise-conditional network.

    Equally spaced times on a `VarianceExplodingPath` are noise levels in geometric sequence, from $\sigma_{\max}$ to
    $\sigma_{\min}$.

    Args:
        levels: Number of times, equally spaced from the path's start to its end (one alone is the end); or the times
            themselves, as fractions of the way from start to end.

    Raises:
        ValueError: There are no times, or one lies outside [0, 1].

    Source: Song, Ermon, 2019, section 4.2, arXiv 1907.05600; one level: Vincent, 2011.

    Example:
        >>> from pushforward.objectives import LevelTimes
        >>> from pushforward.paths import VarianceExplodingPath
        >>> LevelTimes.of_noise(VarianceExplodingPath(0.01, 1.0), [1.0, 0.1, 0.01]).levels
        (0.0, 0.5, 1.0)
    """

    levels: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, levels: int | Sequence[float] | np.ndarray = 10):
        if not isinstance(levels, Sequence | np.ndarray):
            n = check_int("LevelTimes", "levels", levels, 1)
            levels = np.linspace(0, 1, n) if n > 1 else [1.0]
        self.levels = tuple(float(level) for level in levels)
        if not self.levels or not all(0 <= level <= 1 for level in self.levels):
            fix = "They are fractions of the way from noise to data."
            raise ValueError(message("LevelTimes", "levels within [0, 1]", repr(self.levels), fix))

    @staticmethod
    def of_noise(path: AbstractPath, sigmas: Sequence[float] | np.ndarray) -> LevelTimes:
        r"""The levels at which a path has these $\sigma$.

        Args:
            path: A path whose $\sigma$ falls with time.
            sigmas: Standard deviations of the noise.

        Raises:
            ValueError: A standard deviation is not on the path.
        """
        with jax.enable_x64(True):
            ends = [float(path.sigma(jnp.asarray(t))) for t in (path.end, path.start)]
            given, slack = np.asarray(sigmas, np.float64), 1e-6 * ends[1]  # the rounding of float32
            if not np.all((given >= ends[0] - slack) & (given <= ends[1] + slack)):
                expected = f"sigmas within [{ends[0]:g}, {ends[1]:g}] of {type(path).__name__}"
                raise ValueError(message("LevelTimes.of_noise", expected, repr(list(sigmas)), "Choose within."))
            t = _where(lambda t: -path.sigma(t), -given, path.start, path.end)
        return LevelTimes(np.clip(np.round((t - path.start) / (path.end - path.start), 12), 0, 1))

    def __call__(self, uniform: Array) -> Array:
        n = len(self.levels)
        places = jnp.clip((uniform * n).astype(jnp.int32), 0, n - 1)
        return jnp.asarray(self.levels, uniform.dtype)[places]


class ImportanceTimes(AbstractTimes):
    r"""Times with a density proportional to $g^2/\sigma^2$, which puts the likelihood's weights into the draw.

    The unweighted error of the noise, at these times, is the likelihood-weighted error at uniform times divided by
    `mean_weight`: the same minimum, with far less variance. Since $g^2/\sigma^2$ is the derivative of the log of the
    signal-to-noise ratio, $2 \frac{d}{dt} \log(\alpha/\sigma)$, on any path, its integral is known and these are the
    times at which that log is uniform; a table of its inverse is made once.

    Args:
        path: Path of the model. At an end where noise or data vanishes and the path is not cut, the thousandth part of
            time next to it is left out, for the density has no integral there.
        n_nodes: Number of nodes of the table, between which times are interpolated.

    Raises:
        ValueError: The signal-to-noise ratio does not rise all the way.

    Source: Song, Durkan, Murray, Ermon, 2021, section 5.1, arXiv 2101.09258; the integral: Kingma, Salimans, Poole, Ho,
        2021, section 5.1, arXiv 2107.00630.
    """

    path: AbstractPath
    table: Array | np.ndarray
    mean_weight: float = eqx.field(static=True)

    def __init__(self, path: AbstractPath, n_nodes: int = 2048):
        n_nodes = check_int("ImportanceTimes", "n_nodes", n_nodes, 2)
        with jax.enable_x64(True):
            whole = path.end - path.start
            low = path.start + CUT * whole * bool(path.alpha(jnp.asarray(path.start)) < SMALLEST)
            high = path.end - CUT * whole * bool(path.sigma(jnp.asarray(path.end)) < SMALLEST)

            def log_ratio(t: Array) -> Array:
                return 2 * (jnp.log(path.alpha(t)) - jnp.log(path.sigma(t)))

            seen = np.asarray(log_ratio(jnp.linspace(low, high, n_nodes)))
            if not np.all(np.diff(seen) > 0):
                expected, got = "a signal-to-noise ratio that rises from noise to data", type(path).__name__
                raise ValueError(message("ImportanceTimes", expected, got, "Its diffusion has a negative variance."))
            t = _where(log_ratio, np.linspace(seen[0], seen[-1], n_nodes), low, high)
        self.path, self.table = path, (t - path.start) / whole
        self.mean_weight = float(seen[-1] - seen[0]) / whole

    def __call__(self, uniform: Array) -> Array:
        table = jnp.asarray(self.table, uniform.dtype)
        return jnp.interp(uniform, jnp.linspace(0, 1, len(table), dtype=uniform.dtype), table)


def _where(function: Callable[[Array], Array], values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The arguments at which a rising function takes the values, by halving; on the host, in double precision."""
    below, above = np.full(values.shape, low), np.full(values.shape, high)
    for _ in range(60):  # 2^-60 of the way is below the rounding of a number
        middle = 0.5 * (below + above)
        less = np.asarray(function(jnp.asarray(middle))) < values
        below, above = np.where(less, middle, below), np.where(less, above, middle)
    return 0.5 * (below + above)
