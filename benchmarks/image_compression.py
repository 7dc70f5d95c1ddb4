"""Lossless compression of MNIST's test images: the file against the model's bits, against PNG and against zstd.

    python benchmarks/image_compression.py --minutes 20 --out benchmarks/results/image_compression.json
    python benchmarks/image_compression.py --quick

The model is trained on 59,000 of the training images with all 256 levels (1,000 are held out), and codes the test
images, which it has not seen; `--images N` codes the first N. PNG is one picture of all images, one below the other,
with Pillow's slowest setting; zstd has its level 19 on the raw bytes. The size of the weights, which both ends need, is
not counted, and is printed. Data: PUSHFORWARD_DATA, by default ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pixels import SHAPE, mnist, nats

import pushforward as pf
from pushforward.images.compression.sizes import png_size, zstd_size

# Model, its options, learning rate, and images per step.
MODELS: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "made": ("made", {"width": 1000, "depth": 2}, 1e-3, 100),
    "pixelcnn": ("pixelcnn", {"width": 32, "depth": 6}, 2e-3, 64),
    "pixelcnnpp": ("pixelcnnpp", {"width": 24, "depth": 5}, 2e-3, 64),
    "row_lstm": ("row_lstm", {"width": 32, "depth": 3, "law": "logistic"}, 4e-3, 64),
}


def timed(run: Any) -> tuple[Any, float, float]:
    clock, cpu = time.perf_counter(), time.process_time()
    found = run()
    return found, time.perf_counter() - clock, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="pixelcnnpp")
    parser.add_argument("--minutes", type=float, default=20.0, help="wall time of the fit")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1,000 training images, six seconds, 100 test images")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    train, test = mnist()
    train = train[np.random.default_rng(0).permutation(len(train))].astype(np.float32)
    n_train, minutes = (1000, 0.1) if given.quick else (59_000, given.minutes)
    test = test[: 100 if given.quick else given.images]
    entry, options, rate, batch = MODELS[given.model]
    keys = jax.random.split(jax.random.key(given.seed), 2)
    blank = getattr(pf.images, entry)(keys[0], shape=SHAPE, **options)

    def fit() -> Any:
        return pf.fit(
            blank,
            train[:n_train],
            key=keys[1],
            validation=train[59_000:] if not given.quick else train[59_000:59_200],
            optimizer=pf.training.Adam(rate, weight_decay=0.0),
            max_epochs=100,
            options=[pf.training.Steps(batch_size=batch), pf.training.Stopping(max_seconds=60 * minutes)],
        )

    result, fit_clock, fit_cpu = timed(fit)
    model = result.flow
    bits = float(nats(model, test.astype(np.float32), 100).sum()) / math.log(2)
    data, pack_clock, pack_cpu = timed(lambda: pf.images.compress(model, test))
    again, unpack_clock, unpack_cpu = timed(lambda: pf.images.decompress(model, data))
    png, zstd = png_size(test, 256), zstd_size(test, 256)
    found = {
        "model": given.model,
        "options": options,
        "seed": given.seed,
        "quick": given.quick,
        "images": len(test),
        "exact": bool(np.array_equal(again, test)),
        "file_bytes": len(data),
        "model_bits_in_bytes": bits / 8,
        "file_over_model": 8 * len(data) / bits,
        "bits_per_dim_of_file": 8 * len(data) / test.size,
        "png_bytes": png,
        "zstd_bytes": zstd,
        "raw_bytes": test.nbytes,
        "weights_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(pf.trainable(model)[0])),
        "fit_seconds": fit_clock,
        "fit_cpu_seconds": fit_cpu,
        "compress_seconds": pack_clock,
        "compress_cpu_seconds": pack_cpu,
        "decompress_seconds": unpack_clock,
        "decompress_cpu_seconds": unpack_cpu,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found, indent=1))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
