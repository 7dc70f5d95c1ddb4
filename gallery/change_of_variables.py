# %% [markdown]
# # Change of variables
#
# A density is probability per length. A map that stretches a piece of the line thins out what lies there, by the
# factor of the stretch. For $y = f(x)$ with a differentiable inverse,
#
# $$ p_Y(y) = p_X\left(f^{-1}(y)\right) \left| \frac{d f^{-1}(y)}{d y} \right| . $$
#
# Every flow of this library is this one sentence, with a network for $f$. This page takes three maps for which the
# answer is known in closed form, and compares.

# %%
import jax
import numpy as np
import scipy.stats
from _style import BLUE, GREY, ORANGE, new, show

import pushforward as pf

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## From the unit interval to any other
#
# The uniform density is 1 on $[0, 1]$. The map $y = 2 + 3 x$ carries it to $[2, 5]$, where it is $1/3$, for
# the area stays 1.

# %%
unit = pf.UniformBox(np.zeros(1), np.ones(1))
interval = pf.Flow(unit, pf.Affine(np.full(1, 2.0), np.full(1, 3.0)))
y = np.linspace(1.5, 5.5, 400)[:, None]
thin = np.exp(interval.log_prob(y))
np.testing.assert_allclose(thin, np.where((y[:, 0] > 2) & (y[:, 0] < 5), 1 / 3, 0), rtol=1e-12)
print(f"density at 3: {np.exp(interval.log_prob(np.array([[3.0]])))[0]:.6f}")

# %% [markdown]
# ## From a half-normal to a chi-square
#
# Let $x = |n|$ for a standard normal $n$, so that $p_X(x) = 2 \varphi(x)$ for $x > 0$. Its square $y = x^2$ has
# $f^{-1}(y) = \sqrt{y}$ with derivative $1 / (2 \sqrt{y})$, and so
#
# $$ p_Y(y) = \frac{2 \varphi(\sqrt{y})}{2 \sqrt{y}} = \frac{e^{-y/2}}{\sqrt{2 \pi y}} , $$
#
# the density of $\chi^2$ with one degree of freedom. A bijection returns the inverse and the logarithm of its
# derivative together; `jax.vmap` maps it over many numbers.

# %%
squared = np.linspace(0.02, 5, 400)
x, log_det = jax.vmap(pf.bijections.Square().inverse_and_log_det)(squared)
chi_square = scipy.stats.halfnorm.pdf(x) * np.exp(log_det)
np.testing.assert_allclose(chi_square, scipy.stats.chi2(1).pdf(squared), rtol=1e-12)

# %% [markdown]
# ## From the plane to polar coordinates
#
# In two dimensions the stretch is that of an area. A small step $dr$ along the radius and a small turn $d\varphi$ span
# a patch of area $r \, dr \, d\varphi$, so that two independent standard normals have, as radius and angle, the density
#
# $$ p(r, \varphi) = \frac{r \, e^{-r^2/2}}{2 \pi} : $$
#
# the angle is uniform, and the radius has Rayleigh's distribution. It is 0 at the centre, where the normal density
# itself is largest: a density always belongs to coordinates.

# %%
polar = pf.Flow(pf.StandardNormal((2,)), pf.Invert(pf.bijections.PolarToCartesian()))
radius = np.linspace(0.01, 4, 400)
for angle in (-3.0, 0.5, 2.0):
    here = np.exp(polar.log_prob(np.stack([radius, np.full(400, angle)], axis=1)))
    np.testing.assert_allclose(here * 2 * np.pi, scipy.stats.rayleigh.pdf(radius), rtol=1e-10)
drawn = polar.sample(jax.random.key(0), (20_000,))
print(f"mean radius of 20,000 draws: {drawn[:, 0].mean():.3f}; Rayleigh's: {np.sqrt(np.pi / 2):.3f}")
assert abs(drawn[:, 0].mean() - np.sqrt(np.pi / 2)) < 4 * np.sqrt((2 - np.pi / 2) / 20_000)

# %%
figure, axes = new(3)
axes[0].plot([0, 0, 1, 1], [0, 1, 1, 0], color=GREY, label="before: on [0, 1]")
axes[0].plot(y, thin, color=BLUE, label="after: $y = 2 + 3x$")
axes[0].set(xlabel="x, y", ylabel="density", title="A stretch thins out", ylim=(0, 1.45))
axes[1].plot(squared, scipy.stats.halfnorm.pdf(squared), color=GREY, label="half-normal x")
axes[1].plot(squared, chi_square, color=BLUE, label="$y = x^2$")
axes[1].plot(squared[::40], scipy.stats.chi2(1).pdf(squared[::40]), "o", ms=4, color=ORANGE, label=r"$\chi^2_1$")
axes[1].set(xlabel="x, y", ylabel="density", title="Half-normal to chi-square", ylim=(0, 2))
axes[2].hist(drawn[:, 0], bins=60, density=True, color="#c8d4dc", label="20,000 draws")
axes[2].plot(radius, scipy.stats.rayleigh.pdf(radius), color=BLUE, label=r"$r\,e^{-r^2/2}$")
axes[2].plot(radius, np.exp(-(radius**2) / 2) / (2 * np.pi), color=GREY, label="density in the plane")
axes[2].set(xlabel="radius r", ylabel="density", title="Normal plane to its radius", ylim=(0, 0.85))
for axis in axes:
    axis.legend()
show(
    figure,
    "Three panels of densities. Left: a box of height 1 on [0, 1] becomes a box of height 1/3 on [2, 5]. Middle: "
    "the half-normal and the density of its square, which rises without bound at 0 and lies on the dots of chi- "
    "square. Right: a histogram of radii on Rayleigh's curve, which begins at 0, beside the density in the plane.",
)

# %% [markdown]
# ## Read on
#
# - [Bijections, distributions, flows](../reference/bijections.md): every map of the library.
# - [A custom bijection](../how-to/custom_bijection.md): a map of your own, and the laws that prove it right.
# - Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, 2021, section 2, arXiv 1912.02762.
