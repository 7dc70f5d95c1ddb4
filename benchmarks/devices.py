"""What dealing batches to simulated devices costs: CPU and clock milliseconds of a training step.

    python benchmarks/devices.py            # each setting in a process of its own

The devices are threads of one CPU, so that nothing gets faster: what is over the figure of one device is overhead.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

SETTINGS = (("1", "none"), ("2", "replicated"), ("2", "sharded"), ("8", "replicated"))
BATCHES = {256: 100, 2048: 20}  # rows of a batch, and steps of a timed call
REPEATS = 3


def measure(how: str) -> None:
    import jax
    import numpy as np

    import pushforward as pf
    from pushforward.training import Devices, Steps
    from pushforward.training.loop import one_call, run
    from pushforward.training.options import collect
    from pushforward.training.prepare import Choices, Data, prepare

    x = np.random.default_rng(0).normal(size=(40_000, 8)).astype(np.float32)
    flow = pf.flows.realnvp(jax.random.key(1), dim=8, n_layers=5, width=64)
    for size, steps in BATCHES.items():
        choices = Choices(max_epochs=100, options=collect(Steps(batch_size=size)))
        prepared = prepare(flow, Data(x, None, None, None), choices, jax.random.key(2))
        problem, state, context = prepared.problem, prepared.state, contextlib.nullcontext()
        if how != "none":
            placement = Devices("all", shard_weights=how == "sharded").placement()
            problem, state, context = problem.placed(placement), placement.put_state(state), placement.context()
        with context:
            state, report = run(state, problem, one_call(5))
            jax.block_until_ready(report.counters)
            found = []
            for _ in range(REPEATS):
                cpu, clock = time.process_time(), time.perf_counter()
                state, report = run(state, problem, one_call(steps))
                jax.block_until_ready(report.counters)
                found.append((time.process_time() - cpu, time.perf_counter() - clock))
        cpu, clock = (1e3 * seconds / steps for seconds in min(found))
        print(f"| {jax.device_count()} | {how} | {size} | {cpu:.2f} | {clock:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        print("| devices | weights | batch | CPU ms | clock ms |\n|---|---|---|---|---|", flush=True)
        for n, how in SETTINGS:
            flags = f"--xla_force_host_platform_device_count={n}"
            subprocess.run([sys.executable, __file__, how], env={**os.environ, "XLA_FLAGS": flags}, check=True)
