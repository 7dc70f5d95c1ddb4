"""Networks: plain functions of an event and a condition, with parameters as arrays."""

from pushforward.nets.attention import Attention
from pushforward.nets.base import AbstractConditioner, WithFeatures
from pushforward.nets.causal_transformer import CausalTransformer
from pushforward.nets.contrast import WithContrast
from pushforward.nets.conv import Conv2d, ConvNet
from pushforward.nets.graph_made import GraphMADE
from pushforward.nets.lipschitz import AbstractContraction, LipschitzMLP, lip_swish
from pushforward.nets.lipschitz_conv import LipschitzConv, LipschitzConvNet, converge_spectral, update_spectral
from pushforward.nets.masked import MADE
from pushforward.nets.mlp import MLP
from pushforward.nets.per_event import PerEvent
from pushforward.nets.pixel_cnn import PixelCNN
from pushforward.nets.pixel_rnn import DiagonalBiLSTM, RowLSTM
from pushforward.nets.pixel_trunk import AbstractTrunk
from pushforward.nets.potential_net import PotentialNet
from pushforward.nets.raster_net import RasterNet
from pushforward.nets.time_conv import TimeConv
from pushforward.nets.time_mlp import TimeMLP
from pushforward.nets.time_residual import TimeResidualMLP
from pushforward.nets.transformer import Transformer
from pushforward.nets.unet import UNet
from pushforward.nets.vit import VisionTransformer

__all__ = [
    "MADE",
    "MLP",
    "AbstractConditioner",
    "AbstractContraction",
    "AbstractTrunk",
    "Attention",
    "CausalTransformer",
    "Conv2d",
    "ConvNet",
    "DiagonalBiLSTM",
    "GraphMADE",
    "LipschitzConv",
    "LipschitzConvNet",
    "LipschitzMLP",
    "PerEvent",
    "PixelCNN",
    "PotentialNet",
    "RasterNet",
    "RowLSTM",
    "TimeConv",
    "TimeMLP",
    "TimeResidualMLP",
    "Transformer",
    "UNet",
    "VisionTransformer",
    "WithContrast",
    "WithFeatures",
    "converge_spectral",
    "lip_swish",
    "update_spectral",
]
