"""The frequencies of states after a fit: those of the rows, whatever the masses were."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.tables.modelling.calibrate import calibrate
from pushforward.testing import randomise


def mean_mass(masses: AutoregressiveCategorical, states: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean probability of each state of each variable, given the true states before it."""
    found = []
    for c, size in enumerate(masses.sizes):
        for state in range(size):
            own = states.T.copy()
            own[c] = state
            found.append(np.exp(np.asarray(masses.each_log_prob(jnp.asarray(own), None))[c]) @ weights)
    return np.array(found)


def test_mean_masses_are_frequencies() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 600)
    states = np.stack([first, (first + rng.integers(0, 2, 600)) % 4], axis=1).astype(float)
    weights = rng.uniform(0.5, 1.5, 600)
    weights /= weights.sum()
    masses = AutoregressiveCategorical(jax.random.key(0), (3, 4), width=8, smoothing=1e-9)
    masses = randomise(masses, jax.random.key(1), 0.5)
    frequency = np.concatenate(
        [[(states[:, c] == state) @ weights for state in range(size)] for c, size in enumerate(masses.sizes)]
    )
    assert np.abs(mean_mass(masses, states, weights) - frequency).max() > 0.05  # the broken twin: left as it is
    new = calibrate(masses, states, None, weights)
    np.testing.assert_allclose(mean_mass(new, states, weights), frequency, atol=2e-4)
    before, after = (np.asarray(m.each_log_prob(jnp.asarray(states.T), None)).sum(0) @ weights for m in (masses, new))
    assert after > before  # the maximum of the likelihood, as far as biases go
