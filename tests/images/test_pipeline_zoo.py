"""The zoo of images: declarations, their checks, and what its models promise."""

from __future__ import annotations

import inspect

import jax
import pytest

import pushforward as pf
from pushforward.images import IMAGE_ENTRIES
from pushforward.images.zoo.plan import plan_of

KEY = jax.random.key(0)


def test_every_model_says_where_it_comes_from() -> None:
    described = {row.call: row for row in pf.images.describe()}
    assert set(described) == set(IMAGE_ENTRIES)
    for name, row in described.items():
        assert "arXiv" in row.source or row.source.endswith(tuple("0123456789")), name
        assert {row.density, row.sampling} <= {"parallel", "sequential", "iterative"}, name
        assert "shape" in inspect.signature(getattr(pf.images, name)).parameters, name


@pytest.mark.parametrize("entry", IMAGE_ENTRIES.values(), ids=list(IMAGE_ENTRIES))
def test_presets_are_options(entry: pf.images.ImageEntry) -> None:
    """What a declaration sets for small images is within the bounds of its options."""
    entry.arguments(entry.small)
    assert entry.kind in ("continuous", "discrete")
    assert ("n_levels" in entry.options) == (entry.kind == "discrete")


def test_the_gaussian_is_a_density_of_images() -> None:
    flow = pf.images.gaussian(KEY, shape=(2, 4, 4), n_classes=3)
    assert isinstance(flow, pf.Flow)
    assert (flow.event_shape, flow.cond_shape) == ((2, 4, 4), (3,))


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, TypeError, "the shape"),
        ({"shape": (8, 8)}, ValueError, "three integers"),
        ({"shape": 8}, TypeError, "a tuple"),
        ({"shape": (1, 8, 0)}, ValueError, "shape"),
        ({"shape": (3, 4000, 4000)}, ValueError, "1,000,000"),
        ({"shape": (1, 8, 8), "n_classes": 0}, ValueError, "n_classes"),
        ({"shape": (1, 8, 8), "depth": 3}, TypeError, "no option"),
    ],
)
def test_wrong_arguments_are_named(given: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        plan_of(IMAGE_ENTRIES["gaussian"], KEY, given)
