"""The reports on detectors and posteriors."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pytest

import pushforward as pf
from pushforward.anomalies import explain
from pushforward.anomalies.bulk import first_density
from pushforward.cli import main
from pushforward.report import Report, make_report
from pushforward.report.charts import matrix_chart
from pushforward.report.evolution_section import evolution_section
from pushforward.report.page import shortened
from pushforward.report.table_columns import rank_correlations
from pushforward.report.table_view import View
from pushforward.tables.reading.writing import write_arrow

NAME = "<b>a</b>"


@pytest.fixture(scope="module")
def detector() -> pf.FlowOutlierDetector:
    rng = np.random.default_rng(0)
    density = pf.FlowDensity("realnvp", n_layers=1, width=8, max_epochs=3, n_members=1, verify=False, random_state=0)
    density.fit(pa.table({NAME: rng.normal(size=300), "b": rng.normal(size=300)}))
    clean = pa.table({NAME: rng.normal(size=200), "b": rng.normal(size=200)})
    return pf.FlowOutlierDetector.of_density(density, clean)


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table({NAME: np.append(rng.normal(size=95), np.full(5, 9.0)), "b": rng.normal(size=100)})


@pytest.fixture(scope="module")
def judged(detector: pf.FlowOutlierDetector, rows: pa.Table) -> Report:
    return make_report(detector, rows)


def test_a_detector_flags_what_it_flags_elsewhere(
    detector: pf.FlowOutlierDetector, rows: pa.Table, judged: Report
) -> None:
    for each in judged.facts["rates"]:
        rate = {"fpr" if each["kind"] == "false-positive rate" else "fdr": each["rate"]}
        if rate != {"fpr": 0.001}:  # below the floor of 200 rows
            assert each["flagged"] == detector.select(rows, **rate).sum()
    worst = judged.facts["most_unusual"]
    assert {each["row"] for each in worst[:5]} == set(range(96, 101))
    assert worst[0]["p_value"] == detector.p_values(rows).min()
    text = judged.html
    assert detector.describe() in text
    assert "<b>a</b>" not in text
    assert "&lt;b&gt;a&lt;/b&gt; 9" in text


def test_some_columns_are_explained(detector: pf.FlowOutlierDetector, rows: pa.Table) -> None:
    last = rows.slice(99)
    (whole,), (part,) = explain(detector, last), explain(detector, last, columns=["b"])
    assert part.cells == tuple(cell for cell in whole.cells if cell.column == "b")
    with pytest.raises(ValueError, match="expected columns of"):
        explain(detector, last, columns=["c"])


def test_numbers_of_a_page_are_short() -> None:
    found = shortened({"a": [1 / 3, np.inf, 2], "b": list(range(600)), "c": "words"})
    assert found["a"] == [0.333333, np.inf, 2]
    assert found["b"][-2:] == [499, "and 100 more"]


def test_p_values_that_slope_are_pointed_at(detector: pf.FlowOutlierDetector) -> None:
    rng = np.random.default_rng(2)
    wide = make_report(detector, pa.table({NAME: 3 * rng.normal(size=200), "b": 3 * rng.normal(size=200)}))
    assert wide.standing == "mind"
    assert "another kind" in wide.verdict[1]
    right = make_report(detector, pa.table({NAME: rng.normal(size=200), "b": rng.normal(size=200)}))
    assert right.standing == "good"


def test_a_flow_shows_its_way_from_noise_to_data(detector: pf.FlowOutlierDetector) -> None:
    density: Any = first_density(detector)
    section: Any = evolution_section(View(density, None, np.zeros(0, int), None, None, 0))
    assert section.blocks[1].count("<svg") == 2  # the latent, and after the only layer
    assert "layer by layer" in section.blocks[0]


@pytest.fixture(scope="module")
def posterior() -> pf.NPE:
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, 1, (300, 2))
    x = pa.table({"x": theta[:, 0] + 0.2 * rng.normal(size=300), "y": theta[:, 1] + 0.2 * rng.normal(size=300)})
    small: dict[str, Any] = {"n_layers": 1, "width": 8, "bins": 4}
    prior = {"<i>m</i>": (0, 1), "r": (0, 1)}
    made = pf.NPE(prior, flow_options=small, n_members=1, max_epochs=3, random_state=0)
    made.fit(theta, np.stack([np.asarray(column) for column in x.columns], axis=1))
    made.x_names_ = ("x", "y")
    return made


def held_out() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    theta = rng.uniform(0, 1, (120, 2))
    return theta, theta + 0.2 * rng.normal(size=(120, 2))


def test_a_posterior_is_judged_as_calibrate_does(
    posterior: pf.NPE, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    theta, x = held_out()
    made = make_report(posterior, (theta, x), seed=5)
    found = pf.calibrate(posterior, theta, x, key=jax.random.key(5)).to_json()
    assert json.loads(json.dumps(made.facts["calibrate"])) == json.loads(json.dumps(found))
    text = made.html
    assert "<i>m</i>" not in text
    assert "&lt;i&gt;m&lt;/i&gt;" in text
    assert {"posterior", "tests", "learning-curve", "run"} == {section.key for section in made.sections}
    monkeypatch.chdir(tmp_path)
    posterior.save("folder")
    columns = {"<i>m</i>": theta[:, 0], "r": theta[:, 1], "x": x[:, 0], "y": x[:, 1]}
    write_arrow(tmp_path / "held.csv", pa.table(columns))
    code = main(["report", "folder", "held.csv", "--out", "report.html", "--seed", "5", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["standing"] == made.standing
    assert code == (6 if made.standing == "bad" else 0)
    assert main(["report", "folder", "--out", "other.html"]) == 3
    assert "held-out simulations" in capsys.readouterr().err


def test_an_inference_shows_its_ladder() -> None:
    rng = np.random.default_rng(0)
    ladder = tuple(
        {"temperature": t, "ess_fraction": 0.5, "acceptance": 0.8, "jump_acceptance": 0.3, "log_z": -1.0}
        for t in (0.01, 0.1, 1.0)
    )
    draws = {"a": rng.normal(size=200), "b": rng.normal(size=(200, 2))}
    known: dict[str, Any] = dict.fromkeys(pf.Inference.__dataclass_fields__)
    known |= {"draws": draws, "u": rng.normal(size=(200, 3)), "names": ("a", "b0", "b1"), "ladder": ladder}
    known |= {"log_z": -2.5, "log_z_error": 0.01, "log_z_importance": SimpleNamespace(value=-2.4, error=0.02)}
    known |= {"log_z_ladder": -2.45, "ess_fraction": 0.4, "pareto_k": 0.3, "acceptance": 0.8, "jump_acceptance": 0.4}
    known |= {"divergent": 0.0, "r_hat": np.array([1.0, 1.01, 1.02]), "gap": 0.1, "status": "completed"}
    known |= {"verdict": "trustworthy", "log_weights": rng.normal(size=500), "n_evaluations": 1000, "seconds": 2.0}
    made = make_report(pf.Inference(**known))
    assert made.standing == "good"
    assert [section.key for section in made.sections] == ["posterior", "ladder", "weights", "chains", "run"]
    assert made.html.count("<svg") == 3 + 1 + 3 + 1
    known["verdict"] = "do not trust: the chains did not meet"
    assert make_report(pf.Inference(**known)).standing == "bad"


def test_rank_correlations_leave_out_gaps() -> None:
    x = np.random.default_rng(0).normal(size=(500, 2))
    values = np.stack([x[:, 0], x[:, 0] ** 3, x[:, 1], np.ones(500)], axis=1)
    values[:100, 1] = np.nan
    found = rank_correlations(values)
    assert found[0, 1] == pytest.approx(1.0, abs=1e-3)
    assert abs(found[0, 2]) < 0.1
    assert np.isnan(found[0, 3])
    assert "path" in matrix_chart(found, ["a", "b", "c", "d"], "words")
