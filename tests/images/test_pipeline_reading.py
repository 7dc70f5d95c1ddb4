"""Images are read from arrays, NPZ files and folders; what is ambiguous, mixed or hostile is refused by name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pushforward.images import read_images
from pushforward.images.reading.sources import holds_images
from pushforward.tables.errors import DataError

GREY = np.random.default_rng(0).integers(0, 256, (6, 5, 7)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 5, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("array", "options", "shape", "n_levels"),
    [
        (GREY, {}, (1, 5, 7), 256),
        (COLOUR, {}, (3, 5, 7), 256),
        (np.moveaxis(COLOUR, 3, 1), {}, (3, 5, 7), 256),
        (COLOUR[..., :2, :3], {"layout": "channels_last"}, (3, 5, 2), 256),
        (GREY > 100, {}, (1, 5, 7), 2),
        (GREY.astype(np.uint16) * 257, {}, (1, 5, 7), 65536),
        ((GREY // 15).astype(float), {"n_levels": 18}, (1, 5, 7), 18),  # scikit-learn's digits are such floats
    ],
)
def test_arrays_of_any_layout(array: Any, options: dict, shape: tuple, n_levels: int) -> None:
    images = read_images(array, **options)
    assert (images.shape, images.n_levels, len(images)) == (shape, n_levels, 6)
    first = array[0] if array.ndim == 3 or array.shape[1] == 3 else np.moveaxis(array[0], 2, 0)
    np.testing.assert_array_equal(images.levels[0].reshape(first.shape), first)


@pytest.mark.parametrize(
    ("array", "options", "text"),
    [
        (GREY / 255, {}, r"round\(\)\.astype\('uint8'\)"),
        (GREY / 255, {"n_levels": 256}, r"round\(\)\.astype\('uint8'\)"),
        (GREY - 3.5, {}, "as they were stored"),
        (GREY.astype(int), {}, "n_levels="),
        (GREY, {"n_levels": 16}, "whole numbers from 0 to 15"),
        (COLOUR[:, :3, :, :], {}, "layout='channels_first'"),
        (np.zeros((5, 8, 8, 9), np.uint8), {}, "layout="),
        (GREY[0], {}, r"image\[None\]"),
        (GREY[:0], {}, "one image or more"),
        (np.array(["a"]), {}, "an array of numbers"),
        (GREY, {"labels": [1, 2]}, "6 labels"),
        (GREY, {"labels": [1.5] * 6}, "labels that name classes"),
        (np.full((2, 3, 3), np.nan), {"n_levels": 4}, "whole numbers"),
    ],
)
def test_what_is_no_image_is_refused_with_the_fix(array: Any, options: dict, text: str) -> None:
    with pytest.raises(DataError, match=text):
        read_images(array, **options)


@pytest.mark.parametrize("labels", [np.arange(5), np.zeros((6, 2), int), np.array(3)], ids=str)
def test_labels_of_another_length_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "off.npz"
    np.savez(path, images=GREY, labels=labels)
    with pytest.raises(DataError, match="one label for each of the 6 images"):
        read_images(path)
    np.savez(path, images=GREY, labels=np.arange(6)[:, None])  # a column of labels will do
    np.testing.assert_array_equal(read_images(path).labels, np.arange(6))


def test_archives_and_their_labels(tmp_path: Path) -> None:
    path, labels = tmp_path / "some.npz", np.arange(6)
    np.savez(path, x_train=GREY, y_train=labels, x_test=GREY[:2], y_test=labels[:2])
    images = read_images(path)
    np.testing.assert_array_equal(images.levels[:, 0], GREY)
    np.testing.assert_array_equal(images.labels, labels)
    assert len(read_images(f"{path}::x_test")) == 2
    np.save(tmp_path / "some.npy", COLOUR)
    assert read_images(tmp_path / "some.npy").shape == (3, 5, 7)
    assert holds_images(path)
    assert holds_images(tmp_path / "some.npy")
    np.savez(tmp_path / "table.npz", values=np.zeros((4, 3)))
    assert not holds_images(tmp_path / "table.npz")
    with pytest.raises(DataError, match="one array of images"):
        read_images(tmp_path / "table.npz")
    with pytest.raises(DataError, match="no array 'x'"):
        read_images(f"{path}::x")


def test_hostile_archives(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, images=np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="objects"):
        read_images(path)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 1000, 1000)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(DataError, match="GiB"):
        read_images(bomb)
    good = tmp_path / "good.npz"
    np.savez(good, images=GREY)
    data = good.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):  # damage anywhere is an error that names the file, and never another one
        spoilt = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            spoilt[place] = rng.integers(256)
        good.write_bytes(bytes(spoilt[: rng.integers(1, len(data))]) if rng.random() < 0.5 else bytes(spoilt))
        try:
            read_images(good)
        except DataError as error:
            assert "good.npz" in str(error)  # noqa: PT017
        holds_images(good)


def write(folder: Path, arrays: Any, mode: str | None = None, suffix: str = "png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        Image.fromarray(array, mode).save(folder / f"{i}.{suffix}")


def test_folders_and_globs(tmp_path: Path) -> None:
    write(tmp_path / "flat", COLOUR)
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    images = read_images(tmp_path / "flat")
    np.testing.assert_array_equal(images.levels, np.moveaxis(COLOUR, 3, 1))
    assert images.labels is None
    assert len(read_images(str(tmp_path / "flat" / "[0-2].png"))) == 3
    assert holds_images(tmp_path / "flat")
    write(tmp_path / "classes" / "cat", GREY[:4])
    write(tmp_path / "classes" / "dog", GREY[4:])
    classes = read_images(tmp_path / "classes")
    assert classes.labels is not None
    assert classes.labels.tolist() == ["cat"] * 4 + ["dog"] * 2
    write(tmp_path / "jpeg", COLOUR, suffix="jpg")
    assert read_images(tmp_path / "jpeg").shape == (3, 5, 7)


def test_bit_depths_and_orientation(tmp_path: Path) -> None:
    write(tmp_path / "deep", GREY.astype(np.uint16) * 257)
    write(tmp_path / "flat", GREY > 100)
    assert read_images(tmp_path / "deep").n_levels == 65536
    np.testing.assert_array_equal(read_images(tmp_path / "deep").levels[:, 0], GREY.astype(np.uint16) * 257)
    assert read_images(tmp_path / "flat").n_levels == 2
    turned = tmp_path / "turned"
    turned.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(GREY[0]).save(turned / "0.png", exif=exif)
    np.testing.assert_array_equal(read_images(turned).levels[0, 0], np.rot90(GREY[0], -1))


def test_folders_that_mix_are_refused_with_their_files(tmp_path: Path) -> None:
    write(tmp_path / "sizes", [GREY[0], GREY[1], GREY[2, :4]])
    with pytest.raises(DataError, match=r"2 of L 5 x 7, such as 0.png, 1.png; 1 of L 4 x 7, such as 2.png"):
        read_images(tmp_path / "sizes")
    write(tmp_path / "depths", [GREY[0], GREY[0].astype(np.uint16)])
    with pytest.raises(DataError, match="one bit depth"):
        read_images(tmp_path / "depths")
    write(tmp_path / "both", GREY)
    write(tmp_path / "both" / "dog", GREY)
    with pytest.raises(DataError, match="beside subfolders such as dog"):
        read_images(tmp_path / "both")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="PNG or JPEG files"):
        read_images(tmp_path / "empty")
    with pytest.raises(DataError, match="nothing there"):
        read_images(tmp_path / "absent")
    with pytest.raises(DataError, match="n_levels 256"):
        read_images(str(tmp_path / "sizes" / "0.png"), n_levels=16)


def test_hostile_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "wide", [np.zeros((1200, 1200), np.uint8)])
    with pytest.raises(DataError, match="at most 1,000,000 numbers"):
        read_images(tmp_path / "wide")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="bomb"):
        read_images(tmp_path / "wide")
    monkeypatch.undo()
    write(tmp_path / "spoilt", GREY)
    target = tmp_path / "spoilt" / "3.png"
    data = target.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        spoilt = bytearray(data)
        spoilt[rng.integers(0, len(data))] = rng.integers(256)
        target.write_bytes(bytes(spoilt[: rng.integers(1, len(data))]))
        try:
            read_images(tmp_path / "spoilt")
        except DataError as error:
            assert "3.png" in str(error)  # noqa: PT017
    (tmp_path / "gif").mkdir()
    Image.fromarray(GREY[0]).save(tmp_path / "gif" / "0.png", format="GIF")
    with pytest.raises(DataError, match="no PNG or JPEG"):
        read_images(tmp_path / "gif")
