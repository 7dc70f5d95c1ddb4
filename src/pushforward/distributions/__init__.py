"""Distributions: one contract for bases, mixtures and flows."""

from pushforward.distributions.accuracy import Estimate
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.closed_form import AbstractClosedForm
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.evolve import Evolution, stages
from pushforward.distributions.flow import Flow
from pushforward.distributions.joint import Joint
from pushforward.distributions.mixture import Mixture
from pushforward.distributions.normal import ConditionalNormal, MultivariateNormal
from pushforward.distributions.scoring_form import evaluation_form, log_det_error, with_log_det, with_solver
from pushforward.distributions.standard import DiagonalNormal, StandardNormal, StudentT, UniformBox

__all__ = [
    "AbstractClosedForm",
    "AbstractDistribution",
    "ConditionalNormal",
    "DiagonalNormal",
    "Ensemble",
    "Estimate",
    "Evolution",
    "Flow",
    "Joint",
    "Mixture",
    "MultivariateNormal",
    "StandardNormal",
    "StudentT",
    "UniformBox",
    "evaluation_form",
    "log_det_error",
    "stages",
    "with_log_det",
    "with_solver",
]
