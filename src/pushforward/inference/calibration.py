"""`calibrate`: can a posterior be trusted? Ranks, coverage, TARP on held-out pairs, and tests at an observation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.inference.calibration_words import (
    coverage_sentence,
    distance_sentence,
    local_sentence,
    pairs_sentence,
    predictive_sentence,
    rank_sentence,
    tarp_sentence,
)
from pushforward.inference.coordinates import ObservationUnits
from pushforward.metrics import (
    density_levels,
    local_c2st,
    pairs_needed,
    rank_levels,
    ranks,
    tarp_levels,
    uniformity,
)
from pushforward.metrics.ranks import LEVEL

LEAST_PAIRS = 100
# Draws for each observation: every hundredth of the posterior's mass is told apart.
DRAWS = 99
# Draws at an observation for the local test and for the posterior predictive one.
LOCAL_DRAWS, PREDICTIVE_DRAWS = 1000, 500
# Classifiers of the local test under the null hypothesis.
NULL = 50
# Numbers of an observation up to which references of TARP follow a regression on it.
MOST_REGRESSED = 100


@dataclass(frozen=True)
class CalibrationTest:
    """One test of a posterior.

    Args:
        name: `"ranks of NAME"`, `"coverage"`, `"tarp"`, `"local c2st"`, `"predictive"` or `"distance"`.
        p_value: Probability of a result as extreme if the posterior is right.
        passed: Whether the p-value is above the level of the test.
        sentence: The result as a sentence.
        levels: The levels `(n,)`, uniform if the posterior is right; for tests at an observation, the values of the
            statistic under the null hypothesis.
        observed: The statistic at the observation; None for tests of levels.
    """

    name: str
    p_value: float
    passed: bool
    sentence: str
    levels: np.ndarray
    observed: float | None = None


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` found; `pushforward.plotting.plot_calibration` draws it.

    Args:
        tests: The tests.
        n_pairs: Number of held-out pairs.
        n_needed: Number of pairs that see a shift of 0.1 standard deviations, and a tenth too narrow, 95 times in 100.
        notes: Remarks, one sentence each.
    """

    tests: tuple[CalibrationTest, ...]
    n_pairs: int
    n_needed: int
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every test was passed."""
        return all(test.passed for test in self.tests)

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each test, and the remarks."""
        return (*(test.sentence for test in self.tests), *self.notes)

    def __iter__(self) -> Iterator[CalibrationTest]:
        """The tests, in order."""
        return iter(self.tests)

    def __len__(self) -> int:
        return len(self.tests)

    def __getitem__(self, name: str) -> CalibrationTest:
        """The test of that name.

        Raises:
            KeyError: There is no test of that name.
        """
        for test in self.tests:
            if test.name == name:
                return test
        raise KeyError(f"{name!r}: expected one of {[test.name for test in self.tests]}")

    def __str__(self) -> str:
        verdict = "No test objects to the posterior." if self.passed else "The posterior is not calibrated."
        return "\n".join([verdict, *self.sentences])

    def to_json(self) -> dict[str, Any]:
        """The tests as numbers and sentences."""
        keys = ("name", "p_value", "passed", "sentence")
        tests = [{key: getattr(test, key) for key in keys} for test in self.tests]
        own = {"passed": self.passed, "n_pairs": self.n_pairs, "n_needed": self.n_needed}
        return {**own, "tests": tests, "notes": list(self.notes)}


def calibrate(
    posterior: Any,
    theta: Any,
    x: Any,
    *,
    key: PRNGKeyArray,
    observed: Any = None,
    simulate: Callable[[np.ndarray], Any] | None = None,
    n_draws: int = DRAWS,
) -> Calibration:
    r"""Judge a posterior by simulations that it has not seen.

    On held-out pairs $\theta_i \sim p(\theta), x_i \sim p(x \mid \theta_i)$: the ranks of each true parameter among
    draws (simulation-based calibration), the mass of the region of highest density that just holds the true parameters
    (expected coverage), and the same for balls about random points (TARP) are all uniform if the posterior is right.
    Together these tests fail a right posterior once in a hundred times.

    At an observation: a classifier looks for an error of the posterior just there (local C2ST), the distance of the
    observation from the simulated ones says whether the simulator can have made it (misspecification), and with
    `simulate` new simulations from the posterior's draws are compared with it (posterior predictive).

    Args:
        posterior: Fitted `NPE`, `NLE` or `JointPosterior`, or any object with their `sample(n, x=, key=)` and
            `log_prob(theta, x=)`.
        theta: Parameters `(n, dim)` drawn from the prior, at least 100; `metrics.pairs_needed` says how many see a
            small error.
        x: Simulations `(n, *x_shape)` from these.
        key: JAX key.
        observed: One observation of shape `x_shape`, or None.
        simulate: Function from parameters `(n, dim)` to simulations, for the posterior predictive test.
        n_draws: Number of draws from the posterior for each pair.

    Raises:
        ValueError: Shapes do not fit, there are fewer than 100 pairs, or `simulate` comes without `observed`.

    Source:
        Talts et al., 2018, arXiv 1804.06788 (ranks); Hermans et al., 2022, arXiv 2110.06581 (coverage); Lemos et al.,
        2023, arXiv 2302.03026 (TARP); Linhart et al., 2023, arXiv 2306.03580 (local C2ST); Schmitt et al., 2021,
        arXiv 2112.08866 (misspecification).
    """
    truths, seen = np.asarray(theta, np.float64), np.asarray(x, np.float64)
    truths = truths[:, None] if truths.ndim == 1 else truths
    seen = seen[:, None] if seen.ndim == 1 else seen
    if len(truths) != len(seen) or len(truths) < LEAST_PAIRS:
        got = f"{len(truths)} rows of theta and {len(seen)} of x"
        raise ValueError(message("calibrate", f"{LEAST_PAIRS} held-out pairs or more", got, "Simulate more."))
    if simulate is not None and observed is None:
        fix = "Pass observed= with it."
        raise ValueError(message("calibrate", "an observation to compare simulations with", "none", fix))
    check_int("calibrate", "n_draws", n_draws, 20)
    fine = np.isfinite(seen.reshape(len(seen), -1)).all(axis=1)
    notes = [] if fine.all() else [f"{int((~fine).sum())} pairs with failed simulations were left out."]
    truths, seen = truths[fine], seen[fine]
    draw_key, seed_key, local_key = jax.random.split(as_key("calibrate", key), 3)
    seed = int(jax.random.randint(seed_key, (), 0, 2**31 - 1))
    draws = np.moveaxis(posterior.sample(n_draws, x=seen, key=draw_key), 1, 0)
    both = np.concatenate([truths[None], draws])
    log_probs = posterior.log_prob(np.moveaxis(both, 0, 1), x=seen).T
    n, dim = truths.shape
    level = LEVEL / (dim + 2)
    names = getattr(getattr(posterior, "prior_", None), "names", None) or [f"theta_{i}" for i in range(dim)]
    found = rank_levels(ranks(draws, truths, seed=seed), n_draws, seed=seed)
    tests = [_of_levels(f"ranks of {name}", found[:, i], level, rank_sentence) for i, name in enumerate(names)]
    by_density = density_levels(log_probs[1:], log_probs[0], seed=seed)
    tests.append(_of_levels("coverage", by_density, level, coverage_sentence))
    by_distance = tarp_levels(draws, truths, _references(truths, seen, seed), seed=seed)
    tests.append(_of_levels("tarp", by_distance, level, tarp_sentence))
    needed = pairs_needed(dim + 2)
    if n < needed:
        notes.append(pairs_sentence(n, needed))
    if observed is not None:
        place = np.asarray(observed, np.float64)
        if place.shape != seen.shape[1:]:
            fix = "Pass one observation."
            raise ValueError(message("calibrate", f"observed of shape {seen.shape[1:]}", f"shape {place.shape}", fix))
        tests += _at(posterior, truths, seen, draws, place, simulate, (local_key, seed))
    return Calibration(tuple(tests), n, needed, tuple(notes))


def _of_levels(name: str, levels: np.ndarray, level: float, words: Callable[..., str]) -> CalibrationTest:
    found = uniformity(levels)
    passed = found.p_value >= level
    return CalibrationTest(name, found.p_value, passed, words(name, found, passed), levels)


def _references(truths: np.ndarray, seen: np.ndarray, seed: int) -> np.ndarray:
    """Points about which TARP draws balls: what a regression on the observation says, with its errors exchanged."""
    order = np.random.default_rng(seed).permutation(len(truths))
    flat = seen.reshape(len(seen), -1)
    if flat.shape[1] > min(MOST_REGRESSED, len(flat) // 10):
        return truths[order]
    z = np.concatenate([np.ones((len(flat), 1)), ObservationUnits.of(flat).to(flat)], axis=1)
    slope = np.linalg.solve(z.T @ z + np.eye(z.shape[1]), z.T @ truths)
    return z @ slope + (truths - z @ slope)[order]


def _at(
    posterior: Any,
    truths: np.ndarray,
    seen: np.ndarray,
    draws: np.ndarray,
    observed: np.ndarray,
    simulate: Callable[[np.ndarray], Any] | None,
    random: tuple[PRNGKeyArray, int],
) -> list[CalibrationTest]:
    """The tests at one observation."""
    key, seed = random
    flat, place = seen.reshape(len(seen), -1), observed.reshape(-1)
    units = ObservationUnits.of(flat)
    z, at = units.to(flat), units.to(place)
    here = posterior.sample(LOCAL_DRAWS, x=observed, key=key)
    local = local_c2st(truths, draws[0], draws[1:4], z, (here, at), n_null=NULL, seed=seed)
    passed = local.p_value > max(LEVEL, 1 / (1 + NULL))
    words = local_sentence(local, passed)
    tests = [CalibrationTest("local c2st", local.p_value, passed, words, local.null, local.statistic)]
    far = _distances(z, z[: len(z) // 2])
    own = float(_distances(at[None], z[: len(z) // 2])[0])
    others = far[len(z) // 2 :]
    p_value = float((1 + (others >= own).sum()) / (1 + len(others)))
    passed = p_value >= max(LEVEL, 1 / len(others))
    tests.append(CalibrationTest("distance", p_value, passed, distance_sentence(p_value, passed), others, own))
    if simulate is not None:
        again = np.asarray(simulate(here[:PREDICTIVE_DRAWS]), np.float64).reshape(-1, len(place))
        again = units.to(again[np.isfinite(again).all(axis=1)])
        half = len(again) // 2
        spread = _distances(again[half:], again[:half])
        distance = float(_distances(at[None], again[:half])[0])
        p_value = float((1 + (spread >= distance).sum()) / (1 + len(spread)))
        passed = p_value >= LEVEL
        words = predictive_sentence(p_value, passed)
        tests.append(CalibrationTest("predictive", p_value, passed, words, spread, distance))
    return tests


def _distances(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The Mahalanobis distance of rows from the mean of others, with a covariance that is shrunken a little."""
    mean = among.mean(axis=0)
    covariance = np.atleast_2d(np.cov(among, rowvar=False))
    size = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrinkage = min(1.0, 1e-3 + len(covariance) / (10 * len(among)))
    covariance = (1 - shrinkage) * covariance + shrinkage * size * np.eye(len(covariance))
    gap = rows - mean
    return np.sqrt(np.maximum(np.einsum("ij,ij->i", gap, np.linalg.solve(covariance, gap.T).T), 0.0))
