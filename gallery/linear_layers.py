# %% [markdown]
# # Linear layers
#
# A matrix mixes the coordinates. Its log-determinant is the same at every point, but costs $D^3$ operations in general.
# So a matrix is written as a product of factors whose determinants can be read off:
#
# $$ W = L U P, \qquad \log |\det W| = \sum_i \log U_{ii} , $$
#
# with a permutation $P$, a lower triangle $L$ that has ones on its diagonal, and an upper triangle $U$ with positive
# numbers there. $W = Q R$ with reflections for $Q$ works in the same way.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREY, MUCH, ORANGE, new, show

import pushforward as pf
from pushforward.data import TOYS

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# Each factored layer says the same log-determinant as the matrix written out by automatic differentiation, at the cost
# of a sum. New layers are near a rotation, so their numbers are changed at random first.

# %%
dim = 8


def shaken(layer: pf.AbstractBijection, seed: int) -> pf.AbstractBijection:
    """The layer with 0.3 times a normal added to each of its numbers."""
    numbers, rest = eqx.partition(layer, eqx.is_inexact_array)
    leaves, form = jax.tree.flatten(numbers)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    changed = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(form, changed), rest)


layers = {
    "LULinear": pf.bijections.LULinear(jax.random.key(0), dim),
    "QRLinear": pf.bijections.QRLinear(jax.random.key(1), dim),
    "FullLinear": pf.bijections.FullLinear(jax.random.key(2), dim),
    "LowRankLinear": pf.bijections.LowRankLinear(jax.random.key(3), dim, 2),
    "MatrixExponential": pf.bijections.MatrixExponential(jax.random.key(4), dim),
}
x = jax.random.normal(jax.random.key(5), (dim,))
for seed, (name, layer) in enumerate(layers.items()):
    layer = shaken(layer, seed)
    written_out = jax.jacfwd(layer.forward)(x)
    log_det = layer.forward_and_log_det(x)[1]
    print(f"{name:>18}: log|det| = {log_det:+.4f}")
    np.testing.assert_allclose(log_det, jnp.linalg.slogdet(written_out)[1], atol=1e-12)
    np.testing.assert_allclose(layer.inverse(layer.forward(x)), x, atol=1e-10)

# %% [markdown]
# ## What a linear flow can do
#
# A normal base under a linear map is a normal distribution with any covariance $W W^\top$, and nothing else. Trained by
# likelihood it finds the sample covariance, which is the maximum in closed form:
#
# $$ \max_W \frac1n \sum_i \log p_W(x_i) = -\frac12 \log \det (2 \pi e \hat\Sigma) . $$

# %%
moons = TOYS["moons"].sample(4000, seed=0)
start = pf.Flow(pf.StandardNormal((2,)), pf.bijections.LULinear(jax.random.key(0), 2))
fitted = pf.fit(
    start,
    moons,
    key=jax.random.key(1),
    validation=None,
    max_epochs=150,
    optimizer=pf.training.Adam(2e-2),
    progress=False,
).flow
reached = float(fitted.log_prob(moons).mean())
best = -0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(moons.T, bias=True))[1]
print(f"mean log-likelihood: fitted {reached:.4f}, closed form {best:.4f} nats")
print(f"the true density of two moons has {-TOYS['moons'].entropy:.2f} nats")
assert best - 0.002 < reached <= best + 1e-9
whitened = np.asarray(fitted.encode(moons))
np.testing.assert_allclose(np.cov(whitened.T), np.eye(2), atol=0.1)

# %%
figure, axes = new(3, height=3.1)
line = np.linspace(-4.5, 4.5, 160)
grid = np.stack(np.meshgrid(line, line * 0.75), axis=-1)
axes[0].contourf(grid[..., 0], grid[..., 1], np.exp(fitted.log_prob(grid)), 12, cmap=MUCH)
axes[0].plot(*moons[:1500].T, ".", ms=1.2, color="white", alpha=0.6)
axes[0].set(title="Data, and the fitted density", xlabel="x", ylabel="y")
axes[1].plot(*whitened[:1500].T, ".", ms=1.5, color=BLUE)
axes[1].set(title="Latents: white, not normal", xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
turn = np.linspace(0, 2 * np.pi, 100)
for radius in (1, 2):
    axes[1].plot(radius * np.cos(turn), radius * np.sin(turn), color=GREY, lw=0.8)
sizes = np.array([2, 4, 8, 16, 32, 64, 128, 256])
axes[2].loglog(sizes, 2 * sizes**3 / 3, "o-", color=ORANGE, label=r"elimination, $\frac{2}{3} D^3$")
axes[2].loglog(sizes, sizes, "o-", color=BLUE, label="diagonal of $U$, $D$")
axes[2].set(title="Operations of a determinant", xlabel="dimensions D", ylabel="operations")
axes[2].legend()
show(
    figure,
    "Left: two moons over the elliptical density of the fitted normal. Middle: the whitened latents have unit "
    "spread but still form two moons. Right: operations of a determinant against the dimension on logarithmic "
    "axes, steep for elimination, flat for the diagonal of U.",
)

# %% [markdown]
# ## Read on
#
# - [Coupling](coupling.md): layers that bend, between which linear layers mix.
# - [Low rank and the determinant lemma](low_rank.md).
# - [Bijections, distributions, flows](../reference/bijections.md#every-bijection): all linear layers and their costs.
# - Kingma, Dhariwal, 2018, arXiv 1807.03039 (LU); Hoogeboom, van den Berg, Welling, 2019, arXiv 1901.11137 (QR).
