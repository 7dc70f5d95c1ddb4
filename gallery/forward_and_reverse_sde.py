# %% [markdown]
# # Forward and reverse SDE, probability flow and its likelihood
#
# A diffusion makes noise of data: $dx = -\frac12 \beta x\,ds + \sqrt{\beta}\,dw$. In the library's time $t = 1 - s$ it
# goes from right to left, and two equations lead back. One is random (Anderson), the other is not:
#
# $$ dx = \left[ v + \tfrac12 g^2 \nabla \log p_t \right] dt + g\,dw, \qquad \frac{dx}{dt} = v(t, x) . $$
#
# Both have the same density $p_t$ at every time. The second, the probability flow, is a continuous flow: it has an
# exact likelihood, by the instantaneous change of variables.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREY, MUCH, ORANGE, new, show

import pushforward as pf
from pushforward.dynamics import Adaptive, PredictionField, ReverseSDE, draw

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## An exact score
#
# The data are a mixture of two normals, whose density with noise is a mixture again. So the score needs no training,
# and every statement can be checked.

# %%
SHARES, CENTRES, SPREADS = np.array([0.4, 0.6]), np.array([-1.2, 0.9]), np.array([0.15, 0.3])
path = pf.paths.VariancePreservingPath()


def log_density(t, x):
    """The log-density of the data on their way to noise at time `t`, at numbers of any shape, in nats."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    parts = []
    for share, centre, spread in zip(SHARES, CENTRES, SPREADS, strict=True):
        width = jnp.sqrt((alpha * spread) ** 2 + sigma**2)
        parts.append(jnp.log(share / width) - 0.5 * ((x - alpha * centre) / width) ** 2 - 0.5 * jnp.log(2 * jnp.pi))
    return jnp.logaddexp(*parts)


class ExactScore(eqx.Module):
    """The score of that density, in the place of a network."""

    shape: tuple[int, ...] = eqx.field(static=True, default=(1,))
    cond_shape: None = eqx.field(static=True, default=None)

    def __call__(self, t, x, condition=None):
        return jax.grad(lambda x: jnp.sum(log_density(t, x)))(x)


field = PredictionField(ExactScore(), path, predicts="score")

# %% [markdown]
# ## There and back
#
# Euler's steps of all three equations, with the same 400 starts. Forward, time runs from data to noise.

# %%
n_paths, times = 400, np.linspace(field.end, field.start, 401)
rng = np.random.default_rng(0)
which = rng.choice(2, n_paths, p=SHARES)
data = CENTRES[which] + SPREADS[which] * rng.standard_normal(n_paths)


def walk(x, times, drift, noisy):
    """The states `(n_times, n)` of Euler's steps from `x` along `times`, which may ascend or descend."""
    steps = jnp.diff(times)
    z = jax.random.normal(jax.random.key(0), (len(steps), len(x)))

    def step(x, inputs):
        t, length, z = inputs
        spread = jnp.sqrt(path.diffusion_squared(t) * jnp.abs(length)) if noisy else 0.0
        x = x + drift(t, x[None])[0] * length + spread * z
        return x, x

    return np.concatenate([[x], jax.lax.scan(step, x, (times[:-1], steps, z))[1]])


def half_squared(t):
    """Half the squared diffusion."""
    return 0.5 * path.diffusion_squared(t)


forward = walk(data, times, lambda t, x: field(t, x) - half_squared(t) * field.score(t, x), noisy=True)
noise = rng.standard_normal(n_paths)
reverse = walk(noise, times[::-1], lambda t, x: field(t, x) + half_squared(t) * field.score(t, x), noisy=True)
smooth = walk(noise, times[::-1], field, noisy=False)
for name, states in (("forward, noise", forward[-1]), ("reverse, data", reverse[-1]), ("flow, data", smooth[-1])):
    print(f"{name}: mean {states.mean():+.3f}, standard deviation {states.std():.3f}")
mean = SHARES @ CENTRES
deviation = np.sqrt(SHARES @ (SPREADS**2 + CENTRES**2) - mean**2)
assert abs(forward[-1].std() - 1) < 4 / np.sqrt(2 * n_paths)
for ends in (reverse[-1], smooth[-1]):
    assert abs(ends.mean() - mean) < 4 * deviation / np.sqrt(n_paths)

# %% [markdown]
# The library's sampler does the same for any field, here for 4,000 rows:

# %%
drawn = np.asarray(draw(field, jax.random.key(1), 4000, ReverseSDE(n_steps=200)))[:, 0]
share = np.mean(drawn > -0.3)
print(f"share of the right mode by the reverse SDE: {share:.3f}")
assert abs(share - 0.6) < 4 * np.sqrt(0.24 / 4000) + 0.005

# %% [markdown]
# ## The likelihood of the probability flow
#
# The flow's log-density is that of the mixture at the path's last time, but for one thing: the flow starts from a
# normal, and the diffusion from what is left of the data in the noise, $\alpha(0) = 0.007$ of them. The difference is
# the one of these two log-densities at the latent, and nothing else.

# %%
flow = pf.Flow(pf.StandardNormal((1,)), pf.bijections.Continuous(field, solver=Adaptive(rtol=1e-7, atol=1e-7)))
line = np.linspace(-2, 2, 161)
scored, true = np.asarray(flow.log_prob(line[:, None])), np.asarray(log_density(field.end, line))
latent = np.asarray(flow.encode(line[:, None]))[:, 0]
left = flow.base.log_prob(latent[:, None]) - log_density(field.start, latent)
likely = true > np.log(1e-2)
print(f"largest difference where the density is above 0.01: {np.abs(scored - true)[likely].max():.4f} nats")
print(f"what the start does not explain of it: {np.abs(scored - true - left)[likely].max():.1e} nats")
assert np.abs(scored - true - left)[likely].max() < 1e-4

# %%
figure, axes = new(4, width=10.5, height=3.1, sharey=True)
x = np.linspace(-2.7, 2.7, 200)
shades = np.exp(np.stack([log_density(t, x) for t in times[::4]]))
for axis, states, when, title in (
    (axes[0], forward, times, "Forward SDE"),
    (axes[1], reverse, times[::-1], "Reverse SDE"),
    (axes[2], smooth, times[::-1], "Probability flow"),
):
    axis.pcolormesh(times[::4], x, np.sqrt(shades.T), cmap=MUCH, shading="nearest", rasterized=True)
    axis.plot(when, states[:, :14], color="white", lw=0.7, alpha=0.9)
    axis.set(title=title, xlabel="time t (noise at 0, data at 1)")
    axis.xaxis.label.set_fontsize(8.5)
axes[0].set_ylabel("x")
axes[3].plot(np.exp(true), line, color=GREY, lw=4, alpha=0.5, label="true")
axes[3].plot(np.exp(scored), line, color=BLUE, label="flow")
axes[3].hist(drawn, 80, density=True, orientation="horizontal", color=ORANGE, alpha=0.35, label="reverse SDE")
axes[3].set(title="Densities at the data", xlabel="density", ylim=(-2.7, 2.7))
axes[3].legend(fontsize=8.5)
show(
    figure,
    "Three panels of paths over the density at every time, from one bundle at time 0 to two at time 1: rough "
    "paths for both SDEs, smooth ones that never cross for the probability flow. Right: the flow's density lies "
    "on the true one and on the histogram of the reverse SDE.",
)

# %% [markdown]
# ## Read on
#
# - [Continuous flows](../how-to/continuous.md): `score_sde`, and its samplers.
# - [Score matching and annealing](langevin_and_annealing.md).
# - Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, arXiv 2011.13456; Anderson, 1982.
