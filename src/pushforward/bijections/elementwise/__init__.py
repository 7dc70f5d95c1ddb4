"""Elementwise maps: fixed functions of one number, affine maps, and scalar maps with trained parameters."""

from pushforward.bijections.elementwise.affine import Affine, Elementwise, Standardize
from pushforward.bijections.elementwise.column_units import ColumnUnits, HalfLineMap, IntoBox, Support, Unit
from pushforward.bijections.elementwise.fixed import AbstractFixedMap, Formula
from pushforward.bijections.elementwise.functions import ELU, Exp, LeakyReLU, Sigmoid, Softplus, Tanh
from pushforward.bijections.elementwise.heavy_tails import LambertW, NormalCDF, SinhArcsinh, StudentTCDF
from pushforward.bijections.elementwise.histogram import HistogramQuantile
from pushforward.bijections.elementwise.powers import Power, SignedPower, Square

__all__ = [
    "ELU",
    "AbstractFixedMap",
    "Affine",
    "ColumnUnits",
    "Elementwise",
    "Exp",
    "Formula",
    "HalfLineMap",
    "HistogramQuantile",
    "IntoBox",
    "LambertW",
    "LeakyReLU",
    "NormalCDF",
    "Power",
    "Sigmoid",
    "SignedPower",
    "SinhArcsinh",
    "Softplus",
    "Square",
    "Standardize",
    "StudentTCDF",
    "Support",
    "Tanh",
    "Unit",
]
