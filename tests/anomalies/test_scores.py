"""Scores of unusual rows: closed forms, what they see of any table, and that a folder gives back the same score."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import pushforward as pf
from pushforward.anomalies import (
    ColumnTails,
    ConditionalSurprise,
    LargestLatent,
    LatentNorm,
    LikelihoodRatio,
    Neighbours,
    RankEnsemble,
    SmoothedLikelihood,
    Typicality,
)
from pushforward.anomalies.ranks import CleanRanks
from pushforward.anomalies.scores import FITTED, SCORES
from pushforward.io.errors import UntrustedModelError

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(400, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
FLOW = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=20, batch_size=64, n_members=1, verify=False)
MIXED = pd.DataFrame(
    {
        "size": rng.normal(size=200),
        "colour": rng.choice(["red", "blue"], 200),
        "count": rng.poisson(3, 200),
        "gap": np.where(rng.uniform(size=200) < 0.2, np.nan, rng.normal(size=200)),
    }
)


def kernel(row, reference, width):
    return -np.log(np.mean(np.exp(-((row - reference) ** 2).sum(axis=1) / (2 * width**2))))


def test_neighbours_in_closed_form():
    score = Neighbours(width=0.5).fit(ROWS)
    standard = ROWS / ROWS.std(axis=0) - (ROWS / ROWS.std(axis=0)).mean(axis=0)
    own = np.sqrt(((standard[:, None] - standard) ** 2).sum(axis=2))
    width = 0.5 * np.median(np.sort(own, axis=1)[:, 5])
    assert score.width == pytest.approx(width, rel=1e-4)
    new = np.array([[0.3, -0.2], [2.0, -1.0]])
    places = (new - ROWS.mean(axis=0)) / ROWS.std(axis=0)
    assert score(new) == pytest.approx([kernel(row, standard, width) for row in places], rel=1e-3)
    nearest = Neighbours("distance", n_neighbours=3).fit(ROWS)(new)
    expected = [np.sort(np.sqrt(((row - standard) ** 2).sum(axis=1)))[:3].mean() for row in places]
    assert nearest == pytest.approx(expected, rel=1e-3)


def test_a_row_of_the_fit_is_scored_by_the_others():
    score = Neighbours("distance", n_neighbours=1).fit(ROWS)
    assert (score(ROWS[:50]) > 0).all()
    twice = Neighbours("distance", n_neighbours=1).fit(np.concatenate([ROWS, ROWS]))
    assert twice(ROWS[:50]) == pytest.approx(np.zeros(50), abs=2e-3)


def test_the_local_measure_compares_with_the_density_around():
    own = np.random.default_rng(0)
    both = np.concatenate([own.normal(0, 0.3, (300, 2)), own.normal(10, 2, (300, 2))])
    beside_dense, edge_of_wide = np.array([[1.2, 0.0]]), np.array([[15.0, 10.0]])
    local = Neighbours("local", width=2.0).fit(both)
    assert local(beside_dense) > local(edge_of_wide) + 1
    # The twin: the distance itself calls the other row the more unusual one.
    apart = Neighbours("distance").fit(both)
    assert apart(beside_dense) < apart(edge_of_wide)


def test_ranks_do_not_depend_on_the_units():
    skewed = np.exp(3 * ROWS)
    by_rank = Neighbours(space="ranks").fit(ROWS)(ROWS)
    assert np.corrcoef(by_rank, Neighbours(space="ranks").fit(skewed)(skewed))[0, 1] > 0.99
    plain = Neighbours().fit(ROWS)(ROWS)
    assert np.corrcoef(plain, Neighbours().fit(skewed)(skewed))[0, 1] < 0.9


def test_ranks_of_ordinary_rows_are_surprises_of_p_values():
    ranks = CleanRanks.of(rng.normal(size=3000), 0)
    p = np.exp(-ranks(rng.normal(size=3000)))
    assert np.quantile(p, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    far = ranks(np.array([5.0, 50.0, np.inf]))
    assert (np.diff(far) > 0).all()
    assert np.isfinite(far[-1])
    # The twin: ordinary rows of another scale are no longer uniform.
    assert abs(np.quantile(np.exp(-ranks(3 * rng.normal(size=3000))), 0.1) - 0.1) > 0.05


def test_column_tails_count_the_rows_beyond():
    score = ColumnTails().fit(np.arange(1.0, 100.0)[:, None])
    assert score(np.array([[50.0]])) == pytest.approx([0.0], abs=0.02)
    assert score(np.array([[200.0]])) == pytest.approx([-np.log(2 / 101)])
    both = np.stack([np.arange(1.0, 100.0)] * 2, axis=1)
    edge = np.array([[200.0, 200.0]])
    assert ColumnTails().fit(both)(edge) == pytest.approx(2 * ColumnTails("largest").fit(both)(edge))


@pytest.fixture(scope="module")
def ensemble():
    return RankEnsemble(
        density=pf.FlowDensity(**{**FLOW.get_params(), "n_members": 3, "objective": SmoothedLikelihood()})
    )


@pytest.fixture(scope="module")
def fitted(ensemble):
    return ensemble.fit(ROWS, random_state=0)


def test_the_ensemble_finds_rows_that_break_the_dependence(fitted):
    new = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
    broken = new.copy()
    broken[:, 1] = -new[::-1, 1]
    truth = np.repeat([0, 1], 300)
    assert roc_auc_score(truth, fitted(np.concatenate([new, broken]))) > 0.7
    # The twin: columns alone see nothing there.
    tails = ColumnTails().fit(ROWS)
    assert roc_auc_score(truth, tails(np.concatenate([new, broken]))) < 0.6


def test_the_parts_of_the_ensemble_add_up(fitted):
    each = fitted.each(ROWS[:20])
    assert len(each) == 4
    assert sum(each.values()) == pytest.approx(fitted(ROWS[:20]))


def test_flows_get_their_ranks_from_rows_that_they_have_not_seen(fitted):
    flows = [part for part in fitted.parts if part.weight < 1]
    assert len(flows) == 3
    assert [len(part.ranks.ordered) for part in flows] == [40, 40, 40]


def test_a_score_depends_on_its_row_alone(fitted):
    assert fitted(ROWS[:30])[7:9] == pytest.approx(fitted(ROWS[7:9]), rel=1e-5)


@pytest.mark.parametrize(
    "score",
    [
        LatentNorm(FLOW),
        LargestLatent(FLOW),
        Neighbours(space="latent", density=FLOW),
        ConditionalSurprise(FLOW),
        Typicality(FLOW),
        LikelihoodRatio(FLOW),
    ],
)
def test_scores_of_one_flow(score):
    one = score.fit(ROWS, random_state=1)
    usual, unusual = one(np.array([[0.0, 0.0], [5.0, -5.0]]))
    assert unusual > usual
    parts = one.to_parts()
    assert np.array_equal(FITTED[parts.name].from_parts(parts)(ROWS), one(ROWS))


def test_typicality_and_the_ratio_in_closed_form():
    density = pf.FlowDensity(**{**FLOW.get_params(), "random_state": 1}).fit(ROWS)
    typical = Typicality(FLOW).fit(ROWS, random_state=1)
    expected = np.abs(-density.score_samples(ROWS[:9]) + density.held_out_scores_.mean())
    assert typical(ROWS[:9]) == pytest.approx(expected)
    ratio = LikelihoodRatio(FLOW).fit(ROWS, random_state=1)
    both = [one.score_samples(ROWS[:9]) for one in (ratio.densities["background"], density)]
    assert ratio(ROWS[:9]) == pytest.approx(both[0] - both[1])


def test_a_folder_gives_back_the_ensemble(fitted):
    parts = fitted.to_parts()
    assert np.array_equal(FITTED["ensemble"].from_parts(parts)(ROWS), fitted(ROWS))
    for name in parts.arrays:
        fewer = {key: value for key, value in parts.arrays.items() if key != name}
        with pytest.raises(UntrustedModelError):
            FITTED["ensemble"].from_parts(dataclasses.replace(parts, arrays=fewer))


def test_mixed_tables_with_gaps():
    score = RankEnsemble(density=False).fit(MIXED)
    odd = pd.DataFrame({"size": [9.0, 0.1], "colour": ["green", "red"], "count": [40, 3], "gap": [0.0, np.nan]})
    strange, usual = score(odd)
    assert strange > usual + 5
    parts = score.to_parts()
    assert np.array_equal(FITTED["ensemble"].from_parts(parts)(MIXED), score(MIXED))


def test_a_column_that_never_varied():
    table = np.column_stack([ROWS, np.full(len(ROWS), 2.0)])
    score = RankEnsemble(density=False).fit(table)
    other = table[:2].copy()
    other[1, 2] = 3.0
    usual, strange = score(other)
    assert strange > usual + 20
    assert np.isfinite(strange)


def test_trimmed_rows_do_not_count():
    dirty = np.concatenate([ROWS, np.random.default_rng(1).normal(5, 0.3, (20, 2))])
    odd, beside = np.array([[5.0, 5.0]]), (Neighbours("distance", n_neighbours=20),)
    trimmed, plain = (RankEnsemble(beside, density=False, trim=trim).fit(dirty) for trim in (0.1, 0.0))
    # The twin: without trimming the rows of the cluster make each other ordinary.
    assert trimmed(odd) > plain(odd) + 2


def test_weights_choose_the_ordinary_rows():
    both = np.concatenate([ROWS, ROWS + 8])
    weights = np.repeat([1.0, 0.0], len(ROWS))
    weighted, alone = RankEnsemble(density=False).fit(both, weights=weights), RankEnsemble(density=False).fit(ROWS)
    assert weighted(both) == pytest.approx(alone(both))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Neighbours("near"), "measure one of"),  # pyright: ignore[reportArgumentType]
        (lambda: Neighbours(width=0), "width > 0"),
        (lambda: ColumnTails("mean"), "'sum' or 'largest'"),  # pyright: ignore[reportArgumentType]
        (lambda: RankEnsemble(trim=0.5), "below 0.5"),
        (lambda: RankEnsemble(beside=(LatentNorm(),)), "Neighbours and ColumnTails"),
        (lambda: RankEnsemble(beside=(), density=False), "one score or more"),
        (lambda: SmoothedLikelihood(0), "noise > 0"),
        (lambda: LikelihoodRatio(exchanged=0), "exchanged in"),
        (lambda: Neighbours().fit(np.zeros(3)), "rows"),
        (lambda: Neighbours().fit(ROWS)(np.zeros((1, 3))), "2 columns"),
        (lambda: Neighbours().fit(ROWS)(np.array([[np.nan, 0]])), "missing"),
        (lambda: Neighbours().fit(ROWS, weights=np.ones(3)), "weights"),
    ],
)
def test_errors_say_what_was_expected(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_every_score_is_found_by_its_name():
    assert set(SCORES) == set(FITTED)
    for name, make in SCORES.items():
        assert pf.anomalies.score_named(name) == make()


def test_trimming_leaves_no_column_constant():
    rare = np.zeros(len(ROWS))
    rare[np.argsort(-np.abs(ROWS[:, 0]))[:4]] = 1.0
    table = np.column_stack([ROWS, rare])
    score = RankEnsemble(density=False, trim=0.1).fit(table)
    assert score.parts[0].score.places.features.varying.places == ()  # pyright: ignore[reportAttributeAccessIssue]
