"""The alpha-divergence 2 finds both modes of a target of which the reverse KL keeps one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.inference import annealed_bootstrap, importance

KEY = jax.random.key(0)
APART = 4.0


def log_density(x: Any) -> Any:
    """Two normals of scale 0.5, eight scales from the middle each, with shares 0.3 and 0.7: Z is 1."""
    parts = [jnp.log(share) + jnp.sum(jax.scipy.stats.norm.logpdf(x, loc, 0.5)) for share, loc in _MODES]
    return jax.nn.logsumexp(jnp.stack(parts))


_MODES = ((0.3, np.array([-APART, 0.0])), (0.7, np.array([APART, 0.0])))


@pytest.mark.thorough
def test_both_modes_are_found():
    flow = pf.flows.realnvp(jax.random.key(2), dim=2, n_layers=6, width=32)
    found = annealed_bootstrap(flow, log_density, key=KEY, n_rounds=400, n_draws=128)
    drawn = np.asarray(found.flow.sample(jax.random.key(2), 4000))
    assert 0.2 < (drawn[:, 0] < 0).mean() < 0.4
    assert found.efficiency[-50:].mean() > 0.3
    weighed = importance(found.flow, log_density, 4000, jax.random.key(3))
    assert abs(weighed.log_z) < 4 * weighed.log_z_error
    # The twin: the reverse KL from the same start keeps one mode, as it does from most starts.
    objective = pf.objectives.ReverseKL(log_density, 128)
    kept = pf.fit(flow, key=KEY, objective=objective, max_epochs=30, progress=False).flow
    share = (np.asarray(kept.sample(jax.random.key(2), 4000))[:, 0] < 0).mean()
    assert share < 0.05 or share > 0.95


def test_a_round_moves_towards_the_target_and_is_reproducible():
    flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=8)

    def shifted(x: Any) -> Any:
        return jnp.where(x[0] < -3, jnp.nan, jnp.sum(jax.scipy.stats.norm.logpdf(x, 1.0, 0.7)))

    found = annealed_bootstrap(flow, shifted, key=KEY, n_rounds=60, n_draws=64, n_stages=2)
    again = annealed_bootstrap(flow, shifted, key=KEY, n_rounds=60, n_draws=64, n_stages=2)
    np.testing.assert_array_equal(found.efficiency, again.efficiency)
    assert found.efficiency[-10:].mean() > found.efficiency[:5].mean() + 0.2
    assert (found.acceptance > 0.2).all()
    with pytest.raises(ValueError, match="n_stages"):
        annealed_bootstrap(flow, shifted, key=KEY, n_stages=0)
