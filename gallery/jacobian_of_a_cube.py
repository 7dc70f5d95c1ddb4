# %% [markdown]
# # Volume and Jacobian of a cube
#
# A matrix takes the unit cube to a slanted box, and the volume of that box is the absolute value of the matrix's
# determinant. A smooth map is a matrix near every point, its Jacobian $J$, and so
#
# $$ \log p_Y(f(x)) = \log p_X(x) - \log \left| \det J(x) \right|, \qquad
# J_{ij} = \frac{\partial f_i}{\partial x_j} . $$
#
# Where a map enlarges volumes the density falls, and where it shrinks them the density rises.

# %%
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREY, SIGNED, plt, show
from scipy.spatial import ConvexHull

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A linear map
#
# The corners of the cube, mapped, span the slanted box. Its volume, from these eight points alone, is what the layer
# says of itself.

# %%
matrix = jnp.array([[1.2, 0.5, 0.1], [-0.3, 0.9, 0.4], [0.2, -0.5, 1.1]])
layer = eqx.tree_at(lambda it: it.weight, pf.bijections.FullLinear(jax.random.key(0), 3), matrix)
corners = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
mapped, log_det = jax.vmap(layer.forward_and_log_det)(corners)
volume = ConvexHull(mapped).volume
print(f"volume of the box: {volume:.6f}; exp of the log-determinant: {np.exp(log_det[0]):.6f}")
assert abs(volume - np.exp(log_det[0])) < 1e-12

# %% [markdown]
# ## A map that bends
#
# One planar layer bends the plane. Its log-determinant differs from point to point. Each small square of a grid is
# mapped; the ratio of its areas after and before approaches $|\det J|$ as the squares shrink.

# %%
bend = pf.bijections.Planar(jax.random.key(2), 2)
bend = eqx.tree_at(lambda it: it.params.start, bend, jnp.array([1.1, 0.7, 1.3, -0.9, 0.2]))  # u, w and b


def area(polygon: np.ndarray) -> np.ndarray:
    """The areas of quadrilaterals `(..., 4, 2)` by the shoelace formula."""
    x, y = polygon[..., 0], polygon[..., 1]
    return 0.5 * np.abs(np.sum(x * np.roll(y, -1, -1) - y * np.roll(x, -1, -1), axis=-1))


def squares(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The centres `(n * n, 2)` and the corners `(n * n, 4, 2)` of squares that tile [-2, 2] x [-2, 2]."""
    side = 4 / n
    line = -2 + side * (np.arange(n) + 0.5)
    centres = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return centres, centres[:, None] + side / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])


forward = jax.vmap(bend.forward_and_log_det)
errors = {}
for n in (16, 32, 64):
    centres, around = squares(n)
    ratio = area(np.asarray(forward(around.reshape(-1, 2))[0]).reshape(-1, 4, 2)) / (4 / n) ** 2
    errors[n] = np.abs(ratio / np.exp(forward(centres)[1]) - 1).max()
    print(f"{n:>3} x {n} squares: the ratio of areas differs from |det J| by at most {errors[n]:.2%}")
assert errors[64] < 0.01
assert 3.5 < errors[32] / errors[64] < 4.5  # half the side, a quarter of the error

# %% [markdown]
# The log-determinant is exact, without any squares: it agrees with the determinant of the Jacobian that automatic
# differentiation writes out.

# %%
points, _ = squares(16)
full = jax.vmap(lambda x: jnp.linalg.slogdet(jax.jacfwd(bend.forward)(x))[1])(points)
np.testing.assert_allclose(forward(points)[1], full, atol=1e-12)

# %%
figure = plt.figure(figsize=(9, 3.9), layout="constrained")
space = figure.add_subplot(1, 2, 1, projection="3d")
for one, other in itertools.combinations(range(8), 2):
    if np.abs(corners[one] - corners[other]).sum() == 1:
        space.plot(*corners[[one, other]].T, color=GREY, lw=1)
        space.plot(*np.asarray(mapped)[[one, other]].T, color=BLUE, lw=1.8)
space.set(xlabel="$x_1$", ylabel="$x_2$", zlabel="$x_3$", title=f"Volume 1 (grey) becomes {volume:.3f} (blue)")
space.set(xticks=[0, 1, 2], yticks=[0, 1], zticks=[0, 1])
space.set_box_aspect((1, 1, 1), zoom=0.85)
space.view_init(22, -62)
plane = figure.add_subplot(1, 2, 2)
centres, around = squares(24)
after, log_areas = np.asarray(forward(around.reshape(-1, 2))[0]).reshape(-1, 4, 2), np.asarray(forward(centres)[1])
most = np.abs(log_areas).max()
patches = plt.matplotlib.collections.PolyCollection(after, array=log_areas, cmap=SIGNED, edgecolor="white", lw=0.3)
patches.set_clim(-most, most)
plane.add_collection(patches)
plane.set(xlabel="$y_1$", ylabel="$y_2$", title="A grid after a planar layer", aspect="equal")
plane.autoscale_view()
figure.colorbar(patches, ax=plane, label=r"$\log|\det J|$ (nats)")
show(
    figure,
    "Left: the unit cube in grey and the slanted box that the matrix makes of it in blue. Right: a square grid "
    "after a planar layer; a band of cells across it is stretched, and coloured by its log-determinant, other "
    "cells keep their area.",
)

# %% [markdown]
# ## Read on
#
# - [Change of variables](change_of_variables.md): the same in one dimension, in closed form.
# - [Linear layers](linear_layers.md): determinants that cost nothing.
# - [Low rank and the determinant lemma](low_rank.md): why the planar layer's determinant is cheap.
# - Papamakarios et al., 2021, section 2.1, arXiv 1912.02762.
