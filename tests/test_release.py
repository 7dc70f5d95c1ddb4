"""The script of a release has a use for every extra."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_extra_has_a_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "release.py"))
    assert set(script["extras"]()) == set(script["USES"])
    sys.modules.pop("environment", None)
