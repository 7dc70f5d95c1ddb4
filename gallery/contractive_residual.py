# %% [markdown]
# # Contractive residuals and the fixed point
#
# A residual layer $y = x + g(x)$ is invertible if $g$ is a contraction: it never lengthens a distance, and shrinks it
# at least by a factor $L < 1$. Then the inverse is the fixed point of an iteration, and Banach's theorem says how
# fast:
#
# $$ x_{k+1} = y - g(x_k), \qquad \|x_k - x\| \le \frac{L^k}{1 - L} \|x_1 - x_0\| . $$
#
# The log-determinant is a series of traces, which converges for the same reason:
#
# $$ \log \det (I + J_g) = \sum_{k=1}^{\infty} \frac{(-1)^{k+1}}{k} \operatorname{tr} J_g^k . $$

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, ORANGE, new, show

import pushforward as pf
from pushforward.numerics import Anderson, ExactLogDet, ExactTrace, PlainIteration, Truncated, truncation_bound

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A contraction that uses its bound
#
# The swirl $g(x) = L\,R \sin x$ with a rotation $R$ shrinks distances by $L$ near the origin, and by more elsewhere.
# Any function with a known bound can stand in a residual layer; `LipschitzMLP` is a network whose matrices are
# divided by bounds on their norms, so that it keeps its promise whatever its weights are.


# %%
class Swirl(pf.nets.AbstractContraction):
    """The function `bound * R sin(x)` in the plane, where R turns by 1 radian."""

    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: None = eqx.field(static=True)
    lipschitz: float = eqx.field(static=True)

    def __init__(self, bound: float):
        self.shape, self.cond_shape, self.lipschitz = (2,), None, bound

    def at(self, condition):
        turn = jnp.array([[jnp.cos(1.0), -jnp.sin(1.0)], [jnp.sin(1.0), jnp.cos(1.0)]])
        return lambda x: self.lipschitz * turn @ jnp.sin(x)

    def count(self):
        return 1

    def certified(self):
        return self.lipschitz


dim, bounds = 2, (0.5, 0.9)
points = jax.random.normal(jax.random.key(1), (200, dim))
layers = {bound: pf.bijections.Residual(Swirl(bound), log_det=ExactLogDet()) for bound in bounds}
network = pf.nets.LipschitzMLP(jax.random.key(0), dim, width=16, lipschitz=0.9)
network = jax.tree.map(lambda leaf: 10 * leaf, network)  # large weights, which the layer has to hold back
for bound, layer in [*layers.items(), (0.9, pf.bijections.Residual(network, ExactLogDet()))]:
    jacobians = jax.vmap(jax.jacfwd(lambda x, layer=layer: layer.forward(x) - x))(points)
    norm = np.linalg.norm(jacobians, ord=2, axis=(1, 2)).max()
    print(f"{type(layer.net).__name__}, L = {bound}: largest singular value at 200 points {norm:.3f}")
    assert norm <= bound + 1e-9

# %% [markdown]
# ## The fixed point
#
# The error of Banach's iteration, against its bound. Anderson's mixing of the last few steps needs fewer of them; both
# end when a bound on their error, not the size of their step, is small.

# %%
n_steps, errors, allowed = 60, {}, {}
for bound, layer in layers.items():
    x = points[0]
    y, guess = layer.forward(x), jnp.zeros(dim)
    path = [guess]
    for _ in range(n_steps):
        path.append(y - (layer.forward(path[-1]) - path[-1]))
    errors[bound] = np.linalg.norm(np.asarray(path) - np.asarray(x), axis=1)
    first = np.linalg.norm(np.asarray(path[1] - path[0]))
    allowed[bound] = bound ** np.arange(n_steps + 1) / (1 - bound) * first
    assert (errors[bound] <= allowed[bound] + 1e-13).all()
    np.testing.assert_allclose(layer.inverse(y), x, atol=1e-10)
evaluations = {}
for solver in (PlainIteration(), Anderson()):
    layer = pf.bijections.Residual(Swirl(0.9), ExactLogDet(), solver)
    y = jax.vmap(layer.forward)(points)
    evaluations[type(solver).__name__] = int(np.max(layer.report(y.T, None, None, forward=False)[2]))
print("evaluations of the slowest of 200 rows:", evaluations)

# %% [markdown]
# ## The series
#
# Cut after $n$ terms it is biased, by less than a bound that only knows $L$ and the dimension.

# %%
terms, off, known = np.array([1, 2, 3, 4, 6, 8, 12]), {}, {}
for bound, layer in layers.items():
    exact = jax.vmap(layer.forward_and_log_det)(points)[1]
    full = jax.vmap(lambda x, layer=layer: jnp.linalg.slogdet(jax.jacfwd(layer.forward)(x))[1])(points)
    np.testing.assert_allclose(exact, full, atol=1e-10)
    cut = [pf.bijections.Residual(layer.net, log_det=Truncated(int(n), ExactTrace())) for n in terms]
    off[bound] = [np.abs(jax.vmap(it.forward_and_log_det)(points)[1] - exact).max() for it in cut]
    known[bound] = [truncation_bound(int(n), bound, dim) for n in terms]
    assert (np.array(off[bound]) <= np.array(known[bound]) + 1e-12).all()

# %%
figure, axes = new(2, height=3.4)
for bound, colour in zip(bounds, (BLUE, ORANGE), strict=True):
    axes[0].semilogy(errors[bound], color=colour, label=f"L = {bound}")
    axes[0].semilogy(allowed[bound], ":", color=colour, label=f"bound, L = {bound}")
    axes[1].semilogy(terms, off[bound], "o-", ms=4, color=colour, label=f"L = {bound}")
    axes[1].semilogy(terms, known[bound], ":", color=colour, label=f"bound, L = {bound}")
axes[0].set(title="Inverse by iteration", xlabel="steps", ylabel="distance to the solution", ylim=(1e-16, 1e3))
axes[1].set(title="Log-determinant by a series", xlabel="terms", ylabel="largest error (nats)")
for axis in axes:
    axis.legend(ncols=2, fontsize=8.5)
show(
    figure,
    "Left: the distance to the inverse falls as a straight line on a logarithmic axis, faster for L = 0.5 than "
    "for 0.9, each below its dotted bound. Right: the error of the series falls with the number of terms, each "
    "below its dotted bound.",
)

# %% [markdown]
# ## Read on
#
# - [Hutchinson's trace](hutchinson.md): the traces of the series without the Jacobian.
# - [The API of `numerics`](../reference/api/numerics.md): `RussianRoulette` makes the series unbiased.
# - Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, arXiv 1811.00995; Chen et al., 2019, arXiv 1906.02735.
