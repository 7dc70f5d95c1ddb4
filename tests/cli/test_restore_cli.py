"""`pushforward restore`: halves of images, what is written, and problems that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pushforward.cli import main
from pushforward.images import read_images

pytestmark = pytest.mark.float32
IMAGES = np.random.default_rng(0).integers(0, 3, (40, 4, 4)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of levels, and images beside it."""
    from pushforward.images import ImageDensity

    place = tmp_path_factory.mktemp("restore")
    training = {"max_epochs": 1, "verify": False, "validation_fraction": 0.0}
    density = ImageDensity("made", flow_options={"width": 4, "depth": 1}, training=training)
    density.fit(IMAGES, n_levels=3).save(place / "model")
    np.savez(place / "images.npz", images=IMAGES[:3])
    return place


def test_halves_are_completed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, images, out = str(folder / "model"), str(folder / "images.npz"), str(folder / "drawn.npz")
    words = ["restore", model, images, "--mask", "top-half", "--out", out, "--draws", "4", "--show", "draws", "--json"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n"], facts["method"], facts["trustworthy"]) == (3, "complete", 3)
    drawn = read_images(out, n_levels=3).levels
    assert drawn.shape == (12, 1, 4, 4)
    np.testing.assert_array_equal(drawn[:, 0, :2], np.repeat(IMAGES[:3, :2], 4, axis=0))
    # The same by a picture of what is known, with the means as one picture.
    Image.fromarray(np.repeat([[255], [255], [0], [0]], 4, axis=1).astype(np.uint8)).save(folder / "known.png")
    words = ["restore", model, images, "--mask", str(folder / "known.png"), "--out", str(folder / "means.png")]
    assert main(words) == 0
    assert "3 of 3 answers may be taken at face value" in capsys.readouterr().out
    assert (folder / "means.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "--mask, --factor, or --noise-sd"),
        (["--mask", "top-half", "--factor", "2"], "--mask, --factor, or --noise-sd"),
        (["--noise-sd", "1"], "a mask without noise"),
        (["--mask", "left-half"], "first in the model's order"),
        (["--mask", "top-half", "--label", "x"], "a model without classes"),
    ],
)
def test_refusals(folder: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["restore", str(folder / "model"), str(folder / "images.npz"), "--out", str(folder / "none.png"), *words]
    assert main(given) in (2, 3)
    told = capsys.readouterr().err
    assert text in told
    assert "Traceback" not in told
    assert not (folder / "none.png").exists()


def test_classes_are_those_of_the_images_or_one_for_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pushforward.images import ImageDensity

    training = {"max_epochs": 1, "verify": False, "validation_fraction": 0.0}
    density = ImageDensity("made", flow_options={"width": 4, "depth": 1}, training=training)
    density.fit(IMAGES, np.arange(40) % 2, n_levels=3).save(folder / "classes")
    np.savez(folder / "labelled.npz", images=IMAGES[:3], labels=np.array([0, 1, 0]))

    def told(images: str, *label: str) -> tuple[int, str]:
        words = ["restore", str(folder / "classes"), str(folder / images), "--mask", "top-half", "--draws", "2"]
        code = main([*words, "--out", str(folder / "classes.npz"), "--force", *label])
        return code, capsys.readouterr().err

    assert told("labelled.npz")[0] == 0
    assert told("images.npz", "--label", "1")[0] == 0
    for label, text in (((), "give --label, one of 0, 1"), (("--label", "x"), "among the model's classes")):
        code, words = told("images.npz", *label)
        assert code in (2, 3)
        assert text in words
        assert "Traceback" not in words


def test_levels_and_flags_are_those_of_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arrays of other types are read with the model's levels, too large ones are refused, and advice names flags."""
    np.savez(folder / "wide.npz", images=IMAGES[:2].astype(np.int64))
    np.savez(folder / "bright.npz", images=np.full((2, 4, 4), 9, np.uint8))
    words = ["restore", str(folder / "model"), "", "--mask", "top-half", "--draws", "2", "--out", str(folder / "w.npz")]
    words[2] = str(folder / "wide.npz")
    assert main(words) == 0
    capsys.readouterr()
    words[2] = str(folder / "bright.npz")
    assert main([*words, "--force"]) == 3
    told = capsys.readouterr().err
    assert "whole numbers from 0 to 2" in told
    assert "--levels" in told
    assert "n_levels=" not in told
    assert main(["restore", str(folder / "model"), str(folder / "wide.npz"), "--noise-sd", "1", "--out", "x.png"]) == 2
    assert "--flow realnvp" in capsys.readouterr().err
