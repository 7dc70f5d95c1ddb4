# %% [markdown]
# # Adjoint against backpropagation, with the memory measured
#
# To train a continuous flow by likelihood one needs the gradient of a solve. Backpropagation keeps every step of the
# solver, and its memory grows with their number. The adjoint method integrates a second equation backwards,
#
# $$ \frac{d a}{d t} = -a^\top \frac{\partial v}{\partial x}, \qquad
# \frac{d L}{d \theta} = -\int_1^0 a^\top \frac{\partial v}{\partial \theta} \, dt, \qquad a(1) = \frac{d L}{d x(1)} ,
# $$
#
# and recomputes the states on the way, so that it keeps none. Checkpoints are between the two: some states are kept,
# and the steps between them are run again.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _style import BLUE, GREEN, ORANGE, new, show

import pushforward as pf
from pushforward.dynamics import FixedSteps, NetworkField

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# Backpropagation is written out here: the classical Runge-Kutta method for the state and its log-density, as a scan
# that JAX differentiates. Checkpoints and the adjoint are ways of the library's solver. The memory is what XLA sets
# aside for the compiled gradient of 256 rows beside its inputs and outputs: a number of the program, which does not
# depend on the machine's load.

# %%
rows = jax.random.normal(jax.random.key(0), (256, 2))
field = NetworkField(pf.nets.TimeMLP(jax.random.key(1), 2, width=32, depth=1))


def by_library(field, n_steps, way):
    """Minus the mean log-density of the rows, in nats."""
    layer = pf.bijections.Continuous(field, solver=FixedSteps("rk4", n_steps, gradient=way))
    return -pf.Flow(pf.StandardNormal((2,)), layer).log_prob(rows).mean()


def by_hand(field, n_steps, way):
    """The same by Runge-Kutta steps from data to noise, which backpropagation keeps."""

    def slope(t, state):
        return field.value_and_divergence(t, state[0], None, field.closed_form())

    def step(state, i):
        t, h = 1 - i / n_steps, -1 / n_steps
        moved = lambda by, size: jax.tree.map(lambda a, b: a + size * b, state, by)  # noqa: E731
        k1 = slope(t, state)
        k2 = slope(t + h / 2, moved(k1, h / 2))
        k3 = slope(t + h / 2, moved(k2, h / 2))
        k4 = slope(t + h, moved(k3, h))
        return jax.tree.map(lambda a, *k: a + h / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3]), state, k1, k2, k3, k4), None

    (latent, log_det), _ = jax.lax.scan(step, (rows.T, jnp.zeros(len(rows))), jnp.arange(n_steps))
    return -(pf.StandardNormal((2,)).log_prob(latent.T) + log_det).mean()


ways = {
    "backpropagation": (by_hand, None),
    "checkpoints": (by_library, "checkpointed"),
    "adjoint": (by_library, "adjoint"),
}
steps, kept, gradients = (8, 32, 128), {name: [] for name in ways}, {}
weights, rest = eqx.partition(field, eqx.is_inexact_array)
for name, (loss, way) in ways.items():
    for n_steps in steps:
        gradient = jax.jit(jax.grad(lambda w, loss=loss, n=n_steps, way=way: loss(eqx.combine(w, rest), n, way)))
        compiled = gradient.lower(weights).compile()
        kept[name].append(compiled.memory_analysis().temp_size_in_bytes / 2**20)
        if n_steps == 32:
            gradients[name] = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(compiled(weights))])
    print(f"{name}: " + ", ".join(f"{mib:.2f} MiB for {n} steps" for mib, n in zip(kept[name], steps, strict=True)))

# %% [markdown]
# All three give the same gradient: two of them that of the steps taken, the adjoint that of the equation, up to the
# error of the solve.

# %%
exact = gradients["backpropagation"]
for name in ("checkpoints", "adjoint"):
    apart = np.linalg.norm(gradients[name] - exact) / np.linalg.norm(exact)
    print(f"{name}: differs from backpropagation by {apart:.1e}")
    assert apart < 1e-5
assert kept["backpropagation"][2] > 8 * kept["backpropagation"][0]  # 16 times the steps
assert kept["adjoint"][2] < 1.2 * kept["adjoint"][0]
assert kept["checkpoints"][2] < kept["backpropagation"][2] / 4

# %%
figure, axis = new(1, width=6.5, height=3.6)
for name, colour in zip(ways, (ORANGE, GREEN, BLUE), strict=True):
    axis.loglog(steps, kept[name], "o-", color=colour, label=name)
axis.set(xlabel="steps of the solver", ylabel="memory of a gradient (MiB)", xticks=steps)
axis.set_xticklabels(steps)
axis.minorticks_off()
axis.legend()
show(
    figure,
    "Memory of a gradient against the number of steps on logarithmic axes: a straight rise for backpropagation, a "
    "slower one for checkpoints, a flat line for the adjoint.",
)

# %% [markdown]
# ## Read on
#
# - [Continuous flows](../how-to/continuous.md): `gradient="adjoint"` is the default, and how to choose another.
# - [Neural ODEs](../how-to/neural_ode.md): losses at many times.
# - Chen, Rubanova, Bettencourt, Duvenaud, 2018, appendix B, arXiv 1806.07366; Kidger, 2021, section 5.1, arXiv
#   2202.02435.
