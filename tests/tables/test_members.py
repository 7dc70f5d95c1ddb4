"""Ensembles of tables' models: what each member is trained on, how they are weighed, saved and loaded."""

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import pushforward as pf
from pushforward.distributions import Ensemble
from pushforward.tables.modelling.assemble import Recipe
from pushforward.tables.modelling.members import members_of, wide_share
from pushforward.training.members import SharedRows, folds, shares_of

SMALL: dict[str, Any] = {"n_layers": 2, "width": 8, "max_epochs": 20, "random_state": 0}


def frame(n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    words = np.where(x + rng.normal(size=n) > 0, "high", "low")
    return pd.DataFrame({"x": x, "y": 2 * x + 0.3 * rng.normal(size=n), "word": words})


@pytest.fixture(scope="module")
def fitted() -> pf.FlowDensity:
    return pf.FlowDensity(n_members=3, **SMALL).fit(frame())


def test_no_two_members_hold_out_the_same_row_and_each_trains_on_the_others():
    held_out = folds(50, 4, 0.1, [1, 2])
    assert [len(rows) for rows in held_out] == [5] * 4
    assert len(np.unique(np.concatenate(held_out))) == 20
    shares = shares_of(held_out, 50)
    assert shares.mean(axis=0).sum() == pytest.approx(1)
    for k, rows in enumerate(held_out):
        assert (shares[rows, k] == 0).all()
        assert (np.delete(shares[:, k], rows) > 0).all()
    assert [len(rows) for rows in folds(10, 5, 0.5, [1])] == [2] * 5  # all rows are held out once
    assert [len(rows) for rows in folds(10, 5, 0.0, [1])] == [0] * 5


def test_a_row_counts_for_the_members_by_its_shares():
    members = [pf.flows.realnvp(jax.random.key(seed), dim=2, n_layers=1, width=4) for seed in range(3)]
    x = np.random.default_rng(0).normal(size=(6, 2))
    shares = np.tile([0.5, 0.0, 0.5], (6, 1))
    both = SharedRows(Ensemble(members))
    right = 0.5 * members[0].log_prob(x) + 0.5 * members[2].log_prob(x)
    np.testing.assert_allclose(both.log_prob(np.concatenate([x, shares], axis=1)), right, rtol=1e-5)


def test_the_share_of_the_wide_member_is_the_most_likely_one():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=4000) < -0.6745  # a quarter of the rows
    x = np.where(wide, 10 * rng.normal(size=4000), rng.normal(size=4000))

    def log_density(scale: float) -> np.ndarray:
        return -0.5 * (x / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)

    share = wide_share(log_density(1.0), log_density(10.0), np.ones(len(x)))
    assert share == pytest.approx(0.25, abs=0.03)
    # A density that gives a row nothing at all leaves that row to the wide one.
    own = np.where(np.arange(len(x)) == 0, -np.inf, log_density(1.0))
    assert 0 < wide_share(own, log_density(10.0), np.ones(len(x))) < 1
    assert wide_share(np.zeros(100), np.full(100, -50.0), np.ones(100)) == pytest.approx(1 / 102, rel=1e-3)


def test_an_ensemble_scores_its_members_and_says_what_it_is(fitted):
    table = frame()
    parts = fitted.score_parts(table)
    assert np.isfinite(parts.log_prob).all()
    np.testing.assert_allclose(parts.mass + parts.density, parts.log_prob)
    ensemble = fitted.model_.distribution
    assert isinstance(ensemble, Ensemble)
    assert ensemble.size == 4
    weights = np.exp(ensemble.log_weights.value)
    assert weights.sum() == pytest.approx(1)
    assert np.ptp(weights[:3]) < 1e-12
    assert fitted.checks_ is not None
    assert len(fitted.baselines_) == 3
    assert len(fitted.held_out_) == 0  # each row is known to some member
    assert set(fitted.row_status(table)) <= {"ok", "tail", "extrapolated"}


def test_samples_of_an_ensemble_begin_alike_and_keep_their_kind(fitted):
    few, many = fitted.sample(5, random_state=3), fitted.sample(20, random_state=3)
    pd.testing.assert_frame_equal(few, many.iloc[:5])
    assert set(many["word"]) <= {"high", "low"}


def test_a_saved_ensemble_comes_back_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = pf.FlowDensity.load(tmp_path / "model")
    assert again.n_members == 3
    np.testing.assert_array_equal(again.score_samples(frame()), fitted.score_samples(frame()))
    pd.testing.assert_frame_equal(again.sample(4, random_state=0), fitted.sample(4, random_state=0))


def test_members_are_the_same_for_the_same_seed_and_differ_from_each_other(fitted):
    table = frame()
    again = pf.FlowDensity(n_members=3, verify=False, **SMALL).fit(table)
    np.testing.assert_array_equal(again.score_samples(table), fitted.score_samples(table))
    from pushforward.tables.modelling.rows import score_rows

    rows = fitted.model_.encode(fitted.table_of(table))[0].rows
    one, other, *_ = [score_rows(member, rows, None).log_prob for member in fitted.model_.distribution.each]
    assert np.abs(one - other).max() > 0.01


def test_plain_numbers_and_conditions():
    x = frame()[["x", "y"]].to_numpy()
    density = pf.FlowDensity(n_members=2, given=["x0"], verify=False, **SMALL).fit(x)
    assert isinstance(density.flow_, Ensemble)
    np.testing.assert_allclose(density.flow_.log_prob(x[:, 1:], x[:, :1]), density.score_samples(x), rtol=2e-4)
    assert density.sample(2, given=x[:3, :1], random_state=0).shape == (6, 2)


@pytest.mark.parametrize(
    ("n_rows", "plain", "flow", "members"),
    [
        (1000, True, "nsf", 5),
        (1001, True, "nsf", 1),
        (10, True, "maf", 2),
        (5, True, "nsf", 1),
        (100, False, "nsf", 1),
        (100, True, "ffjord", 1),
        (100, True, "ncsf", 1),
    ],
)
def test_few_rows_get_several_members_where_the_fit_is_left_to_the_library(n_rows, plain, flow, members):
    chosen, recipe = members_of(None, n_rows, Recipe(flow), plain)
    assert chosen == members
    assert recipe.gaussian_start == (members > 1)


def test_more_members_than_rows_are_refused():
    with pytest.raises(ValueError, match="at most the number of rows, 3"):
        members_of(4, 3, Recipe("nsf"), True)
