"""The figure of velocity fields: their density, both ways to train them, and the memory of the adjoint.

Standard library only.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from suite import work
from suite.figures import OURS, Run, cell, fastest, goal, spread, summary, table
from suite.rounds import Library, WorkerError, in_turn

SOLVERS = (OURS, "zuko", "torchdiffeq")
GRADIENTS = ("adjoint", "checkpointed", "direct")
MEGABYTE = 1e6


def continuous(run: Run) -> tuple[dict[str, Any], str]:
    """Density and likelihood steps beside zuko's CNF and torchdiffeq, matching beside torchcfm, memory by steps."""
    started = [Library(name, run.python) for name in ("torchdiffeq", "torchcfm")]
    known = run.libraries | {library.name: library for library in started}
    try:
        run.versions |= {library.name: library.do("versions") for library in started}
        fields = [_field(run, known, model, dim) for dim in _dims(run) for model in work.FIELD_MODELS]
        matching = [_matching(run, known, dim) for dim in work.MATCHING_DIMS]
        memory = _memory(run, known)
    finally:
        for library in started:
            library.close()
    text = "\n\n".join([*_field_tables(fields), _matching_table(matching), *_memory_tables(memory)])
    return {"fields": fields, "matching": matching, "memory": memory}, text


def _dims(run: Run) -> Sequence[int]:
    return work.FIELD_DIMS[:1] if run.quick else work.FIELD_DIMS


def _build(
    known: dict[str, Library], names: Sequence[str], model: str, dim: int, batch: int
) -> tuple[list[Library], dict[str, int]]:
    able = [known[name] for name in names if name in known]
    sizes = {library.name: library.do("build", model=model, dim=dim, n_layers=1, batch=batch) for library in able}
    return able, sizes


def _field(run: Run, known: dict[str, Library], model: str, dim: int) -> dict[str, Any]:
    """One field: what the solves give and take, and the time of a training step; of the exact trace also density."""
    able, sizes = _build(known, SOLVERS, model, dim, work.BATCH)
    row: dict[str, Any] = {"model": model, "dim": dim, "n_params": sizes}
    rounds = min(run.rounds, 5)
    if model == "cnf":
        found = {library.name: library.do("ask", question="solves") for library in able}
        row["evaluations"] = {
            name: {k: v for k, v in solve.items() if k.startswith(("density", "step"))} for name, solve in found.items()
        }
        if OURS in found:
            row["error"] = {name: _errors(solve["log_prob"], found[OURS]["strict"]) for name, solve in found.items()}
        row["density"] = in_turn(able, "density", rounds, run.seconds, warm=1)
        run.log(summary("log_prob", dim, row["density"]))
    if OURS in known:  # compiles; its time would tell `in_turn` that one round is enough
        known[OURS].do("time", what="step", calls=1)
    row["step"] = in_turn(able, "step", rounds, run.seconds, warm=1)
    run.log(summary(work.TITLES[model], dim, row["step"]))
    return row


def _errors(nats: list[float], truth: list[float]) -> dict[str, float]:
    apart = [abs(a - b) for a, b in zip(nats, truth, strict=True)]
    return {"mean": statistics.fmean(apart), "most": max(apart)}


def _matching(run: Run, known: dict[str, Library], dim: int) -> dict[str, Any]:
    able, sizes = _build(known, (OURS, "torchcfm"), "flow_matching", dim, work.MATCHING_BATCH)
    row: dict[str, Any] = {"dim": dim, "n_params": sizes, "step": in_turn(able, "step", run.rounds, run.seconds)}
    if OURS in known:
        row["scanned_ms"] = known[OURS].do("ask", question="fit_step_ms", seconds=1.0)
    run.log(summary("flow matching", dim, row["step"]))
    return row


def _memory(run: Run, known: dict[str, Library]) -> dict[str, Any]:
    """Bytes by gradient and number of RK4 steps: ours from the compiler, torchdiffeq's by the growth of a process."""
    dim, steps = work.MEMORY_DIM, work.MEMORY_STEPS[:2] if run.quick else work.MEMORY_STEPS
    ours: dict[str, dict[int, int]] = {}
    if OURS in known:
        for gradient in GRADIENTS:
            ask = {"question": "memory", "gradient": gradient, "dim": dim}
            ours[gradient] = {n: known[OURS].do("ask", n_steps=n, **ask) for n in steps}
    theirs: dict[str, dict[int, int | None]] = {"adjoint": {}, "direct": {}}
    for gradient, row in theirs.items():
        for n in steps[: 1 if run.quick else 2]:
            try:
                row[n] = run.fresh("memory", "torchdiffeq", gradient, n, dim)["bytes"]
            except WorkerError as error:  # a process that was killed for its memory
                run.log(f"    {error}")
                row[n] = None
    return {"ours": ours, "torchdiffeq": theirs}


def _field_tables(rows: list[dict[str, Any]]) -> list[str]:
    densities, steps, solves = [], [], []
    for row in rows:
        label = f"{work.TITLES[row['model']]}, D = {row['dim']}"
        for kind, lines in (("density", densities), ("step", steps)):
            if kind in row:
                times = row[kind]
                lines.append([label, *(spread(times, name) for name in SOLVERS), *_ratios(times)])
        if "error" in row:
            counts = [row["evaluations"].get(name, {}) for name in SOLVERS]
            ours, *peers = counts
            counted = f"{cell(ours['density'])} ({ours['density_most']})" if ours else None
            errors = [_error(row["error"].get(name)) for name in SOLVERS]
            peers = [f"{peer['density']}, {peer['step']}" if peer else None for peer in peers]
            solves.append([f"D = {row['dim']}", counted, *peers, *errors])
    head = [*SOLVERS, "zuko / ours", "torchdiffeq / ours"]
    error = [f"error of log p, {name}" for name in SOLVERS]
    heads = ["evaluations, pushforward: mean of rows (most)", *(f"{name}: density, step" for name in SOLVERS[1:])]
    return [
        table([f"`log_prob` of {work.BATCH} rows, ms", *head], densities),
        table([f"likelihood step, {work.BATCH} rows, ms", *head], steps),
        table(["exact trace", *heads, *error], solves),
    ]


def _ratios(times: dict[str, dict[str, Any]]) -> list[str | None]:
    if OURS not in times:
        return [None, None]
    ours = times[OURS]["ms"]
    return [goal(times[name]["ms"] / ours, 5.0, True) if name in times else None for name in SOLVERS[1:]]


def _error(error: dict[str, float] | None) -> str | None:
    return f"{error['mean']:.1e} ({error['most']:.1e})" if error else None


def _matching_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        times, ratio = row["step"], None
        if OURS in times:
            ratio = goal(fastest(times)[1] / times[OURS]["ms"], 2.0, True)
        columns = [spread(times, OURS), cell(row.get("scanned_ms")), spread(times, "torchcfm"), ratio]
        lines.append([f"D = {row['dim']}", *columns])
    head = [f"flow-matching step, {work.MATCHING_BATCH} rows, ms", OURS, "pushforward, within `fit`", "torchcfm"]
    return table([*head, "torchcfm / ours"], lines)


def _memory_tables(memory: dict[str, Any]) -> list[str]:
    found = [(f"{OURS}, {gradient}", by_steps, gradient == "adjoint") for gradient, by_steps in memory["ours"].items()]
    found += [(f"torchdiffeq, {gradient}", by_steps, False) for gradient, by_steps in memory["torchdiffeq"].items()]
    steps = sorted({n for _, by_steps, _ in found for n in by_steps})
    lines = []
    for label, by_steps, judged in found:
        few, many = (by_steps.get(n) for n in work.MEMORY_STEPS[:2])
        ratio = many / few if few and many else None
        shown = [by_steps.get(n) for n in steps]
        columns = [None if n is None else n / MEGABYTE for n in shown]
        lines.append([label, *columns, goal(ratio, 1.05, False) if judged and ratio else ratio])
    few, many = work.MEMORY_STEPS[:2]
    head = [f"memory of a likelihood step, MB, D = {work.MEMORY_DIM}", *(f"{n} steps of RK4" for n in steps)]
    return [table([*head, f"{many} / {few}"], lines)]
