"""Fits that were stopped, and one that was not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pushforward as pf
from interrupted import NEVER, run, stop_at
from pushforward.training import loop


@pytest.fixture(scope="module")
def short_calls() -> Iterator[None]:
    """Seven steps in each call: calls end within epochs and between validations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "FIRST_STEPS", 7)
        patch.setattr(loop, "GROWTH", 1)
        yield


@pytest.fixture(scope="module")
def whole(short_calls: None) -> pf.FitResult:
    return run()


@pytest.fixture(scope="module")
def stopped(short_calls: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit that was stopped with two commits: of step 0, and of a later one."""
    folder = tmp_path_factory.mktemp("stopped") / "fit"
    run(folder, seconds=NEVER, callback=stop_at(100))
    return folder


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    for path in sorted(stopped.rglob("*")):
        if path.is_file():
            target = tmp_path / "fit" / path.relative_to(stopped)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "fit"
