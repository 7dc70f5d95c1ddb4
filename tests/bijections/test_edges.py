"""The one policy at the edges of fixed maps, for every member of the family and both floating types."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

import pushforward as pf
from pushforward.bijections import (
    ELU,
    AbstractFixedMap,
    ColumnUnits,
    Exp,
    HistogramQuantile,
    IntoBox,
    LambertW,
    LeakyReLU,
    NormalCDF,
    Power,
    Sigmoid,
    SignedPower,
    SinhArcsinh,
    Softplus,
    Square,
    StudentTCDF,
    Tanh,
    Unit,
)
from pushforward.testing.trial import cast

INF = np.inf
# Each map of one number, its domain and its image.
EVERY: dict[str, tuple[AbstractFixedMap, tuple[float, float], tuple[float, float]]] = {
    "Exp": (Exp((1,)), (-INF, INF), (0.0, INF)),
    "Softplus": (Softplus((1,)), (-INF, INF), (0.0, INF)),
    "Sigmoid": (Sigmoid(shape=(1,)), (-INF, INF), (0.0, 1.0)),
    "Sigmoid onto an interval": (Sigmoid([-3.0], 5.0), (-INF, INF), (-3.0, 5.0)),
    "Sigmoid up to 0": (Sigmoid([-1e3], 0.0), (-INF, INF), (-1e3, 0.0)),
    "Tanh": (Tanh((1,)), (-INF, INF), (-1.0, 1.0)),
    "ELU": (ELU(0.5, (1,)), (-INF, INF), (-0.5, INF)),
    "LeakyReLU": (LeakyReLU(0.2, (1,)), (-INF, INF), (-INF, INF)),
    "Power": (Power(0.5, (1,)), (0.0, INF), (0.0, INF)),
    "Power, negative": (Power(-1.5, (1,)), (0.0, INF), (0.0, INF)),
    "Square": (Square((1,)), (0.0, INF), (0.0, INF)),
    "SignedPower": (SignedPower(3.0, (1,)), (-INF, INF), (-INF, INF)),
    "SignedPower, root": (SignedPower(0.5, (1,)), (-INF, INF), (-INF, INF)),
    "NormalCDF": (NormalCDF((1,)), (-INF, INF), (0.0, 1.0)),
    "StudentTCDF": (StudentTCDF([3.0]), (-INF, INF), (0.0, 1.0)),
    "HistogramQuantile": (HistogramQuantile([0.0, 1.0, 4.0], [[0.7, 0.3]]), (-INF, INF), (0.0, 4.0)),
    "HistogramQuantile, from -1": (HistogramQuantile([-1.0, 1.0], [[1.0]]), (-INF, INF), (-1.0, 1.0)),
    "SinhArcsinh": (SinhArcsinh([0.2], 1.5), (-INF, INF), (-INF, INF)),
    "LambertW": (LambertW([0.2]), (-INF, INF), (-INF, INF)),
    "ColumnUnits, real": (ColumnUnits([Unit("real", 5.0, 2.0)]), (-INF, INF), (-INF, INF)),
    "ColumnUnits, tail": (ColumnUnits([Unit("real", 1.0, 2.0, tail=3.0)]), (-INF, INF), (-INF, INF)),
    "ColumnUnits, log": (ColumnUnits([Unit("log", -1.0, 2.0, None, 0.3, 0.7)]), (-INF, INF), (-1.0, INF)),
    "ColumnUnits, log from 0": (ColumnUnits([Unit("log", 0.0, 1e-3, None, 0.3, 0.1)]), (-INF, INF), (0.0, INF)),
    "ColumnUnits, softplus": (ColumnUnits([Unit("softplus", 0.0, 2.0, None, 0.3, 0.7)]), (-INF, INF), (0.0, INF)),
    "ColumnUnits, tail of a half line": (ColumnUnits([Unit("softplus", 7.0, 2.0, 2.5)]), (-INF, INF), (7.0, INF)),
    "ColumnUnits, interval": (ColumnUnits([Unit("interval", -1.0, 3.0, None, 0.2, 1.3)]), (-INF, INF), (-1.0, 2.0)),
    "ColumnUnits, below": (ColumnUnits([Unit("below, softplus", 3.0, 2.0)]), (-INF, INF), (-INF, 3.0)),
    "IntoBox, interval": (IntoBox([0.1], [0.3]), (-INF, INF), (0.1, 0.3)),
    "IntoBox, half line": (IntoBox([7.0], [INF]), (-INF, INF), (7.0, INF)),
    "IntoBox, lower half line": (IntoBox([-INF], [0.0], "softplus"), (-INF, INF), (-INF, 0.0)),
    "IntoBox, line": (IntoBox([-INF], [INF]), (-INF, INF), (-INF, INF)),
}
# Of a latent: ordinary ones, far out, the ends of the floats, denormals.
LATENTS = [0.0, 8.0, -8.0, 40.0, -40.0, 1e-30, 1e3, -1e3, 1e30, -1e30, 1e-45, -1e-45, INF, -INF]
N_FINITE = 12


def around(ends: tuple[float, float], dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """The ends and the next normal floats inside them; and what lies beyond, the next float of it first."""
    inside, beyond = [], [INF, -INF]
    for end, out in zip(ends, (-1, 1), strict=True):
        if np.isfinite(end):
            at, away = dtype(end), dtype(out * INF)
            # XLA takes denormals for 0.
            step = np.nextafter(at, away) if end else out * np.finfo(dtype).tiny
            inside += [at, np.nextafter(at, -away) if end else -step]
            beyond += [step, at + dtype(out), dtype(out * 1e30)]
    return np.array(inside, dtype), np.array(beyond, dtype)


@pytest.mark.parametrize("name", EVERY)
def test_the_policy_at_an_edge(name: str) -> None:
    made, domain, image = EVERY[name]

    def run(dtype: type) -> dict[str, Any]:
        bijection, (at, beyond) = cast(made, dtype), around(image, dtype)
        x = np.array(LATENTS, dtype)
        x = x[(x >= domain[0]) & (x <= domain[1])]
        outside = np.array([end + out for end, out in zip(domain, (-1, 1), strict=True) if np.isfinite(end)], dtype)

        def density(y: Any) -> Any:
            z, log_det = bijection.inverse_rows(y, None, None)
            return norm.logpdf(z[0]) + log_det

        def program(x: Any, at: Any, beyond: Any, outside: Any) -> dict[str, Any]:
            (y, slope), derivatives = jax.jvp(bijection.each_forward, (x,), (jnp.ones_like(x),))
            every = jnp.concatenate([y, at, beyond, jnp.full((1, 1), jnp.nan, x.dtype)], axis=1)
            log_prob, pull = jax.vjp(density, every)
            back, log_slope = bijection.each_inverse(every)
            forward = jax.vjp(lambda v: jnp.stack(bijection.each_forward(v)), x)[1](jnp.ones((2, *x.shape), x.dtype))[0]
            numbers = {"y": y, "slope": slope, "derivatives": jnp.concatenate([*derivatives, forward])}
            numbers |= {"log_prob": log_prob, "gradient": pull(jnp.ones_like(log_prob))[0][0]}
            numbers |= {"back": back[0], "log_slope": log_slope[0], "undefined": bijection.each_forward(outside)[0]}
            return numbers | {"nan": bijection.each_forward(jnp.full((1, 1), jnp.nan, x.dtype))[0]}

        parts = [jnp.asarray(part)[None] for part in (x, at, beyond, outside)]
        return {what: np.asarray(array) for what, array in jax.jit(program)(*parts).items()} | {
            "n": (len(x), len(at), len(beyond))
        }

    for dtype in (np.float64, np.float32):
        out = run(dtype)
        assert {array.dtype for what, array in out.items() if what != "n"} == {np.dtype(dtype)}
        n, n_at, n_beyond = out["n"]
        y, finite = out["y"][0], min(n, N_FINITE)
        low, high = (dtype(end) for end in image)
        # What comes out lies strictly inside, and whatever was sampled has a density.
        assert ((y > low) & (y < high)).all()
        assert np.isfinite(out["slope"][0, :finite]).all()
        assert np.isfinite(out["derivatives"][:, :finite]).all()
        usual = np.abs(out["back"][: n + n_at]) < 1e15  # whose squares float32 holds
        there = slice(0, n + n_at)
        assert np.isfinite(out["back"][:-1]).all(), "the number that goes with a value is one"
        assert np.isfinite(out["log_slope"][there]).all(), "the density at an end is that of the float beside it"
        assert np.isfinite(out["log_prob"][there][usual]).all()
        # A slope may be larger than the largest float, where its logarithm is known.
        known = usual & (out["log_slope"][there] < np.log(np.finfo(dtype).max) - 12)
        assert np.isfinite(out["gradient"][there][known]).all()
        assert np.isfinite(out["gradient"][n : n + n_at : 2]).all(), "at an end the derivative is 0"
        # Beyond an end, from the next float on, and at an infinity there is no density.
        assert (out["log_prob"][n + n_at : -1] == -INF).all()
        assert (out["log_slope"][n + n_at : -1] == -INF).all()
        assert n_beyond >= 2
        assert np.isnan(out["undefined"]).all()
        assert np.isnan([out["back"][-1], out["log_prob"][-1], out["nan"][0, 0]]).all(), "NaN is never made a number"


def test_what_saturates_without_the_policy() -> None:
    """The broken twin: the plain functions in float32, whose samples have no density."""
    x = jnp.float32(40.0)
    assert not np.isfinite(jax.scipy.special.logit(jax.nn.sigmoid(x)))
    assert not np.isfinite(jnp.arctanh(jnp.tanh(x)))
    assert not np.isfinite(jax.scipy.special.ndtri(jax.scipy.special.ndtr(x)))


def test_every_member_is_tried() -> None:
    members = {kind for kind in AbstractFixedMap.__subclasses__() if kind.__module__.startswith("pushforward.")}
    assert members == {type(bijection) for bijection, _, _ in EVERY.values()}


def test_an_end_that_is_a_sum_is_known_to_its_rounding() -> None:
    """0.1 + (0.3 - 0.1) is less than 0.3; a column of that length holds 0.3 all the same, and nothing farther out."""
    units = ColumnUnits([Unit("interval", 0.1, 0.3 - 0.1), Unit("interval", 1e9, 0.1)])
    assert np.isfinite(units.each_inverse(jnp.array([[0.3], [1e9 + 0.1]]))[1]).all()
    assert (units.each_inverse(jnp.array([[0.3 + 1e-15], [1e9 + 0.1 + 1e-6]]))[1] == -INF).all()
    samples = units.each_forward(jnp.full((2, 3), jnp.array([8.0, 40.0, 1e30])))[0]
    assert np.isfinite(units.each_inverse(samples)[1]).all()


def test_a_flow_scores_its_own_samples_in_float32() -> None:
    flow = cast(pf.Flow(pf.StandardNormal((3,)), Sigmoid(shape=(3,))), np.float32)
    y = flow.bijection.forward(jnp.asarray([8.0, 40.0, -40.0], jnp.float32))
    assert y.dtype == np.float32
    assert np.isfinite(flow.log_prob(y[None])).all()
    assert flow.log_prob(jnp.asarray([[0.5, 0.5, 1.5]], jnp.float32)) == -np.inf
