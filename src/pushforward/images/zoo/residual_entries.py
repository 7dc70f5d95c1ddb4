"""Entries of the contractive residual layers of images: i-ResNet and Residual Flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Unpack

from pushforward.flows.option import Option
from pushforward.flows.options import MAX_DIM, Contraction, ExactTerms, Probed, Terms
from pushforward.images.zoo.coupling_entries import Scaled, Steps
from pushforward.images.zoo.registry import Images, image_entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow


class Contractive(Images, Steps, Scaled, Contraction, Probed, total=False):
    """Options of contractive layers."""

    width: Annotated[int, Option(32, "Number of channels in each hidden layer of a network.", ge=1, le=MAX_DIM)]
    n_dense: Annotated[int, Option(2, "Number of fully connected layers after the convolutions.", ge=0, le=64)]


class IResNet(Contractive, Terms, total=False):
    """Options of `iresnet`."""


class ResidualFlow(Contractive, ExactTerms, total=False):
    """Options of `residual_flow`."""


@image_entry(
    "residual.contractive",
    IResNet,
    kind="continuous",
    source="Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, arXiv 1811.00995",
    cost=("parallel", "iterative"),
    log_det="biased",
    small={"width": 16, "n_steps": 3},
)
def iresnet(key: PRNGKeyArray, **options: Unpack[IResNet]) -> Flow:
    r"""Invertible residual network: $z = x + g(x)$ with convolutions $g$, $\operatorname{Lip}(g) < 1$.

    Each network has kernels of 3, 1 and 3 with LipSwish between, and `n_steps` of them stand at each of `n_scales`
    scales, between which 2 x 2 pixels become channels; no channels are given away. In training the log-determinant is
    `Truncated(n_terms, Hutchinson(n_probes))`, biased and random, so that `log_prob` needs a key;
    `pf.evaluation_form(flow)` has the same weights, scored with fixed probes and more terms.
    """
    return make("iresnet", key, options)


@image_entry(
    "residual.contractive",
    ResidualFlow,
    kind="continuous",
    source="Chen, Behrmann, Duvenaud, Jacobsen, 2019, arXiv 1906.02735",
    cost=("iterative", "iterative"),
    log_det="unbiased",
    small={"width": 16, "n_steps": 3},
)
def residual_flow(key: PRNGKeyArray, **options: Unpack[ResidualFlow]) -> Flow:
    r"""Residual Flow: $z = x + g(x)$ with convolutions $g$, $\operatorname{Lip}(g) < 1$, trained without bias.

    The layers are those of `iresnet`. In training the log-determinant is `RussianRoulette(Poisson(2), n_exact)` with
    the Neumann gradient, whose memory does not grow with the number of terms, so that `log_prob` needs a key;
    `pf.evaluation_form(flow)` has the same weights, scored with fixed probes and more terms.
    """
    return make("residual_flow", key, options)
