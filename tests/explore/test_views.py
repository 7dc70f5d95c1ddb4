"""The views of a density: normalised, in agreement with its scores, and with their own Python."""

from __future__ import annotations

import contextlib
import io
import runpy

import numpy as np
import pytest

import pushforward as pf
from explore.conftest import LEVEL, NAME, Made
from pushforward.explore import conditional, draws_given, latent_axes, noise_to_data, score_row


@pytest.fixture(scope="module")
def row(made: Made) -> dict:
    return made.table.iloc[5].to_dict()


def without(row: dict, *names: str) -> dict:
    return {name: cell for name, cell in row.items() if name not in names}


def test_a_density_given_all_other_columns_is_the_joint_one_along_the_column(density, made, row):
    curve = conditional(density, "b", without(row, "b"))
    assert curve.how.method == "exact"
    assert curve.mass.sum() + curve.masses.sum() == pytest.approx(1)
    some = slice(100, 300, 50)
    many = made.table.iloc[[5] * 4].assign(b=curve.numbers[some])
    ratio = curve.density[some] / np.exp(density.score_samples(many))
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
    assert curve.interval(0.9)[0] < curve.median < curve.interval(0.9)[1]


def test_levels_and_numbers_with_a_probability_of_their_own(density, made, row):
    curve = conditional(density, "kind", without(row, "kind"))
    scores = density.score_samples(made.table.iloc[[5, 5]].assign(kind=[LEVEL, "dry"]))
    assert curve.probability(LEVEL) == pytest.approx(1 / (1 + np.exp(scores[1] - scores[0])))
    rain = conditional(density, "rain", without(row, "rain"))
    assert rain.labels == ("0",)
    assert 0.1 < rain.probability(0) < 0.9
    assert rain.mass.sum() + rain.masses.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="column of numbers"):
        curve.quantile(0.5)


def test_one_free_column_is_summed_over(density, made, row):
    """Against a trapezium rule over the free column on a mesh of its own; the joint at one place of it is the twin."""
    curve = conditional(density, "b", without(row, "b", NAME))
    assert curve.how.method == "grid"
    own, free = np.linspace(-2.0, 2.0, 5), np.linspace(-6.0, 6.0, 201)
    many = made.table.iloc[[5] * own.size * free.size].assign(**{"b": np.repeat(own, 201), NAME: np.tile(free, 5)})
    joint = np.exp(density.score_samples(many)).reshape(5, 201)
    expected, found = np.trapezoid(joint, free, axis=1), np.interp(own, curve.numbers, curve.density)
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), atol=0.01)
    twin = joint[:, 100] / joint[:, 100].sum()
    assert np.abs(twin - found / found.sum()).max() > 0.01


def test_columns_that_are_free_are_drawn(density):
    """With nothing held it is the marginal density: its mean is that of samples; a shift is seen."""
    curve = conditional(density, "b", {}, draws=200)
    sample = np.asarray(density.sample(4000, random_state=1)["b"])
    mean, error = float((curve.numbers * curve.mass).sum()), 3 * sample.std() / np.sqrt(200)
    assert curve.how.method == "draws"
    assert abs(mean - sample.mean()) < error < 0.5 * sample.std()
    assert abs(mean + 0.5 * sample.std() - sample.mean()) > error


@pytest.mark.thorough  # a mixture is fitted to draws of the model, which compiles for long
def test_draws_are_those_of_condition_on(density):
    held = {NAME: 1.0, "kind": LEVEL}
    assert conditional(density, "b", {NAME: 1.5}).median > conditional(density, "b", {NAME: -1.5}).median + 1
    found = draws_given(density, held, 20)
    assert found.table.column(NAME).to_pylist() == [1.0] * 20
    same = pf.condition_on(density, held).sample(20, random_state=0)
    np.testing.assert_array_equal(found.table.column("b").to_numpy(), same["b"])
    with pytest.raises(ValueError, match="not held"):
        draws_given(density, dict.fromkeys(density.columns_, 0))


def test_the_score_of_a_row(density, made, row):
    found = score_row(density, row)
    assert found.log_prob == pytest.approx(density.score_samples(made.table.iloc[[5]])[0])
    full = {cell.column: cell.nats for cell in pf.anomalies.explain(density, made.table.iloc[[5]])[0].cells}
    assert [cell.column for cell in found.cells] == list(row)
    # Fewer numbers miss the peak of a column by little.
    assert all(abs(cell.nats - full[cell.column]) < 0.05 for cell in found.cells)


def test_latents_lead_back_to_the_row(density, row):
    axes = latent_axes(density, row)
    back = axes.moved(axes.latents)
    assert all(back[name] == pytest.approx(row[name], abs=1e-6) for name in axes.names if name != "day")
    moved = axes.moved(axes.latents + 0.5)
    assert moved["kind"] == row["kind"]
    assert any(moved[name] != back[name] for name in axes.names)
    with pytest.raises(ValueError, match="latents"):
        axes.moved([0.0] * 99)


def test_the_way_ends_at_samples(density, row):
    way = noise_to_data(density, row, n=50, times=5)
    assert way.states.shape == (len(way.times), 50, len(way.names))
    low, high = np.quantile(way.states[-1, :, way.names.index("b")], [0.05, 0.95])
    assert -4 < low < high < 4


@pytest.mark.parametrize(
    ("columns", "held", "words"),
    [
        (("nought",), {}, "modelled column"),
        (("b",), {"b": 1.0}, "not held"),
        (("b",), {"bb": 1.0}, "columns of"),
        (("b",), {"kind": "sunny"}, "kind"),
        (("b",), {NAME: "high"}, "expected a number"),
    ],
)
def test_mistakes_are_named(density, columns, held, words):
    with pytest.raises(ValueError, match=words):
        conditional(density, columns[0], held)


def test_the_python_of_each_view_gives_its_numbers(made, density, tmp_path):
    """What the page says to copy is run, and prints the number that the page shows."""
    subject = pf.explore.subject_of(density, made.data, name=str(made.folder))
    row, held = subject.start, frozenset(subject.start)
    score, curve = subject.score(row), subject.density(("b",), row, held)
    panels = [score, curve, subject.brushed((NAME, "b"), (0.2, 0.8, 0.2, 0.8)), subject.density((NAME, "b"), row, held),
              subject.moved(row, subject.latents(row).values).panel, subject.way(row).panel]  # fmt: skip
    printed = []
    for panel in panels:
        (tmp_path / "copied.py").write_text(panel.code.replace("print(found.how", "print(found.median, found.how"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(tmp_path / "copied.py"))
        printed.append(out.getvalue())
        assert out.getvalue()
        assert "<script>alert" not in panel.body
        assert "<img src=x" not in panel.body
    assert float(printed[0].split()[0]) == pytest.approx(float(value_of(score.body, "data-value")), rel=1e-6)
    assert float(printed[1].split()[0]) == pytest.approx(float(value_of(curve.body, "data-median")), rel=1e-6)


def value_of(body: str, name: str) -> str:
    return body.partition(f'{name}="')[2].partition('"')[0]
