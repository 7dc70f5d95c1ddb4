"""ONNX: programs in plain operations are the model, and so they are in onnxruntime, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfinv

import pushforward as pf
from cases import small
from pushforward.export import export_onnx
from pushforward.export.exported_functions import functions_of
from pushforward.export.onnx import _Program
from pushforward.export.plain_operations import inverse_erf
from pushforward.testing import randomise

KEY = jax.random.key(3)
NAMES = ["a", "b", "c"]
FLOWS: dict[str, dict[str, Any]] = {
    "realnvp": {"condition_dim": 2},
    "maf": {},
    "nsf": {},
    "planar": {},
}
SELDOM: dict[str, dict[str, Any]] = {
    "nice": {},
    "iaf": {},
    "nsf, autoregressive": {"condition_dim": 2},
    "radial": {},
    "sylvester": {"condition_dim": 2},
}
needs_the_extra = pytest.mark.skipif(
    importlib.util.find_spec("jax2onnx") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="the extra onnx is not installed",
)


def flow_of(name: str) -> pf.Flow:
    flow = randomise(small(name, KEY, dim=3, **(FLOWS | SELDOM)[name]), KEY, 0.2)
    units = pf.Standardize([1e3, 0.0, -5.0], [10.0, 1e-2, 1.0])
    return pf.Flow(flow.base, pf.Chain([flow.bijection, units]))


def given(flow: pf.AbstractDistribution) -> dict[str, Any]:
    return {"names": NAMES, "condition_names": ["u", "v"] if flow.cond_shape else []}


@needs_the_extra
@pytest.mark.filterwarnings("ignore")  # of jax2onnx and what it imports
@pytest.mark.parametrize("name", [*FLOWS, *(pytest.param(name, marks=pytest.mark.thorough) for name in SELDOM)])
def test_onnxruntime_scores_and_samples(name: str, tmp_path: Path) -> None:
    onnxruntime: Any = importlib.import_module("onnxruntime")

    flow = flow_of(name)
    report = export_onnx(flow, tmp_path / "out", **given(flow))
    assert report.ok
    assert max(report.max_abs_error_log_prob, report.max_abs_error_sample) < 1e-9
    # As the README has it, for another number of rows.
    uniform = np.random.default_rng(0).random((7, 3))
    condition = np.ones((7, 2)) if flow.cond_shape else None
    fed = {"uniform": uniform, "condition": condition}
    record = json.loads((tmp_path / "out/export.json").read_text())["programs"]
    x = run(onnxruntime, tmp_path / "out/sample.onnx", fed, record["sample"])
    log_prob = run(onnxruntime, tmp_path / "out/log_prob.onnx", {"x": x, "condition": condition}, record["log_prob"])
    np.testing.assert_allclose(log_prob, flow.log_prob(x, condition), atol=1e-9)
    # The numbers become the latent by the quantiles of its normal.
    latent = np.asarray(flow.encode(x, condition))
    np.testing.assert_allclose(latent, np.sqrt(2) * erfinv(2 * uniform - 1), atol=1e-6)


def run(onnxruntime: Any, path: Path, values: dict[str, Any], record: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    names = [argument.name for argument in session.get_inputs()]
    assert names == list(record["arguments"])
    return session.run(None, {name: values[name] for name in names})[0]


@needs_the_extra
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    flow = pf.flows.cnf(KEY, dim=3, width=4, depth=1, method="rk4", n_steps=2)
    with pytest.raises(ValueError, match=r"a solver of differential equations .* StableHLO, which takes any model"):
        export_onnx(flow, tmp_path / "out", names=NAMES)
    with pytest.raises(ValueError, match="random numbers that 'random_gamma' draws"):
        export_onnx(pf.StudentT(5.0, (3,)), tmp_path / "out", names=NAMES)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'pushforward\[onnx\]'"):
        export_onnx(pf.StandardNormal((3,)), tmp_path / "out", names=NAMES)


@pytest.mark.parametrize("name", ["maf", "nsf", "planar"])
def test_plain_programs_are_the_model(name: str) -> None:
    """Without the extra too: no primitive of ours, no generator, and the same numbers."""
    flow = flow_of(name)
    functions = functions_of("test", flow, NAMES, [], "float64")
    program = _Program(functions, "sample")
    gone = {"matrix_product", "erf_inv", "random_bits", "custom_vjp_call", "custom_jvp_call", "bitcast_convert_type"}
    assert not gone & primitives(program.closed.jaxpr)
    inputs = [jnp.array([0, 5], jnp.uint32), jnp.arange(4, dtype=jnp.uint32)]
    uniform = program.uniform(inputs)
    assert uniform.shape == (4, 3)
    again = _fixed(program, uniform)
    np.testing.assert_allclose(again, functions.sample(*inputs), rtol=1e-12)
    # The broken twin: other random numbers give other rows.
    assert not np.allclose(_fixed(program, uniform[::-1].copy()), functions.sample(*inputs))


def _fixed(program: _Program, uniform: np.ndarray) -> np.ndarray:
    exported = jax.export.export(jax.jit(lambda u: program.again(u)))(program.arguments["uniform"])
    return np.asarray(exported.call(uniform))


def primitives(jaxpr: Any) -> set[str]:
    names = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            names |= primitives(inner) if hasattr(inner, "eqns") else set()
    return names


def test_the_inverse_error_function() -> None:
    x = np.concatenate([np.linspace(-1, 1, 20001), 1 - np.logspace(-1, -16, 300), [0.0, 1e-300, 1e-10]])
    np.testing.assert_allclose(inverse_erf(jnp.asarray(x)), erfinv(x), rtol=2e-15)
