"""Every family of image models in one table: bits per dimension of test images against the full-covariance Gaussian.

    python benchmarks/images.py --minutes 10 --out benchmarks/results/images_digits.json
    python benchmarks/images.py --data mnist --minutes 60 --models realnvp glow

Digits are scikit-learn's 1797 images of 8 x 8 pixels with 17 levels: 1437 to fit (a tenth of them held out for early
stopping) and 360 to test, split by the seed. MNIST (`PUSHFORWARD_DATA`, by default ../shared/data) has its own test
images; the subset of CIFAR-10 is split 3600 to 400. The time is that of the training, compilation included, by the
clock, so that nothing else should run meanwhile; CPU seconds stand beside it. On a machine that others use, `--busy`
counts the CPU seconds of the process over the number of cores instead, so that `--minutes 60` on two cores are 7,200
CPU seconds. A continuous model's figure is a bound,
also given with `--draws` draws of the noise; a discrete model's is exact. A model whose density takes a solver is
scored on the first `--solver-images` test images with one draw, and its gain is paired on these: an image of it costs a
second or two of CPU. The error is over test images, with the seed fixed; the gain over the Gaussian is paired by image.
Rows of models that fail say how.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_digits

import pushforward as pf
from pushforward.images import IMAGE_ENTRIES, ImageDensity

DATA = Path(os.environ.get("PUSHFORWARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
BASELINE = "gaussian"


def digits(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    images = load_digits().images.astype(np.uint8)
    images = images[np.random.default_rng(seed).permutation(len(images))]
    return images[:1437], images[1437:], 17


def mnist(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    with np.load(DATA / "mnist" / "mnist.npz", allow_pickle=False) as held:
        return held["x_train"], held["x_test"], 256


def cifar(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    with np.load(DATA / "cifar10_subset" / "cifar10_4000.npz", allow_pickle=False) as held:
        images = held["x"][np.random.default_rng(seed).permutation(4000)]
    return images[:3600], images[3600:], 256


SETS = {"digits": digits, "mnist": mnist, "cifar": cifar}


def scores(density: ImageDensity, test: np.ndarray, n_draws: int) -> np.ndarray:
    """Bits per dimension of each test image."""
    return -density.score_samples(test, n_draws=n_draws, random_state=1) / (test[0].size * math.log(2))


def run(name: str, args: argparse.Namespace, parts: tuple[np.ndarray, np.ndarray, int], base: Any) -> dict[str, Any]:
    train, test, n_levels = parts
    clock, start, cpu = time.perf_counter, time.perf_counter(), time.process_time()
    if args.busy:
        time.perf_counter = lambda: time.process_time() / args.cores
    density = ImageDensity(
        name,
        max_seconds=60 * args.minutes,
        dequantization=args.dequantization if IMAGE_ENTRIES[name].kind == "continuous" else None,
        pixel_map="affine" if name == BASELINE else None,
        flips=args.flips,
        flow_options=None if name == BASELINE else args.options,
        training=args.training,
        random_state=args.seed,
    )
    try:
        density.fit(train, n_levels=n_levels)
    finally:
        time.perf_counter = clock
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    solved = IMAGE_ENTRIES[name].cost[0] == "iterative"
    test = test[: args.solver_images] if solved else test
    bits = scores(density, test, 1)
    exact = not density.model_.needs_key
    many = bits if exact or solved or args.draws == 1 else scores(density, test, args.draws)
    gain = None if base is None else base[: len(bits)] - bits
    verdict = density.result_.verdict
    return {
        "model": name,
        "kind": "exact" if exact else "bound",
        "bits_per_dim": bits.mean(),
        "standard_error": bits.std(ddof=1) / math.sqrt(len(bits)),
        "bits_of_draws": None if solved else many.mean(),
        "images": len(bits),
        "gain_over_gaussian": None if gain is None else gain.mean(),
        "gain_error": None if gain is None else gain.std(ddof=1) / math.sqrt(len(gain)),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "steps": verdict.steps,
        "status": verdict.status,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(pf.trainable(density.model_)[0])),
        "round_trip": density.round_trip_,
        "seed": args.seed,
        "scores": bits.tolist(),
    }


def table(rows: list[dict[str, Any]], draws: int) -> str:
    lines = [
        f"| model | test bits/dim | with {draws} draws | below the Gaussian | kind | seconds (CPU) | steps | numbers |",
        "|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['model']} | {row['error']} | | | | | | |")
            continue
        gain = row["gain_over_gaussian"]
        below = "" if gain is None else f"{gain:.3f} ± {row['gain_error']:.3f}"
        cells = [
            row["model"],
            f"{row['bits_per_dim']:.4f} ± {row['standard_error']:.4f}",
            f"{row['images']} images, 1 draw" if row["bits_of_draws"] is None else f"{row['bits_of_draws']:.4f}",
            below,
            row["kind"],
            f"{row['seconds']:.0f} ({row['cpu_seconds']:.0f})",
            f"{row['steps']:,}",
            f"{row['parameters']:,}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SETS, default="digits")
    parser.add_argument("--minutes", type=float, default=10.0, help="training time of each model")
    parser.add_argument("--models", nargs="*", choices=list(IMAGE_ENTRIES), help="all by default")
    parser.add_argument("--busy", action="store_true", help="the time is CPU seconds over the number of cores")
    parser.add_argument("--options", type=json.loads, default=None, help="options of the models, as JSON")
    parser.add_argument("--training", type=json.loads, default=None, help="options of the training, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--solver-images", type=int, default=48, help="test images of models whose density is solved")
    parser.add_argument("--images", type=int, default=None, help="most test images")
    parser.add_argument("--dequantization", choices=["uniform", "variational"], default=None)
    parser.add_argument("--flips", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    args.cores = len(os.sched_getaffinity(0))
    train, test, n_levels = SETS[args.data](args.seed)
    parts = train, test[: args.images], n_levels
    names = [BASELINE, *[name for name in (args.models or IMAGE_ENTRIES) if name != BASELINE]]
    rows: list[dict[str, Any]] = []
    for name in names:
        base = np.array(rows[0]["scores"]) if rows and "scores" in rows[0] else None
        try:
            rows.append(run(name, args, parts, base))
        except Exception as error:
            rows.append({"model": name, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"})
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "scores"}), flush=True)
    print(f"\n{args.data}, {args.minutes:g} minutes each, seed {args.seed}, {jax.devices()[0].device_kind}\n")
    print(table(rows, args.draws))
    if args.out is not None:
        kept = [{key: value for key, value in row.items() if key != "scores"} for row in rows]
        about = {
            "data": args.data,
            "minutes": args.minutes,
            "draws": args.draws,
            "device": jax.devices()[0].device_kind,
        }
        args.out.write_text(json.dumps({**about, "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
