"""Gaps filled by a flow, by scikit-learn's imputers and by forests: CRPS, coverage of 90 % intervals, log score.

    python benchmarks/fill.py [--only wine,abalone] [--seed 0] [--methods flow,ridge,knn,forest] [--out FILE]

30 % of the cells of the training and of the test rows are missing at random, and one column of the test rows is missing
altogether. Every method learns from the training rows with their gaps, and fills the test rows that it has not seen.
CRPS is in units of each column's standard deviation, by draws (a spread of zero makes it the absolute error), the mean
over all missing cells with numbers. KNN and forests give one number for a cell: as they are, and "dressed" with
the errors that they make at training cells that were hidden in addition. Levels have the mean logarithm of the
probability of the true one, from the draws of the flow (one added to the count of each level that the table has) and
from the filled one-hot columns of the others, clipped and normalised.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from mixed import abalone, adult, california, wine
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - scikit-learn asks for it
from sklearn.impute import IterativeImputer, KNNImputer

import pushforward as pf

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("PUSHFORWARD_DATA", HERE.parent.parent / "shared/data"))
SHARE, N_TEST, MOST_TRAIN, N_DRAWS = 0.3, 500, 4000, 100


def concrete() -> tuple[pd.DataFrame, None]:
    file = np.load(DATA / "uci_regression_splits/concrete.npz")
    names = ["cement", "slag", "ash", "water", "plasticizer", "coarse", "fine", "age", "strength"]
    return pd.DataFrame(np.column_stack([file["X"], file["y"]]), columns=names), None


def adult_few() -> tuple[pd.DataFrame, None]:
    """The numbers and the columns of at most ten levels, for the others have as many one-hot columns."""
    return adult()[0].drop(columns=["education", "occupation", "country"]), None


# A table and the column that is missing altogether.
TABLES = {
    "wine": (lambda: wine("red"), "alcohol"),
    "abalone": (abalone, "shucked"),
    "concrete": (concrete, "strength"),
    "california": (lambda: (california()[0].dropna(), None), "value"),
    "adult": (adult_few, "age"),
}


def split(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training rows with gaps, test rows with gaps, and the test rows as they are."""
    load, lost = TABLES[name]
    frame = load()[0].reset_index(drop=True)
    frame = frame.astype({n: object for n in frame if not pd.api.types.is_numeric_dtype(frame[n])})
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(frame))
    n_test = min(N_TEST, len(frame) // 5)
    test, train = frame.iloc[order[:n_test]], frame.iloc[order[n_test:][:MOST_TRAIN]]
    whole = test.reset_index(drop=True)
    train, test = (with_gaps(part.reset_index(drop=True), rng) for part in (train, test))
    test[lost] = np.nan if frame[lost].dtype != object else None
    return train, test, whole


def with_gaps(frame: pd.DataFrame, rng: np.random.Generator, share: float = SHARE) -> pd.DataFrame:
    gaps = rng.random(frame.shape) < share
    made = {}
    for i, name in enumerate(frame.columns):
        own = frame[name].astype(object if frame[name].dtype == object else float).copy()
        own[gaps[:, i]] = None if own.dtype == object else np.nan
        made[name] = own
    return pd.DataFrame(made)


def crps(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The fair estimate from draws `(n, k)`; with one draw the absolute error."""
    k = draws.shape[1]
    error = np.abs(draws - truth[:, None]).mean(axis=1)
    if k == 1:
        return error
    ranked = np.sort(draws, axis=1)
    spread = (ranked * (2 * np.arange(k) - k + 1)).sum(axis=1) * 2 / (k * (k - 1))
    return error - 0.5 * spread


class Coded:
    """A table with levels as one-hot columns, and each column scaled, as the imputers take it."""

    def __init__(self, train: pd.DataFrame):
        self.levels = {n: sorted(train[n].dropna().unique()) for n in train if train[n].dtype == object}
        self.numbers = [name for name in train if name not in self.levels]
        plain = self._plain(train)
        self.mean, self.sd = np.nanmean(plain, axis=0), np.nanstd(plain, axis=0) + 1e-12

    def _plain(self, frame: pd.DataFrame) -> np.ndarray:
        parts = [frame[self.numbers].to_numpy(float)]
        for name, levels in self.levels.items():
            own = frame[name].to_numpy()[:, None] == np.array(levels, object)[None]
            parts.append(np.where(frame[name].isna().to_numpy()[:, None], np.nan, own.astype(float)))
        return np.concatenate(parts, axis=1)

    def of(self, frame: pd.DataFrame) -> np.ndarray:
        return (self._plain(frame) - self.mean) / self.sd

    def back(self, coded: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Numbers `(n, k)`, and probabilities of the levels."""
        plain, start = coded * self.sd + self.mean, len(self.numbers)
        found = {}
        for name, levels in self.levels.items():
            own = np.clip(plain[:, start : start + len(levels)], 0.01, None)
            found[name], start = own / own.sum(axis=1, keepdims=True), start + len(levels)
        return plain[:, : len(self.numbers)], found


def fill_by_flow(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        density = pf.FlowDensity(missing="model", verify=False, random_state=seed).fit(train)
        middle = time.perf_counter()
        filled = density.fill(test, n_draws=N_DRAWS, random_state=seed)
    tables = filled.tables
    coded = Coded(train)
    numbers = np.stack([t[coded.numbers].to_numpy(float) for t in tables], axis=-1)
    levels = {}
    for name, words in coded.levels.items():
        drawn = np.stack([t[name].to_numpy(object) for t in tables], axis=-1)
        count = (drawn[:, :, None] == np.array(words, object)).sum(axis=1) + 1.0
        levels[name] = count / count.sum(axis=1, keepdims=True)
    seconds = {"fit": middle - start, "fill": time.perf_counter() - middle}
    return {"flow": (numbers, levels, seconds, filled.report.sentence)}


def fill_by_imputer(name: str, imputer: object, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict:
    coded, start = Coded(train), time.perf_counter()
    rows, asked = coded.of(train), coded.of(test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer.fit(rows)
        if name == "ridge":
            many = [coded.back(imputer.transform(asked)) for _ in range(N_DRAWS)]
            numbers = np.stack([one[0] for one in many], axis=-1)
            levels = {n: np.mean([one[1][n] for one in many], axis=0) for n in coded.levels}
            return {"ridge": (numbers, levels, {"fill": time.perf_counter() - start}, "")}
        point, levels = coded.back(imputer.transform(asked))
        seconds = {"fill": time.perf_counter() - start}
        rng = np.random.default_rng(seed)
        hidden = ~np.isnan(rows) & (rng.random(rows.shape) < 0.1)
        again = imputer.transform(np.where(hidden, np.nan, rows))
    dressed = np.repeat(point[:, :, None], N_DRAWS, axis=2)
    for i in range(len(coded.numbers)):
        errors = (rows[hidden[:, i], i] - again[hidden[:, i], i]) * coded.sd[i]
        dressed[:, i] += rng.choice(errors, size=dressed[:, i].shape)
    return {name: (point[:, :, None], levels, seconds, ""), f"{name}, dressed": (dressed, levels, seconds, "")}


def judge(
    found: tuple, train: pd.DataFrame, test: pd.DataFrame, whole: pd.DataFrame, lost: str, same: np.ndarray | None
) -> dict:
    """The figures of one method; `same` are the cells that the flow filled, if it was asked."""
    numbers, levels, seconds, words = found
    coded = Coded(train)
    scores, inside, of_lost, logs, of_same = [], [], [], [], []
    for i, name in enumerate(coded.numbers):
        gaps = test[name].isna().to_numpy()
        truth, draws = whole[name].to_numpy(float)[gaps], numbers[gaps, i]
        there = ~np.isnan(draws).any(axis=1)
        own = crps(draws[there], truth[there]) / train[name].std()
        low, high = np.quantile(draws[there], [0.05, 0.95], axis=1)
        scores.append(own)
        of_same.append(own if same is None else own[same[gaps, i][there]])
        inside.append((truth[there] >= low) & (truth[there] <= high))
        if name == lost:
            of_lost.append(own)
    for name, words_of in coded.levels.items():
        gaps = test[name].isna().to_numpy() & whole[name].isin(words_of).to_numpy()
        place = np.array([words_of.index(w) for w in whole[name].to_numpy()[gaps]])
        logs.append(np.log(levels[name][gaps][np.arange(len(place)), place]))
    asked = sum(int(test[name].isna().sum()) for name in coded.numbers)
    filled = np.concatenate(scores)
    return {
        "crps": float(filled.mean()),
        "crps_error": float(filled.std() / len(filled) ** 0.5),
        "crps_where_flow_fills": float(np.concatenate(of_same).mean()),
        "coverage_90": float(np.concatenate(inside).mean()),
        "crps_lost_column": float(np.concatenate(of_lost).mean()),
        "log_score": float(np.concatenate(logs).mean()) if logs else None,
        "share_filled": len(filled) / asked,
        "seconds": {k: round(v, 1) for k, v in seconds.items()},
        "words": words,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--methods", default="flow,ridge,knn,forest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict = {}
    for name in options.only.split(","):
        train, test, whole = split(name, options.seed)
        same = None
        imputers = {
            "ridge": IterativeImputer(sample_posterior=True, max_iter=10, random_state=options.seed),
            "knn": KNNImputer(n_neighbors=10, weights="distance"),
            "forest": IterativeImputer(
                ExtraTreesRegressor(50, min_samples_leaf=2, random_state=options.seed), max_iter=5, random_state=0
            ),
        }
        for method in options.methods.split(","):
            if method == "flow":
                found = fill_by_flow(train, test, options.seed)
                same = ~np.isnan(found["flow"][0]).any(axis=2)
            else:
                found = fill_by_imputer(method, imputers[method], train, test, options.seed)
            for label, own in found.items():
                one = judge(own, train, test, whole, TABLES[name][1], same)
                results.setdefault(name, {})[label] = one
                print(name, label, json.dumps(one), flush=True)
                if options.out is not None:
                    options.out.write_text(json.dumps({"seed": options.seed, "tables": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
