"""Distributions: one contract for bases, mixtures and flows."""

from pushforward.distributions.accuracy import Estimate
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.bernoulli import ConditionalBernoulli
from pushforward.distributions.closed_form import AbstractClosedForm
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.evolve import Evolution, stages
from pushforward.distributions.flow import Flow
from pushforward.distributions.joint import Joint
from pushforward.distributions.latent_variable import VAE
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.mixture import Mixture
from pushforward.distributions.normal import ConditionalNormal, MultivariateNormal
from pushforward.distributions.replacements import with_log_det, with_solver
from pushforward.distributions.scoring_form import evaluation_form, log_det_error
from pushforward.distributions.spaces import Place
from pushforward.distributions.standard import DiagonalNormal, StandardNormal, StudentT, UniformBox

__all__ = [
    "VAE",
    "AbstractClosedForm",
    "AbstractDistribution",
    "ConditionalBernoulli",
    "ConditionalMargins",
    "ConditionalNormal",
    "DiagonalNormal",
    "Ensemble",
    "Estimate",
    "Evolution",
    "Flow",
    "Joint",
    "Mixture",
    "MultivariateNormal",
    "Place",
    "StandardNormal",
    "StudentT",
    "UniformBox",
    "evaluation_form",
    "log_det_error",
    "stages",
    "with_log_det",
    "with_solver",
]
