"""Flows of velocity fields on the 2-D toys: held-out nats on fresh draws against the entropy floor.

    python benchmarks/continuous_toys.py --flow flow_matching --toys moons rings --seconds 240

Prints, per toy, the gap to the floor (nats; 0 is perfect), its standard error, the steps and the seconds;
writes them to benchmarks/results/continuous_toys.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.data import TOYS
from pushforward.objectives import DenoisingScoreMatching, FlowMatching, ImportanceTimes, LogitNormalTimes
from pushforward.objectives.field_view import field_of
from pushforward.paths import OptimalTransport

N_TRAIN, N_TEST = 200_000, 5_000
POLISH_RATE = 1e-3  # of Adam, where a regression has come before
NAMES = ("8gaussians", "moons", "checkerboard", "rings", "circles", "swissroll")
RESULTS = Path(__file__).parent / "results" / "continuous_toys.json"


def objective_of(word: str | None, flow: pf.Flow) -> Any:
    """An objective by its word; None is the flow's own."""
    if word == "importance":
        return DenoisingScoreMatching(times=ImportanceTimes(field_of(flow).path))  # type: ignore[union-attr]
    known = {
        "likelihood": pf.MaximumLikelihood(),
        "ot": FlowMatching(pairing=OptimalTransport()),
        "logit": FlowMatching(times=LogitNormalTimes(1.0, 1.5)),
    }
    return None if word is None else known[word]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("cnf", "ffjord", "flow_matching", "rectified_flow", "score_sde", "ncsn")
    parser.add_argument("--flow", choices=kinds, default="flow_matching")
    parser.add_argument("--toys", nargs="*", default=list(NAMES))
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=None, help="learning rate")
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--objective", choices=("likelihood", "ot", "logit", "importance"))
    parser.add_argument("--option", nargs="*", default=[], metavar="NAME=VALUE", help="of the flow, in Python's words")
    parser.add_argument("--polish", type=float, default=0.0, metavar="SECONDS", help="then by maximum likelihood")
    parser.add_argument("--look", action="store_true", help="writes nothing")
    args = parser.parse_args()
    options = {name: json.loads(value) for name, value in (option.split("=") for option in args.option)}
    for name in args.toys:
        toy = TOYS[name]
        x, fresh = toy.sample(N_TRAIN, seed=0), toy.sample(N_TEST, seed=1)
        flow = pf.flows.ZOO[args.flow](jax.random.key(0), dim=2, **options)
        start = time.perf_counter()
        result = pf.fit(
            flow,
            x,
            key=jax.random.key(1),
            objective=objective_of(args.objective, flow),
            max_epochs=args.epochs,
            progress=False,
            optimizer=pf.training.Adam(args.rate),
            options=[
                pf.training.Preprocess(pf.Standardize.fit(x)),
                pf.training.Stopping(max_seconds=args.seconds, patience=args.epochs),
                pf.training.Steps(batch_size=args.batch, ema=args.ema),
            ],
        )
        steps = result.verdict.steps
        if args.polish:
            result = pf.fit(
                result.flow,
                x,
                key=jax.random.key(2),
                objective=pf.MaximumLikelihood(),
                max_epochs=args.epochs,
                progress=False,
                optimizer=pf.training.Adam(POLISH_RATE),
                options=[pf.training.Stopping(max_seconds=args.polish), pf.training.Steps(batch_size=args.batch)],
            )
        seconds = time.perf_counter() - start
        nats = np.asarray(result.flow.log_prob(fresh), np.float64)
        row = {
            "gap": -toy.entropy - nats.mean(),
            "error": nats.std() / len(nats) ** 0.5,
            "steps": steps,
            "polish_steps": result.verdict.steps if args.polish else 0,
            "seconds": round(seconds),
            "options": {k: v for k, v in vars(args).items() if k not in ("toys", "look", "flow")},
        }
        print(
            f"{args.flow:14s} {name:12s} gap {row['gap']:+.4f} +- {row['error']:.4f} nats, "
            f"{row['steps']} + {row['polish_steps']} steps, {seconds:.0f} s",
            flush=True,
        )
        if not args.look:
            known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            known.setdefault(args.flow, {})[name] = row
            RESULTS.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
