"""Entries of models of discrete pixels: exact masses of images of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from pushforward.flows.option import Option
from pushforward.images.zoo.registry import Levels, image_entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import AnyOrderPixels, AutoregressivePixels, AveragedOrders


class Laws(Levels, total=False):
    """Options of the law of one number of an image."""

    law: Annotated[
        Literal["auto", "categorical", "logistic"],
        Option(
            "categorical",
            "Law of a number: any masses of its levels, a mixture of logistics over unit cells, or by `auto` the first "
            "up to 16 levels and the second beyond.",
        ),
    ]
    n_mixtures: Annotated[int, Option(5, "Number of logistic distributions of the law `logistic`.", ge=1, le=100)]


class Masked(Laws, total=False):
    """Options of `made`."""

    width: Annotated[int, Option(1000, "Number of units per hidden layer.", ge=1, le=100_000)]
    depth: Annotated[int, Option(1, "Number of hidden layers.", ge=1, le=100)]
    activation: Annotated[
        Literal["relu", "elu", "gelu", "silu", "softplus", "tanh"], Option("relu", "Activation of the hidden layers.")
    ]
    n_orders: Annotated[
        int,
        Option(1, "Number of orders of the pixels in which it is trained and over which it is averaged.", ge=1, le=256),
    ]


class Raster(Laws, total=False):
    """Options of models in raster order."""

    width: Annotated[int, Option(48, "Number of features of a pixel.", ge=1, le=4096)]
    depth: Annotated[int, Option(8, "Number of layers.", ge=1, le=200)]
    reach: Annotated[int, Option(3, "Rows above and pixels to the left that the first layer sees.", ge=1, le=32)]
    head_width: Annotated[int, Option(64, "Number of units of the hidden layer after the features.", ge=1, le=4096)]


class AnyOrder(Laws, total=False):
    """Options of `any_order`."""

    width: Annotated[int, Option(64, "Number of channels of the hidden layers.", ge=1, le=4096)]
    depth: Annotated[int, Option(6, "Number of residual blocks.", ge=1, le=200)]


@image_entry(
    "discrete.any_order",
    AnyOrder,
    kind="discrete",
    source="Hoogeboom, Gritsenko, Bastings, Poole, van den Berg, Salimans, 2022, arXiv 2110.02037",
    cost=("parallel", "sequential"),
    log_det="unbiased",
    small={"width": 32, "depth": 4},
)
def any_order(key: PRNGKeyArray, **options: Unpack[AnyOrder]) -> AnyOrderPixels:
    r"""One network for all orders of the pixels, $P(x) = \prod_i P(x_{o(i)} \mid x_{o(<i)})$ for each order $o$.

    It is trained on random masks, as discrete diffusion with absorbing states is. A log-density is an unbiased estimate
    of the mean over all orders of an image's log-masses, which is a lower bound. It completes images whatever is known;
    one order of it, `model.in_order(order)`, is exact and compresses images.
    """
    return make("any_order", key, options)


@image_entry(
    "discrete.made",
    Masked,
    kind="discrete",
    source="Germain, Gregor, Murray, Larochelle, 2015, arXiv 1502.03509",
    cost=("parallel", "sequential"),
    small={"width": 256},
    law="auto",
)
def made(key: PRNGKeyArray, **options: Unpack[Masked]) -> AutoregressivePixels | AveragedOrders:
    r"""MADE over levels, $P(x) = \prod_i P(x_i \mid x_{<i})$ by one masked network over all pixels.

    With `n_orders` of 2 or more it is trained in random ones of these orders, and scored and sampled as the mixture of
    all, $\frac{1}{K} \sum_k P_{o_k}(x)$, by their masses' exact mean. One order has conditionals: it completes images
    and compresses them. All its steps together cost about the arithmetic of one pass.
    """
    return make("made", key, options)


@image_entry(
    "discrete.convolutional",
    Raster,
    kind="discrete",
    source="van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu, 2016, arXiv 1606.05328",
    cost=("parallel", "sequential"),
    small={"width": 32, "depth": 4},
)
def pixelcnn(key: PRNGKeyArray, **options: Unpack[Raster]) -> AutoregressivePixels:
    r"""Gated PixelCNN, $P(x) = \prod_i P(x_i \mid x_{<i})$ by two stacks of causal convolutions without a blind spot.

    A sample takes one step per number of the image, each of which computes one pixel of every layer.
    """
    return make("pixelcnn", key, options)


@image_entry(
    "discrete.convolutional",
    Raster,
    kind="discrete",
    source="Salimans, Karpathy, Chen, Kingma, 2017, arXiv 1701.05517",
    cost=("parallel", "sequential"),
    small={"width": 32, "depth": 4},
    law="logistic",
)
def pixelcnnpp(key: PRNGKeyArray, **options: Unpack[Raster]) -> AutoregressivePixels:
    r"""PixelCNN++, with masses $\sum_m \pi_m [F_m(k + 1/2) - F_m(k - 1/2)]$ of logistic mixtures and residual blocks.

    The channels of a pixel are conditioned on those before them by the head of the network, weights of the mixture
    included; in the paper one draw of the component serves all channels. There is no downsampling and no dropout.
    """
    return make("pixelcnnpp", key, options)


@image_entry(
    "discrete.recurrent",
    Raster,
    kind="discrete",
    source="van den Oord, Kalchbrenner, Kavukcuoglu, 2016, section 3.1, arXiv 1601.06759",
    cost=("parallel", "sequential"),
    small={"width": 32, "depth": 2},
    depth=4,
)
def row_lstm(key: PRNGKeyArray, **options: Unpack[Raster]) -> AutoregressivePixels:
    r"""PixelRNN by LSTMs from row to row, $P(x) = \prod_i P(x_i \mid x_{<i})$ where a pixel sees a triangle above it.

    A density runs through the rows one after the other, all pixels of a row at once.
    """
    return make("row_lstm", key, options)


@image_entry(
    "discrete.recurrent",
    Raster,
    kind="discrete",
    source="van den Oord, Kalchbrenner, Kavukcuoglu, 2016, section 3.2, arXiv 1601.06759",
    cost=("parallel", "sequential"),
    small={"width": 32, "depth": 2},
    depth=4,
)
def diagonal_bilstm(key: PRNGKeyArray, **options: Unpack[Raster]) -> AutoregressivePixels:
    r"""PixelRNN by LSTMs along the diagonals from both sides, $P(x) = \prod_i P(x_i \mid x_{<i})$: it sees all before.

    A density runs through the diagonals one after the other, all pixels of a diagonal at once.
    """
    return make("diagonal_bilstm", key, options)
