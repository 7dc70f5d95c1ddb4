# %% [markdown]
# # Continuous flows, with flow lines over the density
#
# A velocity field moves every point along a line of its own, from noise at $t = 0$ to data at $t = 1$. No two lines
# cross, so the map from start to end is a bijection, whatever the network of the velocity is. Along a line the density
# obeys the instantaneous change of variables:
#
# $$ \frac{d x}{d t} = v(t, x), \qquad
# \frac{d}{dt} \log p_t(x(t)) = -\operatorname{tr} \frac{\partial v}{\partial x} . $$
#
# Where lines run apart the density falls, where they run together it rises.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from _style import show

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A flow of one number
#
# The data have a narrow peak and a broad one. The velocity is learnt by flow matching; how it was learnt makes no
# difference to what follows.

# %%
rng = np.random.default_rng(0)
rows = np.concatenate([rng.normal(-2.0, 0.35, 1200), rng.normal(1.4, 0.8, 1800)])[:, None]
start = pf.flows.flow_matching(jax.random.key(0), dim=1, width=32, frequency=3.0)
options = {
    "max_epochs": 150,
    "validation": None,
    "optimizer": pf.training.Adam(1e-2),
    "options": pf.training.Steps(batch_size=256),
}
flow = pf.fit(start, rows, key=jax.random.key(1), progress=False, **options).flow
truth = np.logaddexp(
    np.log(0.4) + scipy.stats.norm(-2.0, 0.35).logpdf(rows), np.log(0.6) + scipy.stats.norm(1.4, 0.8).logpdf(rows)
)
lost = float(truth.mean() - flow.log_prob(rows).mean())
print(f"{lost:.3f} nats per row below the true density")
assert lost < 0.06

# %% [markdown]
# ## The density is exact
#
# The solver integrates the trace beside the state, to a tolerance that is set to 1e-7 here. Two checks need no trust
# in it: the log-determinant is that of the map's derivative by automatic differentiation through the whole solve, and
# the density integrates to 1.

# %%
exact = pf.distributions.with_solver(flow, pf.dynamics.Adaptive(rtol=1e-7, atol=1e-7))
z = jnp.linspace(-2.5, 2.5, 21)[:, None]
log_det = jax.vmap(exact.bijection.forward_and_log_det)(z)[1]
slope = jax.vmap(jax.jacfwd(exact.bijection.forward))(z)[:, 0, 0]
apart = np.abs(log_det - np.log(slope)).max()
line = np.linspace(-6, 7, 521)
mass = np.exp(exact.log_prob(line[:, None])).sum() * (line[1] - line[0])
print(f"log-determinant and derivative differ by at most {apart:.1e} nats; the density integrates to {mass:.5f}")
assert apart < 1e-4
assert abs(mass - 1) < 1e-3

# %% [markdown]
# ## Lines that never cross
#
# In one dimension the lines keep their order, and the share of the probability between two of them never changes.

# %%
evolution = pf.distributions.Evolution(flow)
states = np.asarray(evolution.states(z, np.linspace(0, 1, 11)))[:, :, 0]
assert (np.diff(states, axis=1) > 0).all()

# %%
figure, axes = pf.plotting.plot_trajectories(flow, rows, names=["x"])
show(
    figure,
    "Left: the normal density of the base, drawn sideways. Middle: flow lines from time 0 to 1 over shades of the "
    "density; they part into a narrow and a broad bundle. Right: the histogram of the data and the model's "
    "density with a narrow and a broad peak.",
)

# %% [markdown]
# ## Read on
#
# - [Continuous flows](../how-to/continuous.md): train one, choose its solver, know its error.
# - [Adjoint against backpropagation](adjoint_memory.md) and [Hutchinson's trace](hutchinson.md): what training by
#   likelihood costs.
# - [Flow matching and reflow](flow_matching_reflow.md): training without solving.
# - Chen, Rubanova, Bettencourt, Duvenaud, 2018, arXiv 1806.07366.
