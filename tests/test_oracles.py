"""Fits to distributions whose density is known: held-out nats within 0.05 of the floor, and never beyond it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from marks import split
from pushforward.data import TOYS, Banana, Funnel, Gaussian, GaussianMixture, MultivariateT
from pushforward.data.oracles import random_covariance

GAP = 0.05  # nats
N_TEST = 20_000
BOX = pf.bijections.Standardize([0.0, 0.0], [0.8, 0.8])  # from the spline's [-5, 5] to the checkerboard's [-4, 4]


@dataclass(frozen=True)
class Task:
    """An oracle, the flow that suits it, and how to train it."""

    oracle: Any
    flow: Callable[[jax.Array], pf.Flow]
    n: int = 20_000
    preprocess: Any = None
    options: dict[str, Any] = field(default_factory=dict)


def gaussian() -> Gaussian:
    return Gaussian(np.array([1.0, -2.0, 30.0]), random_covariance(3))


def mixture() -> GaussianMixture:
    means = np.array([[-3.0, 0.0], [2.0, 2.0], [2.0, -3.0]])
    covariances = np.stack([random_covariance(2, seed) for seed in range(3)])
    return GaussianMixture(np.array([0.5, 0.3, 0.2]), means, covariances)


def heavy() -> MultivariateT:
    return MultivariateT(3.0, np.array([0.0, 5.0]), random_covariance(2))


TASKS: dict[str, Callable[[], Task]] = {
    "gaussian": lambda: Task(
        gaussian(), lambda key: pf.flows.maf(key, dim=3, n_layers=2, width=16, depth=1), options={"max_epochs": 15}
    ),
    "mixture": lambda: Task(
        mixture(),
        lambda key: pf.flows.nsf(key, dim=2, n_layers=3, autoregressive=True, width=32),
        options={"max_epochs": 30},
    ),
    "banana": lambda: Task(
        Banana(), lambda key: pf.flows.maf(key, dim=2, n_layers=3, width=32), options={"max_epochs": 25}
    ),
    # One layer, in the order of the funnel: the width of the second column spans e^-9 to e^9.
    "funnel": lambda: Task(
        Funnel(),
        lambda key: pf.flows.maf(key, dim=2, n_layers=1, width=64, linear=None, max_log_scale=50.0),
        preprocess=pf.bijections.Standardize([0.0, 0.0], [3.0, 1.0]),
        options={"max_epochs": 40, "optimizer": pf.training.Adam(5e-3)},
    ),
    # A normal base cannot have its tails.
    "student-t": lambda: Task(
        heavy(),
        lambda key: pf.flows.maf(
            key, dim=2, n_layers=1, width=32, linear=None, base=pf.StudentT(5.0, shape=(2,)), activation="silu"
        ),
        options={"max_epochs": 25},
    ),
    "8gaussians": lambda: Task(
        TOYS["8gaussians"],
        lambda key: pf.flows.nsf(key, dim=2, n_layers=2, autoregressive=True, width=64, bins=12),
        options={"max_epochs": 40},
    ),
    # Sharp edges: a base that has them, and knots that can move to the others.
    "checkerboard": lambda: Task(
        TOYS["checkerboard"],
        lambda key: pf.flows.nsf(
            key, dim=2, n_layers=1, autoregressive=True, linear=None, width=128, bins=16,
            base=pf.UniformBox([-5.0, -5.0], [5.0, 5.0]),
        ),
        n=40_000,
        preprocess=BOX,
        options={"max_epochs": 30, "optimizer": pf.training.Adam(5e-3)},
    ),
}  # fmt: skip


@pytest.mark.float32
@pytest.mark.parametrize("name", split(TASKS, lambda name: name == "gaussian"))
def test_fit_reaches_the_floor(name: str) -> None:
    task = TASKS[name]()
    rows, fresh = task.oracle.sample(task.n, seed=1), task.oracle.sample(N_TEST, seed=2)
    preprocess = task.preprocess or pf.bijections.Standardize.fit(rows)
    result = pf.fit(
        task.flow(jax.random.key(0)),
        rows,
        key=jax.random.key(1),
        progress=False,
        options=pf.training.Preprocess(preprocess),
        **task.options,
    )
    # On the same fresh rows: the gap then is a Kullback-Leibler divergence, with a far smaller error than the floor.
    lost = task.oracle.log_prob(fresh) - np.asarray(result.flow.log_prob(fresh), np.float64)
    error = lost.std() / np.sqrt(len(lost))
    assert lost.mean() < GAP, f"{name}: {lost.mean():.4f} +- {error:.4f} nats from the floor; {result.verdict.text}"
    assert lost.mean() > -4 * error, f"{name}: {lost.mean():.4f} +- {error:.4f}: better than the truth is a bug"
    said, deviation = result.verdict.held_out_nats, result.verdict.standard_error
    assert said is not None
    assert deviation is not None
    assert abs(said - (task.oracle.log_prob(fresh) - lost).mean()) < 5 * deviation


def test_the_check_can_fail() -> None:
    """The broken twin: the right density, with a Jacobian of 0.06 nats lost or gained."""
    oracle = gaussian()
    fresh = oracle.sample(N_TEST, seed=2)
    exact = oracle.log_prob(fresh)
    noise = 0.3 * np.random.default_rng(0).standard_normal(N_TEST)  # what an imperfect fit looks like
    for shift, ok in ((0.03, True), (0.06, False), (-0.06, False)):
        lost = exact - (exact - shift + noise)
        assert bool(-4 * lost.std() / np.sqrt(N_TEST) < lost.mean() < GAP) is ok
