"""Flows of other libraries have the same densities here, draw from them, train on, and are refused where unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.io import from_nflows, from_zuko
from pushforward.io.foreign.maps import BoundedLogitSplineMap, PositiveScaleMap
from pushforward.io.weights import arrays_from_bytes

WEIGHTS = Path(__file__).parent / "weights"
EXPECTED = np.load(WEIGHTS / "expected.npz")
ZUKO = ("zuko_maf", "zuko_maf_residual", "zuko_nsf", "zuko_nsf_coupling", "zuko_realnvp")
NFLOWS = ("nflows_maf", "nflows_maf_feedforward", "nflows_realnvp", "nflows_nsf_coupling", "nflows_nsf")


def arrays(name: str) -> dict[str, np.ndarray]:
    return arrays_from_bytes((WEIGHTS / f"{name}.safetensors").read_bytes(), name)


def flow_of(name: str, source: Any = None) -> pf.Flow:
    source = WEIGHTS / f"{name}.safetensors" if source is None else source
    return from_zuko(source) if name.startswith("zuko") else from_nflows(source, tail_bound=3.0)


def condition_of(flow: pf.Flow) -> np.ndarray | None:
    return None if flow.cond_shape is None else EXPECTED["context"]


@pytest.mark.parametrize("name", [*ZUKO, *NFLOWS])
def test_densities_are_those_of_the_other_library(name: str):
    flow = flow_of(name)
    log_prob = flow.log_prob(EXPECTED["x"], condition_of(flow))
    np.testing.assert_allclose(log_prob, EXPECTED[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["zuko_nsf", "nflows_nsf", "nflows_nsf_coupling"])
def test_both_directions_agree(name: str):
    flow = flow_of(name)
    condition = condition_of(flow)
    z = flow.encode(EXPECTED["x"], condition)
    np.testing.assert_allclose(flow.decode(z, condition), EXPECTED["x"], atol=1e-8)


def test_an_archive_of_numpy_gives_the_same(tmp_path: Path):
    np.savez(tmp_path / "flow.npz", **arrays("zuko_realnvp"))  # pyright: ignore[reportArgumentType]
    flow = from_zuko(tmp_path / "flow.npz")
    np.testing.assert_allclose(flow.log_prob(EXPECTED["x"], EXPECTED["context"]), EXPECTED["zuko_realnvp"], rtol=1e-9)


def test_a_wrong_bound_is_noticed():
    """The broken twin: what the state dict does not hold matters."""
    other = from_nflows(WEIGHTS / "nflows_nsf_coupling.safetensors", tail_bound=4.0)
    log_prob = other.log_prob(EXPECTED["x"], EXPECTED["context"])
    assert np.max(np.abs(log_prob - EXPECTED["nflows_nsf_coupling"])) > 1e-3


def test_masks_stay_in_training():
    """A gradient never reaches a masked weight, so that the network stays autoregressive."""
    flow = flow_of("zuko_maf_residual")
    params, rest = pf.trainable(flow)

    def loss(params: Any) -> jax.Array:
        return -jnp.mean(pf.combine(params, rest).log_prob(EXPECTED["x"]))

    moved = jax.tree.map(lambda a, g: a - 0.1 * g + 1.0 * (g == 0), params, jax.grad(loss)(params))
    trained = pf.combine(moved, rest)
    layer = trained.bijection.bijection.members[0]
    jacobian = jax.jacfwd(lambda x: layer.forward(x))(jnp.asarray(EXPECTED["x"][0]))
    assert np.array_equal(np.triu(jacobian, 1), np.zeros((3, 3)))


@pytest.mark.parametrize(
    "scalar_map",
    [
        PositiveScaleMap("softplus", "scale, shift"),
        PositiveScaleMap("sigmoid", "shift, scale"),
        BoundedLogitSplineMap(4, 5.0),
    ],
    ids=lambda scalar_map: type(scalar_map).__name__,
)
def test_maps_are_inverted_and_have_the_slope_of_autodiff(scalar_map: Any):
    x = jnp.array([-7.0, -5.0, -4.9, -1.0, 0.0, 0.3, 2.0, 4.999, 5.0, 30.0])
    params = 3 * jax.random.normal(jax.random.key(0), (scalar_map.n_params, len(x)))
    y, log_slope = scalar_map.forward_and_log_det(x, params)
    back, log_inverse = scalar_map.inverse_and_log_det(y, params)
    np.testing.assert_allclose(back, x, atol=1e-9)
    np.testing.assert_allclose(log_inverse, -log_slope, atol=1e-8)
    slope = jax.vmap(jax.grad(lambda x, p: scalar_map.forward_and_log_det(x, p)[0]), in_axes=(0, -1))(x, params)
    inside = np.abs(x) != 5.0  # at the ends of the spline the slope has two sides
    np.testing.assert_allclose(log_slope[inside], np.log(slope)[inside], atol=1e-9)


def changed(name: str, change: Any) -> dict[str, np.ndarray]:
    state = arrays(name)
    change(state)
    return state


def extra(state: dict) -> None:
    state["transform.transforms.0.gate.weight"] = np.ones(3)


def gap(state: dict) -> None:
    for key in [key for key in state if key.startswith("_transform._transforms.1.")]:
        del state[key]


def cyclic(state: dict) -> None:
    for key in state:
        if key.endswith("mask"):
            state[key] = np.ones_like(state[key])


def foreign(state: dict) -> None:
    state["transform.transforms.0.phi.0"] = state.pop("transform.transforms.0.hyper.0.weight")
    for key in [key for key in state if key.startswith("transform.transforms.0.hyper")]:
        del state[key]


def infinite(state: dict) -> None:
    state["base.loc"] = np.array([0.0, np.inf, 0.0])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("zuko_maf", extra, "gate.weight"),
        ("nflows_maf", gap, "without gaps"),
        ("zuko_maf", cyclic, "cycle"),
        ("zuko_maf", foreign, "phi"),
        ("zuko_maf", infinite, "finite"),
    ],
)
def test_what_cannot_be_mapped_is_named(name: str, change: Any, words: str):
    with pytest.raises(ValueError, match=words):
        flow_of(name, changed(name, change))


def test_the_libraries_are_not_mistaken_for_each_other():
    with pytest.raises(ValueError, match="state dict"):
        from_zuko(WEIGHTS / "nflows_maf.safetensors")
    with pytest.raises(ValueError, match="state dict"):
        from_nflows(WEIGHTS / "zuko_maf.safetensors")


def test_files_are_read_without_trust(tmp_path: Path):
    (tmp_path / "flow.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match="safetensors"):
        from_zuko(tmp_path / "flow.pt")
    np.savez(tmp_path / "objects.npz", a=np.array([object()]))
    with pytest.raises(pf.UntrustedModelError):
        from_zuko(tmp_path / "objects.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(pf.UntrustedModelError):
        from_nflows(tmp_path / "broken.npz")
