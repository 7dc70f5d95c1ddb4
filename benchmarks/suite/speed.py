"""The page of speed: training, density, sampling and the first call of every library, from D = 4 to 784.

Standard library only.
"""

from __future__ import annotations

import json
from typing import Any

from suite import work
from suite.adapters import BESIDE, device
from suite.figures import OURS, Run, fastest, summary
from suite.report import RESULTS, cell, machine, table
from suite.rounds import Library, WorkerError, in_turn

TASKS = {"step": "Training step", "density": "Density of 512 rows", "sample": "512 samples"}
NO_GPU = "not measured"
ROUNDS = 5
LONG = 256  # columns from which on a peer draws once from an autoregressive flow: each draw takes a second to a minute


def speed(run: Run) -> tuple[dict[str, Any], str]:
    """Every library on the grid of `work.SPEED`, jflows' own grid, and the first call; a table of each."""
    beside = BESIDE if len(run.libraries) > 1 else ()
    started = [Library(name, run.python) for name in beside]
    everyone = Run(run.python, run.libraries | {one.name: one for one in started}, run.quick, run.log)
    try:
        run.versions |= {one.name: one.do("versions") for one in started}
        if run.rows:
            figure = _again(everyone, run.rows)
        else:
            cells = [_cell(everyone, model, dim) for model, dims in work.SPEED.items() for dim in dims]
            grid = [_grid(everyone, dim) for dim in work.GRID_DIMS]
            first = [_first(everyone, model) for model in work.SPEED]
            figure = {"device": device(), "cells": cells, "grid": grid, "first": first}
    finally:
        for one in started:
            one.close()
    parts = _tables(figure, list(everyone.libraries))
    texts = [f"## {title}\n\n{text}" for title, text in parts.items()]
    again = [f"{name} ({when})" for name, when in figure.get("again", {}).items()]
    if again:
        texts.append(
            f"These rows were measured anew after the others, each in one run of all libraries: {', '.join(again)}."
        )
    return figure, "\n\n".join(texts)


def _again(run: Run, names: tuple[str, ...]) -> dict[str, Any]:
    """The figure of the last run with some rows measured anew.

    Args:
        run: The run.
        names: Rows such as `maf:784`, or `grid:128` for one of jflows' grid.
    """
    figure = json.loads((RESULTS / "speed.json").read_text())
    for name in names:
        model, dim = name.split(":")
        rows = figure["grid" if model == "grid" else "cells"]
        places = [i for i, row in enumerate(rows) if row["dim"] == int(dim) and row.get("model", "grid") == model]
        if len(places) != 1:
            raise SystemExit(f"benchmarks: --rows expected rows of the last run such as maf:784, got {name}")
        rows[places[0]] = _grid(run, int(dim)) if model == "grid" else _cell(run, model, int(dim))
        figure.setdefault("again", {})[name] = machine()["date"]
    return figure


def _cell(run: Run, model: str, dim: int) -> dict[str, Any]:
    """One model at one size: the three tasks of each library that has it."""
    able, sizes = run.ready(model, dim)
    rounds = 2 if run.quick else ROUNDS
    row: dict[str, Any] = {"model": model, "dim": dim, "n_params": sizes}
    for task in ("step", "density"):
        row[task] = in_turn(able, task, rounds, run.seconds)
    for library in able:
        library.do("prepare_sampling", n=work.BATCH)
    ours, peers = [x for x in able if x.name == OURS], [x for x in able if x.name != OURS]
    long = dim >= LONG and model in ("maf", "nsf_autoregressive")
    row["sample"] = in_turn(ours, "sample", rounds, run.seconds)
    row["sample"] |= in_turn(peers, "sample", 1 if long else rounds, run.seconds, warm=0 if long else 1)
    run.log("\n".join(f"{summary(model, dim, row[task])} ({task})" for task in TASKS))
    return row


def _grid(run: Run, dim: int) -> dict[str, Any]:
    """One size of jflows' published grid: the autoregressive map of 2,000 rows and its inverse."""
    row: dict[str, Any] = {"dim": dim}
    able = [run.libraries[name] for name in (OURS, "jflows") if name in run.libraries]
    for library in able:
        library.do("build", model="nsf_grid", dim=dim, n_layers=work.GRID_LAYERS, batch=work.GRID_BATCH)
        library.do("prepare_sampling", n=work.GRID_BATCH)
    row["density"] = in_turn(able, "density", 3, run.seconds)
    row["sample"] = in_turn(able, "sample", 3, run.seconds, warm=1)
    run.log(f"{summary('jflows grid', dim, row['density'])}; inverse{summary('', dim, row['sample'])}")
    return row


def _first(run: Run, model: str) -> dict[str, Any]:
    """Seconds from nothing to the end of the first training step, in a fresh process of each library."""
    found: dict[str, Any] = {}
    for name in run.libraries:
        try:
            answer = run.fresh("first_step", name, model, work.N_LAYERS, work.FIRST_DIM)
            found[name] = answer["build"] + answer["step"]
        except WorkerError:
            run.log(f"    {name} has no {model}")
    return {"model": model, "seconds": found}


def _gpu() -> dict[str, Any] | None:
    """What was measured with `--device gpu`, if anything was."""
    path = RESULTS / "speed_gpu.json"
    return json.loads(path.read_text()) if path.exists() else None


def _tables(figure: dict[str, Any], names: list[str]) -> dict[str, str]:
    gpu = _gpu()
    on_gpu = {(row["model"], row["dim"]): row for row in gpu["cells"]} if gpu else {}
    texts = {}
    for task, title in TASKS.items():
        lines = []
        for row in figure["cells"]:
            times, other = row[task], on_gpu.get((row["model"], row["dim"]))
            ratio = None
            if OURS in times and len(times) > 1:
                peer, ms = fastest(times)
                ratio = f"{cell(ms / times[OURS]['ms'])}, {peer}"
            found = [cell(times[name]["ms"]) if name in times else None for name in names]
            last = cell(other[task][OURS]["ms"]) if other else NO_GPU
            lines.append([f"{work.TITLES[row['model']]}, D = {row['dim']}", *found, ratio, last])
        texts[title] = table(["ms", *names, "fastest peer / ours", "ours on a GPU"], lines)
    lines = []
    for row in figure["grid"]:
        line: list[Any] = [row["dim"]]
        for name in (OURS, "jflows"):
            if name in row["density"]:
                forward, inverse = row["density"][name]["ms"], row["sample"][name]["ms"]
                line += [forward, inverse, inverse / forward]
            else:
                line += [None] * 3
        published = work.PUBLISHED_GRID[row["dim"]]
        lines.append([*line, *published, published[1] / published[0], NO_GPU])
    head = ["D; ms", *(f"{name}, {what}" for name in (OURS, "jflows") for what in ("forward", "inverse", "ratio"))]
    head += ["jflows as published (GPU), forward", "inverse", "ratio", "ours on a GPU"]
    texts["The inverse of an autoregressive spline flow, on the grid of jflows"] = table(head, lines)
    lines = [
        [work.TITLES[row["model"]], *(row["seconds"].get(name) for name in names), NO_GPU] for row in figure["first"]
    ]
    texts["First call"] = table([f"seconds, D = {work.FIRST_DIM}", *names, "ours on a GPU"], lines)
    return texts
