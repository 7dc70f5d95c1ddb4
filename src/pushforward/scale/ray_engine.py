"""Fragments by the actors of a Ray cluster, each of which loads the model once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pushforward._checks import check_int, package_of
from pushforward.scale.engines import AbstractEngine, Work
from pushforward.scale.fragment_work import prepare_process
from pushforward.scale.fragments import Fragment


@dataclass(frozen=True)
class RayEngine(AbstractEngine):
    """One fragment at a time in each of some actors of Ray (extra `ray`), on a cluster or on this machine.

    An actor that dies is started anew, and its fragment is worked on again: the result has one name, under which it
    appears complete, so that none is lost and none comes twice. Every machine has to see the model, the files and the
    folder of results under the same paths.

    Attributes:
        address: Address of a cluster, such as `"ray://head:10001"` or `"auto"`; None starts one on this machine, which
            ends with the job.
        workers: Number of actors; None takes one for each `cpus` processors of the cluster.
        cpus: Processors that each actor asks for.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1

    def __post_init__(self) -> None:
        check_int("RayEngine", "cpus", self.cpus, 1)
        if self.workers is not None:
            check_int("RayEngine", "workers", self.workers, 1)

    def run(self, work: Work, fragments: Sequence[Fragment]) -> Iterator[dict[str, Any]]:
        """See `AbstractEngine`."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        ray = package_of("RayEngine", "ray", "ray")
        begun = not ray.is_initialized()
        if begun:
            how: dict[str, Any] = {} if self.address is not None else {"include_dashboard": False}
            ray.init(address=self.address, log_to_driver=False, configure_logging=False, **how)
        try:
            yield from self._over(ray, work, fragments)
        finally:
            if begun:
                ray.shutdown()

    def _over(self, ray: Any, work: Work, fragments: Sequence[Fragment]) -> Iterator[dict[str, Any]]:
        n = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // self.cpus)
        actor = ray.remote(num_cpus=self.cpus, max_restarts=-1, max_task_retries=-1)(Worker)
        shared, rest = ray.put(work), iter(fragments)
        free = [actor.remote(shared) for _ in range(min(n, len(fragments)))]
        running: dict[Any, Any] = {}
        while True:
            for fragment in (next(rest, None) for _ in range(len(free))):
                if fragment is not None:
                    worker = free.pop()
                    running[worker.run.remote(fragment)] = worker
            if not running:
                return
            (done,), _ = ray.wait([*running], num_returns=1)
            free.append(running.pop(done))
            yield ray.get(done)


class Worker:
    """An actor: it has the work, whose model it loads when the first fragment comes.

    Args:
        work: The work.
    """

    def __init__(self, work: Work):
        prepare_process()
        self._work = work

    def run(self, fragment: Fragment) -> dict[str, Any]:
        """The line of the log for a fragment.

        Args:
            fragment: The fragment.
        """
        return self._work(fragment)
