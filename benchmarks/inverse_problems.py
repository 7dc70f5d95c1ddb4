"""Every method of `inverse_problems.solve` on problems whose posterior is known.

    .venv/bin/python benchmarks/inverse_problems.py [--quick]

Priors are a normal and a mixture of two normals over 8 numbers, the same as exact fields along the linear path for the
guided methods; operators a mask, a blur, means of pairs, and a random matrix; noise of 0.1 and 0.5. For each the table
has the largest distance of means and of covariances from the exact ones, in standard errors of the answer and (for
means) in standard deviations of the posterior, the error of the log-evidence, evaluations of the prior, and seconds
with compilation. Rows are written as they come, to `benchmarks/results/inverse_problems.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pushforward as pf

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT.parent / "tests" / "inverse_problems"))

from exact_fields import field_flow  # type: ignore[import-not-found]  # noqa: E402

from pushforward.inverse_problems import Blur, Downsample, Mask, Matrix, solve  # noqa: E402
from pushforward.inverse_problems.closed_form import posterior_of  # noqa: E402
from pushforward.inverse_problems.problem import checked  # noqa: E402
from pushforward.paths import LinearPath  # noqa: E402

DIM, N = 8, 2000
METHODS = ("exact", "importance", "map", "hmc", "mala", "tds", "pigdm", "dps")
GUIDED = ("tds", "pigdm", "dps")


def priors() -> dict[str, Any]:
    """The priors by name."""
    distance = np.abs(np.subtract.outer(np.arange(DIM), np.arange(DIM)))
    cov = np.exp(-distance / 3.0)
    wave = np.sin(np.arange(DIM))
    parts = [pf.MultivariateNormal(wave + 0.7, 0.4 * cov), pf.MultivariateNormal(-wave - 0.7, 0.3 * cov)]
    return {"normal": pf.MultivariateNormal(wave, cov), "mixture": pf.Mixture(parts, [0.6, 0.4])}


def operators() -> dict[str, Any]:
    """The operators by name."""
    rng = np.random.default_rng(0)
    return {
        "mask": Mask(np.arange(DIM) % 3 == 0),
        "blur": Blur([0.25, 0.5, 0.25], (DIM,)),
        "pairs": Downsample(2, (DIM,)),
        "matrix": Matrix(rng.normal(size=(3, DIM)) / np.sqrt(DIM)),
    }


def measured(prior_name: str, operator_name: str, sd: float, method: str) -> dict[str, Any]:
    """One row of the table."""
    prior, operator = priors()[prior_name], operators()[operator_name]
    truth = prior.sample(jax.random.key(11))
    y = np.asarray(operator(truth)) + sd * np.random.default_rng(3).normal(size=operator.out_shape)
    with jax.enable_x64(True):
        exact: Any = posterior_of(checked(prior, y, operator, sd).wide())
    mean, cov = exact.normals.mean(), exact.normals.covariance()
    model = field_flow(prior, LinearPath()) if method in GUIDED else prior
    answer = solve(model, y, operator, sd, method=method, key=jax.random.key(1), n_draws=N)
    gaps = answer.draws - mean
    products = gaps[:, :, None] * gaps[:, None, :]
    return {
        "prior": prior_name,
        "operator": operator_name,
        "sd": sd,
        "method": method,
        "mean in s.e.": float(np.max(np.abs(gaps.mean(axis=0)) / answer.standard_error())),
        "covariance in s.e.": float(np.max(np.abs(products.mean(axis=0) - cov) / answer.standard_error(products))),
        "mean in sd": float(np.max(np.abs(gaps.mean(axis=0)) / np.sqrt(np.diag(cov)))),
        "sd ratio": [float(f(answer.sd / np.sqrt(np.diag(cov)))) for f in (np.min, np.max)],
        "evidence": answer.log_evidence - exact.log_evidence,
        "evidence error": answer.log_evidence_error,
        "effective": answer.effective_draws,
        "bias told": None if answer.bias is None else answer.bias._asdict(),
        "trustworthy": answer.trustworthy,
        "evaluations": answer.n_evaluations,
        "seconds": answer.seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one operator and one noise")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    arguments = parser.parse_args()
    out = ROOT / "results" / "inverse_problems.json"
    rows = []
    names = ["matrix"] if arguments.quick else [*operators()]
    print(
        "| prior | operator | noise | method | mean, s.e. | covariance, s.e. | mean, sd | trusted | evaluations | s |"
    )
    print("|---|---|---:|---|---:|---:|---:|---|---:|---:|")
    for method in arguments.methods:
        for prior in priors():
            for operator in names:
                for sd in (0.5,) if arguments.quick else (0.1, 0.5):
                    row = measured(prior, operator, sd, method)
                    rows.append(row)
                    print(
                        f"| {prior} | {operator} | {sd} | {method} | {row['mean in s.e.']:.1f} | "
                        f"{row['covariance in s.e.']:.1f} | {row['mean in sd']:.2f} | "
                        f"{'yes' if row['trustworthy'] else 'no'} | {row['evaluations']:,} | {row['seconds']:.1f} |",
                        flush=True,
                    )
                    out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
