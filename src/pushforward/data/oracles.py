"""Distributions with exact densities to hold fitted models against: seeded draws, log-densities, entropies in nats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln, logsumexp

LOG_2PI = float(np.log(2 * np.pi))


def _rows(name: str, x: np.ndarray, dim: int) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != dim:
        raise ValueError(f"{name}.log_prob: expected rows of shape (n, {dim}), got {x.shape}. Reshape x.")
    return x


def _gaussian_log_prob(x: np.ndarray, mean: np.ndarray, cholesky: np.ndarray) -> np.ndarray:
    z = np.linalg.solve(cholesky, (x - mean).T)
    return -0.5 * (z**2).sum(0) - np.log(np.diag(cholesky)).sum() - 0.5 * len(mean) * LOG_2PI


def random_covariance(dim: int, seed: int = 0) -> np.ndarray:
    """A full covariance matrix `(dim, dim)` of condition number about 10, from a seed."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    return rotation * np.geomspace(0.3, 3.0, dim) @ rotation.T


@dataclass(frozen=True)
class Gaussian:
    r"""$N(\mu, \Sigma)$.

    Args:
        mean: `(dim,)`.
        covariance: `(dim, dim)`, positive definite.

    Example:
        >>> import numpy as np
        >>> from pushforward.data import Gaussian
        >>> round(Gaussian(np.zeros(2), np.eye(2)).entropy, 4)
        2.8379
    """

    mean: np.ndarray
    covariance: np.ndarray

    @property
    def dim(self) -> int:
        """The number of columns."""
        return len(self.mean)

    @property
    def entropy(self) -> float:
        """In nats, closed form."""
        return 0.5 * (self.dim * (1 + LOG_2PI) + float(np.linalg.slogdet(self.covariance)[1]))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Nats of rows `(n, dim)`."""
        return _gaussian_log_prob(_rows("Gaussian", x, self.dim), self.mean, np.linalg.cholesky(self.covariance))

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` rows; the same seed gives the same rows."""
        z = np.random.default_rng(seed).standard_normal((n, self.dim))
        return self.mean + z @ np.linalg.cholesky(self.covariance).T


@dataclass(frozen=True)
class GaussianMixture:
    r"""$\sum_k w_k N(\mu_k, \Sigma_k)$; its entropy has no closed form.

    Args:
        weights: `(k,)`, positive, summing to one.
        means: `(k, dim)`.
        covariances: `(k, dim, dim)`.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def dim(self) -> int:
        """The number of columns."""
        return self.means.shape[1]

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Nats of rows `(n, dim)`."""
        x = _rows("GaussianMixture", x, self.dim)
        factors = np.linalg.cholesky(self.covariances)
        parts = [_gaussian_log_prob(x, mean, factor) for mean, factor in zip(self.means, factors, strict=True)]
        return np.asarray(logsumexp(np.log(self.weights)[:, None] + np.stack(parts), axis=0))

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` rows; the same seed gives the same rows."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.weights), size=n, p=self.weights)
        z = rng.standard_normal((n, self.dim))
        return self.means[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(self.covariances)[which], z)


@dataclass(frozen=True)
class Banana:
    r"""The twisted Gaussian: $x_1 \sim N(0, s^2)$, $x_2 = z_2 + b (x_1^2 - s^2)$, the rest standard normal.

    The twist preserves volume, so the entropy is that of the Gaussian before it.

    Args:
        dim: columns, 2 or more.
        bend: $b$.
        scale: $s$.

    Source:
        Haario, Saksman, Tamminen, 1999, Computational Statistics 14.
    """

    dim: int = 2
    bend: float = 0.5
    scale: float = 1.5

    @property
    def entropy(self) -> float:
        """In nats, closed form."""
        return 0.5 * self.dim * (1 + LOG_2PI) + float(np.log(self.scale))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Nats of rows `(n, dim)`."""
        z = _rows("Banana", x, self.dim).copy()
        z[:, 1] -= self.bend * (z[:, 0] ** 2 - self.scale**2)
        z[:, 0] /= self.scale
        return -0.5 * (z**2).sum(1) - 0.5 * self.dim * LOG_2PI - np.log(self.scale)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` rows; the same seed gives the same rows."""
        x = np.random.default_rng(seed).standard_normal((n, self.dim))
        x[:, 0] *= self.scale
        x[:, 1] += self.bend * (x[:, 0] ** 2 - self.scale**2)
        return x


@dataclass(frozen=True)
class Funnel:
    r"""Neal's funnel: $v \sim N(0, s^2)$ in the first column, the others $N(0, e^v)$ given it.

    Args:
        dim: columns, 2 or more.
        scale: $s$, the standard deviation of $v$; 3 in the original.

    Source:
        Neal, 2003, Annals of Statistics 31, section 8.
    """

    dim: int = 2
    scale: float = 3.0

    @property
    def entropy(self) -> float:
        """In nats, closed form: the log-scales of the other columns average to zero."""
        return 0.5 * self.dim * (1 + LOG_2PI) + float(np.log(self.scale))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Nats of rows `(n, dim)`."""
        x = _rows("Funnel", x, self.dim)
        v, rest = x[:, 0], x[:, 1:]
        log_scale = np.log(self.scale) + 0.5 * (self.dim - 1) * v
        squares = (v / self.scale) ** 2 + ((rest * np.exp(-0.5 * v)[:, None]) ** 2).sum(1)
        return -0.5 * squares - log_scale - 0.5 * self.dim * LOG_2PI

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` rows; the same seed gives the same rows."""
        x = np.random.default_rng(seed).standard_normal((n, self.dim))
        x[:, 0] *= self.scale
        x[:, 1:] *= np.exp(0.5 * x[:, :1])
        return x


@dataclass(frozen=True)
class MultivariateT:
    r"""The multivariate Student-t with `df` degrees of freedom, location $\mu$ and shape matrix $\Sigma$.

    Args:
        df: degrees of freedom, positive; 2 has no variance.
        mean: the location, `(dim,)`.
        shape: the shape matrix, `(dim, dim)`, positive definite.
    """

    df: float
    mean: np.ndarray
    shape: np.ndarray

    @property
    def dim(self) -> int:
        """The number of columns."""
        return len(self.mean)

    def _log_normaliser(self) -> float:
        half, d = 0.5 * self.df, self.dim
        log_det = float(np.linalg.slogdet(self.shape)[1])
        return float(gammaln(half) - gammaln(half + d / 2)) + 0.5 * d * float(np.log(self.df * np.pi)) + 0.5 * log_det

    @property
    def entropy(self) -> float:
        """In nats, closed form."""
        half, d = 0.5 * self.df, self.dim
        return self._log_normaliser() + (half + d / 2) * float(digamma(half + d / 2) - digamma(half))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Nats of rows `(n, dim)`."""
        x = _rows("MultivariateT", x, self.dim)
        z = np.linalg.solve(np.linalg.cholesky(self.shape), (x - self.mean).T)
        power = 0.5 * (self.df + self.dim)
        return -self._log_normaliser() - power * np.log1p((z**2).sum(0) / self.df)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` rows; the same seed gives the same rows."""
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((n, self.dim)) @ np.linalg.cholesky(self.shape).T
        return self.mean + z / np.sqrt(rng.chisquare(self.df, size=(n, 1)) / self.df)
