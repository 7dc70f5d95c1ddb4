# %% [markdown]
# # Score matching, why Langevin is slow between modes, and annealing
#
# The score $s(x) = \nabla \log p(x)$ has no normalising constant in it. It can be learnt from data without one, by
# integration by parts (Hyvarinen),
#
# $$ \mathbb{E}\left[ \tfrac12 \|s_\theta(x)\|^2 + \operatorname{tr} \nabla s_\theta(x) \right] , $$
#
# and it draws samples, by Langevin's steps $x \leftarrow x + \frac{a}{2} s(x) + \sqrt{a}\,z$ with normal $z$. Both
# stumble over the same thing: regions between modes, where there are no data and where few steps lead.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, GREY, ORANGE, new, show

import pushforward as pf
from pushforward.dynamics import AnnealedLangevin, PredictionField, draw, langevin
from pushforward.objectives import ScoreMatching, UnnormalisedDensity

# %% [markdown]
# ## A score that is learnt
#
# A fifth of the data lies around $-4$, the rest around $4$. Score matching finds the slope of the log-density near both
# modes. The height of one mode over the other is the integral of the score across the gap, where no row says anything.


# %%
SHARES, CENTRES = np.array([0.2, 0.8]), np.array([-4.0, 4.0])


def log_density(x, spread=1.0):
    """The mixture's log-density at numbers `x` of any shape, in nats, with standard deviation `spread`."""
    parts = [
        jnp.log(share) - 0.5 * ((x - centre) / spread) ** 2 - jnp.log(spread) - 0.5 * jnp.log(2 * jnp.pi)
        for share, centre in zip(SHARES, CENTRES, strict=True)
    ]
    return jnp.logaddexp(*parts)


def score(x, spread=1.0):
    """The derivative of `log_density` by `x`."""
    return jax.grad(lambda x: jnp.sum(log_density(x, spread)))(x)


rng = np.random.default_rng(0)
rows = (rng.choice(CENTRES, 4000, p=SHARES) + rng.standard_normal(4000))[:, None]
energy = UnnormalisedDensity(pf.nets.MLP(jax.random.key(0), 1, (), width=32, activation="softplus"), (1,))
fitted = pf.fit(energy, rows, key=jax.random.key(1), objective=ScoreMatching(), max_epochs=60, progress=False).flow
line = np.linspace(-7.5, 7.5, 301)
learnt = np.asarray(jax.vmap(jax.grad(fitted.log_prob))(line[:, None].astype(np.float32)))[:, 0]
true = np.asarray(score(line))
near = np.abs(np.abs(line) - 4) < 1.5
wrong = np.sqrt(np.mean((learnt - true)[near] ** 2))
gap = np.sqrt(np.mean((learnt - true)[np.abs(line) < 1] ** 2))
print(f"error of the score near the modes: {wrong:.2f}; in the gap: {gap:.2f}")
assert wrong < 0.3

# %% [markdown]
# ## Langevin is slow between modes
#
# Now the score is exact, so that nothing but the dynamics is to blame. All chains start in the smaller mode. Within it
# they spread in some tens of steps; to the other they get only when chance carries one over the barrier.

# %%
counts, right, chains = (0, 50, 200, 800, 3200), [], jnp.full((1000, 1), -4.0)
run = jax.jit(lambda key, x, n: jax.lax.fori_loop(0, n, lambda i, x: _step(jax.random.fold_in(key, i), x), x))


def _step(key, x):
    return langevin(score, key, x, step=0.1, n_steps=1)


for before, after in zip((0, *counts), counts, strict=False):
    chains = run(jax.random.fold_in(jax.random.key(2), after), chains, after - before)
    right.append(float(jnp.mean(chains > 0)))
    print(f"{after:>5} steps: {right[-1]:.3f} of the chains are in the mode that holds 0.8")
stuck = np.asarray(chains)[:, 0]
assert right[-1] < 0.5

# %% [markdown]
# ## Annealing
#
# With enough noise added there is one mode. Annealed Langevin begins there and lowers the noise level by level; at each
# level it uses the score of the data with that much noise. Chains decide between the modes while the way is open.


# %%
class NoisyScore(eqx.Module):
    """The exact score of the mixture with noise, as the network of a `PredictionField` on a VE path."""

    path: pf.paths.AbstractPath
    shape: tuple[int, ...] = eqx.field(static=True, default=(1,))
    cond_shape: None = eqx.field(static=True, default=None)

    def __call__(self, t, x, condition=None):
        sigma = self.path.sigma(t)
        return score(x * jnp.sqrt(1 + sigma**2), jnp.sqrt(1 + sigma**2))  # the field scales its network's input


path = pf.paths.VarianceExplodingPath(sigma_min=0.05, sigma_max=20.0)
field = PredictionField(NoisyScore(path), path, predicts="score")
annealed = np.asarray(draw(field, jax.random.key(3), 2000, AnnealedLangevin(n_levels=40, n_steps=20)))[:, 0]
share = np.mean(annealed > 0)
print(f"annealed, 800 steps in all: {share:.3f}")
assert abs(share - 0.8) < 4 * np.sqrt(0.8 * 0.2 / 2000) + 0.01  # the last level leaves an error of its step

# %%
figure, axes = new(3, width=10, height=3.2)
axes[0].plot(line, true, color=GREY, lw=3, alpha=0.5, label="true")
axes[0].plot(line, learnt, color=BLUE, label="learnt")
axes[0].plot(rows[:400, 0], np.full(400, -4.6), "|", color=ORANGE, ms=4, alpha=0.4, label="data")
axes[0].set(title="Score by score matching", xlabel="x", ylabel="score", ylim=(-5, 8))
axes[1].plot(counts, right, "o-", color=ORANGE, label="Langevin")
axes[1].axhline(0.8, color=GREY, ls=":", label="right")
axes[1].plot([800], [share], "D", color=GREEN, label="annealed")
axes[1].set(title="Share of the larger mode", xlabel="steps", ylabel="share of chains", ylim=(-0.03, 1.0))
bins = np.linspace(-8, 8, 65)
axes[2].hist(stuck, bins, density=True, color=ORANGE, alpha=0.5, label="Langevin, 3,200 steps")
axes[2].hist(annealed, bins, density=True, histtype="step", color=GREEN, lw=1.5, label="annealed, 800 steps")
axes[2].plot(line, np.exp(log_density(line)), color=GREY, label="true density")
axes[2].set(title="Where the chains are", xlabel="x", ylabel="density", ylim=(0, 0.62))
for axis in axes:
    axis.legend(fontsize=8.5)
show(
    figure,
    "Left: the learnt score lies on the true one around both modes and leaves it in the gap between them. Middle: "
    "the share of Langevin chains in the larger mode creeps up over thousands of steps; a diamond for annealing "
    "lies at 0.8. Right: histograms of both kinds of chains on the true density.",
)

# %% [markdown]
# ## Read on
#
# - [Score matching](../how-to/score_matching.md): energies, diffusions, noise levels.
# - [Forward and reverse SDE](forward_and_reverse_sde.md): annealing without levels.
# - [Boltzmann machines](boltzmann_machine.md): the same without constants, for whole numbers.
# - Hyvarinen, 2005; Song, Ermon, 2019, arXiv 1907.05600.
