"""`tune`: the trials, their rows and their budget, with the fits themselves played by a formula."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pushforward.io.fit_options import FitOptions
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators import tune as module
from pushforward.tables.estimators.tune import Space, Tuned, options_of, tune
from pushforward.tables.modelling.build import make_recipe
from pushforward.training import FitError

pytestmark = pytest.mark.float32
ROWS = np.random.default_rng(0).normal(size=(150, 2))


class Played:
    """Plays the fits: the held-out score depends on the learning rate alone, the best being 1e-3."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.acts: dict[int, Any] = {}
        self.now = 0.0

    def __call__(self, prepared: Any, recipe: Any, seeds: Any, **options: Any) -> Any:
        number = len(self.calls)
        stopping, _, reporting = options.pop("options")
        options |= {"max_seconds": stopping.max_seconds, "learning_rate": options["optimizer"].learning_rate}
        self.calls.append(SimpleNamespace(prepared=prepared, recipe=recipe, seeds=seeds, **options))
        self.now += 10.0
        act = self.acts.get(number)
        if isinstance(act, BaseException):
            raise act
        nats = -abs(math.log(options["learning_rate"] / 1e-3))
        for epoch in (1, 10, 20):
            fall = 100.0 if act == "bad" else 0.0
            reporting.callback({"epoch": epoch, "held_out_nats": nats - 1 / epoch - fall, "step": 10 * epoch})
        nats = math.nan if act == "nan" else nats
        verdict = SimpleNamespace(
            held_out_nats=nats,
            standard_error=0.1,
            steps=0 if act == "no steps" else 100,
            status="interrupted" if act == "interrupted" else "converged",
        )
        score = lambda encoded, condition: SimpleNamespace(log_prob=2 * nats + encoded.rows[:, 0])  # noqa: E731
        return SimpleNamespace(result=SimpleNamespace(verdict=verdict), model=SimpleNamespace(score_encoded=score))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    found = Played()
    monkeypatch.setattr(module, "train", found)
    return found


def search(played: Played, **options: Any) -> Tuned:
    return tune(ROWS, clock=lambda: played.now, **{"max_seconds": 1000.0, "n_trials": 8, **options})


def test_the_first_trial_is_the_defaults_and_the_winner_is_never_worse(played: Played) -> None:
    found = search(played)
    assert len(found.attempts) == 8
    first = played.calls[0]
    assert first.recipe == make_recipe("nsf", "normal", {}, len(first.prepared.rows))
    assert found.attempts[found.best].nats == max(a.nats for a in found.attempts if a.state == "done")
    assert found.attempts[found.best].nats > found.attempts[0].nats
    assert found.options.training.learning_rate == found.attempts[found.best].choices["learning_rate"]
    assert found.chosen_gain == pytest.approx(found.attempts[found.best].nats - found.attempts[0].nats)


def test_all_trials_see_the_same_rows_and_none_the_fresh_ones(played: Played) -> None:
    found = search(played, n_trials=3)
    first = played.calls[0]
    for call in played.calls[1:]:
        np.testing.assert_array_equal(call.prepared.rows, first.prepared.rows)
        np.testing.assert_array_equal(call.seeds, first.seeds)
    seen = {tuple(row) for row in first.prepared.rows}
    assert found.fresh_rows == 22
    assert len(seen) == 128
    fresh = np.array([row for row in ROWS if tuple(row) not in seen])
    assert first.validation * 128 == pytest.approx(0.15 * 150, abs=1)
    # The stub's score is twice the held-out one plus the row's first number, the same for both: no spread.
    assert found.fresh_nats == pytest.approx(2 * found.attempts[found.best].nats + fresh[:, 0].mean())
    assert found.fresh_gain == pytest.approx(2 * found.chosen_gain)
    assert found.fresh_error == pytest.approx(0, abs=1e-9)


def test_a_trial_that_fails_is_not_the_end(played: Played) -> None:
    played.acts = {0: FitError("diverged"), 1: MemoryError(), 2: "nan", 3: "no steps"}
    found = search(played, n_trials=6)
    assert [a.state for a in found.attempts] == ["failed"] * 4 + ["done"] * 2
    assert found.best in (4, 5)
    assert math.isnan(found.fresh_gain)
    assert any("The defaults failed" in line for line in found.sentences)
    played.calls.clear()
    played.acts = dict.fromkeys(range(3), FitError("diverged"))
    with pytest.raises(FitError, match="none of 3 trials"):
        search(played, n_trials=3)
    played.calls.clear()
    played.acts = {0: TypeError("a fault of ours")}
    with pytest.raises(TypeError):
        search(played)


def test_a_trial_that_falls_behind_is_stopped_early(played: Played) -> None:
    played.acts = {4: "bad"}
    found = search(played, n_trials=5)
    assert found.attempts[4].state == "stopped early"
    assert found.attempts[4].nats < -90
    assert "stopped early" in found.attempts[4].sentence
    assert found.best != 4


def test_ctrl_c_keeps_the_best_so_far(played: Played) -> None:
    for act in ("interrupted", KeyboardInterrupt()):
        played.calls.clear()
        played.acts = {2: act}
        found = search(played)
        assert len(found.attempts) == 3
        assert found.interrupted
        assert found.best in (0, 1)
    played.calls.clear()
    played.acts = {0: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        search(played)


def test_the_budget_ends_the_search(played: Played) -> None:
    found = search(played, max_seconds=45.0, n_trials=None)
    assert [call.max_seconds for call in played.calls] == [45.0, 35.0, 25.0, 15.0]
    # Five seconds are left, and a trial takes ten to its first score.
    assert len(found.attempts) == 4
    played.calls.clear()
    search(played, max_seconds=800.0, n_trials=1)
    assert played.calls[0].max_seconds == 100.0


def test_the_same_seed_searches_the_same(played: Played) -> None:
    first = search(played, seed=3)
    played.calls.clear()
    assert [a.choices for a in search(played, seed=3).attempts] == [a.choices for a in first.attempts]


def test_the_options_fit_and_come_back_from_their_file(played: Played, tmp_path: Any) -> None:
    found = search(played, options=FitOptions.check({"training": {"max_epochs": 7}, "flow": {"base": "student_t"}}))
    assert played.calls[0].max_epochs == 7
    assert played.calls[0].recipe.base == "student_t"
    (tmp_path / "best.toml").write_text(found.options.to_toml())
    assert FitOptions.gather(tmp_path / "best.toml") == found.options
    keywords = FlowDensity(**found.options.keywords()).get_params()
    assert keywords["n_layers"] == found.attempts[found.best].choices["n_layers"]
    assert found.to_json()["trials"][0]["state"] == "done"


def test_weights_count_in_the_fresh_score(played: Played) -> None:
    weights = np.where(ROWS[:, 0] > 0, 1.0, 1e-9)
    found = search(played, n_trials=1, weights=weights)
    seen = {tuple(row) for row in played.calls[0].prepared.rows}
    fresh = np.array([row[0] for row in ROWS if tuple(row) not in seen])
    assert found.fresh_nats == pytest.approx(2 * found.attempts[0].nats + fresh[fresh > 0].mean(), abs=1e-6)


def test_columns_of_the_options_are_the_table() -> None:
    table = pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]})
    options = FitOptions.check({"data": {"columns": ["a"]}})
    whole = pytest.MonkeyPatch()
    stub = Played()
    whole.setattr(module, "train", stub)
    tune(table, options=options, n_trials=1, clock=lambda: stub.now)
    whole.undo()
    assert stub.calls[0].prepared.schema.names == ("a",)


def test_couplings_need_two_numbers() -> None:
    assert Space(2, 1000).families == ["nsf autoregressive", "nsf coupling", "maf", "realnvp"]
    assert Space(1, 1000).families == ["nsf autoregressive", "maf"]
    assert Space(0, 1000).families == ["nsf autoregressive"]
    assert Space(2, 300).batches == [128, 256]
    assert options_of(Space(2, 300).defaults, FitOptions()).flow.autoregressive is True


def test_arguments_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="40 rows"):
        tune(ROWS[:30])
    with pytest.raises(ValueError, match="max_seconds"):
        tune(ROWS, max_seconds=0)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'pushforward\[tune\]'"):
        tune(ROWS)
