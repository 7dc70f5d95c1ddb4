# %% [markdown]
# # Low rank and the determinant lemma
#
# A change of few directions among many has a cheap determinant, because the order of two factors does not matter to it:
#
# $$ \det (I_D + U V^\top) = \det (I_m + V^\top U) , \qquad U, V \in \mathbb{R}^{D \times m} . $$
#
# The left side is a determinant of size $D$, the right side one of size $m$. Planar layers are the case $m = 1$,
# Sylvester layers have $m$ hidden units, and `LowRankLinear` is the matrix itself.

# %%

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, ORANGE, new, seconds, show

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The lemma

# %%
rng = np.random.default_rng(0)
u, v = 0.3 * rng.standard_normal((2, 100, 3))
large = np.linalg.slogdet(np.eye(100) + u @ v.T)[1]
small = np.linalg.slogdet(np.eye(3) + v.T @ u)[1]
print(f"100 x 100: {large:.12f}\n    3 x 3: {small:.12f}")
assert abs(large - small) < 1e-12

# %% [markdown]
# ## Layers that use it
#
# A Sylvester layer of rank $m$ in $D$ dimensions has triangular factors, so that even its small determinant is a sum of
# $m$ logarithms. The whole Jacobian, written out by automatic differentiation, has the same determinant.


# %%
rank, sizes = 4, (8, 32, 128, 256)
lemma, written_out = [], []
for dim in sizes:
    layer = pf.bijections.Sylvester(jax.random.key(0), dim, rank)
    rows = jax.random.normal(jax.random.key(1), (16, dim))
    by_lemma = eqx.filter_jit(jax.vmap(lambda x, layer=layer: layer.forward_and_log_det(x)[1]))
    by_all = eqx.filter_jit(jax.vmap(lambda x, layer=layer: jnp.linalg.slogdet(jax.jacfwd(layer.forward)(x))[1]))
    np.testing.assert_allclose(by_lemma(rows), by_all(rows), atol=1e-9)
    lemma.append(seconds(by_lemma, rows))
    written_out.append(seconds(by_all, rows))
    print(
        f"D = {dim:>3}: {1e3 * lemma[-1]:8.3f} ms by the lemma, {1e3 * written_out[-1]:9.3f} ms from the whole Jacobian"
    )

# %% [markdown]
# ## What such a layer moves
#
# The Jacobian minus the identity has rank $m$: all but $m$ of its singular values are 0. Directions outside the
# subspace pass unchanged, so a flow turns the space between layers.

# %%
layer = pf.bijections.Sylvester(jax.random.key(2), 32, rank)
layer = jax.tree.map(lambda leaf: 4 * leaf if eqx.is_inexact_array(leaf) else leaf, layer)
change = np.asarray(jax.jacfwd(layer.forward)(jax.random.normal(jax.random.key(3), (32,)))) - np.eye(32)
values = np.linalg.svd(change, compute_uv=False)
assert values[rank - 1] > 1e-6
assert values[rank:].max() < 1e-12

# %%
figure, axes = new(2, height=3.4)
axes[0].loglog(sizes, 1e3 * np.array(written_out), "o-", color=ORANGE, label="whole Jacobian")
axes[0].loglog(sizes, 1e3 * np.array(lemma), "o-", color=BLUE, label="determinant lemma")
axes[0].set(
    title=f"16 log-determinants, rank {rank}", xlabel="dimensions D", ylabel="processor time (ms)", xticks=sizes
)
axes[0].set_xticklabels(sizes)
axes[0].minorticks_off()
axes[0].legend()
axes[1].semilogy(np.arange(1, 33), np.maximum(values, 1e-18), "o", ms=4, color=BLUE)
axes[1].axvline(rank + 0.5, color=GREEN, ls=":", label=f"rank {rank}")
axes[1].set(title=r"Singular values of $J - I$, $D = 32$", xlabel="number", ylabel="singular value")
axes[1].legend()
show(
    figure,
    "Left: processor time against the dimension on logarithmic axes; the whole Jacobian grows steeply, the lemma "
    "hardly. Right: of 32 singular values four stand out and the others are zero to rounding.",
)

# %% [markdown]
# ## Read on
#
# - [Planar flows](planar_ring.md): rank one, ten times.
# - [Linear layers](linear_layers.md): `LowRankLinear` among the others.
# - van den Berg, Hasenclever, Tomczak, Welling, 2018, arXiv 1803.05649; Harville, 1997, theorem 18.1.1.
