"""The tables that the benchmarks read from `PUSHFORWARD_DATA` (default `../shared/data`), cleaned for densities."""

from __future__ import annotations

import io
import lzma
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[2]
MIN_DISTINCT = 10  # columns with fewer values are codes, not numbers, and are dropped
TIED = 0.02  # a column is heavily tied when one value holds this share of the rows ...
FEW = 0.1  # ... or when it has fewer distinct values than this share of the rows
SAME = 1 - 1e-6  # columns correlated more than this with an earlier one are dropped


def data_folder() -> Path:
    """Where the data is; it may not be there."""
    return Path(os.environ.get("PUSHFORWARD_DATA", CHECKOUT.parent / "shared" / "data"))


@dataclass
class Table:
    """Rows fit for a density, and what was done to them."""

    name: str
    rows: np.ndarray
    notes: list[str] = field(default_factory=list)

    def split(self, seed: int = 0, most: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """80 % training, 10 % validation, 10 % test rows, in an order that depends on `seed` alone."""
        order = np.random.default_rng(seed).permutation(len(self.rows))[:most]
        first, second = round(0.8 * len(order)), round(0.9 * len(order))
        return self.rows[order[:first]], self.rows[order[first:second]], self.rows[order[second:]]


def quantum(column: np.ndarray) -> float:
    """The smallest gap between distinct values, rounding errors (1e-6 of the range) apart."""
    gaps = np.diff(np.unique(column))
    return float(np.min(gaps[gaps > 1e-6 * np.ptp(column)]))


def clean(name: str, rows: np.ndarray, seed: int = 0) -> Table:
    """Drop rows with missing values, repeated rows, constant and repeated columns and codes; jitter heavy ties.

    A heavily tied column has no density; it gets uniform noise of one quantum, the smallest gap between its values.
    """
    notes: list[str] = []
    rows = np.asarray(rows, np.float64)
    complete = np.isfinite(rows).all(axis=1)
    if not complete.all():
        notes.append(f"{(~complete).sum()} rows with missing values dropped")
    n = int(complete.sum())
    rows = np.unique(rows[complete], axis=0)  # sorted, so that the result does not depend on the order of the file
    if len(rows) < n:
        notes.append(f"{n - len(rows)} repeated rows dropped")
    distinct = [len(np.unique(column)) for column in rows.T]
    kept: list[int] = []
    for j, column in enumerate(rows.T):
        same = any(abs(np.corrcoef(column, rows[:, i])[0, 1]) > SAME for i in kept) if distinct[j] > 1 else True
        if distinct[j] >= MIN_DISTINCT and not same:
            kept.append(j)
    if len(kept) < rows.shape[1]:
        notes.append(f"{rows.shape[1] - len(kept)} columns of constants, codes or repetitions dropped")
    rows = rows[:, kept].copy()
    random, jittered = np.random.default_rng(seed), 0
    for j, column in enumerate(rows.T):
        values, counts = np.unique(column, return_counts=True)
        if counts.max() > TIED * len(rows) or len(values) < FEW * len(rows):
            rows[:, j] = column + quantum(column) * random.uniform(size=len(rows))
            jittered += 1
    if jittered:
        notes.append(f"uniform noise of one quantum on {jittered} tied columns")
    return Table(name, rows, notes)


def _npz(*parts: str) -> dict[str, np.ndarray]:
    with np.load(data_folder().joinpath(*parts), allow_pickle=False) as file:
        return dict(file)


def _adbench(file: str) -> np.ndarray:
    table = _npz("adbench", file)
    return table["X"][table["y"] == 0]


def _regression(file: str) -> np.ndarray:
    table = _npz("uci_regression_splits", file)
    return np.column_stack([table["X"], table["y"]])


def _galaxies() -> np.ndarray:
    table = _npz("galaxy_photoz", "dc2_9816.npz")
    rows = np.concatenate([table["training"], table["validation"]]).astype(np.float64)[:, :7]  # redshift, magnitudes
    rows[rows == 99] = np.nan  # not detected
    return rows


def _double_wells() -> np.ndarray:
    rows = _npz("boltzmann", "dw4.npz")["train"][::5].astype(np.float64)
    centred = rows.reshape(-1, 4, 2)
    return (centred - centred.mean(axis=1, keepdims=True)).reshape(-1, 8)[:, :6]  # the last particle follows


SOURCES: dict[str, Callable[[], np.ndarray]] = {
    "california": lambda: _npz("uci_small", "california_housing.npz")["x"],
    "abalone": lambda: _npz("uci_small", "abalone.npz")["x"][:, 1:],
    "wine_red": lambda: _npz("uci_small", "wine_red.npz")["x"][:, :11],
    "wine_white": lambda: _npz("uci_small", "wine_white.npz")["x"][:, :11],
    "magic": lambda: _adbench("22_magic.gamma.npz"),
    "annthyroid": lambda: _adbench("2_annthyroid.npz"),
    "cardio": lambda: _adbench("6_cardio.npz"),
    "landsat": lambda: _adbench("19_landsat.npz"),
    "letter": lambda: _adbench("20_letter.npz"),
    "pendigits": lambda: _adbench("28_pendigits.npz"),
    "satimage": lambda: _adbench("31_satimage-2.npz"),
    "shuttle": lambda: _adbench("32_shuttle.npz"),
    "vowels": lambda: _adbench("40_vowels.npz"),
    "concrete": lambda: _regression("concrete.npz"),
    "energy": lambda: _regression("energy.npz"),
    "kin8nm": lambda: _regression("kin8nm.npz"),
    "naval": lambda: _regression("naval-propulsion-plant.npz"),
    "yacht": lambda: _regression("yacht.npz"),
    "galaxies": _galaxies,
    "double_wells": _double_wells,
}


def tables(names: list[str]) -> Iterator[Table | str]:
    """The cleaned tables, one at a time; a string that says what is missing in place of one that is not there."""
    for name in names:
        try:
            rows = SOURCES[name]()
        except FileNotFoundError as error:
            yield f"{name}: missing, {error.filename} (set PUSHFORWARD_DATA)"
            continue
        yield clean(name, rows)


def ten_thousand_by_eight() -> tuple[np.ndarray, np.ndarray, str]:
    """The 10,000 x 8 table of the `fit` figure, standardised, its test rows, and its name.

    The first eight columns of MAGIC (gamma telescope) without repeated rows: 10,000 to fit, the others to test on. A
    generated table, a mixture bent twice, when it is not there.
    """
    try:
        rows = _npz("adbench", "22_magic.gamma.npz")["X"][:, :8]
        name = "MAGIC gamma telescope, first 8 columns (adbench/22_magic.gamma.npz)"
    except FileNotFoundError as error:
        random = np.random.default_rng(0)
        z = random.standard_normal((19000, 8)) + 2 * random.integers(0, 2, (19000, 1))
        rows = np.sinh(0.5 * z @ np.linalg.qr(random.standard_normal((8, 8)))[0]) + 0.3 * np.roll(z, 1, axis=1) ** 2
        name = f"generated ({error.filename} is missing)"
    rows = np.unique(rows, axis=0)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    fitted, test = rows[:10_000], rows[10_000:]
    loc, scale = fitted.mean(axis=0), fitted.std(axis=0)
    return (fitted - loc) / scale, (test - loc) / scale, name


def bsds300_images() -> dict[str, np.ndarray]:
    """The grey images of BSDS300; `FileNotFoundError` when they are not there."""
    packed = (data_folder() / "bsds300" / "bsds300_gray.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as file:
        return dict(file)


def bsds300_patches(images: np.ndarray, transposed: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` random 8 x 8 patches as 63 numbers each, float32.

    The recipe of Uria, Murray, Larochelle (2013) as the data's README gives it: portrait images turned back,
    `(pixel + U[0, 1)) / 256`, each patch's mean subtracted, its last pixel dropped.
    """
    random = np.random.default_rng(seed)
    which = random.integers(0, len(images), n)
    height, width = images.shape[1:]
    top, left = random.integers(0, height - 7, n), random.integers(0, width - 7, n)
    offsets = np.arange(8)
    patches = images[
        which[:, None, None], top[:, None, None] + offsets[:, None], left[:, None, None] + offsets[None, :]
    ]
    turned = transposed[which]
    # A patch of the stored, transposed image is the transposed patch of the image.
    patches[turned] = patches[turned].transpose(0, 2, 1)
    rows = (patches.reshape(n, 64) + random.uniform(size=(n, 64))) / 256
    return (rows - rows.mean(axis=1, keepdims=True))[:, :63].astype(np.float32)


def bsds300(
    n_train: int = 1_000_000, n_validation: int = 50_000, n_test: int = 250_000, seed: int = 0
) -> list[np.ndarray]:
    """Training, validation and test patches: from 180 training images, the other 20, and the 100 test images."""
    archive = bsds300_images()
    images, turned = archive["train_images"], archive["train_transposed"]
    order = np.random.default_rng(seed).permutation(len(images))
    parts = [
        (images[order[:180]], turned[order[:180]], n_train),
        (images[order[180:]], turned[order[180:]], n_validation),
        (archive["test_images"], archive["test_transposed"], n_test),
    ]
    return [bsds300_patches(part, flags, n, seed + 1 + i) for i, (part, flags, n) in enumerate(parts)]


def gaussian_nats(train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Mean log-density of the test rows under a full-covariance Gaussian fitted to the training rows, and its error."""
    train, test = np.asarray(train, np.float64), np.asarray(test, np.float64)
    loc, root = train.mean(axis=0), np.linalg.cholesky(np.cov(train.T, bias=True))
    z = np.linalg.solve(root, (test - loc).T)
    nats = -0.5 * (z**2).sum(axis=0) - np.log(np.diag(root)).sum() - 0.5 * test.shape[1] * np.log(2 * np.pi)
    return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))
