"""The five tables of the density-estimation literature: splits and preprocessing of Papamakarios et al. (2017).

POWER, GAS, HEPMASS and MINIBOONE are read from `PUSHFORWARD_DATA` as the archive zenodo.org/record/1161203 unpacks
them: `power/data.npy`, `hepmass/1000_train.csv` and `1000_test.csv`, `miniboone/data.npy`, and `gas/ethylene_CO.csv`,
which is its pickled frame written as CSV. BSDS300 is drawn anew from the images, as `suite.data.bsds300` says.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from suite.data import bsds300, data_folder

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
HELD_OUT = 0.1  # of the rows for testing, then of the rest for validation
GAS_CORRELATED, HEPMASS_REPEATED = 0.98, 5

# Test nats of RQ-NSF (AR) and of FFJORD, with the errors that their papers print: of the test set, and across runs.
PUBLISHED = {
    "power": ("0.66 ± 0.01", "0.46 ± 0.01"),
    "gas": ("13.09 ± 0.02", "8.59 ± 0.12"),
    "hepmass": ("-14.01 ± 0.03", "-14.92 ± 0.08"),
    "miniboone": ("-9.22 ± 0.48", "-10.43 ± 0.04"),
    "bsds300": ("157.31 ± 0.28", "157.40 ± 0.19"),
}


def _last(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = int(HELD_OUT * len(rows))
    return rows[:-n], rows[-n:]


def _standardised(rows: np.ndarray) -> Parts:
    """The last tenth to test on, the last tenth of the rest to validate on, in units of all but the test rows."""
    rest, test = _last(rows)
    loc, scale = rest.mean(axis=0), rest.std(axis=0)
    train, validation = _last((rest - loc) / scale)
    return train, validation, (test - loc) / scale


def power() -> Parts:
    """2,049,280 rows of 6: shuffled, date and reactive power dropped, noise of each column's resolution added."""
    random = np.random.RandomState(42)  # the published order
    rows = np.load(data_folder() / "power" / "data.npy", allow_pickle=False)
    random.shuffle(rows)
    rows = np.delete(rows, [1, 3], axis=1)
    n = len(rows)
    voltage, gap = 0.01 * random.rand(n, 1), 0.001 * random.rand(n, 1)
    return _standardised(rows + np.hstack([gap, voltage, random.rand(n, 3), np.zeros((n, 1))]))


def gas() -> Parts:
    """1,052,065 rows of 8: gases and time dropped, then columns correlated above 0.98, one after another."""
    path = data_folder() / "gas" / "ethylene_CO.csv"
    with path.open() as file:
        names = file.readline().strip().split(",")
    kept = [i for i, name in enumerate(names) if name not in ("", "Time", "Meth", "Eth")]
    rows = np.loadtxt(path, delimiter=",", skiprows=1, usecols=kept)
    while (many := (np.corrcoef(rows.T) > GAS_CORRELATED).sum(axis=1) > 1).any():
        rows = np.delete(rows, int(np.argmax(many)), axis=1)
    rest, test = _last((rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1))
    return *_last(rest), test


def hepmass() -> Parts:
    """525,123 rows of 21: signals alone, columns in which a value stands more than five times dropped."""
    parts = []
    for name in ("1000_train.csv", "1000_test.csv"):
        with (data_folder() / "hepmass" / name).open() as file:
            rows = np.loadtxt(file, delimiter=",", skiprows=1)
        parts.append(rows[rows[:, 0] == 1, 1:])
    rest, test = parts
    test = test[:, : rest.shape[1]]  # the archive's test file has a column too many
    loc, scale = rest.mean(axis=0), rest.std(axis=0, ddof=1)
    rest, test = (rest - loc) / scale, (test - loc) / scale
    kept = [j for j, x in enumerate(rest.T) if np.unique(x, return_counts=True)[1].max() <= HEPMASS_REPEATED]
    return *_last(rest[:, kept]), test[:, kept]


def miniboone() -> Parts:
    """36,488 rows of 43."""
    return _standardised(np.load(data_folder() / "miniboone" / "data.npy", allow_pickle=False))


def patches() -> Parts:
    """1,300,000 patches of 63, in units of grey levels from 0 to 1."""
    train, validation, test = bsds300()
    return train, validation, test


LOADERS: dict[str, Callable[[], Parts]] = {
    "power": power,
    "gas": gas,
    "hepmass": hepmass,
    "miniboone": miniboone,
    "bsds300": patches,
}
