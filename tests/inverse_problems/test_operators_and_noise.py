"""Operators against loops, adjoints against matrices, likelihoods against SciPy, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.signal import convolve2d

import pushforward as pf
from pushforward.inverse_problems import (
    Blur,
    Downsample,
    Function,
    GaussianNoise,
    InTurn,
    Mask,
    Matrix,
    Noiseless,
    PoissonNoise,
    solve,
)

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
KERNEL = np.array([[0.1, 0.2, 0.0], [0.3, 0.5, 0.1], [0.0, 0.2, 0.4]])
OPERATORS: dict[str, Any] = {
    "mask": Mask(RNG.uniform(size=(2, 3)) < 0.5),
    "blur": Blur([0.2, 0.5, 0.3], (6,), "wrap"),
    "image": Blur(KERNEL, (2, 5, 4), "zero"),
    "edge": Blur(KERNEL, (5, 4), "edge"),
    "reflect": Blur([0.1, 0.2, 0.4, 0.2, 0.1], (6,), "reflect"),
    "downsample": Downsample(2, (3, 4, 6)),
    "matrix": Matrix(RNG.normal(size=(2, 6)), (2, 3)),
    "in turn": InTurn([Blur([0.2, 0.5, 0.3], (6,)), Downsample(3, (6,))]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_linear_operators_have_their_shapes_matrix_and_adjoint(name: str) -> None:
    operator = OPERATORS[name]
    x, y = RNG.normal(size=operator.in_shape), RNG.normal(size=operator.out_shape)
    out, matrix = np.asarray(operator(x)), np.asarray(operator.matrix())
    assert out.shape == operator.out_shape
    assert operator.linear
    np.testing.assert_allclose(out.ravel(), matrix @ x.ravel(), atol=1e-12)
    back = np.asarray(operator.adjoint(y))
    assert back.shape == operator.in_shape
    np.testing.assert_allclose((out * y).sum(), (x * back).sum(), atol=1e-12)


def test_operators_do_what_they_say() -> None:
    image = RNG.normal(size=(2, 5, 4))
    blurred = np.stack([convolve2d(channel, KERNEL, mode="same") for channel in image])
    np.testing.assert_allclose(OPERATORS["image"](image), blurred, atol=1e-12)
    x = RNG.normal(size=(3, 4, 6))
    np.testing.assert_allclose(Downsample(2, x.shape)(x)[1, 1, 2], x[1, 2:4, 4:6].mean(), atol=1e-12)
    signal = RNG.normal(size=6)
    for k in range(6):
        expected = 0.2 * signal[(k + 1) % 6] + 0.5 * signal[k] + 0.3 * signal[k - 1]
        assert float(OPERATORS["blur"](signal)[k]) == pytest.approx(expected)


def test_likelihoods_are_scipys() -> None:
    y, mean, cov = np.array([1.0, 2.0]), np.array([0.5, 2.5]), np.array([[0.5, 0.2], [0.2, 0.3]])
    normals: Any = stats.multivariate_normal
    pairs = [
        (GaussianNoise(0.3), stats.norm.logpdf(y, mean, 0.3).sum()),
        (GaussianNoise([0.3, 0.6]), stats.norm.logpdf(y, mean, [0.3, 0.6]).sum()),
        (GaussianNoise(covariance=cov), normals.logpdf(y, mean, cov)),
        (PoissonNoise(), stats.poisson.logpmf(y, mean).sum()),
    ]
    for noise, expected in pairs:
        assert float(noise.log_likelihood(jnp.asarray(y), jnp.asarray(mean))) == pytest.approx(expected)
    # What a noise draws has the chi-square that it predicts: two on average.
    wide = jnp.broadcast_to(jnp.asarray(mean), (4000, 2))
    for noise, _ in pairs:
        draws = jax.vmap(noise.draw)(jax.random.split(KEY, 4000), wide)
        values = np.asarray(jax.vmap(noise.chi_square)(draws, wide))
        assert abs(values.mean() - 2) < 4 * values.std() / np.sqrt(4000)


NORMAL = pf.StandardNormal((3,))
MATRIX = Matrix([[1.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((NORMAL, [1.0, 2.0], MATRIX, 0.1), ValueError, r"y of shape \(1,\)"),
        ((NORMAL, [np.nan], MATRIX, 0.1), ValueError, "finite y"),
        ((NORMAL, [1.0], Matrix(np.ones((1, 4))), 0.1), ValueError, r"events \(3,\), got one on \(4,\)"),
        ((NORMAL, [1.0], np.ones((4, 3)).T, 0.1), ValueError, "transposed"),
        ((NORMAL, [1.0], "blur", 0.1), TypeError, "an operator"),
        ((NORMAL, [1.0], MATRIX, -0.1), ValueError, "standard deviations > 0"),
        ((NORMAL, [1.0], MATRIX, "none"), TypeError, "noise"),
        ((NORMAL, [1.0], MATRIX, GaussianNoise(covariance=np.eye(2))), ValueError, r"covariance \(1, 1\)"),
        ((NORMAL, [1.0], MATRIX, GaussianNoise(np.ones(2))), ValueError, "shape of the observation"),
        ((NORMAL, [1.5], MATRIX, PoissonNoise()), ValueError, "counts"),
        ((NORMAL, [2.0], MATRIX, PoissonNoise()), ValueError, "rates"),
        ((NORMAL, [1.0], Function(lambda x: x[:1] ** 2, (3,)), Noiseless()), ValueError, "linear operator"),
        ((NORMAL, [1.0, 2.0], np.ones((2, 3)), None), ValueError, "range"),
        ((NORMAL, [1.0], Function(lambda x: jnp.log(x[:1]), (3,)), 0.1), ValueError, "finite at the prior"),
        ((pf.flows.realnvp(KEY, dim=3, condition_dim=2, width=8), [1.0], MATRIX, 0.1), ValueError, "given"),
        (("prior", [1.0], MATRIX, 0.1), TypeError, "a distribution as prior"),
    ],
)
def test_mistakes_are_told(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        solve(*arguments, key=KEY, n_draws=10)


def test_methods_that_do_not_suit_are_refused() -> None:
    for method, words in (("tds", "velocity or score"), ("gibbs", "method one of"), ("exact", "independent draws")):
        prior = pf.StudentT(df=5.0, shape=(3,)) if method == "exact" else NORMAL
        with pytest.raises(ValueError, match=words):
            solve(prior, [1.0], MATRIX, 0.1, method=method, key=KEY)
    with pytest.raises(TypeError, match="JAX key"):
        solve(NORMAL, [1.0], MATRIX, 0.1, key=0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="leaves something open"):
        solve(pf.StudentT(df=5.0, shape=(3,)), np.ones(3), np.eye(3), None, key=KEY)


def test_a_wrong_noise_is_told_by_the_residuals() -> None:
    """The broken twin of a right answer: ten times less noise than there is, and ten times more."""
    operator, prior = Matrix(RNG.normal(size=(40, 3))), pf.StandardNormal((3,))
    y = np.asarray(operator(np.ones(3))) + 0.5 * RNG.normal(size=40)
    right, small, large = (solve(prior, y, operator, sd, key=KEY, n_draws=500) for sd in (0.5, 0.05, 5.0))
    assert right.trustworthy
    assert right.consistency.holds
    assert not small.trustworthy
    assert "do not explain y" in small.verdict
    assert not large.trustworthy
    assert "better than its noise allows" in large.verdict
    assert "chi-square" in right.summary()
    assert "verdict: exact" in right.summary()
