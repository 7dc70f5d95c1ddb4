"""A trained model for other programs: as ONNX, or as StableHLO."""

from pushforward.export.comparison import ExportReport
from pushforward.export.onnx import export_onnx
from pushforward.export.stablehlo import export_stablehlo

__all__ = ["ExportReport", "export_onnx", "export_stablehlo"]
