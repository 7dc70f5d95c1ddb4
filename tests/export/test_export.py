"""Whole models: what an export says is what the model says, in another process, and nothing is overwritten."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from cases import small
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions import with_solver
from pushforward.dynamics import FixedSteps
from pushforward.export import export_stablehlo
from pushforward.export import stablehlo as stablehlo_module
from pushforward.export.comparison import expected_of
from pushforward.export.exported_functions import functions_of
from pushforward.export.stablehlo import custom_calls
from pushforward.numerics.triangular import LARGE
from pushforward.testing import randomise

KEY = jax.random.key(3)
NAMES = ["a", "b", "c"]
# Each member of the zoo once, and each option once.
FLOWS: dict[str, dict[str, Any]] = {
    "nice": {},
    "realnvp": {"condition_dim": 2, "actnorm": True, "linear": "lu"},
    "maf": {"base": pf.StudentT(5.0, (3,))},
    "iaf": {},
    "nsf": {},
    "nsf, autoregressive": {"condition_dim": 2},
    "sylvester": {"condition_dim": 2},
}
# The others, with solvers and loops of their own, with `--thorough`.
SELDOM: dict[str, dict[str, Any]] = {
    "naf": {},
    "umnn": {},
    "sos": {"condition_dim": 2},
    "bernstein": {"condition_dim": 2},
    "bnaf": {"condition_dim": 2},
    "flowpp": {"condition_dim": 2},
    "gaussianization": {},
    "planar": {"condition_dim": 2},
    "radial": {"linear": "qr"},
    "iresnet": {"condition_dim": 2},
    "residual_flow": {},
    "cnf": {"condition_dim": 2},
    "score_sde": {},
}
# Solved step by step, as many as each row needs.
SOLVED = ("cnf", "score_sde")
FLOWS |= SELDOM


def flow_of(name: str) -> pf.Flow:
    flow = randomise(small(name, KEY, dim=3, **FLOWS[name]), KEY, 0.2)
    units = pf.Standardize([1e3, 0.0, -5.0], [10.0, 1e-2, 1.0])
    return pf.Flow(flow.base, pf.Chain([flow.bijection, units]))


def given(flow: pf.AbstractDistribution) -> dict[str, Any]:
    return {"names": NAMES, "condition_names": ["u", "v"] if flow.cond_shape else []}


class Noisy(pf.AbstractDistribution):
    """A normal whose log-density is an estimate, with noise for each row."""

    event_shape: Shape = eqx.field(static=True, default=(3,))
    cond_shape: Shape | None = eqx.field(static=True, default=None)
    needs_key: bool = eqx.field(static=True, default=True)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return -0.5 * jnp.sum(x * x, axis=0) + jax.vmap(lambda key: jax.random.normal(key))(keys)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return jax.vmap(lambda key: jax.random.uniform(key, (3,)), out_axes=-1)(keys)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        raise NotImplementedError


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.thorough] if n in SELDOM else []) for n in FLOWS if n not in SOLVED]
)
def test_exports_are_the_model(name: str, tmp_path: Path) -> None:
    flow = flow_of(name)
    report = export_stablehlo(flow, tmp_path / "stablehlo", **given(flow))
    assert report.ok
    assert report.rows == 1000
    assert max(report.max_abs_error_log_prob, report.max_abs_error_sample) < 1e-9
    assert set(report.custom_calls) == {"shape_assertion"}
    record = json.loads((tmp_path / "stablehlo/export.json").read_text())
    assert record["programs"]["sample"]["arguments"]["rows"] == {"shape": ["n"], "dtype": "uint32"}
    for path, digest in report.files.items():
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.thorough) for name in SOLVED])
def test_a_flow_of_a_velocity_field(name: str, tmp_path: Path) -> None:
    flow = flow_of(name)
    report = export_stablehlo(flow, tmp_path / "stablehlo", **given(flow))
    assert report.ok
    assert max(report.max_abs_error_log_prob, report.max_abs_error_sample) < 1e-6
    assert set(report.custom_calls) == {"shape_assertion"}
    steps = with_solver(flow, FixedSteps("rk4", 4))
    assert export_stablehlo(steps, tmp_path / "steps", **given(flow)).ok


def test_a_log_density_that_needs_a_key(tmp_path: Path) -> None:
    rows = np.zeros((20, 3))
    assert export_stablehlo(Noisy(), tmp_path / "out", names=NAMES, rows=rows).ok
    arguments = json.loads((tmp_path / "out/export.json").read_text())["programs"]["log_prob"]["arguments"]
    assert list(arguments) == ["x", "key_data", "rows"]


def test_a_fixed_batch_has_no_custom_call_and_lapack_would_be_seen(tmp_path: Path) -> None:
    mixer = pf.Invert(pf.LULinear(KEY, 3))
    flow = pf.Flow(pf.StandardNormal((3,)), mixer)
    report = export_stablehlo(flow, tmp_path / "out", names=NAMES, batch=16, rows=np.ones((20, 3)))
    assert report.ok
    assert report.custom_calls == {}
    assert "fixed to 16" in (tmp_path / "out/README.md").read_text()
    # The twin: a matrix without structure is factorised by LAPACK.
    full = pf.Flow(pf.StandardNormal((3,)), pf.Invert(pf.bijections.FullLinear(KEY, 3)))
    functions = functions_of("test", full, NAMES, (), "float64")
    assert custom_calls(stablehlo_module._export(functions, "sample", 16).mlir_module())


def test_large_triangular_systems_have_no_custom_call() -> None:
    dim = LARGE + 1
    flow = pf.Flow(pf.StandardNormal((dim,)), pf.Invert(pf.LULinear(KEY, dim)))
    functions = functions_of("test", flow, tuple(map(str, range(dim))), (), "float64")
    assert custom_calls(stablehlo_module._export(functions, "sample", 4).mlir_module()) == []


def test_float32_is_compared_with_the_model_in_float32(tmp_path: Path) -> None:
    rows = np.full((5, 3), 2.0)
    report = export_stablehlo(flow_of("nice"), tmp_path / "out", names=NAMES, precision="float32", rows=rows)
    assert report.precision == "float32"
    assert report.max_abs_error_log_prob > 1e-12
    assert report.sentence.startswith("Exported to")


def test_a_wrong_program_is_reported() -> None:
    """The broken twin: a log-density off by 1e-5, a sample with two rows exchanged, a NaN."""
    functions = functions_of("test", pf.StandardNormal((3,)), NAMES, (), "float64")
    expected = expected_of("test", functions, None, None, 0)

    def outcome(log_prob: Any = 0.0, rows: Any = slice(None)) -> bool:
        return expected.compare(lambda *_: expected.log_prob + log_prob, lambda *_: expected.draws[rows]).ok

    assert outcome()
    assert not outcome(log_prob=1e-5)
    assert not outcome(log_prob=np.where(np.arange(1000) == 5, np.nan, 0))
    assert not outcome(rows=np.r_[1, 0, 2:1000])
    assert not outcome(rows=slice(10))


def test_a_failed_comparison_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushforward.export.comparison.LIMITS", {"float64": -1.0})
    report = export_stablehlo(pf.StandardNormal((3,)), tmp_path / "out", names=NAMES, rows=np.zeros((2, 3)))
    assert not report.ok
    assert "Do not use it" in report.sentence
    assert not json.loads((tmp_path / "out/export.json").read_text())["comparison"]["ok"]


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    options: dict[str, Any] = {"names": NAMES, "rows": np.zeros((2, 3))}
    normal = pf.StandardNormal((3,))
    out = tmp_path / "out"
    export_stablehlo(normal, out, **options)
    with pytest.raises(FileExistsError, match="exists already"):
        export_stablehlo(normal, out, **options)
    export_stablehlo(normal, out, force=True, **options)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="notes"):
        export_stablehlo(normal, out, force=True, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_unsuitable_models_are_refused(tmp_path: Path) -> None:
    normal = pf.StandardNormal((3,))
    with pytest.raises(TypeError, match="a distribution"):
        export_stablehlo(pf.Reverse(3), tmp_path / "out", names=NAMES)  # pyright: ignore[reportArgumentType]
    for names in (["a", "b"], ["a", "a", "b"], "abc"):
        with pytest.raises(ValueError, match="names"):
            export_stablehlo(normal, tmp_path / "out", names=names)
    with pytest.raises(ValueError, match="condition_names"):
        export_stablehlo(normal, tmp_path / "out", names=NAMES, condition_names=["u"])
    with pytest.raises(ValueError, match=r"rows \(n, 3\)"):
        export_stablehlo(normal, tmp_path / "out", names=NAMES, rows=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="precision"):
        export_stablehlo(normal, tmp_path / "out", names=NAMES, precision="float16")  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []


def test_reports_are_immutable(tmp_path: Path) -> None:
    report = export_stablehlo(pf.StandardNormal((3,)), tmp_path / "out", names=NAMES, rows=np.zeros((2, 3)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.ok = False  # pyright: ignore[reportAttributeAccessIssue]
