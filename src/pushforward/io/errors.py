"""The error of every model file that is not what `pushforward` wrote."""

from pushforward._files import UntrustedModelError

__all__ = ["UntrustedModelError"]
