"""Samples of default models as synthetic tables: Shape, Trend, detection, copies, learning.

    python benchmarks/synthetic.py [--only adult,abalone] [--tables 20] [--seed 0]

The protocol of published tables of generators: a tenth of the rows (of adult: its test file) is held out, one default
model is fitted to the others, and as many rows as it was fitted to are drawn for each sampled table, which is held
against the rows of the fit. Figures are means over the sampled tables, with their standard deviation; in brackets
stands what chance gives for two samples of one source.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from mixed import DATA, TABLES

import pushforward as pf

HERE = Path(__file__).resolve().parent
TARGETS = {
    "weather": "weather",
    "abalone": "rings",
    "wine_red": "quality",
    "wine_white": "quality",
    "california": "value",
    "adult": "income",
}


def parts(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the fit and the rows held out."""
    train, test = TABLES[name]()
    if test is not None:
        return train, test
    order = np.random.default_rng(seed).permutation(len(train))
    n = len(train) // 10
    return train.iloc[order[n:]].reset_index(drop=True), train.iloc[order[:n]].reset_index(drop=True)


def figures(found: pf.Comparison) -> dict[str, float]:
    likeness = found.likeness
    return {
        "shape_error": likeness.shape.error,
        "shape_chance": likeness.shape.chance,
        "trend_error": likeness.trend.error,
        "trend_chance": likeness.trend.chance,
        "logistic_detection": likeness.detection["logistic"].score,
        "boosting_detection": likeness.detection["boosting"].score,
        "nearer_to_training": found.copies.closer,
        "nearer_expected": found.copies.closer_expected,
        "copies": found.copies.copies,
        "copies_held_out": found.copies.copies_held_out,
        "memorised": float(found.copied),
    }


def run(name: str, seed: int, tables: int) -> dict:
    train, test = parts(name, seed)
    start = time.perf_counter()
    density = pf.FlowDensity(missing="model", verify=False, random_state=seed).fit(train)
    fitted = time.perf_counter() - start
    found, drawing = [], 0.0
    for number in range(tables):
        start = time.perf_counter()
        samples = density.sample(len(train), random_state=1000 * seed + number + 1)
        drawing += time.perf_counter() - start
        # What samples teach is judged once: it takes four fits of trees.
        target = TARGETS[name] if number == 0 else None
        found.append(pf.compare(train, samples, test, target=target, random_state=number))
    each = [figures(one) for one in found]
    means = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    spread = {key: float(np.std([one[key] for one in each], ddof=1)) if tables > 1 else None for key in each[0]}
    first = found[0]
    return {
        "table": name,
        "rows": len(train),
        "held_out": len(test),
        "tables": tables,
        "fit_seconds": round(fitted, 1),
        "draw_seconds": round(drawing / tables, 1),
        "mean": means,
        "sd": spread,
        "learning": first.to_json()["usefulness"]["figures"],
        "worst_columns": {n: round(first.likeness.shape.errors[n], 4) for n in first.likeness.shape.worst[:3]},
        "worst_pairs": {
            " x ".join(names): round(first.likeness.trend.errors[names], 4) for names in first.likeness.trend.worst[:3]
        },
        "verdict": first.verdict,
    }


def markdown(results: dict) -> str:
    """The table of benchmarks/README.md."""
    head = ["table", "rows, held out", "Shape error (chance)", "Trend error (chance)", "logistic", "boosting"]
    head += ["nearer to the fit (expected)", "memorised", "learning: samples, data", "fit, draw"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, r in results.items():
        mean, sd = r["mean"], r["sd"]

        def of(key: str, form: str, mean: dict = mean, sd: dict = sd) -> str:
            return f"{mean[key]:{form}}" + ("" if sd[key] is None else f" ± {sd[key]:{form}}")

        figure, learned = next(iter(r["learning"].items()))
        cells = [name, f"{r['rows']}, {r['held_out']}"]
        cells += [f"{of('shape_error', '.2%')} ({mean['shape_chance']:.2%})"]
        cells += [f"{of('trend_error', '.2%')} ({mean['trend_chance']:.2%})"]
        cells += [of("logistic_detection", ".3f"), of("boosting_detection", ".3f")]
        cells += [f"{mean['nearer_to_training']:.1%} ({mean['nearer_expected']:.1%})"]
        cells += [f"{mean['memorised'] * r['tables']:.0f} of {r['tables']}"]
        cells += [f"{figure} {learned['synthetic']:.3f}, {learned['real']:.3f}"]
        cells += [f"{r['fit_seconds']:.0f} s, {r['draw_seconds']:.0f} s"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results/synthetic.json")
    options = parser.parse_args()
    if not DATA.exists() and options.only != "weather":
        parser.error(f"{DATA} is missing: set PUSHFORWARD_DATA, or run --only weather.")
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only.split(","):
        results[f"{name}, seed {options.seed}"] = result = run(name, options.seed, options.tables)
        print(json.dumps(result, indent=1), flush=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
