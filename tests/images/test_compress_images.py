"""Lossless compression: exact images, sizes near the model's bits, and files that are refused."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

import pushforward as pf
from distributions.pixels.models import averaged, make
from marks import thorough
from pushforward.images.compression import CompressedImagesError, codec, compress, decompress
from pushforward.images.compression.container import HEADER, MAGIC
from pushforward.images.compression.fixed_point import (
    GUARD,
    PRECISION,
    SHIFTS,
    frequencies,
    on_grid,
    powers,
    safe_shift,
)

pytest.importorskip("constriction")
DIGITS: Any = load_digits()
IMAGES = DIGITS.images.astype(np.uint8)[:600, None]
KEY = jax.random.key(0)
OPTIONS = {"shape": (1, 8, 8), "n_levels": 17, "width": 16}


@pytest.fixture(scope="module")
def model():
    """A MADE whose masses differ, in single precision as a trained one."""
    made = pf.images.made(KEY, **OPTIONS, law="categorical")
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda w: w + jnp.asarray(0.05 * rng.standard_normal(w.shape), w.dtype) if w.dtype == float else w, made
    )


@pytest.fixture(scope="module")
def written(model):
    return compress(model, IMAGES)


def bits(model, images: np.ndarray, condition: np.ndarray | None = None) -> float:
    return -float(np.sum(model.log_prob(images.astype(float), condition))) / np.log(2)


def test_the_size_is_that_of_the_masses(model, written):
    again = decompress(model, written)
    assert again.dtype == np.uint8
    assert np.array_equal(again, IMAGES)
    assert 1 <= 8 * len(written) / bits(model, IMAGES) < 1.01


@pytest.mark.parametrize("name", ["pixelcnnpp", *thorough("row_lstm")])
def test_rows_and_classes(name):
    """A convolution decodes by rows and pixels what was encoded in one pass, in groups that do not come out even."""
    made = make(name, (1, 4, 4), 4, n_classes=2)
    model = jax.tree.map(lambda w: 0.5 * w if w.dtype == float else w, made)
    images = IMAGES[:400, :, 2:6, 2:6] // 5
    condition = np.eye(2)[np.arange(400) % 2]
    data = compress(model, images, condition, at_once=150)
    assert np.array_equal(decompress(model, data, condition), images)
    expected = bits(model, images, condition) / 8 + len(MAGIC) + HEADER.size
    assert len(data) == pytest.approx(expected, rel=0.01)
    with pytest.raises(CompressedImagesError, match="conditions"):
        decompress(model, data)


def test_labels_travel_in_the_file():
    model = make("made", (1, 4, 4), 4, n_classes=3)
    images, labels = IMAGES[:300, :, 2:6, 2:6] // 5, np.arange(300) % 3
    data, given = compress(model, images, labels=labels), compress(model, images, np.eye(3)[labels])
    assert np.array_equal(decompress(model, data), images)
    assert len(data) - len(given) == pytest.approx(300 * np.log2(3) / 8, abs=8)
    with pytest.raises(ValueError, match="labels or condition"):
        compress(model, images, np.eye(3)[labels], labels=labels)
    with pytest.raises(ValueError, match="among the model's classes"):
        compress(model, images, labels=labels + 1)
    with pytest.raises(CompressedImagesError):
        decompress(make("made", (1, 4, 4), 4), data)


def test_another_process_reads_the_file(model, written, tmp_path):
    """After saving and loading, on one thread, and without the processor's wide registers."""
    pf.io.save_weights(model, tmp_path / "model.safetensors")
    (tmp_path / "images.pfz").write_bytes(written)
    program = f"""
import hashlib, jax, numpy as np, pushforward as pf
jax.config.update("jax_enable_x64", True)
blank = pf.images.made(jax.random.key(5), **{OPTIONS!r}, law="categorical")
model = pf.io.load_weights(blank, r"{tmp_path}/model.safetensors")
images = pf.images.decompress(model, open(r"{tmp_path}/images.pfz", "rb").read())
print(hashlib.sha256(images.tobytes()).hexdigest())
"""
    flags = "--xla_cpu_max_isa=SSE4_2 --xla_cpu_multi_thread_eigen=false"
    env = {**os.environ, "XLA_FLAGS": flags}
    out = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr[-2000:]
    assert out.stdout.strip() == hashlib.sha256(IMAGES.tobytes()).hexdigest()


@pytest.mark.parametrize(("noise", "same"), [(1e-11, True), (1e-5, False)])
def test_masses_may_differ_by_less_than_the_guard(model, written, monkeypatch, noise, same):
    def step(model, state, i, previous):
        log_masses, state = model.step(state, i, previous)
        return log_masses + noise * jnp.sin(jnp.arange(log_masses.size)).reshape(log_masses.shape), state

    monkeypatch.setattr(codec, "_step", step)
    if same:
        assert np.array_equal(decompress(model, written), IMAGES)
    else:
        with pytest.raises(CompressedImagesError, match="not those that went in"):
            decompress(model, written)


def test_damaged_files_are_refused(model, written):
    rng = np.random.default_rng(0)
    for length in [0, 3, 8, 20, 89, 90, len(written) // 2, len(written) - 1]:
        with pytest.raises(CompressedImagesError):
            decompress(model, written[:length])
    with pytest.raises(CompressedImagesError, match="longer"):
        decompress(model, written + b"\0")
    for place in [*range(len(MAGIC) + HEADER.size), *rng.integers(0, len(written), 40)]:
        altered = bytearray(written)
        altered[place] ^= int(rng.integers(1, 256))
        with pytest.raises(CompressedImagesError):
            decompress(model, bytes(altered))


def resealed(data: bytes, field: int, value: object) -> bytes:
    """The file with another field of its header, and a checksum that fits."""
    fields = list(HEADER.unpack_from(data, len(MAGIC)))
    fields[field] = value
    body = MAGIC + HEADER.pack(*fields) + data[len(MAGIC) + HEADER.size : -4]
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (0, 3, "format 1 or 2"),
        (2, 9, "the model is for"),
        (4, 16, "17"),
        (5, 0, "header"),
        (5, 2**31, "unpack to"),
        (6, 2**40, "unpack to"),
        (9, b"0" * 16, "another model"),
        (10, b"0" * 16, "not those that went in"),
    ],
)
def test_headers_that_lie_are_refused(model, written, field, value, text):
    with pytest.raises(CompressedImagesError, match=text):
        decompress(model, resealed(written, field, value))


def test_other_models_and_images_are_refused(model, written):
    other = jax.tree.map(lambda w: 1.001 * w if w.dtype == float else w, model)
    with pytest.raises(CompressedImagesError, match="another model"):
        decompress(other, written)
    with pytest.raises(CompressedImagesError, match="above 1,000"):
        decompress(model, written, max_bytes=1000)
    with pytest.raises(TypeError, match="in_order"):
        compress(averaged((1, 2, 2), 4), np.zeros((1, 1, 2, 2), np.uint8))
    with pytest.raises(TypeError, match="made, pixelcnn"):
        compress(pf.images.gaussian(KEY, shape=(1, 8, 8)), IMAGES)
    for wrong in (IMAGES + 0.5, IMAGES.astype(int) - 1, IMAGES + 1):
        with pytest.raises(ValueError, match="whole numbers"):
            compress(model, wrong)
    with pytest.raises(ValueError, match="Channels come first"):
        compress(model, IMAGES[:, 0])


def test_no_images_are_a_file_too(model):
    assert decompress(model, compress(model, IMAGES[:0])).shape == (0, 1, 8, 8)


def test_powers_are_whole_numbers_that_any_machine_has():
    exact = [int(Decimal(2) ** (Decimal(k) / 128) * 2**32) for k in range(128)]
    assert powers().tolist() == exact


def test_the_grid_keeps_away_from_edges():
    rng = np.random.default_rng(0)
    grid = on_grid(np.log(rng.dirichlet(np.full(16, 0.1), 300).T + 1e-300))
    shift = safe_shift(grid)
    counts = frequencies(grid, shift)
    assert np.all(counts.sum(axis=1) == 2**PRECISION - 16)
    assert counts.min() >= 0
    grid[3, 7] = np.round(grid[3, 7]) + 0.5 + GUARD / 3
    moved = safe_shift(grid)
    assert moved != 0
    near = grid + rng.uniform(-0.9, 0.9, grid.shape) * GUARD
    assert np.array_equal(frequencies(grid, moved), frequencies(near, moved))
    assert not np.array_equal(frequencies(grid, 0), frequencies(grid - GUARD, 0)), "the twin: no shift"
    stuck = -0.5 - np.array([[SHIFTS[k]] for k in range(len(SHIFTS))])
    with pytest.raises(ValueError, match="no shift"):
        safe_shift(stuck)
    with pytest.raises(ValueError, match="not numbers"):
        on_grid(np.array([np.nan]))
