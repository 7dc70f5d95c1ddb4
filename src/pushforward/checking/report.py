"""The outcome of checks: a line per check with its figure, and the report of all lines."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pushforward._checks import message

Outcome = Literal["pass", "note", "fail", "skipped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

# Bounds on what `from_json` accepts: a report is a page, and a small file must not become a large object.
MAX_LINES = 1000
MAX_NAME = 200
MAX_SENTENCE = 4000
MAX_VERSIONS = 50
SENTENCE_WIDTH = 72  # characters of the table's last column
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no such numbers; these words stand in


@dataclass(frozen=True)
class CheckLine:
    """The outcome of one check.

    Args:
        name: Name of the check.
        figure: Number that was measured; NaN if the measurement was not finite, None if nothing was measured.
        threshold: Number that the figure was compared with, None if there is none.
        verdict: Verdict `"pass"`, `"note"` (worth knowing, or undecided), `"fail"`, or `"skipped"`.
        sentence: The outcome as a sentence, with the figures.

    Raises:
        ValueError: The verdict is none of the four.
    """

    name: str
    figure: float | None
    threshold: float | None
    verdict: Outcome
    sentence: str

    def __post_init__(self) -> None:
        if self.verdict not in OUTCOMES:
            raise ValueError(message("CheckLine", f"a verdict of {OUTCOMES}", repr(self.verdict), "Choose one."))


@dataclass(frozen=True)
class CheckReport:
    """All lines of a check.

    Args:
        lines: Outcome of each check, in the order in which the checks ran.
        seconds: Wall-clock time, compilation included.
        versions: Versions of the libraries on which the figures depend.

    Example:
        >>> from pushforward.checking import CheckLine, CheckReport
        >>> line = CheckLine("round trip", 2e-15, 1e-9, "pass", "Rows come back.")
        >>> CheckReport((line,), 0.1, {}).ok
        True
    """

    lines: tuple[CheckLine, ...]
    seconds: float
    versions: dict[str, str]

    @property
    def ok(self) -> bool:
        """Whether no line failed. Notes and skipped checks do not count."""
        return not self.failed

    @property
    def failed(self) -> tuple[CheckLine, ...]:
        """The lines that failed."""
        return tuple(line for line in self.lines if line.verdict == "fail")

    def __iter__(self) -> Iterator[CheckLine]:
        """The lines, in the order in which the checks ran."""
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, name: str) -> CheckLine:
        """The line of that name.

        Raises:
            KeyError: There is no line of that name.
        """
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(f"{name!r}: expected one of {[line.name for line in self.lines]}")

    def __str__(self) -> str:
        header = ("check", "verdict", "figure", "limit")
        rows = [(line.name, line.verdict, _short(line.figure), _short(line.threshold)) for line in self.lines]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]

        def cells(row: tuple[str, ...]) -> str:
            left = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
            right = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
            return "  ".join([*left, *right])

        out = [cells(header)]
        indent = " " * (len(out[0]) + 2)
        for row, line in zip(rows, self.lines, strict=True):
            first, *rest = textwrap.wrap(line.sentence, SENTENCE_WIDTH) or [""]
            out.append(f"{cells(row)}  {first}".rstrip())
            out.extend(indent + text for text in rest)
        counts = ", ".join(f"{sum(line.verdict == o for line in self.lines)} {o}" for o in OUTCOMES)
        out.append(f"{'OK' if self.ok else 'FAILED'}: {counts}; {self.seconds:.1f} s.")
        return "\n".join(out)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON; figures that are not finite become the words nan, inf and -inf."""
        lines = [
            {
                "name": line.name,
                "figure": _to_number(line.figure),
                "threshold": _to_number(line.threshold),
                "verdict": line.verdict,
                "sentence": line.sentence,
            }
            for line in self.lines
        ]
        return {"lines": lines, "seconds": float(self.seconds), "versions": dict(self.versions)}

    @staticmethod
    def from_json(content: Any) -> CheckReport:
        """Rebuild the report that `to_json` wrote.

        Args:
            content: The dict that `to_json` returned.

        Raises:
            ValueError: An entry is missing, superfluous, of the wrong kind, or larger than a report can be.
        """
        table = _record("a report", content, ("lines", "seconds", "versions"))
        lines, versions = table["lines"], table["versions"]
        if not isinstance(lines, list) or len(lines) > MAX_LINES:
            raise _wrong("lines", f"a list of at most {MAX_LINES} lines", lines)
        if not isinstance(versions, Mapping) or len(versions) > MAX_VERSIONS:
            raise _wrong("versions", f"a table of at most {MAX_VERSIONS} versions", versions)
        seconds = _from_number("seconds", table["seconds"])
        if seconds is None or not 0 <= seconds < math.inf:
            raise _wrong("seconds", "a number, 0 or more", table["seconds"])
        return CheckReport(
            tuple(_line(line) for line in lines),
            seconds,
            {_text("a version", k, MAX_NAME): _text("a version", v, MAX_NAME) for k, v in versions.items()},
        )


def _line(content: Any) -> CheckLine:
    table = _record("a line", content, ("name", "figure", "threshold", "verdict", "sentence"))
    if table["verdict"] not in OUTCOMES:
        raise _wrong("verdict", f"one of {', '.join(OUTCOMES)}", table["verdict"])
    return CheckLine(
        _text("name", table["name"], MAX_NAME),
        _from_number("figure", table["figure"]),
        _from_number("threshold", table["threshold"]),
        table["verdict"],
        _text("sentence", table["sentence"], MAX_SENTENCE),
    )


def _record(what: str, content: Any, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(content, Mapping) or set(content) != set(keys):
        raise _wrong(what, f"a table with the keys {', '.join(keys)}", content)
    return content


def _text(what: str, value: Any, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise _wrong(what, f"a text of at most {longest} characters", value)
    return value


def _to_number(value: float | None) -> float | str | None:
    if value is None:
        return None
    return float(value) if math.isfinite(value) else str(float(value))


def _from_number(what: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, str) and value in NOT_FINITE:
        return NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(what, "a number, null, or one of nan, inf, -inf", value)
    return float(value)


def _wrong(what: str, expected: str, got: Any) -> ValueError:
    fix = "Pass what CheckReport.to_json gave."
    return ValueError(message(f"CheckReport.from_json: {what}", expected, repr(got)[:80], fix))


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
