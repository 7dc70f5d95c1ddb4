# %% [markdown]
# # An outbreak of influenza: from five days of counts to a number of beds
#
# In January 1978 influenza broke out in an English boarding school of 763 boys. On the fifth day 225 of them were in
# bed. How many beds should the infirmary prepare? A simulator answers, once its parameters are known: boys are
# susceptible, ill or recovered, and
#
# $$ \dot S = - \frac{R_0}{d} \frac{S I}{N} , \qquad \dot I = \frac{R_0}{d} \frac{S I}{N} - \frac{I}{d} , \qquad
# x_t \sim \mathrm{Poisson}\left(I(t)\, g_t\right) , $$
#
# with the number $R_0$ of boys whom one infects at first, the days $d$ that one is ill, the number of first cases,
# and noise $g_t$ of mean 1 in the counts. The posterior of these four given the counts is learned from simulations
# alone.
#
# Run it from the root of a clone: `python examples/outbreak.py`. The counts are those of the British Medical Journal,
# 4 March 1978, page 587.

# %%
import sys

sys.path.append("gallery")  # where the pictures get their looks

import jax
import numpy as np
from _style import BLUE, GREY, ORANGE, SKY, new, show
from scipy.optimize import least_squares

import pushforward as pf

BOYS, DAYS, SEEN = 763, 14, 5
in_bed = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])
prior = {"R0": (1.2, 8.0), "days ill": (1.0, 5.0), "first cases": (0.5, 8.0), "noise": (0.02, 0.4)}


def ill(theta: np.ndarray) -> np.ndarray:
    """Boys who are ill on each day, without noise: `(n, DAYS)`; twenty steps of Heun's rule a day."""
    rate, length, first = theta[:, 0] / theta[:, 1], theta[:, 1], theta[:, 2]
    state = np.stack([BOYS - first, first])

    def slope(state: np.ndarray) -> np.ndarray:
        new = rate * state[0] * state[1] / BOYS
        return np.stack([-new, new - state[1] / length])

    days = []
    for _ in range(DAYS):
        for _ in range(20):
            guess = state + slope(state) / 20
            state = state + (slope(state) + slope(guess)) / 40
        days.append(state[1])
    return np.stack(days, axis=1)


def counts(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Counts of each day, `(n, DAYS)`."""
    shape = 1 / theta[:, 3:] ** 2
    return rng.poisson(ill(theta) * rng.gamma(shape, 1 / shape, (len(theta), DAYS)))


def seen(x: np.ndarray) -> np.ndarray:
    """What the posterior is given: square roots of the counts, whose noise is about the same at all sizes."""
    return np.sqrt(x)


# %% [markdown]
# ## Learn the posterior, once for all outbreaks
#
# Twelve thousand outbreaks are simulated in a second. Two posteriors are learned: given the first five days, for the
# decision, and given all fourteen, to look back. Each serves every observation, not only this one.

# %%
rng = np.random.default_rng(0)
low, high = np.array(list(prior.values())).T
theta = rng.uniform(low, high, (13_000, 4))
x = counts(theta, rng)
train, held = slice(0, 12_000), slice(12_000, None)
options = {"n_members": 2, "flow_options": {"n_layers": 2, "width": 48, "bins": 8}, "max_epochs": 40}
early = pf.NPE(prior, **options).fit(theta[train], seen(x[train, :SEEN]))
whole = pf.NPE(prior, **options).fit(theta[train], seen(x[train]))

# %% [markdown]
# ## Is it right?
#
# Simulated outbreaks whose parameters are known tell. The test of the distance asks whether the school's own counts
# look like simulated ones at all: a posterior says nothing about data that its simulator cannot make.

# %%
for name, posterior, days in (("five days", early, SEEN), ("fourteen days", whole, DAYS)):
    report = pf.calibrate(
        posterior, theta[held], seen(x[held, :days]), key=jax.random.key(1), observed=seen(in_bed[:days]), n_draws=50
    )
    print(f"{name}:\n{report}\n")
    assert {test.name: test.passed for test in report.tests}["distance"]

# %% [markdown]
# ## What was learned

# %%
draws = {"five days": early.sample(4000, x=seen(in_bed[:SEEN])), "fourteen days": whole.sample(4000, x=seen(in_bed))}
for name, found in draws.items():
    print(
        f"{name}:",
        "; ".join(f"{what} {a:.2f} +- {s:.2f}" for what, a, s in zip(prior, found.mean(0), found.std(0), strict=True)),
    )
assert (draws["fourteen days"].std(0)[:2] < draws["five days"].std(0)[:2]).all()

# %% [markdown]
# The same equations fitted by least squares give one solution. It lies within the posterior of all fourteen days,
# which says beside it what else is plausible.


# %%
def misfit(free: np.ndarray) -> np.ndarray:
    """Differences of the equations' solution from the counts."""
    return ill(np.append(free, 0.1)[None])[0] - in_bed


reference = least_squares(misfit, [3.0, 2.0, 2.0], bounds=(low[:3], high[:3])).x
print(f"least squares: R0 {reference[0]:.2f}, days ill {reference[1]:.2f}, first cases {reference[2]:.2f}")
found = draws["fourteen days"][:, :2]
assert (np.abs(reference[:2] - found.mean(0)) < 2.5 * found.std(0)).all()

# %% [markdown]
# ## What will happen
#
# New outbreaks from the posterior's draws: the days to come, as they look from the fifth day. How fast the ill
# recover is hardly known yet, so that the bands are wide; the boys recovered faster than most draws say.

# %%
future = counts(draws["five days"], rng)
bands = np.quantile(future, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
inside = (in_bed[SEEN:] >= bands[0, SEEN:]) & (in_bed[SEEN:] <= bands[4, SEEN:])
print(f"Of the nine days to come, {inside.sum()} lay within the bands of 90 %.")
assert inside[:4].all()

# %% [markdown]
# ## The decision
#
# A bed that stays empty costs 1, a boy without a bed costs 5. With a peak of $K$ boys and $b$ beds the loss is
# $\max(b - K, 0) + 5 \max(K - b, 0)$, whose mean over the posterior is smallest at the quantile $5/6$ of the peak.
# The peak of a draw is the largest count from today on.

# %%
beds = np.arange(0, BOYS + 1)


def expected_loss(peak: np.ndarray) -> np.ndarray:
    """Mean loss of each number of beds."""
    return np.array([np.mean(np.maximum(b - peak, 0) + 5 * np.maximum(peak - b, 0)) for b in beds])


def loss(b: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Loss of a number of beds once the peak is known."""
    return np.maximum(b - peak, 0) + 5 * np.maximum(peak - b, 0)


peak = np.maximum(future[:, SEEN:].max(axis=1), in_bed[SEEN - 1])
curve = expected_loss(peak)
chosen = int(beds[curve.argmin()])
true_peak = int(in_bed[SEEN:].max())
print(
    f"Beds: {chosen}, with an expected loss of {curve.min():.0f}. "
    f"The peak was {true_peak}, the loss {loss(chosen, true_peak)}."
)
assert abs(chosen - np.quantile(peak, 5 / 6)) <= 2  # the rule in closed form

# %% [markdown]
# One outbreak proves nothing. The thousand held-out ones do: the same rule, and two others, on outbreaks whose peak
# is known. Without data the number of beds comes from the prior; the middle of the posterior forgets that missing
# beds cost more.

# %%
many = early.sample(200, x=seen(x[held, :SEEN]))
ahead = counts(many.reshape(-1, 4), rng).reshape(len(many), -1, DAYS)[:, :, SEEN:].max(axis=2)
today = x[held, SEEN - 1]
ahead, came = np.maximum(ahead, today[:, None]), np.maximum(x[held, SEEN:].max(axis=1), today)
known_before = np.maximum(x[train, SEEN:].max(axis=1), x[train, SEEN - 1])
rules = {
    "the prior's quantile 5/6": np.full(len(came), np.quantile(known_before, 5 / 6)),
    "the posterior's median": np.quantile(ahead, 0.5, axis=1),
    "the posterior's quantile 5/6": np.quantile(ahead, 5 / 6, axis=1),
}
losses = {name: loss(b, came) for name, b in rules.items()}
for name, each in losses.items():
    print(f"{name}: mean loss {each.mean():.1f} +- {each.std() / np.sqrt(len(each)):.1f}")
prior_loss, median_loss, bayes_loss = (each.mean() for each in losses.values())
assert bayes_loss < median_loss < prior_loss
enough = np.mean(came <= rules["the posterior's quantile 5/6"])
print(f"The beds sufficed in {enough:.1%} of the outbreaks; 83.3 % were meant.")
assert abs(enough - 5 / 6) < 0.05

# %%
figure, axes = new(3, width=10.5)
first, last = draws["five days"], draws["fourteen days"]
axes[0].plot(first[:1500, 0], first[:1500, 1], ".", ms=2, color=SKY, label="after five days")
axes[0].plot(last[:1500, 0], last[:1500, 1], ".", ms=2, color=BLUE, label="after fourteen")
axes[0].plot(*reference[:2], "x", color=ORANGE, ms=8, mew=2, label="least squares")
axes[0].set(xlabel="$R_0$", ylabel="days ill", title="Posterior", xlim=prior["R0"], ylim=prior["days ill"])
axes[0].legend(markerscale=2, fontsize=8)
day = np.arange(1, DAYS + 1)
axes[1].fill_between(day, bands[0], bands[4], color=SKY, alpha=0.35, lw=0, label="90 %")
axes[1].fill_between(day, bands[1], bands[3], color=SKY, alpha=0.6, lw=0, label="50 %")
axes[1].plot(day[:SEEN], in_bed[:SEEN], "o", ms=4, color="black", label="seen")
axes[1].plot(day[SEEN:], in_bed[SEEN:], "o", ms=4, mfc="white", color="black", label="came later")
axes[1].axhline(chosen, color=ORANGE, lw=1)
axes[1].annotate(f"{chosen} beds", (DAYS, chosen), (0, 3), textcoords="offset points", ha="right", color=ORANGE)
axes[1].set_xticks(day[1::2])
axes[1].set(xlabel="day", ylabel="boys in bed", title="As seen from the fifth day", ylim=(0, BOYS))
axes[1].legend(fontsize=8)
axes[2].plot(beds, curve, color=BLUE)
axes[2].axvline(chosen, color=ORANGE, lw=1)
axes[2].axvline(true_peak, color=GREY, lw=1, ls=":")
axes[2].annotate(
    "true peak", (true_peak, curve[0] / 2), (-4, 0), textcoords="offset points", rotation=90, ha="right", color=GREY
)
axes[2].annotate(f"{chosen} beds", (chosen, curve[0] / 2), (4, 0), textcoords="offset points", color=ORANGE)
axes[2].set(xlabel="beds prepared", ylabel="expected loss", title="What each number of beds costs", ylim=(0, None))
show(
    figure,
    "Left: draws of the number infected and the days ill, widely spread after five days and in a small cloud after "
    "fourteen, around the least-squares solution. Middle: the counts; six of the nine later days lie within the bands "
    "that were drawn on the fifth, the last three below. Right: the expected loss against the number of beds, with its "
    "minimum above the true peak.",
)

# %% [markdown]
# ## From a terminal
#
# The simulations are a table with a column for each parameter and each count:
#
# ```console
# pushforward infer simulations.csv --parameters R0,days,first,noise --out posterior
# pushforward sample posterior --given school.csv -n 4000 --out draws.csv
# pushforward calibrate posterior held_out.csv --out calibration.png
# ```
#
# ## Read on
#
# - [Inferring the parameters of a simulator](../how-to/simulators.md)
# - [Coming from sbi](../coming_from/sbi.md)
# - `examples/simulator.py` in the repository: observations that are sets, series and images.
