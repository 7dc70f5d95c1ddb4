"""The kernel density among the baselines; rows that are left out choose its bandwidth and its whitening."""

from __future__ import annotations

import math

import numpy as np

from pushforward.metrics._arrays import groups_of_copies

# Bandwidths are powers of STEP in units of Scott's: the grid of powers, and the tolerance of the search near the best.
STEP, LEAST, MOST, APART, CLOSE = math.sqrt(2), -20, 24, 4, 0.02
QUERIES = 1500  # rows left out in turn; the others still carry kernels
CHUNK = 2**22  # distances held at once
LOG_2PI = math.log(2 * math.pi)


def kernel_density(x: np.ndarray, w: np.ndarray, y: np.ndarray, seed: int, budget: float) -> tuple[np.ndarray, str]:
    r"""Score `y` under $\sum_j w_j N(x_j, h^2 C)$, $C$ the unit matrix or the covariance of the rows.

    Both the kind of $C$ and $h$ maximise $\sum_i w_i \log \frac{1}{1 - w_i} \sum_{j \ne i} w_j N(x_i; x_j, h^2 C)$.

    Args:
        x: Training rows `(n, d)` in columns of about unit scale.
        w: Weights `(n,)` of the training rows, which sum to one.
        y: Rows to score `(m, d)`.
        seed: Seed by which the rows that are left out are chosen, if there are many.
        budget: Number of multiplications for the choice of the bandwidth; a smaller budget leaves out fewer rows.

    Returns:
        Log-density of `y` in nats, and a description of what was fitted.

    Raises:
        ValueError: There are fewer than three rows.
    """
    group = groups_of_copies(x)
    if group is not None:  # the copies of a row are left out with it; otherwise no bandwidth would be small enough
        _, first = np.unique(group, return_index=True)
        x, w = x[first], np.bincount(group, weights=w)
    n, d = x.shape
    if n < 3:
        raise ValueError(f"{n} rows are too few to choose a bandwidth")
    # The distances cost d each, once; the exponentials of about 20 bandwidths some 25 multiplications each.
    affordable = int(budget / (2 * n * (d + 20 * 25)))
    queries = min(n, max(min(QUERIES, affordable), 50))
    left_out = np.sort(np.random.default_rng(seed).choice(n, queries, replace=False))
    scott = n ** (-1 / (d + 4))
    tried = {}
    for kind, factor in _metrics(x, w).items():
        a = np.linalg.solve(factor, x.T).T
        log_volume = float(np.log(np.diag(factor)).sum())
        score, step = _best_bandwidth(a, w, left_out, scott)
        tried[kind] = (score - log_volume, step, factor, log_volume)
    kind = max(tried, key=lambda name: tried[name][0])
    score, step, factor, log_volume = tried[kind]
    if not math.isfinite(score):
        raise ValueError("no bandwidth gives every training row a finite density")
    bandwidth = scott * STEP**step
    detail = f"Gaussian kernels on {kind} columns, bandwidth {bandwidth:.3g} ({bandwidth / scott:.2g} of Scott's)"
    if step <= LEAST + 1:
        detail += "; rows repeat, so the smallest bandwidth tried was best"
    a, b = np.linalg.solve(factor, x.T).T, np.linalg.solve(factor, y.T).T
    return _log_density(a, w, b, bandwidth) - log_volume, detail


def _log_density(a: np.ndarray, w: np.ndarray, b: np.ndarray, h: float) -> np.ndarray:
    """Log-density of `b` under kernels at `a`.

    The `KernelDensity` of scikit-learn is not used: far from all kernels its tree loses the sum to rounding, and it
    gives -130 where -202 is right.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    n, d = a.shape
    size = max(1, CHUNK // n)
    some = np.split(b, range(size, len(b), size))
    parts = [np.asarray(logsumexp(cdist(rows, a, "sqeuclidean") * (-0.5 / h**2), b=w, axis=1)) for rows in some]
    return np.concatenate(parts) - d * math.log(h) - 0.5 * d * LOG_2PI


def _metrics(x: np.ndarray, w: np.ndarray) -> dict[str, np.ndarray]:
    """Triangular factors of the kernel's covariance: the unit matrix, and that of the rows where it has an inverse."""
    d = x.shape[1]
    kinds = {"standardised": np.eye(d)}
    if d > 1 and len(x) > d:
        covariance = np.atleast_2d(np.cov(x.T, aweights=w, bias=True))
        if (
            np.linalg.eigvalsh(covariance)[0] > 1e-10 * np.trace(covariance) / d
        ):  # otherwise whitening amplifies rounding
            kinds["whitened"] = np.linalg.cholesky(covariance)
    return kinds


def _best_bandwidth(a: np.ndarray, w: np.ndarray, left_out: np.ndarray, scott: float) -> tuple[float, float]:
    """The best mean log-density of rows left out, and its bandwidth as a power of STEP in units of Scott's."""
    from scipy.optimize import minimize_scalar
    from scipy.spatial.distance import cdist

    d = a.shape[1]
    squares = cdist(a[left_out], a, "sqeuclidean")  # from differences: a product would lose the nearest to rounding
    squares[np.arange(len(left_out)), left_out] = np.inf
    nearest = squares.min(axis=1)
    squares -= nearest[:, None]
    share = w[left_out] / w[left_out].sum()
    constant = float(share @ -np.log1p(-w[left_out])) - 0.5 * d * LOG_2PI

    def loss(step: float) -> float:
        h = scott * STEP**step
        sums = np.log(np.exp(squares * (-0.5 / h**2)) @ w) - nearest / (2 * h * h)
        return d * math.log(h) - float(share @ sums) - constant

    grid = np.arange(LEAST, MOST + 1, APART)
    best = grid[int(np.argmin([loss(float(step)) for step in grid]))]
    found = minimize_scalar(
        loss, bounds=(best - APART, best + APART), method="bounded", options={"xatol": CLOSE, "maxiter": 12}
    )
    return -float(found.fun), float(found.x)
