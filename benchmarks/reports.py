"""Reports of every kind of model: size of the page, and what it costs beyond the evaluation and the checks.

    python benchmarks/reports.py [--only table,wide] [--work DIR] [--explorer]

With `--explorer` it is the views of the explorer that are measured: what each costs once its programs are compiled.

Each model is fitted for seconds, for it is the report that is measured, in CPU seconds: other work bends the clock. The
pages are kept in `--work`, to be looked at.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pushforward as pf
from pushforward.report import density_report, make_report

WEATHER = Path(__file__).parent.parent / "examples/data/seattle_weather.csv"
FIT: dict[str, Any] = {"verify": False, "max_seconds": 20, "n_members": 1, "random_state": 0}
DAYS = ["precipitation", "temp_max", "temp_min", "wind", "weather"]


def weather() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weather of Seattle: rows of the fit, and rows to look at, one after another in turn."""
    rows = pd.read_csv(WEATHER)
    return rows[::2].reset_index(drop=True), rows[1::2].reset_index(drop=True)


def table() -> tuple[Any, Any]:
    fitted, new = weather()
    return pf.FlowDensity(**FIT).fit(fitted), new


def gaps() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    both = []
    for rows in weather():
        for name in ("wind", "temp_min", "weather"):
            rows.loc[rng.random(len(rows)) < 0.15, name] = None
        both.append(rows)
    return pf.FlowDensity(missing="model", **FIT).fit(both[0]), both[1]


def conditional() -> tuple[Any, Any]:
    fitted, new = weather()
    return pf.FlowDensity(given=["temp_min", "weather"], **FIT).fit(fitted[DAYS]), new[DAYS]


def detector() -> tuple[Any, Any]:
    fitted, new = weather()
    new = new[DAYS].copy()
    new.loc[new.index[:12], "temp_max"] = new["temp_min"][:12] - 6  # days that cannot be
    density = pf.FlowDensity(**FIT)
    found = pf.FlowOutlierDetector(pf.anomalies.NegativeLogDensity(density), calibration="split", random_state=0)
    return found.fit(fitted[DAYS]), new


def posterior() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, 1, (4000, 2))
    means = np.stack([theta[:, 0], theta[:, 0] * theta[:, 1], theta[:, 1] ** 2], axis=1)
    x = means + 0.1 * rng.normal(size=means.shape)
    made = pf.NPE({"mass": (0, 1), "radius": (0, 1)}, n_members=1, max_seconds=20, random_state=0)
    return made.fit(theta[:3000], x[:3000]), (theta[3000:], x[3000:])


def velocity() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    moons = np.concatenate([rng.normal([0, 0], 0.3, (1500, 2)), rng.normal([2, 1], 0.3, (1500, 2))])
    moons = pd.DataFrame(rng.permutation(moons), columns=["x", "y"])
    return pf.FlowDensity("flow_matching", **{**FIT, "n_members": None}).fit(moons[:2000]), moons[2000:]


def wide() -> tuple[Any, Any]:
    """200 columns, among them levels, counts and a heavy tail."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 200)) * (rng.random((12, 200)) < 0.3)
    x = rng.normal(size=(3000, 12)) @ mix + 0.5 * rng.normal(size=(3000, 200))
    rows = pd.DataFrame(x, columns=[f"c{i:03d}" for i in range(200)])
    rows["c005"], rows["c006"] = np.exp(rows["c005"]), np.round(2 * rows["c006"])
    rows["c010"] = np.select([rows["c010"] > 0.5, rows["c010"] < -0.5], ["high", "low"], "middle")
    return pf.FlowDensity(**FIT).fit(rows[:2000]), rows[2000:]


def images() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    digits = load_digits().images.astype(np.uint8)
    return pf.images.ImageDensity("gaussian", random_state=0).fit(digits[:1200], n_levels=17), digits[1200:]


def twelve() -> tuple[Any, Any]:
    """12 columns: numbers, a count, a share, levels and dates."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 6)) @ rng.normal(size=(6, 9)) * 0.6 + 0.5 * rng.normal(size=(3000, 9))
    rows = pd.DataFrame({f"a{i}": z[:, i] for i in range(6)})
    rows["income"], rows["share"] = np.exp(0.5 * z[:, 6] + 10).round(), 1 / (1 + np.exp(-z[:, 8]))
    rows["count"] = rng.poisson(np.exp(0.3 * z[:, 7]))
    rows["kind"] = np.where(z[:, 0] > 0.5, "high", np.where(z[:, 1] > 0, "middle", "low"))
    rows["flag"] = z[:, 2] + rng.normal(size=3000) > 0
    rows["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta((1000 * rng.beta(2, 3, 3000)).astype(int), unit="D")
    return pf.FlowDensity(**FIT).fit(rows), rows


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    kind.__name__: kind for kind in (table, gaps, conditional, detector, posterior, velocity, images, wide)
}


def measured(kind: str, work: Path) -> str:
    """The row of a kind of model in the table of figures."""
    model, data = KINDS[kind]()
    spent = [0.0]
    view_of = density_report.view_of

    def timed(*arguments: Any) -> Any:
        start = time.process_time()
        found = view_of(*arguments)
        spent[0] += time.process_time() - start
        return found

    density_report.view_of = timed
    start = time.process_time()
    size = make_report(model, data, name=kind).save(work / f"{kind}.html", force=True)
    whole = time.process_time() - start
    density_report.view_of = view_of
    rows = len(data[0]) if isinstance(data, tuple) else len(data)
    return f"| {kind} | {rows:,} | {size / 1e6:.2f} | {spent[0]:.1f} | {whole - spent[0]:.1f} |"


def explored(kind: str) -> str:
    """The row of a kind of model in the table of figures of the explorer: CPU milliseconds of the second call."""
    from pushforward.explore import subject_of

    model, data = (KINDS | {"twelve": twelve})[kind]()
    subject = subject_of(model, data, name=kind)
    row, everything = dict(subject.start), frozenset(control.name for control in subject.controls)
    calls: dict[str, Callable[[], Any]] = {"draws": lambda: subject.draws(row, everything)}
    if subject.targets:
        first, *rest = subject.targets
        some = frozenset(name for name in everything if name not in (first, *rest[1:]))
        calls = {
            "density": lambda: subject.density((first,), row, everything),
            "pair": lambda: subject.density((first, rest[0]), row, everything) if rest else None,
            "released": lambda: subject.density((first,), row, some),
            "score": lambda: subject.score(row),
            "draws": lambda: subject.draws(row, some),
        }
    if "rows" in subject.views:
        calls["brush"] = lambda: subject.brushed((subject.controls[0].name,) * 2, (0.2, 0.8, 0.2, 0.8))
    if "latents" in subject.views:
        calls["latents"] = lambda: subject.moved(row, subject.latents(row).values)
    if "way" in subject.views:
        calls["way"] = lambda: subject.way(row)
    spent = {}
    for name, call in calls.items():
        call()
        start = time.process_time()
        call()
        spent[name] = f"{1e3 * (time.process_time() - start):.0f}"
    return f"| {kind} | " + " | ".join(spent.get(name, "none") for name in VIEWS) + " |"


VIEWS = ("density", "pair", "released", "score", "draws", "brush", "latents", "way")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "pushforward-reports")
    parser.add_argument("--explorer", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", pf.TableWarning)
    if options.explorer:
        print("| model | " + " | ".join(VIEWS) + " |\n|---|" + "---:|" * len(VIEWS))
        for kind in [*options.only.split(","), *(["twelve"] if options.only == ",".join(KINDS) else [])]:
            print(explored(kind), flush=True)
        return
    print("| model | rows | page, MB | evaluate and check, CPU s | the rest of the report, CPU s |")
    print("|---|---:|---:|---:|---:|")
    for kind in options.only.split(","):
        print(measured(kind, options.work), flush=True)


if __name__ == "__main__":
    main()
