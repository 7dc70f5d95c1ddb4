"""`pushforward doctor`: healthy here; each broken twin is found."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pushforward.tables.estimators
from pushforward.cli import main
from pushforward.cli.verbs import doctor

pytestmark = pytest.mark.float32


class Exact:
    """Stands for `FlowDensity`: the closed form, off by `missed`, and by `lost` more once loaded."""

    missed, lost = 0.0, 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.off = self.missed

    def fit(self, x: np.ndarray) -> Exact:
        return self

    def score_samples(self, x: np.ndarray) -> np.ndarray:
        a, b = x[:, 0] - 3.0, x[:, 1] + 2.0
        squares = (a**2 - 1.6 * a * b + b**2) / 0.36
        return -0.5 * squares - math.log(2 * math.pi) - 0.5 * math.log(0.36) - self.off

    def save(self, folder: Any) -> None:
        folder.mkdir()

    @classmethod
    def load(cls, folder: Any) -> Exact:
        loaded = cls()
        loaded.off += cls.lost
        return loaded


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Exact]:
    monkeypatch.chdir(tmp_path)
    twin = type("Twin", (Exact,), {})
    monkeypatch.setattr(pushforward.tables.estimators, "FlowDensity", twin)
    return twin


def examined(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    code = main(["doctor", *flags])
    return code, capsys.readouterr().out


@pytest.mark.thorough
def test_the_self_test_of_a_real_flow() -> None:
    assert [(line.name, line.verdict) for line in doctor.self_test()] == [("fit", "ok"), ("save and load", "ok")]


def test_a_healthy_installation(exact: type[Exact], capsys: pytest.CaptureFixture[str]) -> None:
    code, out = examined(capsys)
    assert code == 0
    assert " 0 failed" in out
    for words in ("pushforward 0.", "jax 0.", "JAX computes on cpu", "float32", "cores may be used", "backend agg"):
        assert words in out
    assert "misses the closed form of a Gaussian by 0.0000 nats" in out or "by -0.0000 nats" in out
    code, out = examined(capsys, "--json")
    printed = json.loads(out)
    assert (code, printed["healthy"], printed["ok"]) == (0, True, True)
    assert {line["verdict"] for line in printed["lines"]} <= {"ok", "warn"}
    assert printed["lines"][0]["packages"]["numpy"] == np.__version__


@pytest.mark.parametrize(("name", "broken"), [("fit", {"missed": 0.2}), ("save and load", {"lost": 1e-12})])
def test_a_broken_installation_is_found(exact: type[Exact], capsys: Any, name: str, broken: dict[str, float]) -> None:
    for key, value in broken.items():
        setattr(exact, key, value)
    code, out = examined(capsys, "--json")
    printed = json.loads(out)
    assert (code, printed["healthy"]) == (6, False)
    assert [line["name"] for line in printed["lines"] if line["verdict"] == "fail"] == [name]


def test_a_check_that_raises_is_a_finding(monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[doctor.Line]:
        raise RuntimeError("no driver")

    checks: tuple[Callable[[], Any], ...] = (broken, doctor.settings)
    monkeypatch.setattr(doctor, "CHECKS", checks)
    code, out = examined(capsys)
    assert code == 6
    assert "fail  broken: ended in RuntimeError: no driver." in out
    assert "ok    precision" in out


def test_folders_that_cannot_be_written_to(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))
    assert [found.verdict for found in doctor.folders()] == ["ok", "fail"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(doctor, "LITTLE_DISK", 10**30)
    assert [found.verdict for found in doctor.folders()] == ["warn", "warn"]


def test_what_is_missing_or_slow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["numpy>=2", "no-such-package", "no-such-tool>=1; extra == 'tune'", "no-such-test; extra == 'test'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needed)
    first, second = doctor.versions()
    assert (first.verdict, "Missing: no-such-package. " in first.sentence) == ("fail", True)
    assert (second.verdict, "not needed: no-such-tool (for the extra tune)" in second.sentence) == ("ok", True)
    monkeypatch.setattr(doctor, "SLOW_DOUBLES", 0.0)
    assert next(doctor.speed()).verdict == "warn"
    monkeypatch.setattr(doctor, "LITTLE_MEMORY", 2**60)
    assert next(doctor.devices()).verdict == "warn"
