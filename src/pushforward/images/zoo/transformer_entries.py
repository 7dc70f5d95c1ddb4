"""Entries of transformer flows: TarFlow and Jet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

from pushforward.flows.option import Option
from pushforward.flows.options import MAX_DIM, MAX_LAYERS
from pushforward.images.zoo.registry import Images, image_entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow

# What suits images of 8 x 8 pixels, or a few thousand images.
SMALL: dict[str, Any] = {"patch": 2, "width": 32, "depth": 1, "n_heads": 2}


class Patches(TypedDict, total=False):
    """Transformers over patches."""

    patch: Annotated[
        int, Option(4, "Side of a square patch in pixels, of which height and width are multiples.", ge=1, le=MAX_DIM)
    ]
    width: Annotated[int, Option(64, "Number of channels of the transformers.", ge=1, le=MAX_DIM)]
    depth: Annotated[int, Option(2, "Number of layers in each transformer.", ge=1, le=64)]
    n_heads: Annotated[int, Option(4, "Number of attention heads, which divides the width.", ge=1, le=1024)]


class TarFlow(Images, Patches, total=False):
    """Options of `tarflow`."""

    n_blocks: Annotated[
        int,
        Option(4, "Number of autoregressions, in one order of the patches and the other in turn.", ge=1, le=MAX_LAYERS),
    ]
    deep_depth: Annotated[
        int,
        Option(
            0,
            "Number of layers of the block nearest to the latent, which is then the only one that sees the class, as "
            "in STARFlow; with 0 all blocks are alike.",
            ge=0,
            le=256,
        ),
    ]
    start_token: Annotated[
        bool, Option(False, "A learned start token lets each block map its first patch too, as in STARFlow.")
    ]
    volume_preserving: Annotated[
        bool, Option(False, "The blocks shift and do not scale; the latent then has trained deviations.")
    ]


class Jet(Images, Patches, total=False):
    """Options of `jet`."""

    n_steps: Annotated[
        int,
        Option(2, "Number of steps, each of four couplings of channels and one of places.", ge=1, le=MAX_LAYERS),
    ]


@image_entry(
    "transformer.tarflow",
    TarFlow,
    kind="continuous",
    source="Zhai et al., 2024, arXiv 2412.06329; options of Gu et al., 2025, arXiv 2506.06276",
    cost=("parallel", "sequential"),
    small=SMALL,
    # For guidance; the published rate.
    training={"class_dropout": 0.1},
)
def tarflow(key: PRNGKeyArray, **options: Unpack[TarFlow]) -> Flow:
    r"""TarFlow: $z_t = (x_t - b_t(x_{<t}))\,e^{-a_t(x_{<t})}$ for each patch $t$, by causal transformers.

    The order of the patches turns around after each block, and each block passes its first patch unchanged unless it
    has a start token. Log-scales stay within 4. A sample takes one step per patch and block; `with_inversion` makes
    that parallel sweeps, and `images.guided` pulls samples towards their class.
    """
    return make("tarflow", key, options)


@image_entry(
    "transformer.jet",
    Jet,
    kind="continuous",
    source="Kolesnikov, Pinto, Tschannen, 2024, arXiv 2412.15129",
    small=SMALL,
)
def jet(key: PRNGKeyArray, **options: Unpack[Jet]) -> Flow:
    r"""Jet: $z_T = 2\,\sigma(s(x_P)) \odot x_T + t(x_P)$ with a plain vision transformer over the patches.

    Nothing is normalised, and there is one scale. A step has four couplings of the numbers within a patch and one of
    half of the patches given the other half, each after a random permutation that is drawn once. The permutations let
    every number be mapped in its turn. Images of one patch have couplings within it alone.
    """
    return make("jet", key, options)
