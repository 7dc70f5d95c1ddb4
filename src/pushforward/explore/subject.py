"""What a page asks of a model: the columns that can be held, and views of it for cells that are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pushforward.explore.controls import Control
from pushforward.explore.figures import Plane
from pushforward.explore.panel import Frames, Panel

Row = Mapping[str, Any]


class Latents(NamedTuple):
    """Latents as sliders.

    Attributes:
        names: Their names.
        values: Their values.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]


class Moved(NamedTuple):
    """What latents lead to.

    Attributes:
        row: Cells of the row, by name; those of the sliders.
        panel: The view.
    """

    row: dict[str, Any]
    panel: Panel


class Subject(Protocol):
    """A model as a page shows it. All methods are pure: the same row gives the same view.

    Attributes:
        title: What the model is, in a line.
        sentence: What the page shows, in a sentence or two.
        controls: Sliders and menus.
        targets: Names of the columns whose density can be shown.
        views: Which views there are: `"density"`, `"rows"`, `"latents"`, `"way"`.
        start: The row that is shown first.
    """

    title: str
    sentence: str
    controls: Sequence[Control]
    targets: Sequence[str]
    views: Sequence[str]
    start: Row

    def density(self, targets: tuple[str, ...], row: Row, held: frozenset[str]) -> Panel:
        """The density of one column, or of two, given the held cells of the row."""
        ...

    def score(self, row: Row) -> Panel:
        """The score of the row."""
        ...

    def draws(self, row: Row, held: frozenset[str]) -> Panel:
        """Samples given the held cells of the row."""
        ...

    def plane(self, names: tuple[str, str]) -> Plane:
        """Rows in a scatter plot of two columns."""
        ...

    def brushed(self, names: tuple[str, str], box: tuple[float, float, float, float]) -> Panel:
        """The rows in a box of that plot, given as shares of its panel: left, right, bottom, top."""
        ...

    def latents(self, row: Row) -> Latents:
        """The latents of the row."""
        ...

    def moved(self, row: Row, latents: Sequence[float]) -> Moved:
        """The row with other latents."""
        ...

    def way(self, row: Row) -> Frames:
        """The way from noise to data, with the levels and conditions of the row."""
        ...
