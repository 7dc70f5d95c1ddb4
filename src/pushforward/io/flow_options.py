"""The models of the zoo and their options, declared once: flags, TOML keys and the bounds of model files follow.

Nothing here needs JAX, so that the command line can show its help without it. The zoo's functions have the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

MAX_DIM = 16384

FlowName = Literal[
    "nice",
    "realnvp",
    "maf",
    "iaf",
    "nsf",
    "naf",
    "flowpp",
    "gaussianization",
    "bernstein",
    "bnaf",
    "sos",
    "umnn",
    "planar",
    "radial",
    "sylvester",
    "iresnet",
    "residual_flow",
    "ncsf",
    "cnf",
    "ffjord",
    "flow_matching",
    "rectified_flow",
    "score_sde",
    "ncsn",
]
ObjectiveName = Literal[
    "likelihood", "regularized", "flow_matching", "optimal_transport", "denoising", "likelihood_weighted"
]
BaseName = Literal["normal", "student_t", "diagonal_normal", "torus"]
# Those that have no networks unless they are conditional, whatever their width and depth say.
WITHOUT_NETWORKS = frozenset({"gaussianization", "planar", "radial", "sylvester"})
Activation = Literal["relu", "elu", "gelu", "silu", "sin", "softplus", "tanh"]
LinearName = Literal["reverse", "permutation", "lu", "qr", "householder", "rotation", "cayley", "exponential"]

Mask = Annotated[list[bool], Field(max_length=MAX_DIM)]
# Rows of booleans, or of zeros and ones: `adjacency[i][j]` says whether coordinate i may depend on coordinate j.
Bit = bool | Annotated[int, Field(ge=0, le=1)]
Adjacency = Annotated[list[Annotated[list[Bit], Field(max_length=2 * MAX_DIM)]], Field(max_length=MAX_DIM)]


@dataclass(frozen=True)
class FlowOption:
    """An argument of functions of the zoo.

    Args:
        kind: the type, with its bounds, as pydantic takes it.
        text: what it is, for the help.
    """

    kind: Any
    text: str


OPTIONS: dict[str, FlowOption] = {
    "n_layers": FlowOption(Annotated[int, Field(ge=1, le=512)], "Layers."),
    "width": FlowOption(Annotated[int, Field(ge=1, le=MAX_DIM)], "Units per hidden layer (bnaf: and column)."),
    "depth": FlowOption(Annotated[int, Field(ge=1, le=64)], "Hidden layers of each network."),
    "bins": FlowOption(Annotated[int, Field(ge=2, le=256)], "Bins per spline (nsf)."),
    "components": FlowOption(
        Annotated[int, Field(ge=1, le=1024)], "Components per map: sigmoids, logistics, normals, squares."
    ),
    "compositions": FlowOption(Annotated[int, Field(ge=1, le=16)], "Layers of each map of one number (naf)."),
    "dense": FlowOption(bool, "Dense instead of deep sigmoidal maps (naf)."),
    "bound": FlowOption(Annotated[float, Field(ge=1e-3, le=1e6)], "Half-width of the interval of the maps."),
    "degree": FlowOption(Annotated[int, Field(ge=1, le=64)], "Degree of the polynomials (sos, bernstein)."),
    "embedding": FlowOption(Annotated[int, Field(ge=1, le=4096)], "Parameters of each column's integrand (umnn)."),
    "integrand_depth": FlowOption(Annotated[int, Field(ge=1, le=64)], "Hidden layers of the integrand (umnn)."),
    "integrand_width": FlowOption(Annotated[int, Field(ge=1, le=4096)], "Units per layer of the integrand (umnn)."),
    "nodes": FlowOption(Annotated[int, Field(ge=2, le=128)], "Points at which the integrand is sampled (umnn)."),
    "autoregressive": FlowOption(bool, "Autoregressive or coupling splines (nsf)."),
    "max_log_scale": FlowOption(Annotated[float, Field(gt=0, le=100)], "Bound on log-scales (not of nice, nsf)."),
    "linear": FlowOption(LinearName | None, "What mixes the columns."),
    "rank": FlowOption(Annotated[int | None, Field(ge=1, le=MAX_DIM)], "Hidden units per layer (sylvester)."),
    "ridge": FlowOption(Literal["tanh", "leaky_relu"], "Function along the direction (planar, sylvester)."),
    "basis": FlowOption(Literal["householder", "cayley"], "How columns are kept orthonormal (sylvester)."),
    "fast": FlowOption(Literal["score", "sample"], "Direction in closed form (planar, radial, sylvester)."),
    "split": FlowOption(
        Literal["half", "alternating"] | Mask | None,
        "Which columns a coupling maps.",
    ),
    "activation": FlowOption(Activation, "Activation of the networks."),
    "residual": FlowOption(bool, "Residual networks."),
    "actnorm": FlowOption(bool, "Normalise activations between the layers."),
    "adjacency": FlowOption(Adjacency | None, "Which coordinates each may depend on, by row, exactly (maf, nsf)."),
    "lipschitz": FlowOption(
        Annotated[float, Field(gt=0, lt=1)], "Bound on the networks' Lipschitz constants (iresnet, residual_flow)."
    ),
    "n_terms": FlowOption(Annotated[int, Field(ge=1, le=1000)], "Terms of the log-determinant's series (iresnet)."),
    "n_exact": FlowOption(Annotated[int, Field(ge=0, le=1000)], "Terms that are always there (residual_flow)."),
    "n_probes": FlowOption(
        Annotated[int, Field(ge=1, le=1024)], "Probes of the trace (iresnet, residual_flow, cnf, ffjord)."
    ),
    "mixing": FlowOption(Literal["concat", "concatsquash", "film"], "How time enters (flows of velocity fields)."),
    "n_frequencies": FlowOption(Annotated[int, Field(ge=0, le=64)], "Of time's embedding (flows of velocity fields)."),
    "frequency": FlowOption(Annotated[float, Field(ge=0, le=1e4)], "Of sines in the first layer (velocity fields)."),
    "potential": FlowOption(bool, "The velocity is the gradient of a potential (cnf)."),
    "divergence": FlowOption(Literal["exact", "hutchinson"], "Trace of the Jacobian in training (cnf, ffjord)."),
    "method": FlowOption(
        Literal["euler", "heun", "rk4", "tsit5", "dopri5", "dopri8", "kvaerno5"], "Of the solver (velocity fields)."
    ),
    "tolerance": FlowOption(Annotated[float, Field(ge=1e-12, le=0.1)], "Of the solver (velocity fields)."),
    "n_steps": FlowOption(Annotated[int | None, Field(ge=1, le=100_000)], "Equal steps of the solver, if any."),
    "gradient": FlowOption(Literal["adjoint", "checkpointed", "direct"], "Through the solver (velocity fields)."),
    "whiten": FlowOption(bool, "Widen narrow directions of the data (flow_matching, rectified_flow, score_sde, ncsn)."),
    "path": FlowOption(Literal["linear", "trigonometric", "vp"], "From noise to data (flow_matching)."),
    "sde": FlowOption(Literal["vp", "subvp", "ve"], "Diffusion (score_sde)."),
    "predicts": FlowOption(Literal["noise", "data", "score", "velocity"], "What the network says (score_sde)."),
    "beta_min": FlowOption(Annotated[float, Field(gt=0, le=1e3)], "Diffusion at the data (score_sde)."),
    "beta_max": FlowOption(Annotated[float, Field(gt=0, le=1e3)], "Diffusion at the noise (score_sde)."),
    "sigma_min": FlowOption(Annotated[float, Field(ge=0, lt=1)], "Noise at the data (flow_matching, score_sde, ncsn)."),
    "sigma_max": FlowOption(Annotated[float, Field(gt=0, le=1e6)], "Noise at the latent (score_sde, ncsn)."),
    "n_levels": FlowOption(Annotated[int, Field(ge=2, le=10_000)], "Of noise (ncsn)."),
}
