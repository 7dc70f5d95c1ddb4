"""Masked, convolutional and recurrent models of binarised MNIST: test log-likelihood in nats.

    python benchmarks/pixels.py --models made made_orders pixelcnn row_lstm diagonal_bilstm --minutes 20 \
        --out benchmarks/results/pixels.json
    python benchmarks/pixels.py --quick

The images are binarised once: by default each pixel is drawn with its grey value as probability, by a fixed seed, as in
the set of Salakhutdinov and Murray that the papers use (their draws are others); `--binarise threshold` sets it where
the grey value is above one half, which is an easier task. 50,000 images train, 10,000 are held out for early stopping,
and the 10,000 test images are scored once. Published for the papers' draws: MADE 88.40 to 89.59 with one order (8,000
units), Diagonal BiLSTM 79.20, Row LSTM 80.54 (PixelRNN, 7 layers). Data: PUSHFORWARD_DATA, by default ../shared/data.
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

import pushforward as pf

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (1, 28, 28)
# Model, its options, learning rate, and images per step.
MODELS: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "made": ("made", {"width": 4000, "depth": 1}, 1e-3, 100),
    "made_orders": ("made", {"width": 4000, "depth": 1, "n_orders": 8}, 1e-3, 100),
    "pixelcnn": ("pixelcnn", {"width": 32, "depth": 7}, 2e-3, 64),
    "pixelcnnpp": ("pixelcnnpp", {"width": 24, "depth": 6, "law": "categorical"}, 2e-3, 64),
    "row_lstm": ("row_lstm", {"width": 32, "depth": 3}, 4e-3, 64),
    "diagonal_bilstm": ("diagonal_bilstm", {"width": 24, "depth": 2}, 4e-3, 64),
}


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """Training and test images `(n, 1, 28, 28)` in uint8."""
    folder = Path(os.environ.get("PUSHFORWARD_DATA", ROOT / ".." / "shared" / "data"))
    path = folder / "mnist" / "mnist.npz"
    if not path.exists():
        raise SystemExit(f"{path} is not there. Set PUSHFORWARD_DATA to the folder of the data.")
    with np.load(path, allow_pickle=False) as file:
        train, test = (file[name].reshape(-1, *SHAPE) for name in ("x_train", "x_test"))
    return train, test


def binarised(images: np.ndarray, how: str, seed: int) -> np.ndarray:
    if how == "threshold":
        return (images > 127).astype(np.float32)
    uniform = np.random.default_rng(seed).random(images.shape, dtype=np.float32)
    return (uniform * 255 < images).astype(np.float32)


def nats(model: Any, images: np.ndarray, batch: int) -> np.ndarray:
    """Minus the log-mass of each image, in single precision, some images at a time."""
    parts = []
    for start in range(0, len(images), batch):
        rows = images[start : start + batch]
        filled = np.concatenate([rows, np.repeat(rows[:1], batch - len(rows), axis=0)])
        parts.append(-np.asarray(model.log_prob(filled), np.float64)[: len(rows)])
    return np.concatenate(parts)


def run(name: str, data: tuple[np.ndarray, ...], minutes: float, seed: int) -> dict[str, Any]:
    train, held_out, test = data
    entry, options, rate, batch = MODELS[name]
    keys = jax.random.split(jax.random.key(seed), 3)
    blank = getattr(pf.images, entry)(keys[0], shape=SHAPE, n_levels=2, **options)
    clock, cpu = time.perf_counter(), time.process_time()
    result = pf.fit(
        blank,
        train,
        key=keys[1],
        validation=held_out,
        optimizer=pf.training.Adam(rate, weight_decay=0.0),
        max_epochs=100,
        progress="auto",
        options=[pf.training.Steps(batch_size=batch), pf.training.Stopping(max_seconds=60 * minutes)],
    )
    fit_clock, fit_cpu = time.perf_counter() - clock, time.process_time() - cpu
    each = nats(result.flow, test, 200)
    clock, cpu = time.perf_counter(), time.process_time()
    drawn = np.asarray(result.flow.sample(keys[2], 100))
    found = {
        "model": name,
        "options": options,
        "seed": seed,
        "test_nats": float(each.mean()),
        "standard_error": float(each.std(ddof=1) / math.sqrt(len(each))),
        "n_test": len(test),
        "steps": result.verdict.steps,
        "status": result.verdict.status,
        "fit_seconds": fit_clock,
        "fit_cpu_seconds": fit_cpu,
        "sample_100_seconds_with_compilation": time.perf_counter() - clock,
        "mean_ink_of_samples": float(drawn.mean()),
        "mean_ink_of_test": float(test.mean()),
    }
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--minutes", type=float, default=20.0, help="wall time of the fit of each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--binarise", choices=("sampled", "threshold"), default="sampled")
    parser.add_argument("--quick", action="store_true", help="1,000 images and six seconds for each model")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    train, test = (binarised(x, given.binarise, seed) for seed, x in enumerate(mnist()))
    shuffled = train[np.random.default_rng(0).permutation(len(train))]
    data = (shuffled[:50_000], shuffled[50_000:], test)
    if given.quick:
        data = (shuffled[:1000], shuffled[50_000:50_200], test[:200])
    minutes = 0.1 if given.quick else given.minutes
    rows = [run(name, data, minutes, given.seed) for name in given.models]
    print("\n| model | test nats | standard error | steps | fit, CPU s | fit, s |\n|---|---|---|---|---|---|")
    for row in rows:
        found = [f"{row['test_nats']:.2f}", f"{row['standard_error']:.2f}", f"{row['steps']}"]
        found += [f"{row['fit_cpu_seconds']:.0f}", f"{row['fit_seconds']:.0f}"]
        print(f"| {row['model']} | {' | '.join(found)} |")
    if given.out:
        content = {"binarise": given.binarise, "minutes": minutes, "quick": given.quick, "rows": rows}
        given.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
