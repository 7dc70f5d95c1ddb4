"""The figures of a comparison: likeness, copies, and what can be learned, from tables as numbers and codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.metrics import (
    DetectionScore,
    Memorisation,
    Nearness,
    Usefulness,
    detection_score,
    memorisation,
    nearness,
    similarity,
    usefulness,
)
from pushforward.metrics._arrays import choose
from pushforward.metrics.detection_score import LEARNERS
from pushforward.metrics.homogeneity import levels
from pushforward.tables.errors import DataError
from pushforward.tables.likeness.columns import Sides
from pushforward.tables.likeness.comparison import Gaps, Likeness
from pushforward.tables.likeness.distances import MOST_LEVELS, points

# Rows of each side below which there is nothing to learn from.
LEAST_ROWS = 40
# Synthetic rows whose neighbours are looked for, and the numbers that the search may multiply and hold.
NEIGHBOURS, WORK, CELLS = 2000, 4e10, 3e7
# Few distinct numbers up to so many are classes of a target; more are amounts.
MOST_CLASSES = 10
Columns = dict[str, np.ndarray]


def likeness(real: Columns, synthetic: Columns, by: Sides, seed: int, notes: list[str]) -> Likeness:
    """Shape, Trend, detection and gaps of two tables.

    Args:
        real: columns by name, as `Sides` has them.
        synthetic: likewise.
        by: kinds of the columns, and which hold codes.
        seed: of all choices.
        notes: gets a remark where there are too few rows for classifiers.
    """
    shape, trend = similarity(real, synthetic, by.kinds, seed=seed)
    sides = [np.stack(list(side.values()), axis=1) for side in (real, synthetic)]
    told: dict[str, DetectionScore] = {}
    if min(map(len, sides)) >= LEAST_ROWS:
        for learner in LEARNERS:
            told[learner] = detection_score(*sides, learner=learner, categorical=by.codes, seed=seed)
    else:
        notes.append(f"Classifiers need {LEAST_ROWS} rows or more of each table: there is no detection score.")
    rng = np.random.default_rng(seed)
    gaps = {}
    for name in real:
        blank = [np.isnan(side[name]) for side in (real, synthetic)]
        if any(own.any() for own in blank):
            counts = [np.array([own.sum(), (~own).sum()]) for own in blank]
            gaps[name] = Gaps(float(blank[0].mean()), float(blank[1].mean()), levels(counts[0], counts[1], rng).p_value)
    return Likeness(shape, trend, told, gaps)


def copies_of(
    train: Columns, held_out: Columns | None, synthetic: Columns, by: Sides, seed: int
) -> Memorisation | Nearness:
    """Nearest neighbours of synthetic rows among those trained on, by the tables of `Sides`.

    Args:
        train: columns by name.
        held_out: likewise, or None.
        synthetic: likewise.
        by: kinds and periods of the columns.
        seed: of the choice of rows.
    """
    rng = np.random.default_rng(seed)
    given = [train, synthetic, *([] if held_out is None else [held_out])]
    periods = {column.name: column.period for column in by.columns if column.period is not None}
    width = sum(
        min(len(np.unique(train[name])), MOST_LEVELS) if kind == "category" else 2 for name, kind in by.kinds.items()
    )
    most = max(LEAST_ROWS, int(CELLS / width / len(given)))
    some = []
    for table in given:
        at = choose(rng, len(next(iter(table.values()))), most)
        some.append({name: column[at] for name, column in table.items()})
    rows = points(tuple(some), by.kinds, periods)
    limit = max(LEAST_ROWS, int(WORK / NEIGHBOURS / rows[0].shape[1]))
    options: Any = {"seed": seed, "max_rows": limit, "max_samples": NEIGHBOURS, "standardise": False}
    if held_out is None:
        return nearness(rows[0], rows[1], **options)
    return memorisation(rows[0], rows[2], rows[1], **options)


def learned(train: Columns, synthetic: Columns, test: Columns, by: Sides, target: str, seed: int) -> Usefulness:
    """What boosted trees learn of a target from synthetic rows, beside what they learn from real ones.

    Args:
        train: real columns by name.
        synthetic: likewise.
        test: likewise, of rows that neither is trained on.
        by: kinds of the columns.
        target: one of them.
        seed: of all choices.

    Raises:
        DataError: the target has one value, or rows with a target are too few.
    """
    names = [column.name for column in by.columns if column.name != target]
    codes = [i for i, name in enumerate(names) if by.kinds[name] == "category"]
    parts = []
    for table in (train, synthetic, test):
        there = ~np.isnan(table[target])
        parts.append((np.stack([table[name][there] for name in names], axis=1), table[target][there]))
    if min(len(part[1]) for part in parts) < LEAST_ROWS // 2:
        raise DataError(
            "missing", f"'{target}': fewer than {LEAST_ROWS // 2} rows of a table have it. Name another target."
        )
    values = np.unique(parts[0][1])
    if len(values) < 2:
        raise DataError("constant", f"'{target}' has one value in the real rows: there is nothing to predict.")
    classes = by.kinds[target] == "category" or len(values) <= MOST_CLASSES
    return usefulness(parts[0], parts[1], parts[2], classes=classes, categorical=codes, seed=seed)
