# %% [markdown]
# # Inverse problems: a signal behind an observation
#
# Something was measured of a signal: blurred, with a gap, with noise. What a density says of signals, and what the
# measurement says of this one, together are the posterior
#
# $$ p(x \mid y) \propto p(x) \, N\left(y;\, A x,\, \sigma^2 I\right) . $$
#
# For a normal prior it is normal, with covariance $C = (\Sigma^{-1} + A^\top A / \sigma^2)^{-1}$ and mean
# $C (\Sigma^{-1} \mu + A^\top y / \sigma^2)$, against which this page checks; for a flow the same call takes chains or
# particles.

# %%
import jax
import numpy as np
from _style import show

import pushforward as pf
from pushforward.inverse_problems import Blur, GaussianNoise, InTurn, Mask, solve

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A blurred signal with a gap

# %%
n, noise = 40, 0.1
distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
covariance = np.exp(-((distance / 5.0) ** 2)) + 1e-6 * np.eye(n)  # smooth signals
prior = pf.MultivariateNormal(np.zeros(n), covariance)
seen = np.ones(n, bool)
seen[15:24] = False
operator = InTurn([Blur([0.25, 0.5, 0.25], (n,)), Mask(seen)])
truth = np.asarray(prior.sample(jax.random.key(4)))
y = np.asarray(operator(truth)) + noise * np.random.default_rng(0).normal(size=seen.sum())
answer = solve(prior, y, operator, GaussianNoise(noise), key=jax.random.key(1), n_draws=4000)
print(f"method: {answer.method}; {answer.verdict.split('.')[0]}")

# %% [markdown]
# ## Against the closed form

# %%
matrix = np.asarray(operator.matrix())
posterior = np.linalg.inv(np.linalg.inv(covariance) + matrix.T @ matrix / noise**2)
mean = posterior @ (matrix.T @ y) / noise**2
deviation = np.sqrt(np.diag(posterior))
print(f"deviation in the gap: up to {answer.sd[seen == 0].max():.2f}; elsewhere about {np.median(answer.sd[seen]):.2f}")
assert (np.abs(answer.mean - mean) < 5 * deviation / np.sqrt(4000)).all()
np.testing.assert_allclose(answer.sd, deviation, rtol=0.06)
assert np.mean(np.abs(truth - mean) < 3 * deviation) > 0.95

# %%
figure, axes = pf.plotting.plot_restoration(answer, truth=truth)
show(
    figure,
    "Above: bands of 50 and 90 percent of the draws around the true signal, narrow where it was observed and wide "
    "in the gap. Below: the observation as points, and what the draws give of it.",
)

# %% [markdown]
# ## Read on
#
# - [Inverse problems](../how-to/inverse_problems.md): operators, methods, which are exact, and whether to trust an
#   answer.
# - [Restored images](../how-to/restore_images.md): the same for images.
# - Stuart, 2010, Inverse problems: a Bayesian perspective, Acta Numerica 19.
