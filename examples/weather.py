# %% [markdown]
# # Frost tonight: from a table of weather to a decision
#
# A gardener may cover the plants in the evening. Covering costs one hour of work; a frost on bare plants costs ten.
# Four years of daily weather from Seattle hold the answer, as a density of tonight's lowest temperature $t$ given
# what is known in the evening, $x$. Frost is one of its integrals, and the cheapest rule compares it with a ratio of
# costs:
#
# $$ P(\text{frost} \mid x) = \int_{-\infty}^{0} p(t \mid x)\, dt , \qquad
# \text{cover if} \quad P(\text{frost} \mid x) > \frac{\text{cost of covering}}{\text{cost of a frost}} . $$
#
# Run it from the root of a clone: `python examples/weather.py`. The table comes along (NOAA, public domain).

# %%
import sys

sys.path.append("gallery")  # where the pictures get their looks

import numpy as np
import pandas as pd
from _style import BLUE, GREY, ORANGE, SKY, new, show
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import pushforward as pf

weather = pd.read_csv("examples/data/seattle_weather.csv")
date = pd.to_datetime(weather["date"])
nights = weather.drop(columns="date").assign(day=date.dt.day_of_year, tonight=weather["temp_min"].shift(-1))
nights, date = nights.iloc[:-1], date[:-1]  # nobody knows the night after the last day
known = [name for name in nights.columns if name != "tonight"]
frost = nights["tonight"].to_numpy() <= 0
print(nights.tail(3).to_string())
print(f"{len(nights)} nights, {frost.sum()} of them with frost")

# %% [markdown]
# ## A density of tonight, given this evening
#
# `given=` names the columns that are known. The library tells the kind of each column by itself: `precipitation` is a
# positive number that is often exactly 0, and `weather` is one of five words. The year 2015 is held out.

# %%
small = {"n_layers": 2, "width": 32, "max_epochs": 60, "random_state": 0}
year = date.dt.year.to_numpy()
before, last_year = nights[year < 2015], nights[year == 2015]
density = pf.FlowDensity(given=known, **small).fit(before)
print(", ".join(f"{column.name}: {column.kind}" for column in density.schema_.columns))
print(density.result_.verdict.text)

# %% [markdown]
# ## The checks, read aloud
#
# Every fit ends with checks of the trained model. All but the last ask whether the density is exact: invertible, with
# the right log-determinant, and with an integral of 1. The last one asks whether it fits the held-out rows.

# %%
checks = density.checks_.lines
for line in checks:
    if line.verdict != "skipped":
        print(f"{line.verdict:5} {line.name}: {line.sentence}")
assert all(line.verdict != "fail" for line in checks if line.name != "latents")

# %% [markdown]
# Three evenings of 2015: the whole density of the coming night, and the temperature that came.

# %%
three = last_year.iloc[[1, 99, 333]]
figure, axes = pf.plotting.plot_predictive(density, three, titles=[f"{date[row]:%d %B %Y}" for row in three.index])
for axis in axes:
    axis.set_xlabel("lowest temperature of the night (°C)")
show(
    figure,
    "Three densities of the night's lowest temperature: around 1 degree on 2 January, around 7 on 10 April, and with "
    "two humps at -2.5 and 1 on 30 November. A dashed line marks what came: within the first two, in the upper tail "
    "of the third.",
)

# %% [markdown]
# ## Every night judged by a model that has not seen its year
#
# Four models, each of which leaves out one year. Beside them stand the share of frosts in the month and a logistic
# regression, which knows the same columns and the season as a sine and a cosine, but answers this one question only.

# %%
step = 0.05
grid = np.arange(-25, 25, step) + step / 2  # 0.0 degrees stands for all temperatures up to 0.05
month = date.dt.month.to_numpy()
turn = 2 * np.pi * nights["day"] / 365.25
words = pd.get_dummies(nights["weather"], dtype=float)
plain = nights[["temp_max", "temp_min", "wind"]].assign(
    sine=np.sin(turn), cosine=np.cos(turn), rain=np.log1p(nights["precipitation"])
)
features = pd.concat([plain, words], axis=1).to_numpy()
chance = {name: np.zeros(len(nights)) for name in ("flow", "logistic regression", "month")}
pit = np.zeros(len(nights))
for left_out in range(2012, 2016):
    own, train = year == left_out, year != left_out
    model = pf.FlowDensity(given=known, verify=False, **small).fit(nights[train])
    curves = model.pdf_grid(nights[own], "tonight", grid)
    np.testing.assert_allclose(curves.sum(axis=1) * step, 1, atol=5e-3)  # each is a density
    chance["flow"][own] = curves[:, grid < 0.05].sum(axis=1) * step
    pit[own] = model.pit(nights[own])
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(features[train], frost[train])
    chance["logistic regression"][own] = logistic.predict_proba(features[own])[:, 1]
    chance["month"][own] = pd.Series(frost[train]).groupby(month[train]).mean().reindex(month[own]).to_numpy()

for level in (0.5, 0.9, 0.99):
    inside = np.mean(np.abs(pit - 0.5) <= level / 2)
    print(f"central intervals of {level:.0%} hold {inside:.1%} of the nights")
    assert abs(inside - level) < 4 * np.sqrt(level * (1 - level) / len(nights))
brier = {name: np.mean((value - frost) ** 2) for name, value in chance.items()}
print("Brier score (0 is perfect):", ", ".join(f"{name} {value:.4f}" for name, value in brier.items()))
assert brier["flow"] < 0.6 * brier["month"]

# %% [markdown]
# ## The decision
#
# The rule follows from the costs alone. What it would have cost over the four years, in hours:

# %%
ratios = np.array([2, 3, 5, 10, 20, 50])


def cost(covered: np.ndarray, ratio: float) -> float:
    """Hours of covering and of damage, where a frost on bare plants costs `ratio` hours."""
    return float(covered.sum() + ratio * (frost & ~covered).sum())


costs = {name: [cost(value > 1 / ratio, ratio) for ratio in ratios] for name, value in chance.items()}
costs["never"] = [cost(np.zeros(len(nights), bool), ratio) for ratio in ratios]
costs["perfect foresight"] = [float(frost.sum())] * len(ratios)
table = pd.DataFrame(costs, index=pd.Index(ratios, name="a frost costs")).T
print(table.to_string(float_format="%.0f"))
at_ten = table[10]
assert at_ten["flow"] < at_ten["month"] < at_ten["never"]

# %%
edges = np.array([0, 0.01, 0.1, 0.3, 0.6, 1])
bins = np.clip(np.digitize(chance["flow"], edges) - 1, 0, 4)
said = np.array([chance["flow"][bins == k].mean() for k in range(5)])
came = np.array([frost[bins == k].mean() for k in range(5)])
count = np.array([(bins == k).sum() for k in range(5)])
error = np.sqrt(np.maximum(said * (1 - said), 1e-6) / count)
assert (np.abs(came - said) < 4 * error + 1 / count).all()
figure, axes = new(2)
axes[0].plot([0, 1], [0, 1], color=GREY, lw=1)
axes[0].errorbar(said, came, 2 * error, fmt="o", color=BLUE, capsize=3)
for x, y, n in zip(said, came, count, strict=True):
    axes[0].annotate(f"{n:,} nights", (x, y), (9, -4 if y > 0.01 else -12), textcoords="offset points", fontsize=8)
axes[0].set(xlabel="probability of frost that was said", ylabel="share of nights with frost", title="Is it believable?")
axes[0].set(xlim=(-0.03, 1), ylim=(-0.12, 1))
for (name, values), colour in zip(costs.items(), (BLUE, ORANGE, SKY, GREY, "black"), strict=True):
    axes[1].plot(ratios, values, marker="o", ms=3, color=colour, label=name, ls=":" if name[:7] == "perfect" else "-")
axes[1].set(xscale="log", yscale="log", xlabel="cost of a frost / cost of covering", ylabel="hours in four years")
axes[1].set_xticks(ratios, [str(ratio) for ratio in ratios])
axes[1].minorticks_off()
axes[1].set_title("What each rule costs")
axes[1].legend(fontsize=8)
show(
    figure,
    "Left: five groups of nights; the share of frosts in each lies on the diagonal within two standard errors of the "
    "probability that was said. Right: cost against the price of a frost; the flow's rule is the cheapest, just below "
    "logistic regression, both far below the monthly share and never covering.",
)

# %% [markdown]
# ## How unlikely was that night?
#
# The same density answers other questions without another fit. The place of the temperature that came within the
# density is a p-value: few nights can have a small one.

# %%
p_value = 2 * np.minimum(pit, 1 - pit)
for row in np.argsort(p_value)[:3]:
    print(
        f"{date.iloc[row]:%d %B %Y}: {nights['tonight'].iloc[row]} °C after {nights['temp_min'].iloc[row]} °C the "
        f"night before; one night in {1 / p_value[row]:,.0f} is as far out, and there are {len(nights):,} nights."
    )

# %% [markdown]
# ## From a terminal
#
# The share of draws with frost is the same probability:
#
# ```console
# pushforward fit nights.csv --given precipitation,temp_max,temp_min,wind,weather,day --max-epochs 60 --out model
# pushforward sample model -n 1000 --given this_evening.csv --out draws.csv
# pushforward evaluate model nights_of_2015.csv
# ```
#
# ## Read on
#
# - [Conditional densities](../how-to/conditional_density.md)
# - [Tables of any columns](../how-to/tables.md)
# - [Whether to believe a model](../how-to/trust.md)
