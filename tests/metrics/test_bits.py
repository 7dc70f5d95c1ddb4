"""Bits per dimension."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pushforward.metrics import bits_per_dim


def test_uniform_pixels_take_eight_bits():
    assert bits_per_dim(0.0, 784, offset_nats=-784 * math.log(256)) == pytest.approx(8)
    assert bits_per_dim(0.0, 784, offset_nats=784 * math.log(256)) == pytest.approx(-8)  # the twin: the wrong sign


def test_entropy_of_a_discrete_law():
    """Uniformly dequantised, a fair coin has density 1/2 on (0, 2): one bit."""
    assert bits_per_dim(math.log(0.5), 1) == pytest.approx(1)
    assert math.isnan(bits_per_dim(math.nan, 1))


def test_refusals():
    with pytest.raises(ValueError, match="dim"):
        bits_per_dim(0.0, 0)
    with pytest.raises(TypeError, match="dim"):
        bits_per_dim(0.0, 1.5)  # pyright: ignore[reportArgumentType]
    assert bits_per_dim(0.0, int(np.int64(3))) == 0
