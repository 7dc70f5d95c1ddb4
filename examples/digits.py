# %% [markdown]
# # Digits: what three models of images can do, and a trap
#
# An image of whole numbers has a probability, and a model of images is judged by the bits that it needs for a pixel,
#
# $$ \text{bits per dimension} = - \frac{\log_2 P(x)}{d} . $$
#
# A continuous flow has a density instead, which noise within each level turns into a bound on that. Three models of
# the digits of scikit-learn (1,797 images of 8 x 8 pixels, 17 levels): a normal distribution as the one to beat,
# Glow, and PixelCNN, which draws pixel by pixel. Run it from the root of a clone: `python examples/digits.py`.

# %%
import sys

sys.path.append("gallery")  # where the pictures get their looks

from typing import Any

import numpy as np
from _style import new, show
from sklearn.datasets import load_digits

from pushforward.images import ImageDensity, complexity_ratio, density_map, likelihood_ratio, perturbed, restore

LEVELS = 17
loaded: Any = load_digits()
order = np.random.default_rng(0).permutation(len(loaded.images))
images = loaded.images[order, None].astype(np.uint8)
train, test = images[:-360], images[-360:]


def sheet(rows: list[np.ndarray], names: list[str], text: str, maps: tuple[int, ...] = ()) -> None:
    """A page of images, a row for each array `(n, 8, 8)` with its name; rows in `maps` are in colours, dark is low."""
    width = max(len(row) for row in rows)
    figure, axes = new(width, len(rows), width=0.6 * width + 1.6, height=0.62 * len(rows), squeeze=False)
    for n, (line, row, name) in enumerate(zip(axes, rows, names, strict=True)):
        for axis in line:
            axis.axis("off")
        for axis, image in zip(line, row, strict=False):
            style: dict[str, Any] = {"cmap": "viridis"} if n in maps else {"cmap": "gray_r", "vmin": 0, "vmax": 16}
            axis.imshow(image, **style)
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=8)
    show(figure, text)


# %% [markdown]
# ## Bits per dimension
#
# The figure of PixelCNN is exact, and the others are bounds. The normal distribution is that of the pixels themselves;
# Glow starts from the histogram of each pixel.


# %%
def fitted(flow: str, epochs: int, x: np.ndarray = train, **how: Any) -> ImageDensity:
    """A model of one family after so many passes over the images at most."""
    training = {"max_epochs": epochs, "verify": False}
    return ImageDensity(flow, training=training, random_state=0, **how).fit(x, n_levels=LEVELS)


normal = fitted("gaussian", 1, pixel_map="affine")
models = {"gaussian": normal, "glow": fitted("glow", 100), "pixelcnn": fitted("pixelcnn", 30)}
bits = {name: model.bits_per_dim(test) for name, model in models.items()}
for name, found in bits.items():
    print(f"{name:9} {found.mean:.3f} +- {found.standard_error:.3f} bits per dimension ({found.kind})")
assert bits["glow"].mean < bits["gaussian"].mean - 0.3
assert bits["pixelcnn"].mean < bits["gaussian"].mean - 0.3

# %% [markdown]
# ## Samples

# %%
samples = [model.sample(12, random_state=1)[:, 0] for model in models.values()]
sheet(
    [test[:12, 0], *samples],
    ["digits", *models],
    "Four rows of twelve images: digits; samples of the normal distribution, which are blurred; of Glow, most "
    "of which can be read; and of PixelCNN, which are the sharpest.",
)

# %% [markdown]
# ## Latents: between two digits, and along an attribute
#
# A flow sends every image to a latent and back, so that one can walk there: from one image to another along a great
# circle, or along the difference of the mean latents of thick and of thin digits.

# %%
flow = models["glow"]
ways = [flow.interpolate(test[a], test[b], 10)[:, 0] for a, b in ((0, 1), (4, 5), (8, 9))]
ink = train.reshape(len(train), -1).sum(axis=1)
thick, thin = ink > np.quantile(ink, 0.7), ink < np.quantile(ink, 0.3)
direction = flow.attribute_direction(train[thick | thin], thick[thick | thin])
moved = [flow.edit(image, direction, np.linspace(-1.5, 1.5, 10))[:, 0] for image in test[:2]]
sheet(
    [*ways, *moved],
    ["between two"] * 3 + ["thin to thick"] * 2,
    "Three rows that change from one digit to another within ten images, and two rows in which a digit gains ink.",
)
change = [row[-1].sum() - row[0].sum() for row in np.asarray(moved, float)]
print("ink gained from thin to thick, in levels:", [int(c) for c in change])
assert min(change) > 0

# %% [markdown]
# ## Restoration
#
# PixelCNN draws pixels row by row, and so knows the lower half given the upper one exactly. Each draw is one
# plausible completion.

# %%
few = test[10:14]
answer = restore(models["pixelcnn"], few, mask="top-half", n_draws=8, random_state=0)
hidden = np.where(np.arange(8)[:, None] < 4, few[:, 0], 0)
rows = [np.stack([a, b, *d[:, 0]]) for a, b, d in zip(few[:, 0], hidden, answer.draws, strict=True)]
sheet(rows, ["truth, known, draws"] * len(few), "Four digits, their upper halves, and eight completions of each.")
assert (answer.draws[:, :, 0, :4] == few[:, None, 0, :4]).all()  # what is known stays

# %% [markdown]
# ## Where an image is odd
#
# Four pixels are inverted. The map has the log-probability of each pixel given all others (Glow), or given those
# before it (PixelCNN, whose map adds up to the log-probability of the image).

# %%
broken = test[20:28].copy()
broken[:, 0, 2:4, 5:7] = 16 - broken[:, 0, 2:4, 5:7]
maps = density_map(flow, broken), density_map(models["pixelcnn"], broken)
np.testing.assert_allclose(maps[1].sum(axis=(1, 2)), models["pixelcnn"].score_samples(broken), rtol=1e-3)
sheet(
    [broken[:, 0], *(np.clip(found, -12, 0) for found in maps)],
    ["inverted", "given all others", "given those before"],
    "Eight digits with four inverted pixels at the upper right, and two rows of maps that are dark there.",
    maps=(1, 2),
)
mean = maps[0].mean(axis=0)
place = np.zeros((8, 8), bool)
place[2:4, 5:7] = True
print(
    f"log-probability of a pixel given all others: {mean[place].mean():.1f} where inverted, "
    f"{mean[~place].mean():.1f} elsewhere"
)
assert mean[place].mean() < mean[~place].mean()

# %% [markdown]
# ## The trap, and a cure
#
# Is an image that is no digit improbable? Not always: simple images, of which the fit saw none, can have as high a
# density as those of the fit, or a higher one (Nalisnick and others, 2019, arXiv 1810.09136), because few simple
# images share their part of the mass. Two ratios take the simplicity out: to a model of digits with noise, and to the
# length of the image as PNG. Whether the trap is there, and whether a ratio is its cure, one has to measure. Blurred
# and constant images stand for the simple ones. On these digits Glow falls into it for some blurred images only; the
# length of a PNG helps, and the background does not. The page on [restored images](../how-to/restore_images.md) has a
# model that falls into it.

# %%
background = fitted("glow", 60, perturbed(train, 0.3, n_levels=LEVELS))
blurred = (test + np.roll(test, 1, 2) + np.roll(test, 1, 3) + np.roll(test, (1, 1), (2, 3))) // 4
flat = np.broadcast_to(np.random.default_rng(1).integers(0, 3, (len(test), 1, 1, 1)), test.shape).astype(np.uint8)
kinds = {"digits": test, "blurred": blurred, "constant": flat}
ways_to_score = {
    "log-density": flow.score_samples,
    "ratio to a background": lambda x: likelihood_ratio(flow, background, x),
    "ratio to PNG": lambda x: complexity_ratio(flow, x),
}
figure, axes = new(3, width=10)
above = {}
for axis, (name, score) in zip(axes, ways_to_score.items(), strict=True):
    values = {kind: np.asarray(score(x)) for kind, x in kinds.items()}
    low, high = np.quantile(np.concatenate(list(values.values())), [0.01, 0.99])
    for kind, found in values.items():
        axis.hist(found, bins=np.linspace(low, high, 40).tolist(), histtype="stepfilled", alpha=0.5, label=kind)
    axis.set(xlabel=f"{name} (nats)", yticks=[])
    for kind in ("blurred", "constant"):
        above[name, kind] = np.mean(values["digits"][:, None] > values[kind])
        print(f"{name}: a digit scores above a {kind} image in {above[name, kind]:.0%} of pairs")
axes[0].legend(fontsize=8)
show(
    figure,
    "Three panels of histograms for digits, blurred and constant images. By the log-density the blank ones reach into "
    "the digits, by the ratio to a background some blurred ones do, and by the ratio to PNG hardly any image.",
)
assert above["ratio to PNG", "blurred"] >= above["log-density", "blurred"]
assert above["ratio to PNG", "constant"] > above["log-density", "constant"]

# %% [markdown]
# ## Read on
#
# - [Images](../how-to/images.md), [Discrete pixels](../how-to/pixels.md) and
#   [Restored images](../how-to/restore_images.md)
# - `benchmarks/images.py`: bits per dimension of every family.
