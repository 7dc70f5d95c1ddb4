# %% [markdown]
# # Planar flows: ten layers on a ring
#
# A planar layer pushes every point along one direction $u$, by an amount that depends on one projection of it:
#
# $$ f(x) = x + u \, \tanh(w^\top x + b), \qquad
# \det J = 1 + u^\top w \left(1 - \tanh^2(w^\top x + b)\right) . $$
#
# The Jacobian is the identity plus one outer product, so its determinant is one number. Each layer is a single hidden
# unit: it takes a stack of them to make a ring of a round cloud.

# %%
import jax
import jax.numpy as jnp
import numpy as np
from _style import MUCH, new, show

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# The formula, against the whole Jacobian by automatic differentiation:

# %%
layer = pf.bijections.Planar(jax.random.key(0), 2)
x = jax.random.normal(jax.random.key(1), (50, 2))
log_det = jax.vmap(layer.forward_and_log_det)(x)[1]
full = jax.vmap(lambda row: jnp.linalg.slogdet(jax.jacfwd(layer.forward)(row))[1])(x)
np.testing.assert_allclose(log_det, full, atol=1e-12)

# %% [markdown]
# ## Ten layers
#
# The ring has radius 2 and a thickness of 0.2. Its exact entropy is known, so that the fit can be judged: it can come
# near to the true density and never lie above it, on average.


# %%
rng = np.random.default_rng(0)
radius, angle = 2 + 0.2 * rng.standard_normal(6000), rng.uniform(0, 2 * np.pi, 6000)
ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
truth = -0.5 * np.log(2 * np.pi * np.e * 0.04) - np.log(2 * np.pi) - np.log(radius).mean()
start = pf.flows.planar(jax.random.key(2), dim=2, n_layers=10, linear=None, fast="score")
result = pf.fit(
    start,
    ring,
    key=jax.random.key(3),
    max_epochs=150,
    optimizer=pf.training.Adam(2e-2),
    progress=False,
)
normal = -0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(ring.T))[1]
nats = result.verdict.held_out_nats
print(f"nats per row: a normal {normal:.2f}, ten planar layers {nats:.2f}, the true density {truth:.2f}")
assert normal + 0.4 < nats < truth + 4 * result.verdict.standard_error

# %% [markdown]
# ## The way from the cloud to the ring
#
# A flow that is cut after a few layers is a flow too. A continuous map cannot tear the plane, so the ring keeps a thin
# bridge or a faint middle: what is one piece without a hole stays one.

# %%
evolution = pf.distributions.Evolution(result.flow)
line = np.linspace(-3.2, 3.2, 110)
grid = np.stack(np.meshgrid(line, line), axis=-1)
steps = [0, 2, 4, 6, 8, int(evolution.end)]
densities = [np.exp(evolution.log_prob(step, grid)) for step in steps]
cell = (line[1] - line[0]) ** 2
assert abs(densities[-1].sum() * cell - 1) < 0.02

# %%
figure, axes = new(3, 2, height=5.6, sharex=True, sharey=True)
for axis, step, density in zip(axes.flat, steps, densities, strict=True):
    axis.contourf(line, line, density, 24, cmap=MUCH)
    axis.set(title=f"after {step} layers" if step else "the base", aspect="equal")
axes.flat[-1].plot(*ring[:400].T, ".", ms=1.5, color="white", alpha=0.7)
for axis in axes[1]:
    axis.set_xlabel("x")
for axis in axes[:, 0]:
    axis.set_ylabel("y")
show(
    figure,
    "Six panels of a density in the plane. A round cloud is pulled apart and hollowed out layer by layer, until "
    "after ten layers most of the density lies on a ring, which the data follow as dots.",
)

# %% [markdown]
# ## Read on
#
# - [Low rank and the determinant lemma](low_rank.md): more than one hidden unit at a time.
# - [Volume and Jacobian of a cube](jacobian_of_a_cube.md): what one such layer does to a grid.
# - Rezende, Mohamed, 2015, arXiv 1505.05770.
