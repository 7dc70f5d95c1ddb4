"""The models of the zoo and their options, declared once: flags, TOML keys and the bounds of model files follow.

Nothing here needs JAX, so that the command line can show its help without it. The zoo's functions have the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

MAX_DIM = 16384

FlowName = Literal["nice", "realnvp", "maf", "iaf", "nsf", "iresnet", "residual_flow"]
BaseName = Literal["normal", "student_t", "diagonal_normal"]
Activation = Literal["relu", "elu", "gelu", "silu", "softplus", "tanh"]

Mask = Annotated[list[bool], Field(max_length=MAX_DIM)]


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
    "width": FlowOption(Annotated[int, Field(ge=1, le=MAX_DIM)], "Units per hidden layer."),
    "depth": FlowOption(Annotated[int, Field(ge=1, le=64)], "Hidden layers of each network."),
    "bins": FlowOption(Annotated[int, Field(ge=2, le=256)], "Bins per spline (nsf)."),
    "bound": FlowOption(Annotated[float, Field(ge=1e-3, le=1e6)], "Half-width of the splines' interval (nsf)."),
    "autoregressive": FlowOption(bool, "Autoregressive or coupling splines (nsf)."),
    "max_log_scale": FlowOption(Annotated[float, Field(gt=0, le=100)], "Bound on log-scales (realnvp, maf, iaf)."),
    "linear": FlowOption(Literal["reverse", "permutation", "lu"] | None, "What mixes the columns."),
    "split": FlowOption(
        Literal["half", "alternating"] | Mask | None,
        "Which columns a coupling maps.",
    ),
    "activation": FlowOption(Activation, "Activation of the networks."),
    "residual": FlowOption(bool, "Residual networks."),
    "actnorm": FlowOption(bool, "Normalise activations between the layers."),
    "lipschitz": FlowOption(
        Annotated[float, Field(gt=0, lt=1)], "Bound on the networks' Lipschitz constants (iresnet, residual_flow)."
    ),
    "n_terms": FlowOption(Annotated[int, Field(ge=1, le=1000)], "Terms of the log-determinant's series (iresnet)."),
    "n_exact": FlowOption(Annotated[int, Field(ge=0, le=1000)], "Terms that are always there (residual_flow)."),
    "n_probes": FlowOption(Annotated[int, Field(ge=1, le=1024)], "Probes of the trace (iresnet, residual_flow)."),
}
