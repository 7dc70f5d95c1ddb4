"""The velocity of the `continuous` figure: one network, whose numbers every library is given.

It reads sines and cosines of three frequencies of time and the event, has two hidden layers with ELU, and carries data
at time 0 to noise at time 1, as zuko's CNF does it. The hidden layers are torch's initial draw; the output is that draw
times `GAIN`, so that the field moves the rows and a solve takes some steps, as that of a trained flow does.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from suite.work import DEPTH, GAIN, N_FREQUENCIES, WIDTH


def layers(dim: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights `(out, in)` and biases; the inputs are cosines, sines, event, the frequencies rising."""
    random = np.random.default_rng(seed)
    sizes = [2 * N_FREQUENCIES + dim, *[WIDTH] * DEPTH, dim]
    made = []
    for n_in, n_out in pairwise(sizes):
        bound = n_in**-0.5
        made.append((random.uniform(-bound, bound, (n_out, n_in)), random.uniform(-bound, bound, n_out)))
    weight, bias = made.pop()
    made.append((GAIN * weight, GAIN * bias))
    return [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in made]


def turned(dim: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same field with noise at time 0 and data at time 1: minus the velocity at one less the time."""
    (first, bias), *others, (last, shift) = layers(dim, seed)
    sign = np.array([(-1.0) ** k for k in range(1, N_FREQUENCIES + 1)], np.float32)  # cos(pi k (1 - t)) / cos(pi k t)
    inputs = np.concatenate([sign, -sign, np.ones(dim, np.float32)])
    return [(first * inputs, bias), *others, (-last, -shift)]
