"""`ImageDensity`: fits, bits per dimension, samples, latents, and the folder of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import pushforward as pf
from pushforward._files import MANIFEST
from pushforward.images import ImageDensity
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.errors import DataError

DIGITS: Any = load_digits()
IMAGES, LABELS = DIGITS.images[:, ::2, ::2], DIGITS.target  # 4 x 4, 17 levels


def gaussian(labels: Any = None) -> ImageDensity:
    density = ImageDensity("gaussian", pixel_map="affine", random_state=0)
    return density.fit(IMAGES[:1000], None if labels is None else labels[:1000], n_levels=17)


@pytest.fixture(scope="module")
def plain() -> ImageDensity:
    return gaussian()


@pytest.fixture(scope="module")
def classes() -> ImageDensity:
    return gaussian(LABELS)


def test_the_gaussian_is_that_of_the_images(plain: ImageDensity) -> None:
    """Bits are those that the moments of the images give: no offset is added anywhere."""
    rng = np.random.default_rng(0)
    noisy = (IMAGES[:1000] + rng.random(IMAGES[:1000].shape)).reshape(1000, -1)
    new = (IMAGES[1000:] + rng.random(IMAGES[1000:].shape)).reshape(-1, 16)
    from scipy.stats import multivariate_normal

    law: Any = multivariate_normal
    by_hand = law(noisy.mean(0), np.cov(noisy.T)).logpdf(new)
    bits = plain.bits_per_dim(IMAGES[1000:])
    assert bits.mean == pytest.approx(-by_hand.mean() / (16 * np.log(2)), abs=0.03)  # held-out rows and shrinkage
    assert bits.standard_error == pytest.approx(by_hand.std(ddof=1) / np.sqrt(len(new)) / (16 * np.log(2)), rel=0.1)
    assert (bits.kind, bits.n) == ("bound", 797)
    assert plain.bits_per_dim(IMAGES[1000:], n_draws=16).mean < bits.mean
    assert "bound" in plain.describe()


def test_classes_help(plain: ImageDensity, classes: ImageDensity) -> None:
    given = classes.bits_per_dim(IMAGES[1000:], LABELS[1000:])
    over_all = classes.bits_per_dim(IMAGES[1000:])
    assert given.mean < plain.bits_per_dim(IMAGES[1000:]).mean
    assert given.mean < over_all.mean  # the class itself takes log2(10) bits, a fifth of a bit per pixel
    assert over_all.mean < given.mean + np.log2(10) / 16 + 0.01
    assert classes.sample(3, labels=4).shape == (3, 1, 4, 4)
    zeros, ones = (classes.sample(200, labels=label).mean((0, 1)) for label in (0, 1))
    expected = IMAGES[:1000][LABELS[:1000] == 0].mean(0) - IMAGES[:1000][LABELS[:1000] == 1].mean(0)
    assert np.corrcoef((zeros - ones).ravel(), expected.ravel())[0, 1] > 0.95
    with pytest.raises(DataError, match="labels among"):
        classes.sample(2, labels=11)


def test_samples_are_levels_and_begin_alike(plain: ImageDensity) -> None:
    some = plain.sample(600, random_state=3)
    assert some.dtype == np.uint8
    assert some.max() <= 16
    np.testing.assert_array_equal(plain.sample(5, random_state=3), some[:5])
    assert np.abs(some.mean((0, 1)) - IMAGES[:1000].mean(0)).max() < 1.0
    cold = plain.sample(600, temperature=0.1, random_state=3)
    assert cold.std(0).max() < some.std(0).max() / 2


def test_latents(plain: ImageDensity) -> None:
    z = plain.encode(IMAGES[:10])
    np.testing.assert_array_equal(plain.decode(z)[:, 0], IMAGES[:10])
    assert plain.round_trip_ is not None
    assert plain.round_trip_ < 1e-4
    way = plain.interpolate(IMAGES[0], IMAGES[1], 5)
    np.testing.assert_array_equal(way[[0, -1], 0], IMAGES[:2])
    direction = plain.attribute_direction(IMAGES[:400], LABELS[:400] == 0)
    moved = plain.edit(IMAGES[1], direction, [0.0, 1.0])
    np.testing.assert_array_equal(moved[0, 0], IMAGES[1])
    toward = IMAGES[:400][LABELS[:400] == 0].mean(0) - IMAGES[:400][LABELS[:400] != 0].mean(0)
    change = moved[1, 0].astype(float) - IMAGES[1]
    assert np.corrcoef(change.ravel(), toward.ravel())[0, 1] > 0.5
    with pytest.raises(ValueError, match="of both kinds"):
        plain.attribute_direction(IMAGES[:4], [True] * 4)


def test_other_images_are_refused(plain: ImageDensity) -> None:
    with pytest.raises(DataError, match="17 levels, as the fit had"):
        plain.score_samples(IMAGES[:3].astype(np.uint16))
    with pytest.raises(DataError, match="from 0 to 16"):
        plain.score_samples((IMAGES[:3] * 15).astype(np.uint8))
    with pytest.raises(DataError, match="images of shape"):
        plain.score_samples(DIGITS.images[:3])
    with pytest.raises(ValueError, match="no labels"):
        plain.score_samples(IMAGES[:3], [1, 2, 3])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"flow": "glo"}, ValueError, "flow one of"),
        ({"flow_options": {"depth": 2}}, TypeError, "no option"),
        ({"dequantization": "gaussian"}, ValueError, "dequantization one of"),
        ({"pixel_map": "log"}, ValueError, "pixel_map one of"),
        ({"flow": "made", "pixel_map": "logit"}, ValueError, "no pixel_map for made"),
        ({"training": {"epochs": 3}}, TypeError, "max_epochs"),
        ({"training": {"max_epochs": 0}}, ValueError, "max_epochs"),
    ],
)
def test_wrong_options_are_named(arguments: dict, error: type[Exception], text: str) -> None:
    made: Any = clone(ImageDensity("gaussian"))
    with pytest.raises(error, match=text):
        made.set_params(**arguments).fit(IMAGES[:20], n_levels=17)
    with pytest.raises(ValueError, match="two images"):
        ImageDensity("gaussian").fit(IMAGES[:1], n_levels=17)


def test_a_discrete_model_is_trained_and_exact(tmp_path: Path) -> None:
    how = {"max_epochs": 2, "batch_size": 64}
    density = ImageDensity("made", flow_options={"width": 8}, training=how, random_state=0)
    density.fit((IMAGES[:400] > 8), LABELS[:400])
    bits = density.bits_per_dim(IMAGES[400:500] > 8, LABELS[400:500])
    assert (bits.kind, bits.n_draws) == ("exact", 0)
    assert 0 < bits.mean < 1.2
    assert density.flow_ is None
    assert "bits per dimension" in density.result_.verdict.text
    with pytest.raises(TypeError, match="latents"):
        density.encode(IMAGES[:2] > 8, LABELS[:2])
    density.save(tmp_path / "model")
    again = ImageDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(IMAGES[:9] > 8), density.score_samples(IMAGES[:9] > 8))
    np.testing.assert_array_equal(again.sample(3, labels=1), density.sample(3, labels=1))


def test_the_folder_is_safe(plain: ImageDensity, classes: ImageDensity, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    classes.save(folder)
    again = ImageDensity.load(folder)
    np.testing.assert_array_equal(
        again.score_samples(IMAGES[:5], LABELS[:5]), classes.score_samples(IMAGES[:5], LABELS[:5])
    )
    assert again.describe() == classes.describe()
    assert again.held_out_bits_ == classes.held_out_bits_
    with pytest.raises(FileExistsError):
        plain.save(folder)
    plain.save(folder, force=True)
    with pytest.raises(UntrustedModelError, match="a model of images"):
        pf.FlowDensity.load(folder)
    with pytest.raises(FileNotFoundError):
        ImageDensity.load(tmp_path / "absent")
    with pytest.raises(UntrustedModelError, match="another folder"):
        ImageDensity.load(tmp_path)


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its hash, as somebody who attacks would."""
    import hashlib

    (folder / name).write_bytes(data)
    lines = (folder / MANIFEST).read_text().splitlines()
    digest = hashlib.sha256(data).hexdigest()
    kept = [f"{digest}  {name}" if line.endswith(f"  {name}") else line for line in lines]
    (folder / MANIFEST).write_text("\n".join(kept) + "\n")


ATTACKS: dict[str, Any] = {
    "an unknown model": lambda c: c["recipe"].update(flow="__import__"),
    "a huge image": lambda c: c["recipe"].update(shape=[1, 999, 999]),
    "a huge option": lambda c: c["recipe"].update(options={"width": 10**9}),
    "another shape": lambda c: c["recipe"].update(shape=[1, 5, 5]),
    "no noise": lambda c: c["recipe"].update(dequantization=None),
    "another map": lambda c: c["recipe"].update(pixel_map="logit"),
    "an unknown key": lambda c: c.update(code="print()"),
    "another version": lambda c: c.update(format_version=2),
    "too many classes": lambda c: c.update(classes=[1, 2, 3]),
    "shares that are none": lambda c: c.update(class_shares=[0.9] * 10),
    "classes of two kinds": lambda c: c.update(classes=["a", *range(9)]),
}


def test_altered_folders_are_refused(classes: ImageDensity, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    classes.save(folder)
    config = (folder / "config.json").read_text()
    for name, attack in ATTACKS.items():
        changed = json.loads(config)
        attack(changed)
        rewrite(folder, "config.json", json.dumps(changed).encode())
        try:
            ImageDensity.load(folder)
        except UntrustedModelError as error:
            assert "\n" not in str(error), name  # noqa: PT017
        else:
            pytest.fail(f"{name}: it was loaded")
    (folder / "config.json").write_text(config + " ")
    with pytest.raises(UntrustedModelError, match="SHA-256"):
        ImageDensity.load(folder)
    rewrite(folder, "config.json", config.encode())
    rng = np.random.default_rng(0)
    for name in ("config.json", "metrics.json", "model.safetensors"):
        whole = (folder / name).read_bytes()
        for _ in range(15):  # any damage is an UntrustedModelError, or harmless
            spoilt = bytearray(whole)
            spoilt[rng.integers(len(whole))] = rng.integers(256)
            rewrite(folder, name, bytes(spoilt[: rng.integers(1, len(whole))]) if rng.random() < 0.3 else bytes(spoilt))
            try:
                ImageDensity.load(folder)
            except UntrustedModelError:
                continue
        rewrite(folder, name, whole)


def test_files_that_are_decoded_while_the_model_trains(tmp_path: Path) -> None:
    """A stream of files has the held-out images of a fit from memory, and trains as well; the Gaussian is the same."""
    from PIL import Image

    for i, image in enumerate(IMAGES[:200]):
        Image.fromarray((image * 15).astype(np.uint8)).save(tmp_path / f"{i:03d}.png")
    lazy = pf.images.read_images(tmp_path, stream=True)
    np.testing.assert_array_equal(lazy.levels[[3, 5]][:, 0], (IMAGES[[3, 5]] * 15).astype(np.uint8))
    how = {"max_epochs": 2, "batch_size": 64}
    kinds = {
        "gaussian": {"pixel_map": "affine"},
        "made": {"flow_options": {"width": 8, "law": "logistic", "n_mixtures": 2}, "training": how},
    }
    for name, options in kinds.items():
        bits = []
        for stream in (False, True):
            density = ImageDensity(name, **options, random_state=0).fit(tmp_path, stream=stream)
            assert density.held_out_bits_ is not None
            bits.append(density.held_out_bits_)
        assert bits[0].n == bits[1].n == 20
        assert bits[0].mean == pytest.approx(bits[1].mean, abs=1e-4), name


@pytest.mark.thorough
def test_learned_noise_tightens_the_bound(plain: ImageDensity) -> None:
    """Of the same Gaussian, noise that follows the image costs fewer bits than noise that does not."""
    how = {"max_epochs": 12, "batch_size": 100, "learning_rate": 3e-3}
    learned = ImageDensity("gaussian", pixel_map="affine", dequantization="variational", training=how, random_state=0)
    learned.fit(IMAGES[:1000], n_levels=17)
    test = IMAGES[1000:]
    uniform, own = plain.bits_per_dim(test), learned.bits_per_dim(test)
    assert own.mean < uniform.mean - 0.005
    assert own.mean > plain.bits_per_dim(test, n_draws=500).mean - 0.01  # still a bound on the same law


@pytest.mark.thorough
def test_a_trained_flow_comes_back_and_is_saved(tmp_path: Path) -> None:
    """Images and samples return from the latents of a trained flow to within 1e-4 standard deviations in float32."""
    how = {"max_epochs": 8, "batch_size": 128}
    small = {"width": 8, "n_steps": 1, "n_heads": 1}
    density = ImageDensity("jet", flow_options=small, training=how, flips=True, random_state=0)
    density.fit(IMAGES[:1000], LABELS[:1000], n_levels=17)
    assert density.round_trip_ is not None
    assert density.round_trip_ < 1e-4
    assert any("mirror" in note for note in density.notes_)
    bits = density.bits_per_dim(IMAGES[1000:1200], LABELS[1000:1200])
    assert bits.mean < np.log2(17)  # better than no model
    density.save(tmp_path / "model")
    again = ImageDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(
        again.score_samples(IMAGES[:5], LABELS[:5]), density.score_samples(IMAGES[:5], LABELS[:5])
    )
