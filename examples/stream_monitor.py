# %% [markdown]
# # A monitor on a stream: which rows to look at today
#
# A telescope sends a table every night. Somebody can look at a few rows of it in the morning: which ones? And is the
# camera still the one that it was? A density of ordinary rows answers both. The surprise $s = -\log p(x)$ of a row
# becomes a p-value by $n$ clean rows that the fit has not seen, and the rows to look at are those that Benjamini and
# Hochberg's procedure selects among the $m$ of the night:
#
# $$ p_j = \frac{1 + \#\{i : s_i \ge s_j\}}{n + 1} , \qquad
# \text{look at the } r \text{ smallest, for the largest } r \text{ with } p_{(r)} \le q \frac{r}{m} . $$
#
# On average a share $q$ of these rows is clean at most, whatever the density is worth.
#
# The rows are six magnitudes of galaxies (`examples/data/SOURCE.txt`). Faults are put in on purpose, so that
# promises can be held against the truth. Run it from the root of a clone: `python examples/stream_monitor.py`.

# %%
import sys

sys.path.append("gallery")  # where the pictures get their looks

from collections.abc import Iterator

import numpy as np
import pandas as pd
from _style import BLUE, GREY, ORANGE, SKY, new, show

import pushforward as pf
from pushforward.anomalies import NegativeLogDensity
from pushforward.metrics import benjamini_hochberg, conformal_p_values

bands = list("ugrizy")
galaxies = pd.read_csv("examples/data/galaxies.csv")[bands]
galaxies = galaxies[galaxies["g"] < 99]  # one galaxy of the catalogue was not seen there
fitted, clean, stream = galaxies[:1500], galaxies[1500:3500], galaxies[3500:]

# %% [markdown]
# ## The nights
#
# Each of fifteen nights has a hundred galaxies. In four of them, on average, one magnitude is wrong by a whole one or
# more, up or down, as happens beside a bright star. From the eleventh night on something else is wrong: dew on the
# camera takes 0.15 magnitudes off the band y in every row, which no single row would show.

# %%
NIGHTS, ROWS, FIRST_DEW = 15, 100, 11


def nights(rows: pd.DataFrame, seed: int) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Each night's rows, and the number of the band that is wrong in each, or -1."""
    rng = np.random.default_rng(seed)
    for night in range(1, NIGHTS + 1):
        batch = rows.sample(ROWS, random_state=rng).reset_index(drop=True)
        wrong = np.where(rng.random(ROWS) < 0.04, rng.integers(1, 6, ROWS), -1)  # u is not seen often enough
        for row in np.flatnonzero(wrong >= 0):
            batch.loc[row, bands[wrong[row]]] += rng.choice([-1, 1]) * rng.uniform(1, 3)
        if night >= FIRST_DEW:
            batch["y"] += 0.15
        yield batch, wrong


# %% [markdown]
# ## Fit and calibrate
#
# One flow learns ordinary rows; 2,000 others, which it has not seen, calibrate it.

# %%
flow = pf.FlowDensity(
    na=[99], missing="model", n_layers=3, width=32, max_epochs=80, n_members=1, verify=False, random_state=0
)
detector = pf.FlowOutlierDetector(NegativeLogDensity(flow), calibration="split", random_state=0)
detector.fit(fitted).calibrate(clean)
print(detector.describe())

# %% [markdown]
# ## The promise about false alarms, measured
#
# Promises are averages over calibrations and nights. So calibration rows and nights are drawn four hundred times from
# the rows that the fit has not seen, with faults in 4 of 100 rows, and both rates are compared with what was asked.
# The broken twin is calibrated by the rows of the fit itself, which look more ordinary than new ones.

# %%
rng = np.random.default_rng(1)
pool = pd.concat([clean, stream])
faulty = pool.copy()
place, size = rng.integers(1, 6, len(pool)), rng.choice([-1, 1], len(pool)) * rng.uniform(1, 3, len(pool))
for row, (band, change) in enumerate(zip(place, size, strict=True)):
    faulty.iloc[row, band] += change
score, score_faulty, score_fitted = (detector.each_score(rows)[:, 0] for rows in (pool, faulty, fitted))


def rates(calibration: np.ndarray | None, q: float, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False discoveries, false alarms among clean rows at `q`, and faults found, in each of `n` nights."""
    found = []
    for _ in range(n):
        order = rng.permutation(len(pool))
        own, tonight = order[:2000], order[2000 : 2000 + ROWS]
        wrong = np.arange(ROWS) < 4
        scores = np.where(wrong, score_faulty[tonight], score[tonight])
        p = conformal_p_values(score[own] if calibration is None else calibration, scores)
        chosen = benjamini_hochberg(p, q)
        found.append((np.sum(chosen & ~wrong) / max(chosen.sum(), 1), np.mean(p[~wrong] <= q), np.mean(chosen[wrong])))
    return tuple(np.array(found).T)  # type: ignore[return-value]


for q in (0.05, 0.1, 0.2):
    false, alarms, power = rates(None, q)
    error, error_alarms = false.std() / 20, alarms.std() / 20
    print(
        f"asked {q:.0%}: {false.mean():.1%} +- {error:.1%} of the rows looked at are clean, {power.mean():.0%} of the "
        f"faults are found; without it, {alarms.mean():.1%} +- {error_alarms:.1%} of clean rows give an alarm"
    )
    assert false.mean() < q + 3 * error
    assert abs(alarms.mean() - q) < 4 * error_alarms + 1 / 2001
_, twin, _ = rates(score_fitted, 0.05)
print(f"broken twin, calibrated by rows of the fit: {twin.mean():.1%} of clean rows give an alarm at 5 %")

# %% [markdown]
# ## The monitor
#
# Every morning: p-values, the rows to look at with one in five of them clean at most, and why each stands out.
# `explain` names the cell that fits the others least. A martingale bets against the camera row by row; if nothing
# changes, its capital ever reaches 100 with probability 0.01 at most, however long the monitor runs. It is given the
# rows that nobody needs to look at: faults are unlike the rows of the calibration, and would be news every night.
# These rows are chosen by their scores, so that the probability of 0.01 is a guide here and no longer a bound.

# %%
watch = detector.watch(random_state=0)
alarms, capital, told = [], [], None
for night, (batch, wrong) in enumerate(nights(stream, seed=5), 1):
    p_values = detector.p_values(batch)
    look = np.flatnonzero(detector.select(batch, fdr=0.2))
    others = batch.drop(index=look)
    capital.append(watch.update(detector.each_score(others)) / np.log(10))
    for row, why in zip(look, detector.explain(batch.iloc[look]) if len(look) else [], strict=True):
        cell = why.cells[0]
        kind = "clean" if wrong[row] < 0 else f"wrong in {bands[wrong[row]]}"
        alarms.append((night, row, p_values[row], cell.column, cell.value, cell.expected, kind))
    if told is None and watch.most > np.log(100):
        told = night
        print(f"Morning after night {night}: the rows are no longer like those of the calibration (p < 0.01).")
log = pd.DataFrame(alarms, columns=["night", "row", "p", "most surprising", "value", "expected", "truth"])
print(log[log["night"] < FIRST_DEW].to_string(index=False, float_format="%.4f"))
assert told is not None
assert told >= FIRST_DEW

# %% [markdown]
# The column `truth` is known here because the faults were put in. Before the dew:

# %%
before = log[log["night"] < FIRST_DEW]
right = (before["truth"] != "clean").mean()
named = [truth.endswith(band) for truth, band in zip(before["truth"], before["most surprising"], strict=True)]
print(
    f"{len(before)} rows to look at in ten nights, {right:.0%} of them faults; "
    f"the band is the right one in {sum(named)}."
)
assert right > 0.6

# %%
figure, axes = new(2, width=10)
for truth, colour in (("clean", GREY), ("fault", ORANGE)):
    part = log[(log["truth"] == "clean") == (truth == "clean")]
    axes[0].scatter(part["night"], part["p"], s=22, color=colour, label=f"looked at: {truth}")
axes[0].axvline(FIRST_DEW - 0.5, color=SKY, lw=1)
axes[0].set(yscale="log", ylim=(3e-4, 0.06), xlabel="night", ylabel="p-value", title="The alarm log")
axes[0].legend(fontsize=8)
day = [night - 0.5 + np.arange(1, len(bets) + 1) / len(bets) for night, bets in enumerate(capital, 1)]
axes[1].plot(np.concatenate(day), np.concatenate(capital), color=BLUE)
axes[1].axhline(2, color=ORANGE, lw=1)
axes[1].axvline(FIRST_DEW - 0.5, color=SKY, lw=1)
axes[1].annotate("dew", (FIRST_DEW - 0.5, axes[1].get_ylim()[0]), (4, 4), textcoords="offset points", color=SKY)
axes[1].annotate("capital of 100", (0.6, 2), (0, 4), textcoords="offset points", color=ORANGE)
axes[1].set(xlabel="night", ylabel="capital of the bets (power of 10)", title="Is it still the same camera?")
show(
    figure,
    "Left: the p-values of the rows that were looked at, night by night; nearly all are faults until the dew comes. "
    "Right: the capital of the bets sinks below 1 for ten nights, and passes 100 in the second night of dew.",
)

# %% [markdown]
# ## The decision
#
# Until the tenth night: look at the rows of the log, and no others. On the morning of the drift: stop, for p-values
# are of no use once the rows come from another camera; find what changed, and calibrate anew by rows taken after it
# was mended (`detector.calibrate(rows)`).
#
# ## From a terminal
#
# A folder of shards, or a stream line by line, in constant memory:
#
# ```console
# pushforward fit clean.csv --detector --na 99 --out detector
# pushforward detect detector night.csv --fdr 0.2 --out look_at.csv
# tail -f telescope.csv | pushforward detect detector - --fpr 0.001 --out -
# ```
#
# ## Read on
#
# - [Unusual rows](../how-to/anomalies.md): which rate to ask for, and when each promise holds.
# - [Score unusual rows, and say why](../how-to/unusual_rows.md)
# - Bates and others, 2023, Testing for outliers with conformal p-values, arXiv 2104.08279.
