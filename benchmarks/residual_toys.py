"""i-ResNet and Residual Flow on the 2-D toys: held-out nats on fresh draws against the entropy floor.

    python benchmarks/residual_toys.py --flow residual_flow --toys moons pinwheel --seconds 240

Prints, per toy, the gap to the floor (nats; 0 is perfect), its standard error, the log-determinant's stated error, the
certificate, and the seconds.
"""

from __future__ import annotations

import argparse
import time

import jax
import numpy as np

import pushforward as pf
from pushforward.bijections import certificate
from pushforward.data import TOYS
from pushforward.distributions import log_det_error, with_log_det
from pushforward.numerics.log_det_series import ExactLogDet

N_TRAIN, N_TEST = 40_000, 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", choices=("iresnet", "residual_flow"), default="residual_flow")
    parser.add_argument("--toys", nargs="*", default=list(TOYS))
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=None, help="learning rate")
    parser.add_argument("--exact", action="store_true", help="train with the exact log-determinant: two products here")
    args = parser.parse_args()
    for name in args.toys:
        toy = TOYS[name]
        x, fresh = toy.sample(N_TRAIN, seed=0), toy.sample(N_TEST, seed=1)
        units = pf.Standardize.fit(x)
        make = pf.flows.ZOO[args.flow]
        flow = make(jax.random.key(0), dim=2, n_layers=args.layers, width=args.width, depth=args.depth)
        flow = with_log_det(flow, ExactLogDet()) if args.exact else flow
        start = time.perf_counter()
        result = pf.fit(
            flow,
            x,
            key=jax.random.key(1),
            max_epochs=args.epochs,
            progress=False,
            optimizer=pf.training.Adam(args.rate),
            options=[
                pf.training.Preprocess(units),
                pf.training.Stopping(max_seconds=args.seconds),
                pf.training.Steps(batch_size=args.batch),
            ],
        )
        seconds = time.perf_counter() - start
        nats = np.asarray(result.flow.log_prob(fresh), np.float64)
        gap, error = -toy.entropy - nats.mean(), nats.std() / len(nats) ** 0.5
        bound = certificate(result.flow).lipschitz_bound
        print(
            f"{args.flow:14s} {name:12s} gap {gap:+.4f} +- {error:.4f} nats, "
            f"log-det error {log_det_error(result.flow):g}, Lipschitz <= {bound:.4f}, "
            f"{result.verdict.steps} steps, {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
