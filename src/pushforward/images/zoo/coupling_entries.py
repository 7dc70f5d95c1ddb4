"""Entries of the couplings of images: NICE, RealNVP, Glow and Flow++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

from pushforward.flows.option import Option
from pushforward.flows.options import MAX_DIM, MAX_LAYERS, Activated, Components
from pushforward.images.zoo.registry import Images, image_entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow

# What suits images of 8 x 8 pixels, or a few thousand images.
SMALL: dict[str, Any] = {"width": 32, "n_steps": 3}

# Small batches and a high rate: on MNIST in 300 CPU seconds Glow has 1.356 bits per dimension with 128 images a step at
# a rate of 1e-3, 1.303 with 32, 1.224 at 2e-3 and 1.171 at 5e-3; RealNVP has 1.283 with 32 at 3e-3.
FEW_AND_FAST: dict[str, Any] = {"batch_size": 32, "learning_rate": 5e-3}


class Steps(TypedDict, total=False):
    """Steps of the same kind."""

    n_steps: Annotated[
        int,
        Option(
            4,
            "Number of steps of each kind. They are scanned, so that more take no longer to compile.",
            ge=1,
            le=MAX_LAYERS,
        ),
    ]


class Scaled(TypedDict, total=False):
    """Several scales."""

    n_scales: Annotated[
        int,
        Option(
            2, "Number of scales, in each of which height and width are halved, which they must allow.", ge=1, le=12
        ),
    ]


class Split(Scaled, total=False):
    """Several scales, each of which gives a half of its channels away."""

    learned_split: Annotated[
        bool, Option(True, "The channels that a scale gives away are mapped once more, given those that go on.")
    ]


class Convolutional(TypedDict, total=False):
    """The convolutional networks."""

    width: Annotated[int, Option(64, "Number of channels in each hidden layer of a network.", ge=1, le=MAX_DIM)]
    depth: Annotated[int, Option(1, "Number of blocks in each network.", ge=1, le=64)]
    activation: Annotated[
        Literal["relu", "elu", "gelu", "silu", "softplus", "tanh"],
        Option("relu", "Activation function of the networks."),
    ]
    blocks: Annotated[
        Literal["plain", "residual", "gated"],
        Option("plain", "Blocks of the networks: 1 x 1 convolutions, residual ones, or the gated ones of Flow++."),
    ]


class NICE(Images, Steps, Activated, total=False):
    """Options of `nice`."""


class RealNVP(Images, Steps, Split, Convolutional, total=False):
    """Options of `realnvp`."""


class Glow(Images, Steps, Split, Convolutional, total=False):
    """Options of `glow`."""

    scale: Annotated[
        Literal["sigmoid", "exp"],
        Option("sigmoid", "How a coupling's scale is bounded: a sigmoid, as in Glow's code, or an exponential."),
    ]


class FlowPP(Images, Steps, Convolutional, total=False):
    """Options of `flowpp`."""

    components: Components
    n_heads: Annotated[
        int,
        Option(4, "Number of heads of attention, which divides `width`, after gated blocks; 0 has none.", ge=0, le=64),
    ]


@image_entry(
    "coupling.nice",
    NICE,
    kind="continuous",
    source="Dinh, Krueger, Bengio, 2014, arXiv 1410.8516",
    small={"width": 128, "n_steps": 3},
    width=512,
    n_steps=4,
)
def nice(key: PRNGKeyArray, **options: Unpack[NICE]) -> Flow:
    r"""NICE: $z_T = x_T + t(x_P)$ for every other pixel $T$ given the others, in turn, and at last a scale of each.

    Its networks are fully connected, and see no neighbourhoods. A step has two couplings.
    """
    return make("nice", key, options)


@image_entry(
    "coupling.realnvp",
    RealNVP,
    kind="continuous",
    source="Dinh, Sohl-Dickstein, Bengio, 2017, arXiv 1605.08803",
    small=SMALL,
    training=FEW_AND_FAST,
    blocks="residual",
    # Four couplings of each kind at a scale, where the paper has three; six took 1.0 s of CPU a step of 128 images of
    # MNIST, against 0.35 s of Glow.
    n_steps=2,
    width=32,
)
def realnvp(key: PRNGKeyArray, **options: Unpack[RealNVP]) -> Flow:
    r"""RealNVP: $z_T = x_T \odot e^{s(x_P)} + t(x_P)$, on the colours of a checkerboard and on halves of the channels.

    In each scale there are `n_steps` steps on a checkerboard, then 2 x 2 pixels become channels, and there are as many
    steps of channels; a step has two couplings, one for each half. Sides of images are halved `n_scales` times: 8 and
    28 can be halved twice, and odd sides not at all.
    """
    return make("realnvp", key, options)


@image_entry(
    "coupling.glow",
    Glow,
    kind="continuous",
    source="Kingma, Dhariwal, 2018, arXiv 1807.03039",
    small=SMALL | {"n_steps": 6},
    training=FEW_AND_FAST,
    n_steps=8,
)
def glow(key: PRNGKeyArray, **options: Unpack[Glow]) -> Flow:
    r"""Glow: in each step ActNorm, the invertible 1x1 convolution $z_{:,i,j} = W x_{:,i,j}$ by LU, and a coupling.

    In each scale 2 x 2 pixels become channels, and `n_steps` steps follow. Sides of images are halved `n_scales` times:
    8 and 28 can be halved twice, and odd sides not at all.
    """
    return make("glow", key, options)


@image_entry(
    "coupling.flowpp",
    FlowPP,
    kind="continuous",
    source="Ho, Chen, Srinivas, Duan, Abbeel, 2019, arXiv 1902.00275",
    cost=("parallel", "iterative"),
    small={"width": 32, "depth": 1, "components": 4},
    blocks="gated",
    activation="elu",
    n_steps=2,
    depth=2,
)
def flowpp(key: PRNGKeyArray, **options: Unpack[FlowPP]) -> Flow:
    r"""Flow++: $z_T = e^{\tanh \alpha} \operatorname{logit} F(x_T; \pi, \mu, s) + \beta$, $F$ a mixture of logistics.

    There are `n_steps` steps on a checkerboard, 2 x 2 pixels become channels, half as many steps of channels follow,
    and `n_steps` on a checkerboard again; a step has two couplings. The paper takes 32 logistics, width 96 and depth
    10.
    """
    return make("flowpp", key, options)
