"""A trained model for other programs: as StableHLO, or as one file that NumPy alone can run."""

from pushforward.export.numpy_archive import export_numpy
from pushforward.export.report import ExportReport
from pushforward.export.stablehlo import export_stablehlo

__all__ = ["ExportReport", "export_numpy", "export_stablehlo"]
