"""What every model of images costs, how exact it is and where it comes from, read from the declarations."""

from __future__ import annotations

from pushforward.flows.facts import Description, FlowFacts
from pushforward.flows.registry import plain
from pushforward.images.zoo import IMAGE_ENTRIES


def describe_images() -> Description:
    """The facts about each entry of the zoo of images."""
    rows = [
        FlowFacts(
            call=entry.name,
            summary=plain(entry.summary),
            density=entry.cost[0],
            sampling=entry.cost[1],
            log_det=entry.log_det,
            conditional=entry.conditional,
            source=plain(entry.source),
        )
        for entry in IMAGE_ENTRIES.values()
    ]
    return Description(tuple(rows), "pf.images")
