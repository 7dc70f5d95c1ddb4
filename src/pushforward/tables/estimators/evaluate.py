"""A fitted model held against a table: likelihood, simple densities, columns, a classifier, tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from pushforward._types import trainable
from pushforward.checking.status import STATUSES
from pushforward.metrics import (
    C2ST,
    Baseline,
    Gain,
    TailExceedances,
    bits_per_dim,
    c2st,
    compare,
    marginal_tests,
    tail_exceedances,
)
from pushforward.metrics.marginal import Kind
from pushforward.metrics.tails import LEAST_BEYOND
from pushforward.numerics.mean_error import mean_and_error
from pushforward.tables.encoding import Encoded, Layout, within_bounds
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.density import FlowDensity
from pushforward.tables.estimators.evaluate_likeness import beside, check_target, of_training
from pushforward.tables.estimators.evaluation import Evaluation
from pushforward.tables.estimators.intake import rows_with_states
from pushforward.tables.estimators.seeds import seed_number
from pushforward.tables.estimators.verify import compare_with_simple, status_of
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.schema import Column

# Samples for the tests of columns: as many as rows, within these bounds.
SAMPLES = (1000, 20_000)
# Rows of each side that the classifier sees; it is fitted a hundred times.
C2ST_ROWS = 2000
# What the most extreme level needs, and how much work drawing it may be: weights times passes times rows. One core
# takes about a quarter of a minute for it.
TAIL_LEVELS = (1e-2, 1e-3, 1e-4)
TAIL_SAMPLES, TAIL_WORK = math.ceil(LEAST_BEYOND / min(TAIL_LEVELS)), 5e10
# Few rows need no more samples than these, or than so many for each: they hardly tell what is rarer.
FEW_TAILS, TAILS_PER_ROW = 20_000, 2_000
# Numbers held at once for the tails.
TAIL_CELLS = 50_000_000
# Rows below which simple densities and the classifier have too little to go by.
LEAST_ROWS = 40


def evaluate(
    density: FlowDensity,
    table: Any,
    *,
    n_samples: int | None = None,
    seed: Any = 0,
    missing: Literal["error", "drop"] = "error",
    train: Any = None,
    target: str | None = None,
) -> Evaluation:
    r"""Hold a fitted model against rows, best ones that the fit has not seen.

    - **Likelihood**: the mean of $\log p$ over the rows, with its standard error, and bits per dimension; how many rows
      are out of the ordinary.
    - **Simple densities**: a Gaussian, a Gaussian mixture and a kernel density, each fitted to one random half of the
      rows and scored on the other, both ways; what the model gains, from the paired differences.
    - **Columns**: data against samples, column by column, missing values and atoms among them.
    - **Classifier**: whether boosted trees can tell data from samples, against the same with permuted labels.
    - **Tails**: how often numbers lie beyond the model's quantiles of 1 %, 0.1 % and 0.01 %.
    - **Likeness**: SDMetrics' Shape and Trend of samples beside the rows, and detection by logistic regression and
      boosted trees; see `metrics.similarity` and `metrics.detection_score`.
    - With the rows of the fit (`train`), **copies**: whether samples lie nearer to these than to the rows of the table
      (`metrics.memorisation`; not for a model with conditions); and with a `target`, **learning**: whether boosted
      trees trained on samples predict it in the table as well as some trained on the rows of the fit do
      (`metrics.usefulness`).

    Of a model with conditions one row is drawn for each row of the table, given its condition. The tests of columns
    are then paired and so at most as often wrong as they say. The classifier sees data at one half of the conditions
    and samples at the other, for it could otherwise use that each condition comes twice.

    Args:
        density: fitted.
        table: as for `FlowDensity.score_samples`.
        n_samples: rows to draw for the tests of columns; None draws as many as there are rows, from 1,000 to 20,000.
        seed: of all draws: an integer, a NumPy `RandomState` or `Generator`, or None.
        missing: `"drop"` leaves out rows with missing values that the model has no state for.
        train: table that the model was fitted to, if copies and learning are to be looked at; rows with missing values
            that the model has no state for are left out.
        target: column that is to be predicted; it needs `train`.

    Raises:
        ValueError: an argument is out of bounds, or a target has no `train`; a `DataError`, which is one, where the
            table is not one of the model.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.tables.estimators import evaluate
        >>> x = np.random.default_rng(0).normal(size=(120, 2))
        >>> density = pf.FlowDensity("realnvp", n_layers=1, width=8, max_epochs=1, verify=False, random_state=0).fit(x)
        >>> evaluate(density, x[:30], n_samples=50).rows
        30
    """
    if n_samples is not None and (isinstance(n_samples, bool) or not hasattr(n_samples, "__index__") or n_samples < 1):
        raise ValueError(f"evaluate: expected n_samples an integer >= 1, got {n_samples!r}. None chooses.")
    if missing not in ("error", "drop"):
        raise ValueError(f"evaluate: expected missing 'error' or 'drop', got {missing!r}.")
    if target is not None:
        if train is None:
            raise ValueError("evaluate: a target needs the rows of the fit. Pass train (--train).")
        check_target(density.model_, target)
    seed = seed_number(seed)
    cells, kept = rows_with_states(density, table, missing)
    dropped = int((~kept).sum())
    model, rng, notes = density.model_, np.random.default_rng(seed), []
    encoded, condition = model.encode(cells, density.unseen)
    for name, words in encoded.unseen.items():
        notes.append(f"'{name}' holds levels that the fit never saw, such as {', '.join(words[:3])}.")
    scores, seen = model.score_seeing(encoded, condition)
    log_prob = scores.log_prob
    n = len(log_prob)
    status = status_of(model, encoded, condition, log_prob, seen)
    nats, error = map(float, mean_and_error(log_prob))  # a density of zero makes the mean -inf and its error NaN
    baselines, gains, compared = _simple(model, encoded, condition, seed, notes)
    drawn = _draw(model, condition, n, n_samples, rng, notes)
    data = {name: column[drawn.rows] for name, column in columns_of(model.layout, encoded.rows).items()}
    samples = columns_of(model.layout, drawn.samples, samples=True)
    marginals = marginal_tests(data, samples, _kinds(model.layout), seed=seed, periods=_periods(model.layout))
    given = None if condition is None or model.given_layout is None else columns_of(model.given_layout, condition)
    told = None
    if min(n, len(drawn.samples)) >= LEAST_ROWS:
        told = _classify(model, data, samples, given, drawn, rng, seed, notes)
    else:
        notes.append(f"A classifier needs {LEAST_ROWS} rows and samples or more: there is no such test.")
    alike = beside(model, cells, drawn.samples, None if given is None else drawn.rows, seed)
    copies = served = None
    if train is not None:
        at = cells if given is None else cells[drawn.rows] if isinstance(cells, np.ndarray) else cells.take(drawn.rows)
        own = drawn.many if given is None else drawn.samples
        copies, served = of_training(density, train, at, own, target, seed)
    return Evaluation(
        rows=n,
        dropped=dropped,
        columns=tuple(column.name for column in model.layout.columns),
        given=model.given,
        nats=nats,
        standard_error=error,
        bits_per_dim=bits_per_dim(nats, len(model.layout.columns)),
        bound_error=float(np.mean(scores.error)) if (scores.error > 0).any() else None,
        zero=int((log_prob == -np.inf).sum()),
        status={word: int((status == word).sum()) for word in STATUSES},
        baselines=baselines,
        gains=gains,
        compared=compared,
        samples=len(drawn.samples),
        marginals=marginals,
        c2st=told,
        tails=_tails(model.layout, data, drawn),
        tail_samples=len(drawn.many),
        likeness=alike,
        copies=copies,
        usefulness=served,
        target=target,
        notes=tuple(notes),
    )


def columns_of(layout: Layout, rows: np.ndarray, *, samples: bool = False) -> dict[str, np.ndarray]:
    """Encoded rows as one column of numbers each `(n,)`: values with their atoms, codes of levels, NaN where missing.

    Args:
        layout: of the rows.
        rows: `(n, dim)`.
        samples: hold values to the bounds of their column, as cells are; data beyond them stay where they are.
    """
    found = {}
    for i, column in enumerate(layout.columns):
        states = np.rint(rows[:, layout.stated.index(i)]) if column.n_states else np.zeros(len(rows))
        if column.valued:
            raw = rows[:, len(layout.stated) + layout.valued.index(i)]
            values = within_bounds(raw.copy(), column)
            if not samples and column.kind != "circular":
                low, high = column.support
                values = np.where((raw >= low) & (raw <= high), values, raw)
            for number, atom in enumerate(column.atoms):
                values[states == 1 + number] = atom
        else:
            values = states.copy()
        if column.missing:
            values[states == column.missing_state] = np.nan
        found[column.name] = values
    return found


def _kind(column: Column) -> Kind:
    if not column.valued:
        return "category"
    return "circular" if column.kind == "circular" else "numeric"


def _kinds(layout: Layout) -> dict[str, Kind]:
    return {column.name: _kind(column) for column in layout.columns}


def _periods(layout: Layout) -> dict[str, float]:
    return {c.name: c.period for c in layout.columns if c.kind == "circular" and c.period is not None}


def _simple(
    model: TableModel, encoded: Encoded, condition: np.ndarray | None, seed: int, notes: list[str]
) -> tuple[tuple[Baseline, ...], tuple[Gain, ...], int]:
    """Simple densities, each fitted to one half of the rows and scored on the other; gains; rows compared."""
    n = len(encoded.rows)
    if n < LEAST_ROWS:
        notes.append(f"Simple densities need {LEAST_ROWS} rows or more: there are none to compare with.")
        return (), (), 0
    order = np.random.default_rng(seed).permutation(n)
    halves = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    folds = []
    for kept, held_out in (halves, halves[::-1]):
        own = (None, None) if condition is None else (condition[kept], condition[held_out])
        try:
            folds.append(compare_with_simple(model, encoded.take(kept), encoded.take(held_out), *own, seed=seed))
        except ValueError as error:  # such as a column that does not vary in one half
            notes.append(f"Simple densities could not be fitted to these rows: {error}")
            return (), (), 0
    made = []
    for parts in zip(*(fold.baselines for fold in folds), strict=True):
        per_row = np.concatenate([part.per_row for part in parts])
        nats, error = map(float, mean_and_error(per_row))
        made.append(Baseline(parts[0].name, nats, error, f"first half: {parts[0].detail}", per_row))
    own = np.concatenate([fold.model for fold in folds])
    return tuple(made), tuple(compare(own, made)), len(own)


@dataclass(frozen=True)
class _Drawn:
    """Samples: those for the tests of columns, all of them for the tails, and the rows of data that they answer."""

    samples: np.ndarray
    many: np.ndarray
    rows: np.ndarray


def _draw(
    model: TableModel,
    condition: np.ndarray | None,
    n: int,
    wanted: int | None,
    rng: np.random.Generator,
    notes: list[str],
) -> _Drawn:
    """Draw what the tests need, in one go: the samples of the columns are the first of those for the tails."""
    words = rng.integers(0, 2**32, size=2, dtype=np.uint32)
    most = min(tail_samples(model), max(1, TAIL_CELLS // max(model.layout.dim, 1)), max(FEW_TAILS, TAILS_PER_ROW * n))
    if condition is None:
        few = min(max(n, SAMPLES[0]), SAMPLES[1]) if wanted is None else int(wanted)
        every, rows = model.draw(max(few, most), words, None), np.arange(n)
        first = np.arange(few)
    else:
        few = min(n, SAMPLES[1] if wanted is None else int(wanted))
        rows = np.sort(rng.choice(n, few, replace=False))
        each = max(1, -(-most // few))
        every = model.draw(each, words, condition[rows])
        first = np.arange(0, few * each, each)  # the first draw of each condition
    finite: Any = np.isfinite(every).all(axis=1)
    if not finite.all():
        share = 1 - float(finite.mean())
        notes.append(
            f"{share:.2%} of the samples are not finite and are left out: the model's tails overflow. Fit it anew."
        )
        if not finite[first].any():
            raise DataError("unreadable", "evaluate: no sample of the model is finite. Fit it anew.")
        kept = finite[first]
        rows, first = (rows if condition is None else rows[kept]), first[kept]
    return _Drawn(every[first], every[finite], rows)


def tail_samples(model: TableModel) -> int:
    """Samples for the tails: what the most extreme level needs, or what a slow model gives in about the same time."""
    weights = sum(np.size(leaf) for leaf in jax.tree.leaves(trainable(model.distribution)[0]))
    passes = len(model.layout.stated)
    if model.member.values is not None:
        cost = model.member.values.bijection.traits.forward
        passes = max(passes, 1 if cost == "parallel" else len(model.layout.valued))
    return max(1, min(TAIL_SAMPLES, int(TAIL_WORK / max(weights * max(passes, 1), 1))))


def _classify(
    model: TableModel,
    data: dict[str, np.ndarray],
    samples: dict[str, np.ndarray],
    given: dict[str, np.ndarray] | None,
    drawn: _Drawn,
    rng: np.random.Generator,
    seed: int,
    notes: list[str],
) -> C2ST | None:
    """The classifier's test of all columns, the conditions among them."""
    left, right = np.stack(list(data.values()), axis=1), np.stack(list(samples.values()), axis=1)
    columns: Sequence[Column] = model.layout.columns
    if given is not None and model.given_layout is not None:
        conditions = np.stack(list(given.values()), axis=1)[drawn.rows]
        left, right = np.concatenate([left, conditions], axis=1), np.concatenate([right, conditions], axis=1)
        columns = [*columns, *model.given_layout.columns]
        order = rng.permutation(len(left))
        left, right = left[order[: len(left) // 2]], right[order[len(left) // 2 :]]
    sides = [side[np.sort(rng.permutation(len(side))[:C2ST_ROWS])] for side in (left, right)]
    codes = [i for i, column in enumerate(columns) if not column.valued]
    try:
        return c2st(*sides, seed=seed, categorical=codes)
    except ValueError as error:  # such as fewer than 20 rows that differ
        notes.append(f"There is no classifier test: {error}")
        return None


def _tails(layout: Layout, data: dict[str, np.ndarray], drawn: _Drawn) -> dict[str, TailExceedances]:
    """Counts beyond the model's quantiles for each column of numbers with values in data and samples."""
    found, many = {}, columns_of(layout, drawn.many, samples=True)
    for column in layout.columns:
        if _kind(column) != "numeric":
            continue
        x, y = data[column.name], many[column.name]
        x, y = x[~np.isnan(x)], y[~np.isnan(y)]
        if len(x) and len(y):
            found[column.name] = tail_exceedances(x, y, TAIL_LEVELS)
    return found
