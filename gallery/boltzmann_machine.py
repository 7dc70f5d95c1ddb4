# %% [markdown]
# # Boltzmann machines, with and without their constant
#
# A Boltzmann machine of $n$ units that are $-1$ or $1$ knows the probability of a state but for a constant:
#
# $$ \log p(x) = \tfrac12 x^\top W x + b^\top x - \log Z, \qquad
# Z = \sum_{x \in \{-1, 1\}^n} e^{x^\top W x / 2 + b^\top x} . $$
#
# The constant sums over all $2^n$ states, and each step of maximising the likelihood needs it. In the ratio of the
# probabilities of two states it cancels. Ratio matching trains by the $n$ ratios of a state to those that differ from
# it in one unit; it is score matching for whole numbers, where neighbours take the place of derivatives.

# %%
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _style import BLUE, GREY, ORANGE, SIGNED, new, show

jax.config.update("jax_enable_x64", True)

# %%
N_UNITS, N_ROWS = 8, 20_000


def states(n):
    """All states, `(2^n, n)`."""
    return jnp.asarray(list(itertools.product((-1.0, 1.0), repeat=n)))


def matrix(couplings, n):
    """The symmetric matrix with these numbers above its diagonal, which is 0."""
    upper = jnp.zeros((n, n)).at[np.triu_indices(n, 1)].set(couplings)
    return upper + upper.T


def unnormalised(model, x):
    """The log-probability of rows `(m, n)`, but for the constant."""
    return 0.5 * jnp.sum(x @ matrix(model["W"], x.shape[1]) * x, axis=1) + x @ model["b"]


def likelihood(model, x):
    """Minus the mean log-probability of rows, in nats; the constant sums over all states."""
    return jax.nn.logsumexp(unnormalised(model, states(x.shape[1]))) - jnp.mean(unnormalised(model, x))


def ratio_matching(model, x):
    """The mean of sum_i (1 + p(x) / p(x with unit i flipped))^-2, in which the constant cancels."""
    drop = 2 * x * (x @ matrix(model["W"], x.shape[1]) + model["b"])
    return jnp.mean(jnp.sum(jax.nn.sigmoid(-drop) ** 2, axis=1))


# %% [markdown]
# ## Both find the machine
#
# The data are exact draws from a random machine. Held-out log-likelihoods are exact too: with eight units the constant
# is a sum of 256 terms.

# %%
rng = np.random.default_rng(0)
lengths = {"W": N_UNITS * (N_UNITS - 1) // 2, "b": N_UNITS}
truth = {name: jnp.asarray(0.4 * rng.standard_normal(length)) for name, length in lengths.items()}
chances = np.asarray(jax.nn.softmax(unnormalised(truth, states(N_UNITS))))
assert abs(chances.sum() - 1) < 1e-12
x, held_out = (np.asarray(states(N_UNITS))[rng.choice(len(chances), N_ROWS, p=chances)] for _ in range(2))


def train(loss, n_steps=400):
    """Adam with a falling rate, from a machine whose numbers are all 0."""
    model, optimizer = jax.tree.map(jnp.zeros_like, truth), optax.adam(optax.cosine_decay_schedule(0.03, n_steps))

    def step(carry, _):
        model, moments = carry
        updates, moments = optimizer.update(jax.grad(loss)(model, x), moments)
        return (optax.apply_updates(model, updates), moments), None

    return jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=n_steps)[0][0])((model, optimizer.init(model)))


models = {"truth": truth, "likelihood": train(likelihood), "ratio matching": train(ratio_matching)}
nats = {name: -float(likelihood(model, held_out)) for name, model in models.items()}
for name, value in nats.items():
    print(f"{name:>15}: {value:.4f} nats per held-out row")
    assert value <= nats["truth"] + 4 * np.std(np.asarray(unnormalised(truth, held_out))) / np.sqrt(N_ROWS)
    assert value > nats["truth"] - 0.005

# %% [markdown]
# ## What the constant costs
#
# Floating-point operations of one gradient with 256 rows, as XLA counts them. Each unit more doubles the states.

# %%
sizes, operations = (4, 6, 8, 10, 12, 14), {"likelihood": [], "ratio matching": []}
for n in sizes:
    model = {"W": jnp.zeros(n * (n - 1) // 2), "b": jnp.zeros(n)}
    for name, loss in (("likelihood", likelihood), ("ratio matching", ratio_matching)):
        program = jax.jit(jax.grad(loss)).lower(model, jnp.ones((256, n))).compile()
        operations[name].append(program.cost_analysis()["flops"])
assert operations["likelihood"][-1] > 2.5 * operations["likelihood"][-2]  # more than twice for two units more
assert operations["ratio matching"][-1] < 2 * operations["ratio matching"][-2]

# %%
figure, axes = new(3, width=10, height=3.2)
most = float(np.abs(matrix(truth["W"], N_UNITS)).max())
found = matrix(models["ratio matching"]["W"], N_UNITS)
halves = np.triu(matrix(truth["W"], N_UNITS)) + np.tril(found)
image = axes[0].imshow(halves, cmap=SIGNED, vmin=-most, vmax=most)
axes[0].set(title="Couplings: true above,\nfound below the diagonal", xlabel="unit", ylabel="unit")
figure.colorbar(image, ax=axes[0], label="coupling $W_{ij}$")
log_true = np.log(chances)
for name, colour, mark in (("likelihood", GREY, "o"), ("ratio matching", ORANGE, ".")):
    log_found = jax.nn.log_softmax(unnormalised(models[name], states(N_UNITS)))
    axes[1].plot(log_true, log_found, mark, ms=4, color=colour, label=name)
axes[1].plot([log_true.min(), log_true.max()], [log_true.min(), log_true.max()], color=BLUE, lw=0.8)
axes[1].set(title="All 256 states", xlabel="true log-probability (nats)", ylabel="found (nats)")
axes[1].legend()
for (name, values), colour in zip(operations.items(), (GREY, ORANGE), strict=True):
    axes[2].semilogy(sizes, values, "o-", color=colour, label=name)
axes[2].set(title="Cost of a gradient", xlabel="units n", ylabel="operations", xticks=sizes)
axes[2].legend()
show(
    figure,
    "Left: a matrix of couplings whose two halves, true and found by ratio matching, mirror each other. Middle: "
    "the log-probabilities of all 256 states, found against true, on the diagonal. Right: operations of a "
    "gradient against the number of units; the likelihood grows exponentially, ratio matching slowly.",
)

# %% [markdown]
# ## Read on
#
# - [Score matching](../how-to/score_matching.md): the same for real numbers; `examples/boltzmann_machine.py` compares
#   both.
# - [Score matching and annealing](langevin_and_annealing.md).
# - Hyvarinen, 2007, Some extensions of score matching.
