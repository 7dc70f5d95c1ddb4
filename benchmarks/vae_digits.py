"""VAEs on scikit-learn's digits: posteriors of flows against the diagonal Gaussian, by test log-likelihood.

    python benchmarks/vae_digits.py --seeds 3 --out benchmarks/results/vae_digits.json

The 1797 images of 8 x 8 pixels are binarised at half of their range. A seed chooses the split (1200 train, 200 held out
for early stopping, 397 test), the weights and the noise, so that all posteriors of a seed see the same rows. Encoder,
decoder, latent, optimiser and schedule are the same for all. The test log-likelihood is that of 1000 importance draws
per image. The error of a posterior's mean is over seeds; that of a difference is paired by seed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_digits

import pushforward as pf

LATENT, CODE, WIDTH = 4, 64, 128
N_TRAIN, N_HELD_OUT = 1200, 200


def bijection(name: str, key: Any) -> Any:
    """The map of a flow posterior, after the diagonal Gaussian; every flow is amortised by the code."""
    given: dict[str, Any] = {"dim": LATENT, "condition_dim": CODE}
    make = {
        "planar": lambda: pf.flows.planar(key, n_layers=8, fast="sample", **given),
        "sylvester": lambda: pf.flows.sylvester(key, n_layers=4, fast="sample", **given),
        "iaf": lambda: pf.flows.iaf(key, n_layers=4, width=64, **given),
        "spline": lambda: pf.flows.nsf(key, n_layers=4, width=64, autoregressive=False, **given),
    }
    return make[name]().bijection


def build(name: str, key: Any) -> pf.distributions.VAE:
    keys = jax.random.split(key, 4)
    prior = pf.StandardNormal((LATENT,))
    encoder = pf.MLP(keys[0], 64, (CODE,), width=WIDTH)
    posterior: Any = pf.ConditionalNormal(pf.MLP(keys[1], CODE, (2 * LATENT,), width=WIDTH), (LATENT,), (CODE,))
    if name != "gaussian":
        posterior = pf.Flow(posterior, bijection(name, keys[2]))
    decoder = pf.distributions.ConditionalBernoulli(pf.MLP(keys[3], LATENT, (64,), width=WIDTH), (64,), (LATENT,))
    return pf.distributions.VAE(prior, encoder, posterior, decoder)


def digits(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = (load_digits(return_X_y=True)[0] > 7.5).astype(np.float32)
    x = x[np.random.default_rng(seed).permutation(len(x))]
    return x[:N_TRAIN], x[N_TRAIN : N_TRAIN + N_HELD_OUT], x[N_TRAIN + N_HELD_OUT :]


def run(name: str, seed: int, epochs: int, objective: Any) -> dict[str, Any]:
    train, held_out, test = digits(seed)
    keys = jax.random.split(jax.random.key(seed), 3)
    start = time.perf_counter()
    vae = build(name, keys[0])
    result = pf.fit(
        vae,
        train,
        key=keys[1],
        validation=held_out,
        objective=objective,
        optimizer=pf.training.Adam(2e-3),
        max_epochs=epochs,
        progress=False,
        options=pf.training.Steps(batch_size=100),
    )
    seconds = time.perf_counter() - start
    nats = np.asarray(result.flow.with_draws(1000).log_prob(test, key=keys[2]), np.float64)
    bound = np.asarray(result.flow.with_draws(1).log_prob(test, key=keys[2]), np.float64)
    found = {
        "posterior": name,
        "seed": seed,
        "test_nats": float(nats.mean()),
        "standard_error_of_rows": float(nats.std(ddof=1) / math.sqrt(len(nats))),
        "test_elbo": float(bound.mean()),
        "steps": result.verdict.steps,
        "best_step": result.verdict.best_step,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(found), flush=True)
    return found


def summary(runs: list[dict[str, Any]]) -> list[str]:
    """A line for each posterior: mean over seeds with its error, and the paired difference to the Gaussian."""
    by = {name: {r["seed"]: r for r in runs if r["posterior"] == name} for name in {r["posterior"] for r in runs}}
    lines = ["| posterior | test nats | gain over the Gaussian | test ELBO | seconds |", "|---|---|---|---|---|"]
    for name, own in sorted(by.items(), key=lambda item: -np.mean([r["test_nats"] for r in item[1].values()])):
        nats = [r["test_nats"] for r in own.values()]
        gains = [own[s]["test_nats"] - by["gaussian"][s]["test_nats"] for s in own if s in by.get("gaussian", {})]
        elbo, seconds = (np.mean([r[what] for r in own.values()]) for what in ("test_elbo", "seconds"))
        lines.append(f"| {name} | {_pm(nats)} | {_pm(gains)} | {elbo:.2f} | {seconds:.0f} |")
    return lines


def _pm(values: list[float]) -> str:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.2f} +- {error:.2f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--posteriors", default="gaussian,planar,sylvester,iaf,spline")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    objective = pf.objectives.ELBO(warm_up=600)
    runs = [
        run(name, seed, args.epochs, objective) for seed in range(args.seeds) for name in args.posteriors.split(",")
    ]
    print("\n".join(summary(runs)))
    if args.out is not None:
        args.out.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
