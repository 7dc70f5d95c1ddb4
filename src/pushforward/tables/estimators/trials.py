"""What a search for options found: its trials, its winner, and what the winner gains on rows that no trial saw."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from pushforward.io.fit_options import FitOptions

State = Literal["done", "stopped early", "failed", "interrupted"]


@dataclass(frozen=True)
class Attempt:
    """One trial.

    Attributes:
        number: 0 is the defaults.
        state: `"done"`; `"stopped early"`, for falling behind the median; `"failed"`; `"interrupted"`, by Ctrl-C.
        choices: what was tried, by name.
        nats: held-out log-density per row, on the rows that choose; NaN where it failed.
        standard_error: of `nats`.
        steps: that it took.
        seconds: wall-clock time.
        words: why it failed; else empty.
    """

    number: int
    state: State
    choices: dict[str, Any]
    nats: float
    standard_error: float
    steps: int
    seconds: float
    words: str = ""

    @property
    def sentence(self) -> str:
        """The trial in a line."""
        shown = {name: f"{v:.2g}" if isinstance(v, float) else v for name, v in self.choices.items()}
        chosen = ", ".join(f"{name} {value}" for name, value in shown.items())
        spread = f" +- {self.standard_error:.4f}" if math.isfinite(self.standard_error) else ""
        score = f"{self.nats:.4f}{spread} nats" if math.isfinite(self.nats) else self.words
        state = "" if self.state == "done" else f" ({self.state})"
        return f"{self.number:>3}  {score}{state}, {self.seconds:.0f} s: {chosen}"


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        options: of the winner; `FlowDensity(**options.keywords())` fits with them.
        attempts: all trials; the first is the defaults.
        best: the number of the winner.
        chosen_gain: what the winner gains over the defaults on the rows that chose it, nats per row, which flatters it:
            the best of many is lucky too. NaN if the defaults failed.
        fresh_rows: rows that no trial saw.
        fresh_nats: the winner's mean log-density on them.
        fresh_gain: what it gains over the defaults on them; NaN if the defaults failed.
        fresh_error: standard error of `fresh_gain`.
        interrupted: whether Ctrl-C ended the search.
        notes: remarks on the data.
    """

    options: FitOptions
    attempts: tuple[Attempt, ...]
    best: int
    chosen_gain: float
    fresh_rows: int
    fresh_nats: float
    fresh_gain: float
    fresh_error: float
    interrupted: bool
    notes: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """What came of it, for people."""
        counts = {word: sum(a.state == word for a in self.attempts) for word in ("done", "stopped early", "failed")}
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        lines = [f"{len(self.attempts)} trials ({told or 'none done'}); the best is trial {self.best}."]
        if self.interrupted:
            lines.append("The search was interrupted: this is the best so far.")
        fresh = f"{self.fresh_rows:,} rows that no trial saw"
        if self.best == 0:
            lines.append(f"No trial beat the defaults, which have {self.fresh_nats:.4f} nats per row on {fresh}.")
        elif math.isnan(self.fresh_gain):
            lines.append(f"The defaults failed; the winner has {self.fresh_nats:.4f} nats per row on {fresh}.")
        else:
            lines.append(
                f"On the rows that chose it, it gains {self.chosen_gain:.4f} nats per row over the defaults, which "
                "flatters it: the best of many is lucky too."
            )
            gain = f"On {fresh}, it gains {self.fresh_gain:+.4f} +- {self.fresh_error:.4f} nats per row"
            sure = self.fresh_gain > 2 * self.fresh_error
            lines.append(f"{gain}{'.' if sure else ', which may be chance: the defaults may do as well.'}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["trials"] = [dataclasses.asdict(attempt) for attempt in plain.pop("attempts")]
        return {**plain, "options": self.options.model_dump(mode="json"), "sentences": self.sentences}
