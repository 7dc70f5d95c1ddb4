"""The error of every model file that is not what `pushforward` wrote."""

from __future__ import annotations


class UntrustedModelError(ValueError):
    """A model is damaged, altered, or of a kind this version does not know; nothing of it was used."""
