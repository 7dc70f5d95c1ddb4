"""Why a score needs no normalising constant: Boltzmann machines by exact likelihood, and without.

A Boltzmann machine of n units knows the probability of a state but for a constant Z that sums over all 2^n of them.
Its likelihood, and so each step of maximising it, costs that sum. Ratio matching asks for ratios of probabilities of
states that differ in one unit, in which Z cancels: n of them. For a density over real numbers the ratio of neighbours
is the score, and score matching does the same; there Z is an integral, which a grid takes with g^n points.

Prints what both cost, and the exact log-likelihood of what both find. Runs in well under a minute on one core.
"""

from __future__ import annotations

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pushforward as pf

Array = jax.Array
N_UNITS, N_ROWS, N_STEPS = 10, 20_000, 400


class Machine(eqx.Module):
    r"""$\log p(x) = \frac12 x^T W x + b^T x - \log Z$ for $x \in \{-1, 1\}^n$, $W$ symmetric with diagonal 0.

    The couplings are the numbers above the diagonal, so that a gradient step keeps the matrix symmetric.
    """

    couplings: Array
    biases: Array

    def matrix(self) -> Array:
        """The matrix $W$."""
        n = len(self.biases)
        upper = jnp.zeros((n, n)).at[np.triu_indices(n, 1)].set(self.couplings)
        return upper + upper.T

    def __call__(self, x: Array) -> Array:
        r"""$\log p(x) + \log Z$ of rows `(m, n)`."""
        return 0.5 * jnp.sum(x @ self.matrix() * x, axis=1) + x @ self.biases


def machine(n: int, scale: float = 0.4, seed: int = 0) -> Machine:
    """A machine with random couplings and biases; all zeros for `scale=0`."""
    rng = np.random.default_rng(seed)
    return Machine(
        jnp.asarray(scale * rng.standard_normal(n * (n - 1) // 2)), jnp.asarray(scale * rng.standard_normal(n))
    )


def states(n: int) -> Array:
    """All states, `(2^n, n)`."""
    return jnp.asarray(list(itertools.product((-1.0, 1.0), repeat=n)))


def sample(model: Machine, n_rows: int, seed: int = 0) -> Array:
    """Independent rows, exactly: from the table of all probabilities."""
    every = states(len(model.biases))
    chosen = jax.random.categorical(jax.random.key(seed), model(every), shape=(n_rows,))
    return every[chosen]


def likelihood(model: Machine, x: Array) -> Array:
    """Minus the log-probability of each row, in nats; the constant sums over all 2^n states."""
    return jax.nn.logsumexp(model(states(len(model.biases)))) - model(x)


def ratio_matching(model: Machine, x: Array) -> Array:
    r"""$\sum_i (1 + p(x)/p(x^{(i)}))^{-2}$ of each row, where $x^{(i)}$ has unit $i$ flipped.

    A flip takes $x_i$ to $-x_i$, and the log-probability down by $2 x_i (W x + b)_i$: the constant is in neither.
    Source: Hyvarinen, 2007, Some extensions of score matching.
    """
    drop = 2 * x * (x @ model.matrix() + model.biases)
    return jnp.sum(jax.nn.sigmoid(-drop) ** 2, axis=1)


def train(loss, model, x: Array, n_steps: int = N_STEPS, rate: float = 0.02):
    """Adam with a falling rate on all rows at once; the loss is the mean over rows."""
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, n_steps))

    def step(carry, _):
        params, moments = carry
        gradient = jax.grad(lambda p: jnp.mean(loss(eqx.combine(p, rest), x)))(params)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=n_steps)[0][0])
    return eqx.combine(run((params, optimizer.init(params))), rest)


def cost(loss, n: int, n_rows: int = 256) -> float:
    """Floating-point operations of one gradient, as XLA counts them."""
    x = jnp.ones((n_rows, n))
    gradient = jax.jit(jax.grad(lambda model: jnp.mean(loss(model, x))))
    counted = gradient.lower(machine(n)).compile().cost_analysis()
    return float((counted or {})["flops"])


class Quartic(eqx.Module):
    r"""$\log p(x) = \frac12 x^T W x + b^T x - \frac14 \sum_i a_i x_i^4 - \log Z$ over real numbers."""

    machine: Machine
    powers: Array

    def __call__(self, x: Array) -> Array:
        """The log-density of one event, but for the constant."""
        return self.machine(x[None])[0] - 0.25 * jnp.sum(self.powers * x**4)


def grid(n: int, points: int = 64, width: float = 4.0) -> tuple[Array, float]:
    """The points of a product grid on `[-width, width]^n`, and the log of the volume of a cell."""
    line = (jnp.arange(points) + 0.5) * (2 * width / points) - width
    axes = jnp.meshgrid(*[line] * n, indexing="ij")
    return jnp.stack(axes, axis=-1).reshape(-1, n), n * math.log(2 * width / points)


def quartic_nats(model: Quartic, x: Array) -> Array:
    """The log-density of each row, the constant by a sum over the grid: exact to rounding for so smooth a function."""
    points, cell = grid(x.shape[1])
    return jax.vmap(model)(x) - jax.nn.logsumexp(jax.vmap(model)(points)) - cell


def quartic_sample(model: Quartic, n_rows: int, seed: int = 0) -> np.ndarray:
    """Independent rows by rejection from a box."""
    rng, kept, n = np.random.default_rng(seed), [], len(model.powers)
    height = float(jnp.max(jax.vmap(model)(grid(n)[0]))) + 0.1  # the grid may miss the top by a little
    score = jax.jit(jax.vmap(model))
    while sum(map(len, kept)) < n_rows:
        proposals = rng.uniform(-4, 4, (200_000, n))
        accept = np.log(rng.uniform(size=len(proposals))) < np.asarray(score(jnp.asarray(proposals))) - height
        kept.append(proposals[accept])
    return np.concatenate(kept)[:n_rows]


def root_mean_square(one, other) -> float:
    """How far the parameters of two models are apart."""
    apart = jax.tree.map(lambda a, b: (a - b).ravel(), one, other)
    return float(jnp.sqrt(jnp.mean(jnp.concatenate(jax.tree.leaves(apart)) ** 2)))


def binary() -> None:
    """Ten units by exact likelihood and by ratio matching."""
    print("Operations of one gradient, 256 rows")
    print(f"{'units':>6} {'states':>8} {'likelihood':>14} {'ratio matching':>14}")
    for n in range(4, 17, 2):
        print(f"{n:>6} {2**n:>8,} {cost(likelihood, n):>14,.0f} {cost(ratio_matching, n):>14,.0f}")
    print("Each unit more doubles the states of the likelihood; ratio matching grows with the square of the units.\n")

    true = machine(N_UNITS)
    x, held_out = sample(true, N_ROWS, 1), sample(true, N_ROWS, 2)
    start = machine(N_UNITS, scale=0)
    print(f"{N_UNITS} units, {N_ROWS:,} rows; log-likelihoods of {N_ROWS:,} others, with the exact constant")
    report(
        {
            "truth": true,
            "exact likelihood": train(likelihood, start, x),
            "ratio matching": train(ratio_matching, start, x),
            "not trained": start,
        },
        true,
        lambda model: -likelihood(model, held_out),
    )


def continuous() -> None:
    """Three real units with quartic walls, by likelihood on a grid and by score matching."""
    true = Quartic(machine(3, scale=0.8), jnp.array([1.0, 0.5, 0.7]))
    start = Quartic(machine(3, scale=0), jnp.ones(3))
    x, held_out = (jnp.asarray(quartic_sample(true, N_ROWS, seed)) for seed in (1, 2))
    objective = pf.objectives.ScoreMatching()

    def matching(model: Quartic, x: Array) -> Array:
        return objective.per_row(pf.objectives.UnnormalisedDensity(model, (3,)), x)

    print("\nThree real units with walls of x^4; the constant is a sum over 64^3 points")
    report(
        {
            "truth": true,
            "likelihood on the grid": train(lambda model, x: -quartic_nats(model, x), start, x, 150, 0.05),
            "score matching": train(matching, start, x, 400, 0.05),
            "not trained": start,
        },
        true,
        lambda model: quartic_nats(model, held_out),
    )


def report(models: dict, true, nats) -> None:
    """A row for each model: its held-out log-likelihood, and how far its parameters are from the truth."""
    print(f"{'':>24} {'nats per row':>20} {'error of parameters':>20}")
    for name, model in models.items():
        each = np.asarray(nats(model))
        spread = each.std() / math.sqrt(len(each))
        print(f"{name:>24} {each.mean():>12.4f} +-{spread:.4f} {root_mean_square(model, true):>20.4f}")


def main() -> None:
    """Both tables."""
    binary()
    continuous()


if __name__ == "__main__":
    main()
