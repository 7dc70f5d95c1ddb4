"""What is declared on the classes of objectives, and who reads it."""

from __future__ import annotations

from typing import ClassVar

import jax

import pushforward as pf
from pushforward._objectives import objective_names
from pushforward.objectives import OBJECTIVES, objective_named


def test_the_command_line_reads_the_names_that_the_classes_declare():
    assert sorted(objective_names()) == sorted(OBJECTIVES)
    assert {"likelihood", "flow_matching", "denoising"} <= OBJECTIVES.keys()


def test_a_class_of_ones_own_is_offered_by_the_name_that_it_declares():
    class Mine(pf.MaximumLikelihood):
        names: ClassVar = {"mine": lambda field: Mine()}

    flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=1, width=4)
    assert isinstance(objective_named("mine", flow), Mine)
    assert type(objective_named("likelihood", flow)) is pf.MaximumLikelihood
