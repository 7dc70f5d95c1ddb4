# %% [markdown]
# # Anomalies: a log-density, and how many alarms are false
#
# A row is unusual where the density is low. How low is low enough is a question about clean rows: of $n$ of them that
# the model has not seen, count those that are at least as unusual as the new row $x$,
#
# $$ p(x) = \frac{1 + \#\{ i : s(x_i) \ge s(x) \}}{n + 1}, \qquad s(x) = -\log p_\theta(x) . $$
#
# For a clean row this p-value is at most $\alpha$ with probability $\alpha$ at most, however good or bad the flow is
# (conformal prediction). Whether anomalies are found is what the flow decides.

# %%
import numpy as np
from _style import BLUE, GREY, MUCH, ORANGE, new, show

import pushforward as pf
from pushforward.anomalies import NegativeLogDensity
from pushforward.data import TOYS

# %% [markdown]
# ## A detector
#
# It learns two moons from clean rows. New rows are clean too, except one in twenty, which lies anywhere in the frame:
# each column of an anomaly is ordinary, the pair is not.

# %%
moons, rng = TOYS["moons"], np.random.default_rng(0)
clean, new_rows = moons.sample(5000, seed=0), moons.sample(2000, seed=1)
anomalous = np.arange(2000) < 100
new_rows[anomalous] = rng.uniform([-3.2, -1.8], [3.2, 2.3], (100, 2))
flow = pf.FlowDensity("realnvp", n_layers=6, width=32, max_epochs=100, n_members=1, verify=False)
detector = pf.FlowOutlierDetector(NegativeLogDensity(flow), calibration="split", random_state=0).fit(clean)
p = detector.p_values(new_rows)

# %% [markdown]
# ## The promise about false alarms
#
# Of clean rows a share $\alpha$ is flagged, within the chance of 1,900 new rows and of 1,000 calibration rows.

# %%
for alpha in (0.01, 0.05, 0.2):
    rate, found = np.mean(p[~anomalous] <= alpha), np.mean(p[anomalous] <= alpha)
    chance = np.sqrt(alpha * (1 - alpha) * (1 / 1900 + 1 / 1000))
    print(f"level {alpha:.2f}: {rate:.3f} of clean rows and {found:.2f} of anomalies are flagged")
    assert abs(rate - alpha) < 4 * chance + 1 / 1001
flagged = detector.select(new_rows, fdr=0.2)
false = np.mean(~anomalous[flagged])
print(f"with at most 0.2 false discoveries on average: {flagged.sum()} rows are flagged, {false:.2f} of them clean")
assert false < 0.35

# %% [markdown]
# ## As good as the truth would be?
#
# The density that made the moons is known, so the best possible score is too: no score ranks better than the true
# density where anomalies are uniform (Neyman and Pearson). The flow comes close to it.

# %%
reached = detector.quality(new_rows, anomalous).auroc
true = -np.maximum(moons.log_prob(new_rows), -60)
ranks = np.argsort(np.argsort(true)) + 1
best = (ranks[anomalous].sum() - 100 * 101 / 2) / (100 * 1900)
print(f"area under the curve: {reached:.3f} by the flow, {best:.3f} by the true density")
assert best - 0.05 < reached < best + 0.02

# %%
figure, axes = new(3, width=10, height=3.3)
x, y = np.linspace(-4, 4, 120), np.linspace(-2.8, 3.2, 100)
grid = np.stack(np.meshgrid(x, y), axis=-1)
levels = np.clip(detector.score_samples(grid.reshape(-1, 2)).reshape(100, 120), -12, None)
shades = axes[0].contourf(x, y, levels, 24, cmap=MUCH)
axes[0].contour(x, y, levels, [detector.offset_], colors="white", linewidths=1.2)
axes[0].plot(*new_rows[anomalous].T, "x", ms=4, color=ORANGE)
axes[0].set(title="Log-density, and the cut at 1 %", xlabel="x", ylabel="y")
figure.colorbar(shades, ax=axes[0], label="nats")
bins = np.linspace(0, 1, 41)
axes[1].hist(p[~anomalous], bins, density=True, color=BLUE, alpha=0.45, label="clean rows")
axes[1].hist(p[anomalous], bins, density=True, histtype="step", color=ORANGE, lw=1.6, label="anomalies")
axes[1].axhline(1, color=GREY, ls=":")
axes[1].set(title="p-values", xlabel="p-value", ylabel="density", ylim=(0, 12))
axes[1].legend()
cuts = np.sort(p)
caught = [np.mean(p[anomalous] <= cut) for cut in cuts]
axes[2].plot([np.mean(p[~anomalous] <= cut) for cut in cuts], caught, color=BLUE)
axes[2].plot([0, 1], [0, 1], color=GREY, ls=":")
axes[2].set(xlabel="share of clean rows flagged", ylabel="share of anomalies found")
axes[2].set_title(f"Area under the curve: {reached:.2f}")
show(
    figure,
    "Left: the log-density of two moons with a white contour at the cut; most crosses of anomalies lie outside. "
    "Middle: p-values are uniform for clean rows and pile up near 0 for anomalies. Right: the share of anomalies "
    "found against the share of clean rows flagged, far above the diagonal.",
)

# %% [markdown]
# ## Read on
#
# - [Unusual rows](../how-to/anomalies.md): rates, streams, drift, labels.
# - [Which cells make a row unusual](../how-to/unusual_rows.md).
# - Bates, Candes, Lei, Romano, Sesia, 2023, arXiv 2104.08279.
