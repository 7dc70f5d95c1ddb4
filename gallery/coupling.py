# %% [markdown]
# # Coupling, and the six panels of two moons
#
# A coupling leaves some coordinates as they are, and lets them decide how the others are stretched and shifted:
#
# $$ y_P = x_P, \qquad y_T = x_T \odot e^{s(x_P)} + t(x_P), \qquad \log |\det J| = \sum_{i \in T} s_i(x_P) . $$
#
# The Jacobian is triangular whatever the networks $s$ and $t$ are, and the inverse is $x_T = (y_T - t) \odot e^{-s}$:
# neither direction inverts a network. RealNVP is a stack of such layers that take turns.

# %%
import jax
import jax.numpy as jnp
import numpy as np
from _style import show

import pushforward as pf
from pushforward.data import TOYS

# %% [markdown]
# ## The Jacobian is triangular

# %%
layer = pf.Coupling(
    split=[False, True],  # the second coordinate is transformed, the first passes
    conditioner=pf.MLP(jax.random.key(0), 1, (2, 1), width=8),
    scalar_map=pf.AffineMap(),
)
x = jnp.array([0.7, -1.2])
jacobian = jax.jacfwd(layer.forward)(x)
y, log_det = layer.forward_and_log_det(x)
np.testing.assert_array_equal(jacobian[0], [1, 0])
np.testing.assert_allclose(log_det, jnp.log(jacobian[1, 1]), atol=1e-6)
np.testing.assert_allclose(layer.inverse(y), x, atol=1e-6)

# %% [markdown]
# ## Two moons, undone layer by layer
#
# The first panel is the data; each further panel undoes one layer, with the linear map that mixes the coordinates
# after it. The grid is straight in the data and bends with them; the last panel should look like the normal base.

# %%
moons = TOYS["moons"].sample(6000, seed=0)
start = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=5, width=32)
result = pf.fit(start, moons, key=jax.random.key(1), max_epochs=50, progress=False)
nats, best = result.verdict.held_out_nats, -TOYS["moons"].entropy
print(f"nats per row: {nats:.2f}; the true density has {best:.2f}")
assert best - 0.35 < nats < best + 4 * result.verdict.standard_error
latent = np.asarray(result.flow.encode(moons))
assert np.abs(np.cov(latent.T) - np.eye(2)).max() < 0.2

# %%
half = np.linspace(0, np.pi, 100)
arc = 2 * np.stack([np.cos(half), np.sin(half)], axis=1)
upper, lower = np.array([-1, -0.2]) + arc, np.array([1, 0.8]) - arc  # the middle lines of the two moons
near = [np.linalg.norm(moons[:, None] - line, axis=2).min(axis=1) for line in (upper, lower)]
figure, axes = pf.plotting.plot_layers(result.flow, moons, classes=np.where(near[0] < near[1], "upper", "lower"))
show(
    figure,
    "Six panels of points with a grid. The first shows two interlocking moons in two colours over a straight "
    "grid; in each further panel they are pulled apart and pressed together, and in the last they fill a round "
    "cloud, half of each colour.",
)

# %% [markdown]
# ## Read on
#
# - [Pictures](../how-to/pictures.md): this figure for a flow of your own.
# - [Autoregressive flows](autoregressive.md): the same idea, one coordinate at a time.
# - [Which flow?](../explanation/which_flow.md): couplings among the others, measured.
# - Dinh, Sohl-Dickstein, Bengio, 2017, arXiv 1605.08803.
