# %% [markdown]
# # Autoregressive flows, and what each direction costs
#
# Any density is a product of conditional ones. An autoregressive layer maps each coordinate by a function whose
# parameters a network computes from the coordinates before it:
#
# $$ y_i = m(x_i; \theta_i(x_1, \ldots, x_{i-1})), \qquad
# \log |\det J| = \sum_i \log \frac{\partial y_i}{\partial x_i} . $$
#
# From $x$ to $y$ all parameters are known at once: one pass of a masked network. From $y$ to $x$ the second coordinate
# has to wait for the first, the third for both: $D$ steps, one after the other. A masked autoregressive flow (MAF) has
# the fast direction from data to latents, so it scores in one pass; an inverse autoregressive flow (IAF) samples in
# one.

# %%

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, ORANGE, SIGNED, new, seconds, show

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The Jacobian is triangular
#
# Column $j$ of the Jacobian says what moves when $x_j$ moves: coordinate $j$ itself, and those after it.

# %%
dim = 12
net = pf.MADE(jax.random.key(0), dim, 2, width=64, activation="tanh")
net = jax.tree.map(lambda leaf: 12 * leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, net)  # not near 0
layer = pf.Autoregressive(net, pf.AffineMap())
x = jax.random.normal(jax.random.key(1), (dim,))
jacobian = np.asarray(jax.jacfwd(layer.forward)(x))
y, log_det = layer.forward_and_log_det(x)
assert np.abs(np.triu(jacobian, 1)).max() == 0
np.testing.assert_allclose(log_det, np.log(np.diag(jacobian)).sum(), atol=1e-12)

# %% [markdown]
# ## The slow direction, in two ways
#
# The textbook inverse runs the whole network $D$ times, and each time one more coordinate is right. The library goes
# through the coordinates once and computes each hidden unit when its last input becomes known, which takes about the
# arithmetic of a single pass. Both give the same.

# %%
guess = jnp.zeros((dim, 1))
for _ in range(dim):
    guess = layer.scalar_map.inverse_and_log_det(y[:, None], net(guess))[0]
np.testing.assert_allclose(guess[:, 0], x, atol=1e-9)
np.testing.assert_allclose(layer.inverse(y), x, atol=1e-9)

# %% [markdown]
# ## What it costs
#
# Processor time of 512 rows through one layer. The textbook's way grows like the square of the dimension times the
# width; one pass, and one walk through the coordinates, like the network. A walk has $D$ short steps that cannot run
# beside one another, which costs most where a device is wide.


# %%
def textbook(layer: pf.Autoregressive, rows: jax.Array) -> jax.Array:
    """The inverse of rows on the last axis by as many passes as there are coordinates."""

    def again(_: int, x: jax.Array) -> jax.Array:
        return layer.scalar_map.inverse_and_log_det(rows, layer.conditioner(x))[0]

    return jax.lax.fori_loop(0, len(rows), again, jnp.zeros_like(rows))


sizes = (4, 16, 64)
ways = {"one pass": [], "one walk": [], "D passes": []}
for size in sizes:
    layer = pf.Autoregressive(pf.MADE(jax.random.key(0), size, 2, width=128), pf.AffineMap())
    rows = jax.random.normal(jax.random.key(1), (size, 512))
    ways["one pass"].append(seconds(eqx.filter_jit(lambda it, y: it.forward_rows(y, None, None)[0]), layer, rows))
    ways["one walk"].append(seconds(eqx.filter_jit(lambda it, y: it.inverse_rows(y, None, None)[0]), layer, rows))
    ways["D passes"].append(seconds(eqx.filter_jit(textbook), layer, rows))
for way, taken in ways.items():
    print(f"{way}: {1e3 * taken[-1]:7.1f} ms for 64 coordinates")
maf, iaf = (make(jax.random.key(0), dim=4).bijection.traits for make in (pf.flows.maf, pf.flows.iaf))
assert (maf.forward, maf.inverse) == ("sequential", "parallel")  # forward is from latents to data
assert (iaf.forward, iaf.inverse) == ("parallel", "sequential")

# %%
figure, axes = new(2, height=3.4)
most = np.abs(jacobian).max()
image = axes[0].imshow(jacobian, cmap=SIGNED, vmin=-most, vmax=most)
axes[0].set(title="Jacobian of one layer", xlabel="input j", ylabel="output i")
figure.colorbar(image, ax=axes[0], label=r"$\partial y_i / \partial x_j$")
words = ("from x to y, one pass", "from y to x, one walk", "from y to x, D passes")
for taken, word, colour in zip(ways.values(), words, (BLUE, GREEN, ORANGE), strict=True):
    axes[1].loglog(sizes, 1e3 * np.array(taken), "o-", color=colour, label=word)
axes[1].set(title="512 rows, one layer", xlabel="coordinates D", ylabel="processor time (ms)", xticks=sizes)
axes[1].set_xticklabels(sizes)
axes[1].minorticks_off()
axes[1].legend()
show(
    figure,
    "Left: a matrix of derivatives that is empty above its diagonal. Right: processor time against the number of "
    "coordinates; the inverse by D passes grows far above the inverse by one walk and the single pass.",
)

# %% [markdown]
# ## Read on
#
# - [Which flow?](../explanation/which_flow.md): when the slow direction matters.
# - [Coupling](coupling.md): both directions in one pass, with less in each layer.
# - [Transformer flows](../how-to/transformer_flows.md): the same by parallel sweeps.
# - Kingma et al., 2016, arXiv 1606.04934 (IAF); Papamakarios, Pavlakou, Murray, 2017, arXiv 1705.07057 (MAF).
