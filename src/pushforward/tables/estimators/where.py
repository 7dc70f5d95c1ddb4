"""Conditions on columns as text, such as `weather=rain|snow, temp_max>20, date=2012-01-01..2012-03-31`."""

from __future__ import annotations

import re
from typing import Any

from pushforward.tables.errors import DataError
from pushforward.tables.estimators.known_cells import Wanted

OPERATORS = (">=", "<=", "=", ">", "<")
EXAMPLE = 'Write conditions such as "weather=rain|snow,temp_max>20,wind=2..5,rain=missing".'
MISSING = "missing"
QUOTES = "\"'"


def parse_where(text: str) -> dict[str, Wanted]:
    """Conditions by column.

    Conditions are parted by commas, or by semicolons. Each is a column, an operator (`=`, `<`, `<=`, `>`, `>=`) and a
    value: a number, a date or a level; after `=` also values parted by `|`, a range `low..high` with both ends, or the
    word `missing`. A column or a value that holds such a sign is put in quotes. Two conditions on one column, such as
    `a>1,a<2`, are a range.

    Args:
        text: The conditions.

    Raises:
        DataError: The text is no such list, with the part at fault.

    Example:
        >>> parse_where("weather=rain|snow, temp_max>20")["temp_max"]
        Wanted(values=(), low='20', high=None, low_open=True, high_open=False)
    """
    found: dict[str, Wanted] = {}
    for part in _split(text, ",;"):
        if not part.strip():
            raise DataError("where", f"--where: expected a condition between the commas, got none. {EXAMPLE}")
        name, wanted = _condition(part)
        found[name] = wanted if name not in found else _both(name, found[name], wanted)
    return found


def _split(text: str, signs: str) -> list[str]:
    """The parts of a text between signs that are not in quotes."""
    parts, quote, start = [], "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in QUOTES:
            quote = sign
        elif sign in signs:
            parts.append(text[start:place])
            start = place + 1
    if quote:
        raise DataError("where", f"--where: the quote {quote} in {text[:60]!r} is not closed. {EXAMPLE}")
    return [*parts, text[start:]]


def _condition(part: str) -> tuple[str, Wanted]:
    quote = ""
    for place, sign in enumerate(part):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in QUOTES:
            quote = sign
        elif sign in "<>=":
            operator = next(op for op in OPERATORS if part.startswith(op, place))
            name, value = _plain(part[:place]), part[place + len(operator) :].strip()
            if not name or not value or value[0] in "<>=":
                break
            return name, _wanted(operator, value)
    raise DataError(
        "where", f"--where: expected a column, an operator and a value, got {part.strip()[:60]!r}. {EXAMPLE}"
    )


def _plain(word: str) -> str:
    """A word without spaces around it, and without its quotes."""
    word = word.strip()
    return word[1:-1] if len(word) > 1 and word[0] in QUOTES and word[-1] == word[0] else word


def _wanted(operator: str, value: str) -> Wanted:
    if operator != "=":
        end = _plain(value)
        low, high = (end, None) if operator.startswith(">") else (None, end)
        return Wanted(low=low, high=high, low_open=operator == ">", high_open=operator == "<")
    ends = re.fullmatch(r"([^\"'|]*?)\.\.([^\"'|]*)", value)
    if ends is not None:
        low, high = (end.strip() or None for end in ends.groups())
        if low is None and high is None:
            raise DataError("where", f"--where: the range {value[:60]!r} has no ends. {EXAMPLE}")
        return Wanted(low=low, high=high)
    return Wanted(tuple(_value(word) for word in _split(value, "|")))


def _value(word: str) -> Any:
    """A value; the word `missing` without quotes is a missing cell."""
    return None if word.strip() == MISSING else _plain(word)


def _both(name: str, one: Wanted, other: Wanted) -> Wanted:
    """Two conditions on one column, each of which gives one end of a range."""
    first, second = (one, other) if one.low is not None else (other, one)
    halves = first.high is None and second.low is None and not one.values and not other.values
    if not halves or first.low is None or second.high is None:
        fix = "Two conditions on one column are the two ends of a range; for a choice write a=1|2."
        raise DataError("where", f"--where: the column '{name}' has two conditions that do not go together. {fix}")
    return Wanted(low=first.low, high=second.high, low_open=first.low_open, high_open=second.high_open)
