"""The Gaussian paths of the literature, each given by two functions of time."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array
from pushforward.paths.base import AbstractPath

# Time before an end at which a path is cut if its noise or data vanishes there; the data then have that much noise.
CUT = 1e-3


def _positive(name: str, what: str, value: float, below: float = float("inf")) -> float:
    if not 0 < value < below:
        bounds = f"{what} > 0" + ("" if below == float("inf") else f" and < {below}")
        raise ValueError(message(name, bounds, repr(value), "Choose it within these bounds."))
    return float(value)


class LinearPath(AbstractPath):
    r"""The conditional optimal-transport path of straight lines, $\alpha = t$, $\sigma = 1 - (1 - \sigma_{\min}) t$.

    Args:
        sigma_min: Noise that remains at the data, 0 for none.

    Source: Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, eq. 20, arXiv 2210.02747; Liu, Gong, Liu, 2023, arXiv 2209.03003
        (without noise).
    """

    sigma_min: float = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, sigma_min: float = 0.0):
        if not 0 <= sigma_min < 1:
            raise ValueError(message("LinearPath", "0 <= sigma_min < 1", repr(sigma_min), "0 is straight lines."))
        self.sigma_min, self.start, self.end = float(sigma_min), 0.0, 1.0

    def alpha(self, t: Array) -> Array:
        return t

    def sigma(self, t: Array) -> Array:
        return 1 - (1 - self.sigma_min) * t


class PolynomialPath(AbstractPath):
    r"""The polynomial path, $\alpha = t^p$, $\sigma = 1 - t^p$.

    Args:
        power: Power $p$; 1 gives `LinearPath()`.
    """

    power: float = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, power: float = 2.0):
        self.power = _positive("PolynomialPath", "power", power)
        self.start, self.end = CUT if power < 1 else 0.0, 1.0

    def alpha(self, t: Array) -> Array:
        return t**self.power

    def sigma(self, t: Array) -> Array:
        return 1 - t**self.power


class TrigonometricPath(AbstractPath):
    r"""The trigonometric path $\alpha = \sin(\pi t/2)$, $\sigma = \cos(\pi t/2)$, which keeps a variance of 1.

    Source: Albergo, Vanden-Eijnden, 2023, eq. 2.6, arXiv 2209.15571; Nichol, Dhariwal, 2021 (cosine schedule).
    """

    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self):
        self.start, self.end = 0.0, 1.0

    def alpha(self, t: Array) -> Array:
        return jnp.sin(0.5 * jnp.pi * t)

    def sigma(self, t: Array) -> Array:
        return jnp.cos(0.5 * jnp.pi * t)


def _log_alpha(t: Array, beta_min: float, beta_max: float) -> Array:
    s = 1 - t
    return -0.25 * s**2 * (beta_max - beta_min) - 0.5 * s * beta_min


class VariancePreservingPath(AbstractPath):
    r"""The path of the VP diffusion, $dx = -\frac12\beta(s) x\,ds + \sqrt{\beta(s)}\,dw$ with $s = 1 - t$.

    The rate $\beta$ is linear in $s$.

    $\log\alpha = -\frac14 s^2 (\beta_{\max} - \beta_{\min}) - \frac12 s\,\beta_{\min}$ and $\sigma^2 = 1 - \alpha^2$.

    Args:
        beta_min: $\beta$ at the data.
        beta_max: $\beta$ at the noise.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, eq. 32-33, arXiv 2011.13456.
    """

    beta_min: float = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        self.beta_min = _positive("VariancePreservingPath", "beta_min", beta_min)
        self.beta_max = _positive("VariancePreservingPath", "beta_max", beta_max)
        self.start, self.end = 0.0, 1.0 - CUT

    def alpha(self, t: Array) -> Array:
        return jnp.exp(_log_alpha(t, self.beta_min, self.beta_max))

    def sigma(self, t: Array) -> Array:
        return jnp.sqrt(-jnp.expm1(2 * _log_alpha(t, self.beta_min, self.beta_max)))


class SubVariancePreservingPath(AbstractPath):
    r"""The path of the sub-VP diffusion, with the $\alpha$ of VP and $\sigma = 1 - \alpha^2$.

    Args:
        beta_min: $\beta$ at the data.
        beta_max: $\beta$ at the noise.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, eq. 28-29, arXiv 2011.13456.
    """

    beta_min: float = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0):
        self.beta_min = _positive("SubVariancePreservingPath", "beta_min", beta_min)
        self.beta_max = _positive("SubVariancePreservingPath", "beta_max", beta_max)
        self.start, self.end = 0.0, 1.0 - CUT

    def alpha(self, t: Array) -> Array:
        return jnp.exp(_log_alpha(t, self.beta_min, self.beta_max))

    def sigma(self, t: Array) -> Array:
        return -jnp.expm1(2 * _log_alpha(t, self.beta_min, self.beta_max))


class VarianceExplodingPath(AbstractPath):
    r"""The path of the VE diffusion, $\alpha = 1$, $\sigma = \sigma_{\min} (\sigma_{\max}/\sigma_{\min})^{1 - t}$.

    Its latent distribution is $N(0, \sigma_{\max}^2 I)$, apart from the data that remain in it.

    Args:
        sigma_min: Noise at the data.
        sigma_max: Noise at the latent, about the largest distance between two rows.
        n_levels: Number of noise levels in geometric sequence at which a score is learnt; None takes all levels.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, eq. 30-31, arXiv 2011.13456.
    """

    sigma_min: float = eqx.field(static=True)
    sigma_max: float = eqx.field(static=True)
    n_levels: int | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0, n_levels: int | None = None):
        self.sigma_max = _positive("VarianceExplodingPath", "sigma_max", sigma_max)
        self.sigma_min = _positive("VarianceExplodingPath", "sigma_min", sigma_min, self.sigma_max)
        self.n_levels = None if n_levels is None else check_int("VarianceExplodingPath", "n_levels", n_levels, 1)
        self.start, self.end = 0.0, 1.0

    def alpha(self, t: Array) -> Array:
        return jnp.ones_like(t)

    def sigma(self, t: Array) -> Array:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** (1 - t)
