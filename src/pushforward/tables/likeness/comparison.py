"""What a comparison of two tables finds, in words and as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from html import escape
from typing import Any

from pushforward.metrics import DetectionScore, Memorisation, Nearness, Similarity, Usefulness
from pushforward.metrics.similarity import LEVEL

# Marks that the best published generators of tables reach, up to which a difference that is certain is still small.
SHAPE_MARK, TREND_MARK, DETECTION_MARK = 0.01, 0.02, 0.95
# Difference of the shares of gaps of a column up to which it is small.
GAP_MARK = 0.01
# Columns whose gaps are told one by one.
NAMED = 5


@dataclass(frozen=True)
class Gaps:
    """How often a column is missing in the real and in the synthetic rows, and how certain a difference is."""

    real: float
    synthetic: float
    p_value: float


@dataclass(frozen=True)
class Likeness:
    """How alike two tables are.

    Attributes:
        shape: columns one by one, by SDMetrics' definition.
        trend: columns in pairs.
        detection: classifiers that try to tell one table from the other, by name; empty for too few rows.
        gaps: by column that has any.
    """

    shape: Similarity
    trend: Similarity
    detection: dict[str, DetectionScore]
    gaps: dict[str, Gaps]

    @property
    def faults(self) -> list[str]:
        """In what the tables differ by more than chance and by more than the marks: words for a list."""
        found = []
        if self.shape.p_value < LEVEL / 2 and self.shape.error > SHAPE_MARK:
            found.append("the shape of columns")
        if self.trend.p_value < LEVEL / 2 and self.trend.error > TREND_MARK:
            found.append("the dependence of columns")
        found += [
            f"what {'boosted trees' if name == 'boosting' else 'a logistic regression'} can tell"
            for name, told in self.detection.items()
            if told.told and told.score < DETECTION_MARK
        ]
        if self.odd_gaps:
            found.append("how often cells are missing")
        return found

    @property
    def odd_gaps(self) -> list[str]:
        """The columns whose shares of gaps differ by more than chance and by more than one in a hundred rows."""
        level = LEVEL / max(len(self.gaps), 1)
        return [
            name
            for name, gaps in self.gaps.items()
            if gaps.p_value < level and abs(gaps.real - gaps.synthetic) > GAP_MARK
        ]

    @property
    def sentences(self) -> list[str]:
        """A sentence for each figure."""
        lines = [self.shape.sentence, self.trend.sentence, *(told.sentence for told in self.detection.values())]
        odd = self.odd_gaps
        for name in odd[:NAMED]:
            gaps = self.gaps[name]
            lines.append(
                f"'{name}' is missing in {gaps.synthetic:.1%} of the samples and in {gaps.real:.1%} of the data."
            )
        if len(odd) > NAMED:
            lines.append(f"The shares of gaps of {len(odd) - NAMED} more columns differ.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN and infinities are for the writer to turn into null."""
        return {
            "shape": _similarity(self.shape),
            "trend": _similarity(self.trend),
            "detection": {name: dataclasses.asdict(told) for name, told in self.detection.items()},
            "gaps": {name: dataclasses.asdict(gaps) for name, gaps in self.gaps.items()},
        }


def _similarity(found: Similarity) -> dict[str, Any]:
    """A similarity with its columns or pairs as a list, the largest error first."""
    plain: dict[str, Any] = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    plain |= {"score": 1 - found.error, "rows": list(found.rows)}
    plain["errors"] = [
        {"columns": [name] if isinstance(name, str) else list(name), "error": found.errors[name]}
        | {"beyond_chance": found.beyond[name]}
        for name in found.worst
    ]
    del plain["beyond"]
    return plain


def used(found: Usefulness | None) -> dict[str, Any] | None:
    """A usefulness as plain values, its figures by name."""
    if found is None:
        return None
    plain, names = dataclasses.asdict(found), ("real", "synthetic", "standard_error_of_difference")
    plain["figures"] = {name: dict(zip(names, values, strict=True)) for name, values in found.figures.items()}
    return plain


@dataclass(frozen=True)
class Comparison:
    """Synthetic rows beside real ones: are they alike, are they copies, do they serve?

    Attributes:
        rows: of each table: `real`, `synthetic`, and `held_out` where there is one.
        columns: the compared ones.
        likeness: columns, pairs, and what classifiers can tell.
        copies: nearest neighbours among the real rows, beside those of held-out rows, or of real rows among themselves.
        usefulness: a learner trained on synthetic rows beside one trained on real rows; None without a target.
        target: what it predicts.
        notes: remarks, a sentence each.
    """

    rows: dict[str, int]
    columns: tuple[str, ...]
    likeness: Likeness
    copies: Memorisation | Nearness | None
    usefulness: Usefulness | None
    target: str | None
    notes: tuple[str, ...]

    @property
    def copied(self) -> bool:
        """Whether synthetic rows are copies of real ones, with or without a little noise."""
        if self.copies is None:
            return False
        return self.copies.memorised if isinstance(self.copies, Memorisation) else self.copies.copied

    @property
    def alike(self) -> bool:
        """Whether no difference is both beyond chance and beyond the marks of the best published generators."""
        return not self.likeness.faults

    @property
    def passed(self) -> bool:
        """Whether the tables are alike, no rows are copied, and learning from the synthetic rows loses nothing."""
        return self.alike and not self.copied and not (self.usefulness is not None and self.usefulness.worse)

    @property
    def verdict(self) -> str:
        """The answers in one sentence."""
        faults = self.likeness.faults
        alike = f"The tables differ in {_joined(faults)}" if faults else "The tables are alike"
        if self.copies is None:
            copied = "whether rows are copied was not looked at"
        else:
            copied = "rows are COPIED" if self.copied else "there is no sign of copied rows"
        served = ""
        if self.usefulness is not None:
            lost = "loses something" if self.usefulness.worse else "loses little or nothing"
            served = f", and learning {self.target} from the synthetic rows {lost}"
        return f"{alike}; {copied}{served}."

    @property
    def sentences(self) -> list[str]:
        """All of it for people, a sentence or two for each figure, the verdict last."""
        lines = list(self.likeness.sentences)
        if self.copies is not None:
            lines.append(self.copies.sentence)
        if self.usefulness is not None:
            lines.append(f"To predict {self.target}: {self.usefulness.sentence}")
        return [*lines, self.verdict]

    def summary(self) -> str:
        """The sentences, a line each."""
        return "\n".join(self.sentences)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN and infinities are for the writer to turn into null."""
        copies = None if self.copies is None else dataclasses.asdict(self.copies)
        return {
            "rows": dict(self.rows),
            "columns": list(self.columns),
            **self.likeness.to_json(),
            "copies": copies,
            "target": self.target,
            "usefulness": used(self.usefulness),
            "alike": self.alike,
            "copied": self.copied,
            "passed": self.passed,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "sentences": self.sentences,
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the verdict, then a line for each figure and remark; all texts are escaped."""
        items = "".join(f"<li>{escape(line)}</li>" for line in (*self.sentences[:-1], *self.notes))
        return f"<div><p><b>{escape(self.verdict)}</b></p><ul>{items}</ul></div>"


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
