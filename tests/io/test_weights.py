"""Weights of any module: out and in unchanged; files that are not those weights are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pushforward import flows
from pushforward.bijections import Standardize
from pushforward.io import UntrustedModelError, load_weights, save_weights


def build(seed: int) -> Any:
    return flows.nsf(jax.random.key(seed), dim=3, n_layers=2, width=8, linear="lu", condition_dim=2, actnorm=True)


def test_any_module_comes_back_unchanged(tmp_path: Path) -> None:
    module = {
        "flow": build(0),
        "standardize": Standardize(np.array([1e9 + 0.123456789, 2.0]), np.array([1e-9, 3.0])),
        "buffers": [jnp.arange(3), jnp.array([True, False]), np.float64(3.0), "text", None],
    }
    save_weights(module, tmp_path / "m.safetensors")
    other = jax.tree.map(lambda leaf: leaf * 0 if eqx.is_inexact_array(leaf) else leaf, module)
    loaded = load_weights(other, tmp_path / "m.safetensors")
    assert eqx.tree_equal(module, loaded)
    assert isinstance(loaded["standardize"].loc.value, np.ndarray)
    assert loaded["standardize"].loc.value.dtype == np.float64
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_the_same_module_gives_the_same_bytes(tmp_path: Path) -> None:
    save_weights(build(0), tmp_path / "a")
    save_weights(build(0), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shapes_are_template_enough(tmp_path: Path) -> None:
    save_weights(build(0), tmp_path / "m")
    loaded = load_weights(eqx.filter_eval_shape(build, 1), tmp_path / "m")
    x = np.random.default_rng(0).standard_normal((5, 3))
    condition = np.ones(2)
    np.testing.assert_array_equal(loaded.log_prob(x, condition), build(0).log_prob(x, condition))


def test_double_precision_weights_load_where_single_is_the_default(tmp_path: Path) -> None:
    save_weights(build(0), tmp_path / "m")
    with jax.enable_x64(False):
        loaded = load_weights(build(1), tmp_path / "m")
        leaves = [leaf for leaf in jax.tree.leaves(loaded) if eqx.is_inexact_array(leaf)]
        assert {str(leaf.dtype) for leaf in leaves} == {"float32"}
    with jax.enable_x64(False):
        save_weights(build(0), tmp_path / "single")
    loaded = load_weights(build(1), tmp_path / "single")
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(loaded) if eqx.is_inexact_array(leaf)} == {"float32"}


def test_what_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NaN"):
        save_weights({"a": jnp.array([1.0, jnp.nan])}, tmp_path / "m")
    with pytest.raises(TypeError, match="dtype"):
        save_weights({"a": jax.random.key(0)}, tmp_path / "m")
    with pytest.raises(TypeError, match="complex"):
        save_weights({"a": jnp.ones(2, complex)}, tmp_path / "m")
    assert os.listdir(tmp_path) == [], "a failed save left a file"


def _raw(header: dict, payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + payload


ATTACKS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a safetensors file"),
    "noise": (bytes(range(256)), "not a safetensors file"),
    "header longer than the file": ((2**40).to_bytes(8, "little") + b"{}", "not a safetensors file"),
    "pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07", "not a safetensors file"),
    "huge shape": (
        _raw({"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 8]}}, b"\0" * 8),
        "not a safetensors file",
    ),
    "overlapping arrays": (
        _raw(
            {
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
            b"\0" * 12,
        ),
        "not a safetensors file",
    ),
    "offset beyond the end": (
        _raw({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, b"\0" * 8),
        "not a safetensors file",
    ),
    "bytes after the end": (
        _raw({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 64),
        "not a safetensors file",
    ),
    "unknown dtype": (
        _raw({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        "got (2,) BF16",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_files_are_refused(name: str, tmp_path: Path) -> None:
    content, words = ATTACKS[name]
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(UntrustedModelError) as caught:
        load_weights({"a": jnp.zeros(2, jnp.float32)}, tmp_path / "m")
    assert words in str(caught.value)


def test_files_of_another_model_are_refused(tmp_path: Path) -> None:
    template = {"a": jnp.zeros(2, jnp.float32), "n": jnp.zeros(2, jnp.int32), "x": np.zeros(2)}
    right = {"a": np.ones(2, np.float32), "n": np.ones(2, np.int32), "x": np.ones(2)}
    save_file(right, tmp_path / "right")
    assert float(load_weights(template, tmp_path / "right")["a"][0]) == 1
    for change, words in (
        ({"a": np.ones(3, np.float32)}, "expected shape (2,) float32, got (3,) F32"),
        ({"n": np.ones(2, np.int64)}, "expected dtype int32"),
        ({"a": np.ones(2, np.int32)}, "expected dtype float32"),
        ({"x": np.ones(2, np.float32)}, "expected dtype float64"),
        ({"a": np.array([1, np.inf], np.float32)}, "NaN or infinity"),
        ({"a": np.array([np.nan, 1], np.float32)}, "NaN or infinity"),
        ({"extra": np.ones(2, np.float32)}, "has no use for 'extra'"),
    ):
        save_file({**right, **change}, tmp_path / "wrong")
        with pytest.raises(UntrustedModelError) as caught:
            load_weights(template, tmp_path / "wrong")
        assert words in str(caught.value)
    save_file({"a": right["a"]}, tmp_path / "wrong")
    with pytest.raises(UntrustedModelError, match="lacks 'n'"):
        load_weights(template, tmp_path / "wrong")


def test_links_and_devices_are_not_opened(tmp_path: Path) -> None:
    save_weights({"a": jnp.zeros(2)}, tmp_path / "m")
    assert set(load_file(tmp_path / "m")) == {"a"}
    (tmp_path / "link").symlink_to(tmp_path / "m")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("link", "symbolic link"), ("pipe", "not a regular file"), ("none", "missing")):
        with pytest.raises(UntrustedModelError, match=words):
            load_weights({"a": jnp.zeros(2)}, tmp_path / name)
    with pytest.raises(UntrustedModelError):
        load_weights({"a": jnp.zeros(2)}, tmp_path)
