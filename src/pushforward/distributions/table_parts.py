"""What the log-probability of a row of a table is made of."""

from __future__ import annotations

from typing import NamedTuple

from pushforward._types import Array


class Parts(NamedTuple):
    """What a log-probability is made of, each `(n,)` in nats.

    Attributes:
        mass: Log-probability of the states. It is exact.
        density: Log-density of the values given the states; whole numbers count by their log-mass.
    """

    mass: Array
    density: Array


class Standard(NamedTuple):
    """What the flow of a table's values sees.

    Attributes:
        values: Standard numbers `(n_flow, n)`.
        condition: Condition of the flow, or None.
        log_prob: `(n,)` nats, what is to be added to the flow's log-density: log-slopes, steps, -inf beyond the bounds,
            the log-masses of the states and the log-probabilities of the margins.
    """

    values: Array
    condition: Array | None
    log_prob: Array
