"""The zoo: functions that assemble the models of the literature from bijections.

Each is declared by an entry in `entries.py` or `velocity_entries.py`. Importing this package loads no JAX, so that the
command line can show its help without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pushforward.flows.entries import *  # noqa: F403 - the functions of the zoo
from pushforward.flows.registry import ENTRIES, Entry
from pushforward.flows.velocity_entries import *  # noqa: F403

if TYPE_CHECKING:
    from pushforward.distributions import Flow
    from pushforward.flows.facts import Description

# The closed registry: a model file names its flow by one of these, and nothing else is ever looked up.
ZOO: dict[str, Callable[..., Flow]] = {name: globals()[name] for name in ENTRIES}


def describe() -> Description:
    """What every model of the zoo costs, how exact it is and where it comes from, as a table.

    Costs are those of a log-density and of a sample: `parallel` is one pass, `sequential` one step per dimension,
    `iterative` a solver that runs to its tolerance. They are read from the models' `traits`; nothing is computed.

    Example:
        >>> import pushforward as pf
        >>> [row.sampling for row in pf.flows.describe() if row.call == "maf"]
        ['sequential']
    """
    from pushforward.flows.facts import describe_zoo

    return describe_zoo()


__all__ = ["ENTRIES", "ZOO", "Entry", "describe", *ZOO]  # pyright: ignore[reportUnsupportedDunderAll]


def __dir__() -> list[str]:
    return sorted(__all__)
