"""A process that holds one library and does, one at a time, what the benchmark asks of it.

Requests and answers are lines of JSON on standard input and output. One process per library, so that no thread pool or
allocator of one library is in the way of another: while one works, the others wait in `readline`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from suite.work import N_THREADS


def pin() -> None:
    """At most `N_THREADS` cores for this process and its thread pools; call before any library is imported."""
    cores = sorted(os.sched_getaffinity(0))[:N_THREADS]
    os.sched_setaffinity(0, cores)


class Worker:
    def __init__(self, library: str):
        from suite.adapters import make

        self.adapter = make(library)

    def versions(self) -> dict[str, str]:
        return self.adapter.versions()

    def build(self, model: str, dim: int, n_layers: int, batch: int, seed: int = 0) -> int:
        import numpy as np

        n_params = self.adapter.build(model, dim, n_layers, seed)
        self.adapter.load(np.random.default_rng(seed).standard_normal((batch, dim), dtype=np.float32))
        return n_params

    def prepare_sampling(self, n: int) -> None:
        self.adapter.prepare_sampling(n)

    def time(self, what: str, calls: int) -> list[float]:
        """Seconds of each of `calls` calls, each waited for."""
        call = getattr(self.adapter, what)
        seconds = []
        for _ in range(calls):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return seconds

    def ask(self, question: str, **arguments: Any) -> Any:
        """A question that only some adapters answer, such as the peak of the matrix products."""
        return getattr(self.adapter, question)(**arguments)


def main() -> None:
    pin()
    # The answers go to the real standard output; whatever a library prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = time.perf_counter()
    worker = Worker(sys.argv[1])
    print(json.dumps({"imported": time.perf_counter() - start}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        method = request.pop("do")
        try:
            answer = {"ok": getattr(worker, method)(**request)}
        except Exception as error:  # reported to the coordinator, which stops or notes it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
