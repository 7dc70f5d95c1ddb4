"""Splines and maps of the circle: against their formulas, on their knots with wild parameters, and their gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

import pushforward as pf
from marks import split
from pushforward._types import Array
from pushforward.bijections import (
    CircularSplineMap,
    CubicSplineMap,
    LinearRationalSplineMap,
    LinearSplineMap,
    MoebiusMap,
    QuadraticSplineMap,
)
from pushforward.numerics.angles import wrap

BINS, BOUND, N = 4, 5.0, 1024
SPLINES = [kind(BINS, BOUND) for kind in (LinearSplineMap, QuadraticSplineMap, CubicSplineMap, LinearRationalSplineMap)]
CIRCULAR = [CircularSplineMap(BINS), MoebiusMap(3)]
MAPS: dict[str, Any] = {type(m).__name__: m for m in [*SPLINES, *CIRCULAR]}
DTYPES = [np.float32, np.float64]
all_maps = pytest.mark.parametrize("name", MAPS)
splines = pytest.mark.parametrize("name", [type(m).__name__ for m in SPLINES])


def bound_of(name: str) -> float:
    return getattr(MAPS[name], "bound", math.pi)


@functools.cache
def examine(name: str, dtype: Any = np.float64) -> Callable[[Any, Any, Any], dict[str, np.ndarray]]:
    """Both directions from `x` and from `y` and their gradients, as one program; in float32 round trips too.

    Compiled by hand, so that the program outlives the clearing of JAX's caches between tests.
    """
    scalar_map = MAPS[name]

    def total(run: Any, x: Array, params: Array) -> tuple[Array, tuple[Array, Array]]:
        out, log_slope = run(x, params)
        return jnp.sum(out) + jnp.sum(log_slope), (out, log_slope)

    def run(x: Array, y: Array, params: Array) -> dict[str, Array]:
        there, back = scalar_map.forward_and_log_det, scalar_map.inverse_and_log_det
        out: dict[str, Array] = {}
        for side, first, second, at in (("x", there, back, x), ("y", back, there, y)):
            gradients, (image, log_slope) = jax.grad(functools.partial(total, first), (0, 1), has_aux=True)(at, params)
            own = {"image": image, "log_slope": log_slope, "by_value": gradients[0], "by_params": gradients[1]}
            if dtype == np.float32:
                own["back"], own["back_log_slope"] = second(image, params)
                own["again"] = first(own["back"], params)[0]
            else:
                own["slope"] = jax.grad(lambda a, first=first: jnp.sum(first(a, params)[0]))(at)
            out |= {f"{side}_{what}": array for what, array in own.items()}
        return out

    column, rows = jax.ShapeDtypeStruct((N,), dtype), jax.ShapeDtypeStruct((scalar_map.n_params, N), dtype)
    program = jax.jit(run).lower(column, column, rows).compile()
    return lambda x, y, params: {key: np.asarray(a) for key, a in program(x, y, params).items()}


def draw(name: str, spread: float, dtype: Any = np.float64) -> np.ndarray:
    rng = np.random.default_rng(int(spread) + 1)
    return (spread * rng.standard_normal((MAPS[name].n_params, N))).astype(dtype)


def distance(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """On the line, or on the circle."""
    gap = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
    return np.minimum(gap, 2 * np.pi - gap) if bound_of(name) == math.pi else gap


def edges(raw: np.ndarray, bound: float) -> np.ndarray:
    """All knots of a softmax, `(bins + 1, n)`."""
    exps = np.exp(raw - raw.max(0))
    sizes = 2 * bound * (1e-3 + (1 - 1e-3 * len(raw)) * exps / exps.sum(0))
    return np.concatenate([np.full((1, raw.shape[1]), -bound), -bound + np.cumsum(sizes, axis=0)])


def knots_of(name: str, params: np.ndarray) -> np.ndarray:
    """The knots in x: evenly spaced, or a softmax of the first rows."""
    if name == "LinearSplineMap":
        return np.repeat(np.linspace(-BOUND, BOUND, BINS + 1)[:, None], N, axis=1)
    return edges(params[:BINS].astype(np.float64), bound_of(name))


def near_knots(name: str, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots in x and in y, or one or two floats beside them; an eighth of each at the bounds, or a float inside."""
    rng, dtype, bound = np.random.default_rng(5), params.dtype.type, bound_of(name)
    if name == "MoebiusMap":
        x = y = rng.uniform(-bound, bound, N)
    else:
        x = knots_of(name, params)[rng.integers(1, BINS, size=N), np.arange(N)]
        y = examine(name)(x, x, params.astype(np.float64))["x_image"]
    out = []
    for side in (x, y):
        at, steps = np.array(side).astype(dtype), rng.integers(-2, 3, size=N)
        for least in (1, 2):
            at = np.where(np.abs(steps) >= least, np.nextafter(at, dtype(9) * np.sign(steps).astype(dtype)), at)
        ends = dtype(bound) * np.sign(rng.standard_normal(N // 8)).astype(dtype)
        at[: N // 8] = np.where(rng.integers(2, size=N // 8) == 0, ends, np.nextafter(ends, dtype(0)))
        out.append(np.clip(at, -dtype(bound), dtype(bound)))
    return out[0], out[1]


@pytest.mark.parametrize("name", split(MAPS, lambda name: name == "CubicSplineMap"))
def test_on_the_knots_with_wild_parameters(name: str) -> None:
    """In float32, where rounding finds what there is to find; the laws try the knots in both types."""
    dtype, bound, eps = np.float32, bound_of(name), float(np.finfo(np.float32).eps)
    for spread in (0.0, 1.0, 3.0, 8.0):
        params = draw(name, spread, dtype)
        x, y = near_knots(name, params)
        got = examine(name, dtype)(x, y, params)
        assert all(np.all(np.isfinite(array)) for array in got.values())
        assert all(array.dtype == dtype for array in got.values())
        for side in "xy":
            assert np.all(np.abs(got[f"{side}_image"]) <= bound)
            # Rounding the start moves the image by the slope times that, rounding the image the start by its inverse.
            slopes = np.exp(np.stack([got[f"{side}_log_slope"], -got[f"{side}_back_log_slope"]]).astype(np.float64))
            beyond = distance(name, got[f"{side}_again"], got[f"{side}_image"]) > 400 * eps * bound * (
                1 + slopes.max(0)
            )
            lost = distance(name, got[f"{side}_back"], x if side == "x" else y) > 400 * eps * bound * (
                1 + 1 / slopes.min(0)
            )
            # At the wildest a slope changes by orders of magnitude from one float to the next.
            allowed = 3e-3 if spread == 8.0 else 0.0
            assert beyond.mean() <= allowed, (spread, side)
            assert lost.mean() <= allowed, (spread, side)


def test_a_linear_spline_stays_in_its_bin() -> None:
    """Beside a knot the slope jumps: the two log-slopes cancel only if both directions choose the same bin.

    The broken twin, without the clip to the bin: one float before a knot the image may round to the knot itself.
    """
    params = draw("LinearSplineMap", 3.0, np.float32)
    x, y = near_knots("LinearSplineMap", params)
    got = examine("LinearSplineMap", np.float32)(x, y, params)
    np.testing.assert_array_equal(got["x_log_slope"], -got["x_back_log_slope"])
    np.testing.assert_array_equal(got["y_log_slope"], -got["y_back_log_slope"])
    low, high = edges(params, BOUND).astype(np.float32)[1:3]
    left, right = np.float32(-BOUND + 2 * BOUND / BINS), np.float32(-BOUND + 4 * BOUND / BINS)
    twin = low + (high - low) * ((np.nextafter(right, left) - left) / (right - left))
    assert np.any(twin >= high)


@all_maps
@pytest.mark.parametrize("dtype", split(DTYPES, lambda dtype: dtype == np.float32))
def test_gradients_are_finite_everywhere(name: str, dtype: Any) -> None:
    tiny, bound = float(np.finfo(dtype).smallest_subnormal), dtype(bound_of(name))
    values = [0.0, tiny, -tiny, bound, -bound, np.nextafter(bound, dtype(9)), np.nextafter(bound, dtype(0))]
    values += [1.0, -2.0] if name in ("MoebiusMap", "CircularSplineMap") else [1e3, -1e3, 1e30, -1e30]
    x = np.resize(np.array(values, dtype), N)
    for spread in (0.0, 3.0, 30.0):
        got = examine(name, dtype)(x, x, draw(name, spread, dtype))
        for side in "xy":
            for what in ("image", "log_slope", "by_value", "by_params"):
                assert np.all(np.isfinite(got[f"{side}_{what}"])), (spread, side, what)


@all_maps
def test_gradients_are_right(name: str) -> None:
    """Log-slopes against autodiff; the hand-written pull-backs to the parameters against differences."""
    rng, params = np.random.default_rng(4), draw(name, 1.0)
    x = rng.uniform(-3, 3, N)
    direction, step = rng.standard_normal(params.shape), 1e-6
    here, ahead, behind = (examine(name)(x, x, params + h * direction) for h in (0.0, step, -step))
    for side in "xy":
        np.testing.assert_allclose(np.log(here[f"{side}_slope"]), here[f"{side}_log_slope"], atol=1e-9)
        change = distance(name, ahead[f"{side}_image"], behind[f"{side}_image"])  # unsigned on the circle
        change = np.copysign(change, np.sin(ahead[f"{side}_image"] - behind[f"{side}_image"]))
        change += ahead[f"{side}_log_slope"] - behind[f"{side}_log_slope"]
        expected = np.sum(here[f"{side}_by_params"] * direction, axis=0)
        wrong = np.abs(expected - change / (2 * step)) > 1e-5 * (1 + np.abs(expected))
        assert wrong.mean() < 0.005  # a knot between the two points


@all_maps
def test_increasing_between_its_ends_and_the_identity_at_zero(name: str) -> None:
    bound = bound_of(name)
    x = np.linspace(-bound, bound, N, endpoint=False)
    got = examine(name)(x, x, np.zeros_like(draw(name, 0.0)))
    for side in "xy":
        np.testing.assert_allclose(got[f"{side}_image"], x, atol=1e-14)
        np.testing.assert_allclose(got[f"{side}_log_slope"], 0, atol=1e-14)
    for spread in (1.0, 3.0):
        params = np.repeat(draw(name, spread)[:, :1], N, axis=1)
        if name in ("MoebiusMap", "CircularSplineMap"):
            params[-1] = 0.0  # of the rotations none, so that a spline begins at its cut
        got = examine(name)(x, x, params)
        for side in "xy":
            image = np.unwrap(got[f"{side}_image"]) if name == "MoebiusMap" else got[f"{side}_image"]
            assert np.all(np.diff(image) > 0)
            assert np.all(np.diff(image) < 2 * bound)


@splines
def test_tails(name: str) -> None:
    params = draw(name, 2.0)
    x = np.resize([-5.5, 5.5, 1e3, -1e4], N)
    got = examine(name)(x, x, params)
    if name != "CubicSplineMap":
        np.testing.assert_array_equal(got["x_image"], x)
        np.testing.assert_array_equal(got["y_image"], x)
        np.testing.assert_array_equal(got["x_log_slope"], 0)
        return
    inner = examine(name)(np.sign(x) * BOUND, np.sign(x) * BOUND, params)
    slope = np.exp(inner["x_log_slope"])
    np.testing.assert_allclose(got["x_image"], np.sign(x) * BOUND + slope * (x - np.sign(x) * BOUND), rtol=1e-12)
    np.testing.assert_allclose(got["x_log_slope"], inner["x_log_slope"], atol=1e-12)
    np.testing.assert_allclose(got["y_log_slope"], inner["y_log_slope"], atol=1e-12)


def test_nan_stays_nan() -> None:
    for name in MAPS:
        got = examine(name)(np.full(N, np.nan), np.full(N, np.nan), draw(name, 1.0))
        assert np.all(np.isnan(got["x_image"]) & np.isnan(got["y_image"])), name


# --- against the formulas ---------------------------------------------------------------------------------------


def softplus_slopes(raw: np.ndarray) -> np.ndarray:
    one = np.ones((1, raw.shape[1]))
    return np.concatenate([one, 1e-3 + np.logaddexp(0, raw + math.log(math.expm1(0.999))), one])


def linear(x: float, p: np.ndarray) -> Any:
    return np.interp(x, np.linspace(-BOUND, BOUND, BINS + 1), edges(p, BOUND)[:, 0])


def quadratic(x: float, p: np.ndarray) -> Any:
    """The integral of the slopes' linear interpolation, which are 1 at the ends and proportional to exp inside."""
    knots, free = edges(p[:BINS], BOUND)[:, 0], np.exp(p[BINS:, 0])
    alone, ends = np.zeros(BINS + 1), np.zeros(BINS + 1)
    alone[1:-1], ends[[0, -1]] = free, 1.0
    floor = np.where(ends == 1, 0, 1e-3)
    share = (2 * BOUND - np.trapezoid(ends + floor, knots)) / np.trapezoid(alone, knots)
    grid = np.union1d(knots[knots < x], [x])
    return -BOUND + np.trapezoid(np.interp(grid, knots, ends + floor + share * alone), grid)


def cubic(x: float, p: np.ndarray) -> Any:
    """Steffen, 1990, with the slopes at the ends given; the curve by SciPy."""
    knots, heights = edges(p[:BINS], BOUND)[:, 0], edges(p[BINS : 2 * BINS], BOUND)[:, 0]
    w, s = np.diff(knots), np.diff(heights) / np.diff(knots)
    middle = (s[:-1] * w[1:] + s[1:] * w[:-1]) / (w[:-1] + w[1:])
    inner = 2 * np.minimum(np.minimum(s[:-1], s[1:]), 0.5 * middle)
    ends = s[[0, -1]] * (0.01 + 1.98 / (1 + np.exp(-p[2 * BINS :, 0])))
    return CubicHermiteSpline(knots, heights, [ends[0], *inner, ends[1]])(x)


def linear_rational(x: float, p: np.ndarray) -> Any:
    """Dolatabadi et al., 2020, algorithm 1, in their weights."""
    raw_w, raw_h, raw_d, raw_l = np.split(p, [BINS, 2 * BINS, 3 * BINS - 1])
    knots, heights, d = edges(raw_w, BOUND)[:, 0], edges(raw_h, BOUND)[:, 0], softplus_slopes(raw_d)[:, 0]
    k = int(np.searchsorted(knots[1:-1], x, side="right"))
    split = 0.025 + 0.95 / (1 + np.exp(-raw_l[k, 0]))
    y0, y1 = heights[k], heights[k + 1]
    secant, theta = (y1 - y0) / (knots[k + 1] - knots[k]), (x - knots[k]) / (knots[k + 1] - knots[k])
    w0, w1 = 1.0, math.sqrt(d[k] / d[k + 1])
    wm = (split * w0 * d[k] + (1 - split) * w1 * d[k + 1]) / secant
    ym = ((1 - split) * w0 * y0 + split * w1 * y1) / ((1 - split) * w0 + split * w1)
    if theta <= split:
        return (w0 * y0 * (split - theta) + wm * ym * theta) / (w0 * (split - theta) + wm * theta)
    return (wm * ym * (1 - theta) + w1 * y1 * (theta - split)) / (wm * (1 - theta) + w1 * (theta - split))


FORMULAS = {
    "LinearSplineMap": linear,
    "QuadraticSplineMap": quadratic,
    "CubicSplineMap": cubic,
    "LinearRationalSplineMap": linear_rational,
}


@splines
def test_is_its_formula(name: str) -> None:
    x, params = np.random.default_rng(7).uniform(-BOUND, BOUND, N), draw(name, 1.0)
    got = examine(name)(x, x, params)["x_image"][:64]
    expected = [FORMULAS[name](x[n], params[:, n : n + 1]) for n in range(64)]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_moebius_maps_the_complex_circle() -> None:
    params, x = jnp.asarray(np.random.default_rng(9).standard_normal((4, 50))), np.linspace(-3, 3, 50)
    got, log_slope = jax.jit(MoebiusMap(1).forward_and_log_det)(x, params)
    omega = np.asarray(params[1] + 1j * params[2])
    omega, z = 0.99 * omega / np.sqrt(1 + np.abs(omega) ** 2), np.exp(1j * x)
    # The paper's form; then the rotation.
    image = ((1 - np.abs(omega) ** 2) / np.abs(z - omega) ** 2 * (z - omega) - omega) * np.exp(
        1j * np.asarray(params[3])
    )
    np.testing.assert_allclose(np.exp(1j * np.asarray(got)), image, atol=1e-12)
    np.testing.assert_allclose(log_slope, np.log((1 - np.abs(omega) ** 2) / np.abs(z - omega) ** 2), atol=1e-12)


@pytest.mark.parametrize("name", ["CircularSplineMap", "MoebiusMap"])
def test_the_circle_has_no_seam(name: str) -> None:
    """One map of the circle: turns do not count, and value and slope are continuous where the angle jumps."""
    params = draw(name, 1.0)
    x = np.random.default_rng(3).uniform(-np.pi, np.pi, N)
    here, turned = examine(name)(x, x, params), examine(name)(x + 4 * np.pi, x - 2 * np.pi, params)
    low, high = (np.full(N, end) for end in (-np.pi + 1e-9, np.pi - 1e-9))
    left, right = examine(name)(low, low, params), examine(name)(high, high, params)
    for side in "xy":
        assert distance(name, here[f"{side}_image"], turned[f"{side}_image"]).max() < 1e-11
        assert distance(name, left[f"{side}_image"], right[f"{side}_image"]).max() < 1e-5
        np.testing.assert_allclose(left[f"{side}_log_slope"], right[f"{side}_log_slope"], atol=1e-4)
        assert np.all((here[f"{side}_image"] >= -np.pi) & (here[f"{side}_image"] < np.pi))
    if name == "CircularSplineMap":  # the slope at the cut is free: that of the last parameter of the spline
        expected = 1e-3 + np.logaddexp(0, params[-2] + math.log(math.expm1(0.999)))
        np.testing.assert_allclose(np.exp(left["x_log_slope"]), expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_wrap(dtype: Any) -> None:
    pi = dtype(np.pi)
    x = np.array([pi, -pi, np.nextafter(pi, dtype(0)), np.nextafter(pi, dtype(9)), np.nextafter(-pi, dtype(-9))], dtype)
    x = np.concatenate([x, 3 * x, 17 * x, np.linspace(-40, 40, 1001).astype(dtype)])
    got = np.asarray(wrap(jnp.asarray(x)))
    assert got.dtype == dtype
    assert np.all((got >= -pi) & (got < pi))
    np.testing.assert_allclose(np.exp(1j * got), np.exp(1j * x), atol=300 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(wrap(jnp.asarray(got)), got)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LinearSplineMap(bins=1), "LinearSplineMap: expected bins an integer >= 2"),
        (lambda: QuadraticSplineMap(bins=2), "QuadraticSplineMap: expected bins an integer >= 3"),
        (lambda: CubicSplineMap(bound=0.0), "CubicSplineMap: expected bound > 0"),
        (lambda: LinearRationalSplineMap(bins=1000), "<= 256"),
        (lambda: CircularSplineMap(bins=1), "CircularSplineMap: expected bins"),
        (lambda: MoebiusMap(components=0), "MoebiusMap: expected components"),
    ],
)
def test_errors(make: Callable[[], pf.AbstractScalarMap], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize("name", ["QuadraticSplineMap", "LinearRationalSplineMap", "CircularSplineMap"])
def test_a_program_that_rounds_its_inputs_in_two_ways(name: str) -> None:
    """Behind `a z + c`, which XLA computes again in each fused loop, and may round otherwise there, bins do not mix.

    Before the choice of the bin was computed once, one in ten of these came out wrong by a whole bin.
    """
    params, rng = draw(name, 1.0, np.float32), np.random.default_rng(8)
    x = near_knots(name, params)[0]
    z, c = rng.standard_normal((2, N)).astype(np.float32)
    jax.config.update("jax_disable_most_optimizations", False)  # as users have it; a fixture sets it for each test
    program = jax.jit(lambda a: (a * z + c, *MAPS[name].forward_and_log_det(a * z + c, params)))
    x, y, log_slope = (np.asarray(a, np.float64) for a in program((x - c) / z))
    exact = examine(name)(x, x, params.astype(np.float64))
    assert distance(name, y, exact["x_image"]).max() < 1e-3
    assert np.abs(log_slope - exact["x_log_slope"]).max() < 0.1
