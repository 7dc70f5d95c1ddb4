"""Training on samples: fresh rows teach as much as data, shuffled ones nothing; and figures by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from pushforward.metrics import usefulness
from pushforward.metrics._arrays import one_thread


def part(n: int, seed: int, classes: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = x @ [1.0, -0.5] + 0.3 * rng.normal(size=n)
    x[rng.uniform(size=n) < 0.05, 1] = np.nan
    return x, (np.digitize(y, [-0.5, 0.5]) if classes else y).astype(float)


@pytest.mark.parametrize("classes", [False, True])
def test_fresh_rows_teach_as_much_and_shuffled_ones_nothing(classes):
    data, fresh, test = (part(400, seed, classes) for seed in range(3))
    found = usefulness(data, fresh, test, classes=classes)
    assert not found.worse
    assert found.rows == (400, 400, 400)
    twin = usefulness(data, (fresh[0], np.random.default_rng(0).permutation(fresh[1])), test, classes=classes)
    assert twin.worse
    assert "loses something" in twin.sentence
    name = "auc" if classes else "r2"
    assert twin.figures[name][0] == found.figures[name][0]


def test_numbers_are_those_of_the_learner():
    data, samples, test = (part(200, seed, False) for seed in range(3))
    first, second, error = usefulness(data, samples, test).figures["rmse"]
    for (x, y), rmse in ((data, first), (samples, second)):
        with one_thread():
            guess = HistGradientBoostingRegressor(random_state=0).fit(x, y).predict(test[0])
        assert rmse == pytest.approx(np.sqrt(np.mean((guess - test[1]) ** 2)))
    assert 0 < error < 0.1


def test_samples_of_one_class_and_of_classes_never_seen():
    data, samples, test = (part(100, seed, True) for seed in range(3))
    lost = usefulness(data, (samples[0], np.zeros(100)), test, classes=True)
    assert lost.worse
    assert lost.figures["auc"][1] == pytest.approx(0.5)
    assert usefulness(data, (samples[0], samples[1] + 7), test, classes=True).figures["accuracy"][1] == 0


def test_refusals():
    x, y = part(50, 0, True)
    with pytest.raises(ValueError, match="two classes"):
        usefulness((x, np.zeros(50)), (x, y), (x, y), classes=True)
    with pytest.raises(ValueError, match="finite"):
        usefulness((x, y * np.nan), (x, y), (x, y))
