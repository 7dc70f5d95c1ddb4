"""Paths against their diffusions' formulas, and the table of conversions against pairs of noise and data."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.paths import (
    AbstractPath,
    LinearPath,
    PolynomialPath,
    SubVariancePreservingPath,
    TrigonometricPath,
    VarianceExplodingPath,
    VariancePreservingPath,
    base,
    convert,
)
from pushforward.paths.base import PREDICTIONS

PATHS: list[AbstractPath] = [
    LinearPath(),
    LinearPath(0.05),
    PolynomialPath(2.0),
    PolynomialPath(0.5),
    TrigonometricPath(),
    VariancePreservingPath(),
    SubVariancePreservingPath(),
    VarianceExplodingPath(),
]
TIMES = np.linspace(0.15, 0.95, 9)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_each_prediction_gives_the_others(path: AbstractPath) -> None:
    rng = np.random.default_rng(0)
    noise, data = rng.standard_normal((2, 3, len(TIMES)))
    x, velocity = path.between(jnp.asarray(TIMES), noise, data)
    true = {"velocity": velocity, "noise": noise, "data": data, "score": -noise / path.sigma(jnp.asarray(TIMES))}
    for have, want in itertools.product(PREDICTIONS, PREDICTIONS):
        got = convert(path, jnp.asarray(TIMES), x, jnp.asarray(true[have]), have, want)
        np.testing.assert_allclose(got, true[want], rtol=1e-6, atol=1e-6, err_msg=f"{have} to {want}")


def not_finite(path: AbstractPath) -> list[tuple[float, str, str]]:
    """Which conversions, or their slopes, are not finite in float32 at the ends, beside them and beyond them."""
    x = 1e3 * jnp.array([1.0, -2.0, 0.5], jnp.float32)
    value = 1e3 * jnp.array([-0.3, 2.0, 1.0], jnp.float32)
    inside = np.nextafter(np.array([path.start, path.end], np.float32), np.float32(0.5))
    found = []
    for t in {0.0, 1.0, path.start, path.end, *inside.tolist()}:
        for have, want in itertools.product(PREDICTIONS, PREDICTIONS):
            pair, ones = (x, value), (jnp.ones_like(x), jnp.ones_like(x))
            table = functools.partial(convert, path, jnp.float32(t), have=have, want=want)
            got, slope = jax.jvp(table, pair, ones)
            assert got.dtype == jnp.float32
            if not (np.isfinite(got).all() and np.isfinite(slope).all()):
                found.append((t, have, want))
    return found


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_finite_at_the_ends(path: AbstractPath) -> None:
    assert not_finite(path) == []


def test_divisions_by_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken twin: the table without what keeps its divisors from 0."""
    monkeypatch.setattr(base, "SMALLEST", 0.0)
    assert not_finite(LinearPath()) != []


def test_diffusions_of_song() -> None:
    r"""The general formula for g^2 gives beta, beta (1 - alpha^4) and 2 sigma^2 log(sigma_max/sigma_min)."""
    s = 1 - jnp.asarray(TIMES)
    beta = 0.1 + s * 19.9
    vp, sub, ve = VariancePreservingPath(), SubVariancePreservingPath(), VarianceExplodingPath()
    np.testing.assert_allclose(vp.diffusion_squared(1 - s), beta, rtol=1e-9)
    np.testing.assert_allclose(sub.diffusion_squared(1 - s), beta * (1 - sub.alpha(1 - s) ** 4), rtol=1e-9)
    expected = 2 * ve.sigma(1 - s) ** 2 * np.log(50 / 0.01)
    np.testing.assert_allclose(ve.diffusion_squared(1 - s), expected, rtol=1e-9)
    np.testing.assert_allclose(vp.alpha(1 - s) ** 2 + vp.sigma(1 - s) ** 2, 1.0, rtol=1e-12)


def test_a_wrong_sign_is_found() -> None:
    """The broken twin: a score taken for its negative gives another velocity."""
    path, t, x = VariancePreservingPath(), jnp.asarray(0.5), jnp.ones(2)
    good = convert(path, t, x, -x, "score", "velocity")
    assert not np.allclose(good, convert(path, t, x, x, "score", "velocity"))


def test_errors() -> None:
    with pytest.raises(ValueError, match="one of velocity, score"):
        convert(LinearPath(), jnp.asarray(0.5), jnp.ones(1), jnp.ones(1), "x0", "data")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma_min"):
        LinearPath(1.0)
    with pytest.raises(ValueError, match="sigma_min > 0 and < 50"):
        VarianceExplodingPath(60.0, 50.0)


def test_derivatives_are_those_of_the_coefficients() -> None:
    for path in PATHS:
        c = path.at(jnp.asarray(0.4))
        step = 1e-6
        slope = (path.sigma(jnp.asarray(0.4 + step)) - path.sigma(jnp.asarray(0.4 - step))) / (2 * step)
        np.testing.assert_allclose(c.sigma_dot, slope, rtol=1e-6, atol=1e-8)
        assert jax.eval_shape(path.alpha, jnp.zeros(3)).shape == (3,)
