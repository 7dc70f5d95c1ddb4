"""Photometric redshifts: p(redshift given six magnitudes) of pushforward, of pzflow and of a nearest-neighbour density.

    python benchmarks/photoz.py [--methods pushforward,pzflow,knn] [--every 4] [--seed 0]

The table is `galaxy_photoz` of `PUSHFORWARD_DATA` (10,225 galaxies to fit, 20,449 to test, simulated for LSST). A
magnitude of 99 means that nothing was detected. pushforward takes it as missing; the other two take the faintest
magnitude that was detected. All three run with their own defaults; pzflow (`pip install --no-deps pzflow tqdm`) keeps
the epoch that is best on a tenth of the rows, and the neighbours' number and width are chosen on that tenth.

All are judged on one grid of redshifts: nats per galaxy, the loss of Izbicki and Lee (2017, eq. 6), the scatter
sigma_NMAD of the modes, the share of outliers (beyond 0.15), and the Kolmogorov-Smirnov distance of the PIT from a
uniform one.
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
from scipy.integrate import trapezoid
from scipy.stats import kstest
from sklearn.neighbors import NearestNeighbors

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("PUSHFORWARD_DATA", HERE.parent.parent / "shared/data")) / "galaxy_photoz" / "dc2_9816.npz"
RESULTS = HERE / "results" / "photoz.json"
BANDS = [f"mag_{band}_lsst" for band in "ugrizy"]
GRID = np.linspace(0.0, 3.2, 641)
OUTLIER = 0.15
NEIGHBOURS, WIDTHS = (5, 10, 20, 40), (0.01, 0.02, 0.03, 0.05, 0.08)


def read() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test galaxies, as they are in the file."""
    file = np.load(DATA)
    names = [str(name) for name in file["names"]]
    parts = (pd.DataFrame(file[part].astype(float), columns=names) for part in ("training", "validation"))
    train, test = (part[["redshift", *BANDS]] for part in parts)
    return train, test


def detected(frame: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """The table with the faintest detected magnitude of the training rows instead of 99."""
    faintest = train[BANDS].where(train[BANDS] < 99).max()
    columns = {str(band): frame[band].where(frame[band] < 99, faintest[band]) for band in BANDS}
    return frame.assign(**columns)


def by_pushforward(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> np.ndarray:
    import pushforward as pf

    gaps = {"na": [99], "missing": "model"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pf.TableWarning)
        density = pf.FlowDensity(given=BANDS, verify=False, random_state=seed, **gaps).fit(train)
        return np.asarray(density.pdf_grid(test[BANDS], "redshift", GRID))


def by_pzflow(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> np.ndarray:
    from pzflow import Flow

    rows, test = detected(train, train), detected(test, train)
    held = np.random.default_rng(seed).permutation(len(rows)) < len(rows) // 10
    flow = Flow(["redshift"], conditional_columns=BANDS, seed=seed)
    flow.train(rows[~held], rows[held], seed=seed)
    return np.asarray(flow.posterior(test, "redshift", GRID, batch_size=500))


def by_knn(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> np.ndarray:
    """The mean of normal kernels at the redshifts of the neighbours in the i magnitude and the five colours."""

    def places(frame: pd.DataFrame) -> np.ndarray:
        values = detected(frame, train)[BANDS].to_numpy()
        return np.column_stack([values[:, 3], -np.diff(values, axis=1)])

    features, z = places(train), train["redshift"].to_numpy()
    scale = features.std(axis=0)
    held = np.random.default_rng(seed).permutation(len(z)) < len(z) // 10

    def densities(chosen: np.ndarray, at: np.ndarray, n: int, width: float) -> np.ndarray:
        index = NearestNeighbors(n_neighbors=n).fit(features[chosen] / scale)
        near = z[chosen][index.kneighbors(at / scale, return_distance=False)]
        pdf = np.zeros((len(at), len(GRID)))
        for column in near.T:
            pdf += np.exp(-0.5 * ((GRID - column[:, None]) / width) ** 2)
        return pdf / trapezoid(pdf, GRID, axis=1)[:, None]

    choices = [(n, width) for n in NEIGHBOURS for width in WIDTHS]
    losses = [loss(densities(~held, features[held], *choice), z[held]) for choice in choices]
    return densities(np.ones(len(z), bool), places(test), *choices[int(np.argmin(losses))])


def at(pdf: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The densities at the true redshifts, between the points of the grid by lines."""
    return np.array([np.interp(value, GRID, row) for value, row in zip(z, pdf, strict=True)])


def loss(pdf: np.ndarray, z: np.ndarray) -> float:
    """The conditional density estimation loss, up to a constant: lower is better."""
    return float(np.mean(trapezoid(pdf**2, GRID, axis=1) - 2 * at(pdf, z)))


def judge(pdf: np.ndarray, z: np.ndarray) -> dict[str, float | None]:
    """The figures of one method; no nats where a galaxy has no density."""
    mode = GRID[np.argmax(pdf, axis=1)]
    error = (mode - z) / (1 + z)
    below = np.concatenate(
        [np.zeros((len(z), 1)), np.cumsum((pdf[:, 1:] + pdf[:, :-1]) / 2 * np.diff(GRID), axis=1)], 1
    )
    pit = np.array([np.interp(value, GRID, row) for value, row in zip(z, below, strict=True)]) / below[:, -1]
    with np.errstate(divide="ignore"):
        nats = np.log(at(pdf, z))
    return {
        "nats": float(np.mean(nats)) if np.isfinite(nats).all() else None,
        "cde_loss": loss(pdf, z),
        "sigma_nmad": float(1.4826 * np.median(np.abs(error - np.median(error)))),
        "outliers": float(np.mean(np.abs(error) > OUTLIER)),
        "pit_ks": float(kstest(pit, "uniform").statistic),
        "mass_on_grid": float(np.mean(below[:, -1])),
    }


METHODS = {"pushforward": by_pushforward, "pzflow": by_pzflow, "knn": by_knn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="Names of methods, separated by commas.")
    parser.add_argument("--every", type=int, default=1, help="Takes every so many galaxies of the test.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the random numbers.")
    options = parser.parse_args()
    train, test = read()
    test = test.loc[:: options.every].reset_index(drop=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.methods.split(","):
        began = time.perf_counter()
        pdf = METHODS[name](train, test, options.seed)
        figures = judge(pdf, np.asarray(test["redshift"]))
        results[name] = figures | {
            "rows": len(test),
            "seed": options.seed,
            "seconds": round(time.perf_counter() - began, 1),
        }
        print(name, json.dumps(results[name]), flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
