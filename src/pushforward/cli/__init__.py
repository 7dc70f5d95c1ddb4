"""The command line: `pushforward fit`, `sample`, `score`, `plot`. Importing it loads neither JAX nor NumPy."""

from pushforward.cli.app import main

__all__ = ["main"]
