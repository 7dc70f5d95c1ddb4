"""Verifies a trained model: `check`, the status of single rows, and a summary of what the model consists of."""

from pushforward.checking.report import CheckLine, CheckReport
from pushforward.checking.run_checks import Part, check
from pushforward.checking.status import row_status
from pushforward.checking.summary import Summary, summary

__all__ = ["CheckLine", "CheckReport", "Part", "Summary", "check", "row_status", "summary"]
