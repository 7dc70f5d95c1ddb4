"""The options of the zoo, each declared once: type, bound, sentence and default.

Signatures and docstrings of `pushforward.flows`, flags and help of the command line, keys of TOML files and the bounds
of model files all follow from these declarations. Nothing here needs JAX, so that `--help` is quick.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Required, TypedDict, get_args

from pushforward.flows.maps import MapName
from pushforward.flows.option import Option, options_of

if TYPE_CHECKING:
    import numpy as np

    from pushforward._types import Array, PRNGKeyArray
    from pushforward.bijections import AbstractBijection, AbstractScalarMap
    from pushforward.distributions import AbstractDistribution

    Split = Sequence[bool] | np.ndarray
    Edges = Sequence[Sequence[bool | int]] | np.ndarray | Array
else:  # at run time an option that takes such objects takes any, and what is built of it checks them
    AbstractBijection = AbstractScalarMap = AbstractDistribution = PRNGKeyArray = Split = Edges = Any

# Bounds on sizes: a typing error must not allocate a terabyte.
MAX_DIM = 16384  # largest event in a file
MAX_EVENT = 100_000  # largest event in Python
MAX_LAYERS = 10_000

LinearName = Literal["reverse", "permutation", "lu", "qr", "householder", "rotation", "cayley", "exponential"]
Linear = LinearName | Callable[[PRNGKeyArray, int], AbstractBijection]
SplitName = Literal["half", "alternating"]
Activation = Literal["relu", "elu", "gelu", "silu", "sin", "softplus", "tanh"]
BaseName = Literal["normal", "student_t", "diagonal_normal", "multivariate_normal", "torus"]
Space = Literal["line", "circle"]

# The mixing layers and the bases that flows on the line and flows of angles may have. A matrix of real numbers does not
# map the torus to itself, and mass of a base beyond one turn would be lost.
LINEAR_ON: Mapping[Space, tuple[str, ...]] = {"line": get_args(LinearName), "circle": ("reverse", "permutation")}
BASES_ON: Mapping[Space, tuple[str, ...]] = {
    "line": ("normal", "student_t", "diagonal_normal", "multivariate_normal"),
    "circle": ("torus",),
}

# Options that a value of another option makes idle: they are refused, but for their defaults. An option of scalar maps
# belongs to some maps alone, see `maps.py`.
IDLE: Sequence[tuple[str, tuple[Any, ...], tuple[str, ...]]] = (
    ("autoregressive", (True,), ("split",)),
    ("autoregressive", (False,), ("adjacency",)),
    ("divergence", ("exact",), ("n_probes",)),
    ("path", ("trigonometric", "vp"), ("sigma_min",)),
    ("potential", (True,), ("activation", "frequency", "mixing", "n_frequencies", "residual")),
    ("residual", (True,), ("frequency",)),
    ("sde", ("ve",), ("beta_max", "beta_min")),
    ("sde", ("subvp", "vp"), ("sigma_max", "sigma_min")),
)


class Event(TypedDict, total=False):
    """Arguments of every flow: the sizes of an event and of its condition, and the base."""

    dim: Required[int]
    condition_dim: int | None
    base: AbstractDistribution | None


class Layers(TypedDict, total=False):
    """Options of flows with a number of layers."""

    n_layers: Annotated[
        int,
        Option(5, "Number of layers. They are scanned, so that more take no longer to compile.", ge=1, le=MAX_LAYERS),
    ]


class Mixed(Layers, total=False):
    """Layers with something between them that mixes the coordinates."""

    linear: Annotated[
        Linear | None,
        Option("lu", "What mixes the coordinates after each layer."),
    ]


class Stack(Mixed, total=False):
    """Layers, what mixes the coordinates between them, and what normalises them."""

    actnorm: Annotated[
        bool, Option(False, "An ActNorm follows each layer; `pf.bijections.initialise`, which `pf.fit` calls, sets it.")
    ]


class Network(TypedDict, total=False):
    """The size of the networks."""

    width: Annotated[
        int, Option(64, "Number of units in each hidden layer; bnaf has as many for each column.", ge=1, le=MAX_DIM)
    ]
    depth: Annotated[int, Option(2, "Number of hidden layers, or of residual blocks, in each network.", ge=1, le=64)]


class Activated(Network, total=False):
    """Networks whose activation can be chosen."""

    activation: Annotated[Activation, Option("relu", "Activation function of the networks.")]


class Conditioner(Activated, total=False):
    """Networks that may be residual."""

    residual: Annotated[bool, Option(False, "The networks are residual ones.")]


Components = Annotated[
    int, Option(8, "Number of components of each map: sigmoids, logistics, normals or squares.", ge=1, le=1024)
]
MaxLogScale = Annotated[float, Option(5.0, "Bound on the logarithms of scales.", gt=0, le=100)]


class Map(TypedDict, total=False):
    """The map of each coordinate, and the options of all such maps; each map has some of them."""

    scalar_map: Annotated[
        MapName | AbstractScalarMap,
        Option("affine", "Monotone map of each coordinate, which brings options of its own."),
    ]
    bins: Annotated[int, Option(8, "Number of bins of each spline.", ge=2, le=256)]
    bound: Annotated[
        float, Option(5.0, "Half-width of the interval on which the map bends; data are standardised.", ge=1e-3, le=1e6)
    ]
    components: Components
    compositions: Annotated[int, Option(1, "Number of layers of sigmoids in each map.", ge=1, le=16)]
    conic: Annotated[bool, Option(False, "The weights of the sigmoids are any positive numbers, not shares.")]
    degree: Annotated[int, Option(4, "Degree of the polynomials.", ge=1, le=64)]
    embedding: Annotated[
        int, Option(8, "Length of the vector that conditions the integrand of each coordinate.", ge=1, le=4096)
    ]
    integrand_depth: Annotated[int, Option(2, "Number of hidden layers of the integrand.", ge=1, le=64)]
    integrand_width: Annotated[int, Option(32, "Number of units in each hidden layer of the integrand.", ge=1, le=4096)]
    nodes: Annotated[int, Option(16, "Number of points at which the integrand is evaluated.", ge=2, le=128)]
    max_log_scale: MaxLogScale


MAP_OPTIONS = frozenset(options_of(Map)) - {"scalar_map"}


class Coupled(TypedDict, total=False):
    """Couplings."""

    split: Annotated[
        SplitName | Split | None,
        Option("half", "Coordinates that a coupling transforms; in a mask they are True.", lists="mask"),
    ]


class Ordered(TypedDict, total=False):
    """Autoregressive layers along a graph."""

    adjacency: Annotated[
        Edges | None,
        Option(
            None,
            "Bayesian network to respect exactly: entry [i][j] says that coordinate i may depend on coordinate j, or "
            "on entry j - dim of the condition, which reaches all if it has no columns here. The flow is then one "
            "layer of `n_layers` maps, without mixing.",
            lists="rows",
        ),
    ]


class Arranged(TypedDict, total=False):
    """Layers that are couplings or autoregressive."""

    autoregressive: Annotated[
        bool,
        Option(True, "The layers are autoregressive, with better densities and sequential samples, or couplings."),
    ]


class Amortised(Stack, Activated, total=False):
    """Low-rank layers, whose parameters are networks of the condition, if there is one."""

    fast: Annotated[
        Literal["score", "sample"],
        Option("score", "Direction in closed form: score to fit data, sample for variational inference."),
    ]


class Ridge(TypedDict, total=False):
    """Layers that bend space along directions."""

    ridge: Annotated[Literal["tanh", "leaky_relu"], Option("tanh", "Function along each direction.")]


class Rank(TypedDict, total=False):
    """Layers with several hidden units."""

    rank: Annotated[
        int | None,
        Option(None, "Number of hidden units in each layer; None takes 8, or dim if it is less.", ge=1, le=MAX_DIM),
    ]
    basis: Annotated[
        Literal["householder", "cayley"],
        Option("householder", "How the directions are kept orthonormal; cayley shares them among all conditions."),
    ]


class Contraction(TypedDict, total=False):
    """Residual layers that are contractions."""

    lipschitz: Annotated[float, Option(0.97, "Bound on the Lipschitz constant of each network.", gt=0, lt=1)]


class Probed(TypedDict, total=False):
    """Traces by random probes."""

    n_probes: Annotated[int, Option(1, "Number of random probes in each estimate of a trace.", ge=1, le=1024)]


class Terms(TypedDict, total=False):
    """A truncated series."""

    n_terms: Annotated[int, Option(10, "Number of terms of the log-determinant's series.", ge=1, le=1000)]


class ExactTerms(TypedDict, total=False):
    """A series cut at random."""

    n_exact: Annotated[int, Option(2, "Number of terms of the series that are always summed.", ge=0, le=1000)]


class Velocity(Conditioner, total=False):
    """A network of time and event, and the solver of its equation."""

    mixing: Annotated[Literal["concat", "concatsquash", "film"], Option("film", "How time enters the network.")]
    n_frequencies: Annotated[int, Option(3, "Number of frequencies in the time embedding.", ge=0, le=64)]
    frequency: Annotated[
        float,
        Option(
            0.0,
            "Frequency of sines in the first layer, in radians per unit of standardised data; 0 has none. Densities "
            "with rings or edges need them.",
            ge=0,
            le=1e4,
        ),
    ]
    method: Annotated[
        Literal["euler", "heun", "rk4", "tsit5", "dopri5", "dopri8", "kvaerno5"],
        Option("tsit5", "Method of the solver; euler and rk4 need n_steps."),
    ]
    tolerance: Annotated[
        float,
        Option(
            1e-5,
            "Relative and absolute tolerance of the solver, for each event; n_steps replaces it.",
            ge=1e-12,
            le=0.1,
        ),
    ]
    n_steps: Annotated[
        int | None,
        Option(None, "Number of equal steps; None takes as many as the tolerance asks for.", ge=1, le=100_000),
    ]
    gradient: Annotated[
        Literal["adjoint", "checkpointed", "direct"],
        Option("adjoint", "How gradients pass through the solver, where a flow is trained by likelihood."),
    ]


class Solved(Layers, Velocity, Probed, total=False):
    """Velocity fields that are trained through their solver."""

    divergence: Annotated[
        Literal["exact", "hutchinson"], Option("exact", "How the trace of the Jacobian is taken in training.")
    ]


class Potential(TypedDict, total=False):
    """Velocities that are gradients."""

    potential: Annotated[
        bool,
        Option(False, "The velocity is minus the gradient of a potential, a network that has only width and depth."),
    ]


class Regressed(Velocity, total=False):
    """Velocity fields that are trained by regression."""

    whiten: Annotated[
        bool,
        Option(True, "Narrow directions of the data are widened first, by a PartialWhitening that `pf.fit` sets."),
    ]


class Interpolated(TypedDict, total=False):
    """A path from noise to data."""

    path: Annotated[Literal["linear", "trigonometric", "vp"], Option("linear", "Path from noise to data.")]


class LeastNoise(TypedDict, total=False):
    """Noise that is left at the data."""

    sigma_min: Annotated[float, Option(0.01, "Standard deviation of the noise at the data.", ge=0, lt=1)]


class Noise(LeastNoise, total=False):
    """Noise from little to much."""

    sigma_max: Annotated[float, Option(20.0, "Standard deviation of the noise at the latent.", gt=0, le=1e6)]


class Diffusion(TypedDict, total=False):
    """A stochastic differential equation from data to noise."""

    sde: Annotated[Literal["vp", "subvp", "ve"], Option("vp", "Equation from data to noise.")]
    predicts: Annotated[Literal["noise", "data", "score", "velocity"], Option("noise", "What the network predicts.")]
    beta_min: Annotated[float, Option(0.1, "Rate of diffusion at the data, of vp and subvp.", gt=0, le=1e3)]
    beta_max: Annotated[float, Option(20.0, "Rate of diffusion at the noise, of vp and subvp.", gt=0, le=1e3)]


class Levels(TypedDict, total=False):
    """Levels of noise."""

    n_levels: Annotated[int, Option(32, "Number of levels of noise.", ge=2, le=10_000)]
