"""A fit on several devices is that on one, to the rounding of sums."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.training import Devices

PROGRAM = Path(__file__).with_name("devices_program.py")


def on_devices(part: str, n: int = 8, **more: str) -> dict[str, Any]:
    """What a part of the program prints, in a process that has `n` devices."""
    # First, because XLA reads no further than the first word without dashes, which the tests' own flags have.
    flags = f"--xla_force_host_platform_device_count={n} {os.environ.get('XLA_FLAGS', '')}"
    environment = {**os.environ, "XLA_FLAGS": flags, **more}
    run = subprocess.run(
        [sys.executable, str(PROGRAM), part], env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def check_same(found: dict[str, Any]) -> None:
    """Gradients and weights to the rounding of float64, the history to that of the float32 that it is kept in."""
    assert found
    for name, gaps in found.items():
        assert gaps["weights"] < 1e-10, (name, gaps)
        assert gaps["history"] < 1e-6, (name, gaps)
        assert gaps["moved"] > 1e-3, name  # else nothing was compared


def test_eight_devices_give_the_fit_of_one_whatever_the_remainder():
    found = on_devices("likelihood")
    assert set(found) == {"8", "3, sharded"}
    check_same(found)


def test_the_twin_that_counts_filling_rows_is_told():
    """A broken twin: a mean of the devices' own means, which is wrong as soon as they have unequal weights."""
    weights, losses = np.array([1.0, 1.0, 1.0, 0.0]), np.array([1.0, 2.0, 6.0, 0.0])
    halves = [np.average(losses[i : i + 2], weights=weights[i : i + 2]) for i in (0, 2)]
    assert abs(np.mean(halves) - np.average(losses, weights=weights)) > 1e-6


@pytest.mark.thorough
@pytest.mark.parametrize("part", ["streams", "drawn", "checkpoints", "gradients", "scores"])
def test_other_fits_on_several_devices(part):
    check_same(on_devices(part))


@pytest.mark.parametrize(
    ("which", "error", "words"),
    [
        ("some", TypeError, "'some'"),
        (True, TypeError, "True"),
        (0, ValueError, "which"),
        (99, ValueError, "at most 1 devices"),
        (1.5, TypeError, "1.5"),
    ],
)
def test_errors_name_the_devices_and_the_fix(which, error, words):
    with pytest.raises(error, match=words):
        pf.fit(None, np.zeros((3, 2)), key=jax.random.key(0), devices=which)  # pyright: ignore[reportArgumentType]


def test_a_mesh_with_several_axes_names_that_of_the_rows():
    mesh = jax.make_mesh((1, 1), ("rows", "model"))
    with pytest.raises(ValueError, match=r"axis 'data'.*'rows', 'model'.*axis="):
        Devices(mesh)
    assert Devices(mesh, axis="rows").placement().n == 1
    assert Devices(jax.make_mesh((1,), ("any",))).placement().axis == "any"


def test_devices_are_named_once():
    with pytest.raises(ValueError, match="one Devices at most"):
        pf.fit(None, np.zeros((3, 2)), key=jax.random.key(0), devices=1, options=Devices(1))  # pyright: ignore
