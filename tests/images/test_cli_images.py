"""The command line takes images where it takes tables, and tells which is which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pushforward.cli import main
from pushforward.images import read_images

DIGITS: Any = load_digits()
LEVELS = (DIGITS.images[:300, ::2, ::2] * 15).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    np.savez(folder / "images.npz", images=LEVELS, labels=DIGITS.target[:300])
    arguments = ["fit", str(folder / "images.npz"), "--flow", "gaussian", "--pixel-map", "affine", "--classes"]
    assert main([*arguments, "--out", str(folder / "model"), "--quiet"]) == 0
    return folder


def run(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_model_of_images_is_used_by_every_verb(folder: Path, capsys: pytest.CaptureFixture) -> None:
    model, images = folder / "model", folder / "images.npz"
    found = run(capsys, "inspect", model)
    assert (found["flow"], found["shape"], found["n_levels"], len(found["classes"])) == ("gaussian", [1, 4, 4], 256, 10)
    found = run(capsys, "evaluate", model, images, "--out", folder / "report.json")
    assert found["bits_kind"] == "bound"
    assert 5 < found["bits_per_dim"] < 9
    assert found["standard_error"] > 0
    again = run(capsys, "score", model, images, "--draws", 4, "--out", folder / "scores.csv")
    assert again["bits_per_dim"] < found["bits_per_dim"]
    assert len((folder / "scores.csv").read_text().splitlines()) == 301
    run(capsys, "sample", model, "-n", 6, "--out", folder / "grid.png", "--label", 3)
    with Image.open(folder / "grid.png") as picture:
        assert picture.size == (30 * (3 * 6 - 2), 30 * (2 * 6 - 2))  # each pixel is a square of 30
    run(capsys, "sample", model, "-n", 6, "--out", folder / "drawn.npz", "--temperature", 0.5)
    assert read_images(folder / "drawn.npz").shape == (1, 4, 4)
    run(capsys, "sample", model, "-n", 3, "--out", folder / "drawn")
    assert len(read_images(folder / "drawn")) == 3


def test_a_folder_of_pictures_is_fitted(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for i, image in enumerate(LEVELS[:40]):
        place = folder / "pictures" / f"digit{DIGITS.target[i] % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    found = run(
        capsys, "fit", folder / "pictures", "--flow=gaussian", "--classes", "--out", folder / "other", "--flips"
    )
    assert (found["classes"], found["images"]) == (["digit0", "digit1"], 40)
    assert any("mirror" in note for note in found["notes"])


CONFIG = """
[flow]
name = "made"
width = 4
depth = 1
[images]
classes = true
levels = 256
[training]
max_epochs = 9
seed = 3
"""


def test_options_come_from_a_file_and_flags_override_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images, config, page = folder / "images.npz", tmp_path / "fit.toml", tmp_path / "report.html"
    config.write_text(CONFIG)
    found = run(capsys, "fit", images, "--config", config, "--print-config", "--width", 6, "--set", "training.seed=4")
    assert found["config"]["flow"] == {"name": "made", "width": 6, "depth": 1}
    assert found["config"]["seed"] == 4
    assert main(["fit", str(images), "--config", str(config), "--print-config"]) == 0
    (tmp_path / "again.toml").write_text(capsys.readouterr().out)
    own = ["--max-epochs", 1, "--no-classes", "--report", page, "--out", tmp_path / "model"]
    found = run(capsys, "fit", images, "--config", tmp_path / "again.toml", *own)
    assert (found["flow"], found["options"]["width"], found["epochs"], found["classes"]) == ("made", 4, 1, None)
    assert "bits per dimension" in page.read_text()
    for words, text in (
        (["--set", "images.levles=3"], "Did you mean 'images.levels'"),
        (["--set", "training.max_epochs=0"], "a whole number >= 1"),
        (["--set", "images.pixel_map=log"], "'logit' or 'affine'"),
        (["--track", "paper:x"], "tensorboard:FOLDER"),
    ):
        assert main(["fit", str(images), "--config", str(config), "--out", str(tmp_path / "no"), *words]) == 2
        assert text in capsys.readouterr().err


def test_a_dry_run_writes_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = folder / "images.npz"
    found = run(capsys, "fit", images, "--flow", "gaussian", "--dry-run")
    assert found["parameters"] == 0
    options = ["--flow", "made", "--width", 4, "--depth", 1, "--max-epochs", 3, "--dry-run"]
    found = run(capsys, "fit", images, *options, "--out", tmp_path / "model")
    assert (found["epochs"], found["held_out_rows"]) == (3, 30)
    assert found["steps"] == 3 * 3
    assert found["parameters"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["fit", "images.npz", "--flow", "nsf", "--out", "x"], 2, "for images"),
        (["fit", "images.npz", "--flow", "gaussian"], 2, "--out PATH"),
        (["fit", "images.npz", "--flow", "gaussian", "--out", "x", "--set", "width=3"], 2, "no option"),
        (["fit", "images.npz", "--flow", "gaussian", "--out", "x", "--levels", "16"], 3, "whole numbers"),
        (["sample", "model", "-n", "2", "--out", "grid.gif"], 2, "ends in .png or .npz"),
        (["sample", "model", "-n", "2", "--out", "x.png", "--where", "a=1"], 2, "models of tables"),
        (["sample", "model", "-n", "2", "--out", "x.png", "--label", "cat"], 2, "are numbers"),
        (["evaluate", "model", "images.npz", "--samples", "3"], 2, "models of tables"),
        (["fill", "model", "images.npz", "--out", "x.csv"], 5, "a model of images"),
    ],
)
def test_mistakes_are_explained(
    words: list[str],
    code: int,
    text: str,
    folder: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    assert main(words) == code
    assert text in capsys.readouterr().err


def test_the_help_shows_the_options_of_the_model(capsys: pytest.CaptureFixture, folder: Path) -> None:
    assert main(["fit", str(folder / "images.npz"), "--flow", "made", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--width" in shown
    assert "Number of units per hidden layer" in " ".join(shown.split())
    assert main(["fit", "--help"]) == 0
    assert "--given" in capsys.readouterr().out  # a table, as before
