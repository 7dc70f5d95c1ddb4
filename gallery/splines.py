# %% [markdown]
# # Splines
#
# An affine map of one number can only stretch and shift. A spline bends: it is put together of pieces between knots,
# each a ratio of two quadratics, which goes through the knots $(x_k, y_k)$ with slopes $\delta_k > 0$ there. With
# $\xi = (x - x_k)/(x_{k+1} - x_k)$ and $s_k$ the slope of the chord,
#
# $$ m(x) = y_k + \frac{(y_{k+1} - y_k) \left[ s_k \xi^2 + \delta_k \xi (1 - \xi) \right]}
# {s_k + (\delta_{k+1} + \delta_k - 2 s_k)\, \xi (1 - \xi)} . $$
#
# It increases everywhere, its slope is continuous, and its inverse is the root of a quadratic: both directions are in
# closed form.

# %%
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, new, show

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## One spline
#
# Parameters are unconstrained numbers: widths and heights of the bins by a softmax, slopes by a softplus. Slope and
# inverse are held against automatic differentiation and against the way back.

# %%
spline = pf.RationalQuadraticMap(bins=6, bound=3.0)
params = 0.8 * jax.random.normal(jax.random.key(5), (spline.n_params,))
one = pf.bijections.Elementwise(spline, (), params)
x = jnp.linspace(-4, 4, 801)
y, log_slope = jax.vmap(one.forward_and_log_det)(x)
np.testing.assert_allclose(jnp.exp(log_slope), jax.vmap(jax.grad(one.forward))(x), rtol=1e-9)
np.testing.assert_allclose(jax.vmap(one.inverse)(y), x, atol=1e-10)
outside = np.abs(x) > 3
np.testing.assert_array_equal(y[outside], x[outside])
assert (np.diff(y) > 0).all()

# %% [markdown]
# ## A density with corners
#
# One spline after a normal base is a flow of one number. The density below has two narrow peaks on a broad one. More
# bins follow it better, but none can score above the density itself.

# %%
peaks = pf.data.GaussianMixture(
    np.array([0.5, 0.25, 0.25]), np.array([[0.0], [-1.0], [1.2]]), np.array([[[1.0]], [[0.01]], [[0.02]]])
)
rows, held_out = peaks.sample(20_000, seed=0), peaks.sample(20_000, seed=1)
truth = peaks.log_prob(held_out)
fitted, short = {}, {}
for bins in (4, 8, 16):
    start = pf.Flow(
        pf.StandardNormal((1,)), pf.Invert(pf.bijections.Elementwise(pf.RationalQuadraticMap(bins, 4.0), (1,)))
    )
    options = {"max_epochs": 20, "optimizer": pf.training.Adam(3e-2), "progress": False}
    fitted[bins] = pf.fit(start, rows, key=jax.random.key(0), **options).flow
    lost = truth - fitted[bins].log_prob(held_out)
    short[bins] = lost.mean()
    print(f"{bins:>2} bins: {lost.mean():.4f} +- {lost.std() / np.sqrt(len(lost)):.4f} nats below the true density")
    assert lost.mean() > -4 * lost.std() / np.sqrt(len(lost))
assert short[16] < 0.5 * short[4]

# %%
figure, axes = new(3, height=3.2)
axes[0].plot(x, y, color=BLUE)
axes[0].plot(x, x, color=GREY, lw=0.8)
axes[0].set(title="A spline of 6 bins", xlabel="x", ylabel="y", aspect="equal")
axes[1].plot(x, jnp.exp(log_slope), color=BLUE)
axes[1].set(title="Its slope is continuous", xlabel="x", ylabel="dy/dx")
line = np.linspace(-3.2, 3.2, 1200)[:, None]
axes[2].fill_between(line[:, 0], np.exp(peaks.log_prob(line)), color="#d0d0d0", label="true")
for (bins, flow), colour in zip(fitted.items(), (GREEN, ORANGE, BLUE), strict=True):
    axes[2].plot(line, np.exp(flow.log_prob(line)), color=colour, lw=1.1, label=f"{bins} bins")
axes[2].set(title="A fit by likelihood", xlabel="x", ylabel="density")
axes[2].legend(fontsize=8.5)
for axis, place in ((axes[0], -3), (axes[0], 3), (axes[1], -3), (axes[1], 3)):
    axis.axvline(place, color=GREY, lw=0.6, ls=":")
show(
    figure,
    "Left: an increasing curve that bends between -3 and 3 and is the identity outside. Middle: its slope, "
    "continuous with kinks, one outside. Right: a density with two narrow peaks; fits of 4, 8 and 16 bins, of "
    "which the last lies on it.",
)

# %% [markdown]
# ## Read on
#
# - [Every scalar map](../reference/bijections.md#every-scalar-map): nineteen maps of one number, which all go into
#   couplings   and autoregressions.
# - [Elementwise layers](elementwise_layers.md): why maps of one number are not enough.
# - Durkan, Bekasov, Murray, Papamakarios, 2019, arXiv 1906.04032.
