"""How people write dates and times: the formats that are tried when a column of text may be one of dates."""

from __future__ import annotations

# Tried in this order; day before month, as most of the world writes, unless the numbers forbid it.
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%d. %b %Y",
    "%d. %B %Y",
    "%d-%b-%Y",
    "%d-%B-%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%B %d %Y",
    "%Y %b %d",
    "%a, %d %b %Y",
    "%a %d %b %Y",
)
CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%I:%M:%S%p", "%I:%M%p")
BETWEEN = (" ", "T", ", ")
# Two digits of a year, months, times of day and bare digits: only if all words follow, since other things look so too.
SHORT_YEARS = (
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%y-%m-%d",
    "%d-%b-%y",
    "%d %b %y",
)
MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%B-%Y", "%Y-%b")


def _with_clocks(dates: tuple[str, ...]) -> tuple[str, ...]:
    clocks = ["", *(gap + clock for clock in CLOCKS for gap in BETWEEN)]
    return tuple(date + clock for clock in clocks for date in dates)


FORMATS = _with_clocks(DATE_FORMATS)
STRICT_FORMATS = (*CLOCKS, *MONTHS, "%Y%m%d", *_with_clocks(SHORT_YEARS))
# Years that dates of such formats may lie in: codes such as 1234-05 are none.
STRICT_YEARS = (1800, 2200)
# What may be a date: digits on both sides of a mark, a month's name and a digit, or eight digits.
MAYBE = (
    r"(?i)^(.*\d[-/.:]\d.*|.*\d.*(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec).*|"
    r".*(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec).*\d.*|\d{8})$"
)
# What is meant as a date, although there may be none such, as 30 February.
DATE_LIKE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?$"
LONGEST = 64
