"""Distributions: one contract for bases, mixtures and flows."""

from pushforward.distributions.accuracy import Estimate
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.bernoulli import ConditionalBernoulli
from pushforward.distributions.closed_form import AbstractClosedForm
from pushforward.distributions.dequantized import (
    AbstractDequantizer,
    Dequantized,
    UniformDequantizer,
    VariationalDequantizer,
)
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.evolve import Evolution, stages
from pushforward.distributions.flow import Flow
from pushforward.distributions.gaussian_noise import GaussianNoise
from pushforward.distributions.joint import Joint
from pushforward.distributions.latent_variable import VAE
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.mixture import Mixture
from pushforward.distributions.normal import ConditionalNormal, MultivariateNormal
from pushforward.distributions.pixels import (
    AnyOrderPixels,
    AutoregressivePixels,
    AveragedOrders,
    CategoricalLevels,
    LogisticLevels,
)
from pushforward.distributions.replacements import with_log_det, with_solver
from pushforward.distributions.scoring_form import evaluation_form, log_det_error
from pushforward.distributions.spaces import Place
from pushforward.distributions.standard import DiagonalNormal, StandardNormal, StudentT, UniformBox

__all__ = [
    "VAE",
    "AbstractClosedForm",
    "AbstractDequantizer",
    "AbstractDistribution",
    "AnyOrderPixels",
    "AutoregressivePixels",
    "AveragedOrders",
    "CategoricalLevels",
    "ConditionalBernoulli",
    "ConditionalMargins",
    "ConditionalNormal",
    "Dequantized",
    "DiagonalNormal",
    "Ensemble",
    "Estimate",
    "Evolution",
    "Flow",
    "GaussianNoise",
    "Joint",
    "LogisticLevels",
    "Mixture",
    "MultivariateNormal",
    "Place",
    "StandardNormal",
    "StudentT",
    "UniformBox",
    "UniformDequantizer",
    "VariationalDequantizer",
    "evaluation_form",
    "log_det_error",
    "stages",
    "with_log_det",
    "with_solver",
]
