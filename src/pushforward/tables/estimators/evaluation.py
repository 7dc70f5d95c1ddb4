"""What `evaluate` finds, in words and as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pushforward.metrics import C2ST, Baseline, Gain, MarginalTests, Memorisation, TailExceedances, Usefulness
from pushforward.tables.likeness.comparison import Likeness, used

WRONG, LACKING = ("model too light", "model too heavy"), "not enough samples"
# Columns whose tests are told one by one.
NAMED = 8


@dataclass(frozen=True)
class Evaluation:
    """A model on a table.

    Attributes:
        rows: rows scored.
        dropped: rows left out because values are missing.
        columns: the modelled ones.
        given: the conditions.
        nats: mean log-probability per row, in the units of the data; minus infinity if a row has density zero.
        standard_error: of `nats`.
        bits_per_dim: the same in bits per modelled column.
        bound_error: Mean error of a row's score where numbers are rounded to steps; None where scores are exact.
        zero: rows of density zero.
        status: rows by status.
        baselines: simple densities on the same rows, cross-fitted.
        gains: of the model over each.
        compared: rows that they were compared on.
        samples: rows drawn for the tests of columns.
        marginals: data against samples, column by column.
        c2st: data against samples, all columns at once; None for too few rows.
        tails: counts beyond the model's quantiles, by column of numbers.
        tail_samples: rows drawn for them.
        likeness: Shape, Trend and detection of samples beside the rows.
        copies: samples beside the rows of the fit and the rows; None without the rows of the fit.
        usefulness: what samples teach beside the rows of the fit; None without a target.
        target: what is predicted.
        notes: remarks, a sentence each.
    """

    rows: int
    dropped: int
    columns: tuple[str, ...]
    given: tuple[str, ...]
    nats: float
    standard_error: float
    bits_per_dim: float
    bound_error: float | None
    zero: int
    status: dict[str, int]
    baselines: tuple[Baseline, ...]
    gains: tuple[Gain, ...]
    compared: int
    samples: int
    marginals: MarginalTests
    c2st: C2ST | None
    tails: dict[str, TailExceedances]
    tail_samples: int
    likeness: Likeness
    copies: Memorisation | None
    usefulness: Usefulness | None
    target: str | None
    notes: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """All of it for people, a sentence or two for each figure."""
        return [*self._likelihood(), *self._simple(), *self._columns(), *self._tails(), *self._synthetic()]

    def _likelihood(self) -> list[str]:
        what = f"{len(self.columns)} columns" + (f" given {', '.join(self.given)}" if self.given else "")
        spread = f" +- {self.standard_error:.4f}" if self.standard_error == self.standard_error else ""
        lines = [
            f"Mean log-density of {self.rows:,} rows: {self.nats:.4f}{spread} nats per row, "
            f"{self.bits_per_dim:.4f} bits per dimension ({what}). More nats are better; compare densities of the same "
            "columns in the same units only."
        ]
        if self.dropped:
            lines.append(f"{self.dropped:,} rows with missing values are left out.")
        if self.bound_error is not None:
            lines.append(
                f"Because numbers are rounded to steps, a row's score is known to about {self.bound_error:.3f} nats."
            )
        if self.zero:
            lines.append(
                f"Density zero in {self.zero:,} rows, outside the bounds or levels of the model: one such row makes "
                "the mean minus infinity."
            )
        odd = ", ".join(f"{count:,} {word}" for word, count in self.status.items() if count and word != "ok")
        fine = f"{self.status.get('ok', 0):,} of {self.rows:,} rows lie where the model has seen data"
        lines.append(f"{fine}{f'; {odd}: these scores are less to be trusted' if odd else ''}.")
        return lines

    def _simple(self) -> list[str]:
        if not self.gains:
            return []
        rows = f"{self.compared:,} of these rows" if self.compared < self.rows else "these rows"
        lines = [gain.sentence for gain in self.gains]
        lines.append(
            f"Each simple density was fitted to one random half of {rows} and scored on the other, both ways. If the "
            "model was fitted to these rows, its own score flatters it."
        )
        return lines

    def _columns(self) -> list[str]:
        lines = [f"Columns, against {self.samples:,} samples: {self.marginals.sentence}"]
        if self.given:
            lines.append("One sample was drawn for each row, given its condition.")
        lines += [f"{name}: {self.marginals.tests[name].sentence}" for name in self.marginals.rejected[:NAMED]]
        if len(self.marginals.rejected) > NAMED:
            lines.append(f"{len(self.marginals.rejected) - NAMED} more columns differ.")
        if self.c2st is not None:
            lines.append("All columns at once: " + self.c2st.sentence)
        return lines

    def _tails(self) -> list[str]:
        counted = [(name, line) for name, tail in self.tails.items() for line in tail.lines if line.observed >= 0]
        if not counted:
            return []
        wrong = [(name, line) for name, line in counted if line.verdict in WRONG]
        lines = [
            f"Tails, from {self.tail_samples:,} samples: {len(wrong)} of {len(counted)} counts beyond the model's "
            f"quantiles contradict it at the 1 % level (about {0.01 * len(counted):.2g} expected by chance)."
        ]
        lines += [f"{name}: {line.sentence}" for name, line in sorted(wrong, key=lambda pair: pair[1].p_value)[:NAMED]]
        short = {f"{line.level:g}" for tail in self.tails.values() for line in tail.lines if line.verdict == LACKING}
        if short:
            lines.append(
                f"The model is slow to draw from: too few samples for the quantiles at {', '.join(sorted(short))}."
            )
        return lines

    def _synthetic(self) -> list[str]:
        lines = list(self.likeness.sentences)
        if self.copies is not None:
            lines.append(self.copies.sentence)
        if self.usefulness is not None:
            lines.append(f"To predict {self.target}: {self.usefulness.sentence}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN and infinities are for the writer to turn into null."""
        plain = {"rows": self.rows, "dropped": self.dropped, "columns": list(self.columns), "given": list(self.given)}
        plain |= {"mean_nats": self.nats, "standard_error": self.standard_error, "bits_per_dim": self.bits_per_dim}
        plain |= {"bound_error": self.bound_error, "density_zero": self.zero, "status": dict(self.status)}
        gains = {gain.name: gain for gain in self.gains}
        plain["baselines"] = [
            {
                "name": b.name,
                "nats": b.nats,
                "standard_error": b.standard_error,
                "detail": b.detail,
                "gain": gains[b.name].gain,
                "gain_error": gains[b.name].standard_error,
            }
            for b in self.baselines
        ]
        plain |= {
            "rows_compared": self.compared,
            "samples": self.samples,
            "marginals": dataclasses.asdict(self.marginals),
        }
        plain["c2st"] = None
        if self.c2st is not None:
            plain["c2st"] = {**dataclasses.asdict(self.c2st), "null": self.c2st.null.tolist()}
        plain["tails"] = {name: dataclasses.asdict(tail) for name, tail in self.tails.items()}
        plain |= {"likeness": self.likeness.to_json(), "target": self.target, "usefulness": used(self.usefulness)}
        plain["copies"] = None if self.copies is None else dataclasses.asdict(self.copies)
        return {**plain, "tail_samples": self.tail_samples, "notes": list(self.notes), "sentences": self.sentences}
