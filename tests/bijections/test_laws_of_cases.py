"""Every exported bijection and every model of the zoo, as it is and under Invert, through every law."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import pytest

import pushforward.bijections
from cases import CASES, ZOO_CASES
from pushforward.bijections import AbstractBijection
from pushforward.testing import (
    LAWS,
    law_algebra,
    law_compiles_once,
    law_integrates,
    law_save_load,
)

KEY = jax.random.key(2024)
ALL = {**CASES, **ZOO_CASES}
# What does not depend on the floating type is tried in float64 alone.
SINGLE = [law for law in LAWS if law not in (law_algebra, law_compiles_once, law_integrates, law_save_load)]


@pytest.mark.parametrize("inverted", [False, True], ids=["as it is", "inverted"])
@pytest.mark.parametrize("name", ALL)
def test_float64(name: str, inverted: bool) -> None:
    trial = ALL[name].trial(name, KEY, jnp.float64, inverted)
    for law in LAWS:
        law(trial)


@pytest.mark.parametrize("inverted", [False, True], ids=["as it is", "inverted"])
@pytest.mark.parametrize("name", ALL)
def test_float32(name: str, inverted: bool) -> None:
    trial = ALL[name].trial(name, KEY, jnp.float32, inverted)
    for law in SINGLE:
        law(trial)


def test_every_exported_bijection_has_a_case() -> None:
    exported = {
        thing
        for thing in vars(pushforward.bijections).values()
        if inspect.isclass(thing) and issubclass(thing, AbstractBijection) and thing is not AbstractBijection
    }
    assert len(exported) >= 14
    assert {type(case.make(KEY)) for case in CASES.values()} == exported
