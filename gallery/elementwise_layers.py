# %% [markdown]
# # Elementwise layers, and why they are not enough
#
# The cheapest layer maps each coordinate by an increasing function of its own. Its Jacobian is diagonal, and the
# log-determinant a sum:
#
# $$ y_i = m_i(x_i), \qquad \log |\det J| = \sum_i \log m_i'(x_i) . $$
#
# Such a layer makes any marginal distributions, but never a dependence: independent coordinates stay independent. What
# is lost is known exactly. Of all products of densities the one nearest to $p$ is the product of its marginals, and
#
# $$ \operatorname{KL}\left(p \,\middle\|\, p_1 p_2 \cdots p_D\right) = \sum_i H(p_i) - H(p) = I(x_1; \ldots; x_D) , $$
#
# the mutual information.

# %%
import jax
import numpy as np
from _style import BLUE, GREY, ORANGE, new, show

import pushforward as pf
from pushforward.data import TOYS, Gaussian

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A Gaussian
#
# For two coordinates with correlation $\rho$ the mutual information is $-\frac12 \log(1 - \rho^2)$. An elementwise flow
# that fits the data as well as it can misses their density by that much, on average.

# %%
rho = 0.9
gaussian = Gaussian(np.zeros(2), np.array([[1, rho], [rho, 1]]))
rows = gaussian.sample(20_000, seed=0)
flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(rows.mean(axis=0), rows.std(axis=0)))  # the best affine one
lost = gaussian.log_prob(rows) - flow.log_prob(rows)
information = -0.5 * np.log(1 - rho**2)
print(f"lost per row: {lost.mean():.3f} nats; mutual information: {information:.3f} nats")
assert abs(lost.mean() - information) < 4 * lost.std() / np.sqrt(len(rows))

# %% [markdown]
# ## Two moons
#
# With splines, an elementwise flow takes the exact shape of both marginals of two moons. Its samples fill a cloud all
# the same: nothing in it knows which height goes with which place.

# %%
moons = TOYS["moons"].sample(6000, seed=0)
splines = pf.bijections.Elementwise(pf.RationalQuadraticMap(bins=16, bound=4.0), (2,))
start = pf.Flow(pf.StandardNormal((2,)), pf.Chain([splines, pf.Affine(moons.mean(axis=0), moons.std(axis=0))]))
result = pf.fit(
    start,
    moons,
    key=jax.random.key(0),
    max_epochs=60,
    optimizer=pf.training.Adam(3e-2),
    progress=False,
)
drawn = np.asarray(result.flow.sample(jax.random.key(1), 6000))
for column, name in enumerate(("x", "y")):
    apart = np.abs(
        np.quantile(drawn[:, column], levels := np.linspace(0.05, 0.95, 19)) - np.quantile(moons[:, column], levels)
    )
    print(f"largest error of a quantile of {name}: {apart.max():.2f}")
    assert apart.max() < 0.12
best = -TOYS["moons"].entropy
print(f"nats per row: {result.verdict.held_out_nats:.2f}; the true density has {best:.2f}")
assert result.verdict.held_out_nats < best - 0.5
assert np.abs(np.corrcoef(drawn.T)[0, 1]) < 4 / np.sqrt(len(drawn))

# %%
figure, axes = new(3, height=3.0)
axes[0].plot(*moons[:3000].T, ".", ms=1.5, color=BLUE)
axes[0].set(title="Two moons", xlabel="x", ylabel="y")
axes[1].plot(*drawn[:3000].T, ".", ms=1.5, color=ORANGE)
axes[1].set(title="Samples of the elementwise flow", xlabel="x", ylabel="y")
for axis in axes[:2]:
    axis.set(xlim=(-4.2, 4.2), ylim=(-3.2, 3.2))
bins = np.linspace(-4, 4, 60)
axes[2].hist(moons[:, 0], bins, density=True, color=BLUE, alpha=0.35, label="data, x")
axes[2].hist(drawn[:, 0], bins, density=True, histtype="step", color=ORANGE, lw=1.5, label="samples, x")
axes[2].hist(moons[:, 1], bins, density=True, color=GREY, alpha=0.35, label="data, y")
axes[2].hist(drawn[:, 1], bins, density=True, histtype="step", color="black", lw=1.0, label="samples, y")
axes[2].set(title="Both marginals agree", xlabel="value", ylabel="density", ylim=(0, 0.75))
axes[2].legend(fontsize=8, ncols=2)
show(
    figure,
    "Left: two moons. Middle: samples of the elementwise flow fill a cloud of the same width and height, without "
    "moons. Right: the histograms of x and of y of data and samples lie on each other.",
)

# %% [markdown]
# ## Read on
#
# - [Linear layers](linear_layers.md) mix the coordinates; [couplings](coupling.md) let one bend another.
# - [Splines](splines.md): the maps of one number that this page used.
# - Cover, Thomas, 2006, Elements of Information Theory, section 2.5.
