"""The zoo's continuous flows of images: velocities, scores and fields that are trained by likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Unpack

from pushforward.flows.option import Option
from pushforward.flows.options import Diffusion, Interpolated, LeastNoise, Noise
from pushforward.images.zoo.registry import Images, image_entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow


class Solved(Images, total=False):
    """How the equation of a field is solved."""

    width: Annotated[int, Option(32, "Number of channels of the networks at the finest scale.", ge=1, le=4096)]
    depth: Annotated[int, Option(1, "Number of residual blocks, or of hidden layers, at each scale.", ge=1, le=64)]
    n_frequencies: Annotated[int, Option(4, "Number of frequencies in the time embedding.", ge=0, le=64)]
    method: Annotated[Literal["heun", "tsit5", "dopri5", "dopri8"], Option("dopri5", "Method of the solver.")]
    tolerance: Annotated[
        float, Option(1e-4, "Relative and absolute tolerance of the solver, for each image.", ge=1e-12, le=0.1)
    ]


class Regressed(Solved, total=False):
    """Fields of a U-Net that are trained by regression."""

    n_scales: Annotated[
        int | None,
        Option(None, "Number of scales of the U-Net; None takes up to 3, with 4 pixels or more to a side.", ge=1, le=8),
    ]
    n_heads: Annotated[
        int, Option(2, "Number of heads of the attention at the coarsest scale; 0 has none.", ge=0, le=64)
    ]
    whiten: Annotated[
        bool,
        Option(
            True,
            "Pixels are brought to mean 0 and variance 1 and narrow directions are widened first, by a "
            "PartialWhitening that is set from the images.",
        ),
    ]


class FFJORD(Solved, total=False):
    """Options of `ffjord`."""

    n_layers: Annotated[int, Option(1, "Number of fields at each scale.", ge=1, le=64)]
    n_scales: Annotated[
        int, Option(2, "Number of scales; half of the channels is left as it is from one to the next.", ge=1, le=8)
    ]
    mixing: Annotated[
        Literal["concat", "concatsquash", "film"], Option("concatsquash", "How time enters the networks.")
    ]
    n_probes: Annotated[int, Option(1, "Number of random probes of the trace in training.", ge=1, le=1024)]


class FlowMatching(Regressed, Interpolated, LeastNoise, total=False):
    """Options of `flow_matching`."""


class ScoreSDE(Regressed, Diffusion, Noise, total=False):
    """Options of `score_sde`."""


@image_entry(
    "field_layers.ffjord",
    FFJORD,
    kind="continuous",
    source="Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, 2019, arXiv 1810.01367",
    cost=("iterative", "iterative"),
    log_det="unbiased",
    small={"width": 16},
    depth=2,
    n_frequencies=0,
)
def ffjord(key: PRNGKeyArray, **options: Unpack[FFJORD]) -> Flow:
    r"""Multi-scale FFJORD: $\dot x = v_\theta(t, x)$ with convolutions, squeezed from scale to scale.

    In training the trace is Hutchinson's with one set of probes per solve, and `log_prob` needs a key. Its evaluation
    form has the exact trace of fields of up to 16 numbers, and 16 fixed probes beyond, whose error `log_prob(...,
    with_error=True)` tells.
    """
    return make("ffjord", key, options)


@image_entry(
    "field_layers.regression",
    FlowMatching,
    kind="continuous",
    source="Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, arXiv 2210.02747; Ronneberger, Fischer, Brox, 2015, arXiv "
    "1505.04597 (U-Net)",
    cost=("iterative", "iterative"),
    small={"width": 16},
    # For guidance, as is usual.
    training={"class_dropout": 0.1},
    sigma_min=1e-4,
)
def flow_matching(key: PRNGKeyArray, **options: Unpack[FlowMatching]) -> Flow:
    r"""Flow matching: the velocity of $x_t = \alpha(t) x_1 + \sigma(t) x_0$ by a U-Net, learnt by regression.

    Its likelihood is that of the flow, by the exact trace of images of up to 16 numbers and 16 fixed probes beyond.
    With classes the network can leave them out (a zero vector is no class), and `dynamics.guided` extrapolates.
    """
    return make("flow_matching", key, options)


@image_entry(
    "field_layers.regression",
    ScoreSDE,
    kind="continuous",
    source="Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, arXiv 2011.13456",
    cost=("iterative", "iterative"),
    small={"width": 16},
    training={"class_dropout": 0.1},
)
def score_sde(key: PRNGKeyArray, **options: Unpack[ScoreSDE]) -> Flow:
    r"""Score-based diffusion as a flow: the probability-flow equation of a VP, sub-VP or VE SDE, with a U-Net.

    Its likelihood is that of the probability flow, by the exact trace of images of up to 16 numbers and 16 fixed probes
    beyond. `dynamics.draw` samples by the reverse SDE and its relatives. With classes the network can leave them out (a
    zero vector is no class), and `dynamics.guided` extrapolates.
    """
    return make("score_sde", key, options)
