# %% [markdown]
# # Inference: the posterior of a simulator
#
# A simulator turns parameters $\theta$ into data $x$; its likelihood need not be known. A conditional flow, trained on
# pairs drawn from prior and simulator, learns the posterior of all observations at once:
#
# $$ \max_\phi \; \mathbb{E}_{p(\theta)\,p(x \mid \theta)} \left[ \log q_\phi(\theta \mid x) \right]
# \quad \Rightarrow \quad q_\phi(\theta \mid x) = p(\theta \mid x) . $$
#
# This page takes a simulator whose likelihood is known all the same, so that the answer can be checked on a grid.

# %%
import numpy as np
from _style import MUCH, ORANGE, new, show

import pushforward as pf

# %% [markdown]
# ## A simulator that forgets a sign
#
# $x_1 = \theta_1^2 + \theta_2$ and $x_2 = \theta_2$, with noise of 0.3: the sign of $\theta_1$ is lost, and the
# posterior has two modes wherever $\theta_1$ is far from 0.

# %%
NOISE, BOUND = 0.3, 2.0
rng = np.random.default_rng(0)


def simulate(theta: np.ndarray) -> np.ndarray:
    """Data `(n, 2)` of parameters `(n, 2)`."""
    exact = np.stack([theta[:, 0] ** 2 + theta[:, 1], theta[:, 1]], axis=1)
    return exact + NOISE * rng.standard_normal(exact.shape)


theta = rng.uniform(-BOUND, BOUND, (8000, 2))
prior = {"a": (-BOUND, BOUND), "b": (-BOUND, BOUND)}
npe = pf.NPE(prior, n_members=1, flow_options={"width": 32}, max_epochs=30, random_state=0).fit(theta, simulate(theta))

# %% [markdown]
# ## Three observations, against the exact posterior
#
# The exact posterior is the likelihood on a grid, divided by its sum. The flow never saw the likelihood.

# %%
observations = np.array([[2.2, 0.5], [0.2, 0.3], [-0.6, -1.0]])
line = np.linspace(-BOUND, BOUND, 121)[1:-1]
grid = np.stack(np.meshgrid(line, line), axis=-1)
cell = (line[1] - line[0]) ** 2


def exact_posterior(x: np.ndarray) -> np.ndarray:
    """The posterior density on the grid."""
    off = np.stack([x[0] - grid[..., 0] ** 2 - grid[..., 1], x[1] - grid[..., 1]])
    likelihood = np.exp(-0.5 * np.sum((off / NOISE) ** 2, axis=0))
    return likelihood / (likelihood.sum() * cell)


exact, learnt, draws = [], [], []
for x in observations:
    exact.append(exact_posterior(x))
    learnt.append(np.exp(npe.log_prob(grid.reshape(-1, 2), x=x)).reshape(grid.shape[:2]))
    draws.append(npe.sample(2000, x=x))
    variation = 0.5 * np.abs(exact[-1] - learnt[-1]).sum() * cell
    sides = np.mean(draws[-1][:, 0] > 0)
    print(f"x = {x}: total variation from the exact posterior {variation:.3f}; draws with a > 0: {sides:.2f}")
    assert variation < 0.2
    assert abs(sides - 0.5) < 0.12
    assert abs(learnt[-1].sum() * cell - 1) < 0.05
    np.testing.assert_allclose(draws[-1][:, 1].mean(), np.sum(exact[-1] * grid[..., 1]) * cell, atol=0.1)

# %%
figure, axes = new(3, width=10, height=3.4, sharey=True)
for axis, x, truth, found in zip(axes, observations, exact, draws, strict=True):
    axis.contourf(line, line, truth, 16, cmap=MUCH)
    axis.plot(*found[:300].T, ".", ms=2.5, color=ORANGE)
    axis.set(title=f"x = ({x[0]}, {x[1]})", xlabel="parameter a", aspect="equal", xlim=(-2, 2), ylim=(-2, 2))
axes[0].set_ylabel("parameter b")
show(
    figure,
    "Three panels of exact posteriors as shades, with draws of the flow as dots on them. The first has two spots left "
    "and right of zero, the second a small crescent, the third a wide crescent with two bright ends; the dots fill "
    "the shades.",
)

# %% [markdown]
# ## Read on
#
# - [Simulators](../how-to/simulators.md): embeddings, failures, rounds, calibration.
# - [A density known up to a constant](../how-to/inference.md): where the likelihood is known.
# - Cranmer, Brehmer, Louppe, 2020, arXiv 1911.01429; Papamakarios, Murray, 2016, arXiv 1605.06376.
