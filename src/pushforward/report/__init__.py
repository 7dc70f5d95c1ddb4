"""A report on a fitted model in one file of HTML: verdict, figures, tables, and the numbers behind each of them."""

from pushforward.report.make import make_report
from pushforward.report.page import Report, Section

__all__ = ["Report", "Section", "make_report"]
