#!/usr/bin/env python3
"""BSDS300, 63-d: train one of the zoo on natural image patches for a while, and report its test nats.

    python benchmarks/bsds300.py --minutes 60 --flow nsf --layers 10 --width 128

Needs pushforward and the images of `PUSHFORWARD_DATA` (default ../shared/data). Published test nats: full-covariance
Gaussian 96.67, RealNVP(5) 152.97, MAF(5) 155.69, FFJORD 157.40, RQ-NSF (C) 157.54.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from suite import report
from suite.data import bsds300, data_folder, gaussian_nats

import pushforward as pf

GAUSSIAN = (96.44, 0.25)  # what a full-covariance Gaussian gave on this data (its README); the loader's check
CHUNK = 10_000  # test rows scored at once


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of training, compilation included")
    parser.add_argument("--flow", choices=sorted(pf.flows.ZOO), default="nsf")
    parser.add_argument("--autoregressive", action="store_true", help="nsf: autoregressive rather than coupling")
    parser.add_argument("--residual", action="store_true", help="residual conditioners")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--bins", type=int, default=8)
    parser.add_argument("--bound", type=float, default=5.0)
    parser.add_argument("--linear", choices=("reverse", "permutation", "lu"), default="lu")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--clip", type=float, default=5.0)
    parser.add_argument("--whiten", action="store_true", help="full-covariance whitening first, not a scale per pixel")
    parser.add_argument("--train", type=int, default=1_000_000, help="training patches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="bsds300", help="results/<name>.json")
    parser.add_argument("--paste", action="store_true", help="paste the result into README.md")
    return parser.parse_args()


def make_flow(asked: argparse.Namespace, dim: int) -> pf.Flow:
    options: dict[str, Any] = {
        "n_layers": asked.layers,
        "width": asked.width,
        "depth": asked.depth,
        "linear": asked.linear,
        "residual": asked.residual,
    }
    if asked.flow == "nsf":
        options |= {"bins": asked.bins, "bound": asked.bound, "autoregressive": asked.autoregressive}
    return pf.flows.ZOO[asked.flow](jax.random.key(asked.seed), dim=dim, **options)


class Preparation:
    """An affine map of the patches to rows of mean 0 and spread 1, and what it takes from the log-density.

    Per pixel, or by the root of the covariance. Done here in float64, so that both are treated alike.
    """

    def __init__(self, train: np.ndarray, whiten: bool):
        rows = train.astype(np.float64)
        self.loc = rows.mean(axis=0)
        covariance = np.cov(rows.T, bias=True)
        root = np.linalg.cholesky(covariance) if whiten else np.diag(np.sqrt(np.diag(covariance)))
        self.inverse_root = np.linalg.inv(root).T
        self.log_det = -float(np.log(np.diag(root)).sum())

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return ((rows - self.loc) @ self.inverse_root).astype(np.float32)


def main() -> None:
    asked = arguments()
    start = time.perf_counter()
    try:
        parts = bsds300(n_train=asked.train, seed=0)
    except FileNotFoundError as error:
        raise SystemExit(f"bsds300: {error.filename} is missing; set PUSHFORWARD_DATA (now {data_folder()})") from None
    train, validation, test = parts
    gaussian, spread = gaussian_nats(train, test)
    print(f"patches {[len(p) for p in parts]} in {time.perf_counter() - start:.0f} s", flush=True)
    print(f"full-covariance Gaussian {gaussian:.2f} +- {2 * spread:.2f} test nats; expected {GAUSSIAN}")
    if abs(gaussian - GAUSSIAN[0]) > 3 * GAUSSIAN[1]:
        raise SystemExit("bsds300: the Gaussian is off, so the patches are not those of the published benchmark")

    prepare = Preparation(train, asked.whiten)
    flow = make_flow(asked, train.shape[1])
    n_params = sum(leaf.size for leaf in jax.tree.leaves(pf.trainable(flow)[0]))
    print(f"{vars(asked)}\n{n_params:,} trainable numbers, {jax.devices()[0].device_kind}", flush=True)
    fit_start, told = time.perf_counter(), [0.0]

    def tell(row: dict[str, float]) -> None:
        if row["seconds"] - told[0] > 60 * asked.minutes / 30:
            told[0] = row["seconds"]
            nats = row["held_out_nats"] + prepare.log_det
            print(f"  {row['seconds']:6.0f} s, step {row['step']:7.0f}, validation nats {nats:.3f}", flush=True)

    result = pf.fit(
        flow,
        prepare(train),
        key=jax.random.key(asked.seed),
        validation=prepare(validation),
        max_epochs=10_000,
        progress=False,
        optimizer=pf.training.Adam(asked.lr, clip_norm=asked.clip),
        options=[
            pf.training.Stopping(max_seconds=60 * asked.minutes, patience=10_000),
            pf.training.Steps(batch_size=asked.batch, ema=asked.ema),
            pf.training.Reporting(callback=tell),
        ],
    )
    print(f"{result.verdict.text} ({time.perf_counter() - fit_start:.0f} s)", flush=True)
    rows = prepare(test)
    nats = np.concatenate([np.asarray(result.flow.log_prob(rows[i : i + CHUNK])) for i in range(0, len(rows), CHUNK)])
    nats = nats.astype(np.float64) + prepare.log_det
    mean, error = float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))
    print(f"test nats {mean:.3f}, standard error {error:.3f} ({len(nats):,} patches)")
    machine = report.machine() | {"device": jax.devices()[0].device_kind}
    figure = {
        "machine": machine,
        "settings": vars(asked),
        "n_params": n_params,
        "gaussian": gaussian,
        "test_nats": mean,
        "standard_error": error,
        "verdict": result.verdict.text,
        "steps": int(result.verdict.steps),
        "seconds": float(result.verdict.seconds),
        "history": {name: np.asarray(result.history[name]).tolist() for name in ("step", "seconds", "held_out_nats")},
    }
    report.save(asked.name, figure)
    if asked.paste:
        settings = ", ".join(f"{name} {value}" for name, value in vars(asked).items() if name not in ("name", "paste"))
        head = ["BSDS300", "test nats", "standard error", "steps", "seconds", "trainable numbers"]
        lines = [
            ["full-covariance Gaussian, this loader", f"{gaussian:.2f}", f"{spread:.2f}", None, None, None],
            [asked.flow, f"{mean:.2f}", f"{error:.2f}", figure["steps"], round(figure["seconds"]), n_params],
        ]
        note = f"Settings: {settings}. Measured {machine['date']} on {machine['cpu']} ({machine['device']})."
        report.paste("bsds300", f"{report.table(head, lines)}\n\n{note}")


if __name__ == "__main__":
    main()
