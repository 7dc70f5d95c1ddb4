"""Any scalar map in any coupling or autoregressive flow by option: in Python, the estimator and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import CubicSplineMap
from pushforward.cli import main
from pushforward.flows.maps import MAPS, maps_on
from pushforward.tables import read_table, write_table
from pushforward.testing import randomise

KEY = jax.random.key(8)
SMALL: dict[str, Any] = {"n_layers": 2, "width": 8, "depth": 1}
WITH_MAPS = [name for name, entry in pf.flows.ENTRIES.items() if entry.has_map]


def maps_in(flow: Any) -> set[str]:
    def is_map(node: Any) -> bool:
        return isinstance(node, pf.AbstractScalarMap)

    return {type(leaf).__name__ for leaf in jax.tree.leaves(flow, is_leaf=is_map) if is_map(leaf)}


@pytest.mark.parametrize("name", WITH_MAPS)
def test_every_map_goes_into_every_flow(name: str) -> None:
    """As shapes: the map is there, with its own options, and scores two rows."""
    entry = pf.flows.ENTRIES[name]
    ways: list[dict[str, Any]] = [{}]
    if "autoregressive" in entry.options:
        ways = [{"autoregressive": True}, {"autoregressive": False}]
    for scalar_map in maps_on(entry.space):
        for way in ways:
            own = {"bins": 5} if "bins" in MAPS[scalar_map].options else {}
            options = {**SMALL, **way, **own, "scalar_map": scalar_map}

            def build(key: Any, options: dict[str, Any] = options) -> pf.Flow:
                return pf.flows.ZOO[name](key, dim=2, **options)

            flow = eqx.filter_eval_shape(build, KEY)
            assert maps_in(flow) == {MAPS[scalar_map].kind}
    with pytest.raises(TypeError, match=f"degree is no option of the flow {name} with scalar_map"):
        pf.flows.ZOO[name](KEY, dim=2, scalar_map=entry.options["scalar_map"].words[0], degree=3)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_splines_of_degree_three_in_nsf(autoregressive: bool) -> None:
    """By name or as an object it is the same flow; draws have the density that they are scored with."""
    options: dict[str, Any] = {"dim": 2, "autoregressive": autoregressive, **SMALL}
    flow = pf.flows.nsf(KEY, scalar_map="cubic_spline", bins=4, **options)
    other = pf.flows.nsf(KEY, scalar_map=CubicSplineMap(4, 5.0), **options)
    assert eqx.tree_equal(flow, other)
    assert maps_in(flow) == {"CubicSplineMap"}
    x, log_prob = eqx.filter_jit(lambda flow: flow.sample_and_log_prob(KEY, 20))(randomise(flow, KEY, 0.3))
    again = eqx.filter_jit(lambda flow, x: flow.log_prob(x))(randomise(flow, KEY, 0.3), x)
    np.testing.assert_allclose(again, log_prob, rtol=1e-9, atol=1e-9)


def test_splines_of_degree_three_from_the_command_line_and_in_the_estimator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line and the estimator fit the same model, which is saved, loaded and sampled."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((120, 2)) * [1.0, 3.0]
    write_table(tmp_path / "data.csv", ["a", "b"], x)
    flags = "--flow nsf --scalar-map cubic_spline --n-layers 2 --width 8 --bins 4 --max-epochs 3 --no-verify --seed 0"
    assert main(["fit", "data.csv", "--out", "model", *flags.split()]) == 0
    stated = json.loads(Path("model/config.json").read_text())["flow"]["arguments"]
    assert (stated["scalar_map"], stated["bins"]) == ("cubic_spline", 4)
    assert main(["sample", "model", "-n", "5", "--out", "drawn.csv"]) == 0
    assert np.isfinite(read_table("drawn.csv").values).all()
    loaded = pf.FlowDensity.load("model")
    assert maps_in(loaded.flow_) == {"CubicSplineMap"}
    density = pf.FlowDensity(
        n_layers=2, width=8, bins=4, max_epochs=3, verify=False, random_state=0,
        flow_options={"scalar_map": "cubic_spline"},
    ).fit("data.csv")  # fmt: skip
    np.testing.assert_allclose(density.score_samples("data.csv"), loaded.score_samples("data.csv"), rtol=1e-6)
    assert maps_in(density.flow_) == {"CubicSplineMap"}
    capsys.readouterr()
    assert main(["fit", "data.csv", "--out", "m", "--flow", "nsf", "--scalar-map", "bernstein", "--bins", "4"]) == 2
    assert "bins is no option of the flow nsf with scalar_map 'bernstein'. It has" in capsys.readouterr().err
