# %% [markdown]
# # Compression: bits are log-probabilities
#
# An event of probability $P$ can be written in $-\log_2 P$ bits, and on average no code does better than the entropy.
# A model of images whose probabilities are exact is therefore a compressor; its mean length is the cross entropy,
#
# $$ \mathbb{E}_p \left[ -\log_2 P_\theta(x) \right] = H(p) + \operatorname{KL}(p \,\|\, P_\theta) / \log 2 , $$
#
# so that a better model means shorter files. A range coder takes the conditional masses of one number after the other,
# and wastes next to nothing.

# %%
import zlib

import jax
import numpy as np
from _style import BLUE, GREY, ORANGE, new, show
from sklearn.datasets import load_digits

import pushforward as pf

# %% [markdown]
# ## Handwritten digits
#
# scikit-learn's digits have 8 x 8 pixels of 17 levels. The last 297 are kept aside.

# %%
images = load_digits().images[:, None].astype(np.uint8)  # (1797, 1, 8, 8), levels 0 to 16
rng = np.random.default_rng(0)
images = images[rng.permutation(len(images))]
train, test = images[:1500], images[1500:]
start = pf.images.made(jax.random.key(0), shape=(1, 8, 8), n_levels=17, law="categorical", width=200)
model = pf.fit(start, train.astype(np.float32), key=jax.random.key(1), max_epochs=60, progress=False).flow

# %% [markdown]
# ## As many bits as the model says
#
# The bits per pixel of the model, of the file that comes out, of zlib, and of a code that knows the frequencies of the
# levels alone. What comes back is what went in.

# %%
data = pf.images.compress(model, test)
np.testing.assert_array_equal(pf.images.decompress(model, data), test)
promised = -float(np.sum(np.asarray(model.log_prob(test), np.float64))) / np.log(2)
frequency = np.bincount(train.ravel(), minlength=17) + 1.0
alone = -np.log2(frequency / frequency.sum())[test].sum()
bits = {
    "model's promise": promised,
    "compressed file": 8 * len(data),
    "zlib": 8 * len(zlib.compress(test.tobytes(), 9)),
    "levels alone": alone,
    "raw": np.log2(17) * test.size,
}
for name, value in bits.items():
    print(f"{name:>15}: {value / test.size:.3f} bits per pixel")
assert abs(8 * (len(data) - 90) / promised - 1) < 0.01  # 90 bytes are the header
assert bits["compressed file"] < 0.8 * bits["zlib"]

# %% [markdown]
# ## A code is a sampler too
#
# Decoding random bits would draw from the model. Each image's own length tells how surprising it is.

# %%
lengths = -np.asarray(model.log_prob(test)) / np.log(2)
order = np.argsort(lengths)
drawn = np.asarray(model.sample(jax.random.key(2), (10,)))
assert drawn.min() >= 0
assert drawn.max() <= 16
figure, axes = new(2, width=10, height=3.4, gridspec_kw={"width_ratios": [1, 1.25]})
names = list(bits)
axes[0].barh(names[::-1], [bits[name] / test.size for name in names[::-1]], color=[GREY, GREY, GREY, BLUE, ORANGE])
axes[0].set(xlabel="bits per pixel", title="297 digits, 8 x 8 pixels, 17 levels")
rows = [drawn, test[order[:10]], test[order[-10:]]]
framed = [[np.pad(image[0], 1, constant_values=8) for image in row] for row in rows]
axes[1].imshow(np.concatenate([np.concatenate(row, axis=1) for row in framed]), cmap="gray_r")
axes[1].set(yticks=[5, 15, 25], xticks=[], title="Images of the model")
short, long = lengths[order[:10]].mean(), lengths[order[-10:]].mean()
axes[1].set_yticklabels(["drawn", f"shortest,\n{short:.0f} bits", f"longest,\n{long:.0f} bits"])
axes[1].spines[:].set_visible(False)
show(
    figure,
    "Left: bars of bits per pixel; the file is as long as the model's promise, zlib and a code of single levels "
    "need more, raw pixels most. Right: three rows of digits: draws of the model, the test images with the "
    "shortest codes, and those with the longest.",
)

# %% [markdown]
# ## Read on
#
# - [Discrete pixels and lossless compression](../how-to/pixels.md): which models compress, and why the decoder never
#   differs.
# - [Models of images](../reference/images.md).
# - Shannon, 1948; Germain, Gregor, Murray, Larochelle, 2015, arXiv 1502.03509 (MADE).
