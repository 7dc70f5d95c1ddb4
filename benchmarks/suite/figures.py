"""The figures of the issue, each a function of the workers that returns its rows and its Markdown.

Standard library only.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite import work
from suite.adapters import PEERS
from suite.report import cell, goal, table
from suite.rounds import ROOT, Library, WorkerError, clean_environment, in_turn

OURS = "pushforward"


@dataclass
class Run:
    """What a figure may use."""

    python: Path
    libraries: dict[str, Library]
    quick: bool
    log: Callable[[str], None] = print
    versions: dict[str, Any] = field(default_factory=dict)
    rows: tuple[str, ...] = ()  # rows of the page of speed that are measured anew, such as `maf:784`; none means all

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 9

    @property
    def seconds(self) -> float:
        return 0.1 if self.quick else 0.3

    def ready(self, model: str, dim: int, n_layers: int = work.N_LAYERS) -> tuple[list[Library], dict[str, int]]:
        """The libraries that have the model, built, and their numbers of trainable numbers."""
        able, sizes = [], {}
        for name, library in self.libraries.items():
            try:
                sizes[name] = library.do("build", model=model, dim=dim, n_layers=n_layers, batch=work.BATCH)
                able.append(library)
            except WorkerError as error:
                if "ValueError" not in str(error):
                    raise
                self.log(f"    {error}")
        return able, sizes

    def fresh(self, *arguments: str | int) -> dict[str, Any]:
        """One process of `suite.fresh`."""
        command = [self.python, "-m", "suite.fresh", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise WorkerError(f"{' '.join(map(str, arguments))}: code {done.returncode}; see its output above")
        return json.loads(done.stdout)


def fastest(times: dict[str, dict[str, Any]]) -> tuple[str, float]:
    """The fastest peer and its ms."""
    peers = {name: row["ms"] for name, row in times.items() if name in PEERS or name.startswith("zuko")}
    best = min(peers, key=lambda name: peers[name])
    return best, peers[best]


def spread(times: dict[str, dict[str, Any]], name: str) -> str | None:
    """The median of the rounds in ms, and their range."""
    if name not in times:
        return None
    row = times[name]
    spread = f" ({cell(row['low'])} to {cell(row['high'])})" if len(row["rounds"]) > 1 else ""
    return cell(row["ms"]) + spread


def summary(model: str, dim: int, times: dict[str, dict[str, Any]]) -> str:
    """A line of the log."""
    return f"    {model}, D = {dim}, ms: " + ", ".join(f"{name} {cell(row['ms'])}" for name, row in times.items())


def _steps(run: Run, models: Sequence[str], dims: Sequence[int], peak: bool) -> list[dict[str, Any]]:
    rows = []
    for dim in dims:
        for model in models:
            able, sizes = run.ready(model, dim)
            times = in_turn(able, "step", run.rounds, run.seconds)
            row = {"model": model, "dim": dim, "n_params": sizes, "times": times}
            if peak and OURS in run.libraries:
                ours = run.libraries[OURS]
                row["scanned_ms"] = ours.do("ask", question="fit_step_ms", seconds=2.0 if run.quick else 5.0)
                row["peak_gflops"] = ours.do("ask", question="peak")
            rows.append(row)
            run.log(summary(model, dim, times))
    return rows


def steps(run: Run) -> tuple[dict[str, Any], str]:
    """Training step of every model, and ours against the time of its matrix products at the peak."""
    rows = _steps(run, work.MODELS, work.STEP_DIMS, peak=True)
    peak = max((max(row["peak_gflops"].values()) for row in rows if "peak_gflops" in row), default=None)
    lines, products, sizes = [], [], []
    for row in rows:
        times, label = row["times"], f"{work.TITLES[row['model']]}, D = {row['dim']}"
        sizes.append([label, *(row["n_params"].get(name) for name in run.libraries)])
        ratio = None
        if OURS in times and len(times) > 1:
            name, ms = fastest(times)
            ratio = f"{goal(ms / times[OURS]['ms'], 2.0, True)}, {name}"
        columns = [spread(times, name) for name in run.libraries]
        lines.append([label, *columns, cell(row.get("scanned_ms")), ratio])
        if peak and OURS in times:
            flops = work.matmul_flops(row["model"], row["dim"])
            row["matmul_ms"] = ms = 1e3 * flops / (peak * 1e9)
            single, scanned = times[OURS]["ms"], row["scanned_ms"]
            ratios = [goal(single / ms, 2.5, False), goal(scanned / ms, 2.5, False)]
            products.append([label, flops / 1e6, ms, single, scanned, *ratios])
    text = table(
        ["training step, ms", *run.libraries, "pushforward, within `fit`", "fastest peer / ours"],
        lines,
    )
    if peak:
        head = ["", "MFLOP", "at the peak, ms", "one step, ms", "within `fit`, ms"]
        head += ["step / peak", "within `fit` / peak"]
        text += f"\n\nMatrix products, at the {peak:.0f} GFLOP/s measured in the same run:\n\n" + table(head, products)
    text += "\n\nTrainable numbers of each:\n\n" + table(["", *run.libraries], sizes)
    return {"rows": rows, "peak_gflops": peak}, text


def compiled(run: Run) -> tuple[dict[str, Any], str]:
    """The same step, D = 43, against zuko under `torch.compile`, which none of the torch libraries does by itself."""
    library = Library("zuko_compiled", run.python)
    versus = Run(run.python, {OURS: run.libraries[OURS], library.name: library}, run.quick, run.log)
    models = ("nsf_coupling",) if run.quick else ("maf", "nsf_coupling", "nsf_autoregressive")
    try:
        rows = _steps(versus, models, (43,), peak=False)
    finally:
        library.close()
    lines = []
    for row in rows:
        times = row["times"]
        label = f"{work.TITLES[row['model']]}, D = {row['dim']}"
        ratio = times[library.name]["ms"] / times[OURS]["ms"]
        lines.append([label, spread(times, OURS), spread(times, library.name), ratio])
    return {"rows": rows}, table(["training step, ms", OURS, "zuko, torch.compile", "zuko / ours"], lines)


def sampling(run: Run) -> tuple[dict[str, Any], str]:
    """512 rows; and ours against the density of as many rows."""
    rows, lines = [], []
    for model, dim, long in work.SAMPLING:
        if long and run.quick:
            continue
        able, _ = run.ready(model, dim)
        for library in able:
            library.do("prepare_sampling", n=work.BATCH)
        times = {}
        if long:  # the peers once, without a warm-up, as it would take as long again; all their code is compiled by now
            times = in_turn([x for x in able if x.name != OURS], "sample", 1, 0.0, warm=0)
            able = [x for x in able if x.name == OURS]
        times |= in_turn(able, "sample", run.rounds, run.seconds, warm=1)
        row: dict[str, Any] = {"model": model, "dim": dim, "times": times}
        ratio = own = density = None
        if OURS in times:
            row["density"] = in_turn([run.libraries[OURS]], "density", run.rounds, run.seconds)[OURS]
            density = row["density"]["ms"]
            own = times[OURS]["ms"] / density
            own = goal(own, 5.0, False) if model != "nsf_coupling" else own
            if len(times) > 1:
                name, ms = fastest(times)
                value, bound = ms / times[OURS]["ms"], {43: 10.0, 784: 50.0}[dim]
                ratio = (cell(value) if model == "nsf_coupling" else goal(value, bound, True)) + f", {name}"
        rows.append(row)
        run.log(summary(model, dim, times))
        columns = [spread(times, name) for name in run.libraries]
        lines.append([f"{work.TITLES[model]}, D = {dim}", *columns, ratio, density, own])
    head = ["512 samples, ms", *run.libraries, "fastest peer / ours", "our density, ms", "ours / our density"]
    return {"rows": rows}, table(head, lines)


def first_step(run: Run) -> tuple[dict[str, Any], str]:
    """Making the flow and its first training step, compilation included, in a process that has done nothing before."""
    dim, repeats = 8, 1 if run.quick else 3
    models = ("maf",) if run.quick else ("realnvp", "maf", "nsf_coupling", "nsf_autoregressive")
    names = [name for name in (OURS, "flowjax") if name in run.libraries]
    rows, lines = [], []
    for model in models:
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(repeats):
            for n_layers in work.DEPTHS:
                for name in names:
                    answer = run.fresh("first_step", name, model, n_layers, dim)
                    found.setdefault((name, n_layers), []).append(answer)
        for name in names:
            medians = {
                n: {key: statistics.median(a[key] for a in found[name, n]) for key in ("build", "step", "second")}
                for n in work.DEPTHS
            }
            few, many = (medians[n] for n in work.DEPTHS)
            ratio = many["step"] / few["step"]
            runs = [found[name, n] for n in work.DEPTHS]
            rows.append({"model": model, "library": name, "medians": medians, "all": runs})
            worst = max(few["step"], many["step"])
            marks = [goal(worst, 5.0, False), goal(ratio, 1.2, False)] if name == OURS else [worst, ratio]
            label = f"{work.TITLES[model]}, {name}"
            lines.append([label, few["build"], many["build"], few["step"], many["step"], *marks])
            run.log(f"    {model}, {name}: {few['step']:.2f} s and {many['step']:.2f} s")
    few, many = work.DEPTHS
    head = ["seconds, D = 8", f"making {few} layers", f"making {many}", f"first step, {few}", f"first step, {many}"]
    return {"rows": rows}, table([*head, "the slower", f"{many} / {few}"], lines)


def fit(run: Run) -> tuple[dict[str, Any], str]:
    """A whole fit to the early stop against flowjax's `fit_to_data`, compilation included."""
    seeds = (0,) if run.quick else (0, 1, 2)
    models = ("nsf_coupling",) if run.quick else ("nsf_coupling", "maf")
    rows, lines = [], []
    for model in models:
        for seed in seeds:
            theirs = run.fresh("fit", "flowjax", model, seed)
            columns = ("seconds", "epochs", "held_out", "test")
            line = [f"{work.TITLES[model]}, seed {seed}", *(theirs[column] for column in columns)]
            row: dict[str, Any] = {"model": model, "seed": seed, "flowjax": theirs}
            if OURS in run.libraries:
                ours = row[OURS] = run.fresh("fit", OURS, model, seed)
                pairs = zip(ours["history"]["seconds"], ours["history"]["held_out_nats"], strict=True)
                reached = next((s for s, nats in pairs if nats >= theirs["held_out"]), None)
                row["reached_seconds"] = reached
                share = ours["seconds"] / theirs["seconds"]
                line += [*(ours[column] for column in columns), reached, goal(share, 1 / 3, False)]
            rows.append(row)
            lines.append(line)
            run.log("    " + ", ".join(cell(v) for v in line))
    head = ["", "flowjax, s", "epochs", "held out", "test", "ours, s", "epochs", "held out", "test"]
    head += ["ours at flowjax's held-out nats, s", "ours / flowjax, s"]
    first = rows[0]["flowjax"]
    error = cell(first["test_error"])
    text = f"Data: {first['data']}. Standard error of the test nats: {error}.\n\n" + table(head, lines)
    return {"rows": rows}, text


def literature(run: Run) -> tuple[dict[str, Any], str]:
    """Training step and 512 samples of the other models of the literature, each beside the peers that have it."""
    dim, rows, lines = work.LITERATURE_DIM, [], []
    for model, n_layers in work.LITERATURE:
        able, sizes = run.ready(model, dim, n_layers)
        row: dict[str, Any] = {"model": model, "dim": dim, "n_params": sizes}
        row["times"] = in_turn(able, "step", run.rounds, run.seconds)
        drawing = []
        for library in able:
            try:
                library.do("prepare_sampling", n=work.BATCH)
                library.do("time", what="sample", calls=1)
                drawing.append(library)
            except WorkerError as error:
                run.log(f"    {library.name} cannot sample {model}: {str(error)[:200]}")
        row["sampling"] = in_turn(drawing, "sample", run.rounds, run.seconds)
        rows.append(row)
        run.log(summary(model, dim, row["times"]))
        for what, times in (("training step", row["times"]), ("512 samples", row["sampling"])):
            ratio = None
            if OURS in times and len(times) > 1:
                name, ms = fastest(times)
                ratio = f"{goal(ms / times[OURS]['ms'], 2.0, True)}, {name}"
            columns = [spread(times, name) for name in run.libraries]
            lines.append([f"{work.TITLES[model]}, {what}", *columns, ratio])
    head = [f"ms, D = {dim}, 512 rows", *run.libraries, "fastest peer / ours"]
    sizes = [[work.TITLES[row["model"]], *(row["n_params"].get(name) for name in run.libraries)] for row in rows]
    text = table(head, lines) + "\n\nTrainable numbers of each:\n\n" + table(["", *run.libraries], sizes)
    return {"rows": rows}, text


FIGURES: dict[str, Callable[[Run], tuple[dict[str, Any], str]]] = {
    "steps": steps,
    "compiled": compiled,
    "sampling": sampling,
    "first_step": first_step,
    "fit": fit,
    "literature": literature,
}
