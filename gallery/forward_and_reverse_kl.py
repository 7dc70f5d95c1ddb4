# %% [markdown]
# # Forward against reverse KL: covering modes, or seeking one
#
# A model $q$ that cannot be the target $p$ has to choose how to be wrong. The two divergences choose differently:
#
# $$ \operatorname{KL}(p \,\|\, q) = \mathbb{E}_p \left[ \log \frac{p}{q} \right], \qquad
# \operatorname{KL}(q \,\|\, p) = \mathbb{E}_q \left[ \log \frac{q}{p} \right] . $$
#
# The first, which maximum likelihood minimises, is infinite where $p$ has mass and $q$ none: the model covers all
# modes. The second, which variational inference minimises, is infinite where $q$ has mass and $p$ none: the model
# seeks a mode.

# %%
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, MUCH, ORANGE, new, show

import pushforward as pf
from pushforward.objectives import ReverseKL

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A normal for a mixture of two
#
# The target is known, so both divergences can be had by quadrature for every normal $N(\mu, \sigma^2)$: the landscapes
# on which training moves.

# %%
target = pf.data.GaussianMixture(np.array([0.35, 0.65]), np.array([[-2.0], [2.0]]), np.array([[[0.25]], [[0.49]]]))


def log_target(x):
    """The log-density of one event `(1,)`."""
    parts = [
        jnp.log(share / spread) - 0.5 * ((x[0] - centre) / spread) ** 2 - 0.5 * jnp.log(2 * jnp.pi)
        for share, centre, spread in ((0.35, -2.0, 0.5), (0.65, 2.0, 0.7))
    ]
    return jnp.logaddexp(*parts)


line = np.linspace(-14, 14, 2801)
step, log_p = line[1] - line[0], target.log_prob(line[:, None])
p = np.exp(log_p)
assert abs(p.sum() * step - 1) < 1e-9
np.testing.assert_allclose(jax.vmap(log_target)(line[:, None]), log_p, atol=1e-9)


def divergences(mu, sigma):
    """Both divergences of N(mu, sigma^2) and the target, in nats, by quadrature."""
    log_q = -0.5 * ((line - mu) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    q = np.exp(log_q)
    return np.sum(p * (log_p - log_q)) * step, np.sum(q * (log_q - log_p)) * step


# %% [markdown]
# ## Three fits
#
# One by likelihood from draws, two by reverse KL from the density alone, which start left and right. Likelihood ends at
# the mean and the standard deviation of the mixture, in closed form. Reverse KL ends in the mode that is nearer.

# %%
rows = target.sample(20_000, seed=0)


def normal(mu, sigma):
    """The flow N(mu, sigma^2)."""
    return pf.Flow(pf.StandardNormal((1,)), pf.Affine(jnp.full(1, mu), jnp.full(1, sigma)))


how = {"optimizer": pf.training.Adam(3e-2), "validation": None, "progress": False}
fits = {"forward": pf.fit(normal(0.0, 1.0), rows, key=jax.random.key(0), max_epochs=15, **how).flow}
for name, where in (("reverse, from the left", -1.0), ("reverse, from the right", 1.0)):
    objective = ReverseKL(log_target, n_samples=256)
    fits[name] = pf.fit(normal(where, 1.0), key=jax.random.key(1), objective=objective, max_epochs=10, **how).flow
ends = {}
for name, flow in fits.items():
    ends[name] = float(flow.decode(jnp.zeros(1))[0]), float(flow.decode(jnp.ones(1))[0] - flow.decode(jnp.zeros(1))[0])
    ahead, back = divergences(*ends[name])
    found = f"mean {ends[name][0]:+.2f}, deviation {ends[name][1]:.2f}"
    print(f"{name}: {found}; KL(p|q) {ahead:.2f}, KL(q|p) {back:.2f} nats")
mean = 0.35 * -2 + 0.65 * 2
deviation = np.sqrt(0.35 * (0.25 + 4) + 0.65 * (0.49 + 4) - mean**2)
np.testing.assert_allclose(ends["forward"], (mean, deviation), atol=0.06)
for name, expected, share in (("reverse, from the left", (-2, 0.5), 0.35), ("reverse, from the right", (2, 0.7), 0.65)):
    np.testing.assert_allclose(ends[name], expected, atol=0.08)
    assert abs(divergences(*ends[name])[1] + np.log(share)) < 0.03  # what a model of one mode alone must pay

# %% [markdown]
# A model of one mode pays minus the logarithm of that mode's share, and no more: $-\log 0.35 = 1.05$ nats on the left.
# Nothing in the loss tells it of the other mode. A flow that is flexible enough reaches both with either divergence, if
# its draws ever meet them; [inference](inference.md) therefore tempers the target first.

# %%
figure, axes = new(3, width=10, height=3.3)
axes[0].fill_between(line, p, color="#d0d0d0", label="target p")
for (name, flow), colour in zip(fits.items(), (BLUE, ORANGE, GREEN), strict=True):
    axes[0].plot(line, np.exp(flow.log_prob(line[:, None])), color=colour, label=name)
axes[0].set(xlim=(-6, 6), ylim=(0, 1.25), xlabel="x", ylabel="density", title="Three normals")
axes[0].legend(fontsize=8)
mus, sigmas = np.linspace(-3.5, 3.5, 71), np.exp(np.linspace(np.log(0.3), np.log(4), 50))
maps = np.array([[divergences(mu, sigma) for mu in mus] for sigma in sigmas])
titles = (r"$\mathrm{KL}(p\,\|\,q)$: one minimum", r"$\mathrm{KL}(q\,\|\,p)$: two minima")
for kind, (axis, title) in enumerate(zip(axes[1:], titles, strict=True)):
    shades = axis.contourf(mus, sigmas, np.log10(maps[..., kind]), 18, cmap=MUCH + "_r")
    figure.colorbar(shades, ax=axis, label="$\\log_{10}$ of nats")
    axis.set_yscale("log")
    axis.set_yticks([0.5, 1, 2, 4], labels=["0.5", "1", "2", "4"])
    axis.minorticks_off()
    axis.set(xlabel=r"mean $\mu$", ylabel=r"deviation $\sigma$", title=title)
    for (name, place), colour in zip(ends.items(), (BLUE, ORANGE, GREEN), strict=True):
        if name.startswith("forward") == (kind == 0):
            axis.plot(*place, "o", ms=8, color=colour, mec="white")
show(
    figure,
    "Left: a target with two modes; the fit by forward KL is one wide normal over both, the two fits by reverse "
    "KL are narrow and lie on one mode each. Middle: the landscape of forward KL over mean and deviation has one "
    "minimum. Right: that of reverse KL has two, where the fits ended.",
)

# %% [markdown]
# ## Read on
#
# - [Variational inference](../how-to/variational.md): reverse KL in use, and what guards it.
# - [A density known up to a constant](../how-to/inference.md): tempering, weights, and a verdict.
# - Papamakarios et al., 2021, section 2.3, arXiv 1912.02762.
