"""The sizes of the issue's section "What it must reach", in one place. Standard library only."""

from __future__ import annotations

from itertools import pairwise

BATCH = 512
N_LAYERS = 5
WIDTH = 64
DEPTH = 2  # hidden layers
BINS = 8
BOUND = 5.0  # of the splines
LEARNING_RATE = 5e-4
N_THREADS = 2

MODELS = ("realnvp", "maf", "nsf_coupling", "nsf_autoregressive")
TITLES = {
    "realnvp": "RealNVP",
    "maf": "MAF",
    "nsf_coupling": "NSF coupling",
    "nsf_autoregressive": "NSF autoregressive",
    "planar": "planar, 16 layers",
    "sylvester": "Sylvester, 8 layers",
    "residual_flow": "Residual Flow, 5 layers",
    "naf": "NAF, 3 layers",
    "umnn": "UMNN, 3 layers",
    "bnaf": "BNAF, 1 layer",
    "cnf": "exact trace",
    "cnf_hutchinson": "Hutchinson's trace, one probe",
}
STEP_DIMS = (8, 43)
# (model, dim, only one round for the peers): the peers need minutes at D = 784.
SAMPLING = (("maf", 43, False), ("nsf_autoregressive", 43, False), ("nsf_coupling", 43, False), ("maf", 784, True))
# The models of the literature beyond couplings and affine or spline autoregression: (model, layers), all at D = 8.
LITERATURE = (
    ("planar", 16),
    ("sylvester", 8),
    ("residual_flow", 5),
    ("naf", 3),
    ("umnn", 3),
    ("bnaf", 1),
)
LITERATURE_DIM = 8
SIGMOIDS = 16  # of a neural autoregressive map; zuko's signal
BLOCK = 10  # units per dimension of a block autoregressive network
LIPSCHITZ = 0.97
SLOPE = 0.2  # of the leaky rectifier in planar layers: with it all libraries have an inverse
DEPTHS = (5, 50)  # of the first training step

# Flows of velocity fields.
FIELD_MODELS = ("cnf", "cnf_hutchinson")
FIELD_DIMS = (8, 43)
FIELD_RTOL, FIELD_ATOL = 1e-5, 1e-6  # zuko's
# A field's cost depends on its weights, and each library is asked for another number of steps: none may train it away.
FIELD_RATE = 1e-9
N_FREQUENCIES = 3  # zuko's
GAIN = 4.0
MATCHING_DIMS = (2, 43)
MATCHING_BATCH = 256
MATCHING_DEPTH = 3  # hidden layers of torchcfm's MLP
MEMORY_STEPS = (20, 200, 2000)  # the goal is of the first two; diffrax keeps a number of states rounded up to a power
MEMORY_DIM = 8

SPLINE_PARAMS = 3 * BINS - 1  # widths, heights and the inner slopes; linear tails


def matmul_flops(model: str, dim: int, batch: int = BATCH, n_layers: int = N_LAYERS) -> float:
    """Arithmetic of the matrix products of one training step: three times the forward pass, masked counted as dense."""
    n_params = SPLINE_PARAMS if model.startswith("nsf") else 2
    coupling = model in ("realnvp", "nsf_coupling")
    n_in = dim // 2 if coupling else dim
    n_out = n_params * (dim - dim // 2 if coupling else dim)
    sizes = [n_in, *[WIDTH] * DEPTH, n_out]
    forward = sum(2 * a * b for a, b in pairwise(sizes))
    return 3.0 * forward * batch * n_layers


# The page of speed. The last column of each model is what its peers can still do in minutes.
SPEED = {
    "realnvp": (4, 16, 64, 784),
    "maf": (4, 16, 64, 784),
    "nsf_coupling": (4, 16, 64, 784),
    "nsf_autoregressive": (4, 16, 64, 128),
}
FIRST_DIM = 16
# jflows' published grid: an autoregressive spline flow, ms of the map and of its inverse on its GPU.
GRID_DIMS = (4, 8, 16, 32, 64, 128)
GRID_LAYERS, GRID_BINS, GRID_BATCH = 4, 12, 2000
PUBLISHED_GRID = {
    4: (0.165, 0.43),
    8: (0.157, 0.71),
    16: (0.181, 1.5),
    32: (0.209, 3.8),
    64: (0.274, 11.0),
    128: (0.392, 38.5),
}
