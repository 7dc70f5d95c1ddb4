"""What stands at a target and is no regular file or model folder is never replaced, also where force is asked for."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pushforward._files import MANIFEST
from pushforward.io import save_weights
from pushforward.io.files import check_file_target, check_folder_target, write_file, write_folder
from pushforward.tables.reading.writing import write_arrow
from pushforward.training.tracking import JsonLines


def _device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("this container makes no devices")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


def _link(to: Callable[[Path], Any]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        to(path.with_name("behind"))
        path.symlink_to("behind")

    return make


THINGS: dict[str, Callable[[Path], Any]] = {
    "a named pipe": os.mkfifo,
    "a device": _device,
    "a socket": _socket,
    "a link to a pipe": _link(os.mkfifo),
    "a link to a device": _link(_device),
    "a link to a file": _link(lambda path: path.write_text("mine")),
    "a link to nothing": _link(lambda path: None),
}
WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "bytes": ("t", lambda path: write_file(path, lambda file: file.write(b"x"), force=True)),
    "a table": ("t.csv", lambda path: write_arrow(path, pa.table({"a": [1.0]}), force=True)),
    "weights": ("t.safetensors", lambda path: save_weights({"a": np.ones(2)}, path)),
    "a curve": ("t.jsonl", lambda path: JsonLines(path)),
    "a folder": ("t", lambda path: write_folder(path, {"config.json": b"{}"}, force=True)),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_no_file_is_not_replaced(thing: str, writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    path = tmp_path / name
    THINGS[thing](path)
    before = os.lstat(path)
    with pytest.raises(FileExistsError, match=r"(got|not a folder but) a .*Name another"):
        write(path)
    after = os.lstat(path)
    assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)
    if thing == "a link to a file":
        assert (tmp_path / "behind").read_text() == "mine"


def test_the_advice_to_force_is_not_given_where_force_does_not_help(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for check in (check_file_target, check_folder_target):
        with pytest.raises(FileExistsError) as error:
            check(tmp_path / "pipe")
        assert "--force" not in str(error.value)


def test_regular_files_and_written_folders_are_replaced(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        write_file(tmp_path / "file", lambda file, text=text: file.write(text), force=True)
        write_folder(tmp_path / "folder", {"config.json": text}, force=True)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert (tmp_path / "folder" / "config.json").read_bytes() == b"two"
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "empty", {"config.json": b"new"}, force=True)
    assert (tmp_path / "empty" / "config.json").read_bytes() == b"new"


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "notes": lambda folder: (folder / "README.md").write_text("my notes"),
    "another library's model": lambda folder: [
        (folder / name).write_text("{}") for name in ("config.json", "model.safetensors", "README.md")
    ],
    "a manifest of other files": lambda folder: (folder / MANIFEST).write_text(f"{'0' * 64}  thesis.tex\n"),
    "an empty manifest": lambda folder: (folder / MANIFEST).write_text(""),
    "a folder under a known name": lambda folder: (folder / "config.json").mkdir(),
    "a link under a known name": lambda folder: (folder / "config.json").symlink_to("elsewhere"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_folder_that_is_no_model_is_not_replaced(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    FOREIGN[what](folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(FileExistsError, match="is not replaced"):
        write_folder(folder, {"config.json": b"{}"}, force=True)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder"]
