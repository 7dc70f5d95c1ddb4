"""Conditions on the columns of a table's model, from Python and from text."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import pushforward as pf
from pushforward.tables.estimators.known_cells import Wanted
from pushforward.tables.estimators.where import parse_where
from tables.mixed_weather import table

N = 1500


@pytest.fixture(scope="module")
def draws(density) -> pd.DataFrame:
    return density.sample(40_000, random_state=5)


def close(one: pd.Series, other: pd.Series, ess: float) -> float:
    """By how many standard errors two means differ."""
    sd = float(np.std(other.to_numpy(), ddof=1))
    return abs(float(one.mean()) - float(other.mean())) / (sd * math.sqrt(1 / ess + 1 / len(other)))


def test_levels_are_exact(density, draws):
    rows, report = pf.condition_on(density, {"kind": "rain"}).draw(N, random_state=0)
    assert report.exact
    assert set(rows["kind"]) == {"rain"}
    own = draws[draws["kind"] == "rain"]
    assert max(close(rows[name], own[name], N) for name in ("warm", "wind", "count")) < 4
    assert close(rows["warm"], draws["warm"], N) > 4
    assert abs(math.exp(report.log_evidence) - len(own) / len(draws)) < 0.01


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        pytest.param({"warm": (14.0, None)}, lambda t: t["warm"] >= 14, marks=pytest.mark.thorough),
        ({"kind": {"rain", "snow"}, "count": (5, 9)}, lambda t: (t["kind"] != "sun") & t["count"].between(5, 9)),
        ({"count": 4}, lambda t: t["count"] == 4),
        ({"wet": (0.05, 3.0), "wind": (2.0, None)}, lambda t: t["wet"].between(0.05, 3) & (t["wind"] >= 2)),
        ({"wet": None}, lambda t: t["wet"].isna()),
        ({"wet": 0.0}, lambda t: t["wet"] == 0),
    ],
)
def test_ranges_sets_and_gaps_are_as_filtered_draws(density, draws, given, holds):
    rows, report = pf.condition_on(density, given).draw(N, random_state=0)
    own = draws[holds(draws)]
    assert holds(rows).all()
    worth = N if report.exact else N * report.ess / (N + report.ess)
    names = [name for name in ("warm", "wind", "count", "wet") if len(set(own[name].dropna())) > 1]
    far = {name: close(rows[name].dropna(), own[name].dropna(), worth * rows[name].notna().mean()) for name in names}
    assert max(far.values()) < 4.5, far
    assert abs(math.exp(report.log_evidence) - len(own) / len(draws)) < 0.02


def test_known_numbers_are_weighed_by_their_density(density, draws):
    given = {"warm": 11.0, "count": 3}
    rows, report = pf.condition_on(density, given).draw(N, random_state=0)
    assert (rows["warm"] == 11.0).all()
    assert (rows["count"] == 3).all()
    near = draws[(draws["warm"] - 11.0).abs().lt(0.3) & draws["count"].eq(3)]
    worth = N * report.ess / (N + report.ess)
    assert close(rows["wind"], near["wind"], worth) < 4.5
    shares = [(t["kind"] == "sun").mean() for t in (rows, near)]
    assert abs(shares[0] - shares[1]) < 4.5 * 0.5 * math.sqrt(1 / worth + 1 / len(near))


def test_the_same_seed_gives_the_same_rows(density):
    given = pf.condition_on(density, {"kind": "snow"})
    pd.testing.assert_frame_equal(given.sample(5, random_state=3), given.sample(5, random_state=3))


def test_marginals_of_columns(density, draws):
    kinds = pf.marginal(density, ["kind"])
    assert np.allclose(np.sum(kinds.pdf(["rain", "sun", "snow"])), 1.0, atol=1e-3)
    count = pf.marginal(density, "count")
    assert abs(count.cdf(4.0) - (draws["count"] <= 4).mean()) < 0.03
    low, high = count.interval(0.9)
    assert abs((draws["count"].between(low, high)).mean() - 0.9) < 0.06
    both = pf.marginal(density, ["kind", "count"])
    assert both.sample(7, random_state=0).shape == (7, 2)


def test_text_says_the_same():
    found = parse_where("kind=rain|snow, warm>=14, 'a, b'=\"x|y\", wet=missing; d=2012-01-01..2012-03-31, n>1, n<5")
    assert found["kind"] == Wanted(("rain", "snow"))
    assert found["warm"] == Wanted(low="14")
    assert found["a, b"] == Wanted(("x|y",))
    assert found["wet"] == Wanted((None,))
    assert found["d"] == Wanted(low="2012-01-01", high="2012-03-31")
    assert found["n"] == Wanted(low="1", high="5", low_open=True, high_open=True)
    for text in ("", "warm", "warm=", "=3", "warm>1,warm=3", "kind='rain", "a=..", "a==3"):
        with pytest.raises(pf.DataError) as caught:
            parse_where(text)
        assert caught.value.code == "where"


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"knd": "rain"}, "columns", "'kind'"),
        ({"kind": "rian"}, "unseen", "'rain'"),
        ({"kind": (1, 2)}, "where", "without an order"),
        ({"warm": "hot"}, "non-numeric", "hot"),
        ({"warm": None}, "where", "never missing"),
        ({"count": (-9, -3)}, "unseen", "no level in that range"),
        ({"wet": (-9, -3)}, "where", "not in that range"),
        ({"warm": (3, 1)}, "where", "empty"),
    ],
)
def test_mistakes_are_named(density, given, code, says):
    with pytest.raises(pf.DataError, match=says) as caught:
        pf.condition_on(density, given)
    assert caught.value.code == code


@pytest.mark.thorough
def test_an_order_makes_numbers_exact(tmp_path):
    rows = table(600)[["warm", "wind"]]
    rows["extra"] = rows["wind"] ** 2 + np.random.default_rng(1).normal(size=len(rows))
    own = pf.FlowDensity(order=["wind", "extra"], n_layers=2, width=8, max_epochs=4, verify=False, random_state=0).fit(
        rows
    )
    own.save(tmp_path / "model")
    again = pf.FlowDensity.load(tmp_path / "model")
    assert again.order == ["wind", "extra"]
    drawn, report = pf.condition_on(again, {"wind": 2.0, "extra": (3.0, None)}).draw(400, random_state=0)
    assert report.exact
    assert list(drawn.columns) == list(rows.columns)
    assert (drawn["extra"] >= 3).all()
    # The marginal of the first column is exact: it integrates to one, and it is what the draws of the joint have.
    first = pf.marginal(again, ["wind"])
    grid = np.linspace(-15, 20, 301)
    density, error = first.score({"wind": grid}, n=32)
    assert (error == 0).all()
    assert abs(np.trapezoid(np.exp(density), grid) - 1) < 0.01
    assert not pf.condition_on(again, {"warm": 10.0}).draw(200, random_state=0)[1].exact
    with pytest.raises(ValueError, match="order"):
        pf.FlowDensity("realnvp", order=["wind"], verify=False).fit(rows)
    with pytest.raises(pf.DataError, match="'wind'"):
        pf.FlowDensity(order=["wnd"], verify=False).fit(rows)


@pytest.mark.thorough
def test_prices_with_cents_lie_in_their_range():
    rng = np.random.default_rng(0)
    price = np.round(rng.gamma(3.0, 8.0, 1500)) + rng.choice([0.0, 0.99, 0.5], 1500, p=[0.4, 0.5, 0.1])
    rows = pd.DataFrame({"price": price, "size": rng.normal(size=1500) + price / 20})
    own = pf.FlowDensity(n_layers=1, width=8, max_epochs=3, n_members=1, verify=False, random_state=0).fit(rows)
    drawn = pf.condition_on(own, {"price": (20.5, 30.0)}).sample(500, random_state=0)
    assert drawn["price"].between(20.5, 30.0).all()
    assert len(set(np.round(drawn["price"] % 1, 2))) == 3
    every = own.sample(20_000, random_state=1)
    inside = every[every["price"].between(20.5, 30.0)]
    assert close(drawn["price"], inside["price"], 300) < 4.5
