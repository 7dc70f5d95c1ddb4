"""Lossless compression of images by models whose pixels have conditional masses, and the file that holds them."""

from pushforward.images.compression.codec import compress, decompress
from pushforward.images.compression.container import CompressedImagesError

__all__ = ["CompressedImagesError", "compress", "decompress"]
