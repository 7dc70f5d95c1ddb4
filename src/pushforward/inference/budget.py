"""What an inference may cost, in evaluations of the density or in seconds, and what it has cost so far."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import numpy as np

from pushforward._checks import check_int, check_number, message

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Budget:
    """The limit of an inference.

    Args:
        limit: An integer is a number of evaluations of the density; a float, or words such as `"90s"`, `"5min"` or
            `"1h"`, is a time; None sets no limit.

    Raises:
        TypeError: The limit is of another type.
        ValueError: The limit is not positive, or its words are not understood.
    """

    def __init__(self, limit: Any = None):
        self.evaluations, self.seconds = math.inf, math.inf
        if isinstance(limit, str):
            found = re.fullmatch(r"\s*(\d+\.?\d*)\s*(s|min|h)\s*", limit)
            if not found:
                fix = "Write '90s', '5min' or '1h', or pass an integer number of evaluations."
                raise ValueError(message("infer", "a budget", repr(limit), fix))
            limit = float(found[1]) * UNITS[found[2]]
        if isinstance(limit, float | np.floating):
            self.seconds = check_number("infer", "budget in seconds", limit, 0, open_low=True)
        elif limit is not None:
            self.evaluations = check_int("infer", "budget in evaluations", limit, 1)
        self.started, self.spent, self.before = time.perf_counter(), 0, 0.0

    def spend(self, evaluations: int) -> None:
        """Count evaluations of the density."""
        self.spent += int(evaluations)

    @property
    def elapsed(self) -> float:
        """Seconds so far, those before a resumption included."""
        return self.before + time.perf_counter() - self.started

    @property
    def used(self) -> float:
        """The share of the limit that is used, 0 without a limit."""
        return max(self.spent / self.evaluations, self.elapsed / self.seconds)

    def allows(self, evaluations: int, share: float = 1.0) -> bool:
        """Whether so many more evaluations stay within this share of the limit."""
        return self.spent + evaluations <= share * self.evaluations and self.elapsed < share * self.seconds
