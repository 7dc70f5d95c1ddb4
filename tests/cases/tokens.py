"""Autoregressions over tokens, and images as tokens."""

from __future__ import annotations

import numpy as np

import pushforward as pf
from cases.case import COND, Case
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Tokens


def tokens(key: PRNGKeyArray) -> pf.Autoregressive:
    """An autoregression over four tokens of two numbers, parametrised by means and log-deviations."""
    net = pf.nets.CausalTransformer(key, 4, 2, 2, width=4, depth=1, n_heads=2, cond_shape=COND)
    return pf.Autoregressive(net, pf.bijections.InvertedMap(pf.AffineMap()))


# A token depends on itself number by number, and on all numbers of the tokens before it.
REACH = np.kron(np.tril(np.ones((4, 4), bool), -1), np.ones((2, 2), bool)) | np.eye(8, dtype=bool)

CASES: dict[str, Case] = {
    "Autoregressive, tokens": Case(tokens, reach=REACH, condition_reach=np.arange(8) >= 2),
    "Tokens": Case(lambda key: Tokens((2, 1, 3)), reach=np.eye(6, dtype=bool)[[0, 3, 1, 4, 2, 5]]),
}
