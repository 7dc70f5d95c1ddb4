"""Priors of any origin under one contract: bounds, SciPy, numpyro, or a distribution of this library."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward.distributions import AbstractDistribution, UniformBox

FIX = 'Pass bounds such as {"a": (0, 1)}, frozen distributions of scipy.stats, one of numpyro, or one of this library.'
# Draws from which the units of a prior without moments of its own are taken.
MEASURED = 4096
# Draws further out than so many standard deviations are those of a heavy-tailed prior.
WIDE = 6.0
# Draws of a parameter count as uniform above this p-value.
UNIFORM = 0.05


class AbstractMargin:
    """The prior of one number."""

    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """The ends of the support, infinite where there is none."""

    @abstractmethod
    def cdf(self, x: np.ndarray) -> np.ndarray:
        """The distribution function."""

    @abstractmethod
    def quantile(self, u: np.ndarray) -> np.ndarray:
        """The inverse of the distribution function."""

    @abstractmethod
    def log_density(self, x: np.ndarray) -> np.ndarray:
        """The log-density; it may be anything outside the ends."""

    @abstractmethod
    def described(self) -> Any:
        """What `prior_from` needs to build it anew, as JSON; None if that is not known."""


@dataclass(frozen=True)
class Uniform(AbstractMargin):
    """A uniform number between two ends."""

    low: float
    high: float

    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return np.clip(self.low + u * (self.high - self.low), self.low, self.high)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return np.full(np.shape(x), -math.log(self.high - self.low))

    def described(self) -> Any:
        return [self.low, self.high]


@dataclass(frozen=True)
class FromSciPy(AbstractMargin):
    """A frozen continuous distribution of scipy.stats."""

    frozen: Any

    def ends(self) -> tuple[float, float]:
        low, high = self.frozen.support()
        return float(low), float(high)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.frozen.cdf(x), np.float64)

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return np.asarray(self.frozen.ppf(u), np.float64)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.frozen.logpdf(x), np.float64)

    def described(self) -> Any:
        numbers = [*self.frozen.args, *self.frozen.kwds.values()]
        if not all(np.ndim(value) == 0 and np.isfinite(value) for value in numbers):
            return None
        keywords = {name: float(value) for name, value in self.frozen.kwds.items()}
        return {"scipy": self.frozen.dist.name, "args": [float(v) for v in self.frozen.args], "keywords": keywords}


@dataclass(frozen=True)
class FromNumpyro(AbstractMargin):
    """One of the independent numbers of a numpyro distribution; `index` is its place in the batch."""

    distribution: Any
    index: int | None

    def _of(self, values: Any, method: str) -> np.ndarray:
        flat = np.asarray(values, np.float64).reshape(-1)
        # The other numbers of the batch get what is meant for this one, of which numpyro may warn.
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.index is None:
                return np.asarray(getattr(self.distribution, method)(flat), np.float64).reshape(np.shape(values))
            size = self.distribution.batch_shape[0]
            rows = getattr(self.distribution, method)(np.repeat(flat[:, None], size, axis=1))
            return np.asarray(rows, np.float64)[:, self.index].reshape(np.shape(values))

    def ends(self) -> tuple[float, float]:
        support = self.distribution.support
        return tuple(  # pyright: ignore[reportReturnType] - two numbers
            float(np.broadcast_to(np.asarray(end), self.distribution.batch_shape or (1,))[self.index or 0])
            for end in (getattr(support, "lower_bound", -math.inf), getattr(support, "upper_bound", math.inf))
        )

    def cdf(self, x: np.ndarray) -> np.ndarray:
        return self._of(x, "cdf")

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self._of(u, "icdf")

    def log_density(self, x: np.ndarray) -> np.ndarray:
        return self._of(x, "log_prob")

    def described(self) -> Any:
        return None


class AbstractPrior:
    """A prior over a vector of named numbers, computed in float64 on the host.

    Attributes:
        names: Name of each number.
        low: Lower ends of the support `(dim,)`; -inf where there is none.
        high: Upper ends.
        spec: What `prior_from` builds it from, as JSON; None if it must be passed again when a model is loaded.
    """

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    spec: Any

    @property
    def dim(self) -> int:
        """The number of parameters."""
        return len(self.names)

    def inside(self, theta: np.ndarray) -> np.ndarray:
        """Which rows `(n,)` lie within the support."""
        return np.asarray(((theta >= self.low) & (theta <= self.high)).all(axis=-1))

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws `(n, dim)`."""

    @abstractmethod
    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Log-densities `(n,)` of rows `(n, dim)`; -inf outside the support."""


class IndependentPrior(AbstractPrior):
    """Independent numbers, each with a distribution function.

    Args:
        names: Name of each number.
        margins: The prior of each number.
    """

    def __init__(self, names: Sequence[str], margins: Sequence[AbstractMargin]):
        self.names, self.margins = tuple(names), tuple(margins)
        ends = np.array([margin.ends() for margin in margins], np.float64).reshape(-1, 2)
        self.low, self.high = ends[:, 0], ends[:, 1]
        specs = [margin.described() for margin in margins]
        self.spec = None if any(spec is None for spec in specs) else dict(zip(names, specs, strict=True))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        u = rng.uniform(size=(n, self.dim))
        return np.stack([margin.quantile(u[:, i]) for i, margin in enumerate(self.margins)], axis=1)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        inside = self.inside(theta)
        held = np.clip(theta, self.low, self.high)
        each = [margin.log_density(held[..., i]) for i, margin in enumerate(self.margins)]
        return np.where(inside, np.sum(each, axis=0), -np.inf)


class WholePrior(AbstractPrior):
    """A prior whose numbers depend on each other, or have no distribution function.

    Args:
        names: Name of each number.
        source: The distribution: SciPy's, numpyro's or one of this library.
        draw: Function of a number of rows and a generator that gives draws.
        log_density: Function of rows that gives log-densities.
        ends: Lower and upper ends of the support.
    """

    def __init__(self, names: Sequence[str], draw: Any, log_density: Any, ends: tuple[Any, Any]):
        self.names, self._draw, self._log_density, self.spec = tuple(names), draw, log_density, None
        self.low, self.high = (np.broadcast_to(np.asarray(end, np.float64), (self.dim,)).copy() for end in ends)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(self._draw(n, rng), np.float64).reshape(n, self.dim)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        inside = self.inside(theta)
        with np.errstate(invalid="ignore"):
            middle = np.where(np.isfinite(self.low) & np.isfinite(self.high), 0.5 * (self.low + self.high), 0.0)
        held = np.where(inside[..., None], theta, np.clip(middle, self.low, self.high))
        return np.where(inside, np.asarray(self._log_density(held), np.float64), -np.inf)


def prior_from(prior: Any, name: str = "NPE") -> AbstractPrior:
    """A prior under the contract, from whatever the user has.

    Args:
        prior: One of: a mapping from names to bounds `(low, high)` or to one-dimensional distributions; a list of
            one-dimensional distributions of scipy.stats or numpyro; one frozen distribution of scipy.stats, such as
            `multivariate_normal`; one distribution of numpyro over numbers or a vector; a distribution of this library
            over a vector; or a prior that was made here.
        name: Name of the object that is told of errors.

    Raises:
        TypeError: The prior is none of these.
        ValueError: Bounds are not ascending and finite, or there is no parameter.
    """
    if isinstance(prior, AbstractPrior):
        return prior
    if isinstance(prior, Mapping):
        return _independent(name, [str(key) for key in prior], list(prior.values()))
    if isinstance(prior, list | tuple):
        return _independent(name, [f"theta_{i}" for i in range(len(prior))], list(prior))
    if isinstance(prior, AbstractDistribution):
        return _from_here(name, prior)
    if _of_numpyro(prior):
        return _from_numpyro(name, prior)
    if _is_frozen(prior):
        return _independent(name, ["theta_0"], [prior])
    if hasattr(prior, "logpdf") and hasattr(prior, "rvs"):
        return _from_scipy(name, prior)
    raise TypeError(message(name, "a prior", f"{type(prior).__name__} {str(prior)[:60]}", FIX))


def _independent(name: str, names: list[str], parts: list[Any]) -> AbstractPrior:
    if not parts:
        raise ValueError(message(name, "a prior of one parameter or more", "none", FIX))
    return IndependentPrior(names, [_margin(name, label, part) for label, part in zip(names, parts, strict=True)])


def _margin(name: str, label: str, part: Any) -> AbstractMargin:
    from scipy import stats

    if isinstance(part, AbstractMargin):
        return part
    if isinstance(part, Mapping):  # of a saved model
        family = getattr(stats, str(part.get("scipy")), None)
        if not isinstance(family, stats.rv_continuous):
            raise ValueError(message(name, "a distribution of scipy.stats", repr(part.get("scipy")), FIX))
        return _frozen_margin(family(*part["args"], **part["keywords"]))
    return _given_margin(name, label, part)


def _frozen_margin(part: Any) -> AbstractMargin:
    if part.dist.name == "uniform" and all(np.isfinite(part.support())):
        return Uniform(*(float(end) for end in part.support()))
    return FromSciPy(part)


def _given_margin(name: str, label: str, part: Any) -> AbstractMargin:
    if _is_frozen(part):
        return _frozen_margin(part)
    if _of_numpyro(part):
        if part.event_shape or part.batch_shape:
            fix = "List one-dimensional ones, or pass the joint distribution alone."
            raise ValueError(message(name, f"a prior of one number for {label}", f"shape {part.shape()}", fix))
        if not _invertible(part):
            fix = "Pass the distribution alone, or one that has cdf and icdf."
            raise ValueError(message(name, f"a prior of {label} with a distribution function", f"{part}", fix))
        return FromNumpyro(part, None)
    if isinstance(part, list | tuple | np.ndarray) and len(part) == 2 and all(np.ndim(end) == 0 for end in part):
        low, high = (float(end) for end in part)
        if not -math.inf < low < high < math.inf:
            fix = "For an unbounded parameter pass a distribution, such as scipy.stats.norm(0, 1)."
            raise ValueError(message(name, f"finite bounds low < high of {label}", f"({low}, {high})", fix))
        return Uniform(low, high)
    raise TypeError(message(name, f"bounds or a distribution for {label}", f"{type(part).__name__}", FIX))


def _is_frozen(part: Any) -> bool:
    from scipy import stats

    return isinstance(getattr(part, "dist", None), stats.rv_continuous)


def _of_numpyro(prior: Any) -> bool:
    return any(base.__module__.startswith("numpyro.distributions") for base in type(prior).__mro__)


def _invertible(distribution: Any) -> bool:
    try:
        middle = distribution.icdf(np.full(distribution.batch_shape, 0.5))
        return bool(np.isfinite(np.asarray(distribution.cdf(middle))).all())
    except NotImplementedError:
        return False


def _from_numpyro(name: str, prior: Any) -> AbstractPrior:
    inner = prior
    while type(inner).__name__ in ("Independent", "ExpandedDistribution"):
        inner = inner.base_dist
    shape = tuple(prior.batch_shape) + tuple(prior.event_shape)
    if len(shape) > 1:
        raise ValueError(message(name, "a prior over numbers or one vector", f"shape {shape}", "Flatten it."))
    dim = shape[0] if shape else 1
    names = [f"theta_{i}" for i in range(dim)]
    if not inner.event_shape and _invertible(inner):
        whole = inner.expand(shape) if inner.batch_shape != shape and shape else inner
        margins = [FromNumpyro(whole, i if shape else None) for i in range(dim)]
        return IndependentPrior(names, margins)
    support = prior.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    ends = getattr(support, "lower_bound", -math.inf), getattr(support, "upper_bound", math.inf)

    def draw(n: int, rng: np.random.Generator) -> Any:
        return prior.sample(jax.random.key(int(rng.integers(2**31))), (n,))

    def log_density(theta: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            found = np.asarray(prior.log_prob(theta if shape else theta[..., 0]), np.float64)
        return found if found.ndim < theta.ndim else found.sum(axis=-1)

    return WholePrior(names, draw, log_density, ends)


def _from_scipy(name: str, prior: Any) -> AbstractPrior:
    dim = int(np.size(prior.rvs(random_state=np.random.default_rng(0))))

    def draw(n: int, rng: np.random.Generator) -> Any:
        return prior.rvs(n, random_state=rng)

    return WholePrior([f"theta_{i}" for i in range(dim)], draw, prior.logpdf, (-math.inf, math.inf))


def _from_here(name: str, prior: AbstractDistribution) -> AbstractPrior:
    if len(prior.event_shape) != 1 or prior.cond_shape is not None or prior.needs_key:
        got = f"events of shape {prior.event_shape}"
        raise ValueError(message(name, "an unconditional prior over a vector, with an exact density", got, FIX))
    names = [f"theta_{i}" for i in range(prior.event_shape[0])]
    if isinstance(prior, UniformBox):
        ends = zip(np.asarray(prior.low.value, float), np.asarray(prior.high.value, float), strict=True)
        return IndependentPrior(names, [Uniform(float(low), float(high)) for low, high in ends])

    def draw(n: int, rng: np.random.Generator) -> Any:
        return prior.sample(jax.random.key(int(rng.integers(2**31))), n)

    def log_density(theta: np.ndarray) -> np.ndarray:
        return np.asarray(prior.log_prob(theta.astype(np.float32)), np.float64)

    return WholePrior(names, draw, log_density, (-math.inf, math.inf))


def prior_of_draws(
    theta: np.ndarray, names: Sequence[str], bounds: Mapping[str, tuple[float, float]]
) -> tuple[AbstractPrior, tuple[str, ...]]:
    """What stands for the prior where only draws from it are known: it sets the units, and the support of bounded ones.

    A parameter whose draws look uniform has the bounds that they reach, a little widened. Another has none.

    Args:
        theta: Draws `(n, dim)`.
        names: Name of each parameter.
        bounds: Bounds of parameters by name, which are taken as they are.

    Returns:
        The prior, and a sentence for each parameter.
    """
    from scipy import stats

    margins: list[AbstractMargin] = []
    words = []
    for i, name in enumerate(names):
        column = theta[np.isfinite(theta[:, i]), i]
        low, high = (float(end) for end in (column.min(), column.max())) if len(column) else (0.0, 0.0)
        reach = (high - low) / max(len(column) - 1, 1)
        box = stats.uniform(low - reach, high - low + 2 * reach)
        looks = high > low and stats.kstest(column, box.cdf).pvalue > UNIFORM
        if name in bounds:
            margins.append(_given_margin("infer", name, tuple(bounds[name])))
            words.append(f"{name} lies in [{bounds[name][0]:g}, {bounds[name][1]:g}], as --bounds says.")
        elif looks:
            margins.append(Uniform(low - reach, high + reach))
            words.append(f"{name} looks uniform: it is held to [{low - reach:.6g}, {high + reach:.6g}].")
        else:
            loc, scale = np.median(column), max(float(np.std(column)), 1e-12)
            heavy = np.abs(column - loc).max() > WIDE * scale
            margins.append(FromSciPy(stats.t(2.0, loc, scale / 2) if heavy else stats.norm(loc, scale)))
            words.append(f"{name} does not look uniform: it has no bounds.")
    return IndependentPrior(names, margins), tuple(words)
