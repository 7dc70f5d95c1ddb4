# %% [markdown]
# # Flow matching and reflow
#
# A velocity field can be learnt without solving anything. Draw noise $x_0$ and a row $x_1$, walk the straight line
# between them, and ask the network for the line's velocity:
#
# $$ \min_\theta \; \mathbb{E} \left\| v_\theta(t, x_t) - (x_1 - x_0) \right\|^2 , \qquad
# x_t = t\,x_1 + (1 - t)\,x_0 . $$
#
# The minimum is the mean velocity at each place, whose flow carries the noise to the data. Lines of random pairs cross,
# so the flow's own paths bend. Reflow trains again on the pairs that the flow itself made. These do not cross; the
# paths become straight, and few steps of a solver are enough.

# %%
import jax
import numpy as np
from _style import BLUE, GREY, ORANGE, new, show

import pushforward as pf
from pushforward.data import TOYS
from pushforward.distributions import Evolution, with_solver
from pushforward.dynamics import FixedSteps
from pushforward.objectives import Reflow, straightness

# %%
moons = TOYS["moons"]
rows = moons.sample(4000, seed=0)
start = pf.flows.rectified_flow(jax.random.key(0), dim=2, width=64, frequency=2.0, whiten=False)
how = {"optimizer": pf.training.Adam(1e-2), "validation": None, "progress": False}
first = pf.fit(start, rows, key=jax.random.key(1), max_epochs=500, **how).flow
again = Reflow(first, FixedSteps("heun", 8))
second = pf.fit(first, rows, key=jax.random.key(2), objective=again, max_epochs=60, **how).flow

# %% [markdown]
# `straightness` is the mean squared distance between the velocity on the way and the straight line, 0 for straight
# paths.

# %%
bent = {
    name: float(straightness(flow, jax.random.key(3), 500))
    for name, flow in (("flow matching", first), ("reflow", second))
}
for name, value in bent.items():
    print(f"{name}: mean squared deviation from straight lines {value:.3f}")
assert bent["reflow"] < bent["flow matching"] / 4

# %% [markdown]
# ## Samples in few steps
#
# The true density of two moons judges the samples: the mean of its logarithm is $-2.39$ for draws from the moons
# themselves, and falls where samples lie beside them.

# %%
quality = {}
for name, flow in (("flow matching", first), ("reflow", second)):
    for n_steps in (1, 2, 16):
        fast = with_solver(flow, FixedSteps("euler", n_steps))
        drawn = np.asarray(fast.sample(jax.random.key(4), (2000,)), np.float64)
        quality[name, n_steps] = np.maximum(moons.log_prob(drawn), -30).mean()
    print(f"{name}: " + ", ".join(f"{quality[name, n]:.2f} nats in {n} steps" for n in (1, 2, 16)))
assert quality["reflow", 1] > quality["flow matching", 1] + 1
assert quality["reflow", 2] > quality["flow matching", 2]

# %%
figure, axes = new(4, width=10, height=3.0)
z = np.asarray(first.base.sample(jax.random.key(5), 60))
for axis, (name, flow) in zip(axes[:2], (("flow matching", first), ("reflow", second)), strict=True):
    paths = np.asarray(Evolution(flow).states(z, np.linspace(0, 1, 25)))
    axis.plot(paths[:, :, 0], paths[:, :, 1], color=GREY, lw=0.6)
    axis.plot(*paths[0].T, ".", ms=3, color=ORANGE)
    axis.plot(*paths[-1].T, ".", ms=3, color=BLUE)
    axis.set(title=f"Paths: {name}", xlabel="x", ylabel="y")
for axis, (name, flow) in zip(axes[2:], (("flow matching", first), ("reflow", second)), strict=True):
    drawn = np.asarray(with_solver(flow, FixedSteps("euler", 1)).sample(jax.random.key(6), (1500,)))
    axis.plot(*drawn.T, ".", ms=1.2, color=BLUE)
    axis.set(title=f"One Euler step: {name}", xlabel="x", ylabel="y")
for axis in axes:
    axis.set(xlim=(-4, 4), ylim=(-3, 3))
    axis.title.set_fontsize(9.5)
show(
    figure,
    "Four panels. Paths from orange noise to blue moons, first bent, after reflow straight. Samples by one Euler "
    "step: a small clump at the mean for flow matching, two moons after reflow.",
)

# %% [markdown]
# ## Read on
#
# - [Flow matching, beyond the basics](../how-to/flow_matching.md): pairings, guidance, bridges.
# - [Continuous flows](continuous_flows.md): the density of such a flow.
# - Lipman et al., 2023, arXiv 2210.02747; Liu, Gong, Liu, 2023, arXiv 2209.03003.
