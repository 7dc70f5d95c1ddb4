"""Posteriors of the simulators of sbibm against its reference draws: one default, 10,000 simulations, 10 observations.

    PUSHFORWARD_DATA=../shared/data python benchmarks/sbi.py [TASK ...] [--observations 10] [--draws 10000]

It fits `NPE` to simulations that it draws itself, and reports for each task the C2ST of the draws against the reference
draws (`metrics.c2st_accuracy`, the protocol of sbibm: 0.5 is perfect), its mean and standard error over observations,
and the seconds of the fit and of the draws. The results go to `benchmarks/results/sbi.json`.

Source: Lueckmann, Boelts, Greenberg, Goncalves, Macke, 2021, arXiv 2101.04653 (tasks, reference draws, C2ST).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import pushforward as pf
from pushforward.metrics import c2st_accuracy

RESULTS = Path(__file__).parent / "results" / "sbi.json"
SIMULATIONS = 10_000


def two_moons(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(-np.pi / 2, np.pi / 2, len(theta))
    radius = rng.normal(0.1, 0.01, len(theta))
    total, gap = theta.sum(axis=1), theta[:, 1] - theta[:, 0]
    x = radius * np.cos(angle) + 0.25 - np.abs(total) / np.sqrt(2)
    return np.stack([x, radius * np.sin(angle) + gap / np.sqrt(2)], axis=1)


def slcp(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first, second, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])
    noise = rng.normal(size=(len(theta), 4, 2))
    x = theta[:, None, 0] + first[:, None] * noise[..., 0]
    other = rho[:, None] * noise[..., 0] + np.sqrt(1 - rho**2)[:, None] * noise[..., 1]
    return np.stack([x, theta[:, None, 1] + second[:, None] * other], axis=-1).reshape(len(theta), 8)


def gaussian_linear(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return theta + np.sqrt(0.1) * rng.normal(size=theta.shape)


def design() -> np.ndarray:
    """The stimulus of the generalised linear model at nine lags, behind a column of ones."""
    stimulus = np.random.RandomState(42).randn(100)
    lags = [np.concatenate([np.zeros(lag), stimulus[: 100 - lag]]) for lag in range(9)]
    return np.stack([np.ones(100), *lags], axis=1)


def bernoulli_glm(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    columns = design()
    spikes = rng.uniform(size=(len(theta), 100)) < 1 / (1 + np.exp(-theta @ columns.T))
    return spikes @ columns


def smooth() -> Any:
    """The prior of the filter: second differences are small."""
    step = np.eye(9) - np.diag(np.ones(8), -1)
    factor = step @ step + np.diag(np.sqrt(np.arange(9) / 9))
    precision = np.zeros((10, 10))
    precision[0, 0], precision[1:, 1:] = 0.5, factor.T @ factor
    covariance: Any = np.linalg.inv(precision)
    return stats.multivariate_normal(np.zeros(10), covariance)  # type: ignore[arg-type]


TASKS: dict[str, tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], Callable[[], Any]]] = {
    "two_moons": (two_moons, lambda: [(-1, 1)] * 2),
    "slcp": (slcp, lambda: [(-3, 3)] * 5),
    "gaussian_linear": (gaussian_linear, lambda: [stats.norm(0, np.sqrt(0.1))] * 10),
    "bernoulli_glm": (bernoulli_glm, smooth),
}


def run(task: str, n_observations: int, n_draws: int, seed: int) -> dict[str, Any]:
    simulate, prior = TASKS[task]
    data = np.load(Path(os.environ["PUSHFORWARD_DATA"]) / "sbibm" / f"{task}.npz")
    rng = np.random.default_rng(seed)
    posterior = pf.NPE(prior(), random_state=seed)
    theta = posterior.prior_.sample(SIMULATIONS, rng)
    x = simulate(theta, rng)
    start = time.perf_counter()
    posterior.fit(theta, x)
    seconds = time.perf_counter() - start
    observed, reference = data["observation"][:n_observations], data["reference_samples"][:n_observations]
    start = time.perf_counter()
    draws = posterior.sample(n_draws, x=observed)
    drawing = time.perf_counter() - start
    scores = [c2st_accuracy(ref[:n_draws], own) for ref, own in zip(reference, draws, strict=True)]
    fresh = posterior.prior_.sample(2000, rng)
    nats = posterior.log_prob(fresh, x=simulate(fresh, rng)).mean()
    verdict = posterior.result_.verdict
    return {
        "task": task,
        "c2st": float(np.mean(scores)),
        "standard_error": float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else None,
        "each": scores,
        "fresh_nats": float(nats),
        "fit_seconds": seconds,
        "draw_seconds": drawing,
        "steps": verdict.steps,
        "best_step": verdict.best_step,
        "simulations": SIMULATIONS,
        "draws": n_draws,
        "seed": seed,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--observations", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for task in options.tasks:
        found[task] = run(task, options.observations, options.draws, options.seed)
        print({key: value for key, value in found[task].items() if key != "each"}, flush=True)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
