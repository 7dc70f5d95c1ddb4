"""The zoo: each model of the literature is an entry, declared by its builder, its options and its own defaults.

A new model is one more entry here, or in `velocity_entries.py` if it solves a differential equation. Defaults are those
that measurement chose, see `docs/explanation/flow_defaults.md`; they hold for `pushforward.flows`, for `FlowDensity`
and for the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from pushforward.flows import options as declared
from pushforward.flows.registry import entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow


class Coupling(declared.Event, declared.Stack, declared.Conditioner, declared.Map, declared.Coupled, total=False):
    """Options of couplings."""


class FlowPP(declared.Event, declared.Stack, declared.Activated, declared.Map, declared.Coupled, total=False):
    """Options of couplings with gated networks."""


class Autoregressive(declared.Event, declared.Stack, declared.Conditioner, declared.Map, total=False):
    """Options of autoregressive layers."""


class AlongGraph(Autoregressive, declared.Ordered, total=False):
    """Options of autoregressive layers that may follow a graph."""


class Arranged(AlongGraph, declared.Coupled, declared.Arranged, total=False):
    """Options of layers that are autoregressive or couplings."""


class Angular(
    declared.Event,
    declared.Mixed,
    declared.Conditioner,
    declared.Map,
    declared.Coupled,
    declared.Arranged,
    total=False,
):
    """Options of layers over angles that are autoregressive or couplings."""


@entry("coupling", Coupling, source="Dinh, Krueger, Bengio, 2014, arXiv 1410.8516", scalar_map="additive")
def nice(key: PRNGKeyArray, **options: Unpack[Coupling]) -> Flow:
    r"""NICE: additive couplings, $y_T = x_T + t(x_P)$; volume-preserving but for the linear layers.

    NICE cannot scale, so that on data that are not standardised a `DiagonalNormal` is the usual base.
    """
    return make("nice", key, options)


@entry("coupling", Coupling, source="Dinh, Sohl-Dickstein, Bengio, 2017, arXiv 1605.08803")
def realnvp(key: PRNGKeyArray, **options: Unpack[Coupling]) -> Flow:
    r"""RealNVP: affine couplings, $y_T = x_T\,e^{s(x_P)} + t(x_P)$ with a bounded log-scale."""
    return make("realnvp", key, options)


@entry(
    "autoregressive",
    AlongGraph,
    source="Papamakarios, Pavlakou, Murray, 2017, eq. 3-6, arXiv 1705.07057",
    cost=("parallel", "sequential"),
)
def maf(key: PRNGKeyArray, **options: Unpack[AlongGraph]) -> Flow:
    r"""Masked autoregressive flow: $z_i = x_i\,e^{s_i(x_{<i})} + t_i(x_{<i})$, scored in one pass.

    All steps of a sample together cost about the arithmetic of one pass. Along a graph, composed affine maps are
    affine, so that one map says as much as five there; see `GraphAutoregressive`.
    """
    return make("maf", key, options)


@entry(
    "autoregressive",
    Autoregressive,
    source="Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, 2016, eq. 9-10, arXiv 1606.04934",
    cost=("sequential", "parallel"),
    fast="sample",
)
def iaf(key: PRNGKeyArray, **options: Unpack[Autoregressive]) -> Flow:
    r"""Inverse autoregressive flow: $x_i = z_i\,e^{s_i(z_{<i})} + t_i(z_{<i})$, sampled in one pass.

    It is MAF without the `Invert`, for variational inference, where the flow scores its own samples. Its density of
    data is sequential; `maf` is the one to fit to a table.
    """
    return make("iaf", key, options)


@entry(
    "arranged",
    Arranged,
    source="Durkan, Bekasov, Murray, Papamakarios, 2019, arXiv 1906.04032",
    cost=("parallel", "sequential"),
    scalar_map="rational_quadratic",
    split=None,
)
def nsf(key: PRNGKeyArray, **options: Unpack[Arranged]) -> Flow:
    r"""Neural spline flow: each coordinate through a rational-quadratic spline on $[-b, b]$, the identity outside.

    With `autoregressive=False` the layers are couplings, and sampling is parallel too; `split` belongs to
    them, and `adjacency` to autoregressive layers.
    """
    return make("nsf", key, options)


@entry(
    "autoregressive",
    Autoregressive,
    source="Huang, Krueger, Lacoste, Courville, 2018, arXiv 1804.00779",
    cost=("parallel", "iterative"),
    n_layers=3,
    scalar_map="sigmoidal",
)
def naf(key: PRNGKeyArray, **options: Unpack[Autoregressive]) -> Flow:
    r"""Neural autoregressive flow: $z_i = m(x_i; \theta_i(x_{<i}))$ with $m$ a network of positive weights.

    Its layers take and give one number (DSF); with `scalar_map="dense_sigmoidal"` they are `components` wide (DDSF),
    which is the same for one layer. A sample takes a safeguarded Newton iteration in each dimension.
    """
    return make("naf", key, options)


@entry(
    "coupling",
    FlowPP,
    source="Ho, Chen, Srinivas, Duan, Abbeel, 2019, arXiv 1902.00275",
    cost=("parallel", "iterative"),
    scalar_map="logistic_mixture",
    activation="elu",
    actnorm=True,
)
def flowpp(key: PRNGKeyArray, **options: Unpack[FlowPP]) -> Flow:
    r"""Flow++: $z_T = e^{\tanh \alpha} \operatorname{logit} F(x_T; \pi, \mu, s) + \beta$, $F$ a mixture of logistics.

    All of $\pi, \mu, s, \alpha, \beta$ come from the coordinates that pass, through gated residual blocks with layer
    normalisation. The map is applied from data to latent, which needs no search. The paper takes 32 logistics for
    images.
    """
    return make("flowpp", key, options)


class Gaussianization(declared.Event, declared.Stack, declared.Activated, total=False):
    """Options of `gaussianization`: its maps are mixtures of normals, which are fitted to data at the start."""

    components: declared.Components
    max_log_scale: declared.MaxLogScale


@entry(
    "elementwise",
    Gaussianization,
    source='Chen and Gopinath, 2000, "Gaussianization", NIPS 13; Meng, Song, Song, Ermon, 2020, arXiv 2003.01941',
    n_layers=8,
    linear="rotation",
)
def gaussianization(key: PRNGKeyArray, **options: Unpack[Gaussianization]) -> Flow:
    r"""Gaussianization: from data to latent, $z = \Phi^{-1}(F(R\,x))$, layer after layer.

    $R$ is a trained rotation and $F$ the distribution function of a mixture of normals in each coordinate. With a
    condition the mixtures' parameters are a network of it, and the rotations are not. `pf.bijections.initialise`
    (which `pf.fit` calls) fits each layer's mixtures to the rows that reach it, so that training starts from a density
    close to the data's.
    """
    return make("gaussianization", key, options)


@entry(
    "autoregressive",
    Autoregressive,
    source="Ramasinghe, Fernando, Khan, Barnes, 2021, arXiv 2102.03509",
    cost=("parallel", "iterative"),
    scalar_map="bernstein",
    linear="reverse",
)
def bernstein(key: PRNGKeyArray, **options: Unpack[Autoregressive]) -> Flow:
    r"""Bernstein polynomial flow: each coordinate through a polynomial with increasing Bernstein coefficients."""
    return make("bernstein", key, options)


class Block(declared.Event, declared.Stack, declared.Network, total=False):
    """Options of `bnaf`."""


@entry(
    "block",
    Block,
    source="De Cao, Titov, Aziz, 2019, arXiv 1904.04676",
    n_layers=1,
    width=10,
    linear="reverse",
)
def bnaf(key: PRNGKeyArray, **options: Unpack[Block]) -> Flow:
    r"""Block neural autoregressive flow: $z = (1 - \alpha)\,x + \alpha\,N(x)$, $N$ one masked, monotone network.

    Its `width` counts for each dimension; the paper takes 10 to 40. Each layer is a network.
    """
    return make("bnaf", key, options)


@entry(
    "autoregressive",
    Autoregressive,
    source="Jaini, Selby, Yu, 2019, arXiv 1905.02325",
    cost=("parallel", "iterative"),
    scalar_map="sum_of_squares",
)
def sos(key: PRNGKeyArray, **options: Unpack[Autoregressive]) -> Flow:
    r"""Sum-of-squares polynomial flow: $z_i = \int_0^{x_i} \sum_k p_k(t; x_{<i})^2\,dt + c_i(x_{<i})$."""
    return make("sos", key, options)


@entry(
    "autoregressive",
    Autoregressive,
    source="Wehenkel, Louppe, 2019, arXiv 1908.05164",
    cost=("parallel", "iterative"),
    n_layers=3,
    scalar_map="integral",
    linear="reverse",
)
def umnn(key: PRNGKeyArray, **options: Unpack[Autoregressive]) -> Flow:
    r"""Unconstrained monotonic neural network flow: $z_i = \int_0^{x_i} g(t; h_i(x_{<i}))\,dt + b_i(x_{<i})$.

    All coordinates of a layer share the integrand $g$, and `embedding` is the length of $h_i$. The integral is that of
    a square that interpolates `nodes` points; both directions run each integrand once per node.
    """
    return make("umnn", key, options)


class Planar(declared.Event, declared.Amortised, declared.Ridge, total=False):
    """Options of `planar`."""


class Radial(declared.Event, declared.Amortised, total=False):
    """Options of `radial`."""


class Sylvester(Planar, declared.Rank, total=False):
    """Options of `sylvester`."""


@entry(
    "low_rank",
    Planar,
    source="Rezende and Mohamed, 2015, section 4.1, arXiv 1505.05770",
    cost=("parallel", "iterative"),
    n_layers=16,
)
def planar(key: PRNGKeyArray, **options: Unpack[Planar]) -> Flow:
    r"""Planar flow: layers $x + \hat u\,h(w \cdot x + b)$, each bending space along one direction.

    Each layer has one hidden unit, so that it takes dozens of layers, and serves few dimensions. The closed form runs
    in the direction `fast`; the other solves a scalar equation per layer, exactly, and is in closed form too for the
    leaky rectifier. With a condition all parameters are amortised, by a network of it in each layer.
    """
    return make("planar", key, options)


@entry("low_rank", Radial, source="Rezende and Mohamed, 2015, section 4.1, arXiv 1505.05770", n_layers=16)
def radial(key: PRNGKeyArray, **options: Unpack[Radial]) -> Flow:
    r"""Radial flow: layers $x + \beta\,(x - x_0) / (\alpha + |x - x_0|)$, each drawing points to a centre or away.

    The direction `fast` adds the shift, and the other direction takes one more square root. With a condition all
    parameters are amortised, by a network of it in each layer.
    """
    return make("radial", key, options)


@entry(
    "low_rank",
    Sylvester,
    source="van den Berg, Hasenclever, Tomczak, Welling, 2018, arXiv 1803.05649",
    cost=("parallel", "iterative"),
    n_layers=8,
)
def sylvester(key: PRNGKeyArray, **options: Unpack[Sylvester]) -> Flow:
    r"""Sylvester flow: layers $x + Q R\,h(\tilde R Q^\top x + b)$ of `rank` hidden units each.

    The direction that is not `fast` solves one scalar equation per hidden unit; for the leaky rectifier it goes
    through them one after the other. The columns of $Q$ are kept orthonormal by `rank` reflections, amortised with the
    rest, or by Cayley's map, one basis for all conditions.
    """
    return make("sylvester", key, options)


class Contractive(declared.Event, declared.Stack, declared.Network, declared.Contraction, declared.Probed, total=False):
    """Options of contractive residual layers."""


class IResNet(Contractive, declared.Terms, total=False):
    """Options of `iresnet`."""


class ResidualFlow(Contractive, declared.ExactTerms, total=False):
    """Options of `residual_flow`."""


@entry(
    "contractive",
    IResNet,
    source="Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, arXiv 1811.00995",
    cost=("parallel", "iterative"),
    log_det="biased",
    n_layers=16,
)
def iresnet(key: PRNGKeyArray, **options: Unpack[IResNet]) -> Flow:
    r"""Invertible residual network: $z = x + g(x)$ with $\operatorname{Lip}(g) < 1$, trained by a truncated series.

    In training the log-determinant is `Truncated(n_terms, Hutchinson(n_probes))`, biased and random, so that
    `log_prob` needs a key. What `pf.fit` returns, and what is saved, is the flow's `evaluation_form`: the same weights,
    scored exactly (up to 64 dimensions). The contraction bounds how far a layer stretches; `linear="lu"` lets it scale
    freely.
    """
    return make("iresnet", key, options)


@entry(
    "contractive",
    ResidualFlow,
    source="Chen, Behrmann, Duvenaud, Jacobsen, 2019, arXiv 1906.02735",
    cost=("iterative", "iterative"),
    log_det="unbiased",
    n_layers=16,
)
def residual_flow(key: PRNGKeyArray, **options: Unpack[ResidualFlow]) -> Flow:
    r"""Residual Flow: $z = x + g(x)$ with $\operatorname{Lip}(g) < 1$, trained by an unbiased log-determinant.

    In training the log-determinant is `RussianRoulette(Poisson(2), n_exact)` with the Neumann gradient, whose memory
    does not grow with the number of terms; `log_prob` needs a key. What `pf.fit` returns, and what is saved, is the
    flow's `evaluation_form`: the same weights, scored exactly (up to 64 dimensions).
    """
    return make("residual_flow", key, options)


@entry(
    "arranged",
    Angular,
    source="Rezende, Papamakarios, Racanière, Albergo, Kanwar, Shanahan, Cranmer, 2020, arXiv 2002.02428",
    space="circle",
    scalar_map="circular_spline",
    linear="reverse",
    autoregressive=False,
    split=None,
)
def ncsf(key: PRNGKeyArray, **options: Unpack[Angular]) -> Flow:
    r"""Neural circular spline flow: angles, each through a rational-quadratic spline of the circle and a rotation.

    Data are **angles in radians**. Angles that differ by $2\pi$ are the same event, with the same density; samples lie
    in $[-\pi, \pi)$, over which the density integrates to 1. Networks see the cosine and the sine of each angle, so
    that the density is continuous on the torus, with no seam at $\pm\pi$. Fit it to the angles as they are: do not
    standardise them. The base is uniform unless another one of the torus is given; the condition holds numbers, not
    angles.
    """
    return make("ncsf", key, options)
