"""A fitted model of a table: cells in, log-probabilities and cells out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from pushforward.distributions import AbstractDistribution
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.table import TableDistribution
from pushforward.tables.encoding import Encoded, Layout, decode, encode
from pushforward.tables.modelling.assemble import Recipe
from pushforward.tables.modelling.derived import broken, recomputed
from pushforward.tables.modelling.rows import Scores, Seen, latent_rows, sample_rows, score_and_see, score_rows
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import Column, TableSchema


@dataclass(frozen=True)
class TableModel:
    """The distribution of a table's rows with the schema that says what its columns are.

    Args:
        schema: of all columns, those set aside among them.
        given: the columns that are conditions.
        recipe: what the distribution is built of.
        distribution: in the data's units.
    """

    schema: TableSchema
    given: tuple[str, ...]
    recipe: Recipe
    distribution: TableDistribution | Ensemble

    @cached_property
    def member(self) -> TableDistribution:
        """The distribution, or of an ensemble the first member: what is said of latents and layers is said of it."""
        return self.distribution.each[0] if isinstance(self.distribution, Ensemble) else self.distribution

    def as_flow(self) -> AbstractDistribution | None:
        """The same density over the table's numbers as they are, None if it is not one; see `TableDistribution`."""
        if not isinstance(self.distribution, Ensemble):
            return self.distribution.as_flow()
        flows = [member.as_flow() for member in self.distribution.each]
        if any(flow is None for flow in flows):
            return None
        return Ensemble([flow for flow in flows if flow is not None], np.exp(self.distribution.log_weights.value))

    @cached_property
    def layout(self) -> Layout:
        """The layout of the modelled columns."""
        return Layout(tuple(column for column in self.schema.modelled if column.name not in self.given))

    @cached_property
    def given_layout(self) -> Layout | None:
        """The layout of the conditions, None without any."""
        columns = tuple(self.schema.column(name) for name in self.given)
        return Layout(columns) if columns else None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that a table needs to be scored."""
        return tuple(column.name for column in self.schema.modelled)

    @property
    def constants(self) -> tuple[Column, ...]:
        """The columns that were constant in the fit."""
        return tuple(column for column in self.schema.columns if column.kind == "constant")

    def pick(self, cells: Cells) -> Cells:
        """The columns that a table needs to be scored, and the constant ones and those that follow that it has.

        Raises:
            DataError: a column is missing.
        """
        held = [*(c.name for c in self.constants), *(f.name for f in self.schema.follows)]
        return cells.select([*self.needed, *(name for name in held if name in cells.names)])

    @property
    def plain(self) -> bool:
        """Whether cells are numbers as they are: real, not rounded, never missing, held to no others."""
        return not self.schema.follows and all(
            c.kind == "real" and c.step is None and not c.n_states for c in self.schema.modelled
        )

    def encode(self, table: Cells | np.ndarray, unseen: str = "error") -> tuple[Encoded, np.ndarray | None]:
        """The rows of a table and their conditions, as the distribution takes them.

        Args:
            table: cells, or for a plain model an array of the needed columns `(n, d)`.
            unseen: what happens to conditions that the fit never saw; see `encoding.encode`.
        """
        if isinstance(table, np.ndarray):
            places = {name: i for i, name in enumerate(self.needed)}
            own = [places[column.name] for column in self.layout.columns]
            condition = table[:, [places[name] for name in self.given]] if self.given else None
            return Encoded(table[:, own], np.zeros(len(table)), {}), condition
        condition = None if self.given_layout is None else encode(self.given_layout, table, unseen=unseen).rows
        encoded = encode(self.layout, table, others=self.constants)
        if self.schema.follows:
            encoded = replace(encoded, within=np.where(broken(self.schema, table), -np.inf, encoded.within))
        return encoded, condition

    def score(self, table: Cells | np.ndarray) -> Scores:
        """Log-probabilities of the rows, and their parts."""
        encoded, condition = self.encode(table)
        return self.score_encoded(encoded, condition)

    def score_encoded(self, encoded: Encoded, condition: np.ndarray | None) -> Scores:
        """The same for rows that are encoded already."""
        scores = score_rows(self.distribution, encoded.rows, condition)
        mass = scores.mass + encoded.within
        return scores._replace(log_prob=mass + scores.density, mass=mass)

    def score_seeing(self, encoded: Encoded, condition: np.ndarray | None) -> tuple[Scores, Seen | None]:
        """The same, and from the same pass what else the status of the rows takes; see `score_and_see`."""
        scores, seen = score_and_see(self.distribution, encoded.rows, condition)
        mass = scores.mass + encoded.within
        return scores._replace(log_prob=mass + scores.density, mass=mass), seen

    def latents(self, table: Cells | np.ndarray) -> np.ndarray:
        """The latents of the rows' values, `(n, n_values)`; of an ensemble those of its first member."""
        encoded, condition = self.encode(table)
        return latent_rows(self.member, encoded.rows, condition)

    def draw(self, n: int, seed: np.ndarray, condition: np.ndarray | None, part: range | None = None) -> np.ndarray:
        """Encoded rows; see `sample_rows`."""
        return sample_rows(self.distribution, seed, n, condition, part)

    def decode(self, rows: np.ndarray, seed: np.ndarray) -> dict[str, pa.Array]:
        """Cells of encoded rows, with the constant columns, in the order of the table."""
        drawn = decode(self.layout, rows, self.constants, int(np.asarray(seed).ravel()[0]))
        return drawn | recomputed(self.schema, drawn)

    def names_out(self) -> tuple[str, ...]:
        """The columns of samples: all but identifiers."""
        return tuple(column.name for column in self.schema.columns if column.kind != "identifier")


def real_schema(names: Sequence[str], rows: int) -> TableSchema:
    """The schema of a table of real numbers."""
    return TableSchema(rows=rows, columns=tuple(Column(name=name, kind="real") for name in names))
