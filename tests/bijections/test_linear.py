"""Linear layers against numpy.linalg, orthogonality far from the start, pixels against a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import (
    AbstractBijection,
    AbstractOrthogonal,
    Cayley,
    Conv1x1,
    FullLinear,
    Householder,
    LowRankLinear,
    MatrixExponential,
    QRLinear,
    TriangularLinear,
)
from pushforward.flows.stack import LINEAR
from pushforward.numerics.householder import compact, leading_columns, reflect
from pushforward.testing import cast, randomise

KEY = jax.random.key(11)


@eqx.filter_jit
def measured(layer: AbstractBijection, y: Any) -> Any:
    """The images of the axes and of 0, the log-determinant, and the inverse of `y`."""
    rows = jnp.concatenate([jnp.eye(len(y)), jnp.zeros((1, len(y)))])
    images, log_dets = jax.vmap(layer.forward_and_log_det)(rows)
    return images, log_dets[0], layer.inverse(y)


def matrix_of(layer: AbstractBijection) -> np.ndarray:
    """The matrix of a linear layer, column by column."""
    images = np.asarray(measured(layer, np.ones(layer.in_shape))[0])
    return (images[:-1] - images[-1]).T


LAYERS: dict[str, Callable[[], AbstractBijection]] = {
    "diagonal": lambda: pf.Affine([0.5, -1.0, 2.0], [2.0, -0.3, 1.5]),
    "lower": lambda: TriangularLinear(KEY, 4),
    "upper": lambda: TriangularLinear(KEY, 4, lower=False),
    "full": lambda: FullLinear(KEY, 4),
    "lu": lambda: pf.LULinear(KEY, 4),
    "qr": lambda: QRLinear(KEY, 4),
    "qr, few reflections": lambda: QRLinear(KEY, 5, 2),
    "low rank": lambda: LowRankLinear(KEY, 6, 2),
    "low rank, whole": lambda: LowRankLinear(KEY, 3, 3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_against_numpy(name: str) -> None:
    layer = randomise(LAYERS[name](), KEY, 0.5)
    y = np.random.default_rng(0).standard_normal(layer.in_shape)
    images, log_det, x = map(np.asarray, measured(layer, y))
    matrix, bias = (images[:-1] - images[-1]).T, images[-1]
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrix)[1], rtol=1e-10)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, y - bias), rtol=1e-9)


def test_shapes_of_matrices() -> None:
    np.testing.assert_allclose(matrix_of(LAYERS["diagonal"]()), np.diag([2.0, -0.3, 1.5]), rtol=1e-14)
    low_rank = randomise(LowRankLinear(KEY, 6, 2), KEY, 0.5)
    inner = (
        matrix_of(low_rank) / np.exp(np.asarray(low_rank.log_scale) / (1 + np.abs(low_rank.log_scale) / 10))[:, None]
    )
    assert np.linalg.matrix_rank(inner - np.eye(6), tol=1e-10) == 2
    wild = randomise(LowRankLinear(KEY, 6, 2), KEY, 3.0)
    assert np.linalg.slogdet(matrix_of(wild))[0] == 1  # never through zero


ORTHOGONAL: dict[str, Callable[[], AbstractOrthogonal]] = {
    "householder": lambda: Householder(KEY, 6),
    "householder, few": lambda: Householder(KEY, 6, 2),
    "householder, many": lambda: Householder(KEY, 3, 7),
    "cayley": lambda: Cayley(KEY, 6),
    "exponential": lambda: MatrixExponential(KEY, 6),
}


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_orthogonal_wherever_training_goes(name: str) -> None:
    """Near the start, after noise as large as training makes it, and in single precision."""
    matrix = eqx.filter_jit(lambda b: b.matrix())
    for scale, dtype, tolerance in ((0.0, jnp.float64, 1e-14), (3.0, jnp.float64, 1e-13), (3.0, jnp.float32, 3e-5)):
        layer = cast(randomise(ORTHOGONAL[name](), KEY, scale), dtype)
        q = np.asarray(matrix(layer), np.float64)
        np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=tolerance)
        np.testing.assert_allclose(matrix_of(layer), q, atol=tolerance)
    # The matrix can be asked for in double precision, and is then orthogonal to that, as scores of a fit need it.
    q = np.asarray(layer.matrix(jnp.float64))
    np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=1e-13)


def test_the_formulas_of_orthogonal_layers() -> None:
    layer = randomise(Householder(KEY, 4, 3), KEY, 1.0)
    expected = np.eye(4)
    for v in np.asarray(layer.vectors):
        expected = expected @ (np.eye(4) - 2 * np.outer(v, v) / (v @ v))
    np.testing.assert_allclose(layer.matrix(), expected, atol=1e-14)
    np.testing.assert_allclose(leading_columns(layer.vectors, 2), expected[:, :2], atol=1e-14)
    x = np.random.default_rng(0).standard_normal((4, 5))
    per_row = jnp.broadcast_to(layer.vectors[..., None], (3, 4, 5))
    np.testing.assert_allclose(reflect(per_row, jnp.asarray(x)), expected @ x, atol=1e-14)
    np.testing.assert_allclose(reflect(per_row, jnp.asarray(x), transpose=True), expected.T @ x, atol=1e-14)
    weight = np.tril(np.asarray(randomise(Cayley(KEY, 4), KEY, 1.0).weight), -1)
    skew = weight - weight.T
    cayley = eqx.tree_at(lambda b: b.weight, Cayley(KEY, 4), jnp.asarray(weight))
    np.testing.assert_allclose(cayley.matrix(), np.linalg.inv(np.eye(4) + skew) @ (np.eye(4) - skew), atol=1e-13)
    exponential = eqx.tree_at(lambda b: b.weight, MatrixExponential(KEY, 4), jnp.asarray(weight))
    values, vectors = np.linalg.eig(skew)
    np.testing.assert_allclose(
        exponential.matrix(), ((vectors * np.exp(values)) @ np.linalg.inv(vectors)).real, atol=1e-12
    )


def test_a_reflection_that_is_not_normalised_is_found() -> None:
    """The broken twin of the orthogonality test: the compact form with vectors of any length."""
    vectors = Householder(KEY, 4).vectors
    unit, mixed = compact(vectors)
    broken = np.eye(4) - np.asarray((1.1 * unit).T @ mixed)
    assert not np.allclose(broken.T @ broken, np.eye(4), atol=1e-3)


def test_a_zero_vector_has_no_reflection() -> None:
    assert np.isnan(eqx.tree_at(lambda b: b.vectors, Householder(KEY, 2, 1), jnp.zeros((1, 2))).matrix()).all()


def test_a_singular_matrix_says_so() -> None:
    layer = eqx.tree_at(lambda b: b.weight, FullLinear(KEY, 2), jnp.ones((2, 2)))
    assert np.isneginf(layer.forward_and_log_det(jnp.ones(2))[1])
    assert np.linalg.cond(np.asarray(layer.weight)) > 1e12
    assert not np.isfinite(layer.inverse(jnp.array([1.0, 2.0]))).all()


@pytest.mark.parametrize("name", ["lu", "qr", "householder", "cayley", "exponential"])
def test_the_mixing_layers_of_the_zoo_score_by_a_product(name: str) -> None:
    layer = randomise(LINEAR[name](KEY, 5), KEY, 0.3)
    x = jnp.linspace(-1.0, 2.0, 5)
    z, log_det = eqx.filter_jit(lambda b, x: b.inverse_and_log_det(x))(layer, x)
    back, other = eqx.filter_jit(lambda b, z: b.forward_and_log_det(z))(layer, z)
    np.testing.assert_allclose(back, x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(log_det, -other, atol=1e-10)
    if name == "lu":
        assert "custom_linear_solve" not in str(jax.make_jaxpr(layer.inverse)(x))
        assert "custom_linear_solve" in str(jax.make_jaxpr(layer.forward)(x))
    # A new layer is near a permutation, but for the reflection that an odd number of them leaves over.
    if name in ("lu", "cayley", "exponential"):
        largest = np.sort(np.abs(matrix_of(pf.Invert(LINEAR[name](KEY, 5)))), axis=1)
        assert (largest[:, -1] > 0.9).all()
        assert (largest[:, -2] < 0.1).all()


# --- pixels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pf.LULinear, Cayley])
def test_a_1x1_convolution_is_a_loop_over_the_pixels(make: Any) -> None:
    inner = randomise(make(KEY, 3), KEY, 0.3)
    conv = Conv1x1(inner, (3, 2, 4))
    images = np.random.default_rng(0).standard_normal((5, 3, 2, 4))

    @jax.jit
    def around(images: Any) -> Any:
        got, log_dets = jax.vmap(conv.forward_and_log_det)(images)
        return got, log_dets, *jax.vmap(conv.inverse_and_log_det)(got)

    got, log_dets, back, inverse_log_dets = map(np.asarray, around(images))
    matrix, bias = matrix_of(inner), np.asarray(inner.forward(jnp.zeros(3)))
    for n in range(5):
        for i in range(2):
            for j in range(4):
                np.testing.assert_allclose(got[n, :, i, j], matrix @ images[n, :, i, j] + bias, rtol=1e-11)
    np.testing.assert_allclose(log_dets, 8 * np.linalg.slogdet(matrix)[1], atol=1e-11)
    np.testing.assert_allclose(inverse_log_dets, -log_dets, atol=1e-11)
    np.testing.assert_allclose(back, images, atol=1e-11)


def test_a_conditional_map_at_every_pixel() -> None:
    inner = randomise(pf.bijections.Radial(KEY, 2, cond_shape=(3,)), KEY, 0.3)
    conv = Conv1x1(inner, (2, 2, 2))
    x, condition = jnp.arange(8.0).reshape(2, 2, 2), jnp.array([0.3, -1.0, 2.0])
    got, log_det = conv.forward_and_log_det(x, condition)
    pixels = jax.vmap(lambda v: inner.forward_and_log_det(v, condition))(x.reshape(2, 4).T)
    np.testing.assert_allclose(got.reshape(2, 4).T, pixels[0], rtol=1e-12)
    np.testing.assert_allclose(log_det, pixels[1].sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: Conv1x1(pf.LULinear(KEY, 2), (3, 2, 2)), ValueError, r"a bijection of shape \(channels,\)"),
        (lambda: Conv1x1(pf.LULinear(KEY, 3), (3,)), ValueError, r"a bijection of shape \(channels,\)"),
        (lambda: LowRankLinear(KEY, 3, 4), ValueError, "LowRankLinear: expected rank"),
        (lambda: Householder(KEY, 3, 0), ValueError, "n_reflections"),
        (lambda: QRLinear(KEY, 0), ValueError, "QRLinear: expected dim"),
    ],
)
def test_errors(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()


def test_actnorm_of_images_is_set_pixel_by_pixel() -> None:
    flow = pf.Flow(pf.StandardNormal((2, 3, 3)), Conv1x1(pf.ActNorm(2), (2, 3, 3)))
    images = 3.0 + 2.0 * np.random.default_rng(0).standard_normal((20, 2, 3, 3))
    latent = np.asarray(pf.initialise(flow, images).encode(images))
    np.testing.assert_allclose(latent.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(latent.std((0, 2, 3)), 1, atol=1e-12)


def test_a_step_on_every_number_of_a_wide_lu_leaves_its_inverse_tame():
    dim, step = 166, -0.03
    layer = pf.LULinear(KEY, dim)
    moved = eqx.tree_at(lambda b: (b.lower, b.upper), layer, (layer.lower + step, layer.upper + step))
    assert jnp.abs(jax.vmap(moved.inverse)(jnp.eye(dim))).max() < 1.5
    # The broken twin: elements that are the trained numbers themselves.
    assert jnp.abs(jnp.linalg.inv(jnp.tril(jnp.full((dim, dim), step), -1) + jnp.eye(dim))).max() > 3
