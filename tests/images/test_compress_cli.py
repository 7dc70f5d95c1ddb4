"""`pushforward compress` and `decompress`, on a folder that `ImageDensity` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pushforward.cli import main
from pushforward.images import ImageDensity, read_images
from pushforward.images.compression.sizes import png_size, zstd_size

pytest.importorskip("constriction")
DIGITS: Any = load_digits()
LEVELS = (DIGITS.images[:700, ::2, ::2] // 4.1).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compress")
    options = {"width": 32, "law": "categorical"}
    density = ImageDensity("made", flow_options=options, training={"max_epochs": 5})
    density.fit(LEVELS, n_levels=4).save(folder / "model")
    np.savez(folder / "images.npz", images=LEVELS)
    return folder


def test_images_come_back(folder: Path, capsys: pytest.CaptureFixture) -> None:
    model, file, out = (str(folder / name) for name in ("model", "images.pfz", "again.npz"))
    assert main(["compress", model, str(folder / "images.npz"), "--out", file, "--check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == Path(file).stat().st_size
    assert 0 <= found["bytes"] - found["model_bits"] / 8 < 110, "a header of 90 bytes, and the end of the stream"
    assert min(found["png_bytes"], found["zstd_bytes"]) > 0
    assert main(["decompress", model, file, "--out", out]) == 0
    assert "700 images of 1 x 4 x 4 pixels" in capsys.readouterr().out
    assert np.array_equal(read_images(out, n_levels=4).levels[:, 0], LEVELS)


def test_damage_is_said_in_a_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    model, file, out = (str(folder / name) for name in ("model", "short.pfz", "no.npz"))
    Path(file).write_bytes(b"\x89PFZ\r\n\x1a\n and no more")
    assert main(["decompress", model, file, "--out", out]) == 3
    assert "truncated" in capsys.readouterr().err
    assert main(["decompress", model, str(folder / "nothing.pfz"), "--out", out]) == 3
    assert not Path(out).exists()
    assert main(["compress", model, str(folder / "images.npz"), "--out", file]) == 2
    assert "exists" in capsys.readouterr().err


def test_sizes_of_other_formats() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (40, 1, 16, 16)).astype(np.uint8)
    assert png_size(noise, 2) == pytest.approx(40 * 32, rel=0.5), "a bit for each pixel"
    assert zstd_size(noise, 2) == pytest.approx(40 * 32, abs=20)
    colour = rng.integers(0, 256, (3, 3, 16, 16)).astype(np.uint8)
    assert (png_size(colour, 256) or 0) > colour.size * 0.9
    assert png_size(colour[:0], 256) is None
    assert png_size(colour[:, :2], 256) is None


def test_averaged_orders_stay_exact_in_a_folder(tmp_path: Path) -> None:
    options = {"width": 8, "n_orders": 2, "law": "categorical"}
    labels = np.arange(150) % 6  # whose shares are no fractions of two
    density = ImageDensity("made", flow_options=options, training={"max_epochs": 1})
    density.fit(LEVELS[:150], labels, n_levels=4).save(tmp_path / "model")
    again = ImageDensity.load(tmp_path / "model")
    before, after = (each.bits_per_dim(LEVELS[:20], labels[:20]) for each in (density, again))
    assert before == after
    assert after.kind == "exact"
    assert density.sample(2).shape == (2, 1, 4, 4)
