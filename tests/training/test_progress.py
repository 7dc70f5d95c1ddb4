"""Progress: silent, lines, a bar; and that none of them is in the way."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.training import fit
from pushforward.training import progress as module


def run(progress):
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))
    x = np.random.default_rng(0).normal(size=(200, 2))
    return fit(flow, x, key=jax.random.key(0), max_epochs=100, progress=progress)


def test_false_is_silent(capfd):
    run(False)
    assert capfd.readouterr() == ("", "")


def test_lines_where_there_is_no_terminal(capfd, monkeypatch):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    result = run("auto")
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert all(line.startswith("fit: ") for line in lines)
    assert "held-out" in lines[0]
    assert "rows/s" in lines[0]
    assert lines[-1] == f"fit: {result.verdict.text}"


def test_auto_leaves_a_short_fit_alone_and_true_tells_its_end(capfd):
    run("auto")
    assert capfd.readouterr().err == ""
    run(True)
    assert capfd.readouterr().err.startswith("fit: Ran all its epochs")


def test_bar_on_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(module.make_progress("auto"), module.Bar)
    bar = module.make_progress(True)
    bar.update(10, 100, -1.5, 1000.0, 65.0)
    bar.update(20, 100, float("nan"), 1000.0, 60.0)
    bar.close("Converged.")
    assert "Converged." in capfd.readouterr().err


def test_unknown_progress():
    with pytest.raises(ValueError, match="progress"):
        module.make_progress("loud")  # pyright: ignore[reportArgumentType]
