"""Half of each MNIST digit restored from the other half, by three families of models.

    python3 benchmarks/inpainting.py [--quick] [--seconds 1200] [--images 100]

Each model is fitted on the training images for `--seconds`, sees the upper half of test images and draws their lower
half. The table has the mean squared error of the mean of the draws and of single draws on the hidden pixels (levels are
divided by their largest), a classifier two-sample test of one draw for each image against the true images (the area
under the ROC curve of boosted trees over the hidden half: 0.5 cannot tell them apart), CPU seconds of the restoration
for each image, and how many answers call themselves trustworthy. Two baselines need no model: the mean of the training
images, and the lower half of the training image whose upper half is nearest. `--quick` takes scikit-learn's digits and
a few seconds. MNIST is read from `PUSHFORWARD_DATA`, by default `../shared/data`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.images import ImageDensity, restore
from pushforward.metrics import c2st

ROOT = Path(__file__).resolve().parent
FAMILIES = ("glow", "flow_matching", "pixelcnn")


def mnist() -> tuple[np.ndarray, np.ndarray, int]:
    """Training images, test images `(n, 1, 28, 28)`, and the number of levels."""
    folder = Path(os.environ.get("PUSHFORWARD_DATA", ROOT.parent.parent / "shared" / "data"))
    with np.load(folder / "mnist" / "mnist.npz", allow_pickle=False) as data:
        return data["x_train"][:, None], data["x_test"][:, None], 256


def digits() -> tuple[np.ndarray, np.ndarray, int]:
    """The same of scikit-learn's digits, `(n, 1, 8, 8)`."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    images = found.images[:, None].astype(np.uint8)
    images = images[np.random.default_rng(0).permutation(len(images))]
    return images[:-360], images[-360:], 17


def measured(name: str, draws: np.ndarray, mean: np.ndarray, truth: np.ndarray, top: int) -> dict[str, Any]:
    """One row of the table, of the hidden pixels.

    Args:
        name: Name of the row.
        draws: One draw for each image, `(n, 1, H, W)`.
        mean: Mean of the draws of each image.
        truth: The true images.
        top: The largest level.
    """
    half = truth.shape[2] // 2
    rows = {key: a[:, 0, half:].reshape(len(a), -1) / top for key, a in (("d", draws), ("m", mean), ("t", truth))}
    test = c2st(rows["t"], rows["d"], seed=0, n_null=5)
    return {
        "model": name,
        "squared error of the mean": float(((rows["m"] - rows["t"]) ** 2).mean()),
        "squared error of a draw": float(((rows["d"] - rows["t"]) ** 2).mean()),
        "c2st": float(test.auc),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="digits of 8 x 8 pixels, and 20 seconds for each model")
    parser.add_argument("--seconds", type=float, default=1200.0, help="time of each fit")
    parser.add_argument("--images", type=int, default=100, help="number of test images")
    parser.add_argument("--draws", type=int, default=16, help="number of draws of each")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    given = parser.parse_args()
    train, test, n_levels = digits() if given.quick else mnist()
    seconds, n = (min(given.seconds, 20.0), min(given.images, 40)) if given.quick else (given.seconds, given.images)
    truth, half = test[:n], test.shape[2] // 2
    flat = train[:, 0, :half].reshape(len(train), -1).astype(float)
    nearest = [int(np.argmin(((flat - image[0, :half].reshape(-1)) ** 2).sum(axis=1))) for image in truth]
    average = np.broadcast_to(train.mean(axis=0), truth.shape)
    table = [
        measured("mean of the training images", average, average, truth, n_levels - 1),
        measured("nearest training image", train[nearest], train[nearest], truth, n_levels - 1),
    ]
    for name in given.families:
        density = ImageDensity(name, max_seconds=seconds, random_state=0).fit(train, n_levels=n_levels)
        began = time.process_time()
        answer = restore(density, truth, mask="top-half", n_draws=given.draws, random_state=0)
        row = measured(name, answer.draws[:, 0], answer.mean, truth, n_levels - 1)
        row |= {
            "method": answer.method,
            "trusted": int(answer.trustworthy.sum()),
            "images": n,
            "seconds of fit": seconds,
        }
        row["cpu seconds an image"] = (time.process_time() - began) / n
        table.append(row)
        print(json.dumps(row), flush=True)
    columns = list(table[-1])
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in table:
        cells = (row.get(column, "") for column in columns)
        print("| " + " | ".join(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")
    if not given.quick:
        (ROOT / "results" / "inpainting.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
