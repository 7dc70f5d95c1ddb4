"""`infer`, `sample --given` and `calibrate` on the command line, from table to table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pushforward.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("infer")
    rng = np.random.default_rng(0)
    for name, n in (("simulations", 600), ("held_out", 300)):
        mass, age = rng.uniform(0, 1, n), rng.normal(3, 1, n)
        table = pd.DataFrame({"mass": mass, "age": age, "light": mass + 0.2 * rng.normal(size=n), "hue": age + mass})
        if name == "simulations":
            table.loc[3, "light"] = np.nan
        table.to_csv(place / f"{name}.csv", index=False)
    pd.DataFrame({"hue": [3.5, 4.0], "light": [0.4, 0.9]}).to_csv(place / "observed.csv", index=False)
    words = ["infer", str(place / "simulations.csv"), "--parameters", "mass,age", "--out", str(place / "model")]
    assert main([*words, "--n-members", "1", "--max-minutes", "0.05", "--quiet"]) == 0
    return place


@pytest.mark.thorough
def test_a_posterior_is_learned_drawn_from_and_judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((folder / "model" / "config.json").read_text())
    assert (config["names"], config["fit"]["x_names"], config["n_failed"]) == (["mass", "age"], ["light", "hue"], 1)
    out = folder / "draws.csv"
    words = ["sample", str(folder / "model"), "--given", str(folder / "observed.csv"), "-n", "50", "--out", str(out)]
    assert main(words) == 0
    draws = pd.read_csv(out)
    assert list(draws.columns) == ["observation", "mass", "age"]
    assert draws["observation"].value_counts().tolist() == [50, 50]
    assert draws["mass"].between(-0.01, 1.01).all()
    capsys.readouterr()
    figure = folder / "figure.png"
    code = main(["calibrate", str(folder / "model"), str(folder / "held_out.csv"), "--out", str(figure), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["passed"] else 6)
    assert len(found["tests"]) == 4
    assert figure.stat().st_size > 1000


@pytest.mark.thorough
def test_errors_of_a_model_are_of_the_user(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(folder / "model")
    assert main(["sample", model, "-n", "5", "--out", str(folder / "no.csv")]) == 2
    assert "--given" in capsys.readouterr().err
    assert main(["calibrate", model, str(folder / "observed.csv")]) == 3


def test_errors_are_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path
    pd.DataFrame({"mass": [0.1, 0.2], "light": [1.0, 2.0]}).to_csv(folder / "simulations.csv", index=False)
    table = str(folder / "simulations.csv")
    assert main(["infer", table, "--parameters", "mas", "--out", str(folder / "no")]) == 3
    assert main(["infer", table, "--parameters", "mass", "--bounds", "mass=0", "--out", str(folder / "no")]) == 2
    assert "NAME=LOW:HIGH" in capsys.readouterr().err
    assert main(["infer", table, "--parameters", "mass", "--out", str(folder / "no")]) == 3
    assert "at least 20 simulations" in capsys.readouterr().err
