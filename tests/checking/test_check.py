"""The checks of a trained model: each passes on healthy flows, and has a broken twin that it fails."""

from __future__ import annotations

import json
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
from pushforward._types import Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.checking import CheckLine, CheckReport, Part
from pushforward.checking.context import Context
from pushforward.checking.independence import check_independence
from pushforward.checking.latent import check_latents, check_latents_joint
from pushforward.checking.log_det import check_log_det, check_random_log_det
from pushforward.checking.normalisation import check_normalisation
from pushforward.checking.precision import check_conditioning, check_precision
from pushforward.checking.programs import QUICK
from pushforward.checking.round_trip import check_round_trip, check_round_trip_narrow
from pushforward.checking.spline_tails import check_tails
from pushforward.distributions.base import AbstractDistribution

KEY = jax.random.key(0)
LOG_2 = math.log(2.0)
NARROW: tuple[str, ...] = (
    "round trip, float32",
    "float32 against float64",
    "independence of rows",
)  # these compile in float32
HOSTILE = 3e6  # added and taken away again: float32 keeps a quarter, float64 keeps 10 digits


class Doubled(AbstractBatchedBijection):
    """y = 2 x, and what can go wrong with it."""

    hostile: pf.Fixed
    noise: pf.Fixed
    fault: str = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, fault: str = "", dim: int = 2):
        self.fault, self.in_shape, self.out_shape, self.cond_shape = fault, (dim,), (dim,), None
        self.hostile = pf.Fixed(jnp.asarray(HOSTILE))  # an array: of two constants XLA would make none
        self.noise = pf.Fixed(jnp.array([0.25, 0.0]))  # weight of each of four probes, and a bias
        self.traits = Traits(log_det="unbiased", needs_key=True) if fault == "noisy" else Traits()

    def _log_det(self, x, keys):
        right = self.in_shape[0] * LOG_2
        out = jnp.full(x.shape[-1:], {"sign": -right, "dropped": 0.0}.get(self.fault, right), x.dtype)
        if keys is not None:
            probes = jax.vmap(lambda key: jax.random.normal(key, (4,), x.dtype), out_axes=-1)(keys)
            weight, bias = jnp.asarray(self.noise)
            out = weight * jnp.sum(right + 0.3 * probes, axis=0) + bias
        return out

    def forward_rows(self, x, condition, keys):
        y = 2 * x
        if self.fault == "shifted":
            y = y + 0.1
        if self.fault == "not finite":
            y = jnp.where(y > 1, jnp.nan, y)
        return self._mixed(y), self._log_det(x, keys)

    def inverse_rows(self, y, condition, keys):
        return self._mixed(y / 2), -self._log_det(y, keys)

    def _mixed(self, y):
        if self.fault == "batch mean":
            y = y - 0.1 * jnp.mean(y, axis=-1, keepdims=True)
        hostile = jnp.asarray(self.hostile)
        return (y + hostile) - hostile if self.fault == "cancellation" else y


class Reweighted(AbstractDistribution):
    """The density of another distribution times a factor; its samples."""

    inner: AbstractDistribution
    factor: float = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, inner: AbstractDistribution, factor: float):
        self.inner, self.factor = inner, factor
        self.event_shape, self.cond_shape, self.needs_key = inner.event_shape, inner.cond_shape, False

    def log_prob_rows(self, x, condition, keys):
        return self.inner.log_prob_rows(x, condition, keys) + math.log(self.factor)

    def sample_rows(self, keys, condition):
        return self.inner.sample_rows(keys, condition)

    def sample_and_log_prob_rows(self, keys, condition):
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)


class Cracked(pf.RationalQuadraticMap):
    """A spline that breaks exactly at its upper bound, where no random row ever comes."""

    def forward_and_log_det(self, x, params):
        y, log_det = super().forward_and_log_det(x, params)
        return jnp.where(jnp.abs(x - self.high) < 1e-14, jnp.nan, y), log_det


def toy(fault: str = "", dim: int = 2) -> pf.Flow:
    return pf.Flow(pf.StandardNormal((dim,)), Doubled(fault, dim))


def rows_of(n: int = 600, dim: int = 2, seed: int = 0) -> np.ndarray:
    return 2 * np.random.default_rng(seed).standard_normal((n, dim))


def context(
    model: AbstractDistribution, data: np.ndarray | None = None, condition: np.ndarray | None = None
) -> Context:
    return Context.of(model, data, condition, KEY)


def banana(n: int, dim: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, dim))
    x[:, 1] = 0.5 * x[:, 1] + 0.5 * x[:, 0] ** 2
    return x + np.arange(dim)


def train(flow: pf.Flow, x: np.ndarray, steps: int = 120) -> pf.Flow:
    """A few epochs of Adam. `pf.fit` compiles six times as long."""
    units = pf.Standardize.fit(x)
    rows, optimiser = np.asarray(jax.vmap(units.inverse)(jnp.asarray(x))), optax.adam(1e-2)
    params: Any
    params, rest = pf.trainable(flow)

    def loss(params, batch):
        return -jnp.mean(pf.combine(params, rest).log_prob(batch))

    def step(params, state, batch):
        updates, state = optimiser.update(jax.grad(loss)(params, batch), state)
        return optax.apply_updates(params, updates), state

    quick, state = jax.jit(step, compiler_options=QUICK), optimiser.init(params)
    for start in range(steps):
        params, state = quick(params, state, np.roll(rows, 100 * start, axis=0)[:200])
    return pf.training.in_data_units(pf.combine(params, rest), units)


@pytest.fixture(scope="module")
def spline_flow() -> pf.Flow:
    flow = pf.flows.nsf(KEY, dim=3, n_layers=2, width=16, depth=1, bins=4, linear="reverse", autoregressive=False)
    return train(flow, banana(1500, 3, 1))


@pytest.fixture(scope="module")
def spline_report(spline_flow: pf.Flow) -> CheckReport:
    return pf.check(spline_flow, banana(1200, 3, 2), key=KEY)


def test_a_healthy_spline_flow_passes_everything(spline_report: CheckReport):
    assert spline_report.ok, str(spline_report)
    verdicts = {line.name: line.verdict for line in spline_report.lines}
    assert verdicts.pop("random log-det") == verdicts.pop("contraction") == verdicts.pop("solver") == "skipped"
    assert {verdicts.pop("latents, each coordinate"), verdicts.pop("latents, jointly")} <= {"pass", "note"}
    assert set(verdicts.values()) == {"pass"}, str(spline_report)


def test_a_healthy_affine_flow_passes():
    halves = [make(KEY, dim=2, n_layers=2, width=8, depth=1) for make in (pf.flows.realnvp, pf.flows.maf)]
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Chain([half.bijection for half in halves]))
    report = pf.check(
        train(flow, banana(1000, 2, 1)), key=KEY, skip=dict.fromkeys(NARROW, "the spline flow has been there")
    )
    assert report.ok, str(report)
    assert {line.name: line.verdict for line in report.lines}["normalisation"] == "pass"
    assert report["latents, jointly"].verdict == report["rows in spline tails"].verdict == "skipped"


@pytest.mark.parametrize(
    "run", [check_round_trip, check_round_trip_narrow, check_log_det, check_independence, check_precision]
)
def test_the_healthy_twin_passes(run):
    assert run(context(toy(), rows_of())).verdict == "pass"


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (check_round_trip, "shifted"),
        (check_round_trip, "not finite"),
        (check_round_trip_narrow, "shifted"),
        (check_round_trip_narrow, "cancellation"),
        (check_log_det, "sign"),
        (check_log_det, "dropped"),
        (check_independence, "batch mean"),
        (check_precision, "cancellation"),
    ],
)
def test_the_broken_twin_fails(run, fault: str):
    line = run(context(toy(fault), rows_of()))
    assert line.verdict == "fail", line


def test_cancellation_is_no_mistake_in_float64():
    assert check_round_trip(context(toy("cancellation"), rows_of())).verdict == "pass"


def test_knots_find_what_random_rows_do_not():
    spline = Cracked(bins=3)
    net = pf.MLP(KEY, 1, (spline.n_params, 1), width=4, depth=1)
    line = check_round_trip(context(pf.Flow(pf.StandardNormal((2,)), pf.Coupling([False, True], net, spline))))
    assert line.verdict == "fail", line
    assert math.isnan(line.figure or 0.0)


def test_bad_conditioning_is_a_note_and_no_mistake():
    layer = pf.LULinear(KEY, 2)
    squeeze = pf.Chain([pf.Affine(scale=[1e5, 1e-5]), layer, pf.Affine(scale=[1e-5, 1e5]), layer])
    flow = pf.Flow(pf.StandardNormal((2,)), squeeze)
    assert check_round_trip(context(flow)).verdict in ("pass", "note")
    assert check_log_det(context(flow)).verdict == "pass"
    assert check_conditioning(context(flow)).verdict == "note"
    assert check_conditioning(context(toy())).verdict == "pass"


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_density_off_by_a_twentieth_is_found(dim: int):
    model = toy(dim=dim)
    assert check_normalisation(context(model)).verdict == "pass"
    line = check_normalisation(context(Reweighted(model, 1.05)))
    assert line.verdict == "fail", line
    assert line.figure == pytest.approx(0.05, abs=0.015)


def test_an_estimate_without_overlap_is_undecided():
    class Rough(Doubled):
        def forward_rows(self, x, condition, keys):
            return x * jnp.where(jnp.arange(12)[:, None] % 2 == 0, 1.0, jnp.exp(8 * jnp.sin(40 * x[::-1]))), x[0] * 0

        def inverse_rows(self, y, condition, keys):
            scale = jnp.where(jnp.arange(12)[:, None] % 2 == 0, 0.0, 8 * jnp.sin(40 * y[::-1]))
            return y * jnp.exp(-scale), -scale.sum(axis=0)

    rough: Any = Rough  # whose constructor is its parent's
    line = check_normalisation(context(pf.Flow(pf.StandardNormal((12,)), rough("", 12))))
    assert line.verdict == "note", line
    assert "undecided" in line.sentence


def test_latents_of_good_and_of_poor_fits():
    model = toy()
    good, shifted = rows_of(3000), rows_of(3000) + 0.3 * 2
    assert check_latents(context(model, good)).verdict == "pass"
    assert check_latents(context(model, shifted)).verdict == "fail"
    assert check_latents(context(model, rows_of(3000) + 0.1 * 2)).verdict == "note"
    assert check_latents_joint(context(model, good)).verdict == "pass"
    assert check_latents_joint(context(model, 1.5 * good)).verdict == "fail"
    turned = good @ np.array([[1.0, 0.6], [0.0, 0.8]])
    assert check_latents(context(model, turned)).verdict == "pass"
    assert check_latents_joint(context(model, turned)).verdict == "fail"
    assert check_latents(context(model, good[:20])).verdict == "skipped"


def draw_base(base: AbstractDistribution, n: int) -> np.ndarray:
    """With NumPy: JAX's own draws, of Student's t above all, take seconds to compile."""
    rng = np.random.default_rng(5)
    if isinstance(base, pf.StudentT):
        return rng.standard_t(np.exp(np.asarray(base.log_df)), (n, 2))
    if isinstance(base, pf.UniformBox):
        return rng.uniform(base.low.value, base.high.value, (n, 2))
    if isinstance(base, pf.DiagonalNormal):
        return rng.normal(base.loc, np.exp(base.log_scale), (n, 2))
    first = rng.random(n) < 0.5
    return np.where(first, rng.normal(-2, 1, n), rng.normal(2, 0.5, n))[:, None] * [1, 0] + rng.normal(
        0, [0, 1], (n, 2)
    )


@pytest.mark.parametrize(
    "base",
    [
        pf.DiagonalNormal([1.0, -2.0], [0.5, 3.0]),
        pf.StudentT([2.0, 8.0]),
        pf.UniformBox([0.0, -1.0], [1.0, 4.0]),
        pf.Mixture([pf.DiagonalNormal([-2.0, 0.0], [1.0, 1.0]), pf.DiagonalNormal([2.0, 0.0], [0.5, 1.0])]),
    ],
    ids=lambda base: type(base).__name__,
)
def test_latents_of_every_base(base: AbstractDistribution):
    flow = pf.Flow(base, pf.Affine(scale=[2.0, 1.0]))
    data = draw_base(base, 1500) * [2.0, 1.0]
    assert check_latents(context(flow, data)).verdict == "pass"
    assert check_latents(context(flow, 1.8 * data)).verdict == "fail"
    known = not isinstance(base, pf.Mixture)
    assert check_latents_joint(context(flow, data)).verdict == ("pass" if known else "skipped")
    if isinstance(base, pf.UniformBox | pf.Mixture):
        status = pf.row_status(flow, np.concatenate([data[:50], [[1e4, 0.0]]]))
        assert np.mean(status[:50] == "ok") > 0.9
        assert status[-1] == ("extrapolated" if isinstance(base, pf.UniformBox) else "tail")


def test_a_squeezed_spline_has_all_rows_in_its_tails(spline_flow: pf.Flow):
    data = banana(500, 3, 2)
    assert check_tails(context(spline_flow, data)).verdict == "pass"
    line = check_tails(context(spline_flow, 10 * data))
    assert line.verdict == "fail", line
    assert check_tails(context(toy(), rows_of())).verdict == "skipped"


def test_random_log_dets():
    assert check_random_log_det(context(toy("noisy"), rows_of())).verdict == "pass"
    for fault in ([0.25, 0.1], [1.0, 0.0]):  # biased; summed over the probes and not averaged
        broken = eqx.tree_at(lambda flow: flow.bijection.noise.value, toy("noisy"), jnp.array(fault))
        line = check_random_log_det(context(broken, rows_of()))
        assert line.verdict == "fail", line
    assert check_random_log_det(context(toy())).verdict == "skipped"
    noisy = context(toy("noisy"), rows_of())
    for run in (check_log_det, check_normalisation, check_precision):
        assert run(noisy).verdict == "skipped"


def test_a_conditional_flow():
    flow = pf.flows.realnvp(KEY, dim=2, condition_dim=1, n_layers=2, width=8, depth=1, linear="reverse")
    c = np.random.default_rng(0).standard_normal((300, 1))
    skip = dict.fromkeys([*NARROW, "conditioning"], "not asked for")
    with_data = pf.check(flow, rows_of(300), key=KEY, condition=c, skip=skip)
    assert {line.name for line in with_data.failed} <= {"latents, each coordinate", "latents, jointly"}
    assert with_data["conditioning"] == CheckLine("conditioning", None, None, "skipped", "not asked for")
    assert "condition" in with_data["normalisation"].sentence
    with pytest.raises(ValueError, match="Pass condition="):
        pf.check(flow, key=KEY)
    with pytest.raises(ValueError, match="300 conditions"):
        pf.check(flow, rows_of(300), key=KEY, condition=c[:7])
    assert pf.row_status(flow, rows_of(9) / 2, c[:9]).shape == (9,)


def test_a_model_that_is_no_flow_and_its_parts():
    model = Reweighted(toy(dim=3), 1.0)
    report = pf.check(model, rows_of(300, 3), key=KEY, parts={"inner": Part(toy("sign"), rows_of(300))})
    assert report["round trip"].verdict == "skipped"
    assert "not a flow" in report["round trip"].sentence
    assert report["independence of rows"].verdict == report["normalisation"].verdict == "pass"
    assert [line.name for line in report.failed] == ["inner: log-det against autodiff", "inner: normalisation"]
    assert not report.ok


def test_the_report_travels_as_json(spline_report: CheckReport):
    text = json.dumps(spline_report.to_json(), allow_nan=False)
    assert CheckReport.from_json(json.loads(text)) == spline_report
    odd = CheckReport((CheckLine("x", math.inf, None, "fail", "Lost."),), 0.5, {})
    assert CheckReport.from_json(json.loads(json.dumps(odd.to_json(), allow_nan=False))) == odd
    assert [line.name for line in odd] == ["x"]
    assert len(odd) == 1
    lines = str(spline_report).splitlines()
    assert lines[0].split() == ["check", "verdict", "figure", "limit"]
    assert lines[-1].startswith("OK: ")
    with pytest.raises(KeyError, match="round trip"):
        spline_report["no such check"]


def test_arguments_are_looked_at():
    with pytest.raises(TypeError, match="a distribution"):
        pf.check("flow", key=KEY)  # pyright: ignore[reportArgumentType] - refused
    with pytest.raises(ValueError, match="1 rows with NaN"):
        pf.check(toy(), [[0.0, np.nan], [0.0, 1.0]], key=KEY)
    with pytest.raises(ValueError, match="shape"):
        pf.check(toy(), np.zeros((4, 3)), key=KEY)
    with pytest.raises(ValueError, match="skip"):
        pf.check(toy(), key=KEY, skip={"everything": "no time"})
    with pytest.raises(ValueError, match="unconditional"):
        pf.check(toy(), key=KEY, condition=np.zeros((3, 1)))
    with pytest.raises(TypeError, match="key"):
        pf.check(toy(), key=0)  # pyright: ignore[reportArgumentType] - refused


def test_many_rows_are_sampled_and_the_same_key_gives_the_same():
    many = rows_of(9000)
    one, two = context(toy(), many), context(toy(), many)
    assert one.data is not None
    assert one.data.shape == (5000, 2)
    assert two.data is not None
    assert np.array_equal(one.data, two.data)
    assert not np.array_equal(one.data, many[:5000])


def test_row_status(spline_flow: pf.Flow):
    train = banana(1500, 3, 1)
    odd = np.array([[np.nan, 1, 2], [np.inf, 1, 2], [50, 1, 2], [0, 1, 40.0]])
    status = pf.row_status(spline_flow, np.concatenate([train[:600], odd]), reference=train)
    assert status[-4:].tolist() == ["unconverged", "extrapolated", "extrapolated", "extrapolated"]
    assert 0.95 < np.mean(status[:600] == "ok") < 1
    assert set(status[:600]) == {"ok", "tail"}
    assert pf.row_status(spline_flow, odd)[2:].tolist() == ["tail", "tail"]
    assert pf.row_status(spline_flow, train[:7]).tolist() == pf.row_status(spline_flow, train)[:7].tolist()
    assert set(pf.row_status(toy("shifted"), rows_of(5))) == {"unconverged"}
    assert pf.row_status(Reweighted(toy(), 1.0), rows_of(5)).tolist() == ["ok"] * 5
    with pytest.raises(ValueError, match="random"):
        pf.row_status(toy("noisy"), rows_of(5))
    with pytest.raises(TypeError, match="distribution"):
        pf.row_status(None, rows_of(5))  # pyright: ignore[reportArgumentType] - refused
