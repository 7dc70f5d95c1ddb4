"""The density of a table, or a detector with one, as a page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.explore.controls import Control, control_of
from pushforward.explore.curves import Curve
from pushforward.explore.figures import (
    Drawn,
    Plane,
    curve_chart,
    facts,
    moving_chart,
    moving_path,
    scatter_chart,
    surface_chart,
    surprise_table,
)
from pushforward.explore.flow_axes import Way, latent_axes, noise_to_data
from pushforward.explore.known import cells_of_row
from pushforward.explore.panel import Frames, Panel, script, written
from pushforward.explore.subject import Latents, Moved, Row
from pushforward.explore.views import conditional, conditional_pair, draws_given, score_row
from pushforward.inference import ConditioningError
from pushforward.plotting.columns import numbers_in, pictured
from pushforward.plotting.fitted import complete, sampled, table_for
from pushforward.report.canvas import Scales, linear
from pushforward.report.html import Html, joined, number, table_of, tag
from pushforward.report.table_rows import rows_table
from pushforward.tables.errors import DataError
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.reading.cells import Cells

# Rows that a plot shows, rows of samples that are listed, and brushed rows that are listed.
MOST_ROWS, LISTED, BRUSHED = 1500, 8, 12
# Latents that have sliders, and columns whose surprise is shown.
MOST_LATENTS, EXPLAINED = 24, 24
STATUS = {
    "ok": "The row lies where the model has seen data.",
    "tail": "The row lies in the outermost 0.1 % of the model.",
    "extrapolated": "The row lies beyond the data of the fit.",
    "unconverged": "The score is not to be used.",
}


class TableSubject:
    """A density of a table.

    Args:
        density: The density.
        name: Name of its folder.
        data: Rows to look at, or None for samples of the model.
        detector: The detector that the density belongs to, or None.
        against: Another density of the same columns, or None.
        against_name: Name of its folder.
        seed: Seed of all draws.

    Raises:
        DataError: The rows are not of the model, or the other density has other columns.
    """

    def __init__(
        self,
        density: FlowDensity,
        name: str,
        data: Any = None,
        *,
        detector: Any = None,
        against: FlowDensity | None = None,
        against_name: str = "",
        seed: int = 0,
    ):
        self.name, self.seed, self.detector = name, seed, detector
        self.models = {name: density} | ({} if against is None else {against_name: against})
        self.density_of = density
        if against is not None:
            _check_same(density, against, against_name)
        schema, model = density.schema_, density.model_
        self.rows = self._rows(data)
        own = [column.name for column in model.layout.columns]
        names = [*density.given_, *own]
        self.columns = {column_name: schema.column(column_name) for column_name in names}
        self.targets: Sequence[str] = own
        shown = pictured("explore", self.rows, None, names=None, schema=schema.select(names), columns=names,
                         most=max(len(names), 1))  # fmt: skip
        scales = Scales()
        self._drawn = {
            each: Drawn(axis, scales.of(axis, 6)) for each, axis in zip(shown.names, shown.axes, strict=True)
        }
        self._positions = dict(zip(shown.names, np.asarray(shown.data).T, strict=True))
        numbers = numbers_in(list(self.columns.values()), self.rows)
        self.controls: Sequence[Control] = [
            control_of(column, self._drawn[column.name].axis, own_numbers, column.name in density.given_)
            for column, own_numbers in zip(self.columns.values(), numbers.T, strict=True)
        ]
        self.start: Row = self._first()
        kind = "A detector's density" if detector is not None else "A density"
        of = f"{len(own)} columns" + (f" given {', '.join(density.given_)}" if density.given_ else "")
        self.title = f"{name}: {kind.lower()} of {of}"
        held = f"The model is a density given {', '.join(density.given_)}, always held. " if density.given_ else ""
        self.sentence = (
            f"{held}Hold columns at cells of your choice; the views follow. Log-densities are in nats and in the "
            "units of the table, so that they may be above 0."
        )
        flow = ("latents", "way") if model.member.values is not None else ()
        self.views: Sequence[str] = ("density", "rows", *flow)

    def _rows(self, data: Any) -> Cells:
        density = self.density_of
        if data is not None:
            table = complete(density, table_for(density, data))
            if not len(table):
                raise DataError("missing", "explore: no row of DATA is without missing values.")
            some = np.random.default_rng(self.seed).permutation(len(table))[:MOST_ROWS]
            return table.take(np.sort(some))
        if density.given_:
            fix = f"Pass DATA: the model is a density given {', '.join(density.given_)}, of which it knows no rows."
            raise DataError("missing", f"explore: expected rows to take conditions from, got none. {fix}")
        return Cells(sampled(density, None, MOST_ROWS, self.seed)).select(density.model_.needed)

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Log-densities of the rows by each model, `(n,)`."""
        return {name: density.score_samples(self.rows) for name, density in self.models.items()}

    def _first(self) -> Row:
        """The row of the median score: neither the likeliest nor a strange one."""
        scores = self.scores[self.name]
        place = int(np.argsort(scores, kind="stable")[len(scores) // 2])
        cells = self.rows.take(np.array([place])).table.to_pylist()[0]
        by_name = {control.name: control for control in self.controls}
        # As the sliders have it, so that nothing changes when one is touched.
        return {name: by_name[name].cell(by_name[name].position(cells[name])) for name in by_name}

    def _number(self, name: str, row: Row) -> float:
        return float(numbers_in([self.columns[name]], cells_of_row(self.density_of, {name: row[name]}))[0, 0])

    def _held(self, row: Row, held: frozenset[str], targets: tuple[str, ...] = ()) -> dict[str, Any]:
        given = self.density_of.given_
        return {name: row[name] for name in self.columns if name in given or (name in held and name not in targets)}

    def _load(self) -> list[str]:
        if self.detector is None:
            loads = [f"density = pf.FlowDensity.load({self.name!r})"]
        else:
            loads = [f"detector = pf.FlowOutlierDetector.load({self.name!r})",
                     "density, _ = pf.anomalies.explanation.density_of(detector)"]  # fmt: skip
        return loads

    def density(self, targets: tuple[str, ...], row: Row, held: frozenset[str]) -> Panel:
        cells = self._held(row, held, targets)
        function = "conditional" if len(targets) == 1 else "conditional_pair"
        asked = repr(targets[0]) if len(targets) == 1 else written(targets)
        show = "print(found.how.sentence, found.numbers, found.density)" if len(targets) == 1 else "print(found.mass)"
        call = f"found = pf.explore.{function}(density, {asked}, held, random_state={self.seed})"
        code = script(*self._load(), f"held = {written(cells)}", call, show)
        try:
            if len(targets) == 1:
                return Panel(self._curves(targets[0], row, cells), code)
            return Panel(self._surface((targets[0], targets[1]), row, cells), code)
        except (ConditioningError, ValueError) as error:
            return Panel(tag("p", str(error), class_="refused"), code)

    def _curves(self, target: str, row: Row, cells: dict[str, Any]) -> Html:
        curves = [conditional(d, target, cells, random_state=self.seed) for d in self.models.values()]
        mark = self._number(target, row)
        words = f"Density of {target} given {', '.join(cells) or 'nothing'}."
        chart = curve_chart(curves, self._drawn[target], mark, words)
        return joined([self._legend(), chart, self._summary(curves[0], target), tag("p", curves[0].how.sentence)])

    def _summary(self, curve: Curve, target: str) -> Html:
        if not len(curve.numbers):
            best = int(np.argmax(curve.masses))
            entries = {"likeliest": (curve.labels[best], f"{curve.masses[best]:.1%}")}
            data = {"data_median": None}
        else:
            control = next(each for each in self.controls if each.name == target)
            low, high = curve.interval(0.9)
            words = [_number_words(control, value) for value in (curve.median, low, high)]
            entries = {"median": (words[0], ""), "90 % lie between": (f"{words[1]} and {words[2]}", "")}
            data = {"data_median": f"{curve.median:.9g}"}
        return tag("div", facts(entries), id="density-summary", **data)

    def _surface(self, targets: tuple[str, str], row: Row, cells: dict[str, Any]) -> Html:
        made = []
        for name, density in self.models.items():
            surface = conditional_pair(density, targets, cells, random_state=self.seed)
            marks = (self._number(targets[0], row), self._number(targets[1], row))
            words = f"Density of {targets[0]} and {targets[1]} given {', '.join(cells) or 'nothing'}, by {name}."
            chart = surface_chart(surface, self._drawn[targets[0]], self._drawn[targets[1]], marks, words)
            title = tag("figcaption", tag("b", name)) if len(self.models) > 1 else None
            made.append(tag("figure", title, chart, tag("p", surface.how.sentence)))
        return tag("div", made, class_="side")

    def _legend(self) -> Html | None:
        if len(self.models) == 1:
            return None
        entries = [tag("li", tag("i", class_=f"of-{kind}", aria_hidden="true"), name)
                   for kind, name in zip(("model", "data"), self.models, strict=True)]  # fmt: skip
        return tag("ul", entries, class_="legend")

    def score(self, row: Row) -> Panel:
        asked = self._surprising(row)
        some = "" if asked is None else f", columns={written(asked)}"
        scores = [score_row(density, row, columns=asked) for density in self.models.values()]
        first = scores[0]
        entries = {"log-density": (number(first.log_prob, 5), "nats")}
        if len(scores) > 1:
            other = list(self.models)[1]
            entries[f"by {other}"] = (number(scores[1].log_prob, 5), "nats")
            entries["difference"] = (number(first.log_prob - scores[1].log_prob, 4), "nats")
        lines = [*self._load(), f"row = {written(dict(row))}", f"found = pf.explore.score_row(density, row{some})",
                 "print(found.log_prob, found.status)", "for cell in found.cells:",
                 "    print(cell.column, cell.nats, cell.expected)"]  # fmt: skip
        if self.detector is not None:
            p = float(self.detector.p_values(cells_of_row(self.density_of, row))[0])
            entries["p-value"] = (number(p, 3), "small is unusual")
            lines.append("print(detector.p_values(pf.tables.read_cells({name: [cell] for name, cell in row.items()})))")
        low = float(np.mean(self.scores[self.name] <= first.log_prob))
        source = "rows" if self.rows.source != "the table" else "rows shown"
        entries["rank"] = (f"{low:.1%}", f"of {len(self.rows):,} {source} are less likely")
        head = tag("div", facts(entries), id="row-score", data_value=f"{first.log_prob:.9g}")
        status = tag("p", STATUS.get(first.status, first.status), class_=f"status {first.status}")
        some = (
            f"Of {len(self.targets)} columns these are the {EXPLAINED} whose latents are the largest." if asked else ""
        )
        body = [head, status, surprise_table(scores), tag("p", some) if some else None]
        return Panel(joined(body), script(*lines))

    def _surprising(self, row: Row) -> list[str] | None:
        """The columns whose surprise is shown: all, or of many those whose latents are the largest."""
        if len(self.targets) <= EXPLAINED:
            return None
        model = self.density_of.model_
        far = np.abs(np.nan_to_num(model.latents(cells_of_row(self.density_of, row))[0], posinf=np.inf))
        places = [model.layout.valued[i] for i in np.argsort(-far, kind="stable")[:EXPLAINED]]
        return [model.layout.columns[i].name for i in sorted(places)]

    def draws(self, row: Row, held: frozenset[str]) -> Panel:
        cells = self._held(row, held)
        if len(cells) == len(self.columns):
            return Panel(tag("p", "All columns are held. Release one to see samples given the others.", class_="soft"))
        code = script(*self._load(), f"held = {written(cells)}",
                      f"found = pf.explore.draws_given(density, held, random_state={self.seed})",
                      "print(found.table, found.sentence)")  # fmt: skip
        try:
            found = draws_given(self.density_of, cells, random_state=self.seed)
        except (ConditioningError, ValueError) as error:
            return Panel(tag("p", str(error), class_="refused"), code)
        shown = rows_table(Cells(found.table.slice(0, LISTED)))
        return Panel(joined([shown, tag("p", found.sentence)]), code)

    def _ranks(self) -> np.ndarray:
        scores = self.scores[self.name]
        return np.argsort(np.argsort(scores, kind="stable"), kind="stable") / max(len(scores) - 1, 1)

    def plane(self, names: tuple[str, str]) -> Plane:
        positions = np.stack([self._positions[name] for name in names], axis=1)
        words = f"Rows by {names[0]} and {names[1]}, shaded by their log-density."
        return scatter_chart(positions, [self._drawn[name] for name in names], self._ranks(), words)

    def brushed(self, names: tuple[str, str], box: tuple[float, float, float, float]) -> Panel:
        shares = self.plane(names).shares
        left, right, bottom, top = box
        inside = (shares[:, 0] >= left) & (shares[:, 0] <= right) & (shares[:, 1] >= bottom) & (shares[:, 1] <= top)
        places = np.flatnonzero(inside)
        if not len(places):
            return Panel(tag("p", "No row lies in the box.", class_="soft"))
        scores = self.scores[self.name]
        own = scores[places]
        entries = {"rows": (f"{len(places):,}", f"of {len(scores):,}"),
                   "mean log-density": (number(float(own.mean()), 4), f"of all {number(float(scores.mean()), 4)}"),
                   "least": (number(float(own.min()), 4), "nats")}  # fmt: skip
        if len(self.models) > 1:
            other = self.scores[list(self.models)[1]]
            gain = float(np.mean(own - other[places]))
            entries["gain"] = (number(gain, 3), f"nats over {list(self.models)[1]}, mean")
        order = places[np.argsort(own, kind="stable")][:BRUSHED]
        rows = self.rows.take(order)
        listed = [name for name in rows.names if name in self.columns][:10]
        cells = [[_words(cell) for cell in rows.table.column(name).to_pylist()] for name in listed]
        header = ["log-density", *listed]
        body = [[float(scores[i]), *row] for i, row in zip(order, zip(*cells, strict=True), strict=True)]
        made = table_of(header, body, caption=f"The {len(order)} least likely of these rows")
        head = tag("div", facts(entries), id="brushed", data_rows=len(places), data_value=f"{own.mean():.9g}")
        few = [dict(zip(self.columns, row, strict=True)) for row in
               zip(*(rows.table.column(name).to_pylist() for name in self.columns), strict=True)][:5]  # fmt: skip
        code = script(*self._load(), f"rows = pa.Table.from_pylist({written(few)})",
                      "print(density.score_samples(rows))")  # fmt: skip
        return Panel(joined([head, made]), code)

    def latents(self, row: Row) -> Latents:
        axes = latent_axes(self.density_of, row)
        return Latents(tuple(f"z{i + 1}" for i in range(len(axes.names)))[:MOST_LATENTS],
                       tuple(axes.latents.tolist())[:MOST_LATENTS])  # fmt: skip

    def moved(self, row: Row, latents: Sequence[float]) -> Moved:
        axes = latent_axes(self.density_of, row)
        z = np.concatenate([np.asarray(latents, float), axes.latents[len(latents) :]])
        new = axes.moved(z)
        before = self.density_of.score_samples(cells_of_row(self.density_of, row))[0]
        after = self.density_of.score_samples(cells_of_row(self.density_of, new))[0]
        far = float(np.linalg.norm(z - axes.latents))
        entries = {
            "log-density": (number(float(after), 5), f"before {number(float(before), 5)} nats"),
            "distance": (number(far, 3), "along the latent axes"),
        }
        body = [[name, _words(row[name]), _words(new[name])] for name in axes.names]
        made = table_of(["column", "row", "moved row"], body, caption="The numbers that move")
        rest = [name for name in self.targets if name not in axes.names]
        stay = f"{', '.join(rest)} stay: they have distribution functions of their own." if rest else ""
        head = tag("div", facts(entries), id="moved", data_value=f"{after:.9g}")
        code = script(*self._load(), f"row = {written(dict(row))}", "axes = pf.explore.latent_axes(density, row)",
                      "print(axes.latents)", f"print(axes.moved({[round(float(v), 6) for v in z]}))")  # fmt: skip
        return Moved(new, Panel(joined([head, made, tag("p", stay) if stay else None]), code))

    def way(self, row: Row) -> Frames:
        found = noise_to_data(self.density_of, row, seed=self.seed)
        code = script(*self._load(), f"row = {written(dict(row))}",
                      f"way = pf.explore.noise_to_data(density, row, seed={self.seed})", "print(way.times)",
                      "print(way.states.shape)  # times, draws, columns")  # fmt: skip
        return frames_of(found, code)


def frames_of(way: Way, code: str) -> Frames:
    """A way as a moving picture of its first two coordinates; of one coordinate beside a random height.

    Args:
        way: The way.
        code: Python that gives it.
    """
    states = way.states[..., :2]
    names = list(way.names[:2])
    if states.shape[-1] < 2:
        heights = np.random.default_rng(0).uniform(0, 1, (1, states.shape[1], 1))
        states, names = np.concatenate([states, np.broadcast_to(heights, states.shape)], axis=-1), [*names, ""]
    # Axes that fit the data at the end; what lies beyond them at first comes in.
    drawn, shares = [], []
    for i, name in enumerate(names):
        own = states[..., i]
        ends = np.concatenate([np.nanquantile(own[-1], [0.004, 0.996]), np.nanquantile(own, [0.02, 0.98])])
        low, high = float(ends.min()), float(ends.max())
        margin = 0.05 * ((high - low) or 1.0)
        scale = linear(low - margin, high + margin, name)
        drawn.append(Drawn(None, scale))  # pyright: ignore[reportArgumentType] - no axis of a column is needed
        shares.append(scale.place(own))
    marks = [moving_path(np.stack([x, y], axis=1)) for x, y in zip(*shares, strict=True)]
    last = len(way.times) - 1
    unit = "time" if way.continuous else "layer"
    titles = [("noise" if i == 0 else "data" if i == last else f"{unit} {t:.3g}") for i, t in enumerate(way.times)]
    words = f"Draws of the base on their way to samples, by {' and '.join(name for name in names if name)}."
    return Frames(Panel(moving_chart(marks[-1], drawn, words), code), tuple(marks), tuple(titles))


def _check_same(density: FlowDensity, other: FlowDensity, name: str) -> None:
    """Raise if another density is not one of the same columns.

    Raises:
        DataError: It is not.
    """
    lacking = sorted(set(density.model_.needed) ^ set(other.model_.needed))
    if lacking or density.given_ != other.given_:
        fix = "Compare models of the same columns, given the same ones."
        got = f"others in {', '.join(lacking[:5]) or 'the conditions'}"
        raise DataError("columns", message(f"--against {name}", "a density of the same columns", got, fix))


def _words(cell: Any) -> Any:
    if cell is None:
        return "missing"
    if isinstance(cell, float):
        return number(cell, 5)
    return str(cell).removesuffix(" 00:00:00")


def _number_words(control: Control, value: float) -> str:
    """A number of an axis as the cells of the column have it."""
    if control.column is None:
        return number(value)
    from pushforward.plotting.fitted import cells_of

    return control.words(cells_of(control.column, np.array([value]))[0].as_py())
