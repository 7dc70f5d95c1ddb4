"""The kernel density among the baselines: Gaussian kernels, whitened or not, bandwidth by leaving rows out."""

from __future__ import annotations

import math

import numpy as np

from pushforward.metrics._arrays import groups_of_copies

# Bandwidths in units of Scott's: the first grid, and how far it may grow where the best lies at its end.
STEP = math.sqrt(2)
FIRST_STEPS = (-8, 4)
MOST_STEPS = (-20, 24)
REFINEMENTS = 6
QUERIES = 1500  # rows left out in turn; the others still carry kernels
CHUNK = 2**22  # distances held at once
LOG_2PI = math.log(2 * math.pi)


def kernel_density(x: np.ndarray, w: np.ndarray, y: np.ndarray, seed: int, budget: float) -> tuple[np.ndarray, str]:
    r"""Score `y` under $\sum_j w_j N(x_j, h^2 C)$, $C$ the unit matrix or the covariance of the rows.

    Both the kind of $C$ and $h$ maximise $\sum_i w_i \log \frac{1}{1 - w_i} \sum_{j \ne i} w_j N(x_i; x_j, h^2 C)$.

    Args:
        x: rows `(n, d)` in columns of about unit scale.
        w: their weights `(n,)`, summing to one.
        y: rows to score `(m, d)`.
        seed: of the rows that are left out, where there are many.
        budget: multiplications for the choice of the bandwidth; less of it, fewer rows are left out.

    Returns:
        Log-density of `y`, nats, and what was fitted.

    Raises:
        ValueError: fewer than three rows.
    """
    group = groups_of_copies(x)
    if group is not None:  # a row's copies are left out with it, or no bandwidth were small enough
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
    a, b = np.linalg.solve(factor, x.T).T, np.linalg.solve(factor, y.T).T
    detail = f"Gaussian kernels on {kind} columns, bandwidth {bandwidth:.3g} ({bandwidth / scott:.2g} of Scott's)"
    if step <= MOST_STEPS[0] + 1:
        detail += "; rows repeat, so the smallest bandwidth tried was best"
    return _log_density(a, w, b, bandwidth) - log_volume, detail


def _metrics(x: np.ndarray, w: np.ndarray) -> dict[str, np.ndarray]:
    """Triangular factors of the kernel's covariance: the unit matrix, and that of the rows where it has an inverse."""
    d = x.shape[1]
    kinds = {"standardised": np.eye(d)}
    if d > 1 and len(x) > d:
        centred = x - w @ x
        covariance = (centred * w[:, None]).T @ centred
        if np.linalg.eigvalsh(covariance)[0] > 1e-10 * np.trace(covariance) / d:  # else whitening blows up rounding
            kinds["whitened"] = np.linalg.cholesky(covariance)
    return kinds


def _best_bandwidth(a: np.ndarray, w: np.ndarray, left_out: np.ndarray, scott: float) -> tuple[float, float]:
    """The best mean log-density of rows left out, and the bandwidth's place: powers of STEP from Scott's."""
    d = a.shape[1]
    squares = _squares(a[left_out], a)
    squares[np.arange(len(left_out)), left_out] = np.inf
    nearest = _take_nearest(squares)
    constant = -np.log1p(-w[left_out]) - 0.5 * d * LOG_2PI
    share = w[left_out] / w[left_out].sum()
    seen: dict[float, float] = {}

    def score(step: float) -> None:
        if step not in seen:
            h = scott * STEP**step
            value = float(share @ (_log_kernel_sum(squares, nearest, w, h) + constant)) - d * math.log(h)
            seen[step] = value if math.isfinite(value) else -math.inf

    low, high = FIRST_STEPS
    for step in range(low, high + 1, 2):
        score(step)
    while True:
        best = max(seen, key=lambda step: seen[step])
        if best == low and low > MOST_STEPS[0]:
            low -= 2
            score(low)
        elif (best == high or seen[best] == -math.inf) and high < MOST_STEPS[1]:
            high += 2
            score(high)
        else:
            break
    width = 1.0
    for _ in range(REFINEMENTS):
        best = max(seen, key=lambda step: seen[step])
        score(best - width)
        score(best + width)
        width /= 2
    best = max(seen, key=lambda step: seen[step])
    return seen[best], best


def _log_density(a: np.ndarray, w: np.ndarray, b: np.ndarray, h: float) -> np.ndarray:
    """Log-density of `b` under kernels at `a`, a chunk at a time."""
    d = a.shape[1]
    size = max(1, CHUNK // len(a))
    parts = []
    for i in range(0, len(b), size):
        squares = _squares(b[i : i + size], a)
        nearest = _take_nearest(squares)
        parts.append(_log_kernel_sum(squares, nearest, w, h))
    return np.concatenate(parts) - d * math.log(h) - 0.5 * d * LOG_2PI


def _take_nearest(squares: np.ndarray) -> np.ndarray:
    """The least of each row, subtracted in place; zero where even that is infinite, so that the density is zero."""
    nearest = squares.min(axis=1)
    nearest[np.isinf(nearest)] = 0.0
    squares -= nearest[:, None]
    return nearest


def _log_kernel_sum(squares: np.ndarray, nearest: np.ndarray, w: np.ndarray, h: float) -> np.ndarray:
    """Log of the weighted sum of exp(-squares / 2 h^2), the nearest row's square taken out of `squares` already."""
    size = max(1, CHUNK // len(w))
    sums = [np.exp(squares[i : i + size] * (-0.5 / h**2)) @ w for i in range(0, len(squares), size)]
    return np.log(np.concatenate(sums)) - nearest / (2 * h * h)


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances `(n, m)` from differences: a product of matrices loses the nearest to rounding."""
    from scipy.spatial.distance import cdist

    return cdist(a, b, "sqeuclidean")
