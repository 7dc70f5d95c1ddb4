"""The detector: its signs, its cuts, its promises on clean rows, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone as sklearn_clone

import pushforward as pf
from pushforward.anomalies import AbstractScore, FittedScore, FlowOutlierDetector, NegativeLogDensity, ScoreParts
from pushforward.tables.errors import TableWarning

pytestmark = pytest.mark.float32
FLOW = pf.FlowDensity("realnvp", n_layers=1, width=8, max_epochs=10, n_members=1, verify=False)


@dataclass(frozen=True)
class Distance(AbstractScore):
    """The distance from the mean of the rows: a score that costs nothing."""

    sign: float = 1.0

    def fit(self, X, *, weights=None, random_state=0):
        return FittedDistance(X.mean(axis=0), self.sign)


@dataclass(frozen=True)
class FittedDistance(FittedScore):
    mean: np.ndarray
    sign: float = 1.0

    def __call__(self, X):
        return self.sign * np.linalg.norm(X - self.mean, axis=1)

    def describe(self):
        return "the distance from the mean"

    def to_parts(self):
        return ScoreParts("distance", arrays={"mean": self.mean})

    @classmethod
    def from_parts(cls, parts):
        return cls(parts.arrays["mean"])


def clone(estimator) -> Any:
    return sklearn_clone(estimator)


def rows_of(seed: int, n: int, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b"], size=240)
    size = rng.normal(size=240) + 3 * (kind == "b")
    return pd.DataFrame({"kind": kind, "size": size, "weight": size + 0.3 * rng.normal(size=240), "unit": "kg"})


@pytest.fixture(scope="module")
def fitted(table) -> FlowOutlierDetector:
    return FlowOutlierDetector(NegativeLogDensity(FLOW), calibration="split", fpr=0.05, random_state=0).fit(table)


@pytest.mark.parametrize("calibration", ["split", "cross"])
def test_signs_and_cuts_agree(calibration):
    x = rows_of(0, 400)
    detector = FlowOutlierDetector(Distance(), calibration=calibration, fpr=0.05, random_state=0).fit(x)
    new = np.concatenate([rows_of(1, 500), 9 + rows_of(2, 5)])
    np.testing.assert_array_equal(detector.predict(new) < 0, detector.decision_function(new) < 0)
    np.testing.assert_allclose(detector.decision_function(new), detector.score_samples(new) - detector.offset_)
    assert (detector.predict(new)[-5:] == -1).all()
    flagged, p = detector.predict(new) < 0, detector.p_values(new)
    assert np.abs(flagged.mean() - (p <= 0.05).mean()) <= (0 if calibration == "split" else 0.02)
    np.testing.assert_array_equal(detector.select(new, fpr=0.05), p <= 0.05)
    assert detector.select(new[-25:], fdr=0.2)[-5:].all()
    assert len(detector.calibration_) == (80 if calibration == "split" else 400)
    assert len(set(detector.calibration_rows_.tolist())) == len(detector.calibration_)


def test_auto_cross_fits_small_tables_and_splits_large_ones():
    assert FlowOutlierDetector(Distance(), random_state=0).fit(rows_of(0, 300)).calibration_.kind == "cross"
    large = FlowOutlierDetector(Distance(), random_state=0).fit(rows_of(0, 30_000))
    assert (large.calibration_.kind, len(large.calibration_)) == ("split", 5_000)


def test_contamination_is_a_share_of_the_rows_of_the_fit_and_auto_a_rate_of_clean_rows():
    x, new = rows_of(0, 2000), rows_of(1, 20_000)
    tenth = FlowOutlierDetector(Distance(), contamination=0.1, calibration="split", random_state=0).fit(x)
    assert (tenth.predict(x) < 0).mean() == pytest.approx(0.1)
    assert (tenth.predict(new) < 0).mean() == pytest.approx(0.1, abs=0.02)
    rates = []
    for seed in range(20):
        auto = FlowOutlierDetector(Distance(), calibration="split", random_state=seed).fit(rows_of(seed, 2000))
        rates.append((auto.predict(new) < 0).mean())
    assert np.mean(rates) == pytest.approx(0.01, abs=0.004)


def test_the_rate_holds_for_any_score_and_not_for_rows_that_the_model_has_seen():
    """Thirty rows of forty columns, over many fits; the twin is calibrated by the rows that it was fitted to."""
    honest, twin = [], []
    for seed in range(300):
        x = rows_of(seed, 34, d=40)
        detector = FlowOutlierDetector(Distance(), calibration="split", calibration_fraction=0.5, random_state=seed)
        with pytest.warns(TableWarning, match="no p-value is below"):
            detector.fit(x[:32])
        honest.append(detector.p_values(x[32:])[0])
        seen = np.delete(np.arange(32), detector.calibration_rows_)
        with pytest.warns(TableWarning, match="no p-value is below"):
            detector.calibrate(x[seen])
        twin.append(detector.p_values(x[32:])[0])
    level = 0.2
    error = 3 * np.sqrt(level * (1 - level) / 300)
    assert np.mean(np.array(honest) <= level) <= level + error
    assert np.mean(np.array(twin) <= level) > level + error


def test_shifted_rows_take_weights():
    x, new = rows_of(0, 4000, d=1), 0.7 + rows_of(1, 2000, d=1)
    detector = FlowOutlierDetector(Distance(), calibration="split", calibration_fraction=0.5, random_state=0).fit(x)
    calibration = np.exp(0.7 * x[detector.calibration_rows_, 0])
    how: dict[str, Any] = {"weights": np.exp(0.7 * new[:, 0]), "calibration_weights": calibration}
    assert (detector.p_values(new) <= 0.05).mean() > 0.08
    assert (detector.p_values(new, **how) <= 0.05).mean() < 0.07
    assert detector.select(np.full((3, 1), 12.0), fpr=0.05, weights=np.ones(3), calibration_weights=calibration).all()
    assert detector.select(new, fdr=0.1, **how).mean() < 0.02
    cross = FlowOutlierDetector(Distance(), calibration="cross", random_state=0).fit(x)
    with pytest.raises(ValueError, match="one set of calibration rows for weights"):
        cross.p_values(new, **how)


def test_a_bound_for_any_cut_and_a_watch_over_a_stream():
    x = rows_of(0, 3000)
    detector = FlowOutlierDetector(Distance(), calibration="split", random_state=0).fit(x)
    new = np.concatenate([rows_of(1, 400), 6 + rows_of(2, 100)])
    p, bound = detector.p_values(new), detector.false_discoveries(500)
    assert bound.proportion(p, p <= 0.002) < 0.1
    assert bound.proportion(p, p <= 0.5) >= (p[:400] <= 0.5).sum() / (p <= 0.5).sum()
    for how in ("split", "cross"):
        watched = FlowOutlierDetector(Distance(), calibration=how, random_state=0).fit(x)
        watch = watched.watch()
        watch.update(watched.each_score(rows_of(3, 500)))
        assert watch.p_value > 0.01
        watch.update(watched.each_score(1 + rows_of(4, 500)))
        assert watch.p_value < 1e-3
        assert watch.most_at > 500
    with pytest.raises(ValueError, match="a bound on false discoveries"):
        FlowOutlierDetector(Distance(), calibration="cross", random_state=0).fit(x).false_discoveries(10)


def test_the_floor_of_p_values_is_told():
    with pytest.warns(TableWarning, match=r"1/\(n \+ 1\) = 0.048 with n = 20 .* Pass at least 99 rows"):
        detector = FlowOutlierDetector(Distance(), calibration="split", random_state=0).fit(rows_of(0, 100))
    with pytest.warns(TableWarning, match="nothing is selected"):
        assert not detector.select(rows_of(1, 10) + 50, fpr=0.01).any()
    assert (detector.predict(rows_of(1, 10) + 50) == -1).all()


def test_scores_that_point_the_wrong_way_are_told():
    x, new = rows_of(0, 500), np.concatenate([rows_of(1, 80), 5 + rows_of(2, 20)])
    odd = np.arange(100) >= 80
    good = FlowOutlierDetector(Distance(), random_state=0).fit(x).quality(new, odd)
    assert good.auroc > 0.99
    bad = FlowOutlierDetector(Distance(sign=-1.0), random_state=0).fit(x)
    with pytest.warns(TableWarning, match="below 0.5: the anomalies look more ordinary"):
        bad.quality(new, odd)


def test_a_table_of_mixed_columns(fitted, table):
    odd = pd.DataFrame({"kind": ["a", "a", "b"], "size": [0.0, 3.0, 3.0], "weight": [0.0, -3.0, 3.0], "unit": "kg"})
    p = fitted.p_values(odd)
    assert p[1] == pytest.approx(1 / 49)
    assert (p[[0, 2]] > 0.05).all()
    assert fitted.p_values(odd.assign(unit="lb")).tolist() == [1 / 49] * 3  # it never was another
    np.testing.assert_allclose(fitted.score_samples(odd.to_dict("list")), fitted.score_samples(odd))
    # The row does not depend on the others.
    np.testing.assert_allclose(fitted.score_samples(odd)[1:2], fitted.score_samples(odd[1:2]), rtol=1e-6)
    again = clone(fitted).fit(table)
    np.testing.assert_array_equal(again.score_samples(odd), fitted.score_samples(odd))


def test_a_table_of_levels_is_told():
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 3, 300), rng.integers(0, 4, 300), rng.normal(size=300)], axis=1)
    score = NegativeLogDensity(FLOW)
    with pytest.warns(TableWarning, match="2 of 3 columns hold levels or few different values"):
        FlowOutlierDetector(score, calibration="split", fpr=0.05, random_state=0).fit(x.astype(float))


def test_a_folder_gives_the_same_detector(fitted, table, tmp_path):
    fitted.save(tmp_path / "detector")
    with pytest.raises(FileExistsError):
        fitted.save(tmp_path / "detector")
    fitted.save(tmp_path / "detector", force=True)
    again = pf.FlowOutlierDetector.load(tmp_path / "detector")
    np.testing.assert_array_equal(again.score_samples(table), fitted.score_samples(table))
    np.testing.assert_array_equal(again.p_values(table), fitted.p_values(table))
    np.testing.assert_array_equal(again.predict(table), fitted.predict(table))
    assert again.describe() == fitted.describe()
    assert again.get_params()["fpr"] == 0.05
    with pytest.raises(pf.UntrustedModelError, match="got a detector of unusual rows"):
        pf.FlowDensity.load(tmp_path / "detector")
    (tmp_path / "detector" / "config.json").write_text("{}")
    with pytest.raises(pf.UntrustedModelError):
        pf.FlowOutlierDetector.load(tmp_path / "detector")


@pytest.mark.parametrize("change", ["score", "count", "array"])
def test_a_folder_that_was_altered_is_refused(change, fitted, tmp_path):
    from pushforward._files import MANIFEST, write_manifested

    fitted.save(tmp_path / "detector")
    files = {p.name: p.read_bytes() for p in (tmp_path / "detector").iterdir() if p.name != MANIFEST}
    config = files["config.json"].decode()
    if change == "score":
        config = config.replace('"log_density"', '"os.system"')
    elif change == "count":
        config = config.replace('"densities":{"density":0}', '"densities":{"density":1}').replace(
            '"density": 0', '"density": 1'
        )
    else:
        config = config.replace('"arrays": []', '"arrays": ["secret"]').replace('"arrays":[]', '"arrays":["secret"]')
    assert config != files["config.json"].decode()
    (tmp_path / "other").mkdir()
    write_manifested(tmp_path / "other", {**files, "config.json": config.encode()}, ("README.md",))
    with pytest.raises(pf.UntrustedModelError):
        pf.FlowOutlierDetector.load(tmp_path / "other")


def test_a_density_keeps_the_scores_of_its_held_out_rows(tmp_path):
    x = rows_of(0, 300, d=2)
    density = clone(FLOW).set_params(random_state=0).fit(x)
    np.testing.assert_allclose(density.held_out_scores_, density.score_samples(x[density.held_out_]))
    density.save(tmp_path / "model")
    np.testing.assert_array_equal(pf.FlowDensity.load(tmp_path / "model").held_out_scores_, density.held_out_scores_)
    with pytest.warns(TableWarning, match="n = 30 calibration rows"):
        detector = pf.FlowOutlierDetector.load(tmp_path / "model")
    assert detector.p_values([[0.0, 0.0], [9.0, 9.0]])[1] == pytest.approx(1 / 31)
    clean = FlowOutlierDetector.of_density(density, rows_of(1, 200, d=2))
    assert len(clean.calibration_) == 200
    assert (clean.predict(rows_of(2, 2000, d=2)) < 0).mean() < 0.03
    none = clone(FLOW).set_params(validation_fraction=0.0, random_state=0).fit(x)
    with pytest.raises(ValueError, match="held-out rows in the density, or clean rows"):
        FlowOutlierDetector.of_density(none)


@pytest.mark.thorough
def test_an_ensemble_keeps_scores_of_rows_that_a_member_has_not_seen():
    x = rows_of(0, 60, d=2)
    density = clone(FLOW).set_params(n_members=2, random_state=0).fit(x)
    scores = density.held_out_scores_
    assert len(scores) > 10
    assert np.isfinite(scores).all()
    assert scores.mean() == pytest.approx(density.result_.verdict.held_out_nats, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contamination": 0.7}, "contamination 'auto' or a float"),
        ({"fpr": 1.0}, "fpr between 0 and 1"),
        ({"calibration": "jackknife"}, "calibration 'auto', 'split' or 'cross'"),
        ({"calibration_fraction": 0}, "calibration_fraction between 0 and 1"),
        ({"n_folds": 1}, "n_folds of 2 or more"),
        ({"scores": "log_densty"}, "Did you mean"),
    ],
)
def test_mistakes_are_explained(options, words):
    with pytest.raises(ValueError, match=words):
        FlowOutlierDetector(**{"scores": Distance(), **options}).fit(rows_of(0, 50))


def test_one_rate_is_chosen():
    detector = FlowOutlierDetector(Distance(), random_state=0).fit(rows_of(0, 200))
    choices: list[dict[str, Any]] = [{}, {"fpr": 0.1, "fdr": 0.1}, {"fdr": 1.5}]
    for rates in choices:
        with pytest.raises(ValueError, match="one rate, between 0 and 1"):
            detector.select(rows_of(1, 3), **rates)
