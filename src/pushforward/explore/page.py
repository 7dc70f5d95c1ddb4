"""The page of the explorer: sliders and menus on one side, the views that follow them on the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from pushforward._checks import package_of
from pushforward.explore.controls import Control
from pushforward.explore.panel import Frames, Panel
from pushforward.explore.subject import Subject
from pushforward.report.html import Html, tag

TITLES = {
    "density": "Density",
    "samples": "Samples",
    "rows": "Rows",
    "latents": "Latent axes",
    "way": "From noise to data",
}
# Standard deviations of the sliders of latents, and columns from which there is a box to search them.
LATENT_END, SEARCHED = 4.0, 13


class Latest:
    """Does work again as often as it is asked for, but never twice at once: what came in between counts once.

    Args:
        work: The work.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]):
        self._work, self._asked, self._busy = work, False, False

    @property
    def waiting(self) -> bool:
        """Whether newer work waits for what is being done."""
        return self._asked

    async def ask(self) -> None:
        """Ask for the work."""
        self._asked = True
        if self._busy:
            return
        self._busy = True
        try:
            while self._asked:
                self._asked = False
                await self._work()
        finally:
            self._busy = False


class View:
    """A place on the page for a panel: its markup, and below it the Python to copy.

    Args:
        ui: The module of the page's elements.
        words: What the view is, for those who do not see it.
    """

    def __init__(self, ui: Any, words: str):
        with ui.element("section").classes("view") as self._section:
            self._section.props["aria-label"] = words
            self._body = ui.html(tag("p", "Computing…", class_="soft"), sanitize=False).classes("body")
            self._python = _python(ui)
            self._python.parent_slot.parent.set_visibility(False)

    def show(self, panel: Panel) -> None:
        """Show a panel."""
        self._body.content = str(panel.body)
        self._python.content = str(_code(panel.code))
        self._python.parent_slot.parent.set_visibility(bool(panel.code))


def _code(code: str) -> Html:
    return tag("pre", tag("code", code), tabindex="0", aria_label="Python of this view")


def _python(ui: Any) -> Any:
    with ui.element("details").classes("python"):
        ui.html(str(tag("span", "Python")), sanitize=False, tag="summary")
        shown = ui.html(str(_code("")), sanitize=False)
        ui.html(str(tag("button", "Copy", type="button", class_="copy")), sanitize=False)
    return shown


class Page:
    """The page of one visitor.

    Args:
        subject: The model.
        nicegui: The package, which is imported where the page is built.
    """

    def __init__(self, subject: Subject, nicegui: Any):
        self._ui, self._run = nicegui.ui, nicegui.run
        self.subject = subject
        self.row: dict[str, Any] = dict(subject.start)
        self.held = {control.name for control in subject.controls}
        self.targets: tuple[str, ...] = (subject.targets[0],) if subject.targets else ()
        self._sliders: dict[str, Callable[[Any], None]] = {}
        self._refresh = Latest(self._show)
        self._quiet = False
        self._views: dict[str, Any] = {}

    def build(self) -> None:
        """Lay out the page."""
        subject = self.subject
        with self._ui.element("div").classes("explorer"):
            self._ui.html(str(tag("a", "Skip to the views", href="#views", class_="skip")), sanitize=False)
            with self._ui.element("header"):
                self._ui.html(str(tag("h1", subject.title)), sanitize=False)
                self._ui.html(str(tag("p", subject.sentence)), sanitize=False)
            with self._ui.element("div").classes("halves" if subject.controls else "halves alone"):
                with self._ui.element("aside") as aside:
                    aside.props["aria-label"] = "Columns"
                    self._controls()
                with self._ui.element("main").props("id=views"):
                    self._tabs()

    def _controls(self) -> None:
        controls = self.subject.controls
        if not controls:
            return
        with self._ui.element("div").classes("aside-head"):
            self._ui.html(str(tag("h2", "Columns")), sanitize=False)
            if any(not control.always for control in controls):
                self._ui.button("Hold all", on_click=lambda: self._hold_all(True)).props("flat dense no-caps size=sm")
                self._ui.button("Release all", on_click=lambda: self._hold_all(False)).props(
                    "flat dense no-caps size=sm"
                )
            self._ui.button("Reset", on_click=self._reset).props("flat dense no-caps size=sm")
        if len(controls) >= SEARCHED:
            search = '<input type="search" class="search" placeholder="Find a column" aria-label="Find a column">'
            self._ui.html(search, sanitize=False)
        self._switches: dict[str, Any] = {}
        with self._ui.element("div").classes("controls"):
            for place, control in enumerate(controls):
                self._control(place, control)

    def _control(self, place: int, control: Control) -> None:
        with self._ui.element("div").classes("control") as box:
            box.props["data-name"] = control.name.lower()
            with self._ui.element("div").classes("control-head"):
                self._ui.html(str(tag("span", control.name, class_="name", id=f"name-{place}")), sanitize=False)
                words = self._ui.html(str(_words(control, self.row[control.name])), sanitize=False).classes("cell")
                if not control.always:
                    switch = self._ui.switch(
                        value=True, on_change=lambda event: self._hold(control.name, bool(event.value))
                    )
                    switch.props["aria-label"] = f"Hold {control.name}"
                    switch.props("dense size=xs").tooltip("Held; switch off to let the column vary")
                    self._switches[control.name] = switch
            position = control.position(self.row[control.name])
            if control.options:
                options = dict(enumerate(control.options)) | ({-1: "missing"} if control.missing else {})
                made: Any = self._ui.select(options, value=-1 if position is None else position).props("dense outlined")
            else:
                made = self._ui.slider(min=control.low, max=control.high, step=control.step,
                                 value=control.low if position is None else position)  # fmt: skip
            made.props["aria-label"] = control.name
            made.props["data-place"] = str(place)
            gone = None
            if control.missing and not control.options:
                gone = self._ui.checkbox("missing", value=position is None).props("dense size=xs")

            def changed(_: Any = None) -> Any:
                if self._quiet:
                    return None
                missing = (gone is not None and gone.value) or (control.options and made.value == -1)
                self.row[control.name] = None if missing else control.cell(made.value)
                words.content = str(_words(control, self.row[control.name]))
                return self._refresh.ask()

            made.on_value_change(changed)
            if gone is not None:
                gone.on_value_change(changed)

            def put(cell: Any) -> None:
                at = control.position(cell)
                self._quiet = True
                if gone is not None:
                    gone.value = cell is None
                made.value = (-1 if control.options else made.value) if at is None else at
                self._quiet = False
                words.content = str(_words(control, cell))

            self._sliders[control.name] = put

    def _hold(self, name: str, on: bool) -> Any:
        (self.held.add if on else self.held.discard)(name)
        return None if self._quiet else self._refresh.ask()

    def _hold_all(self, on: bool) -> Any:
        self._quiet = True
        for switch in self._switches.values():
            switch.value = on
        self._quiet = False
        return self._refresh.ask()

    def _reset(self) -> Any:
        return self._put(self.subject.start)

    def _put(self, row: Any) -> Any:
        self.row = dict(row)
        for name, put in self._sliders.items():
            put(self.row[name])
        return self._refresh.ask()

    def _tabs(self) -> None:
        names = list(self.subject.views)
        with self._ui.tabs().props("dense align=left no-caps inline-label") as tabs:
            for name in names:
                self._ui.tab(name, TITLES[name])
        self._tab = tabs
        with self._ui.tab_panels(tabs, value=names[0], animated=False).props("keep-alive"):
            for name in names:
                with self._ui.tab_panel(name):
                    getattr(self, f"_{name}_view")()
        tabs.on_value_change(lambda _: self._refresh.ask())
        self._ui.timer(0.01, self._refresh.ask, once=True)

    async def _beside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function gives, computed on another thread, so that the page goes on listening."""
        found = await self._run.io_bound(function, *arguments)
        if found is None:  # the server is being stopped
            raise asyncio.CancelledError
        return found

    async def _show(self) -> None:
        """Show the views of the tab that is open, as the row is now."""
        await getattr(self, f"_show_{self._tab.value or self.subject.views[0]}")()

    def _density_view(self) -> None:
        targets = list(self.subject.targets)
        with self._ui.element("div").classes("asked"):
            first = self._ui.select(targets, value=targets[0], label="Density of").props("dense outlined options-dense")
            rest = ["", *targets]
            second = self._ui.select({name: name or "no other column" for name in rest}, value="", label="and of")
            second.props("dense outlined options-dense")
            for made, words in ((first, "Density of"), (second, "and of")):
                made.props["aria-label"] = words
        self._time = self._ui.html("", sanitize=False).classes("time")

        def changed() -> Any:
            other = [second.value] if second.value and second.value != first.value else []
            self.targets = (first.value, *other)
            return self._refresh.ask()

        first.on_value_change(changed)
        second.on_value_change(changed)
        self._views["density"] = View(self._ui, "Conditional density")
        self._ui.html(str(tag("h2", "The row")), sanitize=False)
        self._views["score"] = View(self._ui, "Score of the row")
        self._ui.html(str(tag("h2", "Samples given the held cells")), sanitize=False)
        self._views["draws"] = View(self._ui, "Samples")

    async def _show_density(self) -> None:
        row, held, start = dict(self.row), frozenset(self.held), time.perf_counter()
        subject, views = self.subject, self._views
        views["density"].show(await self._beside(subject.density, self.targets, row, held))
        if self._refresh.waiting:  # the row, or the tab, has changed: the score of this one is not wanted any more
            return
        first = time.perf_counter() - start
        views["score"].show(await self._beside(subject.score, row))
        both = time.perf_counter() - start
        text = f"Density in {1e3 * first:.0f} ms, score after {1e3 * both:.0f} ms."
        self._time.content = str(tag("span", text, data_density=f"{first:.4f}", data_score=f"{both:.4f}"))
        if not self._refresh.waiting:
            views["draws"].show(await self._beside(subject.draws, row, held))

    def _samples_view(self) -> None:
        self._views["draws"] = View(self._ui, "Samples")
        self._views["score"] = View(self._ui, "Images of DATA")

    async def _show_samples(self) -> None:
        row = dict(self.row)
        self._views["draws"].show(await self._beside(self.subject.draws, row, frozenset(self.held)))
        self._views["score"].show(await self._beside(self.subject.score, row))

    def _rows_view(self) -> None:
        names = [control.name for control in self.subject.controls]
        pair = (names[0], names[min(1, len(names) - 1)])
        words = "Draw a box in the plot, or move the ranges below it, to see the rows in it. "
        self._ui.html(str(tag("p", words, "The darker a point, the less likely its row.")), sanitize=False)
        with self._ui.element("div").classes("asked"):
            self._across = self._ui.select(names, value=pair[0], label="across").props("dense outlined options-dense")
            self._upright = self._ui.select(names, value=pair[1], label="upright").props("dense outlined options-dense")
        with self._ui.element("div").classes("side"):
            with self._ui.element("div"):
                self._plot = self._ui.html("", sanitize=False)
                ranges = []
                for words in ("across", "upright"):
                    made = self._ui.range(min=0.0, max=1.0, step=0.01, value={"min": 0.25, "max": 0.75})
                    made.props["aria-label"] = f"Range {words}"
                    ranges.append(made)
                self._ranges = ranges
            with self._ui.element("div").classes("grow"):
                self._views["rows"] = View(self._ui, "Rows in the box")

        def boxed(event: Any) -> Any:
            left, right, bottom, top = (min(max(float(v), 0.0), 1.0) for v in event.args)
            self._quiet = True
            ranges[0].value = {"min": left, "max": right}
            ranges[1].value = {"min": bottom, "max": top}
            self._quiet = False
            return self._refresh.ask()

        self._ui.on("brush", boxed)
        for made in ranges:
            made.on_value_change(lambda _: None if self._quiet else self._refresh.ask())
        for made in (self._across, self._upright):
            made.on_value_change(lambda _: self._refresh.ask())
        self._plotted: tuple[str, str] | None = None

    async def _show_rows(self) -> None:
        names = (self._across.value, self._upright.value)
        if names != self._plotted:
            plane = await self._beside(self.subject.plane, names)
            self._plot.content, self._plotted = str(plane.drawing), names
        across, upright = (made.value for made in self._ranges)
        box = (across["min"], across["max"], upright["min"], upright["max"])
        self._views["rows"].show(await self._beside(self.subject.brushed, names, box))
        self._ui.run_javascript(f"explorer.box({list(box)})")

    def _latents_view(self) -> None:
        words = "Move along the latent axes: the numbers of the row change together, as the model has learned."
        self._ui.html(str(tag("p", words)), sanitize=False)
        with self._ui.element("div").classes("side"):
            self._latents = self._ui.element("div").classes("latents")
            with self._ui.element("div").classes("grow"):
                self._views["latents"] = View(self._ui, "The moved row")
                if self.subject.targets:
                    self._ui.button("Take this row", on_click=self._taken).props("flat no-caps dense")
        self._latents_of: Any = None
        self._z: list[float] = []
        self._moved: Any = None

    async def _show_latents(self) -> None:
        row = dict(self.row)
        if self._latents_of != row:
            found = await self._beside(self.subject.latents, row)
            self._latents_of, self._z = row, list(found.values)
            self._latents.clear()
            with self._latents:
                for i, name in enumerate(found.names):
                    self._latent(i, name)
        z = list(self._z)
        found = await self._beside(self.subject.moved, row, z)
        self._moved = found.row
        self._views["latents"].show(found.panel)

    def _latent(self, i: int, name: str) -> None:
        with self._ui.element("div").classes("control"):
            with self._ui.element("div").classes("control-head"):
                self._ui.html(str(tag("span", name, class_="name")), sanitize=False)
                words = self._ui.html(f"{self._z[i]:.2f}", sanitize=False).classes("cell")
            end = max(LATENT_END, abs(self._z[i]))
            made = self._ui.slider(min=-end, max=end, step=0.02, value=self._z[i])
            made.props["aria-label"] = f"latent {name}"

            def changed(event: Any) -> Any:
                self._z[i] = float(event.value)
                words.content = f"{self._z[i]:.2f}"
                return self._refresh.ask()

            made.on_value_change(changed)

    def _taken(self) -> Any:
        if self._moved is None:
            return None
        return self._put({name: self._moved.get(name, cell) for name, cell in self.row.items()})

    def _way_view(self) -> None:
        with self._ui.element("section").classes("view"):
            self._movie = self._ui.html(str(tag("p", "Computing…", class_="soft")), sanitize=False)
            self._movie_python = _python(self._ui)
        self._way_of: Any = None

    async def _show_way(self) -> None:
        row = dict(self.row)
        if self._way_of == row:
            return
        frames = await self._beside(self.subject.way, row)
        self._way_of = row
        self._movie.content = str(movie(frames))
        self._movie_python.content = str(_code(frames.panel.code))


def movie(frames: Frames) -> Html:
    """A moving picture with a button that plays it and a slider over its times.

    Args:
        frames: The picture.
    """
    from pushforward._json import to_json

    last = len(frames.marks) - 1
    bar = tag("div", tag("button", "Play", type="button", class_="play"),
              tag("input", type="range", min=0, max=last, value=last, step=1, class_="frame", aria_label="time"),
              tag("output", frames.titles[last], class_="frame-title"), class_="bar-of-movie")  # fmt: skip
    data = {"data_marks": to_json(list(frames.marks)), "data_titles": to_json(list(frames.titles))}
    return tag("div", bar, frames.panel.body, class_="movie", **data)


def _words(control: Control, cell: Any) -> Html:
    return tag("output", control.words(cell))


def asset(name: str) -> str:
    """The text of a file of the page."""
    return resources.files("pushforward.explore").joinpath("assets", name).read_text("utf-8")


def style() -> str:
    """The style of the page: that of reports within it, and its own."""
    report = resources.files("pushforward.report").joinpath("assets", "page.css").read_text("utf-8")
    return f".explorer {{ {report.replace(':root', '&')} }}\n{asset('explore.css')}"


def build(subject: Subject) -> None:
    """Lay out the page of a model for one visitor.

    Args:
        subject: The model.
    """
    nicegui = package_of("pushforward explore", "nicegui", "explore")
    nicegui.ui.add_head_html(f"<style>{style()}</style>")
    nicegui.ui.add_body_html(f"<script>{asset('explore.js')}</script>")
    Page(subject, nicegui).build()
