"""Where the fragments of a job are worked on: in this process, or by the actors of a Ray cluster."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pushforward.scale.fragments import Fragment

Work = Callable[[Fragment], dict[str, Any]]


class AbstractEngine(abc.ABC):
    """A way to run the same work on many fragments; a subclass is a frozen dataclass of its settings."""

    @abc.abstractmethod
    def run(self, work: Work, fragments: Sequence[Fragment]) -> Iterator[dict[str, Any]]:
        """What the work gives for each fragment, each once, in any order.

        Args:
            work: The work, which pickles.
            fragments: The fragments.
        """


@dataclass(frozen=True)
class LocalEngine(AbstractEngine):
    """One fragment after the other in this process, each on all cores: nothing has to be started.

    Example:
        >>> from pushforward.scale import LocalEngine
        >>> list(LocalEngine().run(lambda fragment: {"fragment": fragment}, [0, 1]))
        [{'fragment': 0}, {'fragment': 1}]
    """

    def run(self, work: Work, fragments: Sequence[Fragment]) -> Iterator[dict[str, Any]]:
        """See `AbstractEngine`."""
        return map(work, fragments)
