# %% [markdown]
# # Hutchinson's trace, with its variance measured
#
# The trace of a Jacobian is a sum over its diagonal, which takes one product with it per dimension. A random vector
# gives an unbiased estimate from a single product:
#
# $$ \operatorname{tr} A = \mathbb{E}\left[ \epsilon^\top A \epsilon \right], \qquad
# \mathbb{E}[\epsilon \epsilon^\top] = I . $$
#
# For a symmetric $A$ the variance is $2 \left( \|A\|_F^2 - \sum_i A_{ii}^2 \right)$ with random signs and
# $2 \|A\|_F^2$ with normal numbers. Signs leave the diagonal out: they know it exactly.

# %%
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, new, show

import pushforward as pf
from pushforward.numerics import ExactTrace, Hutchinson, HutchPlusPlus

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## Bias and variance
#
# The matrix is symmetric, of size 40, with a spectrum that falls like $1/k$.

# %%
dim, n_draws = 40, 4000
turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0]
matrix = jnp.asarray(turn @ np.diag(10 / np.arange(1, dim + 1)) @ turn.T)
exact = float(jnp.trace(matrix))


def estimates(trace) -> np.ndarray:
    """Independent estimates `(n_draws,)` of the trace."""
    keys = jax.random.split(jax.random.key(1), n_draws)
    return np.asarray(jax.vmap(lambda key: trace(lambda v: matrix.T @ v, trace.draw(key, (dim,), jnp.float64)))(keys))


assert abs(float(ExactTrace()(lambda v: matrix.T @ v, ExactTrace().draw(None, (dim,), jnp.float64))) - exact) < 1e-10
squares, diagonal = float(jnp.sum(matrix**2)), float(jnp.sum(jnp.diag(matrix) ** 2))
promised = {"rademacher": 2 * (squares - diagonal), "gaussian": 2 * squares}
drawn = {noise: estimates(Hutchinson(noise=noise)) for noise in promised}
print(f"exact trace: {exact:.3f}")
for noise, values in drawn.items():
    error = values.std() / np.sqrt(n_draws)
    print(f"{noise}: {values.mean():.2f} +- {error:.2f}, variance {values.var():.1f}, formula {promised[noise]:.1f}")
    assert abs(values.mean() - exact) < 4 * error
    spread = np.std((values - values.mean()) ** 2) / np.sqrt(n_draws)  # the standard error of a variance
    assert abs(values.var() - promised[noise]) < 4 * spread

# %% [markdown]
# ## More products
#
# The error falls like the root of the number of probes. Hutch++ spends some of its products on the largest directions,
# where it takes the trace exactly; where the spectrum falls, its error falls faster.

# %%
products = np.array([3, 6, 12, 24])
plain = [estimates(Hutchinson(n_probes=int(m))).std() for m in products]
sketched = [estimates(HutchPlusPlus(n_sketch=int(m) // 3, n_probes=int(m) // 3)) for m in products]
for values in sketched:
    assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(n_draws) + 1e-9
np.testing.assert_allclose(plain, np.sqrt(promised["rademacher"] / products), rtol=0.1)
improved = [values.std() for values in sketched]
assert improved[-1] < 0.5 * plain[-1]

# %% [markdown]
# ## In a flow
#
# FFJORD draws the probes once per solve, so that the solver sees a smooth function. Its log-density is random, with the
# right mean; the exact trace, which the flow is scored with when it is trained, agrees.

# %%
net = pf.nets.TimeMLP(jax.random.key(2), 3, width=16, depth=1)
net = jax.tree.map(lambda leaf: 6 * leaf, net)
flows = {
    name: pf.Flow(pf.StandardNormal((3,)), pf.bijections.Continuous(pf.dynamics.NetworkField(net), trace))
    for name, trace in (("exact", ExactTrace()), ("random", Hutchinson()))
}
point = np.array([[0.3, -0.5, 1.0]])
random = np.asarray(flows["random"].log_prob(np.repeat(point, 2000, axis=0), key=jax.random.key(3)))
certain = float(flows["exact"].log_prob(point)[0])
error = random.std() / np.sqrt(len(random))
print(f"log-density: exact {certain:.4f}, mean of 2,000 random ones {random.mean():.4f} +- {error:.4f} nats")
assert abs(random.mean() - certain) < 4 * error + 1e-4

# %%
figure, axes = new(2, height=3.4)
bins = np.linspace(exact - 60, exact + 80, 71)
for (noise, values), colour in zip(drawn.items(), (BLUE, ORANGE), strict=True):
    axes[0].hist(values, bins, histtype="step", lw=1.5, density=True, color=colour, label=noise)
axes[0].axvline(exact, color=GREY, ls=":", label="exact trace")
axes[0].set(title="4,000 estimates by one probe", xlabel="estimate of the trace", ylabel="density")
axes[0].legend()
axes[1].loglog(products, plain, "o-", color=BLUE, label="Hutchinson, signs")
axes[1].loglog(products, np.sqrt(promised["rademacher"] / products), ":", color=BLUE, label="its formula")
axes[1].loglog(products, improved, "o-", color=GREEN, label="Hutch++")
axes[1].set(
    title="Spread against cost", xlabel="products with the matrix", ylabel="standard deviation", xticks=products
)
axes[1].set_xticklabels(products)
axes[1].minorticks_off()
axes[1].legend()
show(
    figure,
    "Left: histograms of single estimates around the exact trace, for signs and for normal numbers. Right: the "
    "standard deviation against the number of products; Hutchinson follows its formula, Hutch++ falls faster.",
)

# %% [markdown]
# ## Read on
#
# - [Continuous flows](../how-to/continuous.md): `ffjord`, and when its trace is exact.
# - [Contractive residuals](contractive_residual.md): traces of powers, in a series.
# - Hutchinson, 1990; Grathwohl et al., 2019, arXiv 1810.01367; Meyer, Musco, Musco, Woodruff, 2021, arXiv 2010.09649.
